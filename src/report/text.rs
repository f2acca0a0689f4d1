//! A plan and what became of it as lines for people.

use super::diff::{self, Line, Mark, Texts};
use super::{Fate, Fingerprints};
use crate::plan::{Action, Change, Counts, Detail, Plan, Role};
use std::fmt::Write;

/// How text looks.
#[derive(Clone)]
pub struct TextOptions {
    /// Whether to colour it with ANSI escape sequences.
    pub color: bool,
    /// How many unchanged lines to show around a change; `None` shows the whole entity.
    pub context: Option<usize>,
    /// What tells changed secrets apart.
    pub fingerprints: Fingerprints,
}

/// Every change and the summary. With `fates` (one for each change of the plan), what was not tried is said to be dropped
/// and only what was done is counted.
pub fn text(plan: &Plan, fates: Option<&[Fate]>, options: &TextOptions) -> String {
    let mut out = String::new();
    for (n, change) in plan.changes.iter().enumerate() {
        if change.role == Role::Asked {
            match fates.and_then(|fates| fates.get(n)) {
                Some(Fate::NotTried(_)) => out.push_str(&dropped_line(change)),
                _ => out.push_str(&change_text(change, options)),
            }
        }
    }
    out.push_str(&summary(counts(plan, fates)));
    out
}

/// What is done to one entity, as its line: `creating service s1`. An update is followed by the difference.
pub fn change_text(change: &Change, options: &TextOptions) -> String {
    let paint = Paint(options.color);
    let line = format!("{} {} {}", change.action.doing(), change.kind.report.word, change.label);
    let style = match change.action {
        Action::Create => GREEN,
        Action::Update => YELLOW,
        Action::Delete => RED,
    };
    let mut out = paint.with(style, &line);
    if let Some(lines) = difference(change, Texts::Plain, &options.fingerprints) {
        out.push_str("  {\n");
        for line in within(&lines, options.context) {
            match line {
                Some(line) => {
                    let text = format!("{}{}", line.mark.sign(), line.text);
                    out.push_str(&match line.mark {
                        Mark::Same => text,
                        Mark::Gone => paint.with(RED, &text),
                        Mark::New => paint.with(GREEN, &text),
                    });
                }
                None => out.push_str("   ..."),
            }
            out.push('\n');
        }
        out.push_str(" }\n");
    }
    out.push('\n');
    out
}

/// The lines in which an update differs. `None` for creations and deletions.
pub(super) fn difference(change: &Change, texts: Texts, fingerprints: &Fingerprints) -> Option<Vec<Line>> {
    if change.action != Action::Update {
        return None;
    }
    let (before, after) = (change.shown_before(Detail::Planned)?, change.shown_after(Detail::Planned)?);
    Some(diff::lines(before.as_object()?, after.as_object()?, texts, fingerprints))
}

/// The lines within `context` lines of a changed one, `None` for what is left out between them.
pub(super) fn within(lines: &[Line], context: Option<usize>) -> Vec<Option<&Line>> {
    let Some(context) = context else { return lines.iter().map(Some).collect() };
    let changed: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| line.mark != Mark::Same).map(|(n, _)| n).collect();
    let mut out: Vec<Option<&Line>> = Vec::new();
    let mut near = changed.iter().peekable();
    for (n, line) in lines.iter().enumerate() {
        while near.next_if(|at| **at + context < n).is_some() {}
        if near.peek().is_some_and(|at| **at <= n + context) {
            out.push(Some(line));
        } else if !matches!(out.last(), Some(None)) {
            out.push(None);
        }
    }
    out
}

fn dropped_line(change: &Change) -> String {
    let what = match change.action {
        Action::Create => "creation",
        Action::Update => "update",
        Action::Delete => "deletion",
    };
    format!("Dropped {what} {} {}\n", change.kind.report.word, change.label)
}

/// How many entities the plan creates, updates and deletes, or with `fates` how many it did.
pub fn counts(plan: &Plan, fates: Option<&[Fate]>) -> Counts {
    let Some(fates) = fates else { return plan.counts() };
    let mut counts = Counts::default();
    for (change, fate) in plan.changes.iter().zip(fates) {
        if change.role == Role::Asked && *fate == Fate::Done {
            counts.add(change.action);
        }
    }
    counts
}

/// The summary's four lines.
pub fn summary(counts: Counts) -> String {
    format!(
        "Summary:\n  Created: {}\n  Updated: {}\n  Deleted: {}\n",
        counts.created, counts.updated, counts.deleted
    )
}

/// What failed, what was not tried and what was undone, a line each; empty when everything was done.
pub fn failures(plan: &Plan, fates: &[Fate]) -> String {
    let mut out = String::new();
    for (change, fate) in plan.changes.iter().zip(fates) {
        let subject = format!("{} {} {}", change.action, change.kind.report.word, change.label);
        let _ = match fate {
            Fate::Done => Ok(()),
            Fate::Failed(why) => writeln!(out, "failed: {subject}: {why}"),
            Fate::NotTried(why) => writeln!(out, "not tried: {subject}: {why}"),
            Fate::RolledBack => writeln!(out, "undone: {subject}"),
        };
    }
    out
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

struct Paint(bool);

impl Paint {
    fn with(&self, style: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
