//! Every adapter against requests, answers and streams in its provider's format, in both dialects.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::value::Value;
use proptest::prelude::*;
use serde_json::json;

fn call(model: Json, route: Route, streaming: bool, dialect: &'static Dialect) -> Call {
    let target = Target::read(&Value::from(json!({"route_type": route.name(), "model": model})));
    Call {
        model: target.model,
        route,
        streaming,
        usage_chunk: false,
        rich: false,
        estimate: 0,
        dialect,
        now: 7,
        id: "fresh".into(),
    }
}

fn named(provider: &str) -> Json {
    json!({"provider": provider, "name": "m"})
}

fn sent(call: &Call, body: Json) -> Json {
    let Json::Object(body) = body else { panic!("no object") };
    provider(&call.model.provider).unwrap().request(call, body).unwrap()
}

fn answered(call: &Call, body: Json) -> Json {
    let answer = provider(&call.model.provider).unwrap().answer(call, body.to_string().as_bytes()).unwrap();
    answer.body.unwrap_or(body)
}

fn chunks(call: &Call, content_type: &str, pieces: &[&[u8]]) -> Vec<Chunk> {
    let provider = provider(&call.model.provider).unwrap();
    let mut decoder = Decoder::new(call.clone(), provider, Some(content_type), false);
    let mut chunks = Vec::new();
    for piece in pieces {
        chunks.extend(decoder.feed(piece).unwrap());
    }
    chunks.extend(decoder.finish());
    chunks
}

/// The text of a stream, its finish reason, its usage and whether it ended with `[DONE]`.
fn told(chunks: &[Chunk]) -> (String, Option<String>, Json, bool) {
    let (mut said, mut finish, mut usage, mut done) = (String::new(), None, Json::Null, false);
    for chunk in chunks {
        let value = match chunk {
            Chunk::Done => {
                done = true;
                continue;
            }
            Chunk::Text(text) => serde_json::from_str(text).unwrap(),
            Chunk::Json(value) => value.clone(),
        };
        assert!(!done, "a chunk after the end");
        assert_eq!(value["object"], "chat.completion.chunk");
        assert!(value["id"].is_string() && value["created"].is_number() && value["choices"].is_array());
        said.push_str(value.pointer("/choices/0/delta/content").and_then(Json::as_str).unwrap_or_default());
        if let Some(reason) = value.pointer("/choices/0/finish_reason").and_then(Json::as_str) {
            finish = Some(reason.to_owned());
        }
        if let Some(found) = value.get("usage").filter(|found| !found.is_null()) {
            usage = found.clone();
        }
    }
    (said, finish, usage, done)
}

fn conversation() -> Json {
    json!({
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            ]},
            {"role": "assistant", "content": "let me see", "tool_calls": [
                {"id": "call_9", "type": "function", "function": {"name": "look", "arguments": "{\"at\":\"it\"}"}},
            ]},
            {"role": "tool", "tool_call_id": "call_9", "content": "{\"seen\":true}"},
            {"role": "user", "content": "and?"},
        ],
        "max_tokens": 5, "temperature": 0.5, "top_p": 0.25, "stop": "END",
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
    })
}

#[test]
fn configured_options_win_over_the_requests_own() {
    let model = json!({"provider": "openai", "name": "m", "options": {"max_tokens": 3, "temperature": 1.0}});
    let call = call(model, Route::Chat, false, &KONG_3_10);
    assert_eq!(
        sent(&call, json!({"messages": [], "max_tokens": 9, "top_k": 4, "n": 2})),
        json!({"messages": [], "max_tokens": 3, "temperature": 1, "n": 2, "model": "m", "stream": false})
    );
}

#[test]
fn anthropic_gets_the_whole_conversation() {
    let call = call(named("anthropic"), Route::Chat, false, &KONG_3_14);
    assert_eq!(
        sent(&call, conversation()),
        json!({
            "model": "m", "stream": false, "system": "be brief",
            "max_tokens": 5, "temperature": 0.5, "top_p": 0.25, "stop_sequences": ["END"],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                ]},
                {"role": "assistant", "content": [
                    {"type": "text", "text": "let me see"},
                    {"type": "tool_use", "id": "call_9", "name": "look", "input": {"at": "it"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "call_9", "content": "{\"seen\":true}"},
                ]},
                {"role": "user", "content": "and?"},
            ],
            "tools": [{"name": "look", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "tool", "name": "look"},
        })
    );
}

