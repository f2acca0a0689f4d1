//! `chat/completions`.

use super::super::api::{Question, Wrong};
use super::super::reply::{Ask, conversation};
use super::{
    CREATED, choice_of, common, finish, schema_of, set, sse, tool_tokens, tools_of, usage, wants_usage,
};
use bytes::Bytes;
use serde_json::{Value as Json, json};

pub(super) fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let messages =
        body.get("messages").and_then(Json::as_array).filter(|messages| !messages.is_empty()).ok_or(
            Wrong { message: "Missing required parameter: 'messages'.".to_owned(), param: Some("messages") },
        )?;
    let conversation = conversation(messages, "content");
    Ok(Ask {
        prompt: conversation.prompt,
        input_tokens: conversation.tokens + tool_tokens(body),
        tools: tools_of(body, "/function"),
        choice: choice_of(body, "/function"),
        answers_tool: conversation.answers_tool,
        schema: schema_of(body.get("response_format")),
        ..common(body)
    })
}

/// How likely each word was, for requests that want to know: always the same.
fn logprobs<'a>(ask: &Ask, words: impl Iterator<Item = &'a str>) -> Json {
    if ask.body.get("logprobs") != Some(&Json::Bool(true)) {
        return Json::Null;
    }
    let others = ask.body.get("top_logprobs").and_then(Json::as_u64).unwrap_or(0).min(20);
    let token =
        |word: &str, logprob: f64| json!({"token": word, "logprob": logprob, "bytes": word.as_bytes()});
    let content = words.map(|word| {
        let mut told = token(word, -0.1);
        let others = (0..others).map(|place| match place {
            0 => token(word, -0.1),
            place => token(&format!("other{place}"), -2.0 - place as f64),
        });
        set(&mut told, "top_logprobs", others.collect());
        told
    });
    json!({"content": content.collect::<Vec<_>>(), "refusal": null})
}

pub(super) fn whole(ask: &Ask) -> Json {
    let message = match &ask.call {
        Some(call) => json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [
            {"id": ask.id("call_"), "type": "function",
             "function": {"name": call.name, "arguments": call.arguments.to_string()}}]}),
        None => json!({"role": "assistant", "content": ask.text, "refusal": null, "annotations": []}),
    };
    let choice = |index| {
        json!({"index": index, "message": message, "logprobs": logprobs(ask, ask.words()),
               "finish_reason": finish(ask)})
    };
    json!({
        "id": ask.id("chatcmpl-"),
        "object": "chat.completion",
        "created": CREATED,
        "model": ask.model,
        "choices": (0..ask.choices).map(choice).collect::<Vec<_>>(),
        "usage": usage(ask),
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    })
}

pub(super) fn pieces(ask: &Ask) -> Vec<Bytes> {
    let wants_usage = wants_usage(ask);
    let chunk = |choices: Json| {
        let mut chunk = json!({"id": ask.id("chatcmpl-"), "object": "chat.completion.chunk", "created": CREATED,
            "model": ask.model, "service_tier": "default", "system_fingerprint": "fp_mock", "choices": choices});
        if wants_usage {
            set(&mut chunk, "usage", Json::Null);
        }
        chunk
    };
    let mut pieces = Vec::new();
    for index in 0..ask.choices {
        let mut tell = |delta: Json, logprobs: Json, finish: Option<&str>| {
            let choice =
                json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish});
            let mut chunk = chunk(json!([choice]));
            // Mistral counts in the last chunk, unasked; requests sent here in its place keep its name in `host`
            if finish.is_some() && ask.host == "api.mistral.ai" {
                set(&mut chunk, "usage", usage(ask));
            }
            pieces.push(sse(&chunk));
        };
        tell(json!({"role": "assistant", "content": "", "refusal": null}), Json::Null, None);
        if let Some(call) = &ask.call {
            let function = json!({"name": call.name, "arguments": ""});
            let start = json!({"index": 0, "id": ask.id("call_"), "type": "function", "function": function});
            tell(json!({"tool_calls": [start]}), Json::Null, None);
            let arguments = json!({"arguments": call.arguments.to_string()});
            tell(json!({"tool_calls": [{"index": 0, "function": arguments}]}), Json::Null, None);
        }
        for word in ask.words() {
            tell(json!({"content": word}), logprobs(ask, std::iter::once(word)), None);
        }
        tell(json!({}), Json::Null, Some(finish(ask)));
    }
    if wants_usage {
        let mut last = chunk(json!([]));
        set(&mut last, "usage", usage(ask));
        pieces.push(sse(&last));
    }
    pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces
}
