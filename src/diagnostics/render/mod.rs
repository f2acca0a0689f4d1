//! Problems as text: frames for people, JSON, SARIF and GitHub annotations for programs.
//!
//! A renderer turns diagnostics into a string and does nothing else; `cli` prints it.

mod excerpt;
mod github;
mod json;
mod sarif;
mod text;

use super::{Diagnostic, Severity, SourceMap};
use std::fmt;
use std::str::FromStr;

/// In which form problems are shown (`--format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Frames with the line and the place in it, for people.
    #[default]
    Text,
    /// `{"diagnostics": [...], "summary": {...}}`
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands that GitHub shows beside the lines of a change.
    Github,
}

impl Format {
    /// Every format and its name.
    pub const NAMES: [(&'static str, Format); 4] = [
        ("text", Format::Text),
        ("json", Format::Json),
        ("sarif", Format::Sarif),
        ("github", Format::Github),
    ];
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Format::NAMES.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, format)| *format)
            .ok_or_else(|| format!("'{name}' is not one of {}", Format::NAMES.map(|(n, _)| n).join(", ")))
    }
}

/// How many problems of each severity there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Errors.
    pub errors: usize,
    /// Warnings; notes are not counted.
    pub warnings: usize,
}

impl Summary {
    /// Counts problems.
    pub fn of(problems: &[Diagnostic]) -> Self {
        let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
        Summary { errors: count(Severity::Error), warnings: count(Severity::Warning) }
    }
}

impl fmt::Display for Summary {
    /// `2 errors, 1 warning`; what there is none of is left out, and `no problems` stands for nothing at all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |n: usize, word: &str| match n {
            0 => None,
            1 => Some(format!("1 {word}")),
            n => Some(format!("{n} {word}s")),
        };
        let parts: Vec<String> =
            [some(self.errors, "error"), some(self.warnings, "warning")].into_iter().flatten().collect();
        if parts.is_empty() { f.write_str("no problems") } else { f.write_str(&parts.join(", ")) }
    }
}

/// Problems in the given form. The text form ends with one line of summary when there is a problem at all, and
/// has terminal colours when `color` says so; the other forms are complete files of their kind.
pub fn render(problems: &[Diagnostic], sources: &SourceMap, format: Format, color: bool) -> String {
    match format {
        Format::Text => text::render(problems, sources, color),
        Format::Json => json::render(problems),
        Format::Sarif => sarif::render(problems),
        Format::Github => github::render(problems),
    }
}

/// JSON with a line feed at its end.
fn pretty(value: &serde_json::Value) -> String {
    // Maps with text keys and finite numbers always print.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
