//! `gateway diff --out` and `gateway sync --plan`: exactly the plan that was reviewed, or nothing.

use crate::support::{Folder, Gateway, http};
use serde_json::{Value as Json, json};

const STATE: &str = r#"_format_version: "3.0"
services:
- name: pay
  host: ${{ env "DECK_HOST" }}
  routes: [{name: charge, paths: [/charge]}]
consumers:
- username: amy
  keyauth_credentials: [{key: '${{ env "DECK_KEY" }}'}]
"#;
const VARIABLES: [(&str, &str); 2] = [("DECK_HOST", "pay.test"), ("DECK_KEY", "hush-hush-key")];

fn saved(gateway: &Gateway) -> Folder {
    let folder = Folder::with("kong.yaml", STATE);
    let arguments = ["gateway", "diff", "kong.yaml", "--out", "plan.json", "--select-tag", "edge"];
    gateway.run(&folder, &arguments, &VARIABLES).expect(0);
    folder
}

fn services(gateway: &Gateway) -> Json {
    http("GET", &format!("{}/services", gateway.admin), &[], &Json::Null).json()["data"].clone()
}

#[test]
fn a_saved_plan_is_carried_out_as_it_was_reviewed() {
    let gateway = Gateway::start();
    let folder = saved(&gateway);
    let text = std::fs::read_to_string(folder.path().join("plan.json")).unwrap();
    assert!(!text.contains("hush") && text.contains("DECK_KEY"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join("plan.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let sync = gateway.run(&folder, &["gateway", "sync", "--plan", "plan.json"], &VARIABLES).expect(0);
    assert!(sync.stdout.contains("creating service pay"), "{}", sync.stdout);
    let plan: Json = serde_json::from_str(&text).unwrap();
    let [service] = services(&gateway).as_array().unwrap().clone().try_into().unwrap();
    assert_eq!(service["tags"], json!(["edge"]));
    assert!(plan["new_ids"].as_array().unwrap().contains(&service["id"]), "{plan}");
    let again = gateway.run(&folder, &["gateway", "sync", "--plan", "plan.json"], &VARIABLES).expect(1);
    assert!(again.stderr.contains("E0403"), "{}", again.stderr);
}

#[test]
fn a_plan_is_refused_when_the_control_plane_has_changed() {
    let gateway = Gateway::start();
    let folder = saved(&gateway);
    let body = json!({"name": "pay", "host": "theirs.test", "tags": ["edge"]});
    assert_eq!(http("POST", &format!("{}/services", gateway.admin), &[], &body).status, 201);
    let sync = gateway.run(&folder, &["gateway", "sync", "--plan", "plan.json"], &VARIABLES).expect(1);
    assert!(sync.stderr.contains("E0403") && sync.stderr.contains("service pay"), "{}", sync.stderr);
    assert_eq!(services(&gateway)[0]["host"], "theirs.test");
}

#[test]
fn a_plan_is_refused_when_its_inputs_have_changed() {
    let gateway = Gateway::start();
    let folder = saved(&gateway);
    folder.write("kong.yaml", &STATE.replace("/charge", "/pay"));
    let sync = gateway.run(&folder, &["gateway", "sync", "--plan", "plan.json"], &VARIABLES).expect(1);
    assert!(sync.stderr.contains("another route charge: paths"), "{}", sync.stderr);
    assert_eq!(services(&gateway), json!([]));
    let other = Gateway::start();
    let elsewhere = other.run(&folder, &["gateway", "sync", "--plan", "plan.json"], &VARIABLES).expect(1);
    assert!(elsewhere.stderr.contains("the plan was made for"), "{}", elsewhere.stderr);
    let more = ["gateway", "sync", "--plan", "plan.json", "kong.yaml", "--select-tag", "core"];
    let refused = gateway.run(&folder, &more, &VARIABLES).expect(1);
    assert!(refused.stderr.contains("leave out --select-tag=core kong.yaml"), "{}", refused.stderr);
}

#[test]
fn a_review_is_markdown_or_annotations() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", STATE);
    let markdown =
        gateway.run(&folder, &["gateway", "diff", "kong.yaml", "--format", "markdown"], &VARIABLES).expect(0);
    assert!(markdown.stdout.contains("| service | 1 | 0 | 0 |"), "{}", markdown.stdout);
    let summary = folder.path().join("summary.md");
    let mut env = VARIABLES.to_vec();
    env.push(("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()));
    let sync = gateway.run(&folder, &["gateway", "sync", "kong.yaml", "--format", "github"], &env).expect(0);
    assert!(sync.stdout.contains("::notice title=foredeck,file=kong.yaml,line=3"), "{}", sync.stdout);
    let written = std::fs::read_to_string(&summary).unwrap();
    assert!(written.starts_with("**Result: 4 created, 0 updated, 0 deleted**"), "{written}");
    folder.write("bad.yaml", "_format_version: \"3.0\"\nservices: [{name: s, host: h, port: 99999999}]\n");
    let bad = gateway.run(&folder, &["gateway", "sync", "bad.yaml", "--format", "github"], &env).expect(1);
    assert!(bad.stdout.contains("::error") && bad.stdout.contains("bad.yaml"), "{}", bad.stdout);
    assert!(std::fs::read_to_string(&summary).unwrap().contains("**Failed. Nothing was changed.**"));
    for text in [&markdown.stdout, &sync.stdout, &written] {
        assert!(!text.contains("hush"), "{text}");
    }
}
