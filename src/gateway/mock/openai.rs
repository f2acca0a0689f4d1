//! OpenAI's APIs: chat, completions, embeddings, responses, models.

use super::Api;
use super::reply::{Ask, call_tool, conversation, embedding, said, tokens};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

/// When every answer was made, in seconds since 1970: the same request gets the same answer.
const CREATED: u64 = 1_767_225_600;
const MODELS: [&str; 5] = ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "o4-mini", "text-embedding-3-small"];
/// The most answers to one request.
const MAX_CHOICES: u64 = 8;
/// The most dimensions of an embedding.
const MAX_DIMENSIONS: u64 = 4096;

pub(super) const CHAT: Api = Api {
    name: "openai",
    stream_type: "text/event-stream",
    ask: ask_chat,
    whole: whole_chat,
    pieces: pieces_chat,
    error,
};
pub(super) const COMPLETIONS: Api = Api {
    name: "openai",
    stream_type: "text/event-stream",
    ask: ask_completion,
    whole: whole_completion,
    pieces: pieces_completion,
    error,
};
pub(super) const EMBEDDINGS: Api = Api {
    name: "openai",
    stream_type: "application/json",
    ask: ask_embeddings,
    whole: whole_embeddings,
    pieces: |ask| vec![Bytes::from(whole_embeddings(ask).to_string())],
    error,
};
pub(super) const RESPONSES: Api = Api {
    name: "openai",
    stream_type: "text/event-stream",
    ask: ask_responses,
    whole: whole_response,
    pieces: pieces_response,
    error,
};

/// An error in OpenAI's form.
pub(super) fn error(status: StatusCode, message: &str) -> Json {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_exceeded",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
}

/// `GET /v1/models` and `GET /v1/models/{id}`.
pub(super) fn models(path: &str) -> Option<(StatusCode, Json)> {
    let model = |id: &str| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "mock"});
    let (_, rest) = path.split_once("/v1/models")?;
    Some(match rest.trim_matches('/') {
        "" => (StatusCode::OK, json!({"object": "list", "data": MODELS.map(model)})),
        id if MODELS.contains(&id) => (StatusCode::OK, model(id)),
        id => {
            let status = StatusCode::NOT_FOUND;
            (status, error(status, &format!("The model '{id}' does not exist")))
        }
    })
}

fn common(body: &Json) -> Ask {
    let count = |key: &str| body.get(key).and_then(Json::as_u64);
    Ask {
        model: body.get("model").and_then(Json::as_str).unwrap_or("gpt-4o").to_owned(),
        max_tokens: count("max_completion_tokens").or_else(|| count("max_tokens")),
        stream: body.get("stream") == Some(&Json::Bool(true)),
        usage_chunk: body.pointer("/stream_options/include_usage") == Some(&Json::Bool(true)),
        choices: count("n").unwrap_or(1).clamp(1, MAX_CHOICES) as usize,
        ..Ask::default()
    }
}

fn ask_chat(_: &str, body: &Json) -> Result<Ask, String> {
    let messages = body
        .get("messages")
        .and_then(Json::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or("Missing required parameter: 'messages'.")?;
    let (prompt, input_tokens) = conversation(messages, "content");
    let answered = messages.last().and_then(|m| m.get("role")).and_then(Json::as_str) == Some("tool");
    Ok(Ask {
        prompt,
        input_tokens,
        tool: chosen_tool(body, "/function").filter(|_| !answered),
        json: matches!(
            body.pointer("/response_format/type").and_then(Json::as_str),
            Some("json_object" | "json_schema")
        ),
        ..common(body)
    })
}

/// The tool that the client insists on: by name, or the first one for `required`. Left to itself, the mock calls
/// none.
fn chosen_tool(body: &Json, at: &str) -> Option<super::reply::ToolCall> {
    let tools = body.get("tools").and_then(Json::as_array)?;
    let choice = body.get("tool_choice")?;
    let wanted = choice.pointer(&format!("{at}/name")).and_then(Json::as_str);
    if wanted.is_none() && choice.as_str() != Some("required") {
        return None;
    }
    let name = |tool: &Json| tool.pointer(&format!("{at}/name")).and_then(Json::as_str).map(str::to_owned);
    let tool = tools.iter().find(|tool| wanted.is_none() || name(tool).as_deref() == wanted)?;
    Some(call_tool(&name(tool)?, tool.pointer(&format!("{at}/parameters"))))
}

fn finish(ask: &Ask) -> &'static str {
    match (&ask.tool, ask.is_cut()) {
        (Some(_), _) => "tool_calls",
        (None, true) => "length",
        (None, false) => "stop",
    }
}

fn usage(ask: &Ask) -> Json {
    let output = ask.output_tokens() * ask.choices.max(1) as u64;
    json!({
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": output,
        "total_tokens": ask.input_tokens + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    })
}

