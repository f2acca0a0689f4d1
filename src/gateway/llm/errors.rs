//! Errors of providers in OpenAI's form, which its SDKs turn into exceptions.

use super::json::text;
use http::StatusCode;
use serde_json::{Value as Json, json};

/// The most of a text that is no JSON which becomes a message, in characters.
const MAX_TEXT: usize = 500;

/// An error in OpenAI's form: message, type, param, code. `None` if it has this form already.
pub fn openai_error(status: StatusCode, body: &[u8]) -> Option<Json> {
    let given: Json = serde_json::from_slice(body).unwrap_or_default();
    // Gemini answers requests for streams with a list
    let given = given.get(0).unwrap_or(&given);
    let error = given.get("error").filter(|error| error.is_object()).unwrap_or(given);
    let has = |key: &str| error.get(key).is_some();
    if given.get("error") == Some(error) && ["message", "type", "param", "code"].into_iter().all(has) {
        return None;
    }
    let message = text(error, "/message")
        .or_else(|| text(given, "/message"))
        .or_else(|| text(given, "/error"))
        .or_else(|| text(given, "/detail"))
        .map(str::to_owned)
        .or_else(|| plain(body))
        .unwrap_or_else(|| format!("the provider answered with {status}"));
    let kind = text(error, "/type").unwrap_or_else(|| kind(status));
    let code = text(error, "/code").or_else(|| text(error, "/status")).or_else(|| text(error, "/__type"));
    Some(json!({"error": {"message": message, "type": kind, "param": error.get("param"), "code": code}}))
}

/// A body that is neither JSON nor a page.
fn plain(body: &[u8]) -> Option<String> {
    let written = std::str::from_utf8(body).ok()?.trim();
    let is_text = !written.is_empty() && !written.starts_with(['<', '{', '[', '"']);
    is_text.then(|| written.chars().take(MAX_TEXT).collect())
}

/// OpenAI's type of errors of a status.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_every_provider_become_openais() {
        let told = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            let error = openai_error(status, body.as_bytes()).unwrap_or_default();
            ["message", "type", "code"].map(|key| {
                error.pointer(&format!("/error/{key}")).and_then(Json::as_str).unwrap_or("-").to_owned()
            })
        };
        assert_eq!(
            told(529, r#"{"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}"#),
            ["busy", "overloaded_error", "-"]
        );
        assert_eq!(
            told(429, r#"[{"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}]"#),
            ["slow", "rate_limit_error", "RESOURCE_EXHAUSTED"]
        );
        assert_eq!(told(400, r#"{"message": "no"}"#), ["no", "invalid_request_error", "-"]);
        assert_eq!(told(500, r#"{"error": "out of memory"}"#), ["out of memory", "server_error", "-"]);
        assert_eq!(told(404, "no such model\n"), ["no such model", "not_found_error", "-"]);
        assert_eq!(told(502, "<html>")[0], "the provider answered with 502 Bad Gateway");
        let openai = br#"{"error": {"message": "x", "type": "t", "param": null, "code": null}}"#;
        assert_eq!(openai_error(StatusCode::BAD_REQUEST, openai), None);
    }
}
