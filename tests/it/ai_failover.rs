//! `ai-proxy-advanced` when providers stall, break off or are busy, and operations that are not executed.

use super::ai_proxy::{chat, gateway, route, said, target};
use super::support::{Gateway, agent, http};
use serde_json::{Value as Json, json};
use std::io::Read;

/// Two targets, asked in this order, under a balancer of these settings.
fn two(gateway: &Gateway, balancer: Json, first: &str, second: &str) {
    let mut targets = [target("openai", first), target("openai", second)];
    targets[0]["weight"] = 100.into();
    targets[1]["weight"] = 10.into();
    route(gateway, "two", "ai-proxy-advanced", json!({"balancer": balancer, "targets": targets}));
}

fn failing_over() -> Json {
    json!({"algorithm": "priority", "read_timeout": 300,
           "failover_criteria": ["error", "timeout", "non_idempotent"]})
}

/// What came of a stream, and whether it ended as streams do.
fn streamed(gateway: &Gateway) -> (String, bool) {
    let body = json!({"messages": [{"role": "user", "content": "stream this"}], "stream": true});
    let url = format!("{}/two", gateway.proxy);
    let mut answer =
        agent().post(&url).header("content-type", "application/json").send(body.to_string()).unwrap();
    let mut text = String::new();
    let whole = answer.body_mut().as_reader().read_to_string(&mut text).is_ok();
    (text, whole)
}

#[test]
fn a_stream_that_does_not_start_comes_from_another_provider() {
    let gateway = gateway();
    two(&gateway, failing_over(), "mock-stall", "well");
    let (events, whole) = streamed(&gateway);
    assert!(whole && events.contains("\"well\"") && events.ends_with("data: [DONE]\n\n"), "{events}");
}

#[test]
fn a_stream_that_began_does_not_go_on_at_another_provider() {
    let gateway = gateway();
    for broken in ["mock-cut-2", "mock-hang-2"] {
        two(&gateway, failing_over(), broken, "well");
        let (events, whole) = streamed(&gateway);
        assert!(!whole && events.contains(broken), "{broken}: {events}");
        assert!(!events.contains("\"well\"") && !events.contains("[DONE]"), "{broken}: {events}");
        let routes = format!("{}/routes/two", gateway.admin);
        assert_eq!(http("DELETE", &routes, &[], &Json::Null).status, 204);
    }
}

#[test]
fn the_target_with_fewer_requests_under_way_is_taken() {
    let gateway = gateway();
    let mut targets = [target("openai", "a"), target("openai", "b")];
    targets.iter_mut().for_each(|target| target["model"]["model_alias"] = "any".into());
    let config = json!({"balancer": {"algorithm": "least-connections"}, "targets": targets});
    route(&gateway, "two", "ai-proxy-advanced", config);
    // one of them is kept busy by a stream that hangs
    let body = json!({"messages": [{"role": "user", "content": "x"}], "stream": true});
    let mut busy = agent()
        .post(format!("{}/two", gateway.proxy))
        .header("content-type", "application/json")
        .header("x-mock-llm", "hang=1")
        .send(body.to_string())
        .unwrap();
    let mut first = [0; 512];
    let read = busy.body_mut().as_reader().read(&mut first).unwrap();
    let first = String::from_utf8_lossy(&first[..read]).into_owned();
    let other = if first.contains("\"model\":\"a\"") { "b" } else { "a" };
    for _ in 0..4 {
        assert_eq!(chat(&gateway, "two", "x").json()["model"], other, "{first}");
    }
}

#[test]
fn a_provider_that_fails_too_often_is_left_alone() {
    let gateway = gateway();
    let mut balancer = failing_over();
    balancer["algorithm"] = "priority".into();
    balancer["max_fails"] = 1.into();
    balancer["fail_timeout"] = 60_000.into();
    balancer["failover_criteria"] = json!(["http_503", "non_idempotent"]);
    two(&gateway, balancer, "first", "second");
    let ask = |order: &str| {
        let body = json!({"messages": [{"role": "user", "content": "x"}]});
        http("POST", &format!("{}/two", gateway.proxy), &[("x-mock-llm", order)], &body)
    };
    assert_eq!(ask("").json()["model"], "first");
    assert_eq!(ask("fail=503@first").json()["model"], "second");
    assert_eq!(ask("").json()["model"], "second");
}