fn whole_chat(ask: &Ask) -> Json {
    let message = match &ask.tool {
        Some(call) => json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [
            {"id": ask.id("call_"), "type": "function",
             "function": {"name": call.name, "arguments": call.arguments.to_string()}}]}),
        None => json!({"role": "assistant", "content": ask.text(), "refusal": null}),
    };
    let choice =
        |index| json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish(ask)});
    json!({
        "id": ask.id("chatcmpl-"),
        "object": "chat.completion",
        "created": CREATED,
        "model": ask.model,
        "choices": (0..ask.choices).map(choice).collect::<Vec<_>>(),
        "usage": usage(ask),
        "system_fingerprint": "fp_mock",
    })
}

fn sse(event: &Json) -> Bytes {
    Bytes::from(format!("data: {event}\n\n"))
}

fn pieces_chat(ask: &Ask) -> Vec<Bytes> {
    let chunk = |choices: Json| {
        let mut chunk = json!({"id": ask.id("chatcmpl-"), "object": "chat.completion.chunk", "created": CREATED,
            "model": ask.model, "system_fingerprint": "fp_mock", "choices": choices});
        if let Some(members) = chunk.as_object_mut().filter(|_| ask.usage_chunk) {
            members.insert("usage".into(), Json::Null);
        }
        chunk
    };
    let piece = |delta: Json, finish: Option<&str>| {
        sse(&chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}])))
    };
    let mut pieces = vec![piece(json!({"role": "assistant", "content": "", "refusal": null}), None)];
    match &ask.tool {
        Some(call) => {
            let function = json!({"name": call.name, "arguments": ""});
            pieces.push(piece(
                json!({"tool_calls": [{"index": 0, "id": ask.id("call_"), "type": "function", "function": function}]}),
                None,
            ));
            let arguments = json!({"arguments": call.arguments.to_string()});
            pieces.push(piece(json!({"tool_calls": [{"index": 0, "function": arguments}]}), None));
        }
        None => pieces.extend(ask.words().into_iter().map(|word| piece(json!({"content": word}), None))),
    }
    let mut end = chunk(json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": finish(ask)}]));
    if let Some(members) = end.as_object_mut().filter(|_| ask.usage_at_end) {
        members.insert("usage".into(), usage(ask));
    }
    pieces.push(sse(&end));
    if ask.usage_chunk {
        let mut last = chunk(json!([]));
        if let Some(members) = last.as_object_mut() {
            members.insert("usage".into(), usage(ask));
        }
        pieces.push(sse(&last));
    }
    pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces
}

fn ask_completion(_: &str, body: &Json) -> Result<Ask, String> {
    let prompt = body.get("prompt").ok_or("Missing required parameter: 'prompt'.")?;
    let prompt = said(Some(prompt));
    Ok(Ask { input_tokens: tokens(&prompt), prompt, ..common(body) })
}

fn whole_completion(ask: &Ask) -> Json {
    let choice =
        |index| json!({"index": index, "text": ask.text(), "logprobs": null, "finish_reason": finish(ask)});
    json!({"id": ask.id("cmpl-"), "object": "text_completion", "created": CREATED, "model": ask.model,
        "choices": (0..ask.choices).map(choice).collect::<Vec<_>>(), "usage": usage(ask)})
}

fn pieces_completion(ask: &Ask) -> Vec<Bytes> {
    let piece = |choices: Json, usage: Option<Json>| {
        sse(
            &json!({"id": ask.id("cmpl-"), "object": "text_completion", "created": CREATED, "model": ask.model,
            "choices": choices, "usage": usage}),
        )
    };
    let choice = |text: &str, finish: Option<&str>| json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}]);
    let mut pieces: Vec<Bytes> = ask.words().iter().map(|word| piece(choice(word, None), None)).collect();
    pieces.push(piece(choice("", Some(finish(ask))), None));
    if ask.usage_chunk {
        pieces.push(piece(json!([]), Some(usage(ask))));
    }
    pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces
}

fn ask_embeddings(_: &str, body: &Json) -> Result<Ask, String> {
    let inputs: Vec<String> = match body.get("input") {
        Some(Json::String(text)) => vec![text.clone()],
        Some(Json::Array(items)) if items.iter().all(Json::is_number) => {
            vec![Json::Array(items.clone()).to_string()]
        }
        Some(Json::Array(items)) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        _ => return Err("Missing required parameter: 'input'.".to_owned()),
    };
    let dimensions = body.get("dimensions").and_then(Json::as_u64).unwrap_or(1536).clamp(1, MAX_DIMENSIONS);
    Ok(Ask {
        input_tokens: inputs.iter().map(|input| tokens(input)).sum(),
        prompt: inputs.first().cloned().unwrap_or_default(),
        inputs,
        dimensions: dimensions as usize,
        base64: body.get("encoding_format").and_then(Json::as_str) == Some("base64"),
        stream: false,
        ..common(body)
    })
}

