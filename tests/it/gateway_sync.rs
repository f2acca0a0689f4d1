//! The gateway commands against the built-in gateway: what is synced is there, and a dump of it changes nothing.

use crate::support::{Folder, Gateway, http};
use serde_json::{Value as Json, json};

const STATE: &str = r#"_format_version: "3.0"
services:
- name: pay
  url: https://pay.test/v1
  tags: [edge, core]
  routes:
  - name: charge
    paths: [/charge]
    methods: [POST, GET]
    plugins:
    - name: key-auth
  plugins:
  - name: rate-limiting
    config: {minute: 5, policy: local}
consumers:
- username: amy
  custom_id: a1
  keyauth_credentials:
  - key: amys-key
  acls:
  - group: gold
plugins:
- name: correlation-id
- name: request-termination
  service: pay
  consumer: amy
  config: {status_code: 418}
upstreams:
- name: pool
  targets:
  - target: 10.0.0.1:80
  - target: 10.0.0.2
    weight: 7
vaults:
- name: env
  prefix: env-v
  config: {prefix: X_}
key_sets:
- name: set
"#;

const GROUPS: &str = r#"_format_version: "3.0"
consumer_groups:
- name: gold
consumers:
- username: amy
  groups:
  - name: gold
"#;

fn is_in_sync(gateway: &Gateway, folder: &Folder, file: &str, more: &[&str]) {
    let mut arguments = vec!["gateway", "diff", file, "--non-zero-exit-code"];
    arguments.extend(more);
    let diff = gateway.run(folder, &arguments, &[]);
    assert_eq!(diff.code, 0, "{}{}", diff.stdout, diff.stderr);
}

#[test]
fn a_dump_of_what_was_synced_changes_nothing() {
    for flavor in ["kong-3.10", "kong-3.14"] {
        let gateway = Gateway::with(&["--flavor", flavor]);
        let folder = Folder::with("kong.yaml", STATE);
        let sync = gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]);
        assert_eq!(sync.code, 0, "{}{}", sync.stdout, sync.stderr);
        is_in_sync(&gateway, &folder, "kong.yaml", &[]);
        for more in [&["--with-id"][..], &["--skip-defaults"], &["--format", "json"], &[]] {
            let mut arguments = vec!["gateway", "dump", "-o", "dump.yaml", "--yes"];
            arguments.extend(more);
            let dump = gateway.run(&folder, &arguments, &[]);
            assert_eq!(dump.code, 0, "{}", dump.stderr);
            is_in_sync(&gateway, &folder, "dump.yaml", &[]);
        }
    }
}

#[test]
fn memberships_come_and_go() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", GROUPS);
    assert_eq!(gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]).code, 0);
    is_in_sync(&gateway, &folder, "kong.yaml", &[]);
    let dump = gateway.run(&folder, &["gateway", "dump", "-o", "dump.yaml"], &[]);
    assert_eq!(dump.code, 0, "{}", dump.stderr);
    is_in_sync(&gateway, &folder, "dump.yaml", &[]);
    folder.write(
        "kong.yaml",
        "_format_version: \"3.0\"\nconsumer_groups: [{name: gold}]\nconsumers: [{username: amy}]\n",
    );
    let sync = gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]);
    assert_eq!(sync.code, 0, "{}{}", sync.stdout, sync.stderr);
    is_in_sync(&gateway, &folder, "kong.yaml", &[]);
    assert_eq!(gateway.run(&folder, &["gateway", "reset", "--force"], &[]).code, 0);
    assert_eq!(
        http("GET", &format!("{}/consumers", gateway.admin), &[], &Json::Null).json()["data"],
        json!([])
    );
}

#[test]
fn secrets_of_a_dump_become_variables_in_a_private_file() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", STATE);
    assert_eq!(gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]).code, 0);
    let dump = gateway.run(&folder, &["gateway", "dump", "-o", "dump.yaml", "--secrets", "env"], &[]);
    assert_eq!(dump.code, 0, "{}", dump.stderr);
    let text = std::fs::read_to_string(folder.path().join("dump.yaml")).unwrap();
    assert!(!text.contains("amys-key") && text.contains("${{ env"), "{text}");
    let values = folder.path().join("dump.env");
    assert!(std::fs::read_to_string(&values).unwrap().contains("amys-key"));
    #[cfg(unix)]
    for file in ["dump.yaml", "dump.env"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    is_in_sync(&gateway, &folder, "dump.yaml", &["--env-file", "dump.env"]);
}

