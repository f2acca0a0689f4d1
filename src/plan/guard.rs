//! Guard rails: what a plan may not delete without being told so.

use super::types::{Action, Change, Plan, Role};
use crate::diagnostics::{Diagnostic, codes};
use crate::value::Value;
use std::fmt;
use std::str::FromStr;

/// The tag that protects an entity from deletion when no other is named.
pub const PROTECT_TAG: &str = "foredeck-protect";

/// How many entities a run may delete.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many entities.
    Count(usize),
    /// So many hundredths of what the control plane holds within the scope, 0 to 100.
    Percent(f64),
}

impl FromStr for Limit {
    type Err = String;

    /// `20` or `10%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("'{text}' is neither a number nor a percentage such as 10%");
        match text.trim().strip_suffix('%') {
            None => text.trim().parse().map(Limit::Count).map_err(|_| fault()),
            Some(number) => match number.trim().parse::<f64>() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Limit::Percent(percent)),
                _ => Err(fault()),
            },
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Count(count) => write!(f, "{count}"),
            Limit::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// What a run was allowed to delete.
#[derive(Clone, Debug)]
pub struct Guard {
    /// `--max-deletes`
    pub max_deletes: Option<Limit>,
    /// `--yes`: files without any entity may delete everything.
    pub yes: bool,
    /// Entities with one of these tags are not deleted.
    pub protect_tags: Vec<String>,
}

impl Default for Guard {
    fn default() -> Self {
        Guard { max_deletes: None, yes: false, protect_tags: vec![PROTECT_TAG.to_owned()] }
    }
}

impl Plan {
    /// Why this plan may not be applied; empty when it may. Conflicts are not repeated.
    pub fn refusals(&self, guard: &Guard) -> Vec<Diagnostic> {
        let mut out = Vec::new();
        let deleted = self.counts().deleted;
        if self.wanted == 0 && deleted > 0 && !guard.yes {
            out.push(
                Diagnostic::error(
                    codes::REFUSED_DELETE,
                    format!(
                        "the state files hold no entities, and syncing them would delete {}",
                        entities(deleted)
                    ),
                )
                .help("name the right files, or say `--yes` if everything is to be deleted"),
            );
        }
        if let Some(limit) = guard.max_deletes {
            let allowed = match limit {
                Limit::Count(count) => count,
                // Rounded down: 10% of 19 allows 1.
                Limit::Percent(percent) => (self.held as f64 * percent / 100.0).floor() as usize,
            };
            if deleted > allowed {
                out.push(
                    Diagnostic::error(
                        codes::REFUSED_DELETE,
                        format!(
                            "this would delete {} of {}, and `--max-deletes {limit}` allows {allowed}",
                            deleted,
                            entities(self.held)
                        ),
                    )
                    .help("look at the plan with `gateway diff`, then raise the limit if it is right"),
                );
            }
        }
        for change in self.changes.iter().filter(|change| change.action == Action::Delete) {
            if let Some(tag) = protecting_tag(change, &guard.protect_tags) {
                let what = match change.role {
                    Role::Asked => "is to be deleted",
                    Role::Between => "would have to be deleted and made again",
                };
                out.push(
                    Diagnostic::error(
                        codes::REFUSED_DELETE,
                        format!(
                            "{} {} {what}, and its tag '{tag}' protects it",
                            change.kind.report.word, change.label
                        ),
                    )
                    .help("write it into the state files, or remove the tag on the gateway first"),
                );
            }
        }
        out
    }
}

fn protecting_tag<'a>(change: &Change, tags: &'a [String]) -> Option<&'a str> {
    let held = change.before.as_ref()?.get("tags").and_then(Value::as_array)?;
    tags.iter().map(String::as_str).find(|tag| held.iter().any(|each| each.exposed_str() == Some(tag)))
}

fn entities(count: usize) -> String {
    if count == 1 { "1 entity".to_owned() } else { format!("{count} entities") }
}
