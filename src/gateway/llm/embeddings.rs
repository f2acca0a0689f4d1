//! Embeddings of the providers that do not take OpenAI's requests for them.
//!
//! What does not live here: their addresses (each provider's file).

use super::cost::Usage;
use super::json::{count, list, object, present, text};
use super::{Answer, Call, Map, TransformError};
use serde_json::{Value as Json, json};

/// How a provider says it.
pub(super) struct Format {
    provider: &'static str,
    /// Whether a request holds one text only.
    single: bool,
    request: fn(&Wish<'_>) -> Json,
    /// The vectors of an answer.
    vectors: fn(&Json) -> Vec<Json>,
    /// The tokens of the texts, where an answer tells them.
    tokens: fn(&Json) -> Option<u64>,
}

/// What a client asks for.
struct Wish<'a> {
    model: &'a str,
    texts: Vec<String>,
    dimensions: Option<Json>,
    body: &'a Map,
}

pub(super) static COHERE: Format = Format {
    provider: "cohere",
    single: false,
    request: |wish| {
        let mut request = cohere(wish);
        request.insert("model".into(), wish.model.into());
        Json::Object(request)
    },
    vectors: cohere_vectors,
    tokens: |answer| count(answer, "/meta/billed_units/input_tokens"),
};

pub(super) static GEMINI: Format = Format {
    provider: "gemini",
    single: false,
    request: |wish| {
        let one = |text: &String| {
            Json::Object(object([
                ("model", Some(format!("models/{}", wish.model).into())),
                ("content", Some(json!({"parts": [{"text": text}]}))),
                ("outputDimensionality", wish.dimensions.clone()),
            ]))
        };
        json!({"requests": wish.texts.iter().map(one).collect::<Vec<_>>()})
    },
    vectors: |answer| members(list(answer, "/embeddings"), "/values"),
    tokens: |answer| count(answer, "/usageMetadata/promptTokenCount"),
};

pub(super) static VERTEX: Format = Format {
    provider: "gemini",
    single: false,
    request: |wish| {
        let texts = wish.texts.iter().map(|text| json!({"content": text}));
        let parameters = object([("outputDimensionality", wish.dimensions.clone())]);
        json!({"instances": texts.collect::<Vec<_>>(), "parameters": parameters})
    },
    vectors: |answer| members(list(answer, "/predictions"), "/embeddings/values"),
    tokens: |answer| {
        let counts = list(answer, "/predictions")
            .iter()
            .filter_map(|one| count(one, "/embeddings/statistics/token_count"));
        counts.reduce(|sum, tokens| sum.saturating_add(tokens))
    },
};

/// Amazon's own models in Bedrock.
static TITAN: Format = Format {
    provider: "bedrock",
    single: true,
    request: |wish| {
        Json::Object(object([
            ("inputText", wish.texts.first().map(|text| text.as_str().into())),
            ("dimensions", wish.dimensions.clone()),
        ]))
    },
    vectors: |answer| answer.get("embedding").cloned().into_iter().collect(),
    tokens: |answer| count(answer, "/inputTextTokenCount"),
};

/// Cohere's models in Bedrock.
static BEDROCK_COHERE: Format =
    Format { provider: "bedrock", request: |wish| Json::Object(cohere(wish)), tokens: |_| None, ..COHERE };

pub(super) static HUGGINGFACE: Format = Format {
    provider: "huggingface",
    single: false,
    request: |wish| json!({"inputs": wish.texts}),
    vectors: |answer| {
        let vectors = list(answer, "");
        if vectors.first().is_some_and(Json::is_number) { vec![answer.clone()] } else { vectors.to_vec() }
    },
    tokens: |_| None,
};

/// The format of a model in Bedrock.
pub(super) fn in_bedrock(call: &Call) -> &'static Format {
    if call.model_name().contains("cohere.") { &BEDROCK_COHERE } else { &TITAN }
}

fn cohere(wish: &Wish<'_>) -> Map {
    let kind = present(wish.body, "input_type").cloned().unwrap_or_else(|| "search_document".into());
    object([
        ("texts", Some(json!(wish.texts))),
        ("input_type", Some(kind)),
        ("embedding_types", Some(json!(["float"]))),
        ("output_dimension", wish.dimensions.clone()),
        ("truncate", present(wish.body, "truncate").cloned()),
    ])
}

fn cohere_vectors(answer: &Json) -> Vec<Json> {
    let plain = list(answer, "/embeddings");
    if plain.is_empty() { list(answer, "/embeddings/float").to_vec() } else { plain.to_vec() }
}

fn members(items: &[Json], pointer: &str) -> Vec<Json> {
    items.iter().filter_map(|item| item.pointer(pointer).cloned()).collect()
}

