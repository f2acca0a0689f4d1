//! The Admin API from outside: addresses, bodies, words of errors, who may call. Every kind: `admin_kinds`.

use crate::support::{Answer, Gateway, agent, http};
use serde_json::{Value as Json, json};

/// A running gateway, asked through its Admin API.
pub(crate) struct Admin(pub Gateway);

impl Admin {
    pub fn start(flavor: &str) -> Self {
        Admin(Gateway::with(&["--flavor", flavor]))
    }

    pub fn call(&self, method: &str, path: &str, body: Json) -> Answer {
        http(method, &format!("{}{path}", self.0.admin), &[], &body)
    }

    #[track_caller]
    pub fn ok(&self, method: &str, path: &str, body: Json, status: u16) -> Json {
        let answer = self.call(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        answer.json()
    }

    fn form(&self, method: &str, path: &str, form: &str) -> Json {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.0.admin))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned())
            .unwrap();
        let mut answer = agent().run(request).unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }
}

pub(crate) fn data(list: &Json) -> usize {
    list["data"].as_array().unwrap().len()
}

#[test]
fn deletes_restrict_and_cascade_as_references_say() {
    let admin = Admin::start("kong-3.10");
    admin.ok("POST", "/services", json!({"name": "s", "host": "h"}), 201);
    admin.ok("POST", "/services/s/routes", json!({"name": "r", "paths": ["/x"]}), 201);
    admin.ok("POST", "/routes/r/plugins", json!({"name": "cors"}), 201);
    let refused = admin.ok("DELETE", "/services/s", Json::Null, 400);
    assert_eq!(refused["fields"], json!({"@referenced_by": "routes"}));
    admin.ok("DELETE", "/routes/r", Json::Null, 204);
    assert_eq!(data(&admin.ok("GET", "/plugins", Json::Null, 200)), 0);
    admin.ok("DELETE", "/services/s", Json::Null, 204);
    admin.ok("POST", "/consumers", json!({"username": "u"}), 201);
    admin.ok("POST", "/consumers/u/oauth2", json!({"name": "app", "client_id": "i"}), 201);
    let token = json!({"credential": {"client_id": "i"}, "expires_in": 10, "access_token": "a"});
    admin.ok("POST", "/oauth2_tokens", token, 201);
    admin.ok("DELETE", "/consumers/u", Json::Null, 204);
    admin.ok("GET", "/oauth2_tokens/a", Json::Null, 404);
}

#[test]
fn pages_follow_each_other_and_tags_narrow_them() {
    let admin = Admin::start("kong-3.10");
    for n in 0..7 {
        let tags = if n % 2 == 0 { json!(["even", "all"]) } else { json!(["all"]) };
        admin.ok("POST", "/consumers", json!({"username": format!("u{n}"), "tags": tags}), 201);
    }
    let mut next = "/consumers?size=3&tags=all".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = admin.ok("GET", &next, Json::Null, 200);
        seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].to_string()));
        match page["next"].as_str() {
            Some(path) => next = path.to_owned(),
            None => break,
        }
    }
    let (sorted, count) = (seen.is_sorted(), seen.len());
    assert!(sorted && count == 7, "{seen:?}");
    let count = |query: &str| data(&admin.ok("GET", &format!("/consumers?tags={query}"), Json::Null, 200));
    assert_eq!([count("even,all"), count("even/all"), count("none")], [4, 7, 0]);
    assert_eq!(data(&admin.ok("GET", "/tags/even", Json::Null, 200)), 4);
    for (query, message) in [
        ("size=0", "size must be an integer between 1 and 1000"),
        ("size=x", "size must be a number"),
        ("offset=garbage", "'garbage' is not a valid offset: bad json encoding"),
    ] {
        assert_eq!(admin.ok("GET", &format!("/consumers?{query}"), Json::Null, 400)["message"], message);
    }
}

#[test]
fn forms_mean_what_the_fields_say() {
    let admin = Admin::start("kong-3.10");
    let service = admin.form("POST", "/services", "name=s&host=h&port=81&tags[]=a&tags[]=b&enabled=false");
    assert_eq!(service["port"], 81);
    assert_eq!(service["tags"], json!(["a", "b"]));
    assert_eq!(service["enabled"], false);
    let plugin = admin.form("POST", "/services/s/plugins", "name=rate-limiting&config.minute=5");
    assert_eq!(plugin["config"]["minute"], 5);
    let id = plugin["id"].as_str().unwrap();
    assert_eq!(admin.form("PATCH", &format!("/plugins/{id}"), "config.hour=9")["config"]["hour"], 9);
    assert_eq!(admin.form("PATCH", "/services/s", "tags=")["tags"], Json::Null);
}

