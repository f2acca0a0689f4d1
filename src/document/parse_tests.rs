//! Bad and unusual input: each is read, or gets a problem with a place; nothing panics.

use super::*;
use crate::document::{Options, read};
use crate::schema::{Flavor, Schemas};
use proptest::prelude::*;

/// The codes of a text's problems, each with its line and column.
fn problems(bytes: &[u8]) -> Vec<String> {
    let documents = read(&["-".into()], &mut &*bytes, Options::default());
    let shown = |problem: &Diagnostic| {
        let place = problem.place.as_ref().map(|place| (place.start.line, place.start.column));
        format!("{} {:?}", problem.code.number, place.unwrap_or_default())
    };
    documents.diagnostics().iter().map(shown).collect()
}

#[test]
fn bad_input_gets_a_problem_with_a_place() {
    let head = "_format_version: \"3.0\"\n";
    for (text, want) in [
        ("services: [\n", "E0002"),
        ("a: 1\na: 2\n", "E0004 (3, 1)"),
        ("a: b\0c\n", "E0002 (2, 5)"),
        ("a:\n\t- b\n", "E0002"),
        ("a: *nowhere\n", "E0002 (2, 4)"),
        ("---\nb: 1\n", "E0003 (3, 1)"),
        ("? [a]\n: b\n", "E0002"),
    ] {
        let found = problems(format!("{head}{text}").as_bytes());
        assert!(found.iter().any(|problem| problem.starts_with(want)), "{text:?}: {found:?}");
    }
    assert_eq!(problems(b"_format_version: \"3.0\"\nx: \xff\n"), ["E0002 (2, 4)"]);
    assert_eq!(problems(b"_format_version: \"1.1\"\n"), ["E0005 (1, 18)"]);
    assert_eq!(problems(b"services: []\n"), ["E0005 (1, 1)"]);
    assert_eq!(problems(b"- a\n"), ["E0101 (1, 3)"]);
}

#[test]
fn unusual_input_is_read() {
    for text in [
        "",
        "\u{FEFF}_format_version: \"3.0\"\r\nservices: []\r\n",
        "{\"_format_version\": \"3.0\"}",
        "---\n_format_version: '3.0'\n...\n",
    ] {
        assert_eq!(problems(text.as_bytes()), Vec::<String>::new(), "{text:?}");
    }
}

#[test]
fn depth_and_aliases_are_bounded() {
    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(problems(deep.as_bytes()).iter().any(|problem| problem.starts_with("E0007")));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")));
    }
    assert!(problems(bomb.as_bytes()).iter().any(|problem| problem.starts_with("E0007")));
    let long = format!("_format_version: \"3.0\"\nx: {}\n", "y".repeat(10_000_000));
    assert_eq!(problems(long.as_bytes()), Vec::<String>::new());
}

proptest! {
    #[test]
    fn the_loader_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let options = Options { lint: true, ..Options::default() };
        let _ = read(&["-".into()], &mut &bytes[..], options).build(&Schemas::bundled(Flavor::Kong314));
    }

    #[test]
    fn yaml_like_text_never_panics(text in "[a-z:\\-{}\\[\\]&*$!|>'\" \n\t#,~<_]{0,120}") {
        let text = format!("_format_version: \"3.0\"\nservices:\n{text}");
        let options = Options { lint: true, ..Options::default() };
        let _ = read(&["-".into()], &mut text.as_bytes(), options).build(&Schemas::bundled(Flavor::Kong314));
    }
}
