//! Cohere's chat (its first version) and Bedrock's converse.

use super::Api;
use super::reply::{Ask, conversation, said, tokens};
use crate::gateway::llm::aws_message;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

pub(super) const COHERE: Api = Api {
    name: "cohere",
    stream_type: "application/stream+json",
    ask: ask_cohere,
    whole: whole_cohere,
    pieces: pieces_cohere,
    error,
};
pub(super) const BEDROCK: Api = Api {
    name: "bedrock",
    stream_type: "application/vnd.amazon.eventstream",
    ask: ask_bedrock,
    whole: whole_bedrock,
    pieces: pieces_bedrock,
    error,
};

fn error(_: StatusCode, message: &str) -> Json {
    json!({"message": message})
}

fn ask_cohere(_: &str, body: &Json) -> Result<Ask, String> {
    let message = said(body.get("message"));
    if message.is_empty() {
        return Err("invalid request: message must be at least 1 token long.".to_owned());
    }
    let history = body.get("chat_history").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    Ok(Ask {
        model: body.get("model").and_then(Json::as_str).unwrap_or("command-r").to_owned(),
        input_tokens: tokens(&message) + conversation(history, "message").1,
        prompt: message,
        max_tokens: body.get("max_tokens").and_then(Json::as_u64),
        stream: body.get("stream") == Some(&Json::Bool(true)),
        ..Ask::default()
    })
}

fn whole_cohere(ask: &Ask) -> Json {
    let units = json!({"input_tokens": ask.input_tokens, "output_tokens": ask.output_tokens()});
    json!({"response_id": ask.id(""), "generation_id": ask.id("g"), "text": ask.text(),
        "finish_reason": if ask.is_cut() { "MAX_TOKENS" } else { "COMPLETE" },
        "meta": {"api_version": {"version": "1"}, "billed_units": units, "tokens": units}})
}

fn pieces_cohere(ask: &Ask) -> Vec<Bytes> {
    let line = |event: Json| Bytes::from(format!("{event}\n"));
    let whole = whole_cohere(ask);
    let mut pieces =
        vec![line(json!({"is_finished": false, "event_type": "stream-start", "generation_id": ask.id("g")}))];
    pieces.extend(
        ask.words()
            .into_iter()
            .map(|word| line(json!({"is_finished": false, "event_type": "text-generation", "text": word}))),
    );
    pieces.push(line(json!({"is_finished": true, "event_type": "stream-end",
        "finish_reason": whole.get("finish_reason"), "response": whole})));
    pieces
}

fn ask_bedrock(path: &str, body: &Json) -> Result<Ask, String> {
    let messages = body
        .get("messages")
        .and_then(Json::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or("Value null at 'messages' failed to satisfy constraint: Member must not be null")?;
    let (_, last) = path.rsplit_once("/model/").unwrap_or(("", path));
    let (model, operation) = last.rsplit_once('/').unwrap_or((last, ""));
    let (prompt, input_tokens) = conversation(messages, "content");
    Ok(Ask {
        model: percent_encoding::percent_decode_str(model).decode_utf8_lossy().into_owned(),
        prompt,
        input_tokens: input_tokens + tokens(&said(body.get("system"))),
        max_tokens: body.pointer("/inferenceConfig/maxTokens").and_then(Json::as_u64),
        stream: operation == "converse-stream",
        ..Ask::default()
    })
}

fn stop_reason(ask: &Ask) -> &'static str {
    if ask.is_cut() { "max_tokens" } else { "end_turn" }
}

fn usage(ask: &Ask) -> Json {
    let output = ask.output_tokens();
    json!({"inputTokens": ask.input_tokens, "outputTokens": output, "totalTokens": ask.input_tokens + output})
}

fn whole_bedrock(ask: &Ask) -> Json {
    json!({"output": {"message": {"role": "assistant", "content": [{"text": ask.text()}]}},
        "stopReason": stop_reason(ask), "usage": usage(ask), "metrics": {"latencyMs": 1}})
}

fn pieces_bedrock(ask: &Ask) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut tell = |kind: &str, event: Json| {
        pieces.push(Bytes::from(aws_message(kind, event.to_string().as_bytes())));
    };
    tell("messageStart", json!({"role": "assistant"}));
    for word in ask.words() {
        tell("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": word}}));
    }
    tell("contentBlockStop", json!({"contentBlockIndex": 0}));
    tell("messageStop", json!({"stopReason": stop_reason(ask)}));
    tell("metadata", json!({"usage": usage(ask), "metrics": {"latencyMs": 1}}));
    pieces
}
