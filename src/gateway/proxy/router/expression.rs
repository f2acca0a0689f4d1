//! Routes with an `expression`. They come before all others, by their own `priority`.

use super::{Found, Question, split_port};
use crate::gateway::plugins::ConfigError;
use atc_router::ast::{Type, Value};
use atc_router::context::Context;
use atc_router::router::Router;
use atc_router::schema::Schema;
use http::HeaderMap;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;
use uuid::Uuid;

/// The fields that an expression may ask for; `*` stands for any name.
const FIELDS: &[(&str, Type)] = &[
    ("net.protocol", Type::String),
    ("net.port", Type::Int),
    ("net.src.ip", Type::IpAddr),
    ("net.src.port", Type::Int),
    ("net.dst.ip", Type::IpAddr),
    ("net.dst.port", Type::Int),
    ("tls.sni", Type::String),
    ("http.method", Type::String),
    ("http.host", Type::String),
    ("http.path", Type::String),
    ("http.path.segments.len", Type::Int),
    ("http.path.segments.*", Type::String),
    ("http.headers.*", Type::String),
    ("http.queries.*", Type::String),
];

/// Expressions and the positions of their routes.
#[derive(Default)]
pub(super) struct Expressions {
    router: Option<Router<'static>>,
    routes: HashMap<Uuid, u32>,
}

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = Schema::default();
        for (name, kind) in FIELDS {
            let kind = match kind {
                Type::Int => Type::Int,
                Type::IpAddr => Type::IpAddr,
                _ => Type::String,
            };
            schema.add_field(name, kind);
        }
        schema
    })
}

impl Expressions {
    pub(super) fn add(
        &mut self,
        position: u32,
        id: Uuid,
        text: &str,
        priority: usize,
    ) -> Result<(), ConfigError> {
        let router = self.router.get_or_insert_with(|| Router::new(schema()));
        router.add_matcher(priority, id, text).map_err(|e| ConfigError::new("expression", e))?;
        self.routes.insert(id, position);
        Ok(())
    }

    pub(super) fn find<'a>(&self, question: &Question<'a>) -> Option<Found<'a>> {
        let router = self.router.as_ref()?;
        let mut context = Context::new(schema());
        for field in router.fields.keys() {
            for value in values(field, question) {
                context.add_value(field, value);
            }
        }
        if !router.execute(&mut context) {
            return None;
        }
        let matched = context.result?;
        let prefix = match matched.matches.get("http.path") {
            Some(Value::String(prefix)) => Some(Cow::Owned(prefix.clone())),
            _ => None,
        };
        let captures = matched
            .captures
            .iter()
            .filter(|(name, _)| *name != "0")
            .map(|(name, text)| (name.as_str().into(), text.as_str().into()))
            .collect();
        Some(Found { route: *self.routes.get(&matched.uuid)? as usize, prefix, captures })
    }
}

/// What a field is for this request; several values for repeated headers and query arguments.
fn values(field: &str, question: &Question<'_>) -> Vec<Value> {
    let text = |text: &str| vec![Value::String(text.to_owned())];
    match field {
        "net.protocol" => text(question.scheme),
        "net.port" | "net.dst.port" => {
            let port = split_port(question.host).1.unwrap_or(question.destination.port());
            vec![Value::Int(port.into())]
        }
        "net.src.port" => vec![Value::Int(question.source.port().into())],
        "net.src.ip" => vec![Value::IpAddr(question.source.ip().to_canonical())],
        "net.dst.ip" => vec![Value::IpAddr(question.destination.ip().to_canonical())],
        "tls.sni" => question.sni.map(text).unwrap_or_default(),
        "http.method" => text(question.method.as_str()),
        "http.host" => text(split_port(question.host).0),
        "http.path" => text(question.path),
        "http.path.segments.len" => vec![Value::Int(segments(question.path).len() as i64)],
        other => named_values(other, question),
    }
}

fn named_values(field: &str, question: &Question<'_>) -> Vec<Value> {
    if let Some(name) = field.strip_prefix("http.headers.") {
        return header_values(name, question.headers).into_iter().map(Value::String).collect();
    }
    if let Some(name) = field.strip_prefix("http.queries.") {
        let query = question.query.unwrap_or_default();
        return url::form_urlencoded::parse(query.as_bytes())
            .filter(|(key, _)| key == name)
            .map(|(_, value)| Value::String(value.into_owned()))
            .collect();
    }
    let Some(range) = field.strip_prefix("http.path.segments.") else { return Vec::new() };
    let segments = segments(question.path);
    let part = match range.split_once('_') {
        None => range.parse::<usize>().ok().and_then(|n| segments.get(n)).map(|s| (*s).to_owned()),
        Some((from, to)) => match (from.parse::<usize>(), to.parse::<usize>()) {
            (Ok(from), Ok(to)) if from < to => segments.get(from..=to).map(|part| part.join("/")),
            _ => None,
        },
    };
    part.map(Value::String).into_iter().collect()
}

/// Header names stand with `_` for `-` in expressions.
fn header_values(name: &str, headers: &HeaderMap) -> Vec<String> {
    let same = |header: &str| {
        header.len() == name.len()
            && header.bytes().zip(name.bytes()).all(|(a, b)| a == b || (a == b'-' && b == b'_'))
    };
    headers
        .iter()
        .filter(|(header, _)| same(header.as_str()))
        .map(|(_, value)| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect()
}

fn segments(path: &str) -> Vec<&str> {
    let path = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/');
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
}
