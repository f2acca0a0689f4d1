//! A plan and what became of it as the JSON of `--json-output`.

use super::text::counts;
use super::{Fate, Fingerprints};
use crate::diagnostics::Diagnostic;
use crate::plan::{Action, Change, Detail, Plan, Role};
use crate::value::Value;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::{PrettyFormatter, Serializer as JsonWriter};

/// What a JSON report holds besides the changes.
#[derive(Clone, Debug, Default)]
pub struct JsonOptions {
    /// What became of each change, once the plan was applied.
    pub fates: Option<Vec<Fate>>,
    /// The workspaces that are made for the entities; they come before these.
    pub new_workspaces: Vec<String>,
    /// Problems that are not of a change, warnings and errors.
    pub problems: Vec<Diagnostic>,
}

/// The report, ending in a line break. Its order is the plan's, the same in every run.
pub fn json(plan: &Plan, options: &JsonOptions, fingerprints: &Fingerprints) -> String {
    let report = Report { plan, options, fingerprints };
    let mut out = Vec::new();
    let mut writer = JsonWriter::with_formatter(&mut out, PrettyFormatter::with_indent(b"\t"));
    if report.serialize(&mut writer).is_err() {
        return String::new();
    }
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

struct Report<'a> {
    plan: &'a Plan,
    options: &'a JsonOptions,
    fingerprints: &'a Fingerprints,
}

impl<'a> Report<'a> {
    fn fate(&self, n: usize) -> Option<&'a Fate> {
        self.options.fates.as_ref().and_then(|fates| fates.get(n))
    }

    fn list(&self, action: Action, dropped: bool) -> Vec<Item<'a>> {
        self.plan
            .changes
            .iter()
            .enumerate()
            .filter(|(n, change)| {
                change.role == Role::Asked
                    && change.action == action
                    && matches!(self.fate(*n), Some(Fate::NotTried(_))) == dropped
            })
            .map(|(_, change)| Item {
                change,
                fingerprints: self.fingerprints,
                detail: match change.action {
                    Action::Delete if self.options.fates.is_some() => Detail::Held,
                    _ => Detail::Planned,
                },
            })
            .collect()
    }

    fn problems(&self, errors: bool) -> Vec<String> {
        let of_changes = self.plan.changes.iter().enumerate().filter_map(|(n, change)| match self.fate(n) {
            Some(Fate::Failed(why)) if errors => {
                let word = &change.kind.report.word;
                Some(format!(
                    "while processing event: {} {word} {} failed: {why}",
                    title(change.action),
                    change.label
                ))
            }
            _ => None,
        });
        self.plan
            .conflicts
            .iter()
            .chain(&self.options.problems)
            .filter(|problem| problem.is_error() == errors)
            .map(Diagnostic::to_string)
            .chain(of_changes)
            .collect()
    }
}

fn title(action: Action) -> &'static str {
    match action {
        Action::Create => "Create",
        Action::Update => "Update",
        Action::Delete => "Delete",
    }
}

const ACTIONS: [(Action, &str, &str); 3] = [
    (Action::Create, "creating", "dropped_creations"),
    (Action::Update, "updating", "dropped_updates"),
    (Action::Delete, "deleting", "dropped_deletions"),
];

impl Serialize for Report<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("changes", &Changes(self))?;
        let counts = counts(self.plan, self.options.fates.as_deref());
        map.serialize_entry(
            "summary",
            &Members(vec![
                ("creating", Value::from(counts.created as u64)),
                ("updating", Value::from(counts.updated as u64)),
                ("deleting", Value::from(counts.deleted as u64)),
                ("total", Value::from(counts.total() as u64)),
            ]),
        )?;
        map.serialize_entry("warnings", &self.problems(false))?;
        map.serialize_entry("errors", &self.problems(true))?;
        map.end()
    }
}

struct Changes<'a, 'b>(&'b Report<'a>);

impl Serialize for Changes<'_, '_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        for (action, name, _) in ACTIONS {
            let made = self.0.options.new_workspaces.iter().filter(|_| action == Action::Create);
            let mut list: Vec<Listed<'_>> = made.map(|name| Listed::Workspace(name)).collect();
            list.extend(self.0.list(action, false).into_iter().map(Listed::Change));
            map.serialize_entry(name, &list)?;
        }
        for (action, _, dropped) in ACTIONS {
            let list = self.0.list(action, true);
            if !list.is_empty() {
                map.serialize_entry(dropped, &list)?;
            }
        }
        map.end()
    }
}

struct Members(Vec<(&'static str, Value)>);

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What a list of changes holds.
enum Listed<'a> {
    Workspace(&'a str),
    Change(Item<'a>),
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Listed::Change(item) => item.serialize(out),
            Listed::Workspace(name) => {
                let members = [("name", Some(*name)), ("kind", Some("workspace")), ("body", None)];
                out.collect_map(members)
            }
        }
    }
}

struct Item<'a> {
    change: &'a Change,
    fingerprints: &'a Fingerprints,
    detail: Detail,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(3))?;
        map.serialize_entry("name", &self.change.label)?;
        map.serialize_entry("kind", &self.change.kind.report.word)?;
        map.serialize_entry("body", &Sides(self))?;
        map.end()
    }
}

struct Sides<'a, 'b>(&'b Item<'a>);

impl Serialize for Sides<'_, '_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let Item { change, fingerprints, detail } = *self.0;
        let mut new = change.shown_subject(detail);
        let mut old = match change.action {
            Action::Update => change.shown_before(detail),
            Action::Create | Action::Delete => None,
        };
        if let (Some(old), Some(new)) = (&mut old, &mut new) {
            mark_changed(old, new, fingerprints);
        }
        let order = &change.kind.report.order;
        let mut map = out.serialize_map(Some(2))?;
        map.serialize_entry("new", &new.as_ref().map(|value| Ordered { value, order }))?;
        map.serialize_entry("old", &old.as_ref().map(|value| Ordered { value, order }))?;
        map.end()
    }
}

/// Adds fingerprints to the secrets that differ between two values.
fn mark_changed(old: &mut Value, new: &mut Value, fingerprints: &Fingerprints) {
    match (&mut *old, &mut *new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, is) in new.iter_mut() {
                if let Some(was) = old.get_mut(name) {
                    mark_changed(was, is, fingerprints);
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter_mut().zip(new).for_each(|(was, is)| mark_changed(was, is, fingerprints));
        }
        (was, is) if was != is => {
            for side in [was, is] {
                if let Value::Secret(secret) = side {
                    *side = Value::from(fingerprints.show(secret));
                }
            }
        }
        _ => {}
    }
}

/// An object whose last members are given, the others sorted before them.
struct Ordered<'a> {
    value: &'a Value,
    order: &'a [Box<str>],
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let Value::Object(members) = self.value else { return self.value.serialize(out) };
        let first = members.iter().filter(|(name, _)| !self.order.contains(name));
        let last = self.order.iter().filter_map(|name| members.get(name).map(|member| (name, member)));
        out.collect_map(first.chain(last))
    }
}
