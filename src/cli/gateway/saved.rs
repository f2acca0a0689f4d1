//! Plans in files: `gateway diff --out` writes one, `gateway sync --plan` carries it out or refuses.
//!
//! What is in the file and how it is compared lives in `plan::SavedPlan`.

use super::super::settings::read_small;
use super::super::{Context, Failure, arguments, files, spelling};
use super::flags::Requests;
use super::planning::{Ids, Job, Planned, Purpose, Shape};
use crate::apply;
use crate::diagnostics::{Diagnostic, codes};
use crate::plan::SavedPlan;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::path::Path;

/// The largest saved plan or journal that is read, in bytes: some hundred thousand changes.
pub const LARGEST: u64 = 1 << 30;

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
pub fn write(path: &Path, parts: &[Planned], context: &Context) -> Result<(), Failure> {
    let [part] = parts else {
        let failure =
            Failure::new(codes::USAGE, "the files are for several workspaces, and a plan is saved for one");
        return Err(failure.help("save one plan for the files of each workspace"));
    };
    let arguments = arguments(&context.arguments);
    let saved = SavedPlan::new(&part.plan, part.session.made_for(), arguments, part.new_ids.clone());
    files::write_private(path, saved.text().as_bytes())
}

/// Plans anew what a saved plan was made from, and refuses unless that gives the same plan. Also gives the arguments
/// that shape it.
pub async fn plan(
    path: &Path,
    requests: &Requests,
    context: &Context,
) -> Result<(Vec<Planned>, Vec<String>), Failure> {
    let own: Vec<String> = arguments(&context.arguments).into_iter().filter(|text| text != "--").collect();
    if !own.is_empty() {
        return Err(Failure::new(codes::USAGE, "a saved plan holds its files and flags itself")
            .help(format!("leave out {}", own.join(" "))));
    }
    let saved = SavedPlan::read(&read_small(path, LARGEST)?)?;
    let shape = shape_of(&saved.arguments)?;
    let job = Job { shape: &shape, requests, command: apply::Command::Sync, purpose: Purpose::Write };
    let parts = job.plan(context, &|_| Ok(Ids::after(&saved.new_ids))).await?;
    let differences = parts.iter().flat_map(|part| saved.differences(&part.plan, &part.session.made_for()));
    let differences: Vec<Diagnostic> = differences.collect();
    if differences.is_empty() { Ok((parts, saved.arguments)) } else { Err(named_once(differences)) }
}

/// The differences as one failure; the help, which all of them share, stands at the last.
pub fn named_once(mut differences: Vec<Diagnostic>) -> Failure {
    let last = differences.len().saturating_sub(1);
    differences.iter_mut().take(last).for_each(|difference| difference.help.clear());
    differences.into()
}
