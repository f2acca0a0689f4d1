//! Anthropic's Messages API.

use super::Api;
use super::reply::{Ask, ToolCall, call_tool, conversation, said, tokens};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

pub(super) const MESSAGES: Api =
    Api { name: "anthropic", stream_type: "text/event-stream", ask, whole, pieces, error };

fn error(status: StatusCode, message: &str) -> Json {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"})
}

/// `POST /v1/messages/count_tokens`.
pub(super) fn count(path: &str, body: &Json) -> Option<(&'static str, Json)> {
    let messages = body.get("messages").and_then(Json::as_array)?;
    let counted = || tokens(&said(body.get("system"))) + conversation(messages, "content").1;
    path.ends_with("/v1/messages/count_tokens").then(|| ("anthropic", json!({"input_tokens": counted()})))
}

fn ask(_: &str, body: &Json) -> Result<Ask, String> {
    let messages = body
        .get("messages")
        .and_then(Json::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or("messages: Field required")?;
    let max_tokens = body.get("max_tokens").and_then(Json::as_u64).ok_or("max_tokens: Field required")?;
    let strange = messages
        .iter()
        .position(|m| !matches!(m.get("role").and_then(Json::as_str), Some("user" | "assistant")));
    if let Some(place) = strange {
        return Err(format!("messages.{place}.role: Input should be 'user' or 'assistant'"));
    }
    let (prompt, input_tokens) = conversation(messages, "content");
    Ok(Ask {
        model: body.get("model").and_then(Json::as_str).ok_or("model: Field required")?.to_owned(),
        prompt,
        input_tokens: input_tokens + tokens(&said(body.get("system"))),
        max_tokens: Some(max_tokens),
        stream: body.get("stream") == Some(&Json::Bool(true)),
        tool: chosen_tool(body),
        ..Ask::default()
    })
}

/// The tool that the client insists on: by name, or the first one for `any`.
fn chosen_tool(body: &Json) -> Option<ToolCall> {
    let tools = body.get("tools").and_then(Json::as_array)?;
    let wanted = body.pointer("/tool_choice/name").and_then(Json::as_str);
    if wanted.is_none() && body.pointer("/tool_choice/type").and_then(Json::as_str) != Some("any") {
        return None;
    }
    let name = |tool: &Json| tool.get("name").and_then(Json::as_str).map(str::to_owned);
    let tool = tools.iter().find(|tool| wanted.is_none() || name(tool).as_deref() == wanted)?;
    Some(call_tool(&name(tool)?, tool.get("input_schema")))
}

fn stop_reason(ask: &Ask) -> &'static str {
    match (&ask.tool, ask.is_cut()) {
        (Some(_), _) => "tool_use",
        (None, true) => "max_tokens",
        (None, false) => "end_turn",
    }
}

fn usage(ask: &Ask, output: u64) -> Json {
    json!({"input_tokens": ask.input_tokens, "output_tokens": output, "cache_creation_input_tokens": 0,
           "cache_read_input_tokens": 0, "service_tier": "standard"})
}

fn message(ask: &Ask, content: Json, reason: Option<&str>, output: u64) -> Json {
    json!({"id": ask.id("msg_"), "type": "message", "role": "assistant", "model": ask.model, "content": content,
           "stop_reason": reason, "stop_sequence": null, "usage": usage(ask, output)})
}

fn whole(ask: &Ask) -> Json {
    let content = match &ask.tool {
        Some(call) => {
            json!([{"type": "tool_use", "id": ask.id("toolu_"), "name": call.name, "input": call.arguments}])
        }
        None => json!([{"type": "text", "text": ask.text()}]),
    };
    message(ask, content, Some(stop_reason(ask)), ask.output_tokens())
}

fn pieces(ask: &Ask) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut tell = |kind: &str, mut event: Json| {
        if let Some(members) = event.as_object_mut() {
            members.insert("type".into(), kind.into());
        }
        pieces.push(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")));
    };
    tell("message_start", json!({"message": message(ask, json!([]), None, 1)}));
    let block = match &ask.tool {
        Some(call) => json!({"type": "tool_use", "id": ask.id("toolu_"), "name": call.name, "input": {}}),
        None => json!({"type": "text", "text": ""}),
    };
    tell("content_block_start", json!({"index": 0, "content_block": block}));
    tell("ping", json!({}));
    match &ask.tool {
        Some(call) => {
            let arguments = call.arguments.to_string();
            tell(
                "content_block_delta",
                json!({"index": 0, "delta": {"type": "input_json_delta", "partial_json": arguments}}),
            );
        }
        None => {
            for word in ask.words() {
                tell(
                    "content_block_delta",
                    json!({"index": 0, "delta": {"type": "text_delta", "text": word}}),
                );
            }
        }
    }
    tell("content_block_stop", json!({"index": 0}));
    tell(
        "message_delta",
        json!({"delta": {"stop_reason": stop_reason(ask), "stop_sequence": null},
               "usage": {"output_tokens": ask.output_tokens()}}),
    );
    tell("message_stop", json!({}));
    pieces
}
