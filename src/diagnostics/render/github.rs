//! Workflow commands: `::error file=kong.yaml,line=3,col=5,title=E0103 unknown-field::message`.

use super::{Diagnostic, Severity};
use std::fmt::Write;

pub(super) fn render(problems: &[Diagnostic]) -> String {
    let mut out = String::new();
    for problem in problems {
        let command = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut properties = Vec::new();
        if let Some(place) = &problem.place {
            properties.push(format!("file={}", property(&place.file)));
            properties.push(format!("line={},col={}", place.start.line, place.start.column));
            properties.push(format!("endLine={},endColumn={}", place.end.line, place.end.column));
        }
        properties.push(format!("title={}", property(&problem.code.to_string())));
        let mut message = problem.message.clone();
        for help in &problem.help {
            message.push_str("\nhelp: ");
            message.push_str(help);
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "::{command} {}::{}", properties.join(","), data(&message));
    }
    out
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