#[test]
fn a_control_plane_of_konnect_is_found_by_name_and_holds_what_was_synced() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", STATE);
    let konnect = ["--konnect-addr", &gateway.konnect, "--konnect-token", "token-of-the-test"];
    let run = |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().chain(&konnect).copied().collect();
        folder.run(&arguments, &[])
    };
    let named = ["--konnect-control-plane-name", "team"];
    let missing = run(&["gateway", "diff", "kong.yaml", named[0], named[1]]);
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("E0503") && missing.stderr.contains(&gateway.konnect),
        "{}",
        missing.stderr
    );
    let made = http(
        "POST",
        &format!("{}/v2/control-planes", gateway.konnect),
        &[("authorization", "Bearer token-of-the-test")],
        &json!({"name": "team"}),
    );
    assert_eq!(made.status, 201, "{}", made.text);
    let sync = run(&["gateway", "sync", "kong.yaml", named[0], named[1]]);
    assert_eq!(sync.code, 0, "{}{}", sync.stdout, sync.stderr);
    let dump = run(&["gateway", "dump", "-o", "dump.yaml", named[0], named[1]]);
    assert_eq!(dump.code, 0, "{}", dump.stderr);
    // The dump names its control plane.
    let diff = run(&["gateway", "diff", "dump.yaml", "--non-zero-exit-code"]);
    assert_eq!(diff.code, 0, "{}{}", diff.stdout, diff.stderr);
    assert_eq!(
        http("GET", &format!("{}/services", gateway.admin), &[], &Json::Null).json()["data"],
        json!([])
    );
}

#[test]
fn guard_rails_refuse_before_anything_is_written() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", STATE);
    assert_eq!(gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]).code, 0);
    folder.write("empty.yaml", "_format_version: \"3.0\"\n");
    let empty = gateway.run(&folder, &["gateway", "sync", "empty.yaml"], &[]);
    assert_eq!(empty.code, 1, "{}", empty.stdout);
    assert!(empty.stderr.contains("E0401"), "{}", empty.stderr);
    is_in_sync(&gateway, &folder, "kong.yaml", &[]);
    let bounded = ["gateway", "sync", "empty.yaml", "--yes", "--max-deletes", "3"];
    assert_eq!(gateway.run(&folder, &bounded, &[]).code, 1);
    is_in_sync(&gateway, &folder, "kong.yaml", &[]);
    let tagged = ["gateway", "sync", "empty.yaml", "--yes", "--protect-tag", "core"];
    assert_eq!(gateway.run(&folder, &tagged, &[]).code, 1);
    is_in_sync(&gateway, &folder, "kong.yaml", &[]);
    let all = gateway.run(&folder, &["gateway", "sync", "empty.yaml", "--yes"], &[]);
    assert_eq!(all.code, 0, "{}{}", all.stdout, all.stderr);
}

#[test]
fn workspaces_are_made_and_kept_apart() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", "_format_version: \"3.0\"\nservices: [{name: s, host: h.test}]\n");
    let missing = gateway.run(&folder, &["gateway", "dump", "-w", "blue"], &[]);
    assert!(missing.code == 1 && missing.stderr.contains("blue"), "{}", missing.stderr);
    let sync = gateway.run(&folder, &["gateway", "sync", "kong.yaml", "-w", "blue"], &[]);
    assert_eq!(sync.code, 0, "{}{}", sync.stdout, sync.stderr);
    is_in_sync(&gateway, &folder, "kong.yaml", &["-w", "blue"]);
    assert_eq!(
        http("GET", &format!("{}/default/services", gateway.admin), &[], &Json::Null).json()["data"],
        json!([])
    );
    let dump = gateway.run(&folder, &["gateway", "dump", "--all-workspaces"], &[]);
    assert_eq!(dump.code, 0, "{}", dump.stderr);
    let blue = std::fs::read_to_string(folder.path().join("blue.yaml")).unwrap();
    assert!(blue.contains("_workspace: blue") && blue.contains("name: s"), "{blue}");
}

#[test]
fn several_workspaces_are_one_run() {
    let gateway = Gateway::start();
    let folder = Folder::new();
    for name in ["blue", "green"] {
        let state = format!(
            "_format_version: \"3.0\"\n_workspace: {name}\nservices: [{{name: of-{name}, host: h.test}}]\n"
        );
        folder.write(&format!("{name}.yaml"), &state);
    }
    let sync = gateway.run(&folder, &["gateway", "sync", "blue.yaml", "green.yaml"], &[]).expect(0);
    assert!(
        sync.stdout.contains("Workspace green:\nCreating workspace green\ncreating service of-green"),
        "{}",
        sync.stdout
    );
    assert!(sync.stdout.contains("Created: 2"), "{}", sync.stdout);
    is_in_sync(&gateway, &folder, "blue.yaml", &[]);
    let reset =
        gateway.run(&folder, &["gateway", "reset", "--all-workspaces", "--force", "--json-output"], &[]);
    assert_eq!(reset.expect(0).json()["summary"]["deleting"], 2);
    let diff = ["gateway", "diff", "blue.yaml", "green.yaml", "--json-output"];
    assert_eq!(gateway.run(&folder, &diff, &[]).expect(0).json()["summary"]["creating"], 2);
}
