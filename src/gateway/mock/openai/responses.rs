//! `responses`.

use super::super::api::{Question, Wrong};
use super::super::reply::{Ask, End, content_tokens, conversation, tokens};
use super::{CREATED, choice_of, common, schema_of, set, tool_tokens, tools_of};
use bytes::Bytes;
use serde_json::{Value as Json, json};

pub(super) fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let (prompt, input, answers_tool) = match body.get("input") {
        Some(Json::String(text)) => (text.clone(), tokens(text), false),
        Some(Json::Array(items)) => {
            let said = conversation(items, "content");
            (said.prompt, said.tokens, said.answers_tool)
        }
        _ => {
            let message = "Missing required parameter: 'input'.".to_owned();
            return Err(Wrong { message, param: Some("input") });
        }
    };
    Ok(Ask {
        prompt,
        input_tokens: input + content_tokens(body.get("instructions")) + tool_tokens(body),
        max_tokens: body.get("max_output_tokens").and_then(Json::as_u64),
        tools: tools_of(body, ""),
        choice: choice_of(body, ""),
        answers_tool,
        schema: schema_of(body.pointer("/text/format")),
        ..common(body)
    })
}

fn output_item(ask: &Ask, status: &str) -> Json {
    let started = status == "in_progress";
    match &ask.call {
        Some(call) => json!({"id": ask.id("fc_"), "type": "function_call", "status": status,
            "call_id": ask.id("call_"), "name": call.name,
            "arguments": if started { String::new() } else { call.arguments.to_string() }}),
        None => json!({"id": ask.id("msg_"), "type": "message", "status": status, "role": "assistant",
            "content": if started { json!([]) } else { json!([part(&ask.text)]) }}),
    }
}

fn part(text: &str) -> Json {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// What an answer repeats of its request, and what stands there for requests that do not say it.
fn settings() -> [(&'static str, Json); 15] {
    [
        ("instructions", Json::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", true.into()),
        ("previous_response_id", Json::Null),
        ("temperature", 1.0.into()),
        ("top_p", 1.0.into()),
        ("tool_choice", "auto".into()),
        ("tools", json!([])),
        ("truncation", "disabled".into()),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("store", true.into()),
        ("text", json!({"format": {"type": "text"}})),
        ("max_output_tokens", Json::Null),
        ("service_tier", "default".into()),
        ("user", Json::Null),
    ]
}

fn response(ask: &Ask, status: &str) -> Json {
    let done = status != "in_progress";
    let output = ask.output_tokens();
    let cut = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
    let mut response = json!({
        "id": ask.id("resp_"), "object": "response", "created_at": CREATED, "status": status, "model": ask.model,
        "error": null, "incomplete_details": cut,
        "output": if done { json!([output_item(ask, "completed")]) } else { json!([]) },
        "usage": done.then(|| json!({
            "input_tokens": ask.input_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ask.input_tokens + output,
        })),
    });
    for (name, usual) in settings() {
        let given = ask.body.get(name).filter(|given| !given.is_null());
        set(&mut response, name, given.cloned().unwrap_or(usual));
    }
    response
}

fn end_status(ask: &Ask) -> &'static str {
    if ask.end == End::Length { "incomplete" } else { "completed" }
}

pub(super) fn whole(ask: &Ask) -> Json {
    response(ask, end_status(ask))
}

pub(super) fn pieces(ask: &Ask) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut tell = |kind: &str, mut event: Json| {
        set(&mut event, "type", kind.into());
        set(&mut event, "sequence_number", pieces.len().into());
        pieces.push(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")));
    };
    tell("response.created", json!({"response": response(ask, "in_progress")}));
    tell("response.in_progress", json!({"response": response(ask, "in_progress")}));
    let started = output_item(ask, "in_progress");
    tell("response.output_item.added", json!({"output_index": 0, "item": started}));
    if let Some(call) = &ask.call {
        let (id, arguments) = (ask.id("fc_"), call.arguments.to_string());
        let delta = json!({"item_id": id, "output_index": 0, "delta": arguments});
        tell("response.function_call_arguments.delta", delta);
        let done = json!({"item_id": id, "output_index": 0, "name": call.name, "arguments": arguments});
        tell("response.function_call_arguments.done", done);
    } else {
        let with = |key: &str, value: Json| {
            let mut event = json!({"item_id": ask.id("msg_"), "output_index": 0, "content_index": 0});
            set(&mut event, key, value);
            if key != "part" {
                set(&mut event, "logprobs", json!([]));
            }
            event
        };
        tell("response.content_part.added", with("part", part("")));
        for word in ask.words() {
            tell("response.output_text.delta", with("delta", word.into()));
        }
        tell("response.output_text.done", with("text", ask.text.as_str().into()));
        tell("response.content_part.done", with("part", part(&ask.text)));
    }
    tell("response.output_item.done", json!({"output_index": 0, "item": output_item(ask, "completed")}));
    let status = end_status(ask);
    tell(&format!("response.{status}"), json!({"response": response(ask, status)}));
    pieces
}
