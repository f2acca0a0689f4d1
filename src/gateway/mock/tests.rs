//! The mock provider over HTTP: every API, and what it does when it is told to fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::serve;
use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioExecutor;
use serde_json::Value as Json;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A running mock provider that ends with its test.
async fn start() -> (String, tokio_util::sync::DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listener, shutdown.clone()));
    (format!("http://{address}"), shutdown.drop_guard())
}

async fn post(
    base: &str,
    path: &str,
    body: Json,
) -> Result<(u16, String), hyper_util::client::legacy::Error> {
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("{base}{path}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let response = client.request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

fn hello(model: &str) -> Json {
    json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]})
}

#[tokio::test]
async fn every_api_repeats_the_prompt() {
    let (base, _guard) = start().await;
    for (path, body, at) in [
        ("/v1/chat/completions", hello("m"), "/choices/0/message/content"),
        ("/v1/completions", json!({"model": "m", "prompt": "hello there"}), "/choices/0/text"),
        ("/v1/responses", json!({"model": "m", "input": "hello there"}), "/output/0/content/0/text"),
        ("/v1/messages", hello("m"), "/content/0/text"),
        (
            "/v1beta/models/m:generateContent",
            json!({"contents": [{"role": "user", "parts": [{"text": "hello there"}]}]}),
            "/candidates/0/content/parts/0/text",
        ),
        ("/v1/chat", json!({"model": "m", "message": "hello there"}), "/text"),
        ("/v2/chat", hello("m"), "/message/content/0/text"),
        ("/v1/generate", json!({"model": "m", "prompt": "hello there"}), "/generations/0/text"),
        (
            "/v1/complete",
            json!({"model": "m", "max_tokens_to_sample": 99, "prompt": "Human: hello there\n\nAssistant:"}),
            "/completion",
        ),
        (
            "/api/chat",
            json!({"model": "m", "messages": [{"role": "user", "content": "hello there"}], "stream": false}),
            "/message/content",
        ),
        ("/api/generate", json!({"model": "m", "prompt": "hello there", "stream": false}), "/response"),
        ("/models/m", json!({"inputs": "<s>[INST] hello there [/INST]"}), "/0/generated_text"),
        ("/", json!({"model": "m", "inputs": "hello there"}), "/0/generated_text"),
        ("/", hello("m"), "/choices/0/message/content"),
        (
            "/model/m/converse",
            json!({"messages": [{"role": "user", "content": [{"text": "hello there"}]}]}),
            "/output/message/content/0/text",
        ),
    ] {
        let (status, answer) = post(&base, path, body).await.unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        let answer: Json = serde_json::from_str(&answer).unwrap();
        let text = answer.pointer(at).and_then(Json::as_str).unwrap_or_default();
        assert!(text.contains(" m ") && text.ends_with("You said: hello there"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn it_fails_and_breaks_off_when_told_to() {
    let (base, _guard) = start().await;
    let (status, answer) = post(&base, "/v1/messages", hello("mock-fail-529")).await.unwrap();
    assert_eq!(status, 529);
    assert!(answer.contains("overloaded_error"), "{answer}");
    let mut cut = hello("mock-cut-3");
    cut["stream"] = true.into();
    let (_, answer) = post(&base, "/v1/chat/completions", cut).await.unwrap();
    assert!(!answer.contains("[DONE]"), "{answer}");
    let (status, answer) = post(&base, "/nowhere", hello("m")).await.unwrap();
    assert_eq!(status, 404);
    assert!(answer.contains("the mock provider has no POST /nowhere"), "{answer}");
    let (status, _) =
        post(&base, "/v1/messages", json!({"model": "m", "messages": [{"role": "user"}]})).await.unwrap();
    assert_eq!(status, 400, "max_tokens is missing");
}

#[tokio::test]
async fn streams_say_the_same_as_whole_answers() {
    let (base, _guard) = start().await;
    let mut body = hello("m");
    let (_, whole) = post(&base, "/v1/chat/completions", body.clone()).await.unwrap();
    body["stream"] = true.into();
    let (_, stream) = post(&base, "/v1/chat/completions", body).await.unwrap();
    let said: String = stream
        .split("data: ")
        .filter_map(|event| serde_json::from_str::<Json>(event.trim()).ok())
        .filter_map(|event| {
            event.pointer("/choices/0/delta/content").and_then(Json::as_str).map(str::to_owned)
        })
        .collect();
    let whole: Json = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole.pointer("/choices/0/message/content"), Some(&Json::from(said)));
    assert!(stream.ends_with("data: [DONE]\n\n"));
}
