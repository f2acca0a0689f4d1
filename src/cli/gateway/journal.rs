//! Where journals are kept, and writing one while a run goes on.
//!
//! What stands in a journal lives in `apply`.

use super::super::{Context, Failure, files};
use super::planning::Planned;
use crate::apply::{Command, Event, Writer};
use crate::plan::MadeFor;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What the names of journals end in.
const EXTENSION: &str = "journal";

/// Where the journal goes.
#[derive(clap::Args, Clone, Default)]
pub struct Place {
    /// File for the journal, from which `gateway resume` goes on [default: one in $XDG_STATE_HOME/foredeck while the
    /// run goes on]
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

/// The journal of one run.
pub struct Journal {
    path: PathBuf,
    /// Nobody asked for the file by name, so that it goes when the run is complete.
    passing: bool,
    writer: Writer<File>,
    /// Why a line could not be written; nothing is written after that.
    failure: Option<io::Error>,
}

impl Journal {
    /// Begins the journal of a run. `None` where there is nothing to keep or no place to keep it in.
    pub fn begin(
        place: &Place,
        command: Command,
        arguments: Vec<String>,
        parts: &[Planned],
        context: &Context,
    ) -> Result<Option<Journal>, Failure> {
        if parts.iter().all(|part| part.plan.is_empty()) {
            return Ok(None);
        }
        let (path, passing) = match (&place.journal, &context.settings.state_folder) {
            (Some(path), _) => (path.clone(), false),
            (None, Some(folder)) => {
                let named: Vec<MadeFor> = parts.iter().map(|part| part.session.made_for()).collect();
                (folder.join(file_name(&named)), true)
            }
            (None, None) => return Ok(None),
        };
        let lines = parts.iter().map(|part| (part.session.made_for(), &*part.new_ids, &part.plan));
        let begin = || -> io::Result<File> {
            if let Some(folder) = path.parent().filter(|_| passing) {
                std::fs::create_dir_all(folder)?;
            }
            Writer::begin(files::Draft::new(&path)?, command, arguments, lines)?.finish()
        };
        match begin() {
            Ok(file) => Ok(Some(Journal { path, passing, writer: Writer::new(file), failure: None })),
            // Nobody asked for this one; the run is as good without it.
            Err(_) if passing => Ok(None),
            Err(error) => Err(files::unwritable(&path, &error)),
        }
    }

    /// Keeps what happens.
    pub fn event(&mut self, part: usize, event: &Event<'_>) {
        if self.failure.is_none() {
            self.failure = self.writer.event(part, event).err();
        }
    }

    /// Ends the journal. Unless everything is settled, gives the arguments with which `gateway resume` finds it.
    pub fn end(self, settled: bool) -> Option<String> {
        if settled && self.passing {
            // One that stays is taken for an interrupted run, of which nothing is left to do.
            drop(std::fs::remove_file(&self.path));
        }
        let arguments =
            if self.passing { String::new() } else { format!(" --journal {}", self.path.display()) };
        (!settled && self.failure.is_none()).then_some(arguments)
    }
}

/// The journals that runs left behind.
pub fn left_behind(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION)).collect();
    found.sort();
    found
}

/// One name for each set of control planes.
fn file_name(parts: &[MadeFor]) -> String {
    let text = serde_json::to_string(parts).unwrap_or_default();
    format!("{}.{EXTENSION}", Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()))
}