#[test]
fn kong_3_10_gives_anthropic_less() {
    let call = call(named("anthropic"), Route::Chat, true, &KONG_3_10);
    let sent = sent(&call, conversation());
    assert_eq!(sent["stream"], true);
    assert!(sent.get("top_p").is_none() && sent.get("stop_sequences").is_none());
    assert_eq!(sent["messages"][1]["content"][0]["type"], "tool_use");
}

#[test]
fn anthropic_needs_a_limit() {
    let call = call(named("anthropic"), Route::Chat, false, &KONG_3_14);
    let hello = json!({"messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(sent(&call, hello)["max_tokens"], 4096);
}

#[test]
fn gemini_gets_the_whole_conversation() {
    let call = call(named("gemini"), Route::Chat, false, &KONG_3_14);
    assert_eq!(
        sent(&call, conversation()),
        json!({
            "systemInstruction": {"parts": [{"text": "be brief"}]},
            "contents": [
                {"role": "user", "parts": [
                    {"text": "what is this?"}, {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
                ]},
                {"role": "model", "parts": [
                    {"text": "let me see"}, {"functionCall": {"name": "look", "args": {"at": "it"}}},
                ]},
                {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"seen": true}}}]},
                {"role": "user", "parts": [{"text": "and?"}]},
            ],
            "generationConfig": {"maxOutputTokens": 5, "temperature": 0.5, "topP": 0.25, "stopSequences": ["END"]},
            "tools": [{"function_declarations": [{"name": "look", "parameters": {"type": "object"}}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
        })
    );
}

#[test]
fn bedrock_gets_the_whole_conversation() {
    let call = call(named("bedrock"), Route::Chat, false, &KONG_3_14);
    assert_eq!(
        sent(&call, conversation()),
        json!({
            "system": [{"text": "be brief"}],
            "messages": [
                {"role": "user", "content": [
                    {"text": "what is this?"}, {"image": {"format": "png", "source": {"bytes": "QUJD"}}},
                ]},
                {"role": "assistant", "content": [
                    {"text": "let me see"},
                    {"toolUse": {"toolUseId": "call_9", "name": "look", "input": {"at": "it"}}},
                ]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "call_9", "content": [{"json": {"seen": true}}]}},
                ]},
                {"role": "user", "content": [{"text": "and?"}]},
            ],
            "inferenceConfig": {"maxTokens": 5, "temperature": 0.5, "topP": 0.25, "stopSequences": ["END"]},
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}],
                "toolChoice": {"tool": {"name": "look"}},
            },
        })
    );
}

#[test]
fn an_unsuitable_request_is_refused() {
    let model = json!({"provider": "bedrock", "name": "amazon.titan-text-lite-v1"});
    let call = call(model, Route::Chat, false, &KONG_3_14);
    let Json::Object(body) = conversation() else { panic!("no object") };
    let refused = provider("bedrock").unwrap().request(&call, body).unwrap_err().to_string();
    assert!(refused.contains("system prompts are unsupported"), "{refused}");
}

#[test]
fn every_answer_has_what_an_sdk_reads() {
    let tool = json!({"city": "Bonn"});
    let answers = [
        (
            "anthropic",
            json!({"id": "msg_1", "model": "m", "stop_reason": "tool_use",
            "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": tool}],
            "usage": {"input_tokens": 3, "output_tokens": 4}}),
        ),
        (
            "gemini",
            json!({"candidates": [{"finishReason": "STOP", "content": {"parts": [
            {"functionCall": {"name": "look", "args": tool, "id": "t1"}}]}}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}}),
        ),
        (
            "bedrock",
            json!({"stopReason": "tool_use", "output": {"message": {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "t1", "name": "look", "input": tool}}]}},
            "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}}),
        ),
        (
            "cohere",
            json!({"id": "c1", "finish_reason": "TOOL_CALL", "message": {"tool_calls": [{"id": "t1",
            "type": "function", "function": {"name": "look", "arguments": tool.to_string()}}]},
            "usage": {"billed_units": {"input_tokens": 3, "output_tokens": 4}}}),
        ),
        (
            "ollama",
            json!({"model": "m", "done": true, "done_reason": "stop", "message": {"role": "assistant",
            "content": "", "tool_calls": [{"id": "t1", "function": {"name": "look", "arguments": tool}}]},
            "prompt_eval_count": 3, "eval_count": 4}),
        ),
    ];
    for (provider, answer) in answers {
        let call = call(named(provider), Route::Chat, false, &KONG_3_14);
        let answer = answered(&call, answer);
        assert!(answer["id"].as_str().is_some_and(|id| !id.is_empty()), "{provider}: {answer}");
        assert_eq!(answer["object"], "chat.completion", "{provider}");
        assert!(answer["created"].is_u64() && answer["model"].is_string(), "{provider}: {answer}");
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{provider}");
        assert_eq!(choice["message"]["role"], "assistant", "{provider}");
        let made = &choice["message"]["tool_calls"][0];
        assert_eq!(made["id"], "t1", "{provider}");
        assert_eq!(made["type"], "function", "{provider}");
        assert_eq!(
            made["function"],
            json!({"name": "look", "arguments": "{\"city\":\"Bonn\"}"}),
            "{provider}"
        );
        assert_eq!(
            answer["usage"],
            json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}),
            "{provider}"
        );
    }
}

