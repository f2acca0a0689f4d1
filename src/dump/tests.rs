//! Dumps of small states, as users see them.

use super::{Dump, Format, Options, Secrets};
use crate::control_plane::entity;
use crate::schema::{Flavor, Schemas};
use crate::value::Value;
use serde_json::{Value as Json, json};

const A: &str = "00000000-0000-4000-8000-00000000000a";
const B: &str = "00000000-0000-4000-8000-00000000000b";
const C: &str = "00000000-0000-4000-8000-00000000000c";
const D: &str = "00000000-0000-4000-8000-00000000000d";

fn dump(flavor: Flavor, rows: Vec<(&str, Json)>, options: &Options, format: Format) -> String {
    let schemas = Schemas::bundled(flavor);
    let mut dump = Dump::new(&schemas, options);
    for (kind, row) in rows {
        dump.add(entity(&schemas, schemas.kind(kind).unwrap(), Value::from(row)).unwrap());
    }
    let mut out = Vec::new();
    dump.write(format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn dumped(rows: Vec<(&str, Json)>, options: &Options) -> String {
    dump(Flavor::Kong310, rows, options, Format::Yaml)
}

#[test]
fn children_stand_in_their_parents_and_shared_plugins_at_the_top() {
    let rows = vec![
        ("services", json!({"id": A, "name": "s", "host": "h.test", "tags": null, "created_at": 1})),
        ("routes", json!({"id": B, "name": "r", "paths": ["/x"], "service": {"id": A}})),
        ("consumers", json!({"id": C, "username": "amy", "custom_id": null})),
        ("keyauth_credentials", json!({"id": D, "key": "hush", "consumer": {"id": C}, "ttl": null})),
        (
            "plugins",
            json!({"id": "00000000-0000-4000-8000-0000000000e1", "name": "cors",
            "config": {"max_age": null}, "route": {"id": B}, "service": null, "consumer": null}),
        ),
        (
            "plugins",
            json!({"id": "00000000-0000-4000-8000-0000000000e2", "name": "rate-limiting",
            "config": {"minute": 5}, "service": {"id": A}, "consumer": {"id": C}}),
        ),
    ];
    insta::assert_snapshot!(dumped(rows, &Options::default()));
}

#[test]
fn secrets_leave_a_variable_behind() {
    let rows = vec![
        ("consumers", json!({"id": C, "username": "amy"})),
        ("keyauth_credentials", json!({"id": D, "key": "hush", "consumer": {"id": C}})),
    ];
    let text = dumped(rows, &Options { secrets: Secrets::Env, ..Options::default() });
    assert!(text.contains("${{ env \"DECK_KEY_AUTH_AMY_KEY\" }}") && !text.contains("hush"), "{text}");
}

#[test]
fn what_has_no_name_keeps_its_id() {
    let rows = vec![
        ("certificates", json!({"id": A, "cert": "c", "key": "k"})),
        ("snis", json!({"id": B, "name": "a.test", "certificate": {"id": A}})),
        ("services", json!({"id": C, "name": "s", "host": "h", "client_certificate": {"id": A}})),
    ];
    let text = dumped(rows, &Options::default());
    assert_eq!(text.matches(A).count(), 2, "{text}");
    assert!(!text.contains(B) && !text.contains(C), "{text}");
}

#[test]
fn a_membership_is_a_name_in_the_consumers_groups() {
    let rows = vec![
        ("consumers", json!({"id": A, "username": "amy"})),
        ("consumer_groups", json!({"id": B, "name": "gold"})),
        ("consumer_group_consumers", json!({"id": C, "consumer": {"id": A}, "consumer_group": {"id": B}})),
    ];
    let text = dump(Flavor::Kong314, rows, &Options::default(), Format::Json);
    let tree: Json = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "_format_version": "3.0",
        "consumer_groups": [{"name": "gold"}],
        "consumers": [{"username": "amy", "groups": [{"name": "gold"}]}],
    });
    assert_eq!(tree, expected, "{text}");
}
