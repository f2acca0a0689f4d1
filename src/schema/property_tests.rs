//! Properties of filling in, stripping, comparing and checking, over every kind and random bodies.

use super::*;
use crate::value::{Origin, Step, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// JSON of few levels, with texts that mean something to one check or another.
fn any_json() -> impl Strategy<Value = Json> {
    let texts = prop::sample::select(vec![
        "",
        "a",
        "/a",
        "~/(",
        "http",
        "http://h.test:80/x",
        "{vault://v/k}",
        "10.0.0.0/8",
        "[::1]:80",
        "*.a",
        "\u{e9}%",
        "9d4e1b5c-8a1f-4c57-9d2b-0f6d8d2f3a11",
        "rate-limiting",
        "-----BEGIN CERTIFICATE-----",
    ]);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        (-3.0..70000.0f64).prop_map(|n| json!(n)),
        texts.prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
            prop::collection::vec(("[a-c]", inner), 0..3).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A flavor, a kind, and a body in which some of the kind's fields have random values.
fn any_body() -> impl Strategy<Value = (Flavor, usize, Json)> {
    let flavors = prop::sample::select(Flavor::ALL.to_vec());
    let picks = prop::collection::vec((any::<prop::sample::Index>(), any_json()), 0..5);
    (flavors, any::<prop::sample::Index>(), picks, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(flavor, kind, picks, variant, named)| {
            let schemas = Schemas::bundled(flavor);
            let at = kind.index(schemas.kinds().len());
            let kind = &schemas.kinds()[at];
            let mut body = json!({});
            for (pick, value) in picks {
                body[&*pick.get(&kind.record.fields).name] = value;
            }
            if let Some(subschema) = kind.subschema.as_ref().filter(|_| named) {
                let name = *variant.get(&schemas.variant_names(subschema));
                let is_set =
                    kind.record.field(&subschema.key).is_some_and(|field| matches!(field.ty, Type::Set(_)));
                body[&*subschema.key] = if is_set { json!([name]) } else { json!(name) };
            }
            (flavor, at, body)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn filling_in_twice_is_filling_in_once((flavor, at, body) in any_body(), nulls in any::<bool>()) {
        let schemas = Schemas::bundled(flavor);
        let kind = &schemas.kinds()[at];
        let mut once = Value::from(body);
        expand_shorthands(&schemas, kind, &mut once);
        fill_defaults(&schemas, kind, &mut once, nulls);
        let mut twice = once.clone();
        fill_defaults(&schemas, kind, &mut twice, nulls);
        prop_assert_eq!(&once, &twice);
        canonical(&schemas, kind, &mut once);
        let mut again = once.clone();
        canonical(&schemas, kind, &mut again);
        prop_assert_eq!(once, again);
    }

    #[test]
    fn what_is_stripped_is_filled_in_again((flavor, at, body) in any_body()) {
        let schemas = Schemas::bundled(flavor);
        let kind = &schemas.kinds()[at];
        let mut full = Value::from(body);
        expand_shorthands(&schemas, kind, &mut full);
        fill_defaults(&schemas, kind, &mut full, true);
        // Anything goes in members that a gateway would refuse: they are left out.
        for violation in check(&schemas, kind, &full) {
            if let Some(Step::Key(key)) = violation.path.steps().first() {
                full.remove(key);
            }
        }
        fill_defaults(&schemas, kind, &mut full, true);
        let mut stripped = full.clone();
        strip_defaults(&schemas, kind, &mut stripped);
        fill_defaults(&schemas, kind, &mut stripped, true);
        for side in [&mut full, &mut stripped] {
            canonical(&schemas, kind, side);
        }
        prop_assert_eq!(full, stripped);
    }

    #[test]
    fn no_body_stops_a_check_and_no_secret_is_told((flavor, at, body) in any_body()) {
        let schemas = Schemas::bundled(flavor);
        let kind = &schemas.kinds()[at];
        let mut body = Value::from(body);
        body.conceal(&Origin::ControlPlane);
        let mut found = expand_shorthands(&schemas, kind, &mut body);
        fill_defaults(&schemas, kind, &mut body, false);
        found.extend(check(&schemas, kind, &body));
        let (message, _) = kong_error(&found);
        for hidden in ["h.test", "10.0.0.0/8", "9d4e1b5c"] {
            prop_assert!(!message.contains(hidden), "{}", message);
        }
        conceal(&schemas, kind, &mut body, &|_| Origin::ControlPlane);
    }
}
