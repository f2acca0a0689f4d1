//! Gemini's generateContent.

use super::Api;
use super::reply::{Ask, ToolCall, call_tool, conversation, said, tokens};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

/// Streams as server-sent events (`alt=sse`).
pub(super) const GENERATE: Api = Api {
    name: "gemini",
    stream_type: "text/event-stream",
    ask,
    whole,
    pieces: |ask| {
        pieces(ask).into_iter().map(|piece| Bytes::from(format!("data: {piece}\r\n\r\n"))).collect()
    },
    error,
};

/// Streams as one JSON array.
pub(super) const GENERATE_ARRAY: Api = Api {
    name: "gemini",
    stream_type: "application/json",
    ask,
    whole,
    pieces: |ask| {
        let mut out: Vec<Bytes> = pieces(ask)
            .into_iter()
            .enumerate()
            .map(|(place, piece)| Bytes::from(format!("{}{piece}", if place == 0 { "[" } else { ",\r\n" })))
            .collect();
        out.push(Bytes::from_static(b"]"));
        out
    },
    error,
};

fn error(status: StatusCode, message: &str) -> Json {
    let word = match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    json!({"error": {"code": status.as_u16(), "message": message, "status": word}})
}

/// `GET /v1beta/models`.
pub(super) fn models(path: &str) -> Option<(StatusCode, Json)> {
    let model = json!({"name": "models/gemini-2.5-flash", "displayName": "Gemini 2.5 Flash",
        "supportedGenerationMethods": ["generateContent", "countTokens"]});
    path.ends_with("/v1beta/models").then(|| (StatusCode::OK, json!({"models": [model]})))
}

/// `:countTokens`.
pub(super) fn count(path: &str, body: &Json) -> Option<(&'static str, Json)> {
    path.ends_with(":countTokens").then(|| {
        let contents = body.get("contents").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        ("gemini", json!({"totalTokens": conversation(contents, "parts").1}))
    })
}

fn ask(path: &str, body: &Json) -> Result<Ask, String> {
    let contents = body
        .get("contents")
        .and_then(Json::as_array)
        .filter(|contents| !contents.is_empty())
        .ok_or("* GenerateContentRequest.contents: contents is not specified")?;
    let (_, last) = path.rsplit_once("/models/").unwrap_or(("", path));
    let (model, operation) = last.rsplit_once(':').unwrap_or((last, ""));
    let system = body.get("systemInstruction").or_else(|| body.get("system_instruction"));
    let (prompt, input_tokens) = conversation(contents, "parts");
    Ok(Ask {
        model: model.to_owned(),
        prompt,
        input_tokens: input_tokens + tokens(&said(system.and_then(|system| system.get("parts")))),
        max_tokens: body.pointer("/generationConfig/maxOutputTokens").and_then(Json::as_u64),
        stream: operation == "streamGenerateContent",
        tool: chosen_tool(body),
        json: body.pointer("/generationConfig/responseMimeType").and_then(Json::as_str)
            == Some("application/json"),
        ..Ask::default()
    })
}

/// The first function that the client insists on (`mode: ANY`).
fn chosen_tool(body: &Json) -> Option<ToolCall> {
    let config = body
        .pointer("/toolConfig/functionCallingConfig")
        .or_else(|| body.pointer("/tool_config/function_calling_config"))?;
    if config.get("mode").and_then(Json::as_str) != Some("ANY") {
        return None;
    }
    let wanted = config.pointer("/allowedFunctionNames/0").and_then(Json::as_str);
    let tools = body
        .pointer("/tools/0/functionDeclarations")
        .or_else(|| body.pointer("/tools/0/function_declarations"))?;
    let name = |tool: &Json| tool.get("name").and_then(Json::as_str).map(str::to_owned);
    let tool = tools.as_array()?.iter().find(|tool| wanted.is_none() || name(tool).as_deref() == wanted)?;
    Some(call_tool(&name(tool)?, tool.get("parameters")))
}

fn finish(ask: &Ask) -> &'static str {
    if ask.is_cut() { "MAX_TOKENS" } else { "STOP" }
}

fn generated(ask: &Ask, part: Json, finish: Option<&str>, output: u64) -> Json {
    json!({
        "candidates": [{"content": {"parts": [part], "role": "model"}, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": ask.input_tokens, "candidatesTokenCount": output,
                          "totalTokenCount": ask.input_tokens + output},
        "modelVersion": ask.model,
        "responseId": ask.id(""),
    })
}

fn whole(ask: &Ask) -> Json {
    let part = match &ask.tool {
        Some(call) => json!({"functionCall": {"name": call.name, "args": call.arguments}}),
        None => json!({"text": ask.text()}),
    };
    generated(ask, part, Some(finish(ask)), ask.output_tokens())
}

fn pieces(ask: &Ask) -> Vec<Json> {
    if ask.tool.is_some() {
        return vec![whole(ask)];
    }
    let words = ask.words();
    let last = words.len().saturating_sub(1);
    let mut written = String::new();
    words
        .into_iter()
        .enumerate()
        .map(|(place, word)| {
            written.push_str(&word);
            generated(ask, json!({"text": word}), (place == last).then(|| finish(ask)), tokens(&written))
        })
        .collect()
}