#[test]
fn operations_that_are_not_executed_say_so() {
    let gateway = gateway();
    let mut files = target("anthropic", "m");
    files["route_type"] = "llm/v1/files".into();
    route(&gateway, "files", "ai-proxy", files);
    let answer = chat(&gateway, "files", "x");
    assert_eq!(answer.status, 501, "{}", answer.text);
    assert_eq!(
        answer.json()["error"]["message"],
        "route_type llm/v1/files is not executed by this gateway for anthropic"
    );
    let mut realtime = target("openai", "m");
    realtime["route_type"] = "realtime/v1/realtime".into();
    route(
        &gateway,
        "realtime",
        "ai-proxy-advanced",
        json!({"targets": [realtime], "genai_category": "realtime/generation"}),
    );
    let answer = chat(&gateway, "realtime", "x");
    assert_eq!(answer.status, 501, "{}", answer.text);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("realtime/v1/realtime"));
}

#[test]
fn a_whole_answer_follows_one_that_never_came() {
    let gateway = gateway();
    two(&gateway, failing_over(), "mock-stall", "well");
    assert!(said(&chat(&gateway, "two", "x")).starts_with("This is well "));
}

#[test]
fn no_secret_of_any_provider_reaches_client_or_log() {
    let gateway = gateway();
    for provider in ["openai", "anthropic", "gemini", "cohere", "bedrock", "mistral", "huggingface", "azure"]
    {
        let mut config = target(provider, "m");
        config["logging"] = json!({"log_statistics": true, "log_payloads": true});
        match provider {
            "azure" => {
                config["model"]["options"] = json!({"azure_instance": "i", "azure_deployment_id": "d"});
            }
            "mistral" => config["model"]["options"] = json!({"mistral_format": "openai"}),
            _ => {}
        }
        route(&gateway, provider, "ai-proxy", config);
        let log = json!({"path": "/dev/stderr"});
        super::ai_proxy::add(&gateway, provider, "file-log", log);
        for order in ["", "fail=401", "fail=500", "cut=1", "error=1"] {
            for stream in [false, true] {
                let body = json!({"messages": [{"role": "user", "content": "x"}], "stream": stream});
                let url = format!("{}/{provider}", gateway.proxy);
                let mut answer = agent()
                    .post(&url)
                    .header("content-type", "application/json")
                    .header("x-mock-llm", order)
                    .send(body.to_string())
                    .unwrap();
                let headers = format!("{:?}", answer.headers());
                let mut text = Vec::new();
                let _ = answer.body_mut().as_reader().read_to_end(&mut text);
                let shown = format!("{headers} {}", String::from_utf8_lossy(&text));
                assert!(!shown.contains("provider-hush"), "{provider} {order}: {shown}");
            }
        }
    }
    let log = gateway.log();
    assert!(log.contains("\"payload\""), "nothing was logged: {log}");
    assert!(!log.contains("provider-hush"), "{log}");
}

#[test]
fn an_answer_that_is_no_stream_is_told_and_kept_back() {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let page = "<html>provider-hush</html>";
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/html\r\ncontent-length";
            write!(stream, "{head}: {}\r\n\r\n{page}", page.len()).unwrap();
        }
    });
    for (flavor, want) in [
        ("kong-3.14", "data: {\"error\":{\"code\":null,\"message\":\"the provider's answer is no stream\""),
        ("kong-3.10", "data: {\"error\": true, \"message\": \"empty or unsupported transformer response\"}"),
    ] {
        let gateway = Gateway::with(&["--flavor", flavor]);
        let mut config = target("openai", "m");
        config["model"]["options"] = json!({"upstream_url": format!("http://{address}/v1")});
        route(&gateway, "two", "ai-proxy", config);
        let (events, whole) = streamed(&gateway);
        assert!(whole && events.starts_with(want) && !events.contains("hush"), "{flavor}: {events}");
    }
}

#[test]
fn a_clients_own_credential_wins_where_that_is_allowed() {
    use std::io::Write;
    for (flavor, provider, wins) in [
        ("kong-3.14", "huggingface", true),
        ("kong-3.14", "openai", true),
        ("kong-3.10", "openai", true),
        ("kong-3.10", "huggingface", false),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = vec![0; 8192];
            let read = stream.read(&mut seen).unwrap();
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
            String::from_utf8_lossy(&seen[..read]).into_owned()
        });
        let gateway = Gateway::with(&["--flavor", flavor]);
        let mut config = target(provider, "m");
        config["auth"]["allow_override"] = true.into();
        config["model"]["options"] = json!({"upstream_url": format!("http://{address}/v1")});
        route(&gateway, "own", "ai-proxy", config);
        let body = json!({"messages": [{"role": "user", "content": "x"}]});
        let headers = [("authorization", "Bearer mine")];
        assert_eq!(http("POST", &format!("{}/own", gateway.proxy), &headers, &body).status, 400);
        let seen = server.join().unwrap();
        assert_eq!(seen.contains("authorization: Bearer mine"), wins, "{flavor} {provider}: {seen}");
        assert_eq!(seen.contains("provider-hush"), !wins, "{flavor} {provider}: {seen}");
    }
}
