//! Cohere's chat in its first and second version, and its older generate.

use super::api::{Api, Problem, Question, Wrong, texts};
use super::openai::tools_of;
use super::reply::{Ask, Choice, conversation, said, tokens};
use bytes::Bytes;
use serde_json::{Value as Json, json};

pub(super) const CHAT: Api = Api {
    name: "cohere",
    id_header: "x-request-id",
    stream_type: "application/stream+json",
    ask,
    whole,
    pieces,
    error: |problem: &Problem<'_>| json!({"message": problem.message}),
    broken: |error| {
        line(&json!({"event_type": "stream-end", "is_finished": true, "finish_reason": "ERROR",
                                 "response": error}))
    },
};
pub(super) const CHAT_2: Api = Api {
    stream_type: "text/event-stream",
    ask: ask_2,
    whole: whole_2,
    pieces: pieces_2,
    broken: |_| {
        let end =
            json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "told to fail"}});
        sse(&end)
    },
    ..CHAT
};
pub(super) const GENERATE: Api =
    Api { ask: ask_generate, whole: whole_generate, pieces: pieces_generate, ..CHAT };

fn line(event: &Json) -> Bytes {
    format!("{event}\n").into()
}

fn sse(event: &Json) -> Bytes {
    let kind = event.get("type").and_then(Json::as_str).unwrap_or_default();
    format!("event: {kind}\ndata: {event}\n\n").into()
}

fn common(body: &Json) -> Ask {
    let schema =
        || body.pointer("/response_format/schema").or_else(|| body.pointer("/response_format/json_schema"));
    let wants_json = body.pointer("/response_format/type").and_then(Json::as_str) == Some("json_object");
    Ask {
        model: body.get("model").and_then(Json::as_str).unwrap_or("command-a").to_owned(),
        max_tokens: body.get("max_tokens").and_then(Json::as_u64),
        stop: texts(body.get("stop_sequences")),
        stream: body.get("stream") == Some(&Json::Bool(true)),
        schema: wants_json.then(|| schema().cloned().unwrap_or_default()),
        ..Ask::default()
    }
}

fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let message = said(body.get("message"));
    if message.is_empty() {
        return Err("invalid request: message must be at least 1 token long.".into());
    }
    let history = body.get("chat_history").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    Ok(Ask {
        input_tokens: tokens(&message) + conversation(history, "message").tokens,
        prompt: message,
        ..common(body)
    })
}

fn finish(ask: &Ask) -> &'static str {
    ask.end.word(["TOOL_CALL", "MAX_TOKENS", "STOP_SEQUENCE", "COMPLETE"])
}

fn units(ask: &Ask) -> Json {
    json!({"input_tokens": ask.input_tokens, "output_tokens": ask.output_tokens()})
}

fn meta(ask: &Ask) -> Json {
    json!({"api_version": {"version": "1"}, "billed_units": units(ask), "tokens": units(ask)})
}

fn whole(ask: &Ask) -> Json {
    json!({"response_id": ask.id(""), "generation_id": ask.id("g"), "text": ask.text, "finish_reason": finish(ask),
           "meta": meta(ask)})
}

fn pieces(ask: &Ask) -> Vec<Bytes> {
    let words = ask.words().map(|word| json!({"event_type": "text-generation", "text": word}));
    std::iter::once(json!({"event_type": "stream-start", "generation_id": ask.id("g")}))
        .chain(words)
        .map(|mut event| {
            if let Some(members) = event.as_object_mut() {
                members.insert("is_finished".into(), false.into());
            }
            line(&event)
        })
        .chain([line(&json!({"is_finished": true, "event_type": "stream-end", "finish_reason": finish(ask),
                             "response": whole(ask)}))])
        .collect()
}

fn ask_2(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let messages = body
        .get("messages")
        .and_then(Json::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or("invalid request: messages must not be empty")?;
    let tools = tools_of(body, "/function");
    let conversation = conversation(messages, "content");
    Ok(Ask {
        prompt: conversation.prompt,
        input_tokens: conversation.tokens + body.get("tools").map_or(0, |tools| tokens(&tools.to_string())),
        tools,
        choice: match body.get("tool_choice").and_then(Json::as_str) {
            Some("REQUIRED") => Choice::Any,
            _ => Choice::Free,
        },
        answers_tool: conversation.answers_tool,
        ..common(body)
    })
}

fn call_2(ask: &Ask) -> Option<Json> {
    let call = ask.call.as_ref()?;
    Some(json!({"id": ask.id(""), "type": "function",
                "function": {"name": call.name, "arguments": call.arguments.to_string()}}))
}

fn whole_2(ask: &Ask) -> Json {
    let message = match call_2(ask) {
        Some(call) => json!({"role": "assistant", "tool_plan": "I will call a tool.", "tool_calls": [call]}),
        None => json!({"role": "assistant", "content": [{"type": "text", "text": ask.text}]}),
    };
    json!({"id": ask.id(""), "finish_reason": finish(ask), "message": message,
           "usage": {"billed_units": units(ask), "tokens": units(ask)}})
}

fn pieces_2(ask: &Ask) -> Vec<Bytes> {
    let mut events = vec![json!({"type": "message-start", "id": ask.id(""), "delta": {"message": {
        "role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}}})];
    match call_2(ask) {
        Some(mut call) => {
            let arguments = call.pointer_mut("/function/arguments").map(Json::take);
            if let Some(place) = call.pointer_mut("/function/arguments") {
                *place = "".into();
            }
            events.push(json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will call a tool."}}}));
            events.push(
                json!({"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}}),
            );
            events.push(json!({"type": "tool-call-delta", "index": 0,
                "delta": {"message": {"tool_calls": {"function": {"arguments": arguments}}}}}));
            events.push(json!({"type": "tool-call-end", "index": 0}));
        }
        None => {
            events.push(json!({"type": "content-start", "index": 0,
                               "delta": {"message": {"content": {"type": "text", "text": ""}}}}));
            events.extend(ask.words().map(|word| {
                json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": word}}}})
            }));
            events.push(json!({"type": "content-end", "index": 0}));
        }
    }
    events.push(json!({"type": "message-end", "delta": {"finish_reason": finish(ask),
        "usage": {"billed_units": units(ask), "tokens": units(ask)}}}));
    events.iter().map(sse).collect()
}

fn ask_generate(question: &Question<'_>) -> Result<Ask, Wrong> {
    let prompt = said(question.body.get("prompt"));
    if prompt.is_empty() {
        return Err("invalid request: prompt must be at least 1 token long.".into());
    }
    Ok(Ask { input_tokens: tokens(&prompt), prompt, ..common(question.body) })
}

fn whole_generate(ask: &Ask) -> Json {
    json!({"id": ask.id(""), "prompt": ask.prompt, "meta": meta(ask), "generations": [
        {"id": ask.id("g"), "text": ask.text, "finish_reason": finish(ask)}]})
}

fn pieces_generate(ask: &Ask) -> Vec<Bytes> {
    let words = ask.words();
    let end = json!({"is_finished": true, "event_type": "stream-end", "finish_reason": finish(ask),
                     "response": whole_generate(ask)});
    words
        .map(|word| json!({"is_finished": false, "event_type": "text-generation", "text": word}))
        .chain([end])
        .map(|event| line(&event))
        .collect()
}
