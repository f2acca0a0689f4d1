//! Bad input to `gateway sync`: each fault has a code and a place, nothing panics, and nothing is written.

use crate::support::{Folder, Gateway, Output, http};
use serde_json::Value as Json;

/// Files, the code of their fault, and where it is.
const FAULTS: &[(&str, &str, &str, &str)] = &[
    (
        "a second document",
        "_format_version: \"3.0\"\nservices: [{name: a, host: h}]\n---\nservices: []\n",
        "E0003",
        ":4:1",
    ),
    (
        "a key twice",
        "_format_version: \"3.0\"\nservices:\n  - name: a\n    host: h\n    name: b\n",
        "E0004",
        ":5:5",
    ),
    ("an old format", "_format_version: \"1.1\"\nservices: [{name: a, host: h}]\n", "E0005", ":1:"),
    ("an unknown format", "_format_version: \"9.0\"\nservices: [{name: a, host: h}]\n", "E0005", ":1:"),
    ("no format", "services: [{name: a, host: h}]\n", "E0005", ":1:1"),
    ("broken YAML", "_format_version: \"3.0\"\nservices: [{name: a\n", "E0002", ":"),
    ("a tab", "_format_version: \"3.0\"\nservices:\n\t- name: a\n", "E0002", ":3:"),
    ("a list at the top", "- name: a\n", "E0101", ":1:"),
    ("an unknown field", "_format_version: \"3.0\"\nservices:\n  - name: a\n    hst: h\n", "E0103", ":4:5"),
    (
        "a wrong type",
        "_format_version: \"3.0\"\nservices:\n  - name: a\n    host: h\n    port: many\n",
        "E0101",
        ":5:11",
    ),
    (
        "a port too high",
        "_format_version: \"3.0\"\nservices:\n  - name: a\n    host: h\n    port: 99999999\n",
        "E0102",
        ":5:11",
    ),
    ("a missing field", "_format_version: \"3.0\"\nservices:\n  - name: a\n", "E0104", ":3:5"),
    ("an unknown list", "_format_version: \"3.0\"\nservics: []\n", "E0103", ":2:1"),
    ("an unknown plugin", "_format_version: \"3.0\"\nplugins:\n  - name: key-oath\n", "E0106", ":3:11"),
    (
        "a misspelt setting",
        "_format_version: \"3.0\"\nplugins:\n  - name: key-auth\n    config: {key_nams: [k]}\n",
        "E0103",
        ":4:14",
    ),
    (
        "a dangling reference",
        "_format_version: \"3.0\"\nroutes:\n  - name: r\n    paths: [/a]\n    service: {name: nowhere}\n",
        "E0201",
        ":5:",
    ),
    (
        "a name twice",
        "_format_version: \"3.0\"\nservices: [{name: a, host: h}, {name: a, host: i}]\n",
        "E0202",
        ":2:",
    ),
    (
        "an unset variable",
        "_format_version: \"3.0\"\nservices: [{name: a, host: $NOT_SET}]\n",
        "E0301",
        ":2:",
    ),
    (
        "an unset variable of decK",
        "_format_version: \"3.0\"\nservices: [{name: a, host: '${{ env \"NOT_SET\" }}'}]\n",
        "E0301",
        ":2:",
    ),
    (
        "a bad expression",
        "_format_version: \"3.0\"\nservices: [{name: a, host: '${{ env NOT_SET }}'}]\n",
        "E0302",
        ":2:",
    ),
];

#[track_caller]
fn refused(what: &str, output: &Output) {
    assert_eq!(output.code, 1, "{what}: {output:#?}");
    assert_eq!(output.stdout, "", "{what}: {output:#?}");
    assert!(!output.stderr.contains("panicked"), "{what}: {output:#?}");
}

fn is_empty(gateway: &Gateway) {
    let rows = http("GET", &format!("{}/services", gateway.admin), &[], &Json::Null).json();
    assert_eq!(rows["data"], serde_json::json!([]), "something was written");
}

#[test]
fn every_fault_has_a_code_and_a_place_and_nothing_is_written() {
    let gateway = Gateway::start();
    let folder = Folder::new();
    for (what, text, code, place) in FAULTS {
        folder.write("kong.yaml", text);
        let output = gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]);
        refused(what, &output);
        assert!(output.stderr.contains(code), "{what}: {code} is missing: {output:#?}");
        assert!(
            output.stderr.contains(&format!("kong.yaml{place}")),
            "{what}: {place} is missing: {output:#?}"
        );
    }
    is_empty(&gateway);
}

