//! Carrying a plan out: workspaces, signals, progress, and what became of it.

use super::super::{Console, Context, Exit, Failure, Outcome};
use super::flags::Requests;
use super::journal::{self, Journal};
use super::output::{self, Printer, Results};
use super::planning::Planned;
use super::session::Session;
use crate::apply::{self, Command, Event};
use crate::diagnostics::{Diagnostic, codes};
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

    #[command(flatten)]
    pub journal: journal::Place,
}

/// A run that writes.
pub struct Run<'a> {
    /// How requests are made.
    pub requests: &'a Requests,
    /// How changes are written.
    pub writing: &'a Writing,
    /// Who shows the result.
    pub printer: &'a Printer<'a>,
    /// Settings, console, environment.
    pub context: &'a Context,
}

impl Run<'_> {
    /// Carries plans out, one after the other, and prints what became of them. A failure of one keeps the next from
    /// being tried. `resumable`: the command and arguments with which the run can be gone on with.
    pub async fn write(&self, parts: Vec<Planned>, resumable: Option<(Command, Vec<String>)>) -> Outcome {
        let whole = parts.iter().any(|part| part.whole.is_some());
        if whole && (self.writing.rollback_on_error || self.writing.db_update_propagation_delay > 0) {
            let failure = "a whole state is loaded at once: nothing can be undone or waited for in between";
            return self.printer.failed(Failure::new(codes::USAGE, failure));
        }
        let journal = match resumable {
            _ if whole => Ok(None),
            Some((command, arguments)) => {
                Journal::begin(&self.writing.journal, command, arguments, &parts, self.context)
            }
            None => Ok(None),
        };
        let mut journal = match journal {
            Ok(journal) => journal,
            Err(failure) => return self.printer.failed(failure),
        };
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let signals = tokio::spawn(watch_signals(stop.clone(), abort.clone(), self.context.console));
        let options = apply::Options {
            parallelism: self.requests.parallelism.into(),
            rollback_on_error: self.writing.rollback_on_error,
            verify: true,
            propagation_delay: Duration::from_secs(self.writing.db_update_propagation_delay.into()),
            stop,
            abort,
        };
        let mut results = Results::default();
        let (mut complete, mut changed) = (true, false);
        let several = parts.len() > 1;
        let mut applied = Vec::new();
        for (n, mut part) in parts.into_iter().enumerate() {
            self.printer.planned(&part, several);
            let mut problems = Vec::new();
            let mut keep = |event: &Event<'_>| {
                if let Some(journal) = &mut journal {
                    journal.event(n, event);
                }
            };
            let outcome = match self.prepare(&part, complete).await {
                Ok(true) => self.carry_out(&part, &options, &mut keep).await,
                Ok(false) => apply::Outcome::untouched(&part.plan),
                Err(problem) => {
                    problems.push(problem);
                    complete = false;
                    apply::Outcome::untouched(&part.plan)
                }
            };
            complete &= outcome.complete();
            changed |= outcome.changed();
            problems.extend(output::problems(&part.plan, &outcome));
            let fates = output::fates(&part.plan, &outcome);
            applied.extend(part.applied.take());
            results.add(part, Some(fates), problems);
        }
        signals.abort();
        let undone = self.writing.rollback_on_error && !changed;
        let left = journal.and_then(|journal| journal.end(complete || undone));
        if complete && !applied.iter().all(|record| record.write().is_ok()) {
            self.printer.note("What was applied could not be recorded for `foredeck gateway drift`.\n");
        }
        self.printer.finished(&results)?;
        if let Some(file) = left {
            self.printer.note(&format!("`foredeck gateway resume{file}` goes on where this run stopped; with --rollback it undoes what was done.\n"));
        }
        Ok(Exit::of(complete, changed))
    }

    /// Makes the workspace where it is missing. Whether the plan is to be carried out: not after an earlier failure.
    async fn prepare(&self, part: &Planned, complete: bool) -> Result<bool, Diagnostic> {
        if complete && !part.session.exists {
            part.session.plane.create_workspace().await.map_err(|error| part.session.explain(&error))?;
        }
        Ok(complete)
    }

    async fn carry_out(
        &self,
        part: &Planned,
        options: &apply::Options,
        keep: &mut (dyn FnMut(&Event<'_>) + Send),
    ) -> apply::Outcome {
        let Session { schemas, plane, .. } = &part.session;
        if let Some(whole) = part.whole.as_ref().filter(|_| !part.plan.is_empty()) {
            return apply::Outcome::at_once(&part.plan, plane.load(whole).await);
        }
        let bar = output::progress(self.context, &part.plan, self.printer.is_for_people());
        let mut events = |event: Event<'_>| {
            keep(&event);
            if let Event::Finished { .. } = event {
                bar.inc(1);
            }
        };
        let outcome = apply::run(&part.plan, schemas, plane, options, &mut events).await;
        bar.finish_and_clear();
        outcome
    }
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
