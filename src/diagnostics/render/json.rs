//! JSON.

use super::{Diagnostic, Summary, pretty};
use serde_json::json;

pub(super) fn render(problems: &[Diagnostic]) -> String {
    let list: Vec<_> = problems
        .iter()
        .map(|problem| {
            let place = problem.place.as_ref();
            json!({
                "code": problem.code.number,
                "severity": problem.severity,
                "message": problem.message,
                "help": (!problem.help.is_empty()).then(|| problem.help.join("\n")),
                "file": place.map(|place| &*place.file),
                "line": place.map(|place| place.start.line),
                "column": place.map(|place| place.start.column),
                "end_line": place.map(|place| place.end.line),
                "end_column": place.map(|place| place.end.column),
                "path": problem.path,
            })
        })
        .collect();
    pretty(&json!({"diagnostics": list, "summary": Summary::of(problems)}))
}
