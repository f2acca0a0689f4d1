//! Request bodies and queries: JSON, forms (`config.minute=5`, `paths[]=/a`) and multipart bodies.
//!
//! A form has only texts; what they mean is told by the fields of the kind.

use crate::gateway::http::Request;
use crate::schema::{Field, Kind, Record, Schemas, Type};
use crate::value::{Map, Number, Value};
use http::StatusCode;
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::sync::Arc;

/// Arguments that a form or a query may have.
const MAX_ARGUMENTS: usize = 1000;
/// Levels that a form's names may have, and the highest index.
const MAX_LEVELS: usize = 32;
const MAX_INDEX: usize = 1000;

/// Why a body cannot be read: the status and, if there is one, the message.
#[derive(Debug)]
pub(super) struct Unreadable(pub StatusCode, pub Option<&'static str>);

/// A body as it came.
#[derive(Debug)]
pub(in crate::gateway) enum Body {
    /// JSON of any kind, or nothing.
    Json(Value),
    /// Names and texts.
    Form(Vec<(String, Option<String>)>),
}

/// Reads a body by its content type.
pub(super) async fn read(request: &Request) -> Result<Body, Unreadable> {
    let bad = |message| Unreadable(StatusCode::BAD_REQUEST, Some(message));
    let unsupported = || Unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE, None);
    let Some(kind) = request.header("content-type") else {
        return if request.body.is_empty() { Ok(Body::Json(Value::object())) } else { Err(unsupported()) };
    };
    if kind.starts_with("application/json") {
        let mut json = serde_json::from_slice(&request.body).map_err(|_| bad("Cannot parse JSON body"))?;
        whole_numbers(&mut json);
        Ok(Body::Json(json))
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        arguments(&request.body).map(Body::Form).ok_or_else(|| bad("Too many arguments"))
    } else if kind.starts_with("multipart/form-data") {
        multipart(request, kind).await.map(Body::Form).ok_or_else(|| bad("Cannot parse multipart body"))
    } else {
        Err(unsupported())
    }
}

/// The pairs of a form or a query; `None` when there are too many.
pub(super) fn arguments(text: &[u8]) -> Option<Vec<(String, Option<String>)>> {
    let mut out = Vec::new();
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = decode(halves.next().unwrap_or_default());
        let value = halves.next().map(decode);
        if name.is_empty() {
            continue;
        }
        if out.len() == MAX_ARGUMENTS {
            return None;
        }
        out.push((name, value));
    }
    Some(out)
}

fn decode(text: &[u8]) -> String {
    let spaced: Cow<'_, [u8]> = if text.contains(&b'+') {
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<_>>().into()
    } else {
        text.into()
    };
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

/// `80.0` means the same as `80`, and is written so.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15);
            if let Some(whole) = whole {
                *number = Number::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.iter_mut().for_each(|(_, member)| whole_numbers(member)),
        _ => {}
    }
}

async fn multipart(request: &Request, kind: &str) -> Option<Vec<(String, Option<String>)>> {
    let boundary = multer::parse_boundary(kind).ok()?;
    let body = request.body.clone();
    let stream = futures_util::stream::once(async move { Ok::<_, std::convert::Infallible>(body) });
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut out = Vec::new();
    while let Some(part) = parts.next_field().await.ok()? {
        let name = part.name().unwrap_or_default().to_owned();
        let text = part.text().await.ok()?;
        if out.len() == MAX_ARGUMENTS {
            return None;
        }
        if !name.is_empty() {
            out.push((name, Some(text)));
        }
    }
    Some(out)
}

impl Body {
    /// The body of an entity. Anything but an object is no entity: `None`.
    pub fn entity(self, schemas: &Schemas, kind: &Kind) -> Option<Value> {
        match self {
            Body::Json(Value::Array(items)) if items.is_empty() => Some(Value::object()),
            Body::Json(json) => json.as_object().is_some().then_some(json),
            Body::Form(pairs) => {
                let mut tree = nest(pairs);
                infer(schemas, kind, &mut tree);
                Some(tree)
            }
        }
    }
}

