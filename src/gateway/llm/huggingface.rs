//! Hugging Face's inference API: chats as text-generation servers take them, and text generation.

use super::cost::Usage;
use super::embeddings;
use super::framing::Event;
use super::json::{count, list, present, rename, text};
use super::llama2::finish;
use super::openai::{self, merge_options};
use super::stream::{Chunk, Seen, Translate, chunk, error_chunk};
use super::{Answer, Call, Manners, Map, Provider, Route, TransformError};
use serde_json::{Value as Json, json};

pub(super) struct HuggingFace;

impl Provider for HuggingFace {
    fn name(&self) -> &'static str {
        "huggingface"
    }

    fn address(&self, call: &Call) -> Result<String, TransformError> {
        let suffix = self.path_suffix(call);
        Ok(format!("https://api-inference.huggingface.co/models/{}{suffix}", call.model_name()))
    }

    fn path_suffix(&self, call: &Call) -> &'static str {
        if matches!(call.route, Route::Completions | Route::Embeddings) { "" } else { "/v1/chat/completions" }
    }

    fn request(&self, call: &Call, mut body: Map) -> Result<Json, TransformError> {
        match call.route {
            Route::Chat | Route::Completions => {}
            Route::Embeddings => return embeddings::HUGGINGFACE.request(call, &body),
            Route::Preserve => return Ok(Json::Object(body)),
            route => return Err(TransformError::NoOperation { provider: self.name(), route: route.name() }),
        }
        merge_options(&mut body, &call.model.options);
        if call.route == Route::Chat && call.dialect.complete_requests {
            // the chat endpoint reads OpenAI's parameters where OpenAI has them
            return openai::request(self.name(), call, body, true);
        }
        let mut parameters = match body.remove("parameters") {
            Some(Json::Object(given)) => given,
            _ => Map::new(),
        };
        for key in ["top_k", "top_p", "temperature"] {
            if let Some(value) = body.remove(key).filter(|value| !value.is_null()) {
                parameters.entry(key).or_insert(value);
            }
        }
        let limit = body.remove("max_tokens").filter(|limit| !limit.is_null());
        if let Some(limit) = limit.filter(|_| !parameters.contains_key("max_tokens")) {
            let name = if present(&body, "messages").is_some() { "max_length" } else { "max_new_tokens" };
            parameters.insert(name.into(), limit);
        }
        if call.route == Route::Completions {
            rename(&mut body, "prompt", "inputs");
        }
        let options = &call.model.options;
        body.insert(
            "options".into(),
            json!({
                "use_cache": options.huggingface_use_cache.unwrap_or(false),
                "wait_for_model": options.huggingface_wait_for_model.unwrap_or(false),
            }),
        );
        body.insert("parameters".into(), Json::Object(parameters));
        if let Some(name) = &call.model.name {
            body.insert("model".into(), name.as_str().into());
        }
        if call.streaming {
            body.insert("stream".into(), true.into());
        }
        Ok(Json::Object(body))
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        if call.route == Route::Embeddings {
            return embeddings::HUGGINGFACE.answer(call, body);
        }
        let wrong = |reason: &str| TransformError::Answer {
            provider: "huggingface",
            route: call.route.name().into(),
            reason: reason.into(),
        };
        let body: Json = serde_json::from_slice(body).map_err(|_| wrong("Failed to decode response"))?;
        if let Some(error) =
            body.get("error").or_else(|| body.get("message")).filter(|error| !error.is_null())
        {
            let error = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
            return Err(wrong(&format!("API error: {error}")));
        }
        let complete = call.dialect.complete_answers;
        let item = body.get(0).or(Some(&body).filter(|_| complete)).unwrap_or(&Json::Null);
        let generated = text(item, "/generated_text");
        if complete && generated.is_none() && call.route == Route::Chat {
            return openai::answer(
                self.name(),
                call,
                serde_json::to_vec(&body).unwrap_or_default().as_slice(),
            );
        }
        let reason = finish(item);
        let choice = |index: usize, content: &str| {
            if complete && call.route == Route::Completions {
                json!({"index": index, "text": content, "finish_reason": reason, "logprobs": null})
            } else if complete {
                json!({"index": index, "message": {"role": "assistant", "content": content},
                       "finish_reason": reason})
            } else {
                json!({"index": index, "message": {"content": content}, "finish_reason": "complete"})
            }
        };
        let choices: Vec<Json> = match generated {
            Some(generated) => vec![choice(0, generated)],
            None if body.get("choices").is_some() => list(&body, "/choices")
                .iter()
                .enumerate()
                .map(|(index, given)| {
                    let content =
                        text(given, "/message/content").or_else(|| text(given, "/text").filter(|_| complete));
                    choice(index, content.unwrap_or_default())
                })
                .collect(),
            None => return Err(wrong("Invalid response format")),
        };
        let tokens = count(item, "/details/generated_tokens").filter(|_| complete);
        let usage =
            body.get("usage").map(Usage::from_openai).unwrap_or_default().or(Usage::new(None, tokens));
        let usage = call.counted(usage, generated.unwrap_or_default().chars().count());
        let object = match (text(&body, "/object"), call.route) {
            (Some(object), _) => object,
            (None, Route::Completions) if complete => "text_completion",
            (None, _) if complete => "chat.completion",
            (None, route) => route.name(),
        };
        let result = json!({
            "id": call.answer_id(text(&body, "/id")),
            "object": object,
            "created": call.now,
            "model": call.model_name(),
            "choices": choices,
            "usage": match body.get("usage") {
                _ if complete => usage.to_json(),
                Some(given) => given.clone(),
                None => json!({}),
            },
        });
        Ok(Answer { body: Some(result), usage, model: None })
    }

    fn manners(&self) -> Manners {
        Manners { ignores_override: true, ..Manners::default() }
    }

    fn stream(&self, call: &Call) -> Box<dyn Translate> {
        if call.dialect.complete_answers && call.route == Route::Chat {
            Box::new(openai::Relay::default())
        } else {
            Box::new(Stream)
        }
    }
}

/// Chats in OpenAI's chunks, of which Kong 3.10 keeps the text; generation as tokens.
struct Stream;

impl Translate for Stream {
    fn event(&mut self, call: &Call, event: &Event, seen: &mut Seen) -> Vec<Chunk> {
        // Kong 3.10 does not pass the end mark on.
        if event.data == "[DONE]" && call.dialect.complete_answers {
            return vec![Chunk::Done];
        }
        let Ok(body) = serde_json::from_str::<Json>(&event.data) else { return Vec::new() };
        if let Some(message) = text(&body, "/error").filter(|_| call.dialect.complete_answers) {
            return vec![error_chunk("server_error", message)];
        }
        let delta = if call.route == Route::Completions {
            json!({"content": text(&body, "/token/text").unwrap_or_default()})
        } else {
            let written = text(&body, "/choices/0/delta/content").unwrap_or_default();
            json!({"content": written, "role": "assistant"})
        };
        seen.note(text(&delta, "/content").unwrap_or_default());
        let mut piece = chunk(call, seen, delta, None);
        if let (Some(model), Some(members)) =
            (text(&body, "/model").filter(|_| call.route == Route::Chat), piece.as_object_mut())
        {
            members.insert("model".into(), model.into());
        }
        let mut chunks = vec![Chunk::Json(piece)];
        if body.get("generated_text").is_some_and(|generated| !generated.is_null()) {
            seen.finish = Some(finish(&body));
            seen.usage.completion = count(&body, "/details/generated_tokens");
            chunks.push(Chunk::Done);
        }
        chunks
    }
}