#[test]
fn a_broken_answer_names_provider_and_route() {
    for (name, reason) in [
        ("anthropic", "'content' not in anthropic://llm/v1/chat response"),
        ("openai", "'choices' not in llm/v1/chat response"),
        ("cohere", "'text' or 'generations' missing from cohere response body"),
        ("gemini", "no generation candidates received from Gemini, or max_tokens too short"),
        ("bedrock", "no generation candidates received from Bedrock, or max_tokens too short"),
    ] {
        let call = call(named(name), Route::Chat, false, &KONG_3_10);
        let error = provider(name).unwrap().answer(&call, b"{}").unwrap_err().to_string();
        assert_eq!(error, format!("transformation failed from type {name}://llm/v1/chat: {reason}"));
    }
}

#[test]
fn raw_llama_gets_system_prompt_question_and_answers_in_its_own_marks() {
    let body = || {
        json!({"messages": [
            {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
            {"role": "system", "content": "be brief"}, {"role": "user", "content": "three"},
        ]})
    };
    let inputs = |dialect, body| {
        let call = call(named("llama2"), Route::Chat, false, dialect);
        sent(&call, body)["inputs"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        inputs(&KONG_3_14, body()),
        "<s>[INST] one [/INST] two </s><s>[INST] <<SYS>>\nbe brief\n<</SYS>>\n\nthree [/INST]"
    );
    assert_eq!(
        inputs(&KONG_3_10, body()),
        "<s>[INST] <<SYS>> one <</SYS>> two [/INST] be brief </s> <s>[INST] three [/INST]"
    );
}

#[test]
fn anthropics_older_completions_need_a_limit_too() {
    let call = |dialect| call(named("anthropic"), Route::Completions, false, dialect);
    let body = || json!({"prompt": "x", "stop": "END", "top_p": 0.5});
    assert_eq!(
        sent(&call(&KONG_3_14), body()),
        json!({"prompt": "Human: x\n\nAssistant:", "model": "m", "stream": false,
               "max_tokens_to_sample": 4096, "stop_sequences": ["END"], "top_p": 0.5})
    );
    assert_eq!(
        sent(&call(&KONG_3_10), body()),
        json!({"prompt": "Human: x\n\nAssistant:", "model": "m", "stream": false})
    );
}

#[test]
fn generated_text_is_counted_and_tells_why_it_ended() {
    let mut call = call(named("huggingface"), Route::Completions, false, &KONG_3_14);
    call.estimate = 2;
    let details = json!({"finish_reason": "length", "generated_tokens": 3});
    let answer = answered(&call, json!([{"generated_text": "a b c", "details": details}]));
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"], json!({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}));
    let answer = answered(&call, json!([{"generated_text": "eight ch"}]));
    assert_eq!(answer["usage"]["completion_tokens"], 2);
}

#[test]
fn a_usage_that_was_asked_for_stands_in_a_chunk_of_its_own() {
    let mut call = call(named("mistral"), Route::Chat, true, &KONG_3_14);
    call.usage_chunk = true;
    let body = json!({"messages": [], "stream_options": {"include_usage": true}});
    assert!(sent(&call, body).get("stream_options").is_none());
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
    let head = json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m"});
    let mut last = head.clone();
    last["choices"] = json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]);
    last["usage"] = usage.clone();
    let events = format!("data: {last}\n\ndata: [DONE]\n\n");
    let chunks = chunks(&call, "text/event-stream", &[events.as_bytes()]);
    let [Chunk::Json(told), Chunk::Json(counted), Chunk::Done] = chunks.as_slice() else {
        panic!("{chunks:?}")
    };
    assert!(told.get("usage").is_none() && told["choices"][0]["finish_reason"] == "stop", "{told}");
    assert_eq!((&counted["choices"], &counted["usage"]), (&json!([]), &usage));
}

