//! Guard rails.

use super::support::*;
use crate::plan::{Guard, Limit};
use serde_json::json;

fn messages(plan: &crate::plan::Plan, guard: &Guard) -> Vec<String> {
    plan.refusals(guard).iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_file_deletes_nothing_unasked() {
    let plan = planned(&held(json!([["services", {"name": "a", "host": "a.test"}]])), &state(json!([])));
    assert_eq!(
        messages(&plan, &Guard::default()),
        ["E0401: the state files hold no entities, and syncing them would delete 1 entity"]
    );
    assert_eq!(messages(&plan, &Guard { yes: true, ..Guard::default() }), Vec::<String>::new());
}

#[test]
fn deletions_are_limited_by_number_and_by_share() {
    let current = held(json!([
        ["consumers", {"username": "a"}], ["consumers", {"username": "b"}],
        ["consumers", {"username": "c"}], ["consumers", {"username": "d"}],
    ]));
    let plan = planned(
        &current,
        &state(json!([["consumers", {"username": "a"}], ["consumers", {"username": "b"}]])),
    );
    let with = |limit: &str| {
        messages(&plan, &Guard { max_deletes: Some(limit.parse().unwrap()), ..Guard::default() })
    };
    assert_eq!(with("2"), Vec::<String>::new());
    assert_eq!(with("50%"), Vec::<String>::new());
    assert_eq!(with("1"), ["E0401: this would delete 2 of 4 entities, and `--max-deletes 1` allows 1"]);
    assert_eq!(with("49%"), ["E0401: this would delete 2 of 4 entities, and `--max-deletes 49%` allows 1"]);
}

#[test]
fn limits_are_numbers_or_percentages() {
    assert_eq!("7".parse(), Ok(Limit::Count(7)));
    assert_eq!("7.5%".parse(), Ok(Limit::Percent(7.5)));
    for bad in ["", "%", "-1", "101%", "x", "NaN%"] {
        assert!(bad.parse::<Limit>().is_err(), "{bad}");
    }
}

#[test]
fn a_tag_protects_from_deletion_also_through_a_parent() {
    let current = held(json!([
        ["consumers", {"username": "a"}],
        ["keyauth_credentials", {"key": "k", "consumer": 0, "tags": ["foredeck-protect"]}],
        ["services", {"name": "s", "host": "s.test"}],
    ]));
    let plan = planned(&current, &state(json!([["services", {"name": "s", "host": "s.test"}]])));
    assert_eq!(
        messages(&plan, &Guard::default()),
        ["E0401: key-auth k for consumer a is to be deleted, and its tag 'foredeck-protect' protects it"]
    );
}
