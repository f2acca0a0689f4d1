//! `completions`.

use super::super::api::{Question, Wrong};
use super::super::reply::{Ask, said, tokens};
use super::{CREATED, common, finish, sse, usage, wants_usage};
use bytes::Bytes;
use serde_json::{Value as Json, json};

/// The most prompts of one request.
const MAX_PROMPTS: usize = 64;

/// The prompts of a request: one, or a list. A list of numbers is one prompt in tokens.
fn prompts(body: &Json) -> Vec<String> {
    match body.get("prompt").and_then(Json::as_array) {
        Some(items) if !items.iter().all(Json::is_number) => {
            items.iter().take(MAX_PROMPTS).map(|item| said(Some(item))).collect()
        }
        _ => vec![said(body.get("prompt"))],
    }
}

pub(super) fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    if body.get("prompt").is_none_or(Json::is_null) {
        let message = "Missing required parameter: 'prompt'.".to_owned();
        return Err(Wrong { message, param: Some("prompt") });
    }
    let prompts = prompts(body);
    let common = common(body);
    Ok(Ask {
        input_tokens: prompts.iter().map(|prompt| tokens(prompt)).sum(),
        prompt: prompts.first().cloned().unwrap_or_default(),
        choices: common.choices * prompts.len().max(1),
        ..common
    })
}

/// What is said to each prompt, as often as it is asked for.
fn answers(ask: &Ask) -> Vec<Ask> {
    let prompts = prompts(&ask.body);
    let each = ask.choices / prompts.len().max(1);
    let answer = |prompt: String| {
        let mut one = Ask { prompt, ..ask.clone() };
        one.settle();
        if ask.body.get("echo") == Some(&Json::Bool(true)) {
            one.text.insert_str(0, &one.prompt);
        }
        std::iter::repeat_n(one, each)
    };
    prompts.into_iter().flat_map(answer).collect()
}

fn logprobs(ask: &Ask) -> Json {
    if ask.body.get("logprobs").and_then(Json::as_u64).is_none() {
        return Json::Null;
    }
    let tokens: Vec<&str> = ask.words().collect();
    let mut offset = 0;
    let offsets: Vec<usize> = tokens
        .iter()
        .map(|token| {
            offset += token.chars().count();
            offset - token.chars().count()
        })
        .collect();
    let top = tokens.iter().map(|token| json!({*token: -0.1}));
    json!({"tokens": tokens, "token_logprobs": vec![-0.1; tokens.len()], "text_offset": offsets,
           "top_logprobs": top.collect::<Vec<_>>()})
}

pub(super) fn whole(ask: &Ask) -> Json {
    let choices = answers(ask).into_iter().enumerate().map(|(index, one)| {
        json!({"index": index, "text": one.text, "logprobs": logprobs(&one), "finish_reason": finish(&one)})
    });
    json!({"id": ask.id("cmpl-"), "object": "text_completion", "created": CREATED, "model": ask.model,
        "choices": choices.collect::<Vec<_>>(), "usage": usage(ask)})
}

pub(super) fn pieces(ask: &Ask) -> Vec<Bytes> {
    let piece = |choices: Json, usage: Option<Json>| {
        sse(
            &json!({"id": ask.id("cmpl-"), "object": "text_completion", "created": CREATED, "model": ask.model,
            "choices": choices, "usage": usage}),
        )
    };
    let choice = |index: usize, text: &str, finish: Option<&str>| json!([{"index": index, "text": text, "logprobs": null, "finish_reason": finish}]);
    let mut pieces = Vec::new();
    for (index, one) in answers(ask).iter().enumerate() {
        pieces.extend(one.words().map(|word| piece(choice(index, word, None), None)));
        pieces.push(piece(choice(index, "", Some(finish(one))), None));
    }
    if wants_usage(ask) {
        pieces.push(piece(json!([]), Some(usage(ask))));
    }
    pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces
}