#[test]
fn credentials_are_generated_hashed_and_expire() {
    let admin = Admin::start("kong-3.10");
    let consumer = admin.ok("POST", "/consumers", json!({"username": "u"}), 201);
    let key = admin.ok("POST", "/consumers/u/key-auth", json!({"ttl": 60}), 201);
    assert_eq!(key["key"].as_str().unwrap().len(), 32);
    assert!((50..=60).contains(&key["ttl"].as_i64().unwrap()), "{key}");
    let basic = admin.ok("POST", "/consumers/u/basic-auth", json!({"username": "b", "password": "p"}), 201);
    let expected = {
        use sha1::Digest;
        let text = format!("p{}", consumer["id"].as_str().unwrap());
        let hash = sha1::Sha1::digest(text.as_bytes());
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(basic["password"], expected);
    admin.ok("DELETE", "/consumers/u", Json::Null, 204);
    assert_eq!(data(&admin.ok("GET", "/key-auths", Json::Null, 200)), 0);
    admin.ok("POST", "/consumers", json!({"username": "v"}), 201);
    admin.ok("POST", "/consumers/v/key-auth", json!({"key": "short", "ttl": 1}), 201);
    let gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        admin.call("GET", "/key-auths/short", Json::Null).status == 404
    });
    assert!(gone);
}

#[test]
fn client_secrets_are_hashed_where_they_are_to_be() {
    let admin = Admin::start("kong-3.10");
    admin.ok("POST", "/consumers", json!({"username": "u"}), 201);
    let app = json!({"name": "app", "client_id": "i", "client_secret": "plain", "hash_secret": true});
    let made = admin.ok("POST", "/consumers/u/oauth2", app, 201);
    assert!(made["client_secret"].as_str().unwrap().starts_with("$pbkdf2-sha512$i=10000,l=32$"), "{made}");
    let renamed = admin.ok("PATCH", "/oauth2/i", json!({"name": "b"}), 200);
    assert_eq!(renamed["client_secret"], made["client_secret"], "a change of something else keeps the hash");
    let alone = admin.ok("PATCH", "/oauth2/i", json!({"client_secret": "other"}), 400);
    assert_eq!(
        alone["fields"]["@entity"][0],
        "all or none of these fields must be set: 'hash_secret', 'client_secret'"
    );
    let both = json!({"client_secret": "other", "hash_secret": false});
    assert_eq!(admin.ok("PATCH", "/oauth2/i", both, 200)["client_secret"], "other");
}

#[test]
fn errors_have_kongs_words() {
    let admin = Admin::start("kong-3.10");
    admin.ok("POST", "/services", json!({"name": "s", "host": "h"}), 201);
    let taken = admin.ok("POST", "/services", json!({"name": "s", "host": "h"}), 409);
    assert_eq!(taken["message"], "UNIQUE violation detected on '{name=\"s\"}'");
    assert_eq!(taken["code"], 5);
    let missing = admin.ok("PATCH", "/services/nope", json!({"port": 1}), 404);
    assert_eq!(missing["name"], "not found");
    let unresolved = admin.ok("POST", "/routes", json!({"paths": ["/"], "service": {"name": "nope"}}), 400);
    assert_eq!(unresolved["code"], 13);
    let nowhere = "00000000-0000-4000-8000-000000000000";
    let dangling = admin.ok("POST", "/routes", json!({"paths": ["/"], "service": {"id": nowhere}}), 400);
    assert_eq!(dangling["fields"], json!({"service": {"id": nowhere}}));
    assert_eq!(admin.ok("GET", "/ca_certificates/x", Json::Null, 400)["name"], "invalid primary key");
    assert_eq!(admin.ok("PUT", "/services", json!({}), 405)["message"], "Method not allowed");
    assert_eq!(admin.ok("GET", "/workspaces", Json::Null, 404)["message"], "Not found");
    let broken = ureq::http::Request::post(format!("{}/services", admin.0.admin))
        .header("content-type", "application/json")
        .body("{")
        .unwrap();
    assert_eq!(agent().run(broken).unwrap().status(), 400);
    let typeless = ureq::http::Request::post(format!("{}/services", admin.0.admin))
        .header("content-type", "text/x")
        .body("a")
        .unwrap();
    assert_eq!(agent().run(typeless).unwrap().status(), 415);
}