#[test]
fn errors_midway_are_told() {
    for (provider, kind, event) in [
        (
            "cohere",
            "application/stream+json",
            "{\"event_type\":\"stream-end\",\"finish_reason\":\"ERROR\",\"response\":{\"message\":\"gone\"}}\n",
        ),
        (
            "cohere",
            "text/event-stream",
            "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"gone\"}}\n\n",
        ),
        ("llama2", "text/event-stream", "data: {\"error\":\"gone\",\"error_type\":\"generation\"}\n\n"),
    ] {
        let call = call(named(provider), Route::Chat, true, &KONG_3_14);
        let chunks = chunks(&call, kind, &[event.as_bytes()]);
        let [Chunk::Json(error)] = chunks.as_slice() else { panic!("{provider}: {chunks:?}") };
        assert_eq!(error["error"]["message"], "gone", "{provider}");
    }
}

#[test]
fn kong_3_10_counts_neither_caches_nor_thoughts() {
    let counted = |provider: &str, answer: Json| {
        answered(&call(named(provider), Route::Chat, false, &KONG_3_10), answer)["usage"].clone()
    };
    let anthropics = counted(
        "anthropic",
        json!({"content": [{"type": "text", "text": "x"}], "usage": {"input_tokens": 2,
            "cache_read_input_tokens": 10, "output_tokens": 1}}),
    );
    let geminis = counted(
        "gemini",
        json!({"candidates": [{"content": {"parts": [{"text": "x"}]}}], "usageMetadata": {
            "promptTokenCount": 2, "candidatesTokenCount": 1, "thoughtsTokenCount": 4,
            "cachedContentTokenCount": 1, "totalTokenCount": 3}}),
    );
    let want = json!({"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3});
    assert_eq!((&anthropics, &geminis), (&want, &want));
}

#[test]
fn kong_3_10_tells_geminis_reason_beside_the_last_text() {
    let event = |text: &str, reason: Json| {
        let candidate = json!({"content": {"parts": [{"text": text}]}, "finishReason": reason});
        format!("data: {}\n\n", json!({"candidates": [candidate]}))
    };
    let events = event("a", Json::Null) + &event("b", "MAX_TOKENS".into());
    let call = call(named("gemini"), Route::Chat, true, &KONG_3_10);
    let chunks = chunks(&call, "text/event-stream", &[events.as_bytes()]);
    let [Chunk::Json(first), Chunk::Json(last)] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert_eq!(first["choices"][0]["finish_reason"], Json::Null);
    assert_eq!(last["choices"][0]["finish_reason"], "length");
}

#[test]
fn results_of_one_turn_stand_in_one_message() {
    let made = |id: &str| json!({"id": id, "type": "function", "function": {"name": id, "arguments": "{}"}});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "{\"a\":1}"});
    for (provider, list, parts) in [
        ("anthropic", "messages", "content"),
        ("bedrock", "messages", "content"),
        ("gemini", "contents", "parts"),
    ] {
        let body = json!({"messages": [
            {"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": [made("a"), made("b")]},
            result("a"), result("b"), {"role": "user", "content": "and?"},
        ]});
        let request = sent(&call(named(provider), Route::Chat, false, &KONG_3_14), body);
        let turns = request[list].as_array().unwrap();
        assert_eq!(turns.len(), 4, "{provider}: {request}");
        assert_eq!(turns[2][parts].as_array().map(Vec::len), Some(2), "{provider}: {request}");
    }
}

