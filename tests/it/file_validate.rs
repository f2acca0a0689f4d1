//! `foredeck file validate`: what it reads, how it weighs what it finds, and what scripts see of it.

use crate::support::{Folder, Gateway, command, finish};

const GOOD: &str = "_format_version: \"3.0\"\nservices: [{name: a, host: h}]\n";
const UNKNOWN: &str = "_format_version: \"3.0\"\nservices: [{name: b, host: h, prot: 1}]\n";
/// One warning each: a path without `~`, and a variable.
const WARNINGS: &str = "_format_version: \"3.0\"\nservices: [{name: c, host: $HOST_C, routes: [{name: r, paths: [\"/x[0-9]\"]}]}]\n";

#[test]
fn files_folders_and_standard_input_are_read() {
    let folder = Folder::with("a.yaml", GOOD);
    folder.write(
        "sub/b.json",
        "{\"_format_version\": \"3.0\", \"services\": [{\"name\": \"b\", \"host\": \"h\"}]}",
    );
    folder.write("sub/notes.txt", "not: [a state file");
    let output = folder.run(&["file", "validate", "."], &[]).expect(0);
    assert_eq!(output.stdout, "valid for kong-3.14: 2 entities in 2 files\n");
    assert_eq!(output.stderr, "");
    for arguments in [&["file", "validate"][..], &["file", "validate", "-"]] {
        let mut process = command();
        process.args(arguments);
        let output = finish(process, UNKNOWN).expect(1);
        assert!(output.stderr.contains("--> -:2:"), "{output:#?}");
        assert!(!output.stdout.contains("valid"), "{output:#?}");
    }
}

#[test]
fn problems_are_weighed_by_their_codes() {
    let folder = Folder::with("unknown.yaml", UNKNOWN);
    folder.write("warnings.yaml", WARNINGS);
    let run = |file: &str, flags: &[&str]| {
        let output = folder.run(&[&["file", "validate", file], flags].concat(), &[]);
        (output.code, output.stderr.lines().last().unwrap_or_default().to_owned())
    };
    let two = "2 warnings".to_owned();
    assert_eq!(run("unknown.yaml", &[]), (1, "1 error".into()));
    assert_eq!(run("unknown.yaml", &["-W", "W0301,unknown-field"]), (0, "1 warning".into()));
    assert_eq!(run("unknown.yaml", &["--warn", "E0102", "--warn", "E0103"]), (0, "1 warning".into()));
    assert_eq!(run("warnings.yaml", &[]), (0, two.clone()));
    assert_eq!(run("warnings.yaml", &["-E", "W0301"]), (0, two));
    assert_eq!(run("warnings.yaml", &["-E", "route-regex-path-format"]), (1, "1 error, 1 warning".into()));
    assert_eq!(run("warnings.yaml", &["--error", "regex-path,E0301"]), (1, "2 errors".into()));
    assert_eq!(run("warnings.yaml", &["--env", "required"]), (1, "1 error, 1 warning".into()));
    assert_eq!(run("warnings.yaml", &["--strict"]), (1, "2 errors".into()));
    assert_eq!(run("warnings.yaml", &["--strict", "-W", "W0102"]), (1, "1 error, 1 warning".into()));
    for code in ["E9999", "E0002"] {
        assert_eq!(run("warnings.yaml", &["-W", code]).0, 1, "{code}");
    }
}

#[test]
fn programs_get_whole_documents_on_standard_output() {
    let folder = Folder::with("bad.yaml", UNKNOWN);
    let json = folder.run(&["file", "validate", "bad.yaml", "--format", "json"], &[]).expect(1);
    let problem = &json.json()["diagnostics"][0];
    assert_eq!(problem["code"], "E0103", "{json:#?}");
    assert_eq!((&problem["line"], &problem["path"]), (&2.into(), &"services[0].prot".into()));
    assert_eq!(json.json()["summary"], serde_json::json!({"errors": 1, "warnings": 0}));
    assert_eq!(json.stderr, "");
    let sarif = folder.run(&["file", "validate", "bad.yaml", "--format", "sarif"], &[]).expect(1);
    assert_eq!(sarif.json()["runs"][0]["results"][0]["ruleId"], "E0103");
    let github = folder.run(&["file", "validate", "bad.yaml", "--format", "github"], &[]).expect(1);
    assert!(github.stdout.starts_with("::error file=bad.yaml,line=2,"), "{github:#?}");
    let good = Folder::with("good.yaml", GOOD);
    let json = good.run(&["file", "validate", "good.yaml", "--format", "json"], &[]).expect(0).json();
    assert_eq!(json["diagnostics"], serde_json::json!([]));
}

