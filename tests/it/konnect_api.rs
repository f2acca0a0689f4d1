//! Konnect's APIs from outside: control planes, their entities apart from each other, tokens, accounts, limits.

use crate::support::{Answer, Gateway, http};
use serde_json::{Value as Json, json};

struct Konnect(Gateway);

impl Konnect {
    fn call(&self, token: &str, method: &str, path: &str, body: Json) -> Answer {
        let bearer = format!("Bearer {token}");
        http(method, &format!("{}{path}", self.0.konnect), &[("Authorization", &bearer)], &body)
    }

    #[track_caller]
    fn ok(&self, method: &str, path: &str, body: Json, status: u16) -> Json {
        let answer = self.call("any", method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        answer.json()
    }

    fn control_plane(&self, name: &str) -> String {
        let made = self.ok("POST", "/v2/control-planes", json!({ "name": name }), 201);
        format!("/v2/control-planes/{}", made["id"].as_str().unwrap())
    }
}

#[test]
fn control_planes_are_made_found_changed_and_deleted() {
    let konnect = Konnect(Gateway::start());
    let one = konnect.control_plane("one");
    konnect.control_plane("two");
    let taken = konnect.ok("POST", "/v2/control-planes", json!({"name": "one"}), 409);
    assert_eq!(taken["status"], 409);
    let bad = konnect.ok("POST", "/v2/control-planes", json!({"nmae": "x"}), 400);
    assert_eq!(bad["invalid_parameters"].as_array().unwrap().len(), 2, "{bad}");
    let found = konnect.ok("GET", "/v2/control-planes?filter[name][eq]=two", Json::Null, 200);
    assert_eq!((&found["meta"]["page"]["total"], &found["data"][0]["name"]), (&json!(1), &json!("two")));
    let page = konnect.ok("GET", "/v2/control-planes?page[size]=1&page[number]=2", Json::Null, 200);
    assert_eq!((&page["meta"]["page"]["total"], &page["data"][0]["name"]), (&json!(2), &json!("two")));
    let changed = konnect.ok("PATCH", &one, json!({"description": "d"}), 200);
    assert_eq!(changed["description"], "d");
    let groups = konnect.ok("GET", "/konnect-api/api/runtime_groups", Json::Null, 200);
    assert_eq!(groups["data"].as_array().unwrap().len(), 2);
    konnect.ok("DELETE", &one, Json::Null, 204);
    konnect.ok("GET", &one, Json::Null, 404);
}

#[test]
fn entities_belong_to_their_control_plane_and_leave_nulls_out() {
    let konnect = Konnect(Gateway::start());
    let (one, two) = (konnect.control_plane("one"), konnect.control_plane("two"));
    let id = "6f3f0a2e-7b1c-4c53-9f62-0c6c1f3f0d11";
    let service = konnect.ok(
        "PUT",
        &format!("{one}/core-entities/services/{id}"),
        json!({"name": "s", "host": "h"}),
        200,
    );
    assert_eq!(service["id"], id);
    assert!(service.as_object().unwrap().values().all(|value| !value.is_null()), "{service}");
    konnect.ok("GET", &format!("{two}/core-entities/services/{id}"), Json::Null, 404);
    konnect.ok("POST", &format!("{two}/core-entities/services"), json!({"name": "s", "host": "h"}), 201);
    konnect.ok("POST", &format!("{one}/core-entities/upstreams"), json!({"name": "up"}), 201);
    konnect.ok("POST", &format!("{one}/core-entities/upstreams/up/targets"), json!({"target": "a:1"}), 201);
    let plugin = konnect.ok("POST", &format!("{one}/core-entities/plugins"), json!({"name": "cors"}), 201);
    assert_eq!(plugin["config"].get("max_age"), Some(&Json::Null), "{plugin}");
    assert_eq!(plugin.get("route"), None, "{plugin}");
    let targets = konnect.ok("GET", &format!("{one}/core-entities/targets?size=1000"), Json::Null, 200);
    assert_eq!(targets["data"].as_array().unwrap().len(), 1);
    let refused = konnect.ok("POST", &format!("{one}/core-entities/services"), json!({"name": "x"}), 400);
    assert_eq!(refused["code"], 3);
    assert_eq!(refused["details"][0]["field"], "host");
    let taken =
        konnect.ok("POST", &format!("{one}/core-entities/services"), json!({"name": "s", "host": "h"}), 400);
    assert_eq!(taken["details"][0]["type"], "ERROR_TYPE_REFERENCE");
    let schema = konnect.ok("GET", &format!("{one}/core-entities/v1/schemas/json/service"), Json::Null, 200);
    assert_eq!(schema["properties"]["retries"]["default"], 5);
    // Clients fill in defaults of records, but must not make references of nothing.
    assert_eq!(schema["properties"]["client_certificate"]["additionalProperties"], false);
    let schema = konnect.ok("GET", &format!("{one}/core-entities/v1/schemas/json/upstream"), Json::Null, 200);
    assert_eq!(schema["properties"]["healthchecks"]["additionalProperties"], Json::Null);
    konnect.ok("GET", &format!("{one}/core-entities/schemas/plugins/cors"), Json::Null, 200);
    konnect.ok("DELETE", &one, Json::Null, 204);
    konnect.ok("GET", &format!("{one}/core-entities/services"), Json::Null, 404);
}

#[test]
fn config_stores_keep_secrets_to_themselves() {
    let konnect = Konnect(Gateway::start());
    let (one, two) = (konnect.control_plane("one"), konnect.control_plane("two"));
    let store = konnect.ok("POST", &format!("{one}/config-stores"), json!({"name": "s"}), 201);
    let id = store["id"].as_str().unwrap();
    konnect.ok("POST", &format!("{one}/config-stores"), json!({"name": "s"}), 409);
    konnect.ok("POST", &format!("{two}/config-stores"), json!({"name": "s"}), 201);
    konnect.ok("GET", &format!("{two}/config-stores/{id}"), Json::Null, 404);
    let secrets = format!("{one}/config-stores/{id}/secrets");
    for key in ["a", "b", "c"] {
        let made = konnect.ok("POST", &secrets, json!({"key": key, "value": "hush"}), 201);
        assert!(!made.to_string().contains("hush"), "{made}");
    }
    konnect.ok("PUT", &format!("{secrets}/a"), json!({"value": "hush-again"}), 200);
    let first = konnect.ok("GET", &format!("{secrets}?page[size]=2"), Json::Null, 200);
    assert!(!first.to_string().contains("hush"), "{first}");
    let next = first["meta"]["page"]["next"].as_str().unwrap();
    let last = konnect.ok("GET", &format!("{secrets}{next}"), Json::Null, 200);
    assert_eq!((last["data"].as_array().unwrap().len(), &last["meta"]["page"]["next"]), (1, &Json::Null));
    assert!(!first["data"].as_array().unwrap().contains(&last["data"][0]), "{first} {last}");
    konnect.ok("DELETE", &format!("{one}/config-stores/{id}"), Json::Null, 409);
    konnect.ok("DELETE", &format!("{one}/config-stores/{id}?force=true"), Json::Null, 204);
    konnect.ok("GET", &secrets, Json::Null, 404);
}

#[test]
fn groups_have_control_planes_and_control_planes_schemas_of_their_own() {
    let konnect = Konnect(Gateway::start());
    let (one, two) = (konnect.control_plane("one"), konnect.control_plane("two"));
    let id = |path: &str| json!({"id": path.rsplit('/').next().unwrap()});
    let group = json!({"name": "group", "cluster_type": "CLUSTER_TYPE_CONTROL_PLANE_GROUP"});
    let group = konnect.ok("POST", "/v2/control-planes", group, 201);
    let group = format!("/v2/control-planes/{}", group["id"].as_str().unwrap());
    let both = json!({"members": [id(&one), id(&two)]});
    konnect.ok("PUT", &format!("{group}/group-memberships"), both, 204);
    konnect.ok("POST", &format!("{group}/group-memberships/remove"), json!({"members": [id(&two)]}), 204);
    let members = konnect.ok("GET", &format!("{group}/group-memberships"), Json::Null, 200);
    assert_eq!((&members["data"][0]["name"], &members["meta"]["page"]["total"]), (&json!("one"), &json!(1)));
    assert_eq!(konnect.ok("GET", &format!("{one}/group-member-status"), Json::Null, 200)["is_member"], true);
    assert_eq!(konnect.ok("GET", &format!("{two}/group-member-status"), Json::Null, 200)["is_member"], false);
    konnect.ok("PUT", &format!("{one}/group-memberships"), json!({"members": [id(&two)]}), 400);
    konnect.ok("DELETE", &one, Json::Null, 204);
    let members = konnect.ok("GET", &format!("{group}/group-memberships"), Json::Null, 200);
    assert_eq!(members["data"], json!([]));

    let schemas = format!("{two}/core-entities/plugin-schemas");
    let schema = json!({"lua_schema": "return { name = \"mine\", fields = {} }"});
    assert_eq!(konnect.ok("POST", &schemas, schema.clone(), 201)["item"]["name"], "mine");
    konnect.ok("POST", &schemas, schema.clone(), 409);
    konnect.ok("PUT", &format!("{schemas}/other"), schema.clone(), 400);
    konnect.ok("PUT", &format!("{schemas}/mine"), schema, 200);
    assert_eq!(konnect.ok("GET", &schemas, Json::Null, 200)["page"]["total_count"], 1);
    konnect.ok("DELETE", &format!("{schemas}/mine"), Json::Null, 204);
    konnect.ok("GET", &format!("{schemas}/mine"), Json::Null, 404);
    let hash = || {
        konnect.ok("GET", &format!("{two}/expected-config-hash"), Json::Null, 200)["expected_hash"].clone()
    };
    let before = hash();
    konnect.ok("POST", &format!("{two}/core-entities/services"), json!({"host": "h"}), 201);
    assert_ne!(before, hash());
}

#[test]
fn faults_happen_to_konnect_too() {
    let konnect = Konnect(Gateway::with(&[
        "--fault",
        "GET /v2/control-planes/*/core-entities/*: 429 retry-after=3 x1",
    ]));
    let one = konnect.control_plane("one");
    let asked = || konnect.call("t", "GET", &format!("{one}/core-entities/services"), Json::Null);
    let first = asked();
    assert_eq!((first.status, first.header("retry-after")), (429, Some("3")));
    assert_eq!(asked().status, 200);
}

#[test]
fn only_known_tokens_are_accepted_and_accounts_give_more() {
    let konnect = Konnect(Gateway::with(&["--konnect-token", "kpat_one", "--konnect-token", "kpat_two"]));
    let status = |token: &str| konnect.call(token, "GET", "/v2/organizations/me", Json::Null).status;
    assert_eq!([status("kpat_one"), status("kpat_two"), status("wrong"), status("")], [200, 200, 401, 401]);
    let make = |path: &str, body: Json| konnect.call("kpat_one", "POST", path, body);
    let account = make("/v3/system-accounts", json!({"name": "ci", "description": "d"})).json();
    let account = format!("/v3/system-accounts/{}", account["id"].as_str().unwrap());
    let token =
        make(&format!("{account}/access-tokens"), json!({"name": "t", "expires_at": "2030-01-01T00:00:00Z"}));
    let (text, id) = (token.json()["token"].clone(), token.json()["id"].clone());
    let text = text.as_str().unwrap();
    assert!(text.starts_with("spat_"), "{text}");
    assert_eq!(status(text), 200);
    let role = json!({
        "role_name": "Admin", "entity_id": "18ee2573-dec0-4b83-be99-fa7700bcdc61",
        "entity_type_name": "Control Planes", "entity_region": "us",
    });
    assert_eq!(make(&format!("{account}/assigned-roles"), role).status, 201);
    let listed = konnect.call("kpat_one", "GET", &format!("{account}/access-tokens"), Json::Null);
    assert!(!listed.text.contains(text), "{}", listed.text);
    let one = format!("{account}/access-tokens/{}", id.as_str().unwrap());
    assert_eq!(konnect.call("kpat_one", "DELETE", &one, Json::Null).status, 204);
    assert_eq!(status(text), 401);
}

#[test]
fn more_requests_than_agreed_are_told_to_wait() {
    let konnect = Konnect(Gateway::with(&["--konnect-rate-limit", "3"]));
    let answers: Vec<Answer> =
        (0..8).map(|_| konnect.call("t", "GET", "/v2/control-planes", Json::Null)).collect();
    let limited: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(limited.len() >= 2, "{answers:?}");
    assert!(limited.iter().all(|answer| answer.header("retry-after") == Some("1")));
}