#[test]
fn odd_requests_are_answered_as_kong_does() {
    let admin = Admin::start("kong-3.10");
    admin.ok("POST", "/consumers", json!({"username": "u", "tags": ["a", "b"]}), 201);
    let found = |query: &str| data(&admin.ok("GET", &format!("/consumers?{query}"), Json::Null, 200));
    assert_eq!(
        [found("tags=a,b"), found("tags[]=a"), found("tags=a,"), found("tags=z/"), found("size=0x10")],
        [1, 1, 0, 0, 1]
    );
    let message = |path: &str| admin.ok("GET", path, Json::Null, 400)["message"].as_str().unwrap().to_owned();
    for bad in ["tags=a,,b", "tags=a,b/c", "tags=,a", "tags=%FF"] {
        assert_eq!(
            message(&format!("/consumers?{bad}")),
            "invalid option (tags: invalid filter syntax)",
            "{bad}"
        );
    }
    for bad in ["size", "size=5&size=6", "size=x"] {
        assert_eq!(message(&format!("/consumers?{bad}")), "size must be a number", "{bad}");
    }
    assert_eq!(message("/consumers?custom_id"), "custom_id must be an unempty string");
    assert_eq!(message("/filter-chains"), "this endpoint is only available when wasm is enabled");
    let id = "6f3f0a2e-7b1c-4c53-9f62-0c6c1f3f0d11";
    let unknown = admin.ok("PATCH", &format!("/plugins/{id}"), json!({"enabled": false}), 404);
    assert_eq!(unknown, json!({"message": "Not found"}));
    assert_eq!(admin.ok("PATCH", &format!("/plugins/{id}"), json!({"name": "cors"}), 404)["code"], 6);
    let refused = admin.ok("PUT", "/services/s", json!({"host": "h", "id": "none"}), 400);
    assert_eq!(refused["fields"]["id"], "expected a valid UUID");
    assert_eq!(admin.ok("POST", "/services", json!({"host": "h", "port": 81.0}), 201)["port"], 81);
    let upstream = admin.ok("POST", "/upstreams", json!({"name": "up", "algorithm": "guess"}), 400);
    assert!(upstream["fields"]["algorithm"].as_str().unwrap().starts_with("expected one of"), "{upstream}");
    let hashing = json!({"name": "up", "hash_on": "header", "hash_on_header": "h"});
    admin.ok("POST", "/upstreams", hashing, 201);
    assert_eq!(admin.ok("PATCH", "/upstreams/up", json!({"tags": ["t"]}), 200)["hash_on"], "header");
    assert_eq!(admin.call("GET", "/schemas/tags", Json::Null).status, 200);
    let header = [("content-type", "APPLICATION/JSON")];
    assert_eq!(http("POST", &format!("{}/services", admin.0.admin), &header, &json!({})).status, 415);
}

#[test]
fn workspaces_keep_entities_apart() {
    let admin = Admin::start("kong-3.14");
    admin.ok("POST", "/workspaces", json!({"name": "team"}), 201);
    admin.ok("POST", "/team/services", json!({"name": "s", "host": "a"}), 201);
    admin.ok("POST", "/services", json!({"name": "s", "host": "b"}), 201);
    assert_eq!(admin.ok("GET", "/team/kong", Json::Null, 200)["version"], "3.14.0.0");
    assert_eq!(admin.ok("GET", "/team/services/s", Json::Null, 200)["host"], "a");
    assert_eq!(admin.ok("GET", "/default/services/s", Json::Null, 200)["host"], "b");
    assert_eq!(admin.ok("DELETE", "/workspaces/team", Json::Null, 400)["message"], "Workspace is not empty");
    admin.ok("DELETE", "/team/services/s", Json::Null, 204);
    admin.ok("DELETE", "/workspaces/team", Json::Null, 204);
    assert_eq!(admin.ok("GET", "/team/services", Json::Null, 404)["message"], "Workspace 'team' not found");
}

