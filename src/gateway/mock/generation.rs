//! Text generation, as Hugging Face and the servers of raw models offer it.

use super::api::{Api, Problem, Question, Wrong, texts};
use super::reply::{Ask, said, tokens};
use bytes::Bytes;
use serde_json::{Value as Json, json};

pub(super) const GENERATE: Api = Api {
    name: "text-generation",
    id_header: "x-request-id",
    stream_type: "text/event-stream",
    ask,
    whole,
    pieces,
    error: |problem: &Problem<'_>| json!({"error": problem.message, "error_type": "validation"}),
    broken: sse,
};

fn sse(event: &Json) -> Bytes {
    format!("data: {event}\n\n").into()
}

fn ask(question: &Question<'_>) -> Result<Ask, Wrong> {
    let body = question.body;
    let inputs = said(Some(body.get("inputs").ok_or("Input validation error: `inputs` is missing")?));
    let count = |name: &str| body.pointer(&format!("/parameters/{name}")).and_then(Json::as_u64);
    let named = question.path.rsplit_once("/models/").map(|(_, model)| model);
    // the last turn of a conversation in Llama's marks
    let turn = inputs.trim_end().trim_end_matches("[/INST]").rsplit("[INST]").next().unwrap_or_default();
    let turn =
        turn.rsplit("<</SYS>>").next().unwrap_or_default().rsplit("<<SYS>>").next().unwrap_or_default();
    Ok(Ask {
        model: body.get("model").and_then(Json::as_str).or(named).unwrap_or("text-generation").to_owned(),
        input_tokens: tokens(&inputs),
        prompt: turn.trim().to_owned(),
        max_tokens: count("max_new_tokens").or_else(|| count("max_length")),
        stop: texts(body.pointer("/parameters/stop")),
        stream: match question.path {
            "/" => body.pointer("/parameters/stream") == Some(&Json::Bool(true)),
            path => path.ends_with("/generate_stream") || body.get("stream") == Some(&Json::Bool(true)),
        },
        ..Ask::default()
    })
}

fn details(ask: &Ask) -> Json {
    let reason = ask.end.word(["eos_token", "length", "stop_sequence", "eos_token"]);
    json!({"finish_reason": reason, "generated_tokens": ask.output_tokens()})
}

fn whole(ask: &Ask) -> Json {
    json!([{"generated_text": ask.text, "details": details(ask)}])
}

fn pieces(ask: &Ask) -> Vec<Bytes> {
    let last = ask.words().count().saturating_sub(1);
    let token = |place: usize, word: &str| {
        let whole = (place == last).then(|| (ask.text.as_str(), details(ask)));
        json!({"index": place + 1, "token": {"id": place, "text": word, "logprob": 0.0, "special": false},
               "generated_text": whole.as_ref().map(|(text, _)| text),
               "details": whole.as_ref().map(|(_, details)| details)})
    };
    ask.words().enumerate().map(|(place, word)| sse(&token(place, word))).collect()
}
