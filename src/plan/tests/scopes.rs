//! Whose entities a plan may touch.

use super::support::*;
use crate::model::State;
use crate::plan::{Comparer, Lookup, Options, Plan};
use serde_json::{Value as Json, json};

fn scoped(files: Json, tags: &[&str]) -> State {
    let mut state = state(files);
    state.info.scopes = vec![tags.iter().map(|tag| (*tag).to_owned()).collect()];
    state
}

/// Compares as a client does that reads by tags: what has the tags comes in pages, the rest only when asked for.
fn compared(current: &State, desired: &State, options: &Options) -> (Vec<String>, Plan) {
    let schemas = schemas();
    let has = |entity: &crate::model::Entity| {
        desired.info.scopes.iter().any(|tags| {
            tags.iter().all(|tag| {
                entity
                    .body
                    .get("tags")
                    .and_then(crate::value::Value::as_array)
                    .is_some_and(|held| held.iter().any(|each| each.as_str() == Some(tag)))
            })
        })
    };
    let mut comparer = Comparer::new(desired, &schemas, options);
    let entities: Vec<_> =
        current.entities.iter().map(|entity| crate::plan::by_id(entity, current)).collect();
    comparer.page(entities.iter().filter(|entity| has(entity)).cloned().collect());
    let mut asked = Vec::new();
    for question in comparer.questions() {
        asked.push(match &question.lookup {
            Lookup::Id(id) => format!("{} {id}", question.kind.name),
            Lookup::Key(key) => format!("{} {key}", question.kind.name),
            Lookup::All => format!("{} *", question.kind.name),
        });
        for entity in entities.iter().filter(|entity| entity.kind.name == question.kind.name) {
            let found = match &question.lookup {
                Lookup::Id(id) => entity.id == Some(*id),
                Lookup::Key(key) => {
                    let field = question.kind.endpoint_key.as_deref().unwrap();
                    entity.body.get(field) == Some(key)
                }
                Lookup::All => true,
            };
            if found {
                comparer.answer(entity.clone());
            }
        }
    }
    (asked, comparer.finish(&mut counting()))
}

#[test]
fn what_lacks_the_tags_is_a_conflict_and_can_be_adopted() {
    let current = held(json!([
        ["services", {"name": "mine", "host": "a.test", "tags": ["one"]}],
        ["services", {"name": "theirs", "host": "b.test", "tags": ["two"]}],
        ["services", {"name": "old", "host": "c.test", "tags": ["one"]}],
    ]));
    let desired = scoped(
        json!([
            ["services", {"name": "mine", "host": "a.test", "tags": ["one"]}],
            ["services", {"name": "theirs", "host": "b.test", "tags": ["one"]}],
        ]),
        &["one"],
    );
    let (asked, plan) = compared(&current, &desired, &Options::default());
    // Besides, whatever may hang below the service that goes.
    assert_eq!(asked, ["filter_chains *", "plugins *", "routes *", "services \"theirs\""]);
    assert_eq!(
        outline(&plan),
        ["delete service old", "! E0402: service theirs exists already, and belongs to the tags two"]
    );
    let (_, plan) = compared(&current, &desired, &Options { adopt: true, ..Options::default() });
    assert_eq!(outline(&plan), ["update service theirs", "delete service old"]);
}

#[test]
fn a_unique_value_held_outside_the_scope_is_a_conflict() {
    let current = held(json!([["consumers", {"username": "theirs", "custom_id": "x", "tags": ["two"]}]]));
    let desired =
        scoped(json!([["consumers", {"username": "mine", "custom_id": "x", "tags": ["one"]}]]), &["one"]);
    let (asked, plan) = compared(&current, &desired, &Options::default());
    assert_eq!(asked, ["consumers *"]);
    // By its custom_id it is the same consumer, of another team.
    assert_eq!(outline(&plan), ["! E0402: consumer theirs exists already, and belongs to the tags two"]);
}

