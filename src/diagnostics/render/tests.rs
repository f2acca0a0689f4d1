//! What users and programs see of problems.

use super::*;
use crate::diagnostics::{Place, Position, codes};

fn place(text: &str, file: &str, start: usize, end: usize) -> Place {
    let at = |offset: usize| {
        let before = &text[..offset];
        let line = before.matches('\n').count() as u32 + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
        Position { line, column, offset: offset as u32 }
    };
    Place { file: file.into(), start: at(start), end: at(end) }
}

fn sample() -> (Vec<Diagnostic>, SourceMap) {
    let text = "_format_version: \"3.0\"\nservices:\n- name: shop\n  prot: http # grüße\n";
    let long = format!("services: [{}{{prot: 1}}{}]\n", "x, ".repeat(300), ", y".repeat(300));
    let mut sources = SourceMap::default();
    sources.insert("a, b.yaml".into(), text.into());
    sources.insert("long.yaml".into(), long.as_str().into());
    let at = text.find("prot").unwrap();
    let far = long.find("prot").unwrap();
    let problems = vec![
        Diagnostic::error(codes::UNKNOWN_FIELD, "`prot` is not a field of a service")
            .at(place(text, "a, b.yaml", at, at + 4))
            .path("services[0].prot")
            .label("not known")
            .help("did you mean `port`?"),
        Diagnostic::warning(codes::UNKNOWN_FIELD, "far to the right").at(place(
            &long,
            "long.yaml",
            far,
            far + 4,
        )),
        Diagnostic::error(codes::UNREACHABLE, "http://127.0.0.1:9 cannot be reached: 100% refused")
            .help("is the gateway running?")
            .help("give its address with --kong-addr"),
        Diagnostic::error(codes::UNREADABLE, "cannot read gone.yaml: there is no such file").at(Place {
            file: "gone.yaml".into(),
            start: Position { line: 1, column: 1, offset: 0 },
            end: Position { line: 1, column: 1, offset: 0 },
        }),
    ];
    (problems, sources)
}

#[test]
fn frames_show_the_line_and_the_help() {
    let (problems, sources) = sample();
    insta::assert_snapshot!(render(&problems, &sources, Format::Text, false));
}

#[test]
fn json_has_every_field_of_every_problem() {
    let (problems, sources) = sample();
    insta::assert_snapshot!(render(&problems, &sources, Format::Json, false));
}

#[test]
fn sarif_names_rules_results_and_regions() {
    let (problems, sources) = sample();
    let text = render(&problems, &sources, Format::Sarif, false);
    insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[test]
fn github_annotations_escape_what_would_end_them() {
    let (problems, sources) = sample();
    insta::assert_snapshot!(render(&problems, &sources, Format::Github, false));
}

#[test]
fn colours_are_there_only_when_asked_for() {
    let (problems, sources) = sample();
    assert!(render(&problems, &sources, Format::Text, true).contains('\u{1b}'));
    assert!(!render(&problems, &sources, Format::Text, false).contains('\u{1b}'));
}

#[test]
fn a_summary_counts_in_words() {
    assert_eq!(Summary { errors: 1, warnings: 2 }.to_string(), "1 error, 2 warnings");
    assert_eq!(Summary { errors: 0, warnings: 1 }.to_string(), "1 warning");
    assert_eq!(Summary::default().to_string(), "no problems");
    assert!(render(&[], &SourceMap::default(), Format::Text, false).is_empty());
}

#[test]
fn a_secret_in_a_line_is_shown_as_stars() {
    let text = "- {key: hüsh-1, prot: 1}\n";
    let mut sources = SourceMap::default();
    sources.insert("k".into(), text.into());
    let (secret, fault) = (text.find("hüsh").unwrap(), text.find("prot").unwrap());
    sources.conceal(&place(text, "k", secret, secret + "hüsh-1".len()));
    let problem = Diagnostic::error(codes::UNKNOWN_FIELD, "x").at(place(text, "k", fault, fault + 4));
    let shown = render(&[problem], &sources, Format::Text, false);
    assert!(shown.contains("1 | - {key: ******, prot: 1}\n  |                 ^^^^"), "{shown}");
}

#[test]
fn of_very_many_problems_the_first_errors_are_shown_and_all_are_counted() {
    let warning = |n| Diagnostic::warning(codes::REGEX_PATH, format!("path {n}"));
    let error = |n| Diagnostic::error(codes::UNKNOWN_FIELD, format!("field {n}"));
    let problems: Vec<_> = (0..500).map(warning).chain((0..150).map(error)).collect();
    let shown = render(&problems, &SourceMap::default(), Format::Text, false);
    assert_eq!((shown.matches("warning[").count(), shown.matches("error[").count()), (50, 150));
    assert!(shown.ends_with("not shown: 450 W0102 regex-path\n\n150 errors, 500 warnings\n"), "{shown}");
    let json = render(&problems, &SourceMap::default(), Format::Json, false);
    assert_eq!(json.matches("\"code\"").count(), 650);
}

#[test]
fn places_that_are_not_in_the_text_do_no_harm() {
    let mut sources = SourceMap::default();
    sources.insert("a".into(), "é".into());
    for (start, end) in [(0, 1), (1, 2), (2, 2), (9, 12), (2, 0)] {
        let position = |offset| Position { line: 1, column: 1, offset };
        let place = Place { file: "a".into(), start: position(start), end: position(end) };
        let problem = Diagnostic::error(codes::SYNTAX, "x").at(place);
        assert!(render(&[problem], &sources, Format::Text, false).contains("E0002"));
    }
}
