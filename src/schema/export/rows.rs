//! The fields of a schema as rows of a table: path, type, default, bounds.

use crate::schema::check::{lua_number, show};
use crate::schema::{Check, EntityCheck, Field, Record, Type};
use crate::value::Value;

/// One field of a schema, told to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where: `config.redis.host`, `paths[]` for the items of a list, `headers{}` for the values of a map.
    pub path: String,
    /// Its type: `string`, `array of integer`, `reference to services`.
    pub ty: String,
    /// Its default as JSON; empty when it has none.
    pub default: String,
    /// Whether it is required, its bounds, what is special about it.
    pub notes: String,
}

/// The rows of a record, in the schema's order. What deeper records hold follows them.
pub fn rows(record: &Record) -> Vec<Row> {
    let mut out = Vec::new();
    push_record(record, "", &mut out);
    out
}

fn push_record(record: &Record, at: &str, out: &mut Vec<Row>) {
    for field in &record.fields {
        push(field, &format!("{at}{}", field.name), &[], out);
    }
    for shorthand in &record.shorthands {
        let is_field = record.field(&shorthand.field.name).is_some();
        if !is_field {
            push(&shorthand.field, &format!("{at}{}", shorthand.field.name), &["short form"], out);
        }
    }
}

fn push(field: &Field, path: &str, also: &[&str], out: &mut Vec<Row>) {
    let mut notes: Vec<String> = also.iter().map(|note| (*note).to_owned()).collect();
    notes.extend(notes_of(field));
    let (inner, mark) = match &field.ty {
        Type::Array(element) | Type::Set(element) => (Some(element), "[]"),
        Type::Map { values, .. } => (Some(values), "{}"),
        _ => (None, ""),
    };
    // The bounds of simple items are told with the list.
    if let Some(element) = inner {
        let bounds = notes_of(element).into_iter().filter(|note| note != "required");
        notes.extend(bounds.map(|note| format!("each {note}")));
    }
    out.push(Row {
        path: path.to_owned(),
        ty: type_name(&field.ty),
        default: field.default.as_ref().map(Value::to_string).unwrap_or_default(),
        notes: notes.join("; "),
    });
    match &field.ty {
        Type::Record(record) => push_record(record, &format!("{path}."), out),
        _ => {
            if let Some(Type::Record(record)) = inner.map(|element| &element.ty) {
                push_record(record, &format!("{path}{mark}."), out);
            }
        }
    }
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::String => "string".to_owned(),
        Type::Integer => "integer".to_owned(),
        Type::Number => "number".to_owned(),
        Type::Boolean => "boolean".to_owned(),
        Type::Array(element) => format!("array of {}", type_name(&element.ty)),
        Type::Set(element) => format!("set of {}", type_name(&element.ty)),
        Type::Map { values, .. } => format!("map of {}", type_name(&values.ty)),
        Type::Record(_) | Type::Abstract => "record".to_owned(),
        Type::Foreign { reference, .. } => format!("reference to {reference}"),
        Type::Any => "any".to_owned(),
        Type::Function => "function".to_owned(),
    }
}

fn notes_of(field: &Field) -> Vec<String> {
    let mut out = Vec::new();
    let flags = [
        (field.required && field.default.is_none(), "required"),
        (field.unique, "unique"),
        (field.auto, "made by the gateway"),
        (field.computed, "computed"),
        (field.secret, "secret"),
        (field.referenceable, "may be {vault://...}"),
        (field.immutable, "cannot be changed"),
    ];
    out.extend(flags.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word.to_owned()));
    out.extend(field.checks.iter().filter_map(bound));
    if let Some(deprecation) = &field.deprecation {
        out.push(deprecation.message.to_string());
    }
    out
}

fn bound(check: &Check) -> Option<String> {
    let list = |values: &[Value]| values.iter().map(show).collect::<Vec<_>>().join(", ");
    Some(match check {
        Check::Between(low, high) => format!("{} to {}", lua_number(*low), lua_number(*high)),
        Check::Gt(limit) => format!("more than {}", lua_number(*limit)),
        Check::OneOf(allowed) => format!("one of {}", list(allowed)),
        Check::NotOneOf(refused) => format!("none of {}", list(refused)),
        Check::LenEq(n) => format!("length {n}"),
        Check::LenMin(n) if *n > 1 => format!("length at least {n}"),
        Check::LenMax(n) => format!("length at most {n}"),
        Check::StartsWith(start) => format!("starts with {start}"),
        Check::Contains(value) => format!("contains {}", show(value)),
        Check::Match(pattern) => format!("matches {}", pattern.as_str()),
        Check::Eq(value) => format!("must be {}", show(value)),
        Check::Uuid => "a UUID".to_owned(),
        Check::IsRegex => "a regular expression".to_owned(),
        Check::Named(name) => format!("checked as {}", name.replace('_', " ")),
        _ => return None,
    })
}

/// The rules over several fields, one text each.
pub fn rules(record: &Record) -> Vec<String> {
    let list =
        |paths: &[crate::value::Path]| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let text = |rule: &EntityCheck| {
        Some(match rule {
            EntityCheck::AtLeastOneOf(paths) => format!("at least one of {}", list(paths)),
            EntityCheck::OnlyOneOf(paths) => format!("exactly one of {}", list(paths)),
            EntityCheck::MutuallyRequired(paths) => format!("all or none of {}", list(paths)),
            EntityCheck::MutuallyExclusive(paths) => format!("at most one of {}", list(paths)),
            EntityCheck::MutuallyExclusiveSets(a, b) => format!("either {} or {}", list(a), list(b)),
            EntityCheck::Distinct(paths) => format!("different values in {}", list(paths)),
            EntityCheck::Conditional { if_field, then_field, then_err, .. } => match then_err {
                Some(words) => words.to_string(),
                None => format!("{then_field} depends on {if_field}"),
            },
            EntityCheck::ConditionalAtLeastOneOf { if_field, then_at_least_one_of, .. } => {
                format!("at least one of {}, depending on {if_field}", list(then_at_least_one_of))
            }
            EntityCheck::Named { name, .. } if !name.is_empty() => {
                format!("checked as {}", name.replace('_', " "))
            }
            EntityCheck::Named { .. } => return None,
        })
    };
    record.entity_checks.iter().filter_map(text).collect()
}