/// The texts of an `input`: one, or a list. Tokens, which only OpenAI's own models understand, are none.
fn texts(input: Option<&Json>) -> Option<Vec<String>> {
    match input? {
        Json::String(text) => Some(vec![text.clone()]),
        Json::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

impl Format {
    /// The provider's request.
    pub(super) fn request(&self, call: &Call, body: &Map) -> Result<Json, TransformError> {
        let wrong = |reason: &str| TransformError::Request {
            provider: self.provider,
            route: call.route.name(),
            reason: reason.into(),
        };
        let texts = texts(body.get("input"))
            .filter(|texts| !texts.is_empty())
            .ok_or_else(|| wrong("'input' must be a text or a list of texts"))?;
        if self.single && texts.len() > 1 {
            return Err(wrong("this model embeds one text a request"));
        }
        let dimensions = present(body, "dimensions").cloned();
        Ok((self.request)(&Wish { model: call.model_name(), texts, dimensions, body }))
    }

    /// OpenAI's answer.
    pub(super) fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        let wrong = |reason: &str| TransformError::Answer {
            provider: self.provider,
            route: call.route.name().into(),
            reason: reason.into(),
        };
        let body: Json = serde_json::from_slice(body).map_err(|_| wrong("failed to decode the response"))?;
        let vectors = (self.vectors)(&body);
        if vectors.is_empty() {
            return Err(wrong("no embeddings in the response"));
        }
        let prompt = (self.tokens)(&body).unwrap_or(call.estimate);
        let data = vectors
            .into_iter()
            .enumerate()
            .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}));
        let model = text(&body, "/model").unwrap_or_else(|| call.model_name());
        let result = json!({"object": "list", "data": data.collect::<Vec<_>>(), "model": model,
            "usage": {"prompt_tokens": prompt, "total_tokens": prompt}});
        Ok(Answer { body: Some(result), usage: Usage::new(Some(prompt), Some(0)), model: None })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{KONG_3_14, Model, Route};
    use super::*;
    use std::sync::Arc;

    fn call(model: &str) -> Call {
        Call {
            model: Arc::new(Model { name: Some(model.into()), ..Model::default() }),
            route: Route::Embeddings,
            streaming: false,
            rich: false,
            estimate: 7,
            usage_chunk: false,
            dialect: &KONG_3_14,
            now: 0,
            id: "x".into(),
        }
    }

    fn request(format: &Format, body: Json) -> Result<Json, String> {
        format.request(&call("m"), body.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_are_asked_for_in_each_format() {
        let two = || json!({"input": ["a", "b"], "dimensions": 2});
        assert_eq!(
            request(&COHERE, two()).unwrap(),
            json!({"model": "m", "texts": ["a", "b"], "input_type": "search_document",
                   "embedding_types": ["float"], "output_dimension": 2})
        );
        assert_eq!(
            request(&GEMINI, json!({"input": "a"})).unwrap(),
            json!({"requests": [{"model": "models/m", "content": {"parts": [{"text": "a"}]}}]})
        );
        assert_eq!(
            request(&VERTEX, two()).unwrap(),
            json!({"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"outputDimensionality": 2}})
        );
        assert_eq!(request(&TITAN, json!({"input": "a"})).unwrap(), json!({"inputText": "a"}));
        assert!(request(&TITAN, two()).unwrap_err().ends_with("one text a request"));
        assert!(request(&HUGGINGFACE, json!({"input": [1, 2]})).unwrap_err().contains("list of texts"));
    }

    #[test]
    fn vectors_are_found_in_each_answer() {
        for (format, answer, tokens) in [
            (
                &COHERE,
                json!({"embeddings": {"float": [[1.5]]}, "meta": {"billed_units": {"input_tokens": 3}}}),
                3,
            ),
            (&BEDROCK_COHERE, json!({"embeddings": [[1.5]]}), 7),
            (&GEMINI, json!({"embeddings": [{"values": [1.5]}]}), 7),
            (
                &VERTEX,
                json!({"predictions": [{"embeddings": {"values": [1.5], "statistics": {"token_count": 4.0}}}]}),
                4,
            ),
            (&TITAN, json!({"embedding": [1.5], "inputTextTokenCount": 2}), 2),
            (&HUGGINGFACE, json!([[1.5]]), 7),
            (&HUGGINGFACE, json!([1.5]), 7),
        ] {
            let given = format.answer(&call("m"), answer.to_string().as_bytes()).unwrap().body.unwrap();
            assert_eq!(given["data"], json!([{"object": "embedding", "index": 0, "embedding": [1.5]}]));
            assert_eq!(given["usage"], json!({"prompt_tokens": tokens, "total_tokens": tokens}));
        }
        assert!(GEMINI.answer(&call("m"), b"{}").is_err());
    }
}
