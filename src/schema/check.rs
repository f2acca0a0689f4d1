//! Values checked against their schemas, in Kong's order and in Kong's words.

use super::bundled::Schemas;
use super::checks;
use super::faults::{Fault, Members};
use super::types::{Check, Field, Kind, Record, Type, Variants, Violation, ViolationKind};
use super::view::View;
use crate::value::{Map, Path, Value};

pub(super) const REQUIRED: &str = "required field missing";

/// Whether a body is a new entity or one that was changed. Some of Kong's words differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A new entity.
    Insert,
    /// An entity that exists, with the changes in it.
    Update,
}

/// Checks a body with its defaults filled in; references stand in it as `{"id": ...}`.
///
/// The faults come in the schema's order. Absent members of optional fields count as null.
/// A message never holds a secret's text: check before [`super::conceal`] to get Kong's words for those fields too.
pub fn check(schemas: &Schemas, kind: &Kind, body: &Value) -> Vec<Violation> {
    check_as(schemas, kind, body, Mode::Insert)
}

/// As [`check`], for a new or for a changed entity.
pub fn check_as(schemas: &Schemas, kind: &Kind, body: &Value, mode: Mode) -> Vec<Violation> {
    let mut faults = Members::default();
    match body.as_object() {
        Some(members) => {
            if let Some(fault) = unknown_variant(schemas, kind, body) {
                let key = kind.subschema.as_ref().map_or("", |subschema| &*subschema.key);
                faults.set(key, fault);
            } else {
                let supplied = supplied_by_partials(schemas, kind, body);
                let view = View { supplied: &supplied, ..View::of(schemas, kind, body) };
                check_members(view, members, mode, &mut faults);
                if kind.ttl {
                    check_ttl(members, &mut faults);
                }
            }
        }
        None => faults.rule("expected an input table".to_owned()),
    }
    let mut found = faults.into_violations();
    if body.get("partials").is_some_and(|partials| !partials.is_null()) {
        let supplied = supplied_by_partials(schemas, kind, body);
        let is_open = |violation: &Violation| {
            matches!(violation.kind, ViolationKind::MissingField | ViolationKind::Rule)
                && supplied.iter().any(|path| violation.path.steps().starts_with(path.steps()))
        };
        found.retain(|violation| !is_open(violation));
    }
    found
}

/// The paths that the partials of a body fill in: the one that each names, or those that its plugin has for them.
pub fn supplied_by_partials(schemas: &Schemas, kind: &Kind, body: &Value) -> Vec<Path> {
    let Some(partials) = body.get("partials").and_then(Value::as_array) else { return Vec::new() };
    let takes_plugins = kind.subschema.as_ref().filter(|it| matches!(it.variants, Variants::Plugins));
    let name = takes_plugins.and_then(|subschema| body.get(&subschema.key)?.exposed_str());
    let plugin = name.and_then(|name| schemas.plugin(name));
    let usual = || {
        let supported = plugin.iter().flat_map(|plugin| &plugin.supported_partials);
        supported.flat_map(|(_, paths)| paths.clone()).collect::<Vec<Path>>()
    };
    let path = |partial: &Value| match partial.get("path").and_then(Value::exposed_str) {
        Some(path) => vec![Path::dotted(path)],
        None => usual(),
    };
    partials.iter().flat_map(path).collect()
}

/// `ttl` is an option of a request more than a field: seconds until the entity goes.
fn check_ttl(members: &Map, faults: &mut Members) {
    let Some(ttl) = members.get("ttl") else { return };
    match ttl.as_i64() {
        _ if ttl.is_null() => faults.clear("ttl"),
        Some(0..=100_000_000) => faults.clear("ttl"),
        _ => faults.set("ttl", invalid("must be an integer between 0 and 100000000")),
    }
}

