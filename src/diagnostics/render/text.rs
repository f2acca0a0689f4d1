//! Frames for people.

use super::excerpt::excerpt;
use super::{Diagnostic, Severity, SourceMap, Summary};
use crate::diagnostics::Code;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::collections::BTreeMap;

/// How many problems are shown; nobody reads more at once.
const MOST: usize = 200;

pub(super) fn render(problems: &[Diagnostic], sources: &SourceMap, color: bool) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    // Where there are too many, errors come before warnings.
    let errors = problems.iter().filter(|problem| problem.is_error()).count().min(MOST);
    let mut left = (errors, MOST - errors);
    let mut dropped: BTreeMap<Code, usize> = BTreeMap::new();
    for problem in problems {
        let left = if problem.is_error() { &mut left.0 } else { &mut left.1 };
        if *left == 0 {
            *dropped.entry(problem.code).or_default() += 1;
            continue;
        }
        *left -= 1;
        out.push_str(&frame(problem, sources, &renderer));
        out.push_str("\n\n");
    }
    if !dropped.is_empty() {
        let counts: Vec<String> = dropped.iter().map(|(code, count)| format!("{count} {code}")).collect();
        out.push_str(&format!("not shown: {}\n\n", counts.join(", ")));
    }
    let summary = Summary::of(problems);
    out.push_str(&format!("{summary}\n"));
    out
}

fn frame(problem: &Diagnostic, sources: &SourceMap, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group: Group<'_> =
        Group::with_title(level.primary_title(problem.message.as_str()).id(problem.code.number));
    if let Some(place) = &problem.place {
        let lines = excerpt(sources, place);
        let line = place.start.line as usize;
        let origin = Origin::path(&*place.file);
        group = match lines {
            Some(lines) => {
                let annotation = AnnotationKind::Primary.span(lines.span).label(problem.label.as_deref());
                let snippet = Snippet::source(lines.line).line_start(line).annotation(annotation);
                // The column of a line that is cut at its left cannot be counted from the excerpt.
                match lines.cut {
                    true => group
                        .element(origin.line(line).char_column(place.start.column as usize))
                        .element(snippet),
                    false => group.element(snippet.path(&*place.file)),
                }
            }
            None => group.element(origin),
        };
    }
    for help in &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}
