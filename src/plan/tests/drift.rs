//! Who changed what: the last applied state against the files and the control plane.

use super::support::*;
use crate::plan::{By, Options, Record, plan};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Each drift as `kind label action by: field by, ...`, when `then` was applied last.
fn drift(then: Json, file: Json, live: Json) -> Vec<String> {
    let (schemas, options) = (schemas(), Options::default());
    let applied = state(then);
    let ids: Vec<Option<Uuid>> = (1..=applied.entities.len()).map(|n| Some(id(n as u128))).collect();
    let record = Record::new(&applied, &ids, &schemas, "salt");
    let file = state(file);
    let plan = plan(&held(live), &file, &schemas, &options, &mut counting());
    assert!(plan.conflicts.is_empty(), "{:?}", plan.conflicts);
    let short = |by: By| format!("{by:?}").to_lowercase();
    let shown = |drift: &crate::plan::Drift| {
        let fields = drift.fields.iter().map(|field| format!("; {} {}", field.name, short(field.by)));
        let fields: String = fields.collect();
        format!("{} {} {} {}{fields}", drift.kind, drift.label, drift.action, short(drift.by))
    };
    record.drift(&file, &plan, &schemas, &BTreeSet::new()).iter().map(shown).collect()
}

fn service(name: &str, more: Json) -> Json {
    let mut body = json!({"name": name, "host": "old.test", "retries": 3});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!(["services", body])
}

#[test]
fn every_pair_of_changes_is_attributed() {
    let old = || json!([service("s", json!({}))]);
    let with = |more: Json| json!([service("s", more)]);
    let none = || json!([]);
    let cases = [
        (old(), old(), old(), ""),
        (old(), with(json!({"host": "f"})), old(), "service s update file; host file"),
        (old(), old(), with(json!({"host": "g"})), "service s update gateway; host gateway"),
        (old(), with(json!({"host": "f"})), with(json!({"host": "f"})), "service s update both; host both"),
        (
            old(),
            with(json!({"host": "f"})),
            with(json!({"host": "g"})),
            "service s update conflict; host conflict",
        ),
        (
            old(),
            with(json!({"host": "f"})),
            with(json!({"retries": 9})),
            "service s update both; host file; retries gateway",
        ),
        // What is left out is the default, whoever says so.
        (old(), with(json!({"retries": 5, "port": 80})), old(), "service s update file; retries file"),
        (old(), none(), old(), "service s delete file"),
        (old(), old(), none(), "service s delete gateway"),
        (old(), none(), none(), "service s delete both"),
        (old(), none(), with(json!({"host": "g"})), "service s delete conflict"),
        (old(), with(json!({"host": "f"})), none(), "service s delete conflict"),
        (none(), old(), none(), "service s create file"),
        (none(), none(), old(), "service s create gateway"),
        (none(), old(), old(), "service s create both"),
        (none(), old(), with(json!({"host": "g"})), "service s create conflict; host conflict"),
    ];
    for (then, file, live, expected) in cases {
        let found = drift(then.clone(), file.clone(), live.clone()).join("\n");
        assert_eq!(found, expected, "then {then}, file {file}, live {live}");
    }
}

#[test]
fn a_parent_made_anew_still_has_its_children() {
    let tree = |first: u64, path: &str| {
        json!([
            ["services", {"id": first, "name": "s", "host": "h"}],
            ["routes", {"id": first + 1, "name": "r", "paths": [path], "service": 0}],
        ])
    };
    let file = json!([
        ["services", {"name": "s", "host": "h"}],
        ["routes", {"name": "r", "paths": ["/a"], "service": 0}],
    ]);
    assert!(drift(file.clone(), file.clone(), tree(50, "/a")).is_empty());
    assert_eq!(drift(file.clone(), file, tree(50, "/b")), ["route r update gateway; paths gateway"]);
}

#[test]
fn a_record_holds_no_values() {
    let applied = state(json!([
        ["consumers", {"username": "ann"}],
        ["keyauth_credentials", {"key": "hush", "consumer": 0}],
        ["services", {"name": "s", "host": "host.test"}],
    ]));
    let ids = [Some(id(1)), Some(id(2)), Some(id(3))];
    let text = |salt: &str| Record::text_of(&applied, &ids, &schemas(), salt, None, &|_| true);
    assert!(!text("a").contains("host.test") && text("a") == text("a"));
    let digests = |text: String| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_ne!(digests(text("a")), digests(text("b")));
    assert_eq!(Record::salt_of(&text("a")).as_deref(), Some("a"));
    assert!(Record::read("{}").is_err());
    assert_eq!(Record::read(&text("a")).unwrap(), Record::new(&applied, &ids, &schemas(), "a"));
    // What a run leaves alone stays as it was recorded; the rest is as the run left it.
    let fewer = state(json!([["services", {"name": "s", "host": "other.test"}]]));
    let earlier = text("a");
    let after = |keep: &dyn Fn(&str) -> bool| {
        let text = Record::text_of(&fewer, &[Some(id(3))], &schemas(), "a", Some(&earlier), keep);
        text.lines().count() - 1
    };
    assert_eq!(after(&|_| false), 1);
    assert_eq!(after(&|kind| kind == "consumers"), 2);
    assert_eq!(after(&|_| true), 3);
}
