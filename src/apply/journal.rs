//! The journal of a run: what it was about to do, and how far it came. JSON, a line at a time.
//!
//! It holds no secret: of what an entity should become it keeps a digest, in which secrets count by their origins, and
//! of what an entity was, whether the change leaves its secrets as they are. What does not live here: where journals
//! are kept (`cli`), and undoing a run (`run` while it goes on, `undo` afterwards).

use crate::diagnostics::{Diagnostic, codes};
use crate::plan::{Action, Change, MadeFor, Plan, Role};
use crate::schema::{Field, Kind, Type};
use crate::value::Value;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Write};
use uuid::Uuid;

/// The value of a journal's `format`.
const FORMAT: &str = "foredeck-journal/1";

/// The member that stands for a secret of an entity before its change: [`KEPT`] or [`LOST`].
pub(super) const SECRET: &str = "$secret";
/// The change leaves the secret as it is.
pub(super) const KEPT: &str = "kept";
/// The change replaces the secret, or takes it away.
const LOST: &str = "lost";

/// The command that a run carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// What is not in the files is deleted.
    Sync,
    /// Nothing is deleted.
    Apply,
}

/// One line of a journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// The first: which command, with which arguments.
    Run { format: String, command: Command, arguments: Vec<String> },
    /// A control plane of the run, whose changes follow.
    Part { made_for: MadeFor, new_ids: Vec<Uuid> },
    /// A change of the last part.
    Change(Recorded),
    /// A request is about to be sent: the number of the part and of the change in it.
    Started(usize, usize),
    /// The change is done.
    Done(usize, usize),
    /// The change failed.
    Failed(usize, usize),
    /// The change was undone again.
    Undone(usize, usize),
}

/// A change as a journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded {
    action: Action,
    /// The name of the entity's kind.
    pub kind: String,
    pub id: Uuid,
    pub subject: String,
    /// The entity as it was, without its secrets; null for a creation.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub before: Json,
    /// The digest of what the entity becomes; empty for a deletion.
    becomes: String,
    /// The deletion that it goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascades_from: Option<usize>,
    #[serde(skip, default)]
    done: bool,
    /// A request was sent, or was about to be.
    #[serde(skip, default)]
    pub started: bool,
}

/// A part of a run: one control plane, and what was to be done there.
#[derive(Clone, Debug)]
pub struct Part {
    /// The control plane.
    pub made_for: MadeFor,
    /// The ids that were made for new entities.
    pub new_ids: Vec<Uuid>,
    pub(super) changes: Vec<Recorded>,
}

/// A journal that was read.
#[derive(Clone, Debug)]
pub struct Journal {
    /// The command.
    pub command: Command,
    /// The arguments that shaped its plan.
    pub arguments: Vec<String>,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// Writes a journal. Every line reaches the system before the call returns, so that it outlives the process.
pub struct Writer<W: Write> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a journal with everything that is to be done.
    pub fn begin<'p>(
        out: W,
        command: Command,
        arguments: Vec<String>,
        parts: impl Iterator<Item = (MadeFor, &'p [Uuid], &'p Plan)>,
    ) -> io::Result<W> {
        let mut out = io::BufWriter::new(out);
        put(&mut out, &Line::Run { format: FORMAT.to_owned(), command, arguments })?;
        for (made_for, new_ids, plan) in parts {
            put(&mut out, &Line::Part { made_for, new_ids: new_ids.to_vec() })?;
            for change in plan.changes.iter() {
                put(&mut out, &Line::Change(Recorded::of(change)))?;
            }
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    /// Goes on with a journal that was begun.
    pub fn new(out: W) -> Self {
        Writer { out }
    }

    /// Keeps what happens to a change of a part.
    pub fn event(&mut self, part: usize, event: &super::Event<'_>) -> io::Result<()> {
        let line = match *event {
            super::Event::Started { change } => Line::Started(part, change),
            super::Event::Undone { change } => Line::Undone(part, change),
            super::Event::Finished { change, status } => match status {
                super::Status::Done => Line::Done(part, change),
                super::Status::Failed(_) => Line::Failed(part, change),
                super::Status::NotTried(_) | super::Status::RolledBack => return Ok(()),
            },
        };
        put(&mut self.out, &line)
    }
}

fn put(out: &mut impl Write, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)
}

