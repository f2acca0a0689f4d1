//! What the writing commands print: the plan, what became of it, problems; and the exit code.

use super::super::{Context, Exit, Failure, Outcome};
use crate::apply::{self, Reason, Status};
use crate::diagnostics::{Diagnostic, SourceMap, codes};
use crate::plan::{Plan, Role};
use crate::report::{self, Fate, Fingerprints, JsonOptions, TextOptions};
use indicatif::{ProgressBar, ProgressStyle};

/// How many unchanged lines `--format text` shows around a changed one.
const CONTEXT: usize = 3;

/// How results are printed.
#[derive(clap::Args, Clone, Default)]
pub struct Output {
    /// Print the result as JSON
    #[arg(long, conflicts_with = "format")]
    pub json_output: bool,

    /// Print only the summary, not each change
    #[arg(long)]
    pub silence_events: bool,

    /// Format of the result: text (only changed lines, with three around them) or json
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"])]
    pub format: Option<String>,
}

/// Prints one run's result.
pub struct Printer<'a> {
    context: &'a Context,
    output: &'a Output,
    fingerprints: Fingerprints,
}

impl<'a> Printer<'a> {
    /// A printer with a fresh salt for fingerprints.
    pub fn new(context: &'a Context, output: &'a Output) -> Self {
        Printer { context, output, fingerprints: Fingerprints::new(rand::random()) }
    }

    /// Whether the result is data for programs.
    pub fn is_json(&self) -> bool {
        self.output.json_output || self.output.format.as_deref() == Some("json")
    }

    fn text_options(&self) -> TextOptions {
        TextOptions {
            color: self.context.console.out_has_color(),
            context: self.output.format.is_some().then_some(CONTEXT),
            fingerprints: self.fingerprints.clone(),
        }
    }

    /// Prints what is planned, before anything is done.
    pub fn planned(&self, plan: &Plan) {
        if self.is_json() || self.output.silence_events {
            return;
        }
        let options = self.text_options();
        for change in plan.changes.iter().filter(|change| change.role == Role::Asked) {
            self.context.console.out(&report::change_text(change, &options));
        }
    }

    /// Prints the end of a run: the summary, or all of it as JSON.
    pub fn finished(
        &self,
        plan: &Plan,
        fates: Option<Vec<Fate>>,
        problems: Vec<Diagnostic>,
        sources: &SourceMap,
    ) {
        let console = &self.context.console;
        if self.is_json() {
            console.out(&report::json(plan, &JsonOptions { fates, problems }, &self.fingerprints));
            return;
        }
        console.problems(&problems, sources);
        if let Some(fates) = &fates {
            console.err(&report::failures(plan, fates));
        }
        console.out(&report::summary(report::counts(plan, fates.as_deref())));
    }

    /// Prints a failure before anything was done; with `--json-output` as JSON, too.
    pub fn failed(&self, failure: Failure) -> Outcome {
        if !self.is_json() {
            return Err(failure);
        }
        let options = JsonOptions { fates: None, problems: failure.problems };
        self.context.console.out(&report::json(&Plan::default(), &options, &self.fingerprints));
        Ok(failure.exit)
    }
}

/// What became of each change, for reports.
pub fn fates(plan: &Plan, outcome: &apply::Outcome) -> Vec<Fate> {
    let name = |index: usize| {
        plan.changes.get(index).map_or_else(String::new, |change| {
            format!("{} {} {}", change.action, change.kind.report.word, change.label)
        })
    };
    let fate = |status: &Status| match status {
        Status::Done => Fate::Done,
        Status::Failed(error) => Fate::Failed(error.to_string()),
        Status::NotTried(Reason::DependsOn(on)) => Fate::NotTried(format!("it depends on: {}", name(*on))),
        Status::NotTried(Reason::Interrupted) => Fate::NotTried("the run was interrupted".into()),
        Status::NotTried(Reason::Stopped) => Fate::NotTried("the run was stopped".into()),
        Status::RolledBack => Fate::RolledBack,
    };
    outcome.statuses.iter().map(fate).collect()
}

/// The problems that changes do not tell themselves.
pub fn problems(plan: &Plan, outcome: &apply::Outcome) -> Vec<Diagnostic> {
    let left = outcome.left_behind.iter().filter_map(|(index, error)| {
        let change = plan.changes.get(*index)?;
        let what = format!("{} {}", change.kind.report.word, change.label);
        Some(Diagnostic::error(error.code(), format!("undoing the change of {what} failed: {error}")))
    });
    let interrupted = outcome.interrupted.then(|| {
        Diagnostic::error(codes::INTERRUPTED, "the run was interrupted before its end")
            .help("run the same command again: it goes on where this one stopped")
    });
    left.chain(interrupted).collect()
}

/// The exit code of an applied plan.
pub fn exit(outcome: &apply::Outcome) -> Exit {
    match outcome.exit_code() {
        0 => Exit::Success,
        1 => Exit::Failure,
        _ => Exit::Partial,
    }
}

/// A progress bar on standard error; hidden where that is no terminal.
pub fn progress(context: &Context, plan: &Plan, shown: bool) -> ProgressBar {
    if !shown || !context.console.err_is_terminal() || plan.changes.is_empty() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(plan.changes.len() as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} changes, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
