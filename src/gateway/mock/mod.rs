//! A mock AI provider that speaks the APIs of OpenAI, Anthropic, Gemini, Cohere, Bedrock, Ollama and of
//! text-generation servers, streams included.
//!
//! It answers with what it was asked, deterministically, counts tokens by a simple rule ([`reply::tokens`]) and
//! fails, stalls or breaks off when it is told to ([`orders`]). What does not live here: how requests get here
//! (`gateway::plugins`, by `--mock-llm`).

mod anthropic;
mod api;
mod batches;
mod bedrock;
mod cohere;
mod embeddings;
mod example;
mod gemini;
mod generation;
mod ollama;
mod openai;
mod orders;
mod reply;
mod respond;
mod stored;
#[cfg(test)]
mod tests;

use api::{Api, Problem, Question};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use orders::{Orders, Turns};
use reply::{Ask, Choice};
use respond::MockBody;
use serde_json::Value as Json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use stored::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The largest request body, in bytes.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// What is remembered from one request to the next.
#[derive(Default)]
struct Memory {
    turns: Turns,
    store: Store,
}

/// Serves the mock provider until the shutdown.
pub async fn serve(listener: TcpListener, shutdown: CancellationToken) {
    let memory = Arc::new(Memory::default());
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
        let (stop, memory) = (shutdown.clone(), Arc::clone(&memory));
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let service = service_fn(move |request| {
                let memory = Arc::clone(&memory);
                async move { Ok::<_, Infallible>(handle(request, &memory).await) }
            });
            let connection = server.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = stop.cancelled() => {}
                // a connection that breaks is the other side's business
                _ = connection => {}
            }
        });
    }
}

async fn handle(request: Request<Incoming>, memory: &Memory) -> Response<MockBody> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let Ok(body) = body.map(|body| body.to_bytes()) else {
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
        return respond::problem(&openai::CHAT, &problem);
    };
    let id = reply::digest(&format!("{} {path}\n{}", head.method, String::from_utf8_lossy(&body)));
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (asked, file) = match multer::parse_boundary(text(CONTENT_TYPE.as_str())) {
        Ok(boundary) => form(body, boundary).await,
        Err(_) => (serde_json::from_slice(&body).unwrap_or_default(), None),
    };
    let question = Question {
        path,
        query: head.uri.query().unwrap_or_default(),
        host: text(HOST.as_str()),
        headers: &head.headers,
        body: &asked,
        file: file.as_ref(),
        id: &id,
    };
    let found = match head.method {
        Method::GET => api::looked_up(&question),
        Method::POST => api::counted(&question).or_else(|| openai::media::answer(path, &asked)),
        _ => None,
    };
    if let Some(found) = found.or_else(|| memory.store.answer(&head.method, &question)) {
        return respond::found(found, &id);
    }
    let is_anthropics = path.contains("/v1/messages") || head.headers.contains_key("anthropic-version");
    match api::of(&question).filter(|_| head.method == Method::POST) {
        Some(api) => converse(api, &question, memory).await,
        None => respond::problem(
            if is_anthropics { &anthropic::MESSAGES } else { &openai::CHAT },
            &Problem {
                message: format!(
                    "the mock provider has no {} {path}; it speaks OpenAI's chat/completions, completions, \
                     embeddings, responses, models, images, audio, moderations, files and batches, Anthropic's \
                     messages and batches, Gemini's generateContent, Cohere's chat and generate, Bedrock's \
                     converse, Ollama's chat and generate, and text generation",
                    head.method
                ),
                id: &id,
                ..Problem::new(StatusCode::NOT_FOUND, "")
            },
        ),
    }
}

/// The text fields of a form, and its last file.
async fn form(body: Bytes, boundary: String) -> (Json, Option<(String, Bytes)>) {
    let body = futures_util::stream::once(async { Ok::<_, Infallible>(body) });
    let mut form = multer::Multipart::new(body, boundary);
    let mut fields = serde_json::Map::new();
    let mut file = None;
    while let Ok(Some(field)) = form.next_field().await {
        let (name, file_name) = (field.name().map(str::to_owned), field.file_name().map(str::to_owned));
        match (name, file_name) {
            (_, Some(file_name)) => {
                file = field.bytes().await.ok().map(|content| (file_name, content)).or(file);
            }
            (Some(name), None) => {
                if let Ok(text) = field.text().await {
                    fields.insert(name, text.into());
                }
            }
            (None, None) => {}
        }
    }
    (Json::Object(fields), file)
}

/// Why a request gets no answer.
struct Refused {
    status: StatusCode,
    message: String,
    param: Option<&'static str>,
}

/// What a request orders, and what is said to it.
fn hear(api: &'static Api, question: &Question<'_>, turns: &Turns) -> (Orders, Result<Ask, Refused>) {
    let refused = |status, message, param| Err(Refused { status, message, param });
    if !question.body.is_object() {
        let message = "the request body is not a JSON object".to_owned();
        return (Orders::default(), refused(StatusCode::BAD_REQUEST, message, None));
    }
    let mut ask = match (api.ask)(question) {
        Ok(ask) => ask,
        Err(wrong) => {
            return (Orders::default(), refused(StatusCode::BAD_REQUEST, wrong.message, wrong.param));
        }
    };
    ask.host = question.host.to_owned();
    ask.body = question.body.clone();
    let orders = Orders::of(question.headers, &ask.model, &ask.prompt);
    if let Some(status) = turns.failure(&orders, &ask.model) {
        let message = format!("the mock provider was told to fail with {}", status.as_u16());
        return (orders, refused(status, message, None));
    }
    if let Some(tool) = &orders.tool {
        ask.choice = Choice::Named(tool.clone());
    }
    ask.settle();
    (orders, Ok(ask))
}

async fn converse(api: &'static Api, question: &Question<'_>, memory: &Memory) -> Response<MockBody> {
    let (orders, heard) = hear(api, question, &memory.turns);
    if let Some(wait) = orders.stall {
        tokio::time::sleep(wait).await;
    }
    let ask = match heard {
        Ok(ask) => ask,
        Err(Refused { status, message, param }) => {
            return respond::problem(api, &Problem { status, message, param, id: question.id });
        }
    };
    let whole = (api.whole)(&ask);
    memory.store.keep_answer(&ask.body, &whole);
    if ask.stream {
        respond::stream(api, question.id, (api.pieces)(&ask), orders.cut, orders.delay)
    } else {
        respond::whole(api, question.id, &whole.to_string(), orders.cut.is_some())
    }
}