impl Body {
    /// The body of something that no kind describes: `None` for anything but an object.
    pub fn plain(self) -> Option<Value> {
        match self {
            Body::Json(json) => json.as_object().is_some().then_some(json),
            Body::Form(pairs) => Some(nest(pairs)),
        }
    }
}

/// One step of a form's name.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
    Append,
}

/// `a.b[1].c` as steps.
fn steps(name: &str) -> Vec<Step<'_>> {
    let mut out = Vec::new();
    let mut rest = name;
    while !rest.is_empty() && out.len() < MAX_LEVELS {
        if let Some((inner, after)) = rest.strip_prefix('[').and_then(|text| text.split_once(']'))
            && !out.is_empty()
        {
            out.push(match (inner, inner.parse::<usize>()) {
                ("", _) => Step::Append,
                (_, Ok(index)) => Step::Index(index.clamp(1, MAX_INDEX) - 1),
                (key, Err(_)) => Step::Key(key),
            });
            rest = after.strip_prefix('.').unwrap_or(after);
            continue;
        }
        // The first letter belongs to the name, whatever it is.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end =
            rest.get(first..).and_then(|text| text.find(['.', '['])).map_or(rest.len(), |at| at + first);
        let (key, after) = rest.split_at(end);
        out.push(Step::Key(key));
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    out
}

/// Pairs as a tree. A name that stands several times is a list.
fn nest(pairs: Vec<(String, Option<String>)>) -> Value {
    let mut root = Value::object();
    let mut seen: Vec<(String, Vec<Value>)> = Vec::new();
    for (name, text) in pairs {
        let value = text.map_or(Value::Bool(true), Value::from);
        match seen.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => seen.push((name, vec![value])),
        }
    }
    for (name, values) in seen {
        put(&mut root, &steps(&name), values);
    }
    root
}