#[test]
fn one_bad_entity_stops_all_the_good_ones() {
    let gateway = Gateway::start();
    let folder = Folder::with("good.yaml", "_format_version: \"3.0\"\nservices: [{name: good, host: h}]\n");
    folder.write("bad.yaml", "_format_version: \"3.0\"\nservices: [{name: bad, host: h, port: -1}]\n");
    let output = gateway.run(&folder, &["gateway", "sync", "good.yaml", "bad.yaml"], &[]);
    refused("two files", &output);
    assert!(output.stderr.contains("bad.yaml:2:"), "{output:#?}");
    is_empty(&gateway);
}

#[test]
fn all_faults_are_told_at_once() {
    let gateway = Gateway::start();
    let folder =
        Folder::with("a.yaml", "_format_version: \"3.0\"\nservices: [{name: a, host: $FIRST, port: x}]\n");
    folder.write("b.yaml", "_format_version: \"3.0\"\nservices: [{name: b, host: $SECOND, hst: h}]\n");
    let output = gateway.run(&folder, &["gateway", "sync", "."], &[]);
    refused("a folder", &output);
    for part in ["FIRST", "SECOND", "a.yaml:2:", "b.yaml:2:", "E0101", "E0103", "E0301"] {
        assert!(output.stderr.contains(part), "{part} is missing: {}", output.stderr);
    }
}

#[test]
fn odd_bytes_and_shapes_end_with_a_word() {
    let gateway = Gateway::start();
    let folder = Folder::new();
    let deep = format!("_format_version: \"3.0\"\nservices: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
    let mut bomb = String::from("_format_version: \"3.0\"\na0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let before = n - 1;
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{before}"); 9].join(", ")));
    }
    let cases: [(&str, Vec<u8>); 4] = [
        ("invalid UTF-8", b"_format_version: \"3.0\"\nservices: [{name: \"\xff\xfe\"}]\n".to_vec()),
        ("a NUL byte", b"_format_version: \"3.0\"\nservices: [{name: \"a\0b\"}]\n".to_vec()),
        ("10,000 levels", deep.into_bytes()),
        ("an alias bomb", bomb.into_bytes()),
    ];
    for (what, bytes) in cases {
        std::fs::write(folder.path().join("kong.yaml"), bytes).unwrap();
        let output = gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]);
        refused(what, &output);
        assert!(output.stderr.contains("kong.yaml"), "{what}: {output:#?}");
    }
    let output = gateway.run(&folder, &["gateway", "sync", "missing.yaml"], &[]);
    refused("a missing file", &output);
    assert!(output.stderr.contains("E0001") && output.stderr.contains("missing.yaml"), "{output:#?}");
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let output = gateway.run(&folder, &["gateway", "sync", "empty"], &[]);
    refused("a folder without state files", &output);
    assert!(output.stderr.contains("empty"), "{output:#?}");
}

#[test]
fn carriage_returns_and_a_byte_order_mark_are_no_fault() {
    let gateway = Gateway::start();
    let folder = Folder::with(
        "kong.yaml",
        "\u{feff}_format_version: \"3.0\"\r\nservices:\r\n- name: a\r\n  host: h\r\n",
    );
    gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]).expect(0);
}

#[test]
fn a_file_without_entities_deletes_nothing_unasked() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", "_format_version: \"3.0\"\nservices: [{name: a, host: h}]\n");
    folder.write("none.yaml", "_format_version: \"3.0\"\n");
    gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]).expect(0);
    let output = gateway.run(&folder, &["gateway", "sync", "none.yaml"], &[]);
    assert_eq!(output.code, 1, "{output:#?}");
    assert!(output.stderr.contains("E0401") && output.stderr.contains("--yes"), "{output:#?}");
    let rows = http("GET", &format!("{}/services", gateway.admin), &[], &Json::Null).json();
    assert_eq!(rows["data"].as_array().map(Vec::len), Some(1), "{rows}");
    gateway.run(&folder, &["gateway", "sync", "none.yaml", "--yes"], &[]).expect(0);
    is_empty(&gateway);
}
