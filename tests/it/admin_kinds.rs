//! Every kind of the Admin API through its whole life, from outside.

use crate::admin_api::Admin;
use serde_json::{Value as Json, json};

/// One case a kind: a body that creates one, and a change that it takes. `PARENT:path` stands for the id of an entity
/// that is made first from the case of that path; `@CERT`, `@KEY` and `@CA` for PEM texts.
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
    ("certificates", r#"{"cert":"@CERT","key":"@KEY"}"#, r#"{"tags":["t"]}"#),
    ("snis", r#"{"name":"a.example","certificate":{"id":"PARENT:certificates"}}"#, r#"{"tags":["t"]}"#),
    ("ca_certificates", r#"{"cert":"@CA"}"#, r#"{"tags":["t"]}"#),
    (
        "keys",
        r#"{"name":"k","kid":"k1","set":{"id":"PARENT:key-sets"},"jwk":"{\"kty\":\"RSA\",\"kid\":\"k1\",\"n\":\"v2KAzzfIqctVHwmwdTY_nvNxkRvx\",\"e\":\"AQAB\"}"}"#,
        r#"{"tags":["t"]}"#,
    ),
    (
        "filter-chains",
        r#"{"service":{"id":"PARENT:services"},"filters":[{"name":"f"}]}"#,
        r#"{"enabled":false}"#,
    ),
    ("licenses", r#"{"payload":"p"}"#, r#"{"payload":"q"}"#),
    ("consumers/PARENT:consumers/mtls-auth", r#"{"subject_name":"cn"}"#, r#"{"tags":["t"]}"#),
    (
        "services/PARENT:services/degraphql/routes",
        r#"{"uri":"/me","query":"query { me }"}"#,
        r#"{"uri":"/you"}"#,
    ),
    ("graphql-rate-limiting-advanced/costs", r#"{"type_path":"Query.a"}"#, r#"{"add_constant":3}"#),
    ("custom-plugins", r#"{"name":"mine","schema":"return {}","handler":"return {}"}"#, r#"{"tags":["t"]}"#),
    ("cloned-plugins", r#"{"name":"twin","ref":"key-auth"}"#, r#"{"tags":["t"]}"#),
    ("ai-models", r#"{"name":"model"}"#, r#"{"description":"d"}"#),
    ("groups", r#"{"name":"people"}"#, r#"{"comment":"c"}"#),
    ("event-hooks", r#"{"source":"crud","handler":"log","config":{}}"#, r#"{"event":"services"}"#),
    ("oic_jwks", r#"{"jwks":{"keys":[{"kty":"oct"}]}}"#, r#"{"jwks":{"keys":[]}}"#),
    ("rbac/users", r#"{"name":"user","user_token":"t"}"#, r#"{"comment":"c"}"#),
];

/// Kinds of which two can be alike but for their ids.
const ALIKE: [&str; 5] = [
    "certificates",
    "event-hooks",
    "graphql-rate-limiting-advanced/costs",
    "oic_jwks",
    "services/PARENT:services/degraphql/routes",
];

/// A certificate that signs itself, and its key.
fn pem(authority: bool) -> (String, String) {
    let mut parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    if authority {
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A case's text with its PEM texts filled in.
fn with_pems(text: &str) -> String {
    let quoted = |pem: &str| json!(pem).to_string().trim_matches('"').to_owned();
    let ((cert, key), (ca, _)) = (pem(false), pem(true));
    text.replace("@CERT", &quoted(&cert)).replace("@KEY", &quoted(&key)).replace("@CA", &quoted(&ca))
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
            let body = serde_json::from_str(&with_pems(&with_parents(admin, case.1))).unwrap();
            admin.ok("POST", &format!("/{path}"), body, 201)["id"].as_str().unwrap().to_owned()
        }
    };
    with_parents(admin, &format!("{before}{id}{rest}"))
}

#[test]
fn every_kind_is_created_read_changed_written_over_and_deleted() {
    let admin = Admin::start("kong-3.14");
    for (path, body, change) in CASES {
        let list = format!("/{}", with_parents(&admin, path));
        let body: Json = serde_json::from_str(&with_pems(&with_parents(&admin, body))).unwrap();
        let created = admin.ok("POST", &list, body.clone(), 201);
        let one = format!("{list}/{}", created["id"].as_str().unwrap());
        let again = admin.call("POST", &list, body.clone());
        if ALIKE.contains(path) {
            admin.ok("DELETE", &format!("{list}/{}", again.json()["id"].as_str().unwrap()), Json::Null, 204);
        } else {
            assert_eq!(again.status, 409, "{path}: the same once more");
        }

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
