//! Plugins that need more than a request and an answer: what they tell others, and what they say of themselves.

use crate::proxy::{OK, Upstream, gateway, plugin, put};
use crate::support::{Answer, Gateway, http};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

fn get(gateway: &Gateway, headers: &[(&str, &str)]) -> Answer {
    http("GET", &format!("{}/r", gateway.proxy), headers, &Json::Null)
}

/// Asks until the answer is not empty, for ten seconds.
fn eventually<T>(mut question: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match question() {
            Some(answer) => return answer,
            None => assert!(Instant::now() < end, "nothing came of it"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_answers_cost_is_limited() {
    let costly = Upstream::answering(
        b"HTTP/1.1 200 OK\r\nX-Kong-Limit: videos=2, other=9\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    );
    let gateway = gateway(&costly, json!({}));
    let config = json!({"limits": {"videos": {"hour": 3, "day": 9}}, "policy": "local"});
    plugin(&gateway, &json!({"name": "response-ratelimiting", "config": config}));
    let first = get(&gateway, &[]);
    assert_eq!((first.status, &*first.text), (200, "ok"));
    assert_eq!(first.header("x-ratelimit-limit-videos-hour"), Some("3"));
    assert_eq!(first.header("x-ratelimit-remaining-videos-hour"), Some("1"));
    assert_eq!(first.header("x-ratelimit-remaining-videos-day"), Some("7"));
    assert_eq!(first.header("x-kong-limit"), None);
    assert!(costly.last().to_lowercase().contains("x-ratelimit-remaining-videos: 3"), "{}", costly.last());
    // One is left, two are charged: the answer still goes out. Then nothing is left.
    assert_eq!(get(&gateway, &[]).header("x-ratelimit-remaining-videos-hour"), Some("0"));
    let third = get(&gateway, &[]);
    assert_eq!((third.status, &*third.text), (429, ""));
}

#[test]
fn traces_go_to_the_collector_and_to_the_upstream() {
    let (upstream, collector) = (Upstream::answering(OK), Upstream::answering(OK));
    let gateway = gateway(&upstream, json!({}));
    let config = json!({
        "traces_endpoint": format!("{}/v1/traces", collector.url),
        "http_response_header_for_traceid": "x-trace",
        "queue": {"max_coalescing_delay": 0.05},
    });
    plugin(&gateway, &json!({"name": "opentelemetry", "config": config}));
    let id = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{id}-b7ad6b7169203331-01");
    let answer = get(&gateway, &[("traceparent", &parent)]);
    assert_eq!(answer.header("x-trace"), Some(id));
    let told = upstream.last();
    assert!(told.contains(&format!("traceparent: 00-{id}-")) && !told.contains("b7ad6b7169203331"), "{told}");
    let sent = eventually(|| Some(collector.last()).filter(|sent| !sent.is_empty()));
    assert!(sent.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains("content-type: application/x-protobuf"), "{sent}");
    for part in ["service.name", "kong.balancer", "http.status_code", "kong.request.id"] {
        assert!(sent.contains(part), "{part}: {sent}");
    }
}

#[test]
fn a_field_that_has_no_effect_is_named_and_the_rest_is_executed() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    let config = json!({
        "path": "/dev/null",
        "custom_fields_by_lua": {"extra": "return 'x'"},
    });
    let body = json!({"name": "file-log", "config": config});
    let made = http("POST", &format!("{}/routes/r/plugins", gateway.admin), &[], &body);
    let named = Some("file-log.custom_fields_by_lua");
    assert_eq!((made.status, made.header("x-foredeck-skipped-plugins")), (201, named));
    let answer = get(&gateway, &[]);
    assert_eq!((answer.status, answer.header("x-foredeck-skipped-plugins")), (200, named));
}

#[test]
fn keys_are_taken_out_of_forms_of_all_sorts() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    put(&gateway, "/consumers/amy", &json!({}));
    http("POST", &format!("{}/consumers/amy/key-auth", gateway.admin), &[], &json!({"key": "k-1"}));
    plugin(&gateway, &json!({"name": "key-auth", "config": {"key_in_body": true, "hide_credentials": true}}));
    let url = format!("{}/r", gateway.proxy);
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"apikey\"\r\n\r\nk-1\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"z\"\r\n\r\n1\r\n--b--\r\n";
    for (kind, body) in [
        ("application/x-www-form-urlencoded", "apikey=k-1&z=1"),
        ("application/json", r#"{"apikey": "k-1", "z": "1"}"#),
        ("multipart/form-data; boundary=b", multipart),
    ] {
        let answer = crate::support::agent().post(&url).header("content-type", kind).send(body).unwrap();
        assert_eq!(answer.status(), 200, "{kind}");
        let seen = upstream.last();
        assert!(
            !seen.contains("k-1") && seen.contains('z') && seen.contains("x-consumer-username: amy"),
            "{seen}"
        );
    }
}

#[test]
fn probes_take_targets_out_and_in_again() {
    let (good, bad) = (Upstream::answering(OK), Upstream::answering(OK));
    let sick = Upstream::answering(b"HTTP/1.1 500 Ill\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let gateway = gateway(&good, json!({}));
    let checks = json!({"active": {
        "http_path": "/status",
        "healthy": {"interval": 0.2, "successes": 1},
        "unhealthy": {"interval": 0.2, "http_failures": 1, "tcp_failures": 1},
    }});
    put(&gateway, "/upstreams/pool", &json!({"healthchecks": checks}));
    put(&gateway, "/services/s", &json!({"host": "pool"}));
    let address = |upstream: &Upstream| upstream.url.trim_start_matches("http://").to_owned();
    let targets = format!("{}/upstreams/pool/targets", gateway.admin);
    for upstream in [&good, &bad, &sick] {
        http("POST", &targets, &[], &json!({"target": address(upstream)}));
    }
    let health = || {
        let url = format!("{}/upstreams/pool/health", gateway.admin);
        let data = http("GET", &url, &[], &Json::Null).json();
        let of = |upstream: &Upstream| {
            let all = data["data"].as_array().unwrap();
            let target = all.iter().find(|target| target["target"] == json!(address(upstream))).unwrap();
            target["health"].as_str().unwrap().to_owned()
        };
        [of(&good), of(&bad), of(&sick)]
    };
    eventually(|| (health() == ["HEALTHY", "HEALTHY", "UNHEALTHY"]).then_some(()));
    assert!(sick.last().starts_with("GET /status HTTP/1.1\r\n"), "{}", sick.last());
    for _ in 0..6 {
        assert_eq!(get(&gateway, &[]).status, 200);
    }
}

#[test]
fn metrics_tell_of_requests_and_of_the_health_of_targets() {
    let upstream = Upstream::answering(OK);
    let address = upstream.url.trim_start_matches("http://").to_owned();
    let gateway = gateway(&upstream, json!({}));
    let target = json!({"target": address, "weight": 10});
    put(
        &gateway,
        "/upstreams/shop",
        &json!({"healthchecks": {"passive": {"unhealthy": {"http_failures": 1}}}}),
    );
    http("POST", &format!("{}/upstreams/shop/targets", gateway.admin), &[], &target);
    put(&gateway, "/services/s", &json!({"host": "shop", "retries": 0}));
    put(&gateway, "/consumers/amy", &json!({"username": "amy"}));
    http("POST", &format!("{}/consumers/amy/key-auth", gateway.admin), &[], &json!({"key": "amys"}));
    plugin(&gateway, &json!({"name": "key-auth"}));
    let metrics = || http("GET", &format!("{}/metrics", gateway.admin), &[], &Json::Null).text;
    let on = [
        "bandwidth_metrics",
        "latency_metrics",
        "per_consumer",
        "status_code_metrics",
        "upstream_health_metrics",
    ];
    let config: Json =
        on.iter().map(|name| ((*name).to_owned(), json!(true))).collect::<serde_json::Map<_, _>>().into();
    plugin(&gateway, &json!({"name": "prometheus", "config": config}));
    assert_eq!((get(&gateway, &[("apikey", "amys")]).status, get(&gateway, &[]).status), (200, 401));
    let line = |text: &str, start: &str| {
        let found = text.lines().find(|line| line.starts_with(start));
        found.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    let labels = r#"service="s",route="r","#;
    let text = eventually(|| Some(metrics()).filter(|text| text.contains("code=\"200\"")));
    for (start, expected) in [
        (
            format!(
                r#"kong_http_requests_total{{{labels}code="200",source="service",workspace="default",consumer="amy"}}"#
            ),
            1.0,
        ),
        (
            format!(
                r#"kong_http_requests_total{{{labels}code="401",source="kong",workspace="default",consumer=""}}"#
            ),
            1.0,
        ),
        (format!(r#"kong_upstream_latency_ms_count{{{labels}"#), 1.0),
        (format!(r#"kong_request_latency_ms_bucket{{{labels}workspace="default",le="+Inf"}}"#), 2.0),
        (
            format!(
                r#"kong_upstream_target_health{{upstream="shop",target="{address}",address="{address}",state="healthy""#
            ),
            1.0,
        ),
        (
            format!(
                r#"kong_upstream_target_health{{upstream="shop",target="{address}",address="{address}",state="dns_error""#
            ),
            0.0,
        ),
    ] {
        assert_eq!(line(&text, &start), Some(expected), "{start} in {text}");
    }
    let sent = line(
        &text,
        &format!(r#"kong_bandwidth_bytes{{{labels}direction="egress",workspace="default",consumer="amy"}}"#),
    );
    assert!(sent.is_some_and(|bytes| bytes > 100.0), "heads count as well: {text}");
}
