//! `gateway sync`, `gateway apply` and `gateway diff`: a plan, shown and carried out.

use super::super::{Context, Exit, Outcome};
use super::flags::{Inputs, Kinds, Requests, Scope};
use super::output::{Output, Printer, Results};
use super::planning::{Ids, Job, Passwords, Planning, Shape};
use super::saved;
use super::write::{Writing, write};
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
    let printer = Printer::new(context, &args.output);
    let job = Job { shape: &args.shape, requests: &args.requests, delete: true };
    let planned = match job.plan(context, Ids::default()).await {
        Ok(planned) => planned,
        Err(failure) => return printer.failed(failure),
    };
    if let Some(path) = &args.out
        && let Err(failure) = saved::write(path, &planned, context)
    {
        return printer.failed(failure);
    }
    printer.planned(&planned.plan);
    let differs = !planned.plan.is_empty() || !planned.session.exists;
    let mut results = Results::default();
    results.add(planned.plan, None, planned.warnings, planned.sources);
    printer.finished(&results)?;
    Ok(if differs && args.non_zero_exit_code { Exit::Differences } else { Exit::Success })
}

/// Makes the control plane hold what the files say.
pub async fn sync(args: &SyncArgs, context: &Context) -> Outcome {
    let printer = Printer::new(context, &args.output);
    let planned = match &args.plan {
        Some(path) => saved::plan(path, &args.requests, context).await,
        None => {
            let job = Job { shape: &args.shape, requests: &args.requests, delete: true };
            job.plan(context, Ids::default()).await
        }
    };
    match planned {
        Ok(planned) => write(planned, &args.requests, &args.writing, &printer, context).await,
        Err(failure) => printer.failed(failure),
    }
}

/// Creates and updates what the files say.
pub async fn apply(args: &ApplyArgs, context: &Context) -> Outcome {
    let printer = Printer::new(context, &args.output);
    let shape = Shape {
        inputs: args.inputs.clone(),
        scope: Scope { kinds: args.kinds.clone(), ..Scope::default() },
        planning: args.planning.clone(),
        passwords: args.passwords.clone(),
    };
    let job = Job { shape: &shape, requests: &args.requests, delete: false };
    match job.plan(context, Ids::default()).await {
        Ok(planned) => write(planned, &args.requests, &args.writing, &printer, context).await,
        Err(failure) => printer.failed(failure),
    }
}
