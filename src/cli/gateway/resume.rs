//! `gateway resume`: goes on with a run that ended before everything was done.
//!
//! The files and the control plane are read anew, with the arguments that the journal kept; what is left to do must be
//! part of what the run was about to do. With `--rollback` what the run did is undone, in place of that.

use super::super::Exit;
use super::super::settings::read_small;
use super::super::{Context, Failure, Outcome};
use super::flags::{Requests, Scope};
use super::journal;
use super::output::{Output, Printer};
use super::planning::{Ids, Job, Planned, Purpose, no_plugins, nothing, wanted};
use super::saved;
use super::session::{Aim, Session};
use super::write::{Run, Writing};
use crate::apply::{Journal, Part};
use crate::control_plane::{self, Arrival};
use crate::diagnostics::{Diagnostic, SourceMap, codes};
use crate::model::State;
use crate::plan::{self, MadeFor};
use std::path::{Path, PathBuf};

/// The arguments of `gateway resume`.
#[derive(clap::Args)]
pub struct Args {
    /// Undo what the run did, in place of going on with it; secrets that it replaced or deleted cannot be brought back
    #[arg(long)]
    rollback: bool,

    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    output: Output,
}

/// Carries out what a run left undone, or undoes what it did.
pub async fn run(args: &Args, context: &Context) -> Outcome {
    let printer = Printer::new(context, &args.output)?;
    let run = Run { requests: &args.requests, writing: &args.writing, printer: &printer, context };
    let found = match &args.writing.journal.journal {
        Some(path) => read(path).map(|journal| (path.clone(), journal)),
        None => find(context),
    };
    let (path, journal) = match found {
        Ok(found) => found,
        Err(failure) => return printer.failed(failure),
    };
    let (done, all) = journal.progress();
    let doing = if args.rollback { "Undoing" } else { "Going on with" };
    printer.note(&format!("{doing} a run of which {done} of {all} changes were done.\n"));
    let (exit, over) = if args.rollback {
        let (parts, all) = match undoing(args, &journal, context).await {
            Ok(undoing) => undoing,
            Err(failure) => return printer.failed(failure),
        };
        let exit = run.write(parts, None).await?;
        // What is left as the run made it is a change that stays.
        let exit = if exit == Exit::Success && !all { Exit::of(false, true) } else { exit };
        (exit, exit == Exit::Success)
    } else {
        let parts = match plan(args, &journal, context).await {
            Ok(parts) => parts,
            Err(failure) => return printer.failed(failure),
        };
        // Otherwise a new journal takes its place.
        let nothing_left = parts.iter().all(|part| part.plan.is_empty());
        (run.write(parts, Some((journal.command, journal.arguments))).await?, nothing_left)
    };
    if over && args.writing.journal.journal.is_none() {
        drop(std::fs::remove_file(path));
    }
    Ok(exit)
}

/// What is left to do.
async fn plan(args: &Args, journal: &Journal, context: &Context) -> Result<Vec<Planned>, Failure> {
    let shape = saved::shape_of(&journal.arguments)?;
    let job =
        Job { shape: &shape, requests: &args.requests, command: journal.command, purpose: Purpose::Write };
    let parts = job
        .plan(context, &|made_for| {
            let part = journal.part(made_for).ok_or_else(|| elsewhere(journal, made_for))?;
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
        return Ok(parts);
    }
    let failure = saved::named_once(unexpected);
    Err(failure.help("`foredeck gateway sync` carries out what the files ask for now"))
}

/// What undoes the run, the last control plane first, and whether that is all of it.
async fn undoing(args: &Args, journal: &Journal, context: &Context) -> Result<(Vec<Planned>, bool), Failure> {
    let mut parts = Vec::new();
    for part in journal.parts.iter().rev().filter(|part| !part.kinds().is_empty()) {
        let aim = Aim {
            control_plane: part.made_for.control_plane.clone(),
            workspace: part.made_for.workspace.clone(),
        };
        let mut session = Session::open(context, &args.requests, aim).await?;
        if session.made_for() != part.made_for {
            return Err(elsewhere(journal, &session.made_for()));
        }
        session.learn(&Scope::default().skipped(&session.schemas), &no_plugins()).await?;
        let now = held(&session, part).await?;
        let (plan, lost) = part.undoing(&now, &session.schemas);
        if plan.conflicts.iter().any(Diagnostic::is_error) {
            return Err(plan.conflicts.into());
        }
        parts.push(Planned {
            session,
            plan,
            new_ids: Vec::new(),
            whole: None,
            applied: None,
            drift: Vec::new(),
            warnings: lost,
            plugins: no_plugins(),
            sources: SourceMap::default(),
        });
    }
    let all = parts.iter().all(|part| part.warnings.is_empty());
    Ok((parts, all))
}

/// Everything that a control plane holds of the kinds that belong together, and of those that the run changed.
async fn held(session: &Session, part: &Part) -> Result<State, Failure> {
    let mut now = State::default();
    if !session.exists {
        return Ok(now);
    }
    let touched = part.kinds();
    let mut skip = Scope::default().skipped(&session.schemas);
    skip.retain(|kind| !touched.contains(&**kind));
    let options = plan::Options { skip, ..plan::Options::default() };
    let wanted = wanted(session, plan::reads(&nothing(&[]), &session.schemas, &options));
    let mut sink = |arrival: Arrival| {
        if let Arrival::Page(entities) = arrival {
            now.entities.extend(entities);
        }
    };
    control_plane::read(&session.plane, &session.schemas, &wanted, session.parallelism(), &mut sink)
        .await
        .map_err(|error| session.explain(&error))?;
    Ok(now)
}

fn elsewhere(journal: &Journal, here: &MadeFor) -> Failure {
    let names: Vec<String> = journal.parts.iter().map(|part| part.made_for.name()).collect();
    let message = format!("the run was for {}, and this is {}", names.join("; "), here.name());
    Failure::new(codes::STALE_PLAN, message)
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