#[test]
fn groups_have_members_from_both_sides() {
    let admin = Admin::start("kong-3.14");
    admin.ok("POST", "/consumers", json!({"username": "u"}), 201);
    admin.ok("POST", "/consumer_groups", json!({"name": "g"}), 201);
    let joined = admin.ok("POST", "/consumer_groups/g/consumers", json!({"consumer": "u"}), 201);
    assert_eq!(joined["consumers"][0]["username"], "u");
    assert_eq!(admin.call("POST", "/consumers/u/consumer_groups", json!({"group": "g"})).status, 409);
    assert_eq!(admin.ok("GET", "/consumers/u/consumer_groups", Json::Null, 200)["data"][0]["name"], "g");
    assert_eq!(admin.ok("GET", "/consumer_groups/g", Json::Null, 200)["consumers"][0]["username"], "u");
    admin.ok("DELETE", "/consumers/u", Json::Null, 204);
    assert_eq!(data(&admin.ok("GET", "/consumer_groups/g/consumers", Json::Null, 200)), 0);
}

#[test]
fn roles_decide_what_a_token_may_do() {
    let gateway = Gateway::with(&["--flavor", "kong-3.14", "--rbac", "--admin-token", "first"]);
    let call = |token: &str, method: &str, path: &str, body: Json| {
        http(method, &format!("{}{path}", gateway.admin), &[("Kong-Admin-Token", token)], &body).status
    };
    assert_eq!(call("", "GET", "/services", Json::Null), 401);
    assert_eq!(call("first", "POST", "/rbac/roles", json!({"name": "reader"})), 201);
    let rule = json!({"workspace": "default", "endpoint": "/services/*", "actions": "read"});
    assert_eq!(call("first", "POST", "/rbac/roles/reader/endpoints", rule), 201);
    assert_eq!(call("first", "POST", "/rbac/users", json!({"name": "bob", "user_token": "bobs"})), 201);
    assert_eq!(call("bobs", "GET", "/services/x", Json::Null), 403);
    assert_eq!(call("first", "POST", "/rbac/users/bob/roles", json!({"roles": "reader"})), 201);
    assert_eq!(call("bobs", "GET", "/services/x", Json::Null), 404);
    assert_eq!(call("bobs", "DELETE", "/services/x", Json::Null), 403);
    assert_eq!(call("bobs", "GET", "/routes", Json::Null), 403);
    assert_eq!(call("others", "GET", "/services/x", Json::Null), 401);
}

#[test]
fn a_web_page_cannot_drive_it_and_sizes_are_bounded() {
    let admin = Admin::start("kong-3.10");
    let url = format!("{}/services", admin.0.admin);
    let with = |name: &str, value: &str| http("GET", &url, &[(name, value)], &Json::Null).status;
    assert_eq!(with("Origin", "https://evil.example"), 403);
    assert_eq!(with("Host", "rebound.example"), 403);
    assert_eq!(with("Sec-Fetch-Site", "cross-site"), 403);
    assert_eq!(with("Host", "localhost"), 200);
    assert_eq!(with("X-Long", &"x".repeat(40_000)), 431);
    assert_eq!(http("GET", &format!("{url}?x={}", "y".repeat(20_000)), &[], &Json::Null).status, 414);
    let large = json!({"name": "s", "host": "h", "x": "z".repeat(11 * 1024 * 1024)});
    assert_eq!(admin.call("POST", "/services", large).status, 413);
}

#[test]
fn faults_happen_as_asked_and_the_log_holds_no_secret() {
    let folder = crate::support::Folder::new();
    let log = folder.path().join("requests.jsonl");
    let gateway = Gateway::with(&[
        "--fault",
        "PUT /consumers/*: 503 retry-after=2 x1",
        "--log-requests",
        log.to_str().unwrap(),
    ]);
    let call =
        |method: &str, path: &str, body: Json| http(method, &format!("{}{path}", gateway.admin), &[], &body);
    let first = call("PUT", "/consumers/u", json!({}));
    assert_eq!((first.status, first.header("retry-after")), (503, Some("2")));
    assert_eq!(call("PUT", "/consumers/u", json!({})).status, 200);
    assert_eq!(call("POST", "/consumers/u/key-auth", json!({"key": "hush-hush"})).status, 201);
    assert_eq!(call("GET", "/key-auths/hush-hush", Json::Null).status, 200);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("hush-hush"), "{text}");
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let faulty = lines.iter().find(|line| line["status"] == 503).unwrap();
    assert_eq!(faulty["fault"], "PUT /consumers/*: 503 retry-after=2 x1");
    assert!(lines.iter().any(|line| line["path"] == "/key-auths/***"), "{text}");
}
