//! Chats through the gateway: providers, streams, fail-over, refusals, secrets. The mock provider answers.

use super::support::{Answer, Gateway, agent, http};
use serde_json::{Value as Json, json};

/// A gateway with the mock provider in the place of every provider.
pub fn gateway() -> Gateway {
    Gateway::with(&["--mock-llm"])
}

/// A route `/NAME` with a plugin.
pub fn route(gateway: &Gateway, name: &str, plugin: &str, config: Json) {
    let put = |path: String, body: Json| {
        let answer = http("PUT", &format!("{}{path}", gateway.admin), &[], &body);
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    put(format!("/services/{name}"), json!({"url": "http://127.0.0.1:1"}));
    put(format!("/routes/{name}"), json!({"paths": [format!("/{name}")], "service": {"name": name}}));
    add(gateway, name, plugin, config);
}

/// One more plugin on the route `/NAME`.
pub fn add(gateway: &Gateway, name: &str, plugin: &str, config: Json) {
    let url = format!("{}/routes/{name}/plugins", gateway.admin);
    let answer = http("POST", &url, &[], &json!({"name": plugin, "config": config}));
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// `config` of ai-proxy, or a target.
pub fn target(provider: &str, model: &str) -> Json {
    let mut target = json!({
        "route_type": "llm/v1/chat",
        "auth": {"header_name": "Authorization", "header_value": "Bearer provider-hush"},
        "model": {"provider": provider, "name": model},
    });
    match provider {
        "anthropic" => target["model"]["options"] = json!({"anthropic_version": "2023-06-01"}),
        "bedrock" => {
            target["model"]["options"] = json!({"bedrock": {"aws_region": "eu-west-1"}});
            target["auth"] = json!({"aws_access_key_id": "id", "aws_secret_access_key": "provider-hush"});
        }
        _ => {}
    }
    target
}

/// A chat of one message.
pub fn chat(gateway: &Gateway, name: &str, said: &str) -> Answer {
    let body = json!({"messages": [{"role": "user", "content": said}]});
    http("POST", &format!("{}/{name}", gateway.proxy), &[], &body)
}

/// What was answered.
#[track_caller]
pub fn said(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    json["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}

#[test]
fn every_provider_answers_in_openais_shape() {
    let gateway = gateway();
    for provider in ["openai", "anthropic", "gemini", "cohere", "bedrock", "deepseek"] {
        route(&gateway, provider, "ai-proxy", target(provider, "some-model"));
        let answer = chat(&gateway, provider, "hello there");
        assert_eq!(
            said(&answer),
            "This is some-model as the mock provider plays it. You said: hello there",
            "{provider}"
        );
        let body = answer.json();
        assert_eq!(body["object"], "chat.completion", "{provider}");
        assert_eq!(body["choices"][0]["finish_reason"], "stop", "{provider}");
        assert_eq!(body["usage"]["prompt_tokens"], 3, "{provider}");
        assert!(body["id"].is_string() && body["created"].is_u64(), "{provider}: {body}");
        assert_eq!(answer.header("x-kong-llm-model"), Some(format!("{provider}/some-model").as_str()));
    }
}

#[test]
fn embeddings_of_every_provider_come_in_openais_shape() {
    let gateway = gateway();
    for (provider, model) in [
        ("openai", "some-model"),
        ("cohere", "embed-v4"),
        ("gemini", "text-embedding-004"),
        ("bedrock", "cohere.embed-english-v3"),
        ("huggingface", "some/model"),
        ("mistral", "mistral-embed"),
    ] {
        let mut config = target(provider, model);
        config["route_type"] = "llm/v1/embeddings".into();
        if provider == "mistral" {
            config["model"]["options"] = json!({"mistral_format": "openai"});
        }
        route(&gateway, provider, "ai-proxy", config);
        let wish = json!({"model": model, "input": ["one text", "another"], "dimensions": 8});
        let answer = http("POST", &format!("{}/{provider}", gateway.proxy), &[], &wish);
        assert_eq!(answer.status, 200, "{provider}: {}", answer.text);
        let body = answer.json();
        assert_eq!(
            (&body["object"], body["data"].as_array().unwrap().len()),
            (&json!("list"), 2),
            "{provider}"
        );
        assert!(body["data"][1]["embedding"].as_array().unwrap().len() >= 8, "{provider}");
        assert!(body["usage"]["prompt_tokens"].as_u64().unwrap() > 0, "{provider}: {body}");
    }
}

#[test]
fn a_response_can_be_asked_for_again() {
    let gateway = gateway();
    let mut config = target("openai", "some-model");
    config["route_type"] = "llm/v1/responses".into();
    route(&gateway, "made", "ai-proxy", config);
    let url = format!("{}/made/responses", gateway.proxy);
    let made = http("POST", &url, &[], &json!({"input": "hello"}));
    assert_eq!(made.status, 200, "{}", made.text);
    let url = format!("{url}/{}", made.json()["id"].as_str().unwrap());
    let again = http("GET", &url, &[], &Json::Null);
    assert_eq!((again.status, again.json()), (200, made.json()));
    assert_eq!(http("DELETE", &url, &[], &Json::Null).status, 200);
    assert_eq!(http("GET", &url, &[], &Json::Null).status, 404);
}

/// The events of a stream, or what came before it broke off.
fn stream(gateway: &Gateway, name: &str) -> (Option<String>, String, bool) {
    use std::io::Read;
    let body = json!({"messages": [{"role": "user", "content": "stream this"}], "stream": true});
    let url = format!("{}/{name}", gateway.proxy);
    let mut answer =
        agent().post(&url).header("content-type", "application/json").send(body.to_string()).unwrap();
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let mut text = Vec::new();
    let whole = answer.body_mut().as_reader().read_to_end(&mut text).is_ok();
    (kind, String::from_utf8(text).unwrap(), whole)
}

#[test]
fn streams_come_as_openais_chunks() {
    let gateway = gateway();
    for provider in ["openai", "anthropic", "gemini", "cohere", "bedrock"] {
        route(&gateway, provider, "ai-proxy", target(provider, "some-model"));
        let (kind, events, whole) = stream(&gateway, provider);
        assert_eq!(kind.as_deref(), Some("text/event-stream"), "{provider}");
        assert!(whole && events.ends_with("data: [DONE]\n\n"), "{provider}: {events}");
        let chunks: Vec<Json> = events
            .split("\n\n")
            .filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok())
            .collect();
        let text: String =
            chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
        assert!(text.ends_with("You said: stream this"), "{provider}: {text}");
        assert!(chunks.iter().any(|c| c["choices"][0]["finish_reason"] == "stop"), "{provider}: {events}");
        assert_eq!(chunks.last().unwrap()["usage"]["prompt_tokens"], 3, "{provider}: {events}");
    }
}

#[test]
fn a_stream_that_breaks_off_is_cut_for_the_client_too() {
    let gateway = gateway();
    route(&gateway, "cut", "ai-proxy", target("anthropic", "mock-cut-5"));
    let (_, events, whole) = stream(&gateway, "cut");
    assert!(!whole, "{events}");
    assert!(events.contains("chat.completion.chunk") && !events.contains("[DONE]"), "{events}");
    // the gateway goes on
    route(&gateway, "well", "ai-proxy", target("openai", "m"));
    assert!(said(&chat(&gateway, "well", "x")).ends_with("You said: x"));
}

#[test]
fn errors_of_a_provider_pass_with_their_status() {
    let gateway = gateway();
    route(&gateway, "down", "ai-proxy", target("openai", "mock-fail-503"));
    let answer = chat(&gateway, "down", "x");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["error"]["type"], "server_error", "{}", answer.text);
}

#[test]
fn what_is_no_chat_is_refused() {
    let gateway = gateway();
    let mut config = target("openai", "gpt-x");
    config["max_request_body_size"] = 300.into();
    config["response_streaming"] = "deny".into();
    route(&gateway, "chat", "ai-proxy", config);
    let url = format!("{}/chat", gateway.proxy);
    let message = |body: Json| {
        let answer = http("POST", &url, &[], &body);
        (answer.status, answer.json()["error"]["message"].as_str().unwrap_or(&answer.text).to_owned())
    };
    let refused = |text: &str| (400, text.to_owned());
    assert_eq!(message(json!({"x": 1})), refused("request body doesn't contain valid prompts"));
    assert_eq!(message(json!([1])), refused("request body doesn't contain valid prompts"));
    let mut hello = json!({"messages": [{"role": "user", "content": "hi"}]});
    hello["model"] = "other".into();
    assert_eq!(message(hello.clone()), refused("cannot use own model - must be: gpt-x"));
    hello["model"] = "gpt-x".into();
    hello["stream"] = true.into();
    assert_eq!(message(hello.clone()), refused("response streaming is not enabled for this LLM"));
    hello["messages"][0]["content"] = "x".repeat(400).into();
    assert_eq!(message(hello).0, 413);
}

#[test]
fn the_providers_secret_stays_inside() {
    let gateway = gateway();
    let mut config = target("openai", "m");
    config["logging"] = json!({"log_statistics": true, "log_payloads": true});
    route(&gateway, "chat", "ai-proxy", config);
    let answer = chat(&gateway, "chat", "x");
    assert_eq!(answer.status, 200);
    let shown = format!("{answer:?} {}", gateway.log());
    assert!(!shown.contains("provider-hush"), "{shown}");
}

#[test]
fn a_native_format_passes_as_it_is() {
    let gateway = gateway();
    let mut config = target("anthropic", "claude");
    config["llm_format"] = "anthropic".into();
    route(&gateway, "native", "ai-proxy", config);
    let body = json!({"model": "claude", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]});
    let answer = http("POST", &format!("{}/native", gateway.proxy), &[], &body);
    assert_eq!(answer.json()["content"][0]["type"], "text", "{}", answer.text);
    assert_eq!(answer.json()["stop_reason"], "end_turn");
}

fn advanced(gateway: &Gateway, algorithm: &str, criteria: &[&str], targets: Vec<Json>) {
    let config = json!({
        "balancer": {"algorithm": algorithm, "failover_criteria": criteria, "read_timeout": 300},
        "targets": targets,
    });
    route(gateway, "many", "ai-proxy-advanced", config);
}

fn weighted(mut target: Json, weight: u32) -> Json {
    target["weight"] = weight.into();
    target
}

#[test]
fn another_provider_follows_a_failed_one() {
    let gateway = gateway();
    let targets = vec![
        weighted(target("openai", "mock-fail-429"), 100),
        weighted(target("openai", "mock-stall"), 50),
        weighted(target("anthropic", "claude"), 10),
    ];
    advanced(&gateway, "priority", &["error", "timeout", "http_429", "non_idempotent"], targets);
    let answer = chat(&gateway, "many", "who answers?");
    assert!(said(&answer).starts_with("This is claude "), "{}", answer.text);
    assert_eq!(answer.header("x-kong-llm-model"), Some("anthropic/claude"));
}

#[test]
fn a_chat_that_was_sent_is_not_sent_again_unasked() {
    let gateway = gateway();
    let targets =
        vec![weighted(target("openai", "mock-fail-429"), 100), weighted(target("anthropic", "claude"), 10)];
    advanced(&gateway, "priority", &["error", "timeout", "http_429"], targets);
    assert_eq!(chat(&gateway, "many", "x").status, 429);
}

#[test]
fn turns_follow_the_weights() {
    let gateway = gateway();
    let targets = vec![weighted(target("openai", "big"), 3), weighted(target("anthropic", "small"), 1)];
    advanced(&gateway, "round-robin", &["error"], targets);
    let models: Vec<String> =
        (0..8).map(|_| chat(&gateway, "many", "x").json()["model"].as_str().unwrap().to_owned()).collect();
    assert_eq!(models.iter().filter(|model| *model == "big").count(), 6, "{models:?}");
}

#[test]
fn the_same_value_goes_to_the_same_target_and_another_follows_its_failure() {
    let gateway = gateway();
    let config = json!({
        "balancer": {"algorithm": "consistent-hashing", "hash_on_header": "x-user", "retries": 1,
                     "failover_criteria": ["http_500", "non_idempotent"]},
        "targets": [target("openai", "a"), target("openai", "b"), target("openai", "c")],
    });
    route(&gateway, "hashed", "ai-proxy-advanced", config);
    let ask = |user: &str, orders: &str| {
        let body = json!({"messages": [{"role": "user", "content": "x"}]});
        let headers = [("x-user", user), ("x-mock-llm", orders)];
        http("POST", &format!("{}/hashed", gateway.proxy), &headers, &body)
    };
    let model = |answer: &Answer| answer.json()["model"].as_str().unwrap_or_default().to_owned();
    let first = model(&ask("anna", ""));
    assert!((0..4).all(|_| model(&ask("anna", "")) == first));
    let next = model(&ask("anna", &format!("fail=500@{first}")));
    assert!(!next.is_empty() && next != first);
    // with one retry the third target is not asked
    let failing = format!("fail=500@{first}, fail=500@{next}");
    assert_eq!(ask("anna", &failing).status, 500);
}

#[test]
fn the_faster_and_the_less_used_target_is_taken() {
    let gateway = gateway();
    for algorithm in ["lowest-latency", "lowest-usage"] {
        let config = json!({
            "balancer": {"algorithm": algorithm, "latency_strategy": "e2e", "tokens_count_strategy": "total-tokens"},
            "targets": [target("openai", "a-model-with-a-name-that-takes-many-tokens"), target("openai", "b")],
        });
        route(&gateway, algorithm, "ai-proxy-advanced", config);
        let ask = || {
            let body = json!({"messages": [{"role": "user", "content": "x"}]});
            let slow = [("x-mock-llm", "stall=80ms@a-model-with-a-name-that-takes-many-tokens")];
            http("POST", &format!("{}/{algorithm}", gateway.proxy), &slow, &body).json()["model"].clone()
        };
        let answers: Vec<Json> = (0..8).map(|_| ask()).collect();
        let better = answers.iter().filter(|model| *model == "b").count();
        assert!((4..8).contains(&better), "{algorithm}: {answers:?}");
    }
}