/// A kind with subschemas is not checked further when its key names none.
fn unknown_variant(schemas: &Schemas, kind: &Kind, body: &Value) -> Option<Fault> {
    let subschema = kind.subschema.as_ref()?;
    let key = body.get(&subschema.key).filter(|key| !key.is_null());
    let Some(key) = key else {
        return Some(Fault::new(ViolationKind::MissingField, REQUIRED));
    };
    if schemas.variant_of(kind, body).is_some() {
        return None;
    }
    let first = key.as_array().and_then(<[Value]>::first).unwrap_or(key);
    let shown = show(first);
    let near = checks::near(&shown, schemas.variant_names(subschema));
    Some(
        Fault::new(ViolationKind::UnknownPlugin, subschema.error.replace("%s", &shown))
            .with_help(near.map(|name| format!("did you mean `{name}`?"))),
    )
}

/// Fields first, then missing ones, then rules.
pub(super) fn check_members(view: View<'_>, members: &Map, mode: Mode, faults: &mut Members) {
    for (name, value) in members {
        match view.field(name) {
            Some(field) => {
                if let Err(fault) = check_field(field, value) {
                    faults.set(name, fault);
                }
            }
            None => {
                let names = view.fields().map(|field| &*field.name);
                let near = checks::near(name, names.collect());
                faults.set(
                    name,
                    Fault::new(ViolationKind::UnknownField, "unknown field")
                        .with_help(near.map(|name| format!("did you mean `{name}`?"))),
                );
            }
        }
    }
    for field in view.fields().filter(|field| field.required && !field.auto) {
        let value = members.get(&*field.name);
        if value.is_none_or(Value::is_null) && (mode == Mode::Insert || value.is_some()) {
            faults.set(&field.name, Fault::new(ViolationKind::MissingField, REQUIRED));
        }
    }
    super::rules::check_rules(view, members, mode, faults);
}

fn wrong(expected: &str) -> Fault {
    Fault::new(ViolationKind::WrongType, format!("expected {expected}"))
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(ViolationKind::InvalidValue, message)
}

/// One field's value. `null` is a value: whether it is allowed is the schema's to say.
pub(super) fn check_field(field: &Field, value: &Value) -> Result<(), Fault> {
    let own_words = |fault: Fault| match &field.err {
        Some(err) => invalid(&**err),
        None => fault,
    };
    let eq = field.checks.iter().find_map(|check| match check {
        Check::Eq(wanted) => Some(wanted),
        _ => None,
    });
    if value.is_null() {
        if field.checks.iter().any(|check| matches!(check, Check::Ne(Value::Null))) {
            return Err(own_words(invalid("value must not be null")));
        }
        return match eq {
            Some(wanted) if !wanted.is_null() => Err(invalid(format!("value must be {}", show(wanted)))),
            _ if field.required => Err(Fault::new(ViolationKind::MissingField, REQUIRED)),
            _ => Ok(()),
        };
    }
    if eq.is_some_and(Value::is_null) {
        return Err(own_words(invalid("value must be null")));
    }
    if check_type(field, value)? == Further::Nothing {
        return Ok(());
    }
    for check in &field.checks {
        run(check, value).map_err(own_words)?;
    }
    Ok(())
}

/// Whether the checks are to be run after the type was found right.
#[derive(PartialEq, Eq)]
enum Further {
    Checks,
    Nothing,
}

