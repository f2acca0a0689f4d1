//! A gateway without a database, from outside: whole configurations in, the same out, no writes beside them.

use crate::admin_api::Admin;
use crate::support::{Folder, Gateway, http};
use serde_json::{Value as Json, json};

fn start() -> Admin {
    Admin(Gateway::with(&["--flavor", "kong-3.10", "--dbless"]))
}

const CONFIG: &str = "
_format_version: '3.0'
services:
- name: s
  url: http://up.example/a
  routes:
  - name: r
    paths: [/x]
    plugins: [{name: key-auth}]
consumers:
- username: u
  keyauth_credentials: [{key: k}]
  basicauth_credentials: [{username: b, password: p}]
plugins:
- {name: rate-limiting, service: s, consumer: u, config: {minute: 5}}
upstreams:
- name: up
  targets: [{target: '10.0.0.1'}]
";

#[test]
fn a_configuration_is_loaded_as_a_whole_and_exported_again() {
    let admin = start();
    assert_eq!(admin.ok("GET", "/", Json::Null, 200)["configuration"]["database"], "off");
    let empty = "0".repeat(32);
    assert_eq!(admin.ok("GET", "/status", Json::Null, 200)["configuration_hash"], empty);
    let loaded = admin.ok("POST", "/config", json!({ "config": CONFIG }), 201);
    assert_eq!(loaded["services"].as_object().unwrap().len(), 1, "{loaded}");
    let route = admin.ok("GET", "/routes/r", Json::Null, 200);
    assert_eq!(route["service"]["id"], admin.ok("GET", "/services/s", Json::Null, 200)["id"]);
    let limit = admin.ok("GET", "/services/s/plugins", Json::Null, 200);
    assert_eq!(limit["data"][0]["config"]["minute"], 5, "{limit}");
    assert_eq!(
        admin.ok("GET", "/consumers/u/basic-auth/b", Json::Null, 200)["password"].as_str().unwrap().len(),
        40
    );
    assert_eq!(
        admin.ok("GET", "/upstreams/up/targets", Json::Null, 200)["data"][0]["target"],
        "10.0.0.1:8000"
    );
    let hash = admin.ok("GET", "/status", Json::Null, 200)["configuration_hash"].clone();
    assert_ne!(hash, empty);
    assert_eq!(admin.call("POST", "/config?check_hash=1", json!({ "config": CONFIG })).status, 304);

    // What is exported loads again as it is, passwords and ids too.
    let before = admin.ok("GET", "/consumers/u/basic-auth/b", Json::Null, 200);
    let text = admin.ok("GET", "/config", Json::Null, 200)["config"].clone();
    admin.ok("POST", "/config", json!({ "config": text }), 201);
    let after = admin.ok("GET", "/consumers/u/basic-auth/b", Json::Null, 200);
    assert_eq!((&before["id"], &before["password"]), (&after["id"], &after["password"]));

    // A new configuration takes the place of the old one; a JSON body is one too.
    admin.ok(
        "POST",
        "/config",
        json!({"_format_version": "3.0", "services": [{"name": "t", "host": "h"}]}),
        201,
    );
    admin.ok("GET", "/services/s", Json::Null, 404);
    admin.ok("GET", "/services/t", Json::Null, 200);
}

#[test]
fn every_fault_is_told_at_its_place_and_nothing_is_loaded() {
    let admin = start();
    let config = json!({
        "_format_version": "3.0",
        "services": [
            {"name": "good", "host": "h"},
            {"name": "bad", "id": "6f3f0a2e-7b1c-4c53-9f62-0c6c1f3f0d11", "tags": ["t"],
             "routes": [{"name": "r", "paths": ["x"]}]},
        ],
        "nonsense": [],
    });
    let refused = admin.ok("POST", "/config", config.clone(), 400);
    assert_eq!(refused["code"], 14);
    assert_eq!(refused["name"], "invalid declarative configuration");
    assert_eq!(refused["fields"]["services"][1]["host"], "required field missing");
    assert_eq!(refused["fields"]["nonsense"], "unknown field");
    let path = refused.pointer("/fields/services/1/routes/0/paths/0").unwrap();
    assert_eq!(*path, "should start with: / (fixed path) or ~/ (regex path)");
    let flat = admin.ok("POST", "/config?flatten_errors=1", config, 400);
    assert_eq!(flat["fields"], json!({"nonsense": "unknown field"}));
    let route = &flat["flattened_errors"][1];
    assert_eq!((&route["entity_type"], &route["entity_name"]), (&json!("route"), &json!("r")));
    assert_eq!(route["entity"]["service"]["id"], "6f3f0a2e-7b1c-4c53-9f62-0c6c1f3f0d11");
    assert_eq!(route["errors"][0]["field"], "paths.1");
    assert_eq!(flat["flattened_errors"][0]["entity_tags"], json!(["t"]));
    admin.ok("GET", "/services/good", Json::Null, 404);

    let lost =
        json!({"_format_version": "3.0", "routes": [{"name": "r", "paths": ["/"], "service": "nope"}]});
    let lost = admin.ok("POST", "/config", lost, 400);
    assert_eq!(
        lost["fields"]["routes"]["r"][0],
        "invalid reference 'service: nope' (no such entry in 'services')"
    );
    let twice = json!({"_format_version": "3.0", "consumers": [{"username": "u"}, {"username": "u"}]});
    let twice = admin.ok("POST", "/config", twice, 400);
    let message = "uniqueness violation: 'consumers' entity with username set to 'u' already declared";
    assert_eq!(twice["fields"]["consumers"][1], message);
    let unread = admin.ok("POST", "/config", json!({"config": "a: [b"}), 400);
    let message = unread["message"].as_str().unwrap();
    assert!(message.starts_with("declarative config is invalid: {error=\"failed parsing"), "{message}");
    assert_eq!(
        admin.ok("POST", "/config", json!({}), 400)["fields"]["_format_version"],
        "required field missing"
    );
}