impl Journal {
    /// A journal from its text. A last line that was cut off is left out.
    pub fn read(text: &str) -> Result<Self, Diagnostic> {
        let fault = |number: usize, reason: &str| {
            Diagnostic::error(codes::SYNTAX, format!("this is no journal: line {}: {reason}", number + 1))
                .help("`foredeck gateway sync` with the same files goes on without it")
        };
        let mut journal: Option<Journal> = None;
        let lines: Vec<&str> = text.lines().collect();
        for (number, text) in lines.iter().enumerate() {
            let line: Line = match serde_json::from_str(text) {
                Ok(line) => line,
                Err(_) if number > 0 && number + 1 == lines.len() => break,
                Err(error) => return Err(fault(number, &error.to_string())),
            };
            match (line, &mut journal) {
                (Line::Run { format, command, arguments }, None) if format == FORMAT => {
                    journal = Some(Journal { command, arguments, parts: Vec::new() });
                }
                (Line::Run { .. }, _) | (_, None) => return Err(fault(number, "it is not in its place")),
                (Line::Part { made_for, new_ids }, Some(journal)) => {
                    journal.parts.push(Part { made_for, new_ids, changes: Vec::new() });
                }
                (Line::Change(change), Some(journal)) => match journal.parts.last_mut() {
                    Some(part) => part.changes.push(change),
                    None => return Err(fault(number, "a change without a part")),
                },
                (Line::Started(part, change), Some(journal)) => {
                    journal.mark(part, change, |change| change.started = true);
                }
                (Line::Done(part, change), Some(journal)) => {
                    journal.mark(part, change, |change| change.done = true);
                }
                (Line::Undone(part, change), Some(journal)) => {
                    journal.mark(part, change, |change| change.done = false);
                }
                (Line::Failed(..), Some(_)) => {}
            }
        }
        journal.ok_or_else(|| fault(0, "it is empty"))
    }

    fn mark(&mut self, part: usize, change: usize, set: impl FnOnce(&mut Recorded)) {
        if let Some(change) = self.parts.get_mut(part).and_then(|part| part.changes.get_mut(change)) {
            set(change);
        }
    }

    /// How many changes were done, and how many were to be.
    pub fn progress(&self) -> (usize, usize) {
        let changes = || self.parts.iter().flat_map(|part| &part.changes);
        (changes().filter(|change| change.done).count(), changes().count())
    }

    /// The part for a control plane.
    pub fn part(&self, made_for: &MadeFor) -> Option<&Part> {
        self.parts.iter().find(|part| part.made_for == *made_for)
    }
}

impl Part {
    /// What `plan`, made now from the same inputs, would do that the run was not about to do.
    pub fn unexpected(&self, plan: &Plan) -> Vec<Diagnostic> {
        let mut expected: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
        for change in &self.changes {
            expected.entry(&change.subject).or_default().push(change);
        }
        let mut out = Vec::new();
        for change in plan.changes.iter().filter(|change| change.role == Role::Asked) {
            let now = Recorded::of(change);
            let before = expected.get(now.subject.as_str()).map(Vec::as_slice).unwrap_or_default();
            let message = if before.is_empty() {
                format!("{} {} was not part of the interrupted run", now.action, now.subject)
            } else if before.iter().all(|before| before.becomes != now.becomes) {
                format!("{} should become another one than in the interrupted run", now.subject)
            } else {
                continue;
            };
            out.push(Diagnostic::error(codes::STALE_PLAN, message));
        }
        out
    }
}

impl Recorded {
    fn of(change: &Change) -> Self {
        let subject = format!("{} {}", change.kind.report.word, change.label);
        let becomes = change.after.as_ref().map(|after| digest(&change.kind, after)).unwrap_or_default();
        let before = change.before.as_ref();
        Recorded {
            action: change.action,
            kind: change.kind.name.to_string(),
            id: change.id,
            subject,
            before: before.map_or(Json::Null, |before| without_secrets(before, change.after.as_ref())),
            becomes,
            cascades_from: change.cascades_from,
            done: false,
            started: false,
        }
    }
}

/// A digest of what files say of an entity, with secrets as their origins. Without ids, which may be others the next
/// time; what the entity belongs to is in the subject of its change.
fn digest(kind: &Kind, body: &Value) -> String {
    let said = |field: &&Field| !field.auto && !field.computed && !matches!(field.ty, Type::Foreign { .. });
    let mut digest = Sha256::new();
    for field in kind.record.fields.iter().filter(said) {
        if let Some(value) = body.get(&field.name).filter(|value| !value.is_null()) {
            digest.update(format!("{}={value}\n", field.name));
        }
    }
    HEXLOWER.encode(digest.finalize().get(..16).unwrap_or_default())
}

/// JSON in which every secret says whether the other side has the same one.
fn without_secrets(value: &Value, after: Option<&Value>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(value) => Json::Number(value.clone()),
        Value::String(value) => Json::String(value.clone()),
        Value::Secret(_) => json!({ SECRET: if after == Some(value) { KEPT } else { LOST } }),
        Value::Array(items) => {
            let other = |n: usize| after?.as_array()?.get(n);
            items.iter().enumerate().map(|(n, item)| without_secrets(item, other(n))).collect()
        }
        Value::Object(members) => {
            let other = |name: &str| after?.get(name);
            let members = members.iter();
            Json::Object(
                members
                    .map(|(name, member)| (name.to_string(), without_secrets(member, other(name))))
                    .collect(),
            )
        }
    }
}