fn check_type(field: &Field, value: &Value) -> Result<Further, Fault> {
    let exposed = value.exposed();
    // Lua has one sort of table: an empty list is an empty object.
    let empty = matches!(exposed, Value::Object(members) if members.is_empty())
        || matches!(exposed, Value::Array(items) if items.is_empty());
    match (&field.ty, exposed) {
        (Type::Array(element) | Type::Set(element), Value::Array(items)) => {
            check_items(element, items)?;
        }
        (Type::Map { .. } | Type::Record(_), Value::Array(_)) if empty => {
            if let Type::Record(record) = &field.ty {
                check_record(record, &Map::new())?;
            }
        }
        (Type::Array(_) | Type::Set(_), _) if empty => {}
        (Type::Array(_), _) => return Err(wrong("an array")),
        (Type::Set(_), _) => return Err(wrong("a set")),
        (Type::Map { keys, values }, Value::Object(members)) => {
            for (key, member) in members {
                check_field(keys, &Value::from(&**key))?;
                check_field(values, member)?;
            }
        }
        (Type::Map { .. }, _) => return Err(wrong("a map")),
        (Type::Record(record), Value::Object(members)) => check_record(record, members)?,
        (Type::Record(_) | Type::Abstract, _) if !matches!(exposed, Value::Object(_)) => {
            return Err(wrong("a record"));
        }
        (Type::Foreign { .. }, reference) => check_reference(reference)?,
        (Type::Integer, number) => {
            if !number.as_f64().is_some_and(|n| n.is_finite() && n.fract() == 0.0) {
                return Err(wrong("an integer"));
            }
        }
        (Type::Number, Value::Number(_)) | (Type::Boolean, Value::Bool(_)) => {}
        (Type::Number, _) => return Err(wrong("a number")),
        (Type::Boolean, _) => return Err(wrong("a boolean")),
        (Type::String | Type::Function, Value::String(text)) => {
            if field.referenceable && is_reference_text(text) {
                return Ok(Further::Nothing);
            }
        }
        (Type::String, _) => return Err(wrong("a string")),
        (Type::Function, _) => return Err(wrong("a function")),
        (Type::Abstract | Type::Record(_) | Type::Any, _) => {}
    }
    Ok(Further::Checks)
}

fn check_items(element: &Field, items: &[Value]) -> Result<(), Fault> {
    let mut faults: Option<Fault> = None;
    for (n, item) in items.iter().enumerate() {
        let outcome = if item.is_null() && !has_eq(element) {
            Err(Fault::new(ViolationKind::MissingField, REQUIRED))
        } else {
            check_field(element, item)
        };
        if let Err(fault) = outcome {
            faults.get_or_insert_with(Fault::items).set_item(n, fault);
        }
    }
    faults.map_or(Ok(()), Err)
}

fn has_eq(field: &Field) -> bool {
    field.checks.iter().any(|check| matches!(check, Check::Eq(_)))
}

fn check_record(record: &Record, members: &Map) -> Result<(), Fault> {
    let mut faults = Members::default();
    check_members(View::plain(record), members, Mode::Insert, &mut faults);
    if faults.is_empty() { Ok(()) } else { Err(Fault::Members(faults)) }
}

fn check_reference(reference: &Value) -> Result<(), Fault> {
    let mut faults = Members::default();
    match reference.get("id").map(Value::exposed) {
        None | Some(Value::Bool(false)) => {
            faults.set("id", Fault::new(ViolationKind::MissingField, "missing primary key"));
        }
        Some(Value::Null) => faults.set("id", Fault::new(ViolationKind::MissingField, REQUIRED)),
        Some(Value::String(id)) if checks::is_uuid(id) => return Ok(()),
        Some(Value::String(_)) => faults.set("id", invalid("expected a valid UUID")),
        Some(_) => faults.set("id", wrong("a string")),
    }
    Err(Fault::Members(faults))
}

/// Whether a text is a reference to a vault: `{vault://...}`.
pub fn is_reference_text(text: &str) -> bool {
    text.starts_with("{vault://") && text.ends_with('}')
}

/// Whether a value is a reference to a vault: `{vault://...}`.
pub fn is_vault_reference(value: &Value) -> bool {
    value.exposed_str().is_some_and(is_reference_text)
}

/// A value as Lua's `tostring` prints it; a secret as its origin.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => lua_number(number.as_f64().unwrap_or_default()),
        Value::Secret(secret) => secret.to_string(),
        Value::Array(_) | Value::Object(_) => "table".to_owned(),
        other => other.to_string(),
    }
}

/// A number as Lua prints it: with 14 digits, without a fraction where there is none.
pub(super) fn lua_number(n: f64) -> String {
    if n.fract() == 0.0 && n.abs() < 1e15 { format!("{n:.0}") } else { format!("{n}") }
}