#[test]
fn entities_cannot_be_written_one_by_one() {
    let admin = start();
    admin.ok("POST", "/config", json!({ "config": CONFIG }), 201);
    for (method, path, body, message) in [
        (
            "POST",
            "/services",
            json!({"host": "h"}),
            "cannot create 'services' entities when not using a database",
        ),
        (
            "POST",
            "/consumers",
            json!({"username": "u"}),
            "cannot create 'consumers' entities when not using a database",
        ),
        (
            "PATCH",
            "/services/s",
            json!({"retries": 1}),
            "cannot update 'services' entities by 'name' when not using a database",
        ),
        (
            "DELETE",
            "/services/s",
            Json::Null,
            "cannot remove 'services' entities by 'name' when not using a database",
        ),
    ] {
        let refused = admin.ok(method, path, body, 405);
        assert_eq!(refused, json!({"code": 12, "name": "operation unsupported", "message": message}));
    }
    assert_eq!(admin.call("POST", "/services", json!({})).status, 400);
    admin.ok("DELETE", "/services/other", Json::Null, 204);
    admin.ok("GET", "/services/s", Json::Null, 200);
    let with_database = Admin::start("kong-3.10");
    let url = format!("{}/config", with_database.0.admin);
    assert_eq!(http("POST", &url, &[], &json!({ "config": CONFIG })).status, 400);
}

#[test]
fn a_sync_loads_the_whole_state_at_once() {
    let gateway = Gateway::with(&["--flavor", "kong-3.10", "--dbless"]);
    let folder = Folder::with("kong.yaml", SYNCED);
    let refused = gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]).expect(1);
    assert!(refused.stderr.contains("add --dbless"), "{}", refused.stderr);
    let sync = gateway.run(&folder, &["gateway", "sync", "kong.yaml", "--dbless"], &[]).expect(0);
    assert!(
        sync.stdout.contains("creating service s") && sync.stdout.contains("Created: 7"),
        "{}",
        sync.stdout
    );
    let diff = ["gateway", "diff", "kong.yaml", "--dbless", "--non-zero-exit-code"];
    gateway.run(&folder, &diff, &[]).expect(0);
    let id = || http("GET", &format!("{}/services/s", gateway.admin), &[], &Json::Null).json()["id"].clone();
    let before = id();
    folder.write(
        "kong.yaml",
        &SYNCED.replace("/r", "/other").replace("plugins:\n- name: correlation-id\n", ""),
    );
    let changed = gateway.run(&folder, &["gateway", "sync", "kong.yaml", "--dbless"], &[]).expect(0);
    assert!(changed.stdout.contains("Updated: 1\n  Deleted: 1"), "{}", changed.stdout);
    gateway.run(&folder, &diff, &[]).expect(0);
    // What has not changed keeps its id.
    assert_eq!(id(), before);
    // Drift is looked for without a flag: nothing is written.
    let state = folder.path().join("state").display().to_string();
    let env = [("XDG_STATE_HOME", state.as_str())];
    gateway.run(&folder, &["gateway", "sync", "kong.yaml", "--dbless"], &env).expect(0);
    gateway.run(&folder, &["gateway", "drift", "kong.yaml"], &env).expect(0);
    folder.write("kong.yaml", SYNCED);
    let drift = gateway.run(&folder, &["gateway", "drift", "kong.yaml"], &env).expect(2);
    assert!(drift.stdout.contains("route r: changed in the files"), "{drift:?}");
    let partial = ["gateway", "sync", "kong.yaml", "--dbless", "--select-tag", "t"];
    gateway.run(&folder, &partial, &[]).expect(1);
}

const SYNCED: &str = r#"_format_version: "3.0"
services:
- {name: s, host: h.test, routes: [{name: r, paths: [/r], plugins: [{name: key-auth}]}]}
consumers:
- username: amy
  basicauth_credentials: [{username: amy, password: amys-word}]
  acls: [{group: gold}]
plugins:
- name: correlation-id
"#;
