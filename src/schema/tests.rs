//! Table tests over every bundled schema, and examples of checking in Kong's words.

use super::*;
use crate::value::Value;
use serde_json::{Value as Json, json};

fn each_schema(mut visit: impl FnMut(Flavor, &str, &Record)) {
    for flavor in Flavor::ALL {
        let schemas = Schemas::bundled(flavor);
        for kind in schemas.kinds() {
            visit(flavor, &kind.name, &kind.record);
            if let Some(Variants::Inline(list)) = kind.subschema.as_ref().map(|it| &it.variants) {
                list.iter()
                    .for_each(|(name, record)| visit(flavor, &format!("{}/{name}", kind.name), record));
            }
        }
        for name in schemas.plugin_names() {
            let plugin = schemas.plugin(name).unwrap_or_else(|| panic!("{name} does not parse"));
            visit(flavor, name, &plugin.record);
        }
        for name in schemas.vault_names() {
            let vault = schemas.vault(name).unwrap_or_else(|| panic!("{name} does not parse"));
            visit(flavor, name, &vault.record);
        }
        for name in schemas.partial_names() {
            let partial = schemas.partial(name).unwrap_or_else(|| panic!("{name} does not parse"));
            visit(flavor, name, &partial.record);
        }
    }
}

/// Every field of a record, however deep, shorthands included.
fn each_field(record: &Record, at: &str, visit: &mut dyn FnMut(&str, &Field)) {
    fn inner(field: &Field, at: &str, visit: &mut dyn FnMut(&str, &Field)) {
        visit(at, field);
        match &field.ty {
            Type::Array(element) | Type::Set(element) => inner(element, &format!("{at}[]"), visit),
            Type::Map { keys, values } => {
                inner(keys, &format!("{at}{{}}"), visit);
                inner(values, &format!("{at}{{}}"), visit);
            }
            Type::Record(record) => each_field(record, at, visit),
            _ => {}
        }
    }
    for field in record.fields.iter().chain(record.shorthands.iter().map(|shorthand| &shorthand.field)) {
        inner(field, &format!("{at}.{}", field.name), visit);
    }
    for shorthand in &record.shorthands {
        if let Some(function) = &shorthand.expand {
            assert!(shorthand::FUNCTIONS.contains(&&**function), "{at}: no function {function}");
        }
    }
    for rule in &record.entity_checks {
        if let EntityCheck::Named { name, .. } = rule {
            assert!(
                name.is_empty() || checks::rule_names().any(|each| each == &**name),
                "{at}: no rule {name:?}"
            );
        }
    }
}

#[test]
fn every_schema_parses_and_names_what_exists() {
    let mut count = 0;
    each_schema(|flavor, name, record| {
        count += 1;
        let schemas = Schemas::bundled(flavor);
        each_field(record, &format!("{flavor} {name}"), &mut |at, field| {
            for check in &field.checks {
                if let Check::Named(check) = check {
                    assert!(
                        checks::field_check_names().any(|each| each == &**check),
                        "{at}: no check {check}"
                    );
                }
            }
            if let Type::Foreign { reference, .. } = &field.ty {
                assert!(schemas.kind(reference).is_some(), "{at} references no kind {reference}");
            }
        });
    });
    assert!(count > 150, "{count} schemas");
}

fn violations(kind: &str, body: Json) -> (String, Json) {
    let schemas = Schemas::bundled(Flavor::Kong310);
    let kind = schemas.kind(kind).unwrap();
    let mut body = Value::from(body);
    let mut found = expand_shorthands(&schemas, kind, &mut body);
    if found.is_empty() {
        fill_defaults(&schemas, kind, &mut body, true);
        found = check(&schemas, kind, &body);
    }
    kong_error(&found)
}

#[test]
fn faults_are_told_in_kongs_words() {
    let (message, fields) =
        violations("services", json!({"name": "s", "host": "h.test", "port": 70000, "path": "x", "prot": 1}));
    assert_eq!(
        message,
        "3 schema violations (path: should start with: /; port: value should be between 0 and 65535; \
         prot: unknown field)"
    );
    assert_eq!(fields["prot"], "unknown field");
    let (message, fields) = violations("routes", json!({"name": "r", "methods": ["GET", "post"]}));
    assert_eq!(message, "schema violation (methods.2: invalid value: post)");
    assert_eq!(fields, json!({"methods": [null, "invalid value: post"]}));
    let (_, fields) = violations("plugins", json!({"name": "acl", "config": {"alow": ["a"]}}));
    assert_eq!(fields["config"], json!({"alow": "unknown field"}));
    assert_eq!(fields["@entity"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_url_becomes_its_parts() {
    let schemas = Schemas::bundled(Flavor::Kong314);
    let kind = schemas.kind("services").unwrap();
    let mut body = Value::from(json!({"name": "s", "url": "https://api.test/v1"}));
    assert!(expand_shorthands(&schemas, kind, &mut body).is_empty());
    assert_eq!(
        body,
        Value::from(
            json!({"name": "s", "protocol": "https", "host": "api.test", "port": 443, "path": "/v1"})
        )
    );
    fill_defaults(&schemas, kind, &mut body, false);
    assert_eq!(body.get("retries").and_then(Value::as_i64), Some(5));
    assert!(check(&schemas, kind, &body).is_empty());
    strip_defaults(&schemas, kind, &mut body);
    assert!(body.get("retries").is_none() && body.get("host").is_some());
}
