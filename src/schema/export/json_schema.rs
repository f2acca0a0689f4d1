//! The JSON Schema (draft 2020-12) of a state file, derived from the kinds and plugins.

use crate::schema::{Check, Field, Kind, Record, Schemas, Type, Variants};
use crate::value::{Exposed, Value};
use serde_json::{Map, Value as Json, json};

type Members = Map<String, Json>;

/// A text with a variable may stand for a value of any type.
const VARIABLE: &str = r"\$(\{|[A-Z_])";

/// The JSON Schema of state files for the gateway that `schemas` speak for.
///
/// It completes and checks names and values in editors. Rules over several fields and coded checks are left to
/// `foredeck file validate`.
pub fn state_file(schemas: &Schemas) -> Json {
    let mut definitions = Members::new();
    definitions.insert("variable".to_owned(), json!({"type": "string", "pattern": VARIABLE}));
    definitions.insert("reference".to_owned(), reference());
    let mut properties = settings();
    for kind in schemas.kinds().iter().filter(|kind| kind.file.has_place()) {
        definitions.insert(kind.name.to_string(), entity(schemas, kind));
        if kind.file.top_level {
            properties.insert(kind.file.key.to_string(), list_of(kind));
        }
        variants(schemas, kind, &mut definitions);
    }
    properties.insert("custom_entities".to_owned(), custom_entities(schemas));
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("State file for {}", schemas.flavor()),
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x(-.*)?$": true},
        "additionalProperties": false,
        "$defs": definitions,
    });
    super::share::share(&mut schema);
    schema
}

/// What a state file says of itself.
fn settings() -> Members {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let any_object = json!({"type": "object"});
    let lookup = ["consumers", "consumer_groups", "routes", "services", "partials"]
        .map(|kind| (kind.to_owned(), texts.clone()));
    let defaults =
        ["service", "route", "upstream", "target"].map(|kind| (kind.to_owned(), any_object.clone()));
    let info = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "select_tags": texts,
            "default_lookup_tags": {
                "type": "object",
                "additionalProperties": false,
                "properties": lookup.into_iter().collect::<Members>(),
            },
            "defaults": {
                "type": "object",
                "additionalProperties": false,
                "properties": defaults.into_iter().collect::<Members>(),
            },
            "consumer_group_policy_overrides": {"type": "boolean"},
            "skip_hash_for_basic_auth": {"type": "boolean"},
            "include_plugin_definitions": {"type": "boolean"},
        },
    });
    let mut out = Members::new();
    out.insert("_format_version".to_owned(), json!({"enum": ["3.0"]}));
    out.insert("_info".to_owned(), info);
    out.insert("_workspace".to_owned(), json!({"type": "string"}));
    out.insert(
        "_konnect".to_owned(),
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {"control_plane_name": {"type": "string"}, "runtime_group_name": {"type": "string"}},
        }),
    );
    out.insert("_plugin_configs".to_owned(), json!({"type": "object", "additionalProperties": any_object}));
    out.insert("_transform".to_owned(), json!({"type": "boolean"}));
    out
}

/// A reference by name or id, as a text or as an object.
fn reference() -> Json {
    let text = json!({"type": "string"});
    json!({
        "anyOf": [
            text,
            {
                "type": "object",
                "properties": {"id": text, "name": text, "username": text},
                "minProperties": 1,
                "additionalProperties": false,
            },
        ],
    })
}

fn list_of(kind: &Kind) -> Json {
    json!({"type": "array", "items": {"$ref": format!("#/$defs/{}", kind.name)}})
}

