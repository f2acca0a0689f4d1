//! `gateway drift`: who changed what since the last sync.

use crate::support::{Folder, Gateway, http};
use serde_json::{Value as Json, json};

const STATE: &str = r#"_format_version: "3.0"
services:
- name: pay
  host: pay.test
  retries: 3
  routes: [{name: charge, paths: [/charge]}]
- {name: gone, host: gone.test}
plugins:
- {name: rate-limiting, config: {minute: 5, hour: 100, policy: local}}
consumers:
- username: amy
  keyauth_credentials: [{key: hush-hush-key}]
"#;

#[test]
fn drift_tells_who_changed_what() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", STATE);
    let state = folder.path().join("state").display().to_string();
    let env = [("XDG_STATE_HOME", state.as_str())];
    let run = |arguments: &[&str], code| gateway.run(&folder, arguments, &env).expect(code);

    let unknown = run(&["gateway", "drift", "kong.yaml"], 1);
    assert!(unknown.stderr.contains("--base"), "{unknown:?}");
    run(&["gateway", "sync", "kong.yaml"], 0);
    run(&["gateway", "drift", "kong.yaml"], 0);
    let records: Vec<_> = std::fs::read_dir(folder.path().join("state/foredeck")).unwrap().collect();
    let [Ok(record)] = records.as_slice() else { panic!("{records:?}") };
    let text = std::fs::read_to_string(record.path()).unwrap();
    assert!(!text.contains("hush") && !text.contains("pay.test"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(record.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    let admin = |method: &str, path: &str, body: Json| {
        let answer = http(method, &format!("{}{path}", gateway.admin), &[], &body);
        assert!(answer.status < 300, "{answer:?}");
        answer.json()
    };
    admin("PATCH", "/services/pay", json!({"retries": 7, "port": 8080}));
    admin("DELETE", "/services/gone", Json::Null);
    admin("POST", "/services", json!({"name": "stray", "host": "stray.test"}));
    let plugin = admin("GET", "/plugins", Json::Null)["data"][0]["id"].as_str().unwrap().to_owned();
    admin("PATCH", &format!("/plugins/{plugin}"), json!({"config": {"minute": 6}}));
    let changed = STATE
        .replace("retries: 3", "retries: 4")
        .replace("/charge]", "/charge, /debit]")
        .replace("minute: 5", "minute: 6")
        .replace("hush-hush-key", "hush-hush-other")
        .replace("- username", "- {username: bob}\n- username");
    folder.write("kong.yaml", &changed);

    let drift = run(&["gateway", "drift", "kong.yaml", "--format", "json"], 2).json();
    let found = drift["control_planes"][0]["drift"].as_array().unwrap();
    let by = |kind: &str, label: &str| {
        let one = found.iter().find(|one| {
            one["kind"] == kind && one["label"].as_str().is_some_and(|name| name.starts_with(label))
        });
        let one = one.unwrap_or_else(|| panic!("{kind} {label}: {drift:#}"));
        let fields = one["fields"].as_array().unwrap().iter();
        let fields: Vec<String> = fields.map(|f| format!("{} {}", f["name"], f["by"])).collect();
        format!("{} {} {}", one["action"], one["by"], fields.join(", ")).replace('"', "")
    };
    assert_eq!(by("service", "pay"), "update conflict port gateway, retries conflict");
    assert_eq!(by("service", "gone"), "delete gateway ");
    assert_eq!(by("service", "stray"), "create gateway ");
    assert_eq!(by("route", "charge"), "update file paths file");
    assert_eq!(by("consumer", "bob"), "create file ");
    assert_eq!(by("plugin", "rate-limiting"), "update both config.minute both");
    let text = run(&["gateway", "drift", "kong.yaml"], 2);
    assert!(text.stdout.contains("service gone: removed on the gateway"), "{}", text.stdout);
    assert!(text.stdout.contains("port (gateway): 8080 on the gateway, 80 in the files"), "{}", text.stdout);
    let table = run(&["gateway", "drift", "kong.yaml", "--format", "markdown"], 2);
    assert!(table.stdout.contains("| | | port | gateway | 8080 | 80 |"), "{}", table.stdout);
    let summary = folder.path().join("summary.md").display().to_string();
    let in_job = [env[0], ("GITHUB_STEP_SUMMARY", summary.as_str())];
    let notes =
        gateway.run(&folder, &["gateway", "drift", "kong.yaml", "--format", "github"], &in_job).expect(2);
    assert!(
        notes.stdout.contains("::warning title=foredeck::service gone: removed on the gateway"),
        "{notes:?}"
    );
    assert_eq!(std::fs::read_to_string(&summary).unwrap(), table.stdout);
    assert!(!table.all().contains("hush") && !notes.all().contains("hush"));
    assert!(!text.all().contains("hush") && !drift.to_string().contains("hush"), "{}", text.all());

    folder.write("base.yaml", STATE);
    let base = run(&["gateway", "drift", "kong.yaml", "--base", "base.yaml", "--format", "json"], 2).json();
    assert_eq!(base["summary"], drift["summary"], "{base:#}");
    run(&["gateway", "sync", "kong.yaml"], 0);
    run(&["gateway", "drift", "kong.yaml"], 0);
    run(&["gateway", "reset", "--force"], 0);
    folder.write("none.yaml", "_format_version: \"3.0\"\n");
    run(&["gateway", "drift", "none.yaml"], 0);
}
