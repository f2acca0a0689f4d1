//! The Admin API from outside: every kind through its whole life, addresses, bodies, words of errors, security.

use crate::support::{Answer, Gateway, agent, http};
use serde_json::{Value as Json, json};

/// One case a kind: a body that creates one, and a change that it takes. `PARENT:path` stands for the id of an entity
/// that is made first from the case of that path.
const CASES: &[(&str, &str, &str)] = &[
    ("services", r#"{"name":"s","host":"up.example"}"#, r#"{"retries":7}"#),
    (
        "routes",
        r#"{"name":"r","paths":["/x"],"service":{"id":"PARENT:services"}}"#,
        r#"{"strip_path":false}"#,
    ),
    ("plugins", r#"{"name":"cors","config":{"max_age":5}}"#, r#"{"config":{"max_age":6}}"#),
    ("consumers", r#"{"username":"u","custom_id":"c"}"#, r#"{"custom_id":"d"}"#),
    ("upstreams", r#"{"name":"up"}"#, r#"{"slots":100}"#),
    ("upstreams/PARENT:upstreams/targets", r#"{"target":"10.0.0.1:80"}"#, r#"{"weight":5}"#),
    ("consumers/PARENT:consumers/key-auth", r#"{"key":"k"}"#, r#"{"tags":["t"]}"#),
    ("consumers/PARENT:consumers/jwt", r#"{"key":"j"}"#, r#"{"algorithm":"HS512"}"#),
    ("consumers/PARENT:consumers/basic-auth", r#"{"username":"b","password":"p"}"#, r#"{"tags":["t"]}"#),
    ("consumers/PARENT:consumers/hmac-auth", r#"{"username":"h"}"#, r#"{"secret":"t"}"#),
    ("consumers/PARENT:consumers/oauth2", r#"{"name":"app","client_id":"i"}"#, r#"{"name":"app2"}"#),
    ("consumers/PARENT:consumers/acls", r#"{"group":"g"}"#, r#"{"group":"h"}"#),
    ("vaults", r#"{"name":"env","prefix":"my-env"}"#, r#"{"description":"d"}"#),
    ("key-sets", r#"{"name":"set"}"#, r#"{"tags":["t"]}"#),
    ("consumer_groups", r#"{"name":"group"}"#, r#"{"tags":["t"]}"#),
    ("partials", r#"{"name":"p","type":"redis-ee","config":{"host":"h"}}"#, r#"{"tags":["t"]}"#),
    ("rbac/roles", r#"{"name":"role"}"#, r#"{"comment":"c"}"#),
    ("workspaces", r#"{"name":"space"}"#, r#"{"comment":"c"}"#),
];

struct Admin(Gateway);

impl Admin {
    fn start(flavor: &str) -> Self {
        Admin(Gateway::with(&["--flavor", flavor]))
    }

    fn call(&self, method: &str, path: &str, body: Json) -> Answer {
        http(method, &format!("{}{path}", self.0.admin), &[], &body)
    }

    #[track_caller]
    fn ok(&self, method: &str, path: &str, body: Json, status: u16) -> Json {
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

/// Puts the ids of parents into a text, making the parents first.
fn with_parents(admin: &Admin, text: &str) -> String {
    let Some((before, after)) = text.split_once("PARENT:") else { return text.to_owned() };
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').unwrap_or(after.len());
    let (path, rest) = after.split_at(end);
    let case = CASES.iter().find(|case| case.0 == path).unwrap();
    let held = admin.ok("GET", &format!("/{path}"), Json::Null, 200);
    let id = match held["data"][0]["id"].as_str() {
        Some(id) => id.to_owned(),
        None => {
            let body = serde_json::from_str(&with_parents(admin, case.1)).unwrap();
            admin.ok("POST", &format!("/{path}"), body, 201)["id"].as_str().unwrap().to_owned()
        }
    };
    with_parents(admin, &format!("{before}{id}{rest}"))
}

fn data(list: &Json) -> usize {
    list["data"].as_array().unwrap().len()
}

#[test]
fn every_kind_is_created_read_changed_written_over_and_deleted() {
    let admin = Admin::start("kong-3.14");
    for (path, body, change) in CASES {
        let list = format!("/{}", with_parents(&admin, path));
        let body: Json = serde_json::from_str(&with_parents(&admin, body)).unwrap();
        let created = admin.ok("POST", &list, body.clone(), 201);
        let one = format!("{list}/{}", created["id"].as_str().unwrap());
        assert_eq!(admin.call("POST", &list, body.clone()).status, 409, "{path}: the same once more");

        let read = admin.ok("GET", &one, Json::Null, 200);
        let read = read.get("consumer_group").cloned().filter(|_| *path == "consumer_groups").unwrap_or(read);
        assert_eq!(read, created, "{path}");
        let listed = admin.ok("GET", &list, Json::Null, 200);
        assert!(listed["data"].as_array().unwrap().contains(&created), "{path}: {listed}");

        let change: Json = serde_json::from_str(change).unwrap();
        let changed = admin.ok("PATCH", &one, change.clone(), 200);
        for (name, value) in change.as_object().unwrap() {
            match value {
                Json::Object(members) => {
                    assert!(members.iter().all(|(k, v)| changed[name][k] == *v), "{path}: {changed}");
                }
                value => assert_eq!(changed[name], *value, "{path}"),
            }
        }
        let written = admin.ok("PUT", &one, body, 200);
        assert_eq!(written["id"], created["id"], "{path}");

        assert_eq!(admin.call("HEAD", &one, Json::Null).status, 200, "{path}");
        assert_eq!(admin.call("OPTIONS", &one, Json::Null).status, 204, "{path}");
        assert_eq!(admin.call("POST", &one, json!({})).status, 405, "{path}");
        admin.ok("DELETE", &one, Json::Null, 204);
        assert_eq!(admin.call("GET", &one, Json::Null).status, 404, "{path}");
    }
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