#[test]
fn each_workspace_is_a_state_of_its_own() {
    let folder = Folder::new();
    let file = |workspace: &str, name: &str| {
        format!("_format_version: \"3.0\"\n_workspace: {workspace}\nservices: [{{name: {name}, host: h}}]\n")
    };
    folder.write("a.yaml", &file("blue", "same"));
    folder.write("b.yaml", &file("green", "same"));
    folder.run(&["file", "validate", "."], &[]).expect(0);
    folder.write("b.yaml", &file("blue", "same"));
    let output = folder.run(&["file", "validate", "."], &[]).expect(1);
    assert!(output.stderr.contains("E0202"), "{output:#?}");
    // The flag takes all files for one workspace.
    folder.write("b.yaml", &file("green", "same"));
    let output = folder.run(&["file", "validate", ".", "-w", "red"], &[]).expect(1);
    assert!(output.stderr.contains("E0202") && output.stderr.contains("W0001"), "{output:#?}");
}

#[test]
fn other_gateways_are_validated_for() {
    let folder = Folder::with(
        "kong.yaml",
        "_format_version: \"3.0\"\nplugins: [{name: of-our-own, config: {size: 10}}]\n",
    );
    let schema = r#"{"fields": [{"config": {"type": "record", "fields": [{"size": {"type": "integer", "between": [1, 9]}}]}}]}"#;
    folder.write("schemas/plugins/of-our-own.json", schema);
    let run = |flags: &[&str]| folder.run(&[&["file", "validate", "kong.yaml"], flags].concat(), &[]);
    assert!(run(&[]).expect(1).stderr.contains("E0106"));
    let output = run(&["--schemas", "schemas"]).expect(1);
    assert!(output.stderr.contains("E0102") && output.stderr.contains("between 1 and 9"), "{output:#?}");
    assert!(run(&["--schemas", "nowhere"]).expect(1).stderr.contains("E0001"));
    folder.write("kong.yaml", "_format_version: \"3.0\"\n_workspace: w\nplugins: [{name: oauth2}]\n");
    let output = run(&["--konnect-compatibility"]).expect(1);
    assert!(output.stderr.contains("Konnect has no workspaces"), "{output:#?}");
    assert!(output.stderr.contains("Konnect does not take plugin oauth2"), "{output:#?}");
    folder.write("kong.yaml", "_format_version: \"3.0\"\nrbac_roles: [{name: admins}]\n");
    run(&["--rbac-resources-only"]).expect(0);
    folder.write(
        "kong.yaml",
        "_format_version: \"3.0\"\nrbac_roles: [{name: admins}]\nservices: [{name: a, host: h}]\n",
    );
    let output = run(&["--rbac-resources-only"]).expect(1);
    assert!(output.stderr.contains("kong.yaml:3:"), "{output:#?}");
    let output = run(&["--online-entities-list", "services", "--parallelism", "3"]).expect(0);
    assert!(output.stderr.contains("nothing is asked online"), "{output:#?}");
}

/// What a gateway serves, saved to a folder, validates as the bundled schemas do.
#[test]
fn pulled_schemas_validate() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", GOOD);
    folder.write("bad.yaml", UNKNOWN);
    gateway.run(&folder, &["schema", "pull", "--output", "schemas"], &[]).expect(0);
    folder.run(&["file", "validate", "kong.yaml", "--schemas", "schemas"], &[]).expect(0);
    let output = folder.run(&["file", "validate", "bad.yaml", "--schemas", "schemas"], &[]).expect(1);
    assert!(output.stderr.contains("E0103"), "{output:#?}");
}
