//! Plans in files: `gateway diff --out` writes one, `gateway sync --plan` carries it out or refuses.
//!
//! What is in the file and how it is compared lives in `plan::SavedPlan`.

use super::super::settings::read_small;
use super::super::{Context, Failure, arguments, files, spelling};
use super::flags::Requests;
use super::planning::{Ids, Job, Planned, Shape};
use crate::diagnostics::{Diagnostic, codes};
use crate::plan::SavedPlan;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::path::Path;

/// The largest saved plan that is read, in bytes: some hundred thousand changes.
const LARGEST: u64 = 1 << 30;

/// The command line of what shapes a plan.
fn shape() -> Command {
    spelling(Shape::augment_args(Command::new("plan").no_binary_name(true)))
}

/// The arguments of this run that shaped its plan.
pub fn arguments(matches: &ArgMatches) -> Vec<String> {
    arguments::given(&shape(), matches)
}

/// What saved arguments shape. Paths in them are taken from where the command is started.
pub fn shape_of(arguments: &[String]) -> Result<Shape, Failure> {
    shape()
        .try_get_matches_from(arguments)
        .and_then(|matches| Shape::from_arg_matches(&matches))
        .map_err(|error| Failure::new(codes::SYNTAX, format!("the saved arguments cannot be read: {error}")))
}

/// Saves a plan.
pub fn write(path: &Path, planned: &Planned, context: &Context) -> Result<(), Failure> {
    let saved = SavedPlan::new(
        &planned.plan,
        planned.made_for(),
        arguments(&context.arguments),
        planned.new_ids.clone(),
    );
    files::write_private(path, saved.text().as_bytes())
}

/// Plans anew what a saved plan was made from, and refuses unless that gives the same plan.
pub async fn plan(path: &Path, requests: &Requests, context: &Context) -> Result<Planned, Failure> {
    let own: Vec<String> = arguments(&context.arguments).into_iter().filter(|text| text != "--").collect();
    if !own.is_empty() {
        return Err(Failure::new(codes::USAGE, "a saved plan holds its files and flags itself")
            .help(format!("leave out {}", own.join(" "))));
    }
    let saved = SavedPlan::read(&read_small(path, LARGEST)?)?;
    let shape = shape_of(&saved.arguments)?;
    let job = Job { shape: &shape, requests, delete: true };
    let planned = job.plan(context, Ids::after(&saved.new_ids)).await?;
    let differences = saved.differences(&planned.plan, &planned.made_for());
    if differences.is_empty() { Ok(planned) } else { Err(named_once(differences)) }
}

/// The differences as one failure; the help, which all of them share, stands at the last.
fn named_once(mut differences: Vec<Diagnostic>) -> Failure {
    let last = differences.len().saturating_sub(1);
    differences.iter_mut().take(last).for_each(|difference| difference.help.clear());
    differences.into()
}
