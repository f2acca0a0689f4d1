//! Gemini's generateContent.

use super::api::{Api, Found, Problem, Question, Wrong, texts};
use super::reply::{Ask, Choice, End, Tool, content_tokens, conversation, tokens};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

/// Streams as server-sent events (`alt=sse`).
pub(super) const GENERATE: Api = Api {
    name: "gemini",
    id_header: "x-request-id",
    stream_type: "text/event-stream",
    ask,
    whole,
    pieces: |ask| pieces(ask).into_iter().map(|piece| sse(&piece)).collect(),
    error,
    broken: sse,
};

/// Streams as one JSON array.
pub(super) const GENERATE_ARRAY: Api = Api {
    stream_type: "application/json",
    pieces: |ask| {
        let pieces = pieces(ask).into_iter().enumerate();
        let mut out: Vec<Bytes> = pieces
            .map(|(place, piece)| format!("{}{piece}", if place == 0 { "[" } else { ",\r\n" }).into())
            .collect();
        out.push(Bytes::from_static(b"]"));
        out
    },
    broken: |error| format!(",\r\n{error}]").into(),
    ..GENERATE
};

fn sse(event: &Json) -> Bytes {
    format!("data: {event}\r\n\r\n").into()
}

fn error(problem: &Problem<'_>) -> Json {
    let word = match problem.status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    json!({"error": {"code": problem.status.as_u16(), "message": problem.message, "status": word}})
}

/// `GET /v1beta/models`.
pub(super) fn models(path: &str) -> Option<Found> {
    let model = json!({"name": "models/gemini-2.5-flash", "displayName": "Gemini 2.5 Flash",
        "supportedGenerationMethods": ["generateContent", "countTokens"]});
    path.ends_with("/v1beta/models")
        .then(|| Found::json(&GENERATE, StatusCode::OK, &json!({"models": [model]})))
}

/// `:countTokens`.
pub(super) fn count(question: &Question<'_>) -> Option<Found> {
    question.path.ends_with(":countTokens").then(|| {
        let contents = question.body.get("contents").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        let counted = conversation(contents, "parts").tokens;
        Found::json(&GENERATE, StatusCode::OK, &json!({"totalTokens": counted}))
    })
}

/// A member by its name in camel or in snake case: Gemini reads both.
fn either<'a>(body: &'a Json, camel: &str, snake: &str) -> Option<&'a Json> {
    body.get(camel).or_else(|| body.get(snake))
}

fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let contents = body
        .get("contents")
        .and_then(Json::as_array)
        .filter(|contents| !contents.is_empty())
        .ok_or("* GenerateContentRequest.contents: contents is not specified")?;
    let (_, last) = question.path.rsplit_once("/models/").unwrap_or(("", "gemini-2.5-flash"));
    let (model, operation) = last.rsplit_once(':').unwrap_or((last, ""));
    let system = either(body, "systemInstruction", "system_instruction");
    let conversation = conversation(contents, "parts");
    let config = either(body, "generationConfig", "generation_config").cloned().unwrap_or_default();
    let wants_json = config.get("responseMimeType").and_then(Json::as_str) == Some("application/json");
    let schema = config.get("responseJsonSchema").or_else(|| config.get("responseSchema"));
    let tools = body.get("tools").and_then(Json::as_array).into_iter().flatten();
    let functions = tools
        .filter_map(|tool| either(tool, "functionDeclarations", "function_declarations")?.as_array())
        .flatten();
    let parameters =
        |tool: &Json| tool.get("parametersJsonSchema").or_else(|| tool.get("parameters")).cloned();
    Ok(Ask {
        model: model.to_owned(),
        prompt: conversation.prompt,
        input_tokens: conversation.tokens
            + content_tokens(system.and_then(|system| system.get("parts")))
            + body.get("tools").map_or(0, |tools| tokens(&tools.to_string())),
        max_tokens: config.get("maxOutputTokens").and_then(Json::as_u64),
        stop: texts(config.get("stopSequences")),
        stream: operation == "streamGenerateContent",
        tools: functions
            .filter_map(|tool| {
                let name = tool.get("name")?.as_str()?.to_owned();
                Some(Tool { name, parameters: parameters(tool).unwrap_or_default() })
            })
            .collect(),
        choice: choice(body),
        answers_tool: conversation.answers_tool,
        schema: wants_json.then(|| schema.cloned().unwrap_or_default()),
        ..Ask::default()
    })
}

/// Whether the client insists on a function (`mode: ANY`).
fn choice(body: &Json) -> Choice {
    let config = either(body, "toolConfig", "tool_config")
        .and_then(|config| either(config, "functionCallingConfig", "function_calling_config"));
    let Some(config) = config else { return Choice::Free };
    if config.get("mode").and_then(Json::as_str) != Some("ANY") {
        return Choice::Free;
    }
    let names = texts(either(config, "allowedFunctionNames", "allowed_function_names"));
    names.into_iter().next().map_or(Choice::Any, Choice::Named)
}

fn generated(ask: &Ask, part: Json, ended: bool, output: u64) -> Json {
    let reason = if ask.end == End::Length { "MAX_TOKENS" } else { "STOP" };
    json!({
        "candidates": [{"content": {"parts": [part], "role": "model"}, "finishReason": ended.then_some(reason),
                        "index": 0}],
        "usageMetadata": {"promptTokenCount": ask.input_tokens, "candidatesTokenCount": output,
                          "totalTokenCount": ask.input_tokens + output},
        "modelVersion": ask.model,
        "responseId": ask.id(""),
    })
}

fn whole(ask: &Ask) -> Json {
    let part = match &ask.call {
        Some(call) => json!({"functionCall": {"name": call.name, "args": call.arguments}}),
        None => json!({"text": ask.text}),
    };
    generated(ask, part, true, ask.output_tokens())
}

fn pieces(ask: &Ask) -> Vec<Json> {
    let last = ask.words().count().saturating_sub(1);
    if ask.call.is_some() || ask.text.is_empty() {
        return vec![whole(ask)];
    }
    let mut written = String::new();
    ask.words()
        .enumerate()
        .map(|(place, word)| {
            written.push_str(word);
            generated(ask, json!({"text": word}), place == last, tokens(&written))
        })
        .collect()
}
