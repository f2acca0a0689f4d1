//! `embeddings`.

use super::super::api::{Question, Wrong};
use super::super::example::embedding;
use super::super::reply::{Ask, tokens};
use super::common;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

/// The most dimensions of an embedding.
const MAX_DIMENSIONS: u64 = 4096;
/// The most texts of one request, as OpenAI's.
const MAX_INPUTS: usize = 2048;

/// The texts of a request: one, or a list. A list of numbers is one text in tokens.
fn inputs(body: &Json) -> Option<Vec<String>> {
    match body.get("input")? {
        Json::String(text) => Some(vec![text.clone()]),
        Json::Array(items) if items.iter().all(Json::is_number) => {
            Some(vec![Json::Array(items.clone()).to_string()])
        }
        Json::Array(items) => {
            let text = |item: &Json| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            Some(items.iter().take(MAX_INPUTS).map(text).collect())
        }
        _ => None,
    }
}

pub(super) fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let inputs = inputs(question.body)
        .ok_or(Wrong { message: "Missing required parameter: 'input'.".to_owned(), param: Some("input") })?;
    Ok(Ask {
        input_tokens: inputs.iter().map(|input| tokens(input)).sum(),
        prompt: inputs.first().cloned().unwrap_or_default(),
        stream: false,
        ..common(question.body)
    })
}

pub(super) fn whole(ask: &Ask) -> Json {
    let dimensions =
        ask.body.get("dimensions").and_then(Json::as_u64).unwrap_or(1536).clamp(1, MAX_DIMENSIONS);
    let base64 = ask.body.get("encoding_format").and_then(Json::as_str) == Some("base64");
    let inputs = inputs(&ask.body).unwrap_or_default();
    let vectors = inputs.iter().enumerate().map(|(index, input)| {
        let vector = embedding(input, dimensions as usize);
        let vector = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            Json::from(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    json!({"object": "list", "model": ask.model, "data": vectors.collect::<Vec<_>>(),
        "usage": {"prompt_tokens": ask.input_tokens, "total_tokens": ask.input_tokens}})
}
