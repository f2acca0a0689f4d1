//! `gateway sync`, `gateway apply` and `gateway diff`: a plan, shown and carried out.

use super::super::{Context, Exit, Outcome};
use super::flags::{Inputs, Kinds, Requests, Scope};
use super::output::{self, Output, Printer};
use super::planning::{Job, Planned, Planning};
use crate::apply::{self, Event};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How changes are written.
#[derive(clap::Args, Clone, Default)]
pub struct Writing {
    /// Undo what was done when a change fails
    #[arg(long)]
    pub rollback_on_error: bool,

    /// Seconds to wait after each change before those that depend on it, for clusters that copy slowly
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub db_update_propagation_delay: u32,

    /// Store the passwords of basic-auth credentials as they are: they are hashed already
    #[arg(long)]
    pub skip_hash_for_basic_auth: bool,
}

/// The arguments of `gateway sync`.
#[derive(clap::Args)]
pub struct SyncArgs {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    planning: Planning,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    output: Output,
}

/// The arguments of `gateway apply`.
#[derive(clap::Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    kinds: Kinds,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    planning: Planning,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    output: Output,
}

/// The arguments of `gateway diff`.
#[derive(clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    planning: Planning,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    output: Output,

    /// End with exit code 2 when there are differences
    #[arg(long)]
    non_zero_exit_code: bool,
}

/// Shows what a sync would change.
pub async fn diff(args: &DiffArgs, context: &Context) -> Outcome {
    let printer = Printer::new(context, &args.output);
    let job = Job {
        inputs: &args.inputs,
        scope: &args.scope,
        requests: &args.requests,
        planning: &args.planning,
        delete: true,
        skip_hash: args.writing.skip_hash_for_basic_auth,
    };
    let planned = match job.plan(context).await {
        Ok(planned) => planned,
        Err(failure) => return printer.failed(failure),
    };
    printer.planned(&planned.plan);
    printer.finished(&planned.plan, None, planned.warnings, &planned.sources);
    let differs = !planned.plan.is_empty() || !planned.session.exists;
    Ok(if differs && args.non_zero_exit_code { Exit::Differences } else { Exit::Success })
}

/// Makes the control plane hold what the files say.
pub async fn sync(args: &SyncArgs, context: &Context) -> Outcome {
    let job = Job {
        inputs: &args.inputs,
        scope: &args.scope,
        requests: &args.requests,
        planning: &args.planning,
        delete: true,
        skip_hash: args.writing.skip_hash_for_basic_auth,
    };
    plan_and_write(&job, &args.writing, &args.output, context).await
}

/// Creates and updates what the files say.
pub async fn apply(args: &ApplyArgs, context: &Context) -> Outcome {
    let scope = Scope { kinds: args.kinds.clone(), ..Scope::default() };
    let job = Job {
        inputs: &args.inputs,
        scope: &scope,
        requests: &args.requests,
        planning: &args.planning,
        delete: false,
        skip_hash: args.writing.skip_hash_for_basic_auth,
    };
    plan_and_write(&job, &args.writing, &args.output, context).await
}

async fn plan_and_write(job: &Job<'_>, writing: &Writing, output: &Output, context: &Context) -> Outcome {
    let printer = Printer::new(context, output);
    match job.plan(context).await {
        Ok(planned) => write(planned, job.requests, writing, &printer, context).await,
        Err(failure) => printer.failed(failure),
    }
}

/// Carries a plan out and prints what became of it.
pub async fn write(
    planned: Planned,
    requests: &Requests,
    writing: &Writing,
    printer: &Printer<'_>,
    context: &Context,
) -> Outcome {
    let Planned { session, plan, warnings, sources } = planned;
    if !session.exists
        && let Err(error) = session.plane.create_workspace().await
    {
        return printer.failed(session.explain(&error).into());
    }
    printer.planned(&plan);
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let signals = tokio::spawn(watch_signals(stop.clone(), abort.clone(), context.console));
    let options = apply::Options {
        parallelism: requests.parallelism.into(),
        rollback_on_error: writing.rollback_on_error,
        verify: true,
        propagation_delay: Duration::from_secs(writing.db_update_propagation_delay.into()),
        stop,
        abort,
    };
    let bar = output::progress(context, &plan, !printer.is_json());
    let mut events = |event: Event<'_>| {
        if let Event::Finished { .. } = event {
            bar.inc(1);
        }
    };
    let outcome = apply::run(&plan, &session.schemas, &session.plane, &options, &mut events).await;
    bar.finish_and_clear();
    signals.abort();
    let mut problems = warnings;
    problems.extend(output::problems(&plan, &outcome));
    printer.finished(&plan, Some(output::fates(&plan, &outcome)), problems, &sources);
    Ok(output::exit(&outcome))
}

/// The first Ctrl-C or SIGTERM lets what is under way finish; the second gives it up.
async fn watch_signals(stop: CancellationToken, abort: CancellationToken, console: super::super::Console) {
    for token in [&stop, &abort] {
        if interrupted().await.is_err() {
            return;
        }
        if !stop.is_cancelled() {
            console.err("Finishing what is under way; press Ctrl-C again to give it up.\n");
        }
        token.cancel();
    }
}

#[cfg(unix)]
async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn interrupted() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
