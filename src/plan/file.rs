//! Saved plans: what was reviewed, to be held against what would be done now.
//!
//! A saved plan holds no secret: each is named by its origin and resolved again when the plan is applied. To apply it,
//! the same inputs are planned again with the same new ids, and [`SavedPlan::differences`] must find nothing. What does
//! not live here: reading and writing files.

use super::types::{Action, Change, Plan, Role};
use crate::diagnostics::{Diagnostic, codes};
use crate::value::Value;
use serde::{Deserialize, Serialize};
use serde_json::{Map as JsonMap, Value as Json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The value of a saved plan's `format`.
pub const FORMAT: &str = "foredeck-plan/1";

/// The member that stands for a secret: `{"$secret": "[from env TOKEN]"}`.
const SECRET: &str = "$secret";

/// The control plane that a plan was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeFor {
    /// The address of its interface.
    pub address: String,
    /// The workspace, when one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// The name of the control plane on Konnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<String>,
}

/// A plan as it is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// [`FORMAT`]
    pub format: String,
    /// The control plane.
    pub made_for: MadeFor,
    /// The command's arguments that shaped the plan: files, tags, kinds left alone.
    pub arguments: Vec<String>,
    /// The ids that were made for new entities, in the order in which planning asked for them.
    pub new_ids: Vec<Uuid>,
    /// The changes, in the plan's order.
    pub changes: Vec<SavedChange>,
}

/// One change of a saved plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedChange {
    /// What is done.
    pub action: Action,
    /// Why it is there.
    pub role: Role,
    /// The name of the entity's kind.
    pub kind: String,
    /// The entity's id.
    pub id: Uuid,
    /// What names it, with the kind's word: `key-auth [from env KEY] for consumer u1`.
    pub subject: String,
    /// The entity as the control plane held it; null for a creation.
    pub before: Json,
    /// The entity as it should be; null for a deletion.
    pub after: Json,
    /// What comes before it.
    pub depends_on: Vec<usize>,
    /// The deletion that it goes with.
    pub cascades_from: Option<usize>,
}

impl SavedPlan {
    /// A plan to be saved.
    pub fn new(plan: &Plan, made_for: MadeFor, arguments: Vec<String>, new_ids: Vec<Uuid>) -> Self {
        SavedPlan {
            format: FORMAT.to_owned(),
            made_for,
            arguments,
            new_ids,
            changes: plan.changes.iter().map(SavedChange::of).collect(),
        }
    }

    /// A saved plan from its text.
    pub fn read(text: &str) -> Result<Self, Diagnostic> {
        let fault = |reason: String| {
            Diagnostic::error(codes::SYNTAX, format!("this is no saved plan: {reason}"))
                .help("make one with `foredeck gateway diff --out plan.json`")
        };
        let saved: SavedPlan = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
        if saved.format == FORMAT {
            Ok(saved)
        } else {
            Err(fault(format!("its format is '{}' and not '{FORMAT}'", saved.format)))
        }
    }

    /// The text to save.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// What has changed since the plan was saved: how the plan would differ if it were made now. Empty when it would
    /// be the same.
    pub fn differences(&self, now: &Plan, made_for: &MadeFor) -> Vec<Diagnostic> {
        let mut out = Vec::new();
        if self.made_for != *made_for {
            out.push(stale(format!(
                "the plan was made for {}, and this is {}",
                self.made_for.name(),
                made_for.name()
            )));
            return out;
        }
        let now: Vec<SavedChange> = now.changes.iter().map(SavedChange::of).collect();
        let by_key = |changes: &'_ [SavedChange]| -> BTreeMap<(String, Uuid, bool), usize> {
            changes.iter().enumerate().map(|(n, change)| (change.key(), n)).collect()
        };
        let (then, current) = (by_key(&self.changes), by_key(&now));
        for change in &self.changes {
            match current.get(&change.key()).and_then(|at| now.get(*at)) {
                None => out
                    .push(stale(format!("{} {} is not to be done any more", change.action, change.subject))),
                Some(other) => out.extend(change.difference(other)),
            }
        }
        for change in now.iter().filter(|change| !then.contains_key(&change.key())) {
            out.push(stale(format!("{} {} would be done now as well", change.action, change.subject)));
        }
        if out.is_empty() && self.changes != now {
            out.push(stale("the changes would be done in another order now".to_owned()));
        }
        out
    }
}

impl MadeFor {
    /// The control plane as messages name it.
    pub fn name(&self) -> String {
        let mut name = self.address.clone();
        for (word, value) in [("workspace", &self.workspace), ("control plane", &self.control_plane)] {
            if let Some(value) = value {
                name.push_str(&format!(", {word} {value}"));
            }
        }
        name
    }
}

impl SavedChange {
    fn of(change: &Change) -> Self {
        SavedChange {
            action: change.action,
            role: change.role,
            kind: change.kind.name.to_string(),
            id: change.id,
            subject: format!("{} {}", change.kind.report.word, change.label),
            before: change.before.as_ref().map_or(Json::Null, without_secrets),
            after: change.after.as_ref().map_or(Json::Null, without_secrets),
            depends_on: change.depends_on.clone(),
            cascades_from: change.cascades_from,
        }
    }

    fn key(&self) -> (String, Uuid, bool) {
        (self.kind.clone(), self.id, self.role == Role::Between)
    }

    fn difference(&self, now: &SavedChange) -> Option<Diagnostic> {
        if self.action != now.action {
            return Some(stale(format!(
                "{} was to {} and would {} now",
                self.subject, self.action, now.action
            )));
        }
        let held = differing(&self.before, &now.before);
        if !held.is_empty() {
            return Some(stale(format!(
                "{} has changed on the control plane: {}",
                self.subject,
                held.join(", ")
            )));
        }
        let asked = differing(&self.after, &now.after);
        (!asked.is_empty())
            .then(|| stale(format!("the files ask for another {}: {}", self.subject, asked.join(", "))))
    }
}

/// The members in which two objects differ.
fn differing(then: &Json, now: &Json) -> Vec<String> {
    let nothing = JsonMap::new();
    let (then, now) = (then.as_object().unwrap_or(&nothing), now.as_object().unwrap_or(&nothing));
    let mut names: Vec<String> = then
        .iter()
        .filter(|(name, value)| now.get(*name) != Some(value))
        .map(|(name, _)| name.clone())
        .chain(now.keys().filter(|name| !then.contains_key(*name)).cloned())
        .collect();
    names.sort_unstable();
    names
}

fn stale(message: String) -> Diagnostic {
    Diagnostic::error(codes::STALE_PLAN, message).help("make a new plan and have it reviewed")
}

/// JSON in which every secret is named by its origin.
fn without_secrets(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(value) => Json::Number(value.clone()),
        Value::String(value) => Json::String(value.clone()),
        Value::Secret(secret) => serde_json::json!({ SECRET: secret.origin().to_string() }),
        Value::Array(items) => Json::Array(items.iter().map(without_secrets).collect()),
        Value::Object(members) => Json::Object(
            members.iter().map(|(name, member)| (name.to_string(), without_secrets(member))).collect(),
        ),
    }
}
