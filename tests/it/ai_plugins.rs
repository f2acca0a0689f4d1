//! The plugins around a chat: prompts decorated, guarded and made of templates, tokens limited, bodies rewritten.

use super::ai_proxy::{add, chat, gateway, route, said, target};
use super::support::{http, redis_server};
use serde_json::{Value as Json, json};

#[test]
fn prompts_are_decorated_guarded_and_made_of_templates() {
    let gateway = gateway();
    route(&gateway, "chat", "ai-proxy", target("openai", "m"));
    add(
        &gateway,
        "chat",
        "ai-prompt-decorator",
        json!({
            "prompts": {"append": [{"role": "user", "content": "Be brief."}]},
        }),
    );
    add(&gateway, "chat", "ai-prompt-guard", json!({"deny_patterns": [".*wasps.*"]}));
    add(
        &gateway,
        "chat",
        "ai-prompt-template",
        json!({
            "allow_untemplated_requests": true,
            "templates": [{"name": "insect", "template":
                "{\"messages\": [{\"role\": \"user\", \"content\": \"Tell me about {{name}}.\"}]}"}],
        }),
    );
    let url = format!("{}/chat", gateway.proxy);
    let templated = |name: &str| {
        http("POST", &url, &[], &json!({"messages": "{template://insect}", "properties": {"name": name}}))
    };
    let answer = templated("bees");
    assert!(said(&answer).ends_with("You said: Be brief."), "{}", answer.text);
    // "Tell me about bees." and "Be brief."
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 5 + 3);
    let answer = templated("wasps");
    assert_eq!((answer.status, &answer.json()["error"]["message"]), (400, &json!("bad request")));
    let missing = http("POST", &url, &[], &json!({"messages": "{template://insect}"}));
    assert_eq!(missing.json()["error"]["message"], "missing template parameters: [name]");
}

#[test]
fn tokens_are_limited_for_each_client() {
    tokens_are_limited(json!({"strategy": "local"}));
}

#[test]
fn tokens_are_counted_in_redis() {
    let Some((mut server, port)) = redis_server() else {
        eprintln!("skipped: there is no redis-server or valkey-server here");
        return;
    };
    tokens_are_limited(
        json!({"strategy": "redis", "sync_rate": 0, "redis": {"host": "127.0.0.1", "port": port}}),
    );
    server.kill().unwrap();
    server.wait().unwrap();
}

fn tokens_are_limited(counters: Json) {
    let gateway = gateway();
    route(&gateway, "chat", "ai-proxy", target("openai", "m"));
    let mut config = json!({
        "identifier": "header", "header_name": "x-client", "window_type": "fixed",
        "llm_providers": [{"name": "openai", "limit": [25], "window_size": [3600]}],
    });
    config.as_object_mut().unwrap().extend(counters.as_object().unwrap().clone());
    add(&gateway, "chat", "ai-rate-limiting-advanced", config);
    let body = json!({"messages": [{"role": "user", "content": "hello"}]});
    let ask = |client: &str| http("POST", &format!("{}/chat", gateway.proxy), &[("x-client", client)], &body);
    let first = ask("a");
    assert_eq!(first.header("x-ai-ratelimit-limit-hour-openai"), Some("25"));
    assert_eq!(first.header("x-ai-ratelimit-remaining-hour-openai"), Some("25"));
    let spent = first.json()["usage"]["total_tokens"].as_u64().unwrap();
    assert!((13..25).contains(&spent), "{spent}");
    assert_eq!(ask("a").status, 200);
    // an answer is counted when it has been sent: another request may be a little earlier
    let refused = (0..4).map(|_| ask("a")).find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.json()["message"], "AI token rate limit exceeded for provider(s): openai");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("retry-after"), refused.header("x-ai-ratelimit-reset"));
    assert_eq!(ask("b").status, 200);
}

#[test]
fn money_and_tokens_of_streams_are_limited() {
    let gateway = gateway();
    for (name, strategy, most) in [("cost", "cost", 20), ("completion", "completion_tokens", 18)] {
        let mut config = target("anthropic", "m");
        config["model"]["options"]["input_cost"] = 1_000_000.into();
        config["model"]["options"]["output_cost"] = 1_000_000.into();
        config["logging"] = json!({"log_statistics": true});
        route(&gateway, name, "ai-proxy", config);
        let limits = json!({
            "identifier": "header", "header_name": "x-client", "window_type": "fixed", "hide_client_headers": true,
            "error_code": 418, "error_message": "too much for ", "tokens_count_strategy": strategy,
            "llm_providers": [{"name": "anthropic", "limit": [most], "window_size": [3600]}],
        });
        add(&gateway, name, "ai-rate-limiting-advanced", limits);
        let body = json!({"messages": [{"role": "user", "content": "hello"}], "stream": true});
        let ask = || http("POST", &format!("{}/{name}", gateway.proxy), &[("x-client", "a")], &body);
        let first = ask();
        assert!(first.text.contains("[DONE]"), "{name}: {}", first.text);
        assert!(!format!("{:?}", first.headers).contains("x-ai-ratelimit"), "{name}: {first:?}");
        // an answer is counted when it has been sent: another request may be a little earlier
        let refused = (0..6).map(|_| ask()).find(|answer| answer.status == 418);
        let refused = refused.unwrap_or_else(|| panic!("{name}: nothing is counted"));
        assert_eq!(refused.json()["message"], "too much for anthropic", "{name}");
    }
}

#[test]
fn a_model_rewrites_requests_and_answers() {
    let gateway = gateway();
    route(&gateway, "chat", "ai-proxy", target("openai", "m"));
    add(
        &gateway,
        "chat",
        "ai-response-transformer",
        json!({
            "prompt": "rewrite", "llm": target("anthropic", "editor"),
            "transformation_extract_pattern": "You said: .*",
        }),
    );
    let answer = chat(&gateway, "chat", "hello");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.starts_with("You said: {"), "{}", answer.text);
    route(&gateway, "pre", "ai-proxy", target("openai", "m"));
    add(
        &gateway,
        "pre",
        "ai-request-transformer",
        json!({
            "prompt": "rewrite", "llm": target("anthropic", "editor"),
            "transformation_extract_pattern": r#"\{"messages".*\}"#,
        }),
    );
    assert!(said(&chat(&gateway, "pre", "hello")).ends_with("You said: hello"));
    route(&gateway, "failing", "ai-proxy", target("openai", "m"));
    add(
        &gateway,
        "failing",
        "ai-request-transformer",
        json!({
            "prompt": "rewrite", "llm": target("anthropic", "mock-fail-500"),
        }),
    );
    let failed = chat(&gateway, "failing", "hello");
    assert_eq!(failed.status, 400);
    assert_eq!(
        failed.json()["error"]["message"],
        "failed to introspect request with AI service: status code 500"
    );
}

#[test]
fn what_is_not_executed_says_so() {
    let gateway = gateway();
    route(&gateway, "chat", "ai-proxy", target("openai", "m"));
    add(&gateway, "chat", "ai-sanitizer", json!({}));
    let answer = chat(&gateway, "chat", "hello");
    assert_eq!(answer.header("x-foredeck-skipped-plugins"), Some("ai-sanitizer"));
}
