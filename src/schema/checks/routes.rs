//! The rule over a route's matching fields: an expression, or the usual fields, that the router can compile.

use super::regexes::is_plain;
use super::{Outcome, demand};
use crate::value::{Map, Value};
use atc_router::ast::Type;
use atc_router::router::Router;
use atc_router::schema::Schema;
use std::sync::LazyLock;
use uuid::Uuid;

const MATCHING: [&str; 7] = ["snis", "sources", "destinations", "methods", "hosts", "paths", "headers"];

/// A type and the fields that have it.
type Fields = (fn() -> Type, &'static [&'static str]);

/// The fields that any expression may read.
const ANY: [Fields; 3] = [
    (|| Type::String, &["net.protocol", "tls.sni"]),
    (|| Type::Int, &["net.src.port", "net.dst.port"]),
    (|| Type::IpAddr, &["net.src.ip", "net.dst.ip"]),
];
/// Those that only HTTP has.
const HTTP_ONLY: [Fields; 2] = [
    (
        || Type::String,
        &[
            "http.method",
            "http.host",
            "http.path",
            "http.path.segments.*",
            "http.headers.*",
            "http.queries.*",
        ],
    ),
    (|| Type::Int, &["http.path.segments.len", "net.port"]),
];

fn schema_of(fields: &[Fields]) -> Schema {
    let mut schema = Schema::default();
    for (ty, names) in ANY.iter().chain(fields) {
        names.iter().for_each(|name| schema.add_field(name, ty()));
    }
    schema
}

static STREAM: LazyLock<Schema> = LazyLock::new(|| schema_of(&[]));
static HTTP: LazyLock<Schema> = LazyLock::new(|| schema_of(&HTTP_ONLY));

fn fault(words: &str) -> String {
    format!("Router Expression failed validation: {words}")
}

fn compile(expression: &str, http: bool) -> Result<(), String> {
    let mut router = Router::new(if http { &HTTP } else { &STREAM });
    router.add_matcher(0, Uuid::nil(), expression)
}

/// Whether a field holds something: not null, not empty, not the number 0.
fn is_set(members: &Map, field: &str) -> bool {
    match members.get(field).map(Value::exposed) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(inner)) => !inner.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(_) => true,
    }
}

pub fn route_expression(members: &Map) -> Outcome {
    let others = MATCHING.iter().any(|field| is_set(members, field));
    let Some(expression) = members.get("expression").and_then(Value::exposed_str) else {
        demand(!(others && is_set(members, "priority")), || {
            fault(
                "cannot set 'priority' with 'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or \
                 'destinations' simultaneously",
            )
        })?;
        return regex_paths(members);
    };
    demand(!others, || {
        fault(
            "cannot set 'expression' with 'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or \
             'destinations' simultaneously",
        )
    })?;
    demand(!is_set(members, "regex_priority"), || {
        fault("cannot set 'regex_priority' with 'expression' simultaneously")
    })?;
    let protocols = members.get("protocols").and_then(Value::as_array).unwrap_or_default();
    let stream = ["tcp", "tls", "udp", "tls_passthrough"];
    let http = !protocols.iter().filter_map(Value::exposed_str).any(|protocol| stream.contains(&protocol));
    compile(expression, http).map_err(|words| fault(&words).into())
}

/// A path's regular expression must be one for the router too, which knows no look-around.
fn regex_paths(members: &Map) -> Outcome {
    let paths = members.get("paths").and_then(Value::as_array).unwrap_or_default();
    for pattern in paths.iter().filter_map(Value::exposed_str).filter_map(|path| path.strip_prefix('~')) {
        if !is_plain(pattern) && regex::Regex::new(pattern).is_err() {
            compile(&format!("http.path ~ r#\"^{pattern}\"#"), true).map_err(|words| fault(&words))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(json: serde_json::Value) -> Outcome {
        route_expression(Value::from(json).as_object().unwrap())
    }

    #[test]
    fn an_expression_must_compile_and_stand_alone() {
        assert!(check(json!({"expression": "http.path ^= \"/a\" && net.src.ip in 10.0.0.0/8"})).is_ok());
        assert!(check(json!({"expression": "http.path.segments.0 == \"a\""})).is_ok());
        assert!(check(json!({"expression": "tls.sni == \"a\"", "protocols": ["tls"]})).is_ok());
        for faulty in [
            json!({"expression": "http.path ^^ 1"}),
            json!({"expression": "http.path == \"/a\"", "protocols": ["tcp"]}),
            json!({"expression": "http.path == \"/a\"", "paths": ["/a"]}),
            json!({"paths": ["/a"], "priority": 3}),
            json!({"paths": ["~/(?!a)"]}),
        ] {
            let words = check(faulty.clone()).unwrap_err();
            assert!(words.starts_with("Router Expression failed validation: "), "{faulty}: {words}");
        }
        assert!(check(json!({"paths": ["~/a\\d+$"], "priority": 0})).is_ok());
    }
}
