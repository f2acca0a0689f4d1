//! `gateway drift`: the last applied state, the files and the control plane, and who changed what.

use super::super::{Context, Exit, Outcome};
use super::flags::{Inputs, Requests, Scope};
use super::output::step_summary;
use super::planning::{Job, Passwords, Planning, Purpose, Shape, fresh_ids};
use crate::apply::Command;
use crate::report;

/// The arguments of `gateway drift`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    passwords: Passwords,
    #[command(flatten)]
    requests: Requests,

    /// State file or folder that was applied last, in place of the record that sync and apply keep; repeatable
    #[arg(long, value_name = "FILE")]
    base: Vec<String>,

    /// Format of the result: text, json, markdown or github
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text", hide_possible_values = true)]
    format: Format,
}

/// A form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Lines for people.
    Text,
    /// One JSON document for programs.
    Json,
    /// Markdown for the comment of a pull request.
    Markdown,
    /// Annotations, and the summary of the job, of a GitHub workflow.
    Github,
}

/// Says who changed what since the last applied state.
pub async fn run(args: &Args, context: &Context) -> Outcome {
    let shape = Shape {
        inputs: args.inputs.clone(),
        scope: args.scope.clone(),
        planning: Planning::default(),
        passwords: args.passwords.clone(),
        dbless: false,
    };
    let purpose = Purpose::Drift { base: &args.base };
    let job = Job { shape: &shape, requests: &args.requests, command: Command::Sync, purpose };
    let mut found = Vec::new();
    for part in job.plan(context, &fresh_ids).await? {
        context.console.problems(&part.warnings, &part.sources);
        found.push((part.session.made_for(), part.drift));
    }
    let drifted = found.iter().any(|(_, drift)| !drift.is_empty());
    context.console.out(&match args.format {
        Format::Text => report::drift_text(&found),
        Format::Json => report::drift_json(&found),
        Format::Markdown => report::drift_markdown(&found),
        Format::Github => report::drift_github(&found),
    });
    if args.format == Format::Github {
        step_summary(context, &report::drift_markdown(&found))?;
    }
    Ok(if drifted { Exit::Differences } else { Exit::Success })
}
