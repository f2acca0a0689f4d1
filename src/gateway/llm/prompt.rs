//! What clients send to AI routes: reading it, and deciding whether it may go on.

use super::endpoint::{Lookup, resolve};
use super::{Call, Dialect, Map, Route, Target, estimate_tokens};
use serde_json::Value as Json;
use std::sync::Arc;

/// A request that is refused: a 400 with `{"error": {"message": ...}}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// `config.response_streaming`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streaming {
    /// As the client asks.
    #[default]
    Allow,
    /// Never: a client that asks for a stream is refused.
    Deny,
    /// Always.
    Always,
}

impl Streaming {
    /// Reads the setting.
    pub fn from_name(name: Option<&str>) -> Streaming {
        match name {
            Some("deny") => Streaming::Deny,
            Some("always") => Streaming::Always,
            _ => Streaming::Allow,
        }
    }
}

/// What Kong 3.10 keeps in memory of a request's body, in bytes: the limit of `max_request_body_size` only counts
/// beyond it.
const IN_MEMORY: usize = 8 * 1024;

/// The most of a body that is read when the configuration sets no limit (0), in bytes.
pub const UNLIMITED: usize = 128 * 1024 * 1024;

/// How many bytes a request's body may have, by `max_request_body_size`.
pub fn body_limit(configured: Option<i64>, dialect: &Dialect) -> usize {
    match configured.and_then(|limit| usize::try_from(limit).ok()) {
        None | Some(0) => UNLIMITED,
        Some(limit) if dialect.strict_body_size => limit,
        Some(limit) => limit.max(IN_MEMORY),
    }
}

/// The members of a JSON or form body; `None` for any other.
pub fn parse_body(content_type: Option<&str>, body: &[u8]) -> Option<Map> {
    let kind = content_type.unwrap_or("application/json").to_ascii_lowercase();
    if kind.contains("application/x-www-form-urlencoded") {
        return Some(
            url::form_urlencoded::parse(body).map(|(key, value)| (key.into_owned(), value.into())).collect(),
        );
    }
    if !kind.contains("json") {
        return None;
    }
    match serde_json::from_slice(body) {
        Ok(Json::Object(members)) => Some(members),
        _ => None,
    }
}

/// What a request is measured by.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The target it would go to.
    pub target: &'a Target,
    /// The operation.
    pub route: Route,
    /// Whether the target's model holds templates.
    pub has_template: bool,
    /// Whether streams are allowed.
    pub streaming: Streaming,
    /// The flavor's ways.
    pub dialect: &'static Dialect,
    /// Now, in seconds since 1970.
    pub now: u64,
    /// A fresh id.
    pub id: &'a str,
    /// Where templates get their values from.
    pub lookup: &'a dyn Lookup,
}

/// Decides whether a request may go on, in Kong's order and words, and what it calls for.
///
/// # Errors
/// [`Refusal`] with the message for the client.
pub fn accept(body: &Map, asked: &Asked<'_>) -> Result<Call, Refusal> {
    let route = asked.route;
    let refuse = |message: &str| Err(Refusal(message.to_owned()));
    let mut model = resolve(&asked.target.model, asked.has_template, asked.lookup).map_err(Refusal)?;
    if route == Route::Other {
        return Err(Refusal(format!(
            "route_type {} is not executed by this gateway",
            asked.target.route_type
        )));
    }
    let has_messages = body.get("messages").and_then(Json::as_array).is_some_and(|list| !list.is_empty());
    let has_prompt = body.get("prompt").is_some_and(Json::is_string);
    let has_input = body.get("input").is_some_and(|input| !input.is_null());
    let valid = match route {
        Route::Preserve | Route::Relay(_) => true,
        Route::Embeddings | Route::Responses => has_input,
        _ => has_messages || has_prompt,
    };
    if !valid {
        return refuse("request body doesn't contain valid prompts");
    }
    let wanted = body.get("model").and_then(Json::as_str).filter(|name| !name.is_empty());
    match (&model.name, wanted) {
        (None, Some(wanted)) => Arc::make_mut(&mut model).name = Some(wanted.to_owned()),
        (Some(name), Some(wanted)) if name != wanted && model.alias.as_deref() != Some(wanted) => {
            return Err(Refusal(format!("cannot use own model - must be: {name}")));
        }
        (None, None) if !route.passes() => {
            return refuse("model parameter not found in request, nor in gateway configuration");
        }
        _ => {}
    }
    let format = match (has_messages, has_prompt) {
        (true, true) if matches!(route, Route::Chat | Route::Completions) => {
            return refuse("request matches multiple LLM request formats");
        }
        (true, _) => Route::Chat,
        (false, _) => Route::Completions,
    };
    if matches!(route, Route::Chat | Route::Completions) && format != route {
        return Err(Refusal(format!(
            "[{}] message format is not compatible with [{}] route type",
            format.name(),
            route.name()
        )));
    }
    let wants_stream = body.get("stream").is_some_and(truthy);
    if wants_stream && asked.streaming == Streaming::Deny {
        return refuse("response streaming is not enabled for this LLM");
    }
    let usage_chunk =
        body.get("stream_options").and_then(|options| options.get("include_usage")).is_some_and(truthy);
    let streaming = wants_stream || asked.streaming == Streaming::Always;
    Ok(Call {
        model,
        route,
        streaming,
        rich: is_rich(body),
        estimate: estimate_tokens(body, if streaming { 1.8 } else { 1.0 }),
        usage_chunk,
        dialect: asked.dialect,
        now: asked.now,
        id: asked.id.into(),
    })
}