#[test]
fn files_with_different_tags_share_a_run() {
    let current = held(json!([
        ["services", {"name": "a", "host": "a.test", "tags": ["one"]}],
        ["services", {"name": "b", "host": "b.test", "tags": ["two"]}],
        ["services", {"name": "c", "host": "c.test", "tags": ["three"]}],
    ]));
    let mut desired =
        scoped(json!([["services", {"name": "a", "host": "a2.test", "tags": ["one"]}]]), &["one"]);
    desired.info.scopes.push(vec!["two".to_owned()]);
    let (_, plan) = compared(&current, &desired, &Options::default());
    assert_eq!(outline(&plan), ["update service a", "delete service b"]);
}

#[test]
fn what_lookup_tags_find_is_referenced_and_left_alone() {
    let current = held(json!([
        ["services", {"name": "shared", "host": "a.test", "tags": ["shared", "one"]}],
        ["consumers", {"username": "theirs", "tags": ["shared"]}],
    ]));
    let mut desired =
        scoped(json!([["plugins", {"name": "cors", "service": "shared", "tags": ["one"]}]]), &["one"]);
    desired.info.lookup_tags.insert("services".into(), vec!["shared".to_owned()]);
    let (_, plan) = compared(&current, &desired, &Options::default());
    assert_eq!(outline(&plan), ["create plugin cors for service shared"]);
    assert_eq!(
        plan.changes[0].after.as_ref().unwrap().get("service").unwrap().to_string(),
        format!("{{\"id\":\"{}\"}}", id(1))
    );
}

#[test]
fn a_name_that_nothing_has_is_reported() {
    let desired = state(json!([["plugins", {"name": "cors", "service": "ghost"}]]));
    let plan = planned(&held(json!([])), &desired);
    assert_eq!(
        outline(&plan),
        [
            "create plugin cors (global)",
            "! E0201: service ghost exists neither in the files nor on the gateway"
        ]
    );
}

#[test]
fn skipped_kinds_take_along_what_belongs_to_them() {
    let current = held(json!([
        ["consumers", {"username": "u"}],
        ["plugins", {"name": "cors", "consumer": 0}],
        ["services", {"name": "s", "host": "s.test"}],
    ]));
    let desired = state(json!([
        ["consumers", {"username": "v"}],
        ["keyauth_credentials", {"key": "k", "consumer": 0}],
        ["services", {"name": "t", "host": "t.test"}],
    ]));
    let options = Options { skip: ["consumers".into()].into(), ..Options::default() };
    let plan = crate::plan::plan(&current, &desired, &schemas(), &options, &mut counting());
    assert_eq!(outline(&plan), ["create service t", "delete service s"]);
}

#[test]
fn apply_deletes_nothing_and_says_what_is_in_the_way() {
    let current = held(json!([["consumers", {"username": "old", "custom_id": "x"}]]));
    let desired = state(json!([
        ["consumers", {"id": 77, "username": "new", "custom_id": "x"}],
        ["consumers", {"username": "other"}],
    ]));
    let options = Options { delete: false, ..Options::default() };
    let plan = crate::plan::plan(&current, &desired, &schemas(), &options, &mut counting());
    assert_eq!(
        outline(&plan),
        [
            "create consumer new",
            "create consumer other",
            "! E0402: custom_id of consumer new is taken by consumer old, which is in no file, and is not deleted here"
        ]
    );
}

#[test]
fn what_others_hang_below_a_parent_keeps_it_from_going() {
    let current = held(json!([
        ["consumers", {"username": "ann", "tags": ["one"]}],
        ["keyauth_credentials", {"key": "k", "consumer": 0, "tags": ["two"]}],
        ["services", {"name": "shop", "host": "h.test", "tags": ["one"]}],
        ["routes", {"name": "theirs", "paths": ["/x"], "service": 2, "tags": ["two"]}],
    ]));
    let (asked, plan) = compared(&current, &scoped(json!([]), &["one"]), &Options::default());
    assert!(
        asked.contains(&"routes *".to_owned()) && asked.contains(&"keyauth_credentials *".to_owned()),
        "{asked:?}"
    );
    let conflicts: Vec<String> = plan.conflicts.iter().map(ToString::to_string).collect();
    assert_eq!(
        conflicts,
        [
            "E0402: deleting consumer ann would delete key-auth k, which belongs to the tags two",
            "E0402: service shop cannot be deleted: it is referenced by route theirs, which belongs to the tags two",
        ]
    );
}
