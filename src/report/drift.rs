//! Who changed what since the last applied state, as text, JSON, Markdown and GitHub's commands. Secrets are shown by
//! their origins.

use super::github::command;
use super::markdown::{LONGEST, escaped};
use crate::plan::{Action, By, Drift, FieldDrift, MadeFor};
use crate::value::Value;
use serde::Serialize;
use std::fmt::Write;

/// How many entities each side changed.
#[derive(Default, Serialize)]
struct Summary {
    file: usize,
    gateway: usize,
    both: usize,
    conflict: usize,
}

impl Summary {
    fn of(found: &[(MadeFor, Vec<Drift>)]) -> Self {
        let mut summary = Summary::default();
        for drift in found.iter().flat_map(|(_, drift)| drift) {
            match drift.by {
                By::File => summary.file += 1,
                By::Gateway => summary.gateway += 1,
                By::Both => summary.both += 1,
                By::Conflict => summary.conflict += 1,
            }
        }
        summary
    }
}

/// An entity a line, its fields below it, and a summary.
pub fn drift_text(found: &[(MadeFor, Vec<Drift>)]) -> String {
    let mut out = String::new();
    for (made_for, drifts) in found {
        if found.len() > 1 {
            let _ = writeln!(out, "{}:", made_for.name());
        }
        for drift in drifts {
            let _ = writeln!(out, "{} {}: {}", drift.kind, drift.label, what(drift));
            for field in &drift.fields {
                let _ = writeln!(out, "  {} ({}): {}", field.name, side(field.by), values(field));
            }
        }
    }
    let Summary { file, gateway, both, conflict } = Summary::of(found);
    let _ = writeln!(
        out,
        "Summary:\n  Changed in the files: {file}\n  Changed on the gateway: {gateway}\n  Changed in both, in agreement: {both}\n  \
         Changed in both, in conflict: {conflict}"
    );
    out
}

/// A table of counts, and a row for each entity and field.
pub fn drift_markdown(found: &[(MadeFor, Vec<Drift>)]) -> String {
    let Summary { file, gateway, both, conflict } = Summary::of(found);
    if file + gateway + both + conflict == 0 {
        return "**No drift.** The gateway and the files are as they were applied.\n".to_owned();
    }
    let mut out = format!(
        "**Drift: {file} changed in the files, {gateway} on the gateway, {both} in both, {conflict} in conflict**\n"
    );
    for (made_for, drifts) in found.iter().filter(|(_, drifts)| !drifts.is_empty()) {
        if found.len() > 1 {
            let _ = writeln!(out, "\n### {}", escaped(&made_for.name()));
        }
        out.push_str("\n| entity | what happened | field | changed by | on the gateway | in the files |\n|---|---|---|---|---|---|\n");
        let mut left_out = 0;
        for drift in drifts {
            let entity = format!("{} {}", drift.kind, drift.label);
            let mut rows = format!("| {} | {} | | | | |\n", escaped(&entity), what(drift));
            for field in &drift.fields {
                let cells =
                    [&field.name, side(field.by), &text(&field.live), &text(&field.file)].map(escaped);
                let _ = writeln!(rows, "| | | {} |", cells.join(" | "));
            }
            if out.len() + rows.len() > LONGEST {
                left_out += 1;
            } else {
                out.push_str(&rows);
            }
        }
        if left_out > 0 {
            let _ = writeln!(
                out,
                "\n{left_out} more entities are left out here, because the table would be too long."
            );
        }
    }
    out
}

/// An annotation for each entity, a line each: a conflict is an error, what the gateway changed a warning.
pub fn drift_github(found: &[(MadeFor, Vec<Drift>)]) -> String {
    let annotation = |drift: &Drift| {
        let level = match drift.by {
            By::Conflict => "error",
            By::Gateway => "warning",
            By::File | By::Both => "notice",
        };
        let fields: Vec<String> = drift
            .fields
            .iter()
            .map(|field| format!("\n{} ({}): {}", field.name, side(field.by), values(field)))
            .collect();
        let message = format!("{} {}: {}{}", drift.kind, drift.label, what(drift), fields.concat());
        command(level, None, "foredeck", &message)
    };
    found.iter().flat_map(|(_, drifts)| drifts).map(annotation).collect()
}

fn values(field: &FieldDrift) -> String {
    if field.live == field.file && !field.file.has_secret() {
        text(&field.file)
    } else {
        format!("{} on the gateway, {} in the files", text(&field.live), text(&field.file))
    }
}

/// One document: a list of control planes with their entities, and a summary.
pub fn drift_json(found: &[(MadeFor, Vec<Drift>)]) -> String {
    #[derive(Serialize)]
    struct Part<'a> {
        #[serde(flatten)]
        made_for: &'a MadeFor,
        drift: &'a [Drift],
    }
    #[derive(Serialize)]
    struct Document<'a> {
        control_planes: Vec<Part<'a>>,
        summary: Summary,
    }
    let control_planes = found.iter().map(|(made_for, drift)| Part { made_for, drift }).collect();
    let document = Document { control_planes, summary: Summary::of(found) };
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn what(drift: &Drift) -> &'static str {
    match (drift.action, drift.by) {
        (Action::Create, By::File) => "added in the files",
        (Action::Create, By::Gateway) => "added on the gateway",
        (Action::Create, By::Both) => "added in both, in agreement",
        (Action::Create, By::Conflict) => "added in both, in conflict",
        (Action::Update, By::File) => "changed in the files",
        (Action::Update, By::Gateway) => "changed on the gateway",
        (Action::Update, By::Both) => "changed in both, in agreement",
        (Action::Update, By::Conflict) => "changed in both, in conflict",
        (Action::Delete, By::File) => "removed from the files",
        (Action::Delete, By::Gateway) => "removed on the gateway",
        (Action::Delete, By::Both) => "removed from both",
        (Action::Delete, By::Conflict) => "removed on one side and changed on the other, in conflict",
    }
}

fn side(by: By) -> &'static str {
    match by {
        By::File => "files",
        By::Gateway => "gateway",
        By::Both => "both",
        By::Conflict => "conflict",
    }
}

fn text(value: &Value) -> String {
    if value.is_null() { "nothing".to_owned() } else { value.to_string() }
}
