//! The reports as users see them.

use super::*;
use crate::model::{Entity, Reference, References, State, Target};
use crate::plan::{Options, Plan, plan};
use crate::schema::{self, Flavor, Schemas};
use crate::value::{Origin, Value};
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// A state from `[kind, body]`; foreign fields are the numbers of entities before. Credentials are concealed.
fn state(entities: Json, held: bool) -> State {
    let schemas = Schemas::bundled(Flavor::Kong310);
    let mut state = State::default();
    for (n, entry) in entities.as_array().unwrap().iter().enumerate() {
        let kind = schemas.kind(entry[0].as_str().unwrap()).unwrap().clone();
        let mut body = Value::from(entry[1].clone());
        let mut references = References::new();
        for (field, reference) in kind.record.foreign() {
            if let Some(parent) = body.remove(&field.name).and_then(|value| value.as_i64()) {
                let target = match held {
                    true => Target::Id(Uuid::from_u128(u128::try_from(parent).unwrap() + 1)),
                    false => Target::Entity(usize::try_from(parent).unwrap()),
                };
                references
                    .insert(field.name.clone(), Reference { kind: reference.into(), target, place: None });
            }
        }
        let origin = match held {
            true => Origin::ControlPlane,
            false => Origin::Variables(vec!["API_KEY".into()]),
        };
        schema::conceal(&schemas, &kind, &mut body, &|_| origin.clone());
        if held {
            schema::fill_defaults(&schemas, &kind, &mut body, true);
            body.set("created_at", Value::from(1_700_000_000));
        }
        let id = held.then(|| Uuid::from_u128(n as u128 + 1));
        state.entities.push(Entity { kind, id, body, references, place: None });
    }
    state
}

fn example() -> Plan {
    let current = state(
        json!([
            ["services", {"name": "shop", "host": "shop.test"}],
            ["routes", {"name": "cart", "paths": ["/cart", "/basket"], "service": 0}],
            ["plugins", {"name": "cors", "route": 1}],
            ["consumers", {"username": "ann"}],
            ["keyauth_credentials", {"key": "hush-old", "consumer": 3}],
            ["services", {"name": "gone", "host": "gone.test"}],
            ["plugins", {"name": "key-auth", "service": 5}],
        ]),
        true,
    );
    let mut desired = state(
        json!([
            ["services", {"name": "shop", "host": "shop2.test", "tags": ["new`er", "<b>"]}],
            ["routes", {"name": "cart", "paths": ["/cart", "/trolley"], "service": 0}],
            ["plugins", {"name": "cors", "route": 1, "config": {"max_age": 5}}],
            ["consumers", {"username": "ann"}],
            ["keyauth_credentials", {"key": "hush-new", "consumer": 3}],
            ["plugins", {"name": "correlation-id"}],
        ]),
        false,
    );
    // The same credential by its id, so that its key changes.
    desired.entities[4].id = Some(Uuid::from_u128(5));
    let mut next = 100;
    plan(&current, &desired, &Schemas::bundled(Flavor::Kong310), &Options::default(), &mut || {
        next += 1;
        Uuid::from_u128(next)
    })
}

fn options(context: Option<usize>) -> TextOptions {
    TextOptions { color: false, context, fingerprints: Fingerprints::new([7; 16]) }
}

fn fates(plan: &Plan) -> Vec<Fate> {
    let mut fates = vec![Fate::Done; plan.changes.len()];
    fates[1] = Fate::Failed("HTTP status 409".to_owned());
    fates[2] = Fate::NotTried("it depends on what failed".to_owned());
    fates
}

#[test]
fn text_of_a_plan() {
    insta::assert_snapshot!(text(&example(), None, &options(None)));
}

#[test]
fn text_with_context_and_color() {
    let colored = TextOptions { color: true, ..options(Some(1)) };
    insta::assert_snapshot!(text(&example(), None, &colored).replace('\u{1b}', "ESC"));
}

#[test]
fn text_of_a_result() {
    let plan = example();
    let fates = fates(&plan);
    insta::assert_snapshot!(format!(
        "{}{}",
        text(&plan, Some(&fates), &options(Some(0))),
        failures(&plan, &fates)
    ));
}

#[test]
fn json_of_a_plan() {
    insta::assert_snapshot!(json_report(&example(), None));
}

#[test]
fn json_of_a_result_tells_everything_apart() {
    let plan = example();
    let report: Json = serde_json::from_str(&json_report(&plan, Some(fates(&plan)))).unwrap();
    assert_eq!(report["summary"], json!({"creating": 1, "updating": 2, "deleting": 2, "total": 5}));
    assert_eq!(report["changes"]["dropped_updates"].as_array().unwrap().len(), 1);
    assert_eq!(report["errors"].as_array().unwrap().len(), 1);
    // What was deleted is shown with its times.
    assert_eq!(report["changes"]["deleting"][0]["body"]["new"]["created_at"], 1_700_000_000);
}

fn json_report(plan: &Plan, fates: Option<Vec<Fate>>) -> String {
    json::json(plan, &JsonOptions { fates, ..JsonOptions::default() }, &Fingerprints::new([7; 16]))
}

#[test]
fn markdown_of_a_plan() {
    insta::assert_snapshot!(markdown(&example(), None, &Fingerprints::new([7; 16])));
}

#[test]
fn markdown_of_nothing() {
    let report = markdown(&Plan::default(), None, &Fingerprints::new([7; 16]));
    assert_eq!(report, "**No changes.** The gateway holds what the files ask for.\n");
}

#[test]
fn github_of_a_result() {
    let plan = example();
    insta::assert_snapshot!(github(&plan, Some(&fates(&plan))));
}

#[test]
fn no_report_shows_a_secret() {
    let plan = example();
    let prints = Fingerprints::new([7; 16]);
    let fates = fates(&plan);
    for report in [
        text(&plan, None, &options(None)),
        json_report(&plan, None),
        markdown(&plan, Some(&fates), &prints),
        github(&plan, None),
        failures(&plan, &fates),
        format!("{plan:?}"),
    ] {
        assert!(!report.contains("hush"), "{report}");
    }
    // A changed secret can be told from the old one.
    let shown = text(&plan, None, &options(None));
    let marks: Vec<&str> = shown.lines().filter(|line| line.contains("\"key\":")).collect();
    assert_eq!(marks.len(), 2, "{shown}");
    assert!(marks.iter().all(|line| line.contains(" #")), "{marks:?}");
    assert_ne!(marks[0].rsplit('#').next(), marks[1].rsplit('#').next());
}

#[test]
fn fingerprints_depend_on_the_salt() {
    let secret = crate::value::Secret::text("hush", Origin::ControlPlane);
    assert_eq!(Fingerprints::new([1; 16]).of(&secret), Fingerprints::new([1; 16]).of(&secret));
    assert_ne!(Fingerprints::new([1; 16]).of(&secret), Fingerprints::new([2; 16]).of(&secret));
}
