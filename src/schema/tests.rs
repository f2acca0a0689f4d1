//! Table tests over every bundled schema, and examples of checking in Kong's words.

use super::*;
use crate::value::Value;
use serde_json::{Value as Json, json};

fn each_schema(mut visit: impl FnMut(Flavor, &str, &Record)) {
    for flavor in Flavor::ALL {
        let schemas = Schemas::serving(flavor);
        for kind in schemas.kinds() {
            visit(flavor, &kind.name, &kind.record);
            if let Some(Variants::Inline(list)) = kind.subschema.as_ref().map(|it| &it.variants) {
                list.iter()
                    .for_each(|(name, record)| visit(flavor, &format!("{}/{name}", kind.name), record));
            }
        }
        for name in schemas.plugin_names().into_iter().chain(schemas.partner_names()) {
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
        let schemas = Schemas::serving(flavor);
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

/// A field's own default, and those that follow for a record, passes its own checks.
#[test]
fn every_default_passes_its_own_checks() {
    each_schema(|flavor, name, record| {
        each_field(record, &format!("{flavor} {name}"), &mut |at, field| {
            if let Some(default) = &field.default {
                let mut value = default.clone();
                fill::fill_value(field, &mut value, true);
                let outcome = check::check_field(field, &value);
                assert!(outcome.is_ok(), "{at}: {value}: {outcome:?}");
                assert!(!(field.required && default.is_null()), "{at} is required and null");
            }
        });
    });
}

#[test]
fn words_of_kinds_name_what_exists() {
    for flavor in Flavor::ALL {
        let schemas = Schemas::serving(flavor);
        let mut paths = std::collections::BTreeSet::new();
        let mut keys = std::collections::BTreeSet::new();
        for kind in schemas.kinds() {
            let has = |name: &str| kind.record.field(name).is_some();
            let name = &kind.name;
            assert!(paths.insert(kind.path.clone()), "{flavor} {name}: two kinds at {}", kind.path);
            assert!(keys.insert(kind.file.key.clone()), "{flavor} {name}: two kinds under {}", kind.file.key);
            for field in kind.identity.iter().chain(&kind.unique_together).flatten() {
                // A key may name a scope that only another flavor has.
                assert!(
                    has(field) || Schemas::serving(Flavor::Kong314).kind(name).is_some(),
                    "{name}.{field}"
                );
            }
            let words = kind.report.label.iter().chain(&kind.addressed_by).chain(&kind.endpoint_key);
            for field in words.chain(&kind.rows_of) {
                assert!(has(field), "{flavor} {name}: no field {field}");
            }
            for parent in kind.file.nested_in.iter().chain(&kind.only_under) {
                let Some(parent) = schemas.kind(parent) else {
                    assert!(flavor != Flavor::Kong314, "{name}: no kind {parent}");
                    continue;
                };
                let refers = kind.record.foreign().any(|(_, reference)| *reference == *parent.name);
                assert!(refers, "{name} does not refer to {}", parent.name);
            }
            if let Some(subschema) = &kind.subschema {
                assert!(has(&subschema.key) && !schemas.variant_names(subschema).is_empty(), "{name}");
            }
        }
    }
}

#[test]
fn a_live_schema_keeps_what_gateways_do_not_serve() {
    let bundled = Schemas::bundled(Flavor::Kong314);
    let served = |name: &str| (name.to_owned(), bundled.kind(name).unwrap().served.clone());
    let kinds = [served("keyauth_credentials"), served("services")].into();
    let custom = json!({"fields": [{"config": {"type": "record", "required": true, "fields": [
        {"token": {"type": "string", "encrypted": true}}, {"retries": {"type": "integer", "default": 3}}]}}]});
    let plugins = [("of-our-own".to_owned(), custom)].into();
    let live = bundled.with_live(&kinds, &plugins).unwrap();
    assert!(live.kind("keyauth_credentials").unwrap().record.field("key").unwrap().secret);
    let services = live.kind("services").unwrap();
    assert_eq!(services.record.shorthands.len(), 1);
    let mut body = Value::from(json!({"name": "bad name", "host": "h.test"}));
    fill_defaults(&live, services, &mut body, false);
    assert_eq!(check(&live, services, &body).len(), 1);
    let kind = live.kind("plugins").unwrap();
    let mut plugin = Value::from(json!({"name": "of-our-own", "config": {"token": "t", "extra": 1}}));
    fill_defaults(&live, kind, &mut plugin, false);
    assert_eq!(plugin.at(&crate::value::Path::dotted("config.retries")).and_then(Value::as_i64), Some(3));
    let found = check(&live, kind, &plugin);
    assert_eq!(kong_error(&found).0, "schema violation (config.extra: unknown field)");
    assert!(bundled.plugin("of-our-own").is_none());
}

#[test]
fn what_a_partial_supplies_is_not_missed() {
    let schemas = Schemas::bundled(Flavor::Kong314);
    let kind = schemas.kind("plugins").unwrap();
    let faults = |body: Json| {
        let mut body = Value::from(body);
        fill_defaults(&schemas, kind, &mut body, true);
        kong_error(&check(&schemas, kind, &body)).0
    };
    let config = json!({"minute": 5, "policy": "redis"});
    let without = faults(json!({"name": "rate-limiting", "config": config}));
    assert!(without.contains("redis") && without.contains("required field missing"), "{without}");
    let partials = json!([{"id": "9d4e1b5c-8a1f-4c57-9d2b-0f6d8d2f3a11"}]);
    let with = faults(json!({"name": "rate-limiting", "config": config, "partials": partials}));
    assert_eq!(with, "0 schema violations ()");
}

#[test]
fn every_flavor_has_its_own_plugins() {
    let count = |flavor| Schemas::bundled(flavor).plugin_names().len();
    assert_eq!((count(Flavor::Kong310), count(Flavor::Kong314)), (45, 114));
    assert!(Schemas::bundled(Flavor::Kong310).partner_names().is_empty());
    let schemas = Schemas::bundled(Flavor::Kong314);
    let plugins = schemas.plugin_names();
    assert!(schemas.partner_names().iter().all(|name| !plugins.contains(name)));
}