#[test]
fn images_by_address_are_typed_or_refused() {
    let body = |url: &str| {
        let parts = json!([{"type": "image_url", "image_url": {"url": url}}]);
        json!({"messages": [{"role": "user", "content": parts}]})
    };
    let kind = |dialect, url: &str| {
        let call = call(named("gemini"), Route::Chat, false, dialect);
        sent(&call, body(url)).pointer("/contents/0/parts/0/fileData/mimeType").cloned().unwrap()
    };
    assert_eq!(kind(&KONG_3_14, "https://example.com/a.JPG?x=1.png"), "image/jpeg");
    assert_eq!(kind(&KONG_3_14, "https://example.com/a"), "image/generic");
    assert_eq!(kind(&KONG_3_10, "https://example.com/a.png"), "image/generic");
    let call = call(named("bedrock"), Route::Chat, false, &KONG_3_14);
    let Json::Object(body) = body("https://example.com/a.png") else { panic!("no object") };
    let refused = provider("bedrock").unwrap().request(&call, body).unwrap_err().to_string();
    assert!(refused.contains("data: URLs only"), "{refused}");
}

#[test]
fn bedrock_gets_tools_and_calls_without_arguments() {
    let body = json!({
        "tools": [{"type": "function", "function": {"name": "now"}}],
        "messages": [{"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "now", "arguments": ""}}]}],
    });
    let request = sent(&call(named("bedrock"), Route::Chat, false, &KONG_3_14), body);
    assert_eq!(request["messages"][0]["content"][0]["toolUse"]["input"], json!({}));
    let schema = &request["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"];
    assert_eq!(*schema, json!({"type": "object", "properties": {}}));
}

#[test]
fn cached_tokens_are_prompt_tokens() {
    let call = call(named("anthropic"), Route::Chat, false, &KONG_3_14);
    let answer = answered(
        &call,
        json!({"content": [{"type": "text", "text": "x"}], "usage": {"input_tokens": 2,
            "cache_read_input_tokens": 10, "cache_creation_input_tokens": 5, "output_tokens": 1}}),
    );
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": 17, "completion_tokens": 1, "total_tokens": 18,
               "prompt_tokens_details": {"cached_tokens": 10}})
    );
}

