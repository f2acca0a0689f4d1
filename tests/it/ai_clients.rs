//! What the clients of providers rely on: OpenAI's and Anthropic's SDKs against the gateway and the mock provider,
//! as HTTP.

use super::ai_proxy::{gateway, route, target};
use super::support::{Answer, Gateway, http};
use serde_json::{Value as Json, json};

/// Providers that know tools, images and schemas.
const PROVIDERS: [&str; 7] = ["openai", "anthropic", "gemini", "cohere", "bedrock", "mistral", "huggingface"];

/// A route for each of them, below its name.
fn providers() -> Gateway {
    let gateway = gateway();
    for provider in PROVIDERS {
        let mut target = target(provider, "some-model");
        if provider == "mistral" {
            target["model"]["options"] = json!({"mistral_format": "openai"});
        }
        route(&gateway, provider, "ai-proxy", target);
    }
    gateway
}

fn post(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: &Json) -> Answer {
    http("POST", &format!("{}/{path}", gateway.proxy), headers, body)
}

fn schema() -> Json {
    json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
           "required": ["city", "days"], "additionalProperties": false})
}

fn asks_tool() -> Json {
    json!({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "how is it?"}],
           "tools": [{"type": "function", "function": {"name": "look", "parameters": schema(), "strict": true}}],
           "tool_choice": {"type": "function", "function": {"name": "look"}}})
}

/// The chunks of a stream.
fn chunks(answer: &Answer) -> Vec<Json> {
    let events = answer.text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    events.filter(|event| *event != "[DONE]").map(|event| serde_json::from_str(event).unwrap()).collect()
}

#[test]
fn a_tool_is_called_and_its_result_answered() {
    let gateway = providers();
    for provider in PROVIDERS {
        let mut body = asks_tool();
        let answer = post(&gateway, provider, &[], &body);
        let choice = answer.json()["choices"][0].clone();
        assert_eq!(choice["finish_reason"], "tool_calls", "{provider}: {}", answer.text);
        let call = &choice["message"]["tool_calls"][0];
        assert_eq!(call["type"], "function", "{provider}");
        assert_eq!(call["function"]["name"], "look", "{provider}");
        assert!(answer.header("x-request-id").is_some(), "{provider}");
        let arguments: Json = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({"city": "mock", "days": 1}), "{provider}");
        let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "sunny"});
        body["messages"].as_array_mut().unwrap().extend([choice["message"].clone(), result]);
        body["tool_choice"] = "auto".into();
        let answer = post(&gateway, provider, &[], &body);
        let said = answer.json()["choices"][0]["message"]["content"].clone();
        assert!(said.as_str().is_some_and(|said| said.contains("sunny")), "{provider}: {}", answer.text);
    }
}

#[test]
fn a_streamed_tool_call_can_be_put_together() {
    let gateway = providers();
    for provider in PROVIDERS {
        let mut body = asks_tool();
        body["stream"] = true.into();
        body["stream_options"] = json!({"include_usage": true});
        let answer = post(&gateway, provider, &[], &body);
        let chunks = chunks(&answer);
        let ids: std::collections::HashSet<&str> =
            chunks.iter().map(|chunk| chunk["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1, "{provider}: {}", answer.text);
        assert!(
            chunks.iter().all(|chunk| chunk["model"].is_string() && chunk["created"].is_u64()),
            "{provider}"
        );
        let calls = || chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]);
        let text = |pointer: &str| -> String {
            calls().filter_map(|call| call.pointer(pointer).and_then(Json::as_str)).collect()
        };
        assert_eq!(text("/function/name"), "look", "{provider}: {}", answer.text);
        let arguments: Json = serde_json::from_str(&text("/function/arguments")).unwrap();
        assert_eq!(arguments, json!({"city": "mock", "days": 1}), "{provider}");
        assert!(!text("/id").is_empty(), "{provider}");
        let reasons: Vec<&str> =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
        assert_eq!(reasons, ["tool_calls"], "{provider}: {}", answer.text);
        let last = chunks.last().unwrap();
        assert_eq!(last["choices"], json!([]), "{provider}: {last}");
        assert!(last["usage"]["completion_tokens"].as_u64().unwrap() > 0, "{provider}: {last}");
    }
}

#[test]
fn an_answer_fits_the_schema_that_was_asked_for() {
    let gateway = providers();
    let body = json!({"messages": [{"role": "user", "content": "how is it?"}], "response_format":
        {"type": "json_schema", "json_schema": {"name": "weather", "strict": true, "schema": schema()}}});
    for provider in PROVIDERS {
        let answer = post(&gateway, provider, &[], &body);
        let said = answer.json()["choices"][0]["message"]["content"].clone();
        let said: Json = serde_json::from_str(said.as_str().unwrap_or(&answer.text)).unwrap();
        assert_eq!(said, json!({"city": "mock", "days": 1}), "{provider}");
    }
}

