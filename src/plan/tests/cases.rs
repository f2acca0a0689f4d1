//! Single cases: identity, references, hand-overs, scopes.

use super::support::*;
use crate::model::State;
use serde_json::json;

#[test]
fn what_is_equal_does_not_change() {
    let files = json!([
        ["services", {"name": "a", "url": "http://a.test:8080/x"}],
        ["routes", {"name": "ra", "service": 0, "paths": ["/a"], "protocols": ["https", "http"]}],
        ["consumers", {"username": "u"}],
        ["keyauth_credentials", {"key": "k", "consumer": 2}],
        ["plugins", {"name": "rate-limiting", "route": 1, "config": {"minute": 5, "policy": "local"}}],
        ["upstreams", {"name": "up"}],
        ["targets", {"upstream": 5, "target": "10.0.0.1"}],
    ]);
    let plan = planned(&held(files.clone()), &state(files));
    assert_eq!(outline(&plan), Vec::<String>::new());
}

#[test]
fn new_entities_come_after_what_they_reference() {
    let files = json!([
        ["services", {"name": "a", "host": "a.test"}],
        ["routes", {"name": "ra", "service": 0, "paths": ["/a"]}],
        ["plugins", {"name": "cors", "route": 1}],
        ["consumers", {"username": "u"}],
        ["keyauth_credentials", {"key": "k", "consumer": 3}],
        ["plugins", {"name": "cors"}],
    ]);
    let plan = planned(&held(json!([])), &state(files));
    assert_eq!(
        outline(&plan),
        [
            "create consumer u",
            "create service a",
            "create route ra after [1]",
            "create key-auth k for consumer u after [0]",
            "create plugin cors for route ra after [2]",
            "create plugin cors (global)",
        ]
    );
}

#[test]
fn a_changed_file_updates_moves_and_deletes() {
    let current = held(json!([
        ["services", {"name": "a", "host": "a.test"}],
        ["services", {"name": "b", "host": "b.test"}],
        ["routes", {"name": "ra", "service": 0, "paths": ["/a"]}],
        ["routes", {"name": "rb", "service": 0, "paths": ["/b"]}],
        ["plugins", {"name": "key-auth", "route": 3}],
        ["consumers", {"username": "u1"}],
        ["keyauth_credentials", {"key": "k", "consumer": 5}],
    ]));
    let desired = state(json!([
        ["services", {"name": "b", "host": "b.test"}],
        ["routes", {"name": "ra", "service": 0, "paths": ["/a", "/aa"]}],
        ["consumers", {"username": "u2"}],
        ["keyauth_credentials", {"key": "k", "consumer": 2}],
    ]));
    let plan = planned(&current, &desired);
    assert_eq!(
        outline(&plan),
        [
            "create consumer u2",
            "update route ra",
            "update key-auth k for consumer u2 after [0]",
            "delete plugin key-auth for route rb with 4",
            "delete route rb",
            "delete service a after [1, 4]",
            "delete consumer u1 after [2]",
        ]
    );
}

#[test]
fn unique_values_change_hands() {
    let current = held(json!([
        ["services", {"name": "w", "host": "w.test"}],
        ["routes", {"name": "rx", "service": 0, "paths": ["/x"]}],
        ["consumers", {"username": "p", "custom_id": "one"}],
        ["consumers", {"username": "q", "custom_id": "two"}],
        ["plugins", {"name": "cors", "service": 0, "instance_name": "inst"}],
    ]));
    let desired = state(json!([
        ["services", {"name": "w", "host": "w.test"}],
        ["routes", {"name": "rx", "service": 0, "paths": ["/x"]}],
        ["consumers", {"username": "p", "custom_id": "two"}],
        ["consumers", {"username": "q", "custom_id": "one"}],
        ["plugins", {"name": "cors", "route": 1, "instance_name": "inst"}],
    ]));
    let plan = planned(&current, &desired);
    assert_eq!(
        outline(&plan),
        [
            "delete plugin cors for service w",
            "create plugin cors for route rx after [0]",
            "update consumer q (between)",
            "update consumer p after [2]",
            "update consumer q after [2, 3]",
        ]
    );
}

#[test]
fn a_stored_hash_is_its_password() {
    // SHA-1 of the password and the consumer's id.
    let hash = "c2bcf7b7786b13b7dc62cc355084aa8177ece641";
    let entity = |password: &str| {
        json!([
            ["consumers", {"username": "u"}],
            ["basicauth_credentials", {"username": "b", "password": password, "consumer": 0}],
        ])
    };
    let current = held(entity(hash));
    assert_eq!(outline(&planned(&current, &state(entity(hash)))), Vec::<String>::new());
    assert_eq!(outline(&planned(&current, &state(entity("pw")))), Vec::<String>::new());
    assert_eq!(outline(&planned(&current, &state(entity("other")))), ["update basic-auth b for consumer u"]);
}

#[test]
fn what_did_not_change_does_not_show() {
    let entity = |password: &str, tags: serde_json::Value| {
        json!([
            ["consumers", {"username": "u"}],
            ["basicauth_credentials", {"username": "b", "password": password, "consumer": 0, "tags": tags}],
        ])
    };
    // SHA-1 of the password and the consumer's id.
    let current = held(entity("c2bcf7b7786b13b7dc62cc355084aa8177ece641", json!(null)));
    let plan = planned(&current, &state(entity("pw", json!(["t"]))));
    let [change] = plan.changes.as_slice() else { panic!("{:?}", outline(&plan)) };
    let password = |body: &Option<crate::value::Value>| body.as_ref().unwrap().get("password").cloned();
    assert_eq!(password(&change.before), password(&change.after));
    assert_eq!(change.request(&schemas()).unwrap().get("password").unwrap().exposed_str(), Some("pw"));

    let plugin = |minute: u64| json!([["plugins", {"name": "rate-limiting", "config": {"minute": minute, "policy": "local"}}]]);
    let mut current = held(plugin(5));
    crate::schema::show_shorthands(
        &schemas(),
        &current.entities[0].kind.clone(),
        &mut current.entities[0].body,
    );
    let plan = planned(&current, &state(plugin(6)));
    let before = plan.changes[0].before.as_ref().unwrap();
    assert!(before.get("config").unwrap().get("redis_host").is_none(), "{before}");
}

#[test]
fn entities_of_several_kinds_may_share_an_id() {
    let files = json!([
        ["services", {"id": 7, "name": "shop", "host": "h.test"}],
        ["consumers", {"id": 7, "username": "ann"}],
        ["plugins", {"id": 7, "name": "key-auth", "service": 0}],
        ["plugins", {"id": 8, "name": "rate-limiting", "config": {"minute": 5}, "consumer": 1}],
    ]);
    assert_eq!(
        outline(&planned(&State::default(), &state(files.clone()))),
        [
            "create consumer ann",
            "create service shop",
            "create plugin key-auth for service shop after [1]",
            "create plugin rate-limiting for consumer ann after [0]",
        ]
    );
    let current = held(files.clone());
    assert_eq!(outline(&planned(&current, &state(files))), [""; 0]);
    let rest = json!([["services", {"id": 7, "name": "shop", "host": "h.test"}]]);
    assert_eq!(
        outline(&planned(&current, &state(rest))),
        [
            "delete plugin key-auth for service shop",
            "delete plugin rate-limiting for consumer ann with 2",
            "delete consumer ann",
        ]
    );
}