/// An entity as it stands in a file: its fields, its shorthands and the lists nested in it.
fn entity(schemas: &Schemas, kind: &Kind) -> Json {
    let mut properties = Members::new();
    let mut required = Vec::new();
    for field in kind.record.fields.iter().filter(|field| !field.computed) {
        properties.insert(field.name.to_string(), value(field));
        let is_reference = matches!(field.ty, Type::Foreign { .. });
        // A list nested in its owner does not repeat it; a short form may say it in another way.
        if field.required && field.default.is_none() && !is_reference && kind.record.shorthands.is_empty() {
            required.push(field.name.to_string());
        }
    }
    for shorthand in &kind.record.shorthands {
        properties.entry(shorthand.field.name.to_string()).or_insert_with(|| value(&shorthand.field));
    }
    properties.entry("id".to_owned()).or_insert_with(|| json!({"type": "string"}));
    if kind.ttl {
        properties.insert("ttl".to_owned(), with_variable(json!({"type": "integer", "minimum": 0})));
    }
    for child in schemas.kinds() {
        if child.file.nested_in.contains(&kind.name) {
            properties.insert(child.file.key.to_string(), list_of(child));
        }
        for also in child.file.also.iter().filter(|also| also.nested_in == kind.name) {
            let items = json!({"type": "array", "items": {"$ref": "#/$defs/reference"}});
            properties.insert(also.key.to_string(), items);
        }
    }
    let mut out = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    if let Some(subschema) = &kind.subschema
        && !matches!(subschema.variants, Variants::Inline(_))
    {
        let key = &*subschema.key;
        let names = schemas.variant_names(subschema);
        let branch = |name: &str| {
            let config =
                json!({"properties": {"config": {"$ref": format!("#/$defs/{}", variant(kind, name))}}});
            json!({"if": {"properties": {key: {"const": name}}, "required": [key]}, "then": config})
        };
        out["allOf"] = names.iter().map(|name| branch(name)).collect();
        // Plugins of one's own come with the gateway's schemas (`--schemas`).
        out["properties"][key] = with_variable(json!({"enum": names}));
        // `config:` with nothing after it asks for the defaults.
        out["properties"]["config"] = json!({"type": ["object", "null"]});
        out["properties"]["_config"] = json!({"type": "string"});
    }
    out
}

fn variant(kind: &Kind, name: &str) -> String {
    format!("{}.{name}", kind.name)
}

/// The `config` of every plugin, vault and type of partials.
fn variants(schemas: &Schemas, kind: &Kind, definitions: &mut Members) {
    let Some(subschema) = &kind.subschema else { return };
    if matches!(subschema.variants, Variants::Inline(_)) {
        return;
    }
    for name in schemas.variant_names(subschema) {
        let config = schemas.variant(subschema, name).and_then(|record| record.field("config"));
        let json = match config.map(|field| &field.ty) {
            Some(Type::Record(config)) => record(config, false),
            _ => json!({"type": "object"}),
        };
        definitions.insert(variant(kind, name), nullable(json));
    }
}

fn custom_entities(schemas: &Schemas) -> Json {
    let branch = |kind: &Kind| {
        let fields = json!({"$ref": format!("#/$defs/{}", kind.name)});
        json!({
            "type": "object",
            "properties": {"type": {"const": &*kind.file.key}, "fields": fields, "id": {"type": "string"}},
            "required": ["type", "fields"],
            "additionalProperties": false,
        })
    };
    let branches: Vec<Json> =
        schemas.kinds().iter().filter(|kind| kind.file.custom_entity).map(|kind| branch(kind)).collect();
    match branches.is_empty() {
        true => json!({"type": "array"}),
        false => json!({"type": "array", "items": {"anyOf": branches}}),
    }
}

/// `complete` demands required fields: a plugin's config may get them from `_plugin_configs`.
fn record(record: &Record, complete: bool) -> Json {
    let mut properties = Members::new();
    let mut required = Vec::new();
    for field in &record.fields {
        properties.insert(field.name.to_string(), value(field));
        if complete && field.required && field.default.is_none() && !matches!(field.ty, Type::Record(_)) {
            required.push(field.name.to_string());
        }
    }
    for shorthand in &record.shorthands {
        properties.entry(shorthand.field.name.to_string()).or_insert_with(|| value(&shorthand.field));
    }
    let mut out = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}

/// A value, or a text with a variable in it.
fn with_variable(mut json: Json) -> Json {
    match json.get("type").and_then(Json::as_str) {
        Some(ty @ ("integer" | "number" | "boolean")) => {
            json["type"] = json!([ty, "string"]);
            json["pattern"] = json!(VARIABLE);
            json
        }
        _ => json!({"anyOf": [json, {"$ref": "#/$defs/variable"}]}),
    }
}