fn list(values: &[Value]) -> String {
    values.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// Kong counts the bytes of texts, the items of lists, the members of maps.
fn length(value: &Value) -> usize {
    match value.exposed() {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    }
}

fn run(check: &Check, value: &Value) -> Result<(), Fault> {
    let text = value.exposed_str().unwrap_or_default();
    let number = value.as_f64();
    let demand = |holds: bool, message: &dyn Fn() -> String| {
        if holds { Ok(()) } else { Err(invalid(message())) }
    };
    let words =
        |err: &str| if err.is_empty() { format!("invalid value: {}", show(value)) } else { err.to_owned() };
    match check {
        Check::Eq(wanted) => demand(value == wanted, &|| format!("value must be {}", show(wanted))),
        Check::Ne(unwanted) => demand(value != unwanted, &|| format!("value must not be {}", show(value))),
        Check::OneOf(allowed) => {
            if allowed.contains(value) {
                return Ok(());
            }
            let names = allowed.iter().filter_map(Value::as_str).collect();
            let near = value.as_str().and_then(|text| checks::near(text, names));
            Err(invalid(format!("expected one of: {}", list(allowed)))
                .with_help(near.map(|name| format!("did you mean `{name}`?"))))
        }
        Check::NotOneOf(refused) => {
            demand(!refused.contains(value), &|| format!("must not be one of: {}", list(refused)))
        }
        Check::Gt(limit) => demand(number.is_none_or(|n| n > *limit), &|| {
            format!("value must be greater than {}", lua_number(*limit))
        }),
        Check::Between(low, high) => demand(number.is_none_or(|n| n >= *low && n <= *high), &|| {
            format!("value should be between {} and {}", lua_number(low.trunc()), lua_number(high.trunc()))
        }),
        Check::LenEq(n) => demand(length(value) == *n, &|| format!("length must be {n}")),
        Check::LenMin(n) => demand(length(value) >= *n, &|| format!("length must be at least {n}")),
        Check::LenMax(n) => demand(length(value) <= *n, &|| format!("length must be at most {n}")),
        Check::StartsWith(start) => {
            demand(text.starts_with(&**start), &|| format!("should start with: {start}"))
        }
        Check::Contains(wanted) => {
            let items = value.as_array().unwrap_or_default();
            demand(items.contains(wanted), &|| format!("expected to contain: {}", show(wanted)))
        }
        Check::Match(pattern) => demand(pattern.is_match(text), &|| words("")),
        Check::NotMatch(pattern) => demand(!pattern.is_match(text), &|| words("")),
        Check::MatchNone(list) => match list.iter().find(|(pattern, _)| pattern.is_match(text)) {
            Some((_, err)) => Err(invalid(words(err))),
            None => Ok(()),
        },
        Check::MatchAll(list) => match list.iter().find(|(pattern, _)| !pattern.is_match(text)) {
            Some((_, err)) => Err(invalid(words(err))),
            None => Ok(()),
        },
        Check::MatchAny(patterns, err) => {
            demand(patterns.iter().any(|pattern| pattern.is_match(text)), &|| words(err))
        }
        Check::Uuid => demand(checks::is_uuid(text), &|| "expected a valid UUID".to_owned()),
        Check::IsRegex => demand(checks::is_regex(text), &|| format!("not a valid regex: {}", show(value))),
        Check::Timestamp => {
            demand(number.is_none_or(|n| n > 0.0), &|| "expected a valid timestamp".to_owned())
        }
        Check::MutuallyExclusiveSubsets(subsets) => {
            let items = value.as_array().unwrap_or_default();
            let mut used: Vec<&Vec<Value>> = Vec::new();
            for item in items {
                let subset = subsets.iter().find(|subset| subset.contains(item));
                if let Some(subset) = subset.filter(|subset| !used.contains(subset)) {
                    used.push(subset);
                }
            }
            demand(used.len() <= 1, &|| {
                let quoted = |subset: &&Vec<Value>| {
                    let words: Vec<String> = subset.iter().map(|item| format!("'{}'", show(item))).collect();
                    format!("({})", words.join(", "))
                };
                let sets: Vec<String> = used.iter().map(quoted).collect();
                format!("these sets are mutually exclusive: {}", sets.join(", "))
            })
        }
        Check::Named(name) => checks::run(name, value),
    }
}
