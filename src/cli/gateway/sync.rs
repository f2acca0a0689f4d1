//! `gateway sync`, `gateway apply` and `gateway diff`: a plan, shown and carried out.

use super::super::{Context, Exit, Outcome};
use super::flags::{Inputs, Kinds, Requests, Scope};
use super::output::{Output, Printer, Results};
use super::planning::{Job, Passwords, Planning, Purpose, Shape, fresh_ids};
use super::saved;
use super::write::{Run, Writing};
use crate::apply::Command;
use std::path::PathBuf;

/// The arguments of `gateway sync`.
#[derive(clap::Args)]
pub struct SyncArgs {
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    output: Output,

    /// Carry out the plan that `gateway diff --out` saved, or refuse when it would be another one now
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

/// The arguments of `gateway apply`.
#[derive(clap::Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    kinds: Kinds,
    #[command(flatten)]
    planning: Planning,
    #[command(flatten)]
    passwords: Passwords,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    output: Output,
}

/// The arguments of `gateway diff`.
#[derive(clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    output: Output,

    /// End with exit code 2 when there are differences
    #[arg(long)]
    non_zero_exit_code: bool,

    /// Save the plan for `gateway sync --plan`; the file holds no secrets
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Shows what a sync would change.
pub async fn diff(args: &DiffArgs, context: &Context) -> Outcome {
    let printer = Printer::new(context, &args.output)?;
    let job =
        Job { shape: &args.shape, requests: &args.requests, command: Command::Sync, purpose: Purpose::Show };
    let planned = async {
        let parts = job.plan(context, &fresh_ids).await?;
        if let Some(path) = &args.out {
            saved::write(path, &parts, context)?;
        }
        Ok(parts)
    };
    let parts = match planned.await {
        Ok(parts) => parts,
        Err(failure) => return printer.failed(failure),
    };
    let differs = parts.iter().any(|part| !part.plan.is_empty() || !part.session.exists);
    let mut results = Results::default();
    let several = parts.len() > 1;
    for part in parts {
        printer.planned(&part, several);
        results.add(part, None, Vec::new());
    }
    printer.finished(&results)?;
    Ok(if differs && args.non_zero_exit_code { Exit::Differences } else { Exit::Success })
}

/// Makes the control plane hold what the files say.
pub async fn sync(args: &SyncArgs, context: &Context) -> Outcome {
    let printer = Printer::new(context, &args.output)?;
    let planned = match &args.plan {
        Some(path) => saved::plan(path, &args.requests, context).await,
        None => {
            let job = Job {
                shape: &args.shape,
                requests: &args.requests,
                command: Command::Sync,
                purpose: Purpose::Write,
            };
            let parts = job.plan(context, &fresh_ids).await;
            parts.map(|parts| (parts, saved::arguments(&context.arguments)))
        }
    };
    let run = Run { requests: &args.requests, writing: &args.writing, printer: &printer, context };
    match planned {
        Ok((parts, arguments)) => run.write(parts, Some((Command::Sync, arguments))).await,
        Err(failure) => printer.failed(failure),
    }
}

/// Creates and updates what the files say.
pub async fn apply(args: &ApplyArgs, context: &Context) -> Outcome {
    let printer = Printer::new(context, &args.output)?;
    let shape = Shape {
        inputs: args.inputs.clone(),
        scope: Scope { kinds: args.kinds.clone(), ..Scope::default() },
        planning: args.planning.clone(),
        passwords: args.passwords.clone(),
        dbless: false,
    };
    let job =
        Job { shape: &shape, requests: &args.requests, command: Command::Apply, purpose: Purpose::Write };
    let run = Run { requests: &args.requests, writing: &args.writing, printer: &printer, context };
    match job.plan(context, &fresh_ids).await {
        Ok(parts) => run.write(parts, Some((Command::Apply, saved::arguments(&context.arguments)))).await,
        Err(failure) => printer.failed(failure),
    }
}