/// A stream of each provider that says `Héllo`, ends regularly, and counts 3 and 4 tokens.
fn streams() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let aws = [
        aws_message("messageStart", br#"{"role":"assistant"}"#),
        aws_message("contentBlockDelta", "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"Hé\"}}".as_bytes()),
        aws_message("contentBlockDelta", br#"{"contentBlockIndex":0,"delta":{"text":"llo"}}"#),
        aws_message("contentBlockStop", b"{\"contentBlockIndex\":0}"),
        aws_message("messageStop", br#"{"stopReason":"end_turn"}"#),
        aws_message("metadata", br#"{"usage":{"inputTokens":3,"outputTokens":4,"totalTokens":7}}"#),
    ];
    let piece = |content: &str| {
        json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
               "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}]})
    };
    let (one, two) = (piece("Hé"), piece("llo"));
    let mut end = piece("");
    end["choices"][0]["finish_reason"] = "stop".into();
    let mut count = piece("");
    count["choices"] = json!([]);
    count["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
    let openai =
        [one, two, end, count].map(|chunk| format!("data: {chunk}\n\n")).concat() + "data: [DONE]\n\n";
    let gemini = |text: &str, finish: Option<&str>| {
        json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": finish}],
               "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}})
    };
    let (first, last) = (gemini("Hé", None), gemini("llo", Some("STOP")));
    vec![
        ("openai", "text/event-stream", openai.into_bytes()),
        (
            "anthropic",
            "text/event-stream",
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"role\":\"assistant\",\"model\":\"m\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\r\n\r\n\
             event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
             event: ping\ndata: {\"type\": \"ping\"}\n\n\
             event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hé\"}}\n\n\
             event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"llo\"}}\n\n\
             event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
             event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n\
             event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
                .into(),
        ),
        (
            "cohere",
            "application/stream+json",
            "{\"event_type\":\"stream-start\",\"generation_id\":\"g\"}\n\
             {\"event_type\":\"text-generation\",\"text\":\"Hé\"}\n\
             {\"event_type\":\"text-generation\",\"text\":\"llo\"}\n\
             {\"event_type\":\"stream-end\",\"finish_reason\":\"COMPLETE\",\"response\":{\"meta\":{\"billed_units\":{\"input_tokens\":3,\"output_tokens\":4}}}}\n"
                .into(),
        ),
        (
            "ollama",
            "application/x-ndjson",
            "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hé\"},\"done\":false}\n\
             {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"llo\"},\"done\":false}\n\
             {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":4}\n"
                .into(),
        ),
        ("gemini", "application/json", format!("[{first}\n,\r\n{last}]").into_bytes()),
        ("gemini", "text/event-stream", format!("data: {first}\r\n\r\ndata: {last}\r\n\r\n").into_bytes()),
        ("bedrock", "application/vnd.amazon.eventstream", aws.concat()),
    ]
}

#[test]
fn every_stream_tells_text_reason_and_usage() {
    for (provider, content_type, bytes) in streams() {
        let mut call = call(named(provider), Route::Chat, true, &KONG_3_14);
        let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
        let want = ("Héllo".to_owned(), Some("stop".to_owned()), usage, true);
        let found = chunks(&call, content_type, &[&bytes]);
        assert_eq!(told(&found), want, "{provider}");
        let choices = |chunk: &Chunk| match chunk {
            Chunk::Json(value) => value["choices"].as_array().unwrap().len(),
            _ => 1,
        };
        assert!(found.iter().all(|chunk| choices(chunk) == 1), "{provider}: a chunk without a choice");
        // a client that asks for it gets the usage in a chunk of its own, as from OpenAI
        call.usage_chunk = true;
        let found = chunks(&call, content_type, &[&bytes]);
        assert_eq!(told(&found), want, "{provider}");
        let last = match found.iter().rev().nth(1).unwrap() {
            Chunk::Json(value) => value.clone(),
            Chunk::Text(text) => serde_json::from_str(text).unwrap(),
            Chunk::Done => panic!("two ends"),
        };
        assert_eq!(last["choices"], json!([]), "{provider}");
    }
}

#[test]
fn a_stream_that_breaks_off_has_no_end() {
    for (provider, content_type, bytes) in streams() {
        let call = call(named(provider), Route::Chat, true, &KONG_3_14);
        let (_, finish, _, done) = told(&chunks(&call, content_type, &[&bytes[..bytes.len() / 2]]));
        assert!(finish.is_none() && !done, "{provider}");
    }
}

#[test]
fn streamed_tool_calls_can_be_put_together() {
    let anthropic = [
        json!({"type": "message_start", "message": {"id": "x", "role": "assistant"}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_start", "index": 1,
               "content_block": {"type": "tool_use", "id": "t1", "name": "look", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1,
               "delta": {"type": "input_json_delta", "partial_json": "{\"a\":"}}),
        json!({"type": "content_block_delta", "index": 1,
               "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}}),
        json!({"type": "message_stop"}),
    ]
    .map(|event| format!("data: {event}\n\n"))
    .concat();
    let bedrock = [
        aws_message("messageStart", br#"{"role":"assistant"}"#),
        aws_message(
            "contentBlockStart",
            br#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t1","name":"look"}}}"#,
        ),
        aws_message(
            "contentBlockDelta",
            br#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a\":1}"}}}"#,
        ),
        aws_message("messageStop", br#"{"stopReason":"tool_use"}"#),
        aws_message("metadata", br#"{"usage":{"inputTokens":1,"outputTokens":2}}"#),
    ]
    .concat();
    for (provider, content_type, bytes) in [
        ("anthropic", "text/event-stream", anthropic.into_bytes()),
        ("bedrock", "application/vnd.amazon.eventstream", bedrock),
    ] {
        let call = call(named(provider), Route::Chat, true, &KONG_3_14);
        let found = chunks(&call, content_type, &[&bytes]);
        let (mut name, mut arguments) = (String::new(), String::new());
        for chunk in &found {
            let Chunk::Json(value) = chunk else { continue };
            for made in
                value.pointer("/choices/0/delta/tool_calls").and_then(Json::as_array).into_iter().flatten()
            {
                assert_eq!(made["index"], 0, "{provider}");
                name.push_str(made.pointer("/function/name").and_then(Json::as_str).unwrap_or_default());
                arguments
                    .push_str(made.pointer("/function/arguments").and_then(Json::as_str).unwrap_or_default());
            }
        }
        assert_eq!((name.as_str(), arguments.as_str()), ("look", "{\"a\":1}"), "{provider}");
        assert_eq!(told(&found).1.as_deref(), Some("tool_calls"), "{provider}");
    }
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_chunks(
        which in 0usize..7,
        old in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..16),
    ) {
        let (provider, content_type, bytes) = streams().swap_remove(which);
        let dialect = if old { &KONG_3_10 } else { &KONG_3_14 };
        let call = call(named(provider), Route::Chat, true, dialect);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(chunks(&call, content_type, &pieces), chunks(&call, content_type, &[&bytes]));
    }
}
