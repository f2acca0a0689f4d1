//! `gateway resume`: goes on with a run that ended before everything was done.
//!
//! The files and the control plane are read anew, with the arguments that the journal kept; what is left to do must be
//! part of what the run was about to do.

use super::super::settings::read_small;
use super::super::{Context, Failure, Outcome};
use super::flags::Requests;
use super::journal;
use super::output::{Output, Printer};
use super::planning::{Ids, Job, Planned, Purpose};
use super::saved;
use super::write::{Run, Writing};
use crate::apply::Journal;
use crate::diagnostics::{Diagnostic, codes};
use std::path::{Path, PathBuf};

/// The arguments of `gateway resume`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    output: Output,
}

/// Carries out what a run left undone.
pub async fn run(args: &Args, context: &Context) -> Outcome {
    let printer = Printer::new(context, &args.output);
    match plan(args, &printer, context).await {
        Ok((path, journal, parts)) => {
            let nothing_left = parts.iter().all(|part| part.plan.is_empty());
            let run = Run { requests: &args.requests, writing: &args.writing, printer: &printer, context };
            let exit = run.write(parts, Some((journal.command, journal.arguments))).await?;
            if nothing_left && args.writing.journal.journal.is_none() {
                // No new journal took its place.
                drop(std::fs::remove_file(path));
            }
            Ok(exit)
        }
        Err(failure) => printer.failed(failure),
    }
}

async fn plan(
    args: &Args,
    printer: &Printer<'_>,
    context: &Context,
) -> Result<(PathBuf, Journal, Vec<Planned>), Failure> {
    let (path, journal) = match &args.writing.journal.journal {
        Some(path) => (path.clone(), read(path)?),
        None => find(context)?,
    };
    let (done, all) = journal.progress();
    printer.note(&format!("Going on with a run of which {done} of {all} changes were done.\n"));
    let shape = saved::shape_of(&journal.arguments)?;
    let job =
        Job { shape: &shape, requests: &args.requests, command: journal.command, purpose: Purpose::Write };
    let parts = job
        .plan(context, &|made_for| {
            let part = journal.part(made_for).ok_or_else(|| {
                let names: Vec<String> = journal.parts.iter().map(|part| part.made_for.name()).collect();
                let message =
                    format!("the run was for {}, and this is {}", names.join("; "), made_for.name());
                Failure::new(codes::STALE_PLAN, message)
            })?;
            Ok(Ids::after(&part.new_ids))
        })
        .await?;
    let mut unexpected: Vec<Diagnostic> = Vec::new();
    for planned in &parts {
        if let Some(part) = journal.part(&planned.session.made_for()) {
            unexpected.extend(part.unexpected(&planned.plan));
        }
    }
    if unexpected.is_empty() {
        return Ok((path, journal, parts));
    }
    let failure = saved::named_once(unexpected);
    Err(failure.help("`foredeck gateway sync` carries out what the files ask for now"))
}

fn read(path: &Path) -> Result<Journal, Failure> {
    let text = read_small(path, saved::LARGEST)?;
    Ok(Journal::read(&text).map_err(|mut problem| {
        problem.message = format!("{}: {}", path.display(), problem.message);
        problem
    })?)
}

/// The journal that an interrupted run on this control plane left in the usual place.
fn find(context: &Context) -> Result<(PathBuf, Journal), Failure> {
    let settings = &context.settings;
    let here =
        [&settings.kong_addr, &settings.konnect.addr].map(|address| address.as_str().trim_end_matches('/'));
    let folder = settings.state_folder.as_deref();
    let mut found = Vec::new();
    for path in folder.map(journal::left_behind).unwrap_or_default() {
        let journal = read(&path)?;
        if journal.parts.iter().any(|part| here.contains(&part.made_for.address.as_str())) {
            found.push((path, journal));
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => {
            let message = format!("no interrupted run on {} is known", here.join(" or "));
            Err(Failure::new(codes::USAGE, message)
                .help("name its journal with --journal, or sync the same files again: that goes on as well"))
        }
        (Some(last), false) => {
            let names = found.iter().chain([&last]).map(|(path, _)| path.display().to_string());
            let names: Vec<String> = names.collect();
            Err(Failure::new(codes::USAGE, "several interrupted runs are known")
                .help(format!("choose one with --journal: {}", names.join(", "))))
        }
    }
}