/// Whether a request holds more than texts.
fn is_rich(body: &Map) -> bool {
    let has = |key: &str| body.get(key).is_some_and(|value| !value.is_null());
    let messages = body.get("messages").and_then(Json::as_array).into_iter().flatten();
    let mut parts = messages.clone().filter_map(|message| message.get("content")?.as_array()).flatten();
    has("tools")
        || has("response_format")
        || messages.clone().any(|message| message.get("role").and_then(Json::as_str) == Some("tool"))
        || parts.any(|part| part.get("text").is_none())
}

/// What Kong takes for yes: everything but `false` and nothing.
fn truthy(value: &Json) -> bool {
    !matches!(value, Json::Null | Json::Bool(false))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{KONG_3_10, KONG_3_14};
    use super::*;
    use crate::value::Value;
    use serde_json::json;

    struct Nothing;
    impl Lookup for Nothing {
        fn lookup(&self, _: &str, _: &str) -> Option<String> {
            None
        }
    }

    fn ask(config: Json, body: Json, streaming: Streaming) -> Result<Call, String> {
        let target = Target::read(&Value::from(config));
        let asked = Asked {
            target: &target,
            route: target.route,
            has_template: target.model.has_template(),
            streaming,
            dialect: &KONG_3_10,
            now: 0,
            id: "x",
            lookup: &Nothing,
        };
        accept(body.as_object().unwrap(), &asked).map_err(|refusal| refusal.0)
    }

    fn config(route: &str, name: Option<&str>) -> Json {
        json!({"route_type": route, "model": {"provider": "openai", "name": name}})
    }

    #[test]
    fn requests_are_refused_in_kongs_words() {
        let chat = || config("llm/v1/chat", Some("m"));
        let hello = || json!({"messages": [{"role": "user", "content": "hi"}]});
        let refused = |config, body| ask(config, body, Streaming::Allow).unwrap_err();
        assert_eq!(refused(chat(), json!({"x": 1})), "request body doesn't contain valid prompts");
        assert_eq!(refused(chat(), json!({"messages": []})), "request body doesn't contain valid prompts");
        let mut other = hello();
        other["model"] = "other".into();
        assert_eq!(refused(chat(), other.clone()), "cannot use own model - must be: m");
        assert_eq!(
            refused(config("llm/v1/completions", Some("m")), hello()),
            "[llm/v1/chat] message format is not compatible with [llm/v1/completions] route type"
        );
        assert_eq!(
            refused(config("llm/v1/chat", None), hello()),
            "model parameter not found in request, nor in gateway configuration"
        );
        assert_eq!(ask(config("llm/v1/chat", None), other, Streaming::Allow).unwrap().model_name(), "other");
        let mut both = hello();
        both["prompt"] = "p".into();
        assert_eq!(refused(chat(), both), "request matches multiple LLM request formats");
    }

    #[test]
    fn streams_are_allowed_denied_or_forced() {
        let chat = || config("llm/v1/chat", Some("m"));
        let body = |stream: bool| json!({"messages": [{"role": "user", "content": "hi"}], "stream": stream});
        assert!(ask(chat(), body(true), Streaming::Allow).unwrap().streaming);
        assert!(!ask(chat(), body(false), Streaming::Deny).unwrap().streaming);
        assert!(ask(chat(), body(false), Streaming::Always).unwrap().streaming);
        assert_eq!(
            ask(chat(), body(true), Streaming::Deny).unwrap_err(),
            "response streaming is not enabled for this LLM"
        );
    }

    #[test]
    fn bodies_are_read_by_their_type_up_to_the_limit() {
        assert!(parse_body(Some("text/plain"), b"{}").is_none());
        assert!(parse_body(Some("application/json; charset=utf-8"), b"{}").is_some());
        assert!(parse_body(None, b"[1]").is_none());
        assert_eq!(
            parse_body(Some("application/x-www-form-urlencoded"), b"prompt=a+b").unwrap()["prompt"],
            "a b"
        );
        assert_eq!(body_limit(Some(64), &KONG_3_10), 8192);
        assert_eq!(body_limit(Some(64), &KONG_3_14), 64);
        assert_eq!(body_limit(Some(0), &KONG_3_14), UNLIMITED);
    }
}
