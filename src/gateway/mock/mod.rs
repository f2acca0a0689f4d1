//! A mock AI provider that speaks OpenAI's, Anthropic's, Gemini's, Cohere's and Bedrock's APIs, streams included.
//!
//! It answers with what it was asked, deterministically, counts tokens by a simple rule ([`reply::tokens`]) and
//! fails, stalls or breaks off when it is told to ([`orders`]). What does not live here: how requests get here
//! (`gateway::plugins`, by `--mock-llm`).

mod anthropic;
mod gemini;
mod openai;
mod orders;
mod others;
mod reply;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use orders::{Break, Orders};
use reply::Ask;
use serde_json::Value as Json;
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The largest request body, in bytes.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// How long what was sent may take to leave before a stream is broken off.
const FLUSH: Duration = Duration::from_millis(25);

type MockBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// What a provider's API has of its own. One row for each API.
struct Api {
    /// Its name, told in the response header `x-mock-llm`.
    name: &'static str,
    /// The content type of its streams.
    stream_type: &'static str,
    /// What a request asks; the message of a 400 if it lacks what the provider insists on.
    ask: fn(&str, &Json) -> Result<Ask, String>,
    /// The whole answer.
    whole: fn(&Ask) -> Json,
    /// The pieces of a stream, as they go onto the wire.
    pieces: fn(&Ask) -> Vec<Bytes>,
    /// An error.
    error: fn(StatusCode, &str) -> Json,
}

/// Serves the mock provider until the shutdown.
pub async fn serve(listener: TcpListener, shutdown: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // out of descriptors, most likely: others must end first
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // without it, small answers wait for the other side's acknowledgement
        let _ = stream.set_nodelay(true);
        let stop = shutdown.clone();
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let service = service_fn(|request| async { Ok::<_, Infallible>(handle(request).await) });
            let connection = server.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = stop.cancelled() => {}
                // a connection that breaks is the other side's business
                _ = connection => {}
            }
        });
    }
}

async fn handle(request: Request<Incoming>) -> Response<MockBody> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if head.method == Method::GET {
        return match openai::models(&path).or_else(|| gemini::models(&path)) {
            Some((status, models)) => json_response(status, "openai", &models),
            None => unknown(&head.method, &path),
        };
    }
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let error = openai::error(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
            return json_response(StatusCode::PAYLOAD_TOO_LARGE, "openai", &error);
        }
    };
    let asked: Json = serde_json::from_slice(&body).unwrap_or_default();
    if let Some((name, counted)) = anthropic::count(&path, &asked).or_else(|| gemini::count(&path, &asked)) {
        return json_response(StatusCode::OK, name, &counted);
    }
    let query = head.uri.query().unwrap_or_default();
    match api(&path, query) {
        Some(api) if head.method == Method::POST => converse(api, &path, &asked, &head.headers).await,
        _ => unknown(&head.method, &path),
    }
}

/// The API of a path. Azure's and Hugging Face's addresses end like OpenAI's.
fn api(path: &str, query: &str) -> Option<&'static Api> {
    const BY_END: [(&str, &Api); 9] = [
        ("/chat/completions", &openai::CHAT),
        ("/completions", &openai::COMPLETIONS),
        ("/embeddings", &openai::EMBEDDINGS),
        ("/responses", &openai::RESPONSES),
        ("/v1/messages", &anthropic::MESSAGES),
        (":generateContent", &gemini::GENERATE),
        ("/v1/chat", &others::COHERE),
        ("/converse", &others::BEDROCK),
        ("/converse-stream", &others::BEDROCK),
    ];
    if path.ends_with(":streamGenerateContent") {
        let sse =
            url::form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == "alt" && value == "sse");
        return Some(if sse { &gemini::GENERATE } else { &gemini::GENERATE_ARRAY });
    }
    BY_END.iter().find(|(end, _)| path.ends_with(end)).map(|(_, api)| *api)
}

async fn converse(api: &Api, path: &str, asked: &Json, headers: &HeaderMap) -> Response<MockBody> {
    let refuse =
        |status: StatusCode, message: &str| json_response(status, api.name, &(api.error)(status, message));
    if !asked.is_object() {
        return refuse(StatusCode::BAD_REQUEST, "the request body is not a JSON object");
    }
    let mut ask = match (api.ask)(path, asked) {
        Ok(ask) => ask,
        Err(message) => return refuse(StatusCode::BAD_REQUEST, &message),
    };
    // requests sent here in a provider's place keep its name in `host`
    ask.usage_at_end = headers.get(HOST).is_some_and(|host| host == "api.mistral.ai");
    let orders = Orders::of(headers, &ask.model, &ask.prompt);
    if let Some(wait) = orders.stall {
        tokio::time::sleep(wait).await;
    }
    if let Some(status) = orders.fail {
        let message = format!("the mock provider was told to fail with {}", status.as_u16());
        let mut response = refuse(status, &message);
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
        }
        return response;
    }
    if !ask.stream {
        let text = (api.whole)(&ask).to_string();
        return match orders.cut {
            // half the answer under the length of the whole one
            Some(_) => {
                let half = Bytes::from(text.chars().take(text.chars().count() / 2).collect::<String>());
                let mut response = stream(api, "application/json", vec![half], Some(Break::After(1)), None);
                response.headers_mut().insert("content-length", HeaderValue::from(text.len()));
                response
            }
            None => response(StatusCode::OK, api.name, "application/json", Bytes::from(text)),
        };
    }
    stream(api, api.stream_type, (api.pieces)(&ask), orders.cut, orders.delay)
}

/// A stream of pieces, with a pause between them, broken off where the orders say.
fn stream(
    api: &Api,
    kind: &'static str,
    pieces: Vec<Bytes>,
    cut: Option<Break>,
    delay: Option<Duration>,
) -> Response<MockBody> {
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(8);
    tokio::spawn(async move {
        for (sent, piece) in pieces.into_iter().enumerate() {
            match cut {
                Some(Break::After(most)) if sent >= most => break,
                Some(Break::Stall(most, wait)) if sent == most => tokio::time::sleep(wait).await,
                _ => {}
            }
            if let Some(delay) = delay.filter(|_| sent > 0) {
                tokio::time::sleep(delay).await;
            }
            if sender.send(Ok(Frame::data(piece))).await.is_err() {
                return;
            }
        }
        if matches!(cut, Some(Break::After(_))) {
            // what was sent before goes out first
            tokio::time::sleep(FLUSH).await;
            let broken = std::io::Error::other("the mock provider was told to break off");
            let _ = sender.send(Err(broken)).await;
        }
    });
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    dress(&mut response, api.name, kind);
    response
}

fn json_response(status: StatusCode, name: &'static str, body: &Json) -> Response<MockBody> {
    response(status, name, "application/json", Bytes::from(body.to_string()))
}

fn response(status: StatusCode, name: &'static str, kind: &'static str, body: Bytes) -> Response<MockBody> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    dress(&mut response, name, kind);
    response
}

fn dress(response: &mut Response<MockBody>, name: &'static str, kind: &'static str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("x-mock-llm", HeaderValue::from_static(name));
}

fn unknown(method: &Method, path: &str) -> Response<MockBody> {
    let message = format!(
        "the mock provider has no {method} {path}; it speaks OpenAI's chat/completions, completions, embeddings, \
         responses and models, Anthropic's messages, Gemini's generateContent, Cohere's chat and Bedrock's converse"
    );
    json_response(StatusCode::NOT_FOUND, "openai", &openai::error(StatusCode::NOT_FOUND, &message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

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
}