fn whole_embeddings(ask: &Ask) -> Json {
    let vectors = ask.inputs.iter().enumerate().map(|(index, input)| {
        let vector = embedding(input, ask.dimensions);
        let vector = if ask.base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            Json::from(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    json!({"object": "list", "model": ask.model, "data": vectors.collect::<Vec<_>>(),
        "usage": {"prompt_tokens": ask.input_tokens, "total_tokens": ask.input_tokens}})
}

fn ask_responses(_: &str, body: &Json) -> Result<Ask, String> {
    let (prompt, input_tokens) = match body.get("input") {
        Some(Json::String(text)) => (text.clone(), tokens(text)),
        Some(Json::Array(items)) => conversation(items, "content"),
        _ => return Err("Missing required parameter: 'input'.".to_owned()),
    };
    let instructions = tokens(&said(body.get("instructions")));
    Ok(Ask {
        prompt,
        input_tokens: input_tokens + instructions,
        max_tokens: body.get("max_output_tokens").and_then(Json::as_u64),
        tool: chosen_tool(body, ""),
        ..common(body)
    })
}

fn output_item(ask: &Ask, status: &str, text: &str) -> Json {
    match &ask.tool {
        Some(call) => json!({"id": ask.id("fc_"), "type": "function_call", "status": status,
            "call_id": ask.id("call_"), "name": call.name, "arguments": call.arguments.to_string()}),
        None => json!({"id": ask.id("msg_"), "type": "message", "status": status, "role": "assistant",
            "content": if status == "in_progress" { json!([]) } else { json!([part(text)]) }}),
    }
}

fn part(text: &str) -> Json {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn response_object(ask: &Ask, status: &str) -> Json {
    let done = status != "in_progress";
    let output = ask.output_tokens();
    json!({
        "id": ask.id("resp_"), "object": "response", "created_at": CREATED, "status": status, "model": ask.model,
        "error": null, "instructions": null, "metadata": {},
        "incomplete_details": if status == "incomplete" { json!({"reason": "max_output_tokens"}) } else { Json::Null },
        "max_output_tokens": ask.max_tokens, "parallel_tool_calls": true, "previous_response_id": null,
        "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [], "truncation": "disabled",
        "reasoning": {"effort": null, "summary": null}, "store": false, "text": {"format": {"type": "text"}},
        "output": if done { json!([output_item(ask, "completed", &ask.text())]) } else { json!([]) },
        "usage": done.then(|| json!({
            "input_tokens": ask.input_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ask.input_tokens + output,
        })),
    })
}

fn end_status(ask: &Ask) -> &'static str {
    if ask.is_cut() { "incomplete" } else { "completed" }
}

fn whole_response(ask: &Ask) -> Json {
    response_object(ask, end_status(ask))
}

fn pieces_response(ask: &Ask) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut tell = |kind: &str, mut event: Json| {
        if let Some(members) = event.as_object_mut() {
            members.insert("type".into(), kind.into());
            members.insert("sequence_number".into(), pieces.len().into());
        }
        pieces.push(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")));
    };
    tell("response.created", json!({"response": response_object(ask, "in_progress")}));
    tell("response.in_progress", json!({"response": response_object(ask, "in_progress")}));
    let started = output_item(ask, "in_progress", "");
    tell("response.output_item.added", json!({"output_index": 0, "item": started}));
    if let Some(call) = &ask.tool {
        let (id, arguments) = (ask.id("fc_"), call.arguments.to_string());
        tell(
            "response.function_call_arguments.delta",
            json!({"item_id": id, "output_index": 0, "delta": arguments}),
        );
        tell(
            "response.function_call_arguments.done",
            json!({"item_id": id, "output_index": 0, "name": call.name, "arguments": arguments}),
        );
    } else {
        let at = json!({"item_id": ask.id("msg_"), "output_index": 0, "content_index": 0});
        let with = |key: &str, value: Json| {
            let mut event = at.clone();
            if let Some(members) = event.as_object_mut() {
                members.insert(key.into(), value);
                if key != "part" {
                    members.insert("logprobs".into(), json!([]));
                }
            }
            event
        };
        tell("response.content_part.added", with("part", part("")));
        for word in ask.words() {
            tell("response.output_text.delta", with("delta", word.into()));
        }
        tell("response.output_text.done", with("text", ask.text().into()));
        tell("response.content_part.done", with("part", part(&ask.text())));
    }
    let item = output_item(ask, "completed", &ask.text());
    tell("response.output_item.done", json!({"output_index": 0, "item": item}));
    let status = end_status(ask);
    tell(&format!("response.{status}"), json!({"response": response_object(ask, status)}));
    pieces
}
