//! A plan and what became of it as commands of a GitHub workflow: annotations at the lines of the files.
//! The summary of the job is the Markdown report.

use super::Fate;
use crate::diagnostics::{Diagnostic, Place, Severity};
use crate::plan::{Action, Plan, Role};
use std::fmt::Write;

/// One annotation for each conflict and each change, a line each. What failed is an error, a deletion a warning.
pub fn github(plan: &Plan, fates: Option<&[Fate]>) -> String {
    let mut out = String::new();
    for conflict in &plan.conflicts {
        out.push_str(&of_problem(conflict));
    }
    for (n, change) in plan.changes.iter().enumerate() {
        if change.role != Role::Asked {
            continue;
        }
        let subject = format!("{} {}", change.kind.report.word, change.label);
        let (level, message) = match fates.and_then(|fates| fates.get(n)) {
            Some(Fate::Failed(why)) => ("error", format!("{} {subject} failed: {why}", change.action)),
            Some(Fate::NotTried(why)) => {
                ("warning", format!("{} {subject} was not tried: {why}", change.action))
            }
            Some(Fate::RolledBack) => ("warning", format!("{} {subject} was undone", change.action)),
            Some(Fate::Done) | None => {
                let level = if change.action == Action::Delete { "warning" } else { "notice" };
                (level, format!("{} {subject}", change.action.doing()))
            }
        };
        out.push_str(&command(level, change.place.as_ref(), "foredeck", &message));
    }
    out
}

fn of_problem(problem: &Diagnostic) -> String {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    command(level, problem.place.as_ref(), &problem.code.to_string(), &problem.message)
}

pub(super) fn command(level: &str, place: Option<&Place>, title: &str, message: &str) -> String {
    let mut out = format!("::{level} title={}", property(title));
    if let Some(place) = place {
        let _ = write!(
            out,
            ",file={},line={},col={}",
            property(&place.file),
            place.start.line,
            place.start.column
        );
    }
    let _ = writeln!(out, "::{}", data(message));
    out
}

/// A message as workflow commands spell it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property's value as workflow commands spell it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
