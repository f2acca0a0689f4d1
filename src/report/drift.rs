//! Who changed what since the last applied state, as text and JSON. Secrets are shown by their origins.

use crate::plan::{Action, By, Drift, MadeFor};
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
                let shown = if field.live == field.file && !field.file.has_secret() {
                    text(&field.file)
                } else {
                    format!("{} on the gateway, {} in the files", text(&field.live), text(&field.file))
                };
                let _ = writeln!(out, "  {} ({}): {shown}", field.name, side(field.by));
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
