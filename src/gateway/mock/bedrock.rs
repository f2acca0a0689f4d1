//! Bedrock's converse.

use super::api::{Api, Problem, Question, Wrong, texts};
use super::reply::{Ask, Choice, Tool, content_tokens, conversation, tokens};
use crate::gateway::llm::aws_message;
use bytes::Bytes;
use serde_json::{Value as Json, json};

pub(super) const CONVERSE: Api = Api {
    name: "bedrock",
    id_header: "x-amzn-requestid",
    stream_type: "application/vnd.amazon.eventstream",
    ask,
    whole,
    pieces,
    error: |problem: &Problem<'_>| json!({"message": problem.message}),
    broken: |error| aws_message("internalServerException", error.to_string().as_bytes()).into(),
};

fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let messages = body
        .get("messages")
        .and_then(Json::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or("Value null at 'messages' failed to satisfy constraint: Member must not be null")?;
    let (_, last) = question.path.rsplit_once("/model/").unwrap_or(("", "amazon.nova-lite-v1:0"));
    let (model, operation) = last.rsplit_once('/').unwrap_or((last, ""));
    let conversation = conversation(messages, "content");
    let tools = body.pointer("/toolConfig/tools").and_then(Json::as_array).into_iter().flatten();
    let choice = body.pointer("/toolConfig/toolChoice");
    let named = choice.and_then(|choice| choice.pointer("/tool/name")).and_then(Json::as_str);
    let schema = body.pointer("/outputConfig/textFormat/structure/jsonSchema/schema");
    Ok(Ask {
        model: percent_encoding::percent_decode_str(model).decode_utf8_lossy().into_owned(),
        prompt: conversation.prompt,
        input_tokens: conversation.tokens
            + content_tokens(body.get("system"))
            + body.get("toolConfig").map_or(0, |tools| tokens(&tools.to_string())),
        max_tokens: body.pointer("/inferenceConfig/maxTokens").and_then(Json::as_u64),
        stop: texts(body.pointer("/inferenceConfig/stopSequences")),
        stream: operation == "converse-stream",
        tools: tools
            .filter_map(|tool| {
                let name = tool.pointer("/toolSpec/name")?.as_str()?.to_owned();
                let parameters = tool.pointer("/toolSpec/inputSchema/json").cloned();
                Some(Tool { name, parameters: parameters.unwrap_or_default() })
            })
            .collect(),
        choice: match named {
            Some(name) => Choice::Named(name.to_owned()),
            None if choice.is_some_and(|choice| choice.get("any").is_some()) => Choice::Any,
            None => Choice::Free,
        },
        answers_tool: conversation.answers_tool,
        schema: schema.and_then(Json::as_str).and_then(|schema| serde_json::from_str(schema).ok()),
        ..Ask::default()
    })
}

fn stop_reason(ask: &Ask) -> &'static str {
    ask.end.word(["tool_use", "max_tokens", "stop_sequence", "end_turn"])
}

fn usage(ask: &Ask) -> Json {
    let output = ask.output_tokens();
    json!({"inputTokens": ask.input_tokens, "outputTokens": output, "totalTokens": ask.input_tokens + output})
}

fn whole(ask: &Ask) -> Json {
    let block = match &ask.call {
        Some(call) => json!({"toolUse": {"toolUseId": ask.id("tooluse_"), "name": call.name,
                                         "input": call.arguments}}),
        None => json!({"text": ask.text}),
    };
    json!({"output": {"message": {"role": "assistant", "content": [block]}},
        "stopReason": stop_reason(ask), "usage": usage(ask), "metrics": {"latencyMs": 1}})
}

fn pieces(ask: &Ask) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut tell =
        |kind: &str, event: Json| pieces.push(Bytes::from(aws_message(kind, event.to_string().as_bytes())));
    tell("messageStart", json!({"role": "assistant"}));
    let delta = |delta: Json| json!({"contentBlockIndex": 0, "delta": delta});
    match &ask.call {
        Some(call) => {
            let start = json!({"toolUse": {"toolUseId": ask.id("tooluse_"), "name": call.name}});
            tell("contentBlockStart", json!({"contentBlockIndex": 0, "start": start}));
            let input = json!({"toolUse": {"input": call.arguments.to_string()}});
            tell("contentBlockDelta", delta(input));
        }
        None => ask.words().for_each(|word| tell("contentBlockDelta", delta(json!({"text": word})))),
    }
    tell("contentBlockStop", json!({"contentBlockIndex": 0}));
    tell("messageStop", json!({"stopReason": stop_reason(ask)}));
    tell("metadata", json!({"usage": usage(ask), "metrics": {"latencyMs": 1}}));
    pieces
}
