//! A plan and what became of it as Markdown, for the comment of a pull request or the summary of a job.

use super::diff::Texts;
use super::text::{counts, difference, within};
use super::{Fate, Fingerprints};
use crate::diagnostics::Diagnostic;
use crate::plan::{Action, Change, Counts, Detail, Plan, Role};
use std::collections::BTreeMap;
use std::fmt::Write;

/// GitHub takes comments of up to 65,536 characters; what follows the last whole entity must fit too.
pub(super) const LONGEST: usize = 60_000;

/// The sections: which changes, and where their entities are.
const SECTIONS: [(Action, &str); 3] = [
    (Action::Create, "Only in the files: created"),
    (Action::Update, "Different: updated"),
    (Action::Delete, "Only in the gateway: deleted"),
];

/// A table of counts, and every entity collapsed: whole when it is new or goes, otherwise the lines that change with
/// three lines around them. With `fates` it says what became of each change.
pub fn markdown(plan: &Plan, fates: Option<&[Fate]>, fingerprints: &Fingerprints) -> String {
    let mut out = headline(counts(plan, fates), plan, fates);
    out.push_str(&conflicts(plan));
    out.push_str(&table(plan));
    let mut left_out = 0;
    for (action, title) in SECTIONS {
        let mut titled = false;
        for (n, change) in plan.changes.iter().enumerate() {
            if change.role != Role::Asked || change.action != action {
                continue;
            }
            let entry = entry(change, fates.and_then(|fates| fates.get(n)), fingerprints);
            if out.len() + entry.len() > LONGEST {
                left_out += 1;
                continue;
            }
            if !titled {
                let _ = writeln!(out, "\n### {title}\n");
                titled = true;
            }
            out.push_str(&entry);
        }
    }
    if left_out > 0 {
        let _ = writeln!(
            out,
            "\n{left_out} more changes are left out here, because the comment would be too long."
        );
    }
    out
}

fn headline(counts: Counts, plan: &Plan, fates: Option<&[Fate]>) -> String {
    let Counts { created, updated, deleted } = counts;
    match fates {
        None if plan.is_empty() && plan.conflicts.is_empty() => {
            "**No changes.** The gateway holds what the files ask for.\n".to_owned()
        }
        None => format!("**Plan: {created} to create, {updated} to update, {deleted} to delete**\n"),
        Some(_) => format!("**Result: {created} created, {updated} updated, {deleted} deleted**\n"),
    }
}

/// Why nothing was planned or done.
pub fn failure_markdown(problems: &[Diagnostic]) -> String {
    let mut out = String::from("**Failed. Nothing was changed.**\n\n");
    for problem in problems {
        let _ = writeln!(out, "- {}", escaped(&problem.to_string()));
    }
    out
}

fn conflicts(plan: &Plan) -> String {
    if plan.conflicts.is_empty() {
        return String::new();
    }
    let mut out = String::from("\n### In the way\n\n");
    for conflict in &plan.conflicts {
        let _ = writeln!(out, "- {}", escaped(&conflict.to_string()));
    }
    out
}

fn table(plan: &Plan) -> String {
    let mut kinds: BTreeMap<&str, Counts> = BTreeMap::new();
    for change in plan.asked() {
        kinds.entry(&change.kind.report.word).or_default().add(change.action);
    }
    if kinds.is_empty() {
        return String::new();
    }
    let mut out = String::from("\n| kind | create | update | delete |\n|---|--:|--:|--:|\n");
    for (word, counts) in kinds {
        let _ = writeln!(out, "| {word} | {} | {} | {} |", counts.created, counts.updated, counts.deleted);
    }
    out
}

fn entry(change: &Change, fate: Option<&Fate>, fingerprints: &Fingerprints) -> String {
    let subject = format!("{} <code>{}</code>", change.kind.report.word, escaped(&change.label));
    let fate = match fate {
        None | Some(Fate::Done) => String::new(),
        Some(Fate::Failed(why)) => format!(" — failed: {}", escaped(why)),
        Some(Fate::NotTried(why)) => format!(" — not tried: {}", escaped(why)),
        Some(Fate::RolledBack) => " — undone".to_owned(),
    };
    let (language, body) = match difference(change, Texts::Json, fingerprints) {
        Some(lines) => {
            let mut text = String::new();
            for line in within(&lines, Some(3)) {
                let _ = match line {
                    Some(line) => writeln!(text, "{}{}", line.mark.sign(), line.text),
                    None => writeln!(text, " ..."),
                };
            }
            ("diff", text)
        }
        None => {
            let body = change.shown_subject(Detail::Planned).unwrap_or_default();
            ("json", format!("{}\n", serde_json::to_string_pretty(&body).unwrap_or_default()))
        }
    };
    let fence = fence(&body);
    format!("<details><summary>{subject}{fate}</summary>\n\n{fence}{language}\n{body}{fence}\n</details>\n")
}

/// A fence that the text cannot close: longer than any run of backticks in it.
fn fence(body: &str) -> String {
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

/// Text that is no markup, in one line.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' | '\r' => out.push(' '),
            '`' | '*' | '_' | '[' | ']' | '|' | '\\' | '@' | '#' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            other => out.push(other),
        }
    }
    out
}
