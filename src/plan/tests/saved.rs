//! Saved plans.

use super::support::*;
use crate::model::State;
use crate::plan::{MadeFor, Options, Plan, SavedPlan, plan};
use crate::schema;
use crate::value::Origin;
use serde_json::json;
use uuid::Uuid;

fn made_for() -> MadeFor {
    MadeFor { address: "http://gateway.test:8001".to_owned(), ..MadeFor::default() }
}

fn concealed(mut state: State, origin: &Origin) -> State {
    for entity in &mut state.entities {
        schema::conceal(&schemas(), &entity.kind, &mut entity.body, &|_| origin.clone());
    }
    state
}

fn current() -> State {
    let state = held(json!([
        ["consumers", {"username": "ann"}],
        ["keyauth_credentials", {"key": "hush-old", "consumer": 0}],
        ["services", {"name": "shop", "host": "shop.test"}],
    ]));
    concealed(state, &Origin::ControlPlane)
}

fn desired(host: &str) -> State {
    let state = state(json!([
        ["consumers", {"username": "ann"}],
        ["keyauth_credentials", {"key": "hush-new", "consumer": 0}],
        ["services", {"name": "shop", "host": host}],
    ]));
    concealed(state, &Origin::Variables(vec!["KEY".into()]))
}

fn planned_with(current: &State, desired: &State, ids: &mut dyn FnMut() -> Uuid) -> Plan {
    plan(current, desired, &schemas(), &Options::default(), ids)
}

fn saved() -> SavedPlan {
    let mut made = Vec::new();
    let mut next = counting();
    let plan = planned_with(&current(), &desired("new.test"), &mut || {
        made.push(next());
        *made.last().unwrap()
    });
    SavedPlan::new(&plan, made_for(), vec!["kong.yaml".to_owned()], made)
}

fn differences(current: &State, desired: &State) -> Vec<String> {
    let saved = saved();
    let mut ids = saved.new_ids.iter().copied();
    let plan = planned_with(current, desired, &mut || ids.next().unwrap_or_default());
    saved.differences(&plan, &made_for()).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_written_is_read_again_and_holds_no_secret() {
    let saved = saved();
    let text = saved.text();
    assert!(!text.contains("hush"), "{text}");
    assert!(text.contains("[from env KEY]"), "{text}");
    assert_eq!(SavedPlan::read(&text).unwrap(), saved);
    assert_eq!(
        SavedPlan::read(&text.replace("foredeck-plan/1", "foredeck-plan/9")).unwrap_err().code.number,
        "E0002"
    );
    assert!(SavedPlan::read("{}").is_err());
}

#[test]
fn the_same_inputs_give_the_same_plan() {
    assert_eq!(differences(&current(), &desired("new.test")), Vec::<String>::new());
}

#[test]
fn what_changed_since_is_named() {
    let mut moved = current();
    moved.entities[2].body.set("host", "moved.test".into());
    assert_eq!(
        differences(&moved, &desired("new.test")),
        ["E0403: service shop has changed on the control plane: host"]
    );
    assert_eq!(
        differences(&current(), &desired("other.test")),
        ["E0403: the files ask for another service shop: host"]
    );
    let mut gone = current();
    gone.entities.remove(2);
    assert_eq!(
        differences(&gone, &desired("new.test")),
        [
            "E0403: update service shop is not to be done any more",
            "E0403: create service shop would be done now as well"
        ]
    );
}

#[test]
fn a_plan_is_for_one_control_plane() {
    let saved = saved();
    let plan = planned_with(&current(), &desired("new.test"), &mut counting());
    let other = MadeFor { workspace: Some("two".to_owned()), ..made_for() };
    assert_eq!(
        saved.differences(&plan, &other)[0].to_string(),
        "E0403: the plan was made for http://gateway.test:8001, and this is http://gateway.test:8001, workspace two"
    );
}
