//! Answers as they go onto the wire: whole, as streams, broken off.

use super::api::{Api, Found, Problem};
use super::orders::Break;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use std::time::Duration;
use tokio::sync::mpsc;

/// The body of an answer.
pub(super) type MockBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// How long what was sent may take to leave before a stream is broken off.
const FLUSH: Duration = Duration::from_millis(25);

/// An error in the API's form.
pub(super) fn problem(api: &'static Api, problem: &Problem<'_>) -> Response<MockBody> {
    let body = (api.error)(problem);
    let mut response = found(Found::json(api, problem.status, &body), problem.id);
    if problem.status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// An answer without a conversation.
pub(super) fn found(found: Found, id: &str) -> Response<MockBody> {
    let mut response = Response::new(Full::new(found.body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = found.status;
    dress(&mut response, found.api, found.content_type, id);
    response
}

/// A whole answer; a broken one has half of its body under the length of the whole.
pub(super) fn whole(api: &'static Api, id: &str, text: &str, is_broken: bool) -> Response<MockBody> {
    let answer =
        Found { status: StatusCode::OK, api, content_type: "application/json", body: text.to_owned().into() };
    if !is_broken {
        return found(answer, id);
    }
    let half = answer.body.slice(..text.len() / 2);
    let mut response = sent(vec![half], Some(Break::After(1)), None, Bytes::new());
    dress(&mut response, api, answer.content_type, id);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    response
}

/// A stream of pieces, with a pause between them, broken off where the orders say.
pub(super) fn stream(
    api: &'static Api,
    id: &str,
    pieces: Vec<Bytes>,
    cut: Option<Break>,
    delay: Option<Duration>,
) -> Response<MockBody> {
    let told = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the mock provider was told to fail midway");
    let mut response = sent(pieces, cut, delay, (api.broken)(&(api.error)(&told)));
    dress(&mut response, api, api.stream_type, id);
    response
}

fn sent(pieces: Vec<Bytes>, cut: Option<Break>, delay: Option<Duration>, error: Bytes) -> Response<MockBody> {
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(8);
    tokio::spawn(async move {
        for (sent, piece) in pieces.into_iter().enumerate() {
            match cut {
                Some(Break::After(most)) if sent >= most => break,
                Some(Break::Error(most)) if sent >= most => {
                    let _ = sender.send(Ok(Frame::data(error))).await;
                    return;
                }
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
    Response::new(StreamBody::new(frames).boxed_unsync())
}

fn dress(response: &mut Response<MockBody>, api: &Api, kind: &'static str, id: &str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("x-mock-llm", HeaderValue::from_static(api.name));
    if let Ok(id) = HeaderValue::from_str(&format!("req_{id}")) {
        headers.insert(HeaderName::from_static(api.id_header), id);
    }
}
