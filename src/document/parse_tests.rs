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
    for version in ["\"1.1\"", "\"2.1\"", "\"3.1\"", "3.0", "1.1", "nonsense", "[3]", "{a: 1}", ""] {
        let text = format!("_format_version: {version}\nservices: []\n");
        let documents = read(&["-".into()], &mut text.as_bytes(), Options::default());
        let found: Vec<_> = documents.diagnostics().iter().map(|problem| problem.code.number).collect();
        assert_eq!(found, ["E0005"], "{version}");
        let converts =
            documents.diagnostics().iter().flat_map(|p| &p.help).any(|help| help.contains("file convert"));
        assert_eq!(converts, ["1.1", "2.1"].contains(&version.trim_matches('"')), "{version}");
    }
    assert_eq!(problems(b"_format_version: \"1.1\"\n"), ["E0005 (1, 18)"]);
    assert_eq!(problems(b"_format_version: \"3.0\"\nx: !!binary \"$%\"\n"), ["E0002 (2, 13)"]);
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

#[test]
fn odd_yaml_means_what_it_means_to_deck() {
    let text = r#"_format_version: "3.0"
services:
- &base {name: a, host: !!binary aG9zdC50ZXN0, retries: 0x5, enabled: yes, port: 0o120}
- <<: *base
  name: b
  tags: [!!str 1, "\u00e9"]
  connect_timeout: 99999999999999999999999
"#;
    let documents = read(&["-".into()], &mut text.as_bytes(), Options::default());
    let loaded = documents.build(&Schemas::bundled(Flavor::Kong314));
    let bodies: Vec<String> = loaded.state.entities.iter().map(|entity| entity.body.to_string()).collect();
    assert_eq!(
        bodies.first().map(String::as_str),
        Some(r#"{"enabled":true,"host":"host.test","name":"a","port":80,"retries":5}"#)
    );
    assert!(
        bodies.get(1).is_some_and(|body| body.contains("host.test") && body.contains(r#"["1","é"]"#)),
        "{bodies:?}"
    );
    let codes: Vec<_> =
        loaded.diagnostics.iter().map(|problem| (problem.code.number, &*problem.path)).collect();
    assert_eq!(codes, [("E0102", "services[1].connect_timeout")]);
}

#[cfg(unix)]
#[test]
fn pipes_and_loops_in_a_folder_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a.yaml"), "_format_version: \"3.0\"\n").unwrap();
    std::os::unix::fs::symlink(folder.path(), at("loop")).unwrap();
    std::os::unix::fs::symlink(at("gone.yaml"), at("dangling.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("endless.yaml")).unwrap();
    let documents = read(&[folder.path().display().to_string()], &mut std::io::empty(), Options::default());
    assert_eq!(documents.documents().len(), 1);
    let messages: Vec<_> = documents.diagnostics().iter().map(|problem| &*problem.message).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages.iter().any(|message| message.ends_with("endless.yaml is no regular file")),
        "{messages:?}"
    );
    assert!(
        messages.iter().any(|message| message.contains("dangling.yaml: there is no such file")),
        "{messages:?}"
    );
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
