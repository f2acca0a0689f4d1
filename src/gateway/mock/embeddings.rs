//! Embeddings of the providers that do not answer as OpenAI does.

use super::api::{Api, Question, Wrong};
use super::example::embedding;
use super::reply::{Ask, tokens};
use super::{bedrock, cohere, gemini, generation};
use serde_json::{Value as Json, json};

/// How many dimensions an embedding has.
const DIMENSIONS: usize = 256;

pub(super) const COHERE: Api = Api {
    ask: |question| ask(question, "/model", |body| Some(strings(body.get("texts")?))),
    whole: |ask| {
        let vectors =
            vectors(ask, strings(ask.body.get("texts").unwrap_or(&Json::Null)), "/output_dimension");
        json!({"id": ask.id(""), "response_type": "embeddings_by_type", "embeddings": {"float": vectors},
               "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": ask.input_tokens}}})
    },
    ..cohere::CHAT_2
};

pub(super) const GEMINI: Api = Api {
    ask: |question| ask(question, "", |body| contents(body, "requests", "/content/parts/0/text")),
    whole: |ask| {
        let texts = contents(&ask.body, "requests", "/content/parts/0/text").unwrap_or_default();
        let values = vectors(ask, texts, "/requests/0/outputDimensionality");
        json!({"embeddings": values.into_iter().map(|values| json!({"values": values})).collect::<Vec<_>>()})
    },
    ..gemini::GENERATE
};

pub(super) const VERTEX: Api = Api {
    ask: |question| ask(question, "", |body| contents(body, "instances", "/content")),
    whole: |ask| {
        let texts = contents(&ask.body, "instances", "/content").unwrap_or_default();
        let counts: Vec<u64> = texts.iter().map(|text| tokens(text)).collect();
        let values = vectors(ask, texts, "/parameters/outputDimensionality").into_iter().zip(counts);
        let one =
            |(values, count)| json!({"embeddings": {"values": values, "statistics": {"token_count": count}}});
        json!({"predictions": values.map(one).collect::<Vec<_>>()})
    },
    ..gemini::GENERATE
};

/// Amazon's and Cohere's models.
pub(super) const BEDROCK: Api = Api {
    ask: |question| ask(question, "", invoked),
    whole: |ask| {
        let single = ask.body.get("inputText").is_some();
        let mut vectors = vectors(ask, invoked(&ask.body).unwrap_or_default(), "/dimensions");
        if single {
            return json!({"embedding": vectors.pop(), "inputTextTokenCount": ask.input_tokens});
        }
        json!({"id": ask.id(""), "response_type": "embeddings_by_type", "embeddings": {"float": vectors}})
    },
    ..bedrock::CONVERSE
};

pub(super) const HUGGINGFACE: Api = Api {
    ask: |question| ask(question, "", |body| Some(strings(body.get("inputs")?))),
    whole: |ask| json!(vectors(ask, strings(ask.body.get("inputs").unwrap_or(&Json::Null)), "")),
    ..generation::GENERATE
};

fn strings(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn contents(body: &Json, list: &str, at: &str) -> Option<Vec<String>> {
    let items = body.get(list)?.as_array()?.iter();
    Some(items.filter_map(|item| item.pointer(at)?.as_str().map(str::to_owned)).collect())
}

fn invoked(body: &Json) -> Option<Vec<String>> {
    match body.get("inputText").and_then(Json::as_str) {
        Some(text) => Some(vec![text.to_owned()]),
        None => Some(strings(body.get("texts")?)),
    }
}

fn vectors(ask: &Ask, texts: Vec<String>, dimensions: &str) -> Vec<Vec<f32>> {
    let wanted = ask.body.pointer(dimensions).and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
    let dimensions = wanted.unwrap_or(DIMENSIONS).clamp(1, 4096);
    texts.iter().map(|text| embedding(text, dimensions)).collect()
}

/// What a request asks; `model` is where its body names the model.
fn ask(question: &Question<'_>, model: &str, texts: fn(&Json) -> Option<Vec<String>>) -> Result<Ask, Wrong> {
    let body = question.body;
    let texts = texts(body).filter(|texts| !texts.is_empty()).ok_or("there are no texts to embed")?;
    let in_path = question.path.rsplit_once("/models/").or(question.path.rsplit_once("/model/"));
    let in_path = in_path.map_or("", |(_, rest)| rest.split([':', '/']).next().unwrap_or_default());
    let named = body.pointer(model).and_then(Json::as_str).unwrap_or(in_path);
    Ok(Ask {
        model: named.to_owned(),
        input_tokens: texts.iter().map(|text| tokens(text)).sum(),
        prompt: texts.first().cloned().unwrap_or_default(),
        ..Ask::default()
    })
}
