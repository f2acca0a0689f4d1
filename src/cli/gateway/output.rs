//! What the writing commands print: the plan, what became of it, problems; and the exit code.

use super::super::{Context, Failure, Outcome, files};
use super::flags::exclusive;
use super::planning::Planned;
use super::session::Session;
use crate::apply::{self, Reason, Status};
use crate::diagnostics::{self, Diagnostic, SourceMap, codes};
use crate::plan::Plan;
use crate::report::{self, Fate, Fingerprints, JsonOptions, TextOptions};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;

/// How many unchanged lines `--format text` shows around a changed one.
const CONTEXT: usize = 3;

/// How results are printed.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Print the result as JSON
    #[arg(long)]
    pub json_output: bool,

    /// Print only the summary, not each change
    #[arg(long)]
    pub silence_events: bool,

    /// Format of the result: text (only changed lines, with three around them), json, markdown (for the comment of a
    /// pull request) or github (annotations, and Markdown for the summary of the job)
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub format: Option<Format>,
}

/// A form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON document for programs.
    Json,
    /// Markdown on standard output.
    Markdown,
    /// Workflow commands on standard output, Markdown to the file that `GITHUB_STEP_SUMMARY` names.
    Github,
}

/// The variable that names the file of a GitHub job's summary.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// What a run planned, and what became of it, over all its control planes.
#[derive(Default)]
pub struct Results {
    plan: Plan,
    fates: Option<Vec<Fate>>,
    new_workspaces: Vec<String>,
    problems: Vec<Diagnostic>,
    sources: SourceMap,
}

impl Results {
    fn markdown(&self, fingerprints: &Fingerprints) -> String {
        let made = self.new_workspaces.iter().map(|name| format!("Workspace `{name}` is made.\n\n"));
        let report = report::markdown(&self.plan, self.fates.as_deref(), fingerprints);
        made.chain([report]).collect()
    }

    /// Adds what was planned for one control plane; with what became of it, and what was found then, once it was carried
    /// out.
    pub fn add(&mut self, part: Planned, fates: Option<Vec<Fate>>, found: Vec<Diagnostic>) {
        let Session { aim, exists, .. } = &part.session;
        self.new_workspaces.extend(aim.workspace.clone().filter(|_| !exists));
        self.plan.append(part.plan);
        if let Some(fates) = fates {
            self.fates.get_or_insert_default().extend(fates);
        }
        let not_executed = part.session.not_executed(&part.plugins);
        self.problems.extend(part.warnings.into_iter().chain(found).chain(not_executed));
        self.sources.append(part.sources);
    }
}

/// Prints one run's result.
pub struct Printer<'a> {
    context: &'a Context,
    output: &'a Output,
    fingerprints: Fingerprints,
}

impl<'a> Printer<'a> {
    /// A printer with a fresh salt for fingerprints. Fails when the flags ask for two formats.
    pub fn new(context: &'a Context, output: &'a Output) -> Result<Self, Diagnostic> {
        exclusive(("--json-output", output.json_output), ("--format", output.format.is_some()))?;
        Ok(Printer { context, output, fingerprints: Fingerprints::new(rand::random()) })
    }

    fn format(&self) -> Format {
        if self.output.json_output { Format::Json } else { self.output.format.unwrap_or(Format::Text) }
    }

    /// Whether the result is lines for people, printed as they come.
    pub fn is_for_people(&self) -> bool {
        self.format() == Format::Text
    }

    fn text_options(&self) -> TextOptions {
        TextOptions {
            color: self.context.console.out_has_color(),
            context: self.output.format.is_some().then_some(CONTEXT),
            fingerprints: self.fingerprints.clone(),
        }
    }

    /// Prints what is planned, before anything is done; for one of several workspaces under its name.
    pub fn planned(&self, part: &Planned, several: bool) {
        if !self.is_for_people() || self.output.silence_events {
            return;
        }
        if several {
            let name = part.session.aim.workspace.as_deref().unwrap_or("default");
            self.context.console.out(&format!("Workspace {name}:\n"));
        }
        if let Some(name) = part.session.aim.workspace.as_deref().filter(|_| !part.session.exists) {
            self.context.console.out(&format!("Creating workspace {name}\n"));
        }
        let options = self.text_options();
        for change in part.plan.asked() {
            self.context.console.out(&report::change_text(change, &options));
        }
    }

    /// Says something beside the result, where people read it.
    pub fn note(&self, text: &str) {
        if self.is_for_people() {
            self.context.console.err(text);
        }
    }

    /// Prints the end of a run: the summary, or all of it in the other formats.
    pub fn finished(&self, results: &Results) -> Result<(), Failure> {
        let console = &self.context.console;
        let Results { plan, fates, new_workspaces, problems, sources } = results;
        let fates = fates.as_deref();
        match self.format() {
            Format::Json => {
                let options = JsonOptions {
                    fates: fates.map(<[Fate]>::to_vec),
                    new_workspaces: new_workspaces.clone(),
                    problems: problems.clone(),
                };
                console.out(&report::json(plan, &options, &self.fingerprints));
            }
            Format::Text => {
                console.problems(problems, sources);
                console.err(&fates.map(|fates| report::failures(plan, fates)).unwrap_or_default());
                console.out(&report::summary(report::counts(plan, fates)));
            }
            Format::Markdown => {
                console.problems(problems, sources);
                console.out(&results.markdown(&self.fingerprints));
            }
            Format::Github => {
                console.out(&diagnostics::render(problems, sources, diagnostics::Format::Github, false));
                console.out(&report::github(plan, fates));
                step_summary(self.context, &results.markdown(&self.fingerprints))?;
            }
        }
        Ok(())
    }

    /// Prints a failure before anything was done, in the format of the run.
    pub fn failed(&self, failure: Failure) -> Outcome {
        let console = &self.context.console;
        match self.format() {
            Format::Text => return Err(failure),
            Format::Json => {
                let options = JsonOptions { problems: failure.problems, ..JsonOptions::default() };
                console.out(&report::json(&Plan::default(), &options, &self.fingerprints));
            }
            Format::Markdown => {
                console.out(&report::failure_markdown(&failure.problems));
                return Err(failure);
            }
            Format::Github => {
                let Failure { problems, sources, .. } = &failure;
                console.out(&diagnostics::render(problems, sources, diagnostics::Format::Github, false));
                step_summary(self.context, &report::failure_markdown(problems))?;
            }
        }
        Ok(failure.exit)
    }
}

/// Adds Markdown to the summary of the GitHub job that this runs in, if it runs in one.
pub fn step_summary(context: &Context, markdown: &str) -> Result<(), Failure> {
    match context.environment.get(STEP_SUMMARY).filter(|path| !path.is_empty()) {
        Some(path) => files::append(Path::new(path), markdown),
        None => Ok(()),
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
        Diagnostic::error(codes::INTERRUPTED, "the run was interrupted before its end").help(
            "run the same command again, or `foredeck gateway resume`: it goes on where this one stopped",
        )
    });
    left.chain(interrupted).collect()
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