#[test]
fn errors_have_the_form_that_becomes_an_exception() {
    let gateway = providers();
    for provider in PROVIDERS {
        for (status, kind) in [(400, "invalid_request_error"), (429, "rate_limit"), (503, "_error")] {
            for stream in [false, true] {
                let body = json!({"messages": [{"role": "user", "content": "x"}], "stream": stream});
                let order = format!("fail={status}");
                let answer = post(&gateway, provider, &[("x-mock-llm", &order)], &body);
                assert_eq!(answer.status, status, "{provider}");
                assert_eq!(answer.header("content-type"), Some("application/json"), "{provider}");
                let error = &answer.json()["error"];
                let told = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
                assert!(told("message").contains("told to fail"), "{provider}: {}", answer.text);
                assert!(told("type").contains(kind), "{provider}: {}", answer.text);
                assert!(error.get("param").is_some() && error.get("code").is_some(), "{provider}");
                assert_eq!(answer.header("retry-after").is_some(), status == 429, "{provider}");
            }
        }
    }
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_told() {
    let gateway = providers();
    let body = json!({"messages": [{"role": "user", "content": "x"}], "stream": true});
    for provider in ["openai", "anthropic", "gemini"] {
        let answer = post(&gateway, provider, &[("x-mock-llm", "error=3")], &body);
        let chunks = chunks(&answer);
        let error = &chunks.last().unwrap()["error"];
        assert!(
            error["message"].as_str().is_some_and(|text| text.contains("told to fail")),
            "{}",
            answer.text
        );
        assert!(!answer.text.contains("[DONE]"), "{provider}: {}", answer.text);
    }
}

#[test]
fn streams_and_whole_answers_of_other_operations_pass() {
    let gateway = gateway();
    for (name, kind) in [
        ("embeddings", "llm/v1/embeddings"),
        ("responses", "llm/v1/responses"),
        ("completions", "llm/v1/completions"),
        ("images", "image/v1/images/generations"),
        ("speech", "audio/v1/audio/speech"),
    ] {
        let mut target = target("openai", "some-model");
        target["route_type"] = kind.into();
        route(&gateway, name, "ai-proxy", target);
    }
    let ask = |name: &str, body: Json| post(&gateway, name, &[], &body);
    let vectors = ask("embeddings", json!({"input": ["a", "b"], "dimensions": 8}));
    assert_eq!(vectors.json()["data"][1]["embedding"].as_array().map(Vec::len), Some(8), "{}", vectors.text);
    let response = ask("responses", json!({"input": "hello"}));
    assert_eq!(response.json()["status"], "completed", "{}", response.text);
    let events = ask("responses", json!({"input": "hello", "stream": true})).text;
    assert!(events.starts_with("event: response.created\ndata: {"), "{events}");
    assert!(events.contains("event: response.completed\n"), "{events}");
    let text = ask("completions", json!({"prompt": "hello"}));
    assert_eq!(text.json()["object"], "text_completion", "{}", text.text);
    let image = ask("images", json!({"prompt": "a cat"}));
    assert!(image.json()["data"][0]["b64_json"].is_string(), "{}", image.text);
    let speech = ask("speech", json!({"input": "hello", "voice": "alloy"}));
    assert_eq!(speech.header("content-type"), Some("audio/wav"), "{}", speech.text);
    let other = ask("images", json!({"prompt": "a cat", "model": "another"}));
    assert_eq!(other.json()["error"]["message"], "cannot use own model - must be: some-model");
}

#[test]
fn anthropics_client_speaks_its_own_format() {
    let gateway = gateway();
    let mut config = target("anthropic", "claude");
    config["llm_format"] = "anthropic".into();
    route(&gateway, "claude", "ai-proxy", config);
    let body = json!({"model": "claude", "max_tokens": 99, "system": [{"type": "text", "text": "be brief"}],
        "messages": [{"role": "user", "content": "hi"}], "tool_choice": {"type": "any"},
        "tools": [{"name": "look", "input_schema": schema()}]});
    let answer = post(&gateway, "claude/v1/messages", &[], &body);
    assert_eq!(answer.json()["content"][0]["input"], json!({"city": "mock", "days": 1}), "{}", answer.text);
    assert!(answer.header("request-id").is_some());
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let events = post(&gateway, "claude/v1/messages", &[], &streamed).text;
    let at = |event: &str| {
        events.find(&format!("event: {event}\n")).unwrap_or_else(|| panic!("{event}: {events}"))
    };
    assert!(at("message_start") < at("content_block_start") && at("message_delta") < at("message_stop"));
    let counted = post(&gateway, "claude/v1/messages/count_tokens", &[], &body);
    assert!(counted.json()["input_tokens"].as_u64().is_some_and(|count| count > 3), "{}", counted.text);
    let failed = post(&gateway, "claude/v1/messages", &[("x-mock-llm", "fail=529")], &body);
    assert_eq!((failed.status, &failed.json()["error"]["type"]), (529, &json!("overloaded_error")));
}

#[test]
fn a_credential_comes_from_the_environment() {
    let gateway = Gateway::with_env(&["--mock-llm"], &[("TEAM_OPENAI_KEY", "Bearer env-hush")]);
    let mut config = target("openai", "m");
    config["auth"]["header_value"] = "{vault://env/team-openai-key}".into();
    route(&gateway, "known", "ai-proxy", config.clone());
    config["auth"]["header_value"] = "{vault://env/unknown-key}".into();
    route(&gateway, "unknown", "ai-proxy", config);
    let body = json!({"messages": [{"role": "user", "content": "hi"}]});
    let answer = post(&gateway, "known", &[], &body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(post(&gateway, "unknown", &[], &body).status, 500);
    let log = gateway.log();
    assert!(log.contains("the environment variable UNKNOWN_KEY is not set"), "{log}");
    assert!(!format!("{answer:?} {log}").contains("env-hush"), "{log}");
}