/// Puts the values of one name where its steps lead.
fn put(place: &mut Value, steps: &[Step<'_>], mut values: Vec<Value>) {
    match steps.split_first() {
        Some((Step::Key(key), rest)) => {
            if place.as_object().is_none() {
                *place = Value::object();
            }
            if let Value::Object(members) = place {
                put(members.entry((*key).into()).or_insert(Value::Null), rest, values);
            }
        }
        Some((Step::Index(index), rest)) => {
            let items = list(place);
            if items.len() <= *index {
                items.resize(index + 1, Value::Null);
            }
            if let Some(item) = items.get_mut(*index) {
                put(item, rest, values);
            }
        }
        Some((Step::Append, [])) => list(place).append(&mut values),
        Some((Step::Append, rest)) => {
            let mut item = Value::Null;
            put(&mut item, rest, values);
            list(place).push(item);
        }
        None => {
            let one = (values.len() == 1).then(|| values.pop()).flatten();
            *place = one.unwrap_or(Value::Array(values));
        }
    }
}

/// A place as a list; whatever else was there goes.
fn list(place: &mut Value) -> &mut Vec<Value> {
    if !matches!(place, Value::Array(_)) {
        *place = Value::Array(Vec::new());
    }
    match place {
        Value::Array(items) => items,
        _ => list(place),
    }
}

/// Turns the texts of a form into what the fields of a kind hold.
pub(super) fn infer(schemas: &Schemas, kind: &Kind, body: &mut Value) {
    let variant = schemas.variant_of(kind, body);
    let Some(members) = body.as_object_mut() else { return };
    infer_members(schemas, &kind.record, variant, members);
    if kind.ttl
        && let Some(ttl) = members.get_mut("ttl")
    {
        number(ttl);
    }
}

fn infer_members(schemas: &Schemas, record: &Record, variant: Option<&Record>, members: &mut Map) {
    for (name, value) in members.iter_mut() {
        let shorthand = || record.shorthands.iter().map(|it| &it.field).find(|field| *field.name == **name);
        let field = variant.and_then(|variant| variant.field(name)).or_else(|| record.field(name));
        if let Some(field) = field.or_else(shorthand) {
            infer_value(schemas, field, value);
        }
    }
}

/// What one text means to a field.
pub(super) fn infer_value(schemas: &Schemas, field: &Field, value: &mut Value) {
    if value.as_str() == Some("") {
        *value = Value::Null;
    }
    if value.is_null() {
        return;
    }
    match &field.ty {
        Type::Integer | Type::Number => number(value),
        Type::Boolean => match value.as_str() {
            Some("true") => *value = Value::Bool(true),
            Some("false") => *value = Value::Bool(false),
            _ => {}
        },
        Type::Array(element) | Type::Set(element) => {
            if value.as_array().is_none() && value.as_object().is_none() {
                *value = Value::Array(vec![std::mem::take(value)]);
            }
            if let Value::Array(items) = value {
                items.iter_mut().for_each(|item| infer_value(schemas, element, item));
            }
        }
        Type::Map { values, .. } => {
            if let Some(members) = value.as_object_mut() {
                members.iter_mut().for_each(|(_, member)| infer_value(schemas, values, member));
            }
        }
        Type::Record(record) => {
            let record = Arc::clone(record);
            if let Some(members) = value.as_object_mut() {
                infer_members(schemas, &record, None, members);
            }
        }
        Type::Foreign { reference, .. } => {
            if let (Some(parent), Some(members)) = (schemas.kind(reference), value.as_object_mut()) {
                infer_members(schemas, &parent.record, None, members);
            }
        }
        _ => {}
    }
}

fn number(value: &mut Value) {
    if let Some(number) = value.as_str().and_then(lua_number) {
        *value = Value::Number(number);
    }
}

/// What Lua's `tonumber` makes of a text.
pub(super) fn lua_number(text: &str) -> Option<Number> {
    let text = text.trim();
    let hex = text.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
    let whole = text.parse::<i64>().ok().or(hex).map(Number::from);
    let float = || text.parse::<f64>().ok().filter(|_| text.starts_with(|c: char| !c.is_alphabetic()));
    whole.or_else(|| float().and_then(Number::from_f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tree(form: &str) -> Value {
        nest(arguments(form.as_bytes()).unwrap_or_default())
    }

    #[test]
    fn names_are_nested() {
        for (form, expected) in [
            ("a=1&b=x+y%2Fz", json!({"a": "1", "b": "x y/z"})),
            ("tags=x&tags=y", json!({"tags": ["x", "y"]})),
            ("tags[]=x", json!({"tags": ["x"]})),
            ("tags[]=x&tags[]=y", json!({"tags": ["x", "y"]})),
            ("tags[1]=x&tags[2]=y", json!({"tags": ["x", "y"]})),
            ("config.a.b=1&config.a.c[]=2", json!({"config": {"a": {"b": "1", "c": ["2"]}}})),
            ("d[1].ip=1&d[1].port=2&d[2].ip=3", json!({"d": [{"ip": "1", "port": "2"}, {"ip": "3"}]})),
            ("config[x]=1", json!({"config": {"x": "1"}})),
            ("d.1.ip=1", json!({"d": {"1": {"ip": "1"}}})),
            ("=&&name", json!({"name": true})),
            ("name=%zz", json!({"name": "%zz"})),
        ] {
            assert_eq!(tree(form), Value::from(expected), "{form}");
        }
    }

    #[test]
    fn more_arguments_than_anyone_needs_are_refused() {
        assert!(arguments("a=1&".repeat(MAX_ARGUMENTS).as_bytes()).is_some());
        assert!(arguments("a=1&".repeat(MAX_ARGUMENTS + 1).as_bytes()).is_none());
    }
}
