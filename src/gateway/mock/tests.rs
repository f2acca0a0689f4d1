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

async fn ask(method: http::Method, url: String, kind: &str, body: String) -> (u16, String) {
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder().method(method).uri(url).header(CONTENT_TYPE, kind);
    let response = client.request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn files_hold_batches_and_answers_can_be_asked_for_again() {
    let (base, _guard) = start().await;
    let get = async |path: &str| ask(http::Method::GET, format!("{base}{path}"), "", String::new()).await;
    let id = |answer: &str| {
        serde_json::from_str::<Json>(answer).unwrap()["id"].as_str().unwrap_or_default().to_owned()
    };
    let line = json!({"custom_id": "one", "url": "/v1/chat/completions", "body": hello("m")});
    let form = format!(
        "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n{line}\n{{\"body\": {{}}}}\n\r\n--b--\r\n"
    );
    let (status, file) =
        ask(http::Method::POST, format!("{base}/v1/files"), "multipart/form-data; boundary=b", form).await;
    assert_eq!(status, 200, "{file}");
    let wish =
        json!({"input_file_id": id(&file), "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let (_, batch) = post(&base, "/v1/batches", wish).await.unwrap();
    let batch: Json = serde_json::from_str(&batch).unwrap();
    assert_eq!(batch["request_counts"], json!({"total": 2, "completed": 1, "failed": 1}));
    let output = batch["output_file_id"].as_str().unwrap();
    let (_, output) = get(&format!("/v1/files/{output}/content")).await;
    assert!(output.contains("You said: hello there") && output.contains("\"status_code\":400"), "{output}");

    let (_, answer) = post(&base, "/v1/responses", json!({"model": "m", "input": "hello"})).await.unwrap();
    let path = format!("/v1/responses/{}", id(&answer));
    assert_eq!(get(&path).await, (200, answer));
    assert!(get(&format!("{path}/input_items")).await.1.contains("\"text\":\"hello\""));
    assert_eq!(ask(http::Method::DELETE, format!("{base}{path}"), "", String::new()).await.0, 200);
    let (status, missing) = get(&path).await;
    assert!(status == 404 && missing.contains("No such response"), "{missing}");

    let requests = json!({"requests": [{"custom_id": "a", "params": hello("m")}]});
    let (_, batch) = post(&base, "/v1/messages/batches", requests).await.unwrap();
    let batch: Json = serde_json::from_str(&batch).unwrap();
    let results = batch["results_url"].as_str().unwrap().to_owned();
    assert!(ask(http::Method::GET, results, "", String::new()).await.1.contains("\"type\":\"succeeded\""));
    let (status, nothing) = post(&base, "/v1/messages/nothing", json!({})).await.unwrap();
    assert!(status == 404 && nothing.contains("not_found_error"), "{nothing}");
}
