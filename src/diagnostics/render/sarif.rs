//! SARIF 2.1.0, the interchange format of static analysis results.

use super::{Diagnostic, Severity, pretty};
use crate::diagnostics::{Code, Place};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value as Json, json};

/// What a path keeps when it becomes a URI reference.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'\\');

pub(super) fn render(problems: &[Diagnostic]) -> String {
    let mut codes: Vec<Code> = problems.iter().map(|problem| problem.code).collect();
    codes.sort();
    codes.dedup();
    let rules: Vec<Json> = codes
        .iter()
        .map(|code| {
            json!({
                "id": code.number,
                "name": code.name,
                "shortDescription": {"text": code.name.replace('-', " ")},
                "help": {"text": format!("foredeck explain {}", code.number)},
            })
        })
        .collect();
    let results: Vec<Json> = problems.iter().map(|problem| result(problem, &codes)).collect();
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

fn result(problem: &Diagnostic, codes: &[Code]) -> Json {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut text = problem.message.clone();
    for help in &problem.help {
        text.push('\n');
        text.push_str(help);
    }
    let mut result = json!({
        "ruleId": problem.code.number,
        "ruleIndex": codes.iter().position(|code| *code == problem.code),
        "level": level,
        "message": {"text": text},
    });
    if let Some(place) = &problem.place {
        let mut location = json!({"physicalLocation": {
            "artifactLocation": {"uri": uri(&place.file)},
            "region": region(place),
        }});
        if !problem.path.is_empty() {
            location["logicalLocations"] = json!([{"fullyQualifiedName": problem.path}]);
        }
        result["locations"] = json!([location]);
    }
    result
}

fn region(place: &Place) -> Json {
    json!({
        "startLine": place.start.line,
        "startColumn": place.start.column,
        "endLine": place.end.line,
        "endColumn": place.end.column,
    })
}

/// A path as a URI reference, which has slashes whatever the platform.
fn uri(path: &str) -> String {
    utf8_percent_encode(&path.replace(std::path::MAIN_SEPARATOR, "/"), ENCODED).to_string()
}
