//! A mock AI provider that speaks the APIs of OpenAI, Anthropic, Gemini, Cohere, Bedrock, Ollama and of
//! text-generation servers, streams included.
//!
//! It answers with what it was asked, deterministically, counts tokens by a simple rule ([`reply::tokens`]) and
//! fails, stalls or breaks off when it is told to ([`orders`]). What does not live here: how requests get here
//! (`gateway::plugins`, by `--mock-llm`).

mod anthropic;
mod api;
mod bedrock;
mod cohere;
mod example;
mod gemini;
mod generation;
mod ollama;
mod openai;
mod orders;
mod reply;
mod respond;
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
use reply::Choice;
use respond::MockBody;
use serde_json::Value as Json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The largest request body, in bytes.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// Serves the mock provider until the shutdown.
pub async fn serve(listener: TcpListener, shutdown: CancellationToken) {
    let turns = Arc::new(Turns::default());
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
        let (stop, turns) = (shutdown.clone(), Arc::clone(&turns));
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let service = service_fn(move |request| {
                let turns = Arc::clone(&turns);
                async move { Ok::<_, Infallible>(handle(request, &turns).await) }
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

async fn handle(request: Request<Incoming>, turns: &Turns) -> Response<MockBody> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let Ok(body) = body.map(|body| body.to_bytes()) else {
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
        return respond::problem(&openai::CHAT, &problem);
    };
    let id = reply::digest(&format!("{} {path}\n{}", head.method, String::from_utf8_lossy(&body)));
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let asked = match multer::parse_boundary(text(CONTENT_TYPE.as_str())) {
        Ok(boundary) => form(body, boundary).await,
        Err(_) => serde_json::from_slice(&body).unwrap_or_default(),
    };
    let question = Question {
        path,
        query: head.uri.query().unwrap_or_default(),
        host: text(HOST.as_str()),
        headers: &head.headers,
        body: &asked,
        id: &id,
    };
    let found = match head.method {
        Method::GET => api::looked_up(&question),
        Method::POST => api::counted(&question).or_else(|| openai::media::answer(path, &asked)),
        _ => None,
    };
    if let Some(found) = found {
        return respond::found(found, &id);
    }
    match api::of(&question).filter(|_| head.method == Method::POST) {
        Some(api) => converse(api, &question, turns).await,
        None => respond::problem(
            &openai::CHAT,
            &Problem {
                message: format!(
                    "the mock provider has no {} {path}; it speaks OpenAI's chat/completions, completions, \
                     embeddings, responses, models, images, audio and moderations, Anthropic's messages, Gemini's \
                     generateContent, Cohere's chat and generate, Bedrock's converse, Ollama's chat and generate, \
                     and text generation",
                    head.method
                ),
                id: &id,
                ..Problem::new(StatusCode::NOT_FOUND, "")
            },
        ),
    }
}

/// The text fields of a form; files are left out.
async fn form(body: Bytes, boundary: String) -> Json {
    let body = futures_util::stream::once(async { Ok::<_, Infallible>(body) });
    let mut form = multer::Multipart::new(body, boundary);
    let mut fields = serde_json::Map::new();
    while let Ok(Some(field)) = form.next_field().await {
        if let Some(name) = field.name().filter(|_| field.file_name().is_none()).map(str::to_owned)
            && let Ok(text) = field.text().await
        {
            fields.insert(name, text.into());
        }
    }
    Json::Object(fields)
}

async fn converse(api: &'static Api, question: &Question<'_>, turns: &Turns) -> Response<MockBody> {
    let refuse = |status: StatusCode, message: &str, param: Option<&'static str>| {
        respond::problem(api, &Problem { status, message: message.to_owned(), param, id: question.id })
    };
    if !question.body.is_object() {
        return refuse(StatusCode::BAD_REQUEST, "the request body is not a JSON object", None);
    }
    let mut ask = match (api.ask)(question) {
        Ok(ask) => ask,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, &wrong.message, wrong.param),
    };
    ask.host = question.host.to_owned();
    ask.body = question.body.clone();
    let orders = Orders::of(question.headers, &ask.model, &ask.prompt);
    if let Some(wait) = orders.stall {
        tokio::time::sleep(wait).await;
    }
    if let Some(status) = turns.failure(&orders, &ask.model) {
        let message = format!("the mock provider was told to fail with {}", status.as_u16());
        return refuse(status, &message, None);
    }
    if let Some(tool) = &orders.tool {
        ask.choice = Choice::Named(tool.clone());
    }
    ask.settle();
    if ask.stream {
        respond::stream(api, question.id, (api.pieces)(&ask), orders.cut, orders.delay)
    } else {
        respond::whole(api, question.id, &(api.whole)(&ask).to_string(), orders.cut.is_some())
    }
}
