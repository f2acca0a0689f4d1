//! Carrying a plan out: workspaces, signals, progress, and what became of it.

use super::super::{Console, Context, Exit, Outcome};
use super::flags::Requests;
use super::output::{self, Printer, Results};
use super::planning::Planned;
use crate::apply::{self, Event};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How changes are written.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Writing")]
pub struct Writing {
    /// Undo what was done when a change fails
    #[arg(long)]
    pub rollback_on_error: bool,

    /// Seconds to wait after each change before those that depend on it, for clusters that copy slowly
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub db_update_propagation_delay: u32,
}

/// Carries a plan out and prints what became of it.
pub async fn write(
    planned: Planned,
    requests: &Requests,
    writing: &Writing,
    printer: &Printer<'_>,
    context: &Context,
) -> Outcome {
    let Planned { session, plan, warnings, sources, .. } = planned;
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
    let bar = output::progress(context, &plan, printer.is_for_people());
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
    let fates = output::fates(&plan, &outcome);
    let mut results = Results::default();
    results.add(plan, Some(fates), problems, sources);
    printer.finished(&results)?;
    Ok(Exit::from(&outcome))
}

/// The first Ctrl-C or SIGTERM lets what is under way finish; the second gives it up.
async fn watch_signals(stop: CancellationToken, abort: CancellationToken, console: Console) {
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