fn value(field: &Field) -> Json {
    let mut out = typed(field);
    if let Some(members) = out.as_object_mut() {
        if let Some(default) = field.default.as_ref().filter(|default| !default.is_null()) {
            members.insert("default".to_owned(), plain(default));
        }
        if let Some(deprecation) = &field.deprecation {
            members.insert("deprecated".to_owned(), json!(true));
            members.insert("description".to_owned(), json!(&*deprecation.message));
        }
    }
    // A field that is not required may be null.
    match field.required {
        true => out,
        false => nullable(out),
    }
}

fn nullable(mut json: Json) -> Json {
    let types = match json.get("type") {
        Some(Json::String(ty)) => vec![json!(ty), json!("null")],
        Some(Json::Array(types)) => types.iter().cloned().chain([json!("null")]).collect(),
        _ => {
            if let Some(branches) = json.get_mut("anyOf").and_then(Json::as_array_mut) {
                branches.push(json!({"type": "null"}));
            }
            return json;
        }
    };
    json["type"] = Json::Array(types);
    json
}

fn plain(value: &Value) -> Json {
    serde_json::to_value(Exposed(value)).unwrap_or_default()
}

fn typed(field: &Field) -> Json {
    let allowed = field.checks.iter().find_map(|check| match check {
        Check::OneOf(allowed) => Some(allowed.iter().map(plain).collect::<Vec<Json>>()),
        _ => None,
    });
    if let Some(allowed) = allowed.filter(|allowed| !allowed.is_empty()) {
        return with_variable(json!({"enum": allowed}));
    }
    match &field.ty {
        Type::String => text(field),
        Type::Function => json!({"type": "string"}),
        Type::Integer => with_variable(bounded(field, "integer")),
        Type::Number => with_variable(bounded(field, "number")),
        Type::Boolean => with_variable(json!({"type": "boolean"})),
        Type::Array(element) => json!({"type": "array", "items": element_of(element)}),
        Type::Set(element) => json!({"type": "array", "items": element_of(element)}),
        Type::Map { values, .. } => json!({"type": "object", "additionalProperties": element_of(values)}),
        Type::Record(inner) => record(inner, true),
        Type::Abstract => json!({"type": "object"}),
        Type::Foreign { .. } => json!({"anyOf": [{"$ref": "#/$defs/reference"}]}),
        Type::Any => json!({}),
    }
}

fn element_of(element: &Field) -> Json {
    typed(element)
}

fn bounded(field: &Field, ty: &str) -> Json {
    let mut out = json!({"type": ty});
    for check in &field.checks {
        match check {
            Check::Between(low, high) => {
                out["minimum"] = number(*low);
                out["maximum"] = number(*high);
            }
            Check::Gt(limit) => out["exclusiveMinimum"] = number(*limit),
            _ => {}
        }
    }
    out
}

fn number(n: f64) -> Json {
    if n.fract() == 0.0 && n.abs() < 9e15 { json!(n as i64) } else { json!(n) }
}

/// A text with its lengths and its patterns, unless a variable or a vault's reference stands in it.
fn text(field: &Field) -> Json {
    let mut out = json!({"type": "string"});
    let mut patterns = Vec::new();
    for check in &field.checks {
        match check {
            Check::LenMin(n) if *n > 0 => out["minLength"] = json!(n),
            Check::LenMax(n) => out["maxLength"] = json!(n),
            Check::LenEq(n) => {
                out["minLength"] = json!(n);
                out["maxLength"] = json!(n);
            }
            Check::Match(pattern) => patterns.push(pattern.to_ecma()),
            Check::StartsWith(start) => patterns.push(format!("^{}", regex::escape(start))),
            Check::MatchAny(any, _) => {
                let any: Vec<String> = any.iter().map(crate::schema::Pattern::to_ecma).collect();
                patterns.push(any.join("|"));
            }
            Check::Uuid => patterns.push("^[0-9a-fA-F-]{36}$".to_owned()),
            _ => {}
        }
    }
    if let Some(pattern) = patterns.first() {
        out["pattern"] = json!(format!("{pattern}|{VARIABLE}|^\\{{vault://"));
    }
    out
}
