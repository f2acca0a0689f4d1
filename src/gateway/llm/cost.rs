//! Tokens: as providers count them, as they are estimated, and what they cost.

use super::json::count;
use super::{Map, Options};
use serde_json::{Value as Json, json};

/// Tokens of one request. What the provider did not say is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt: Option<u64>,
    /// Tokens of the answer.
    pub completion: Option<u64>,
    /// Both, where the provider gives a sum of its own.
    pub total: Option<u64>,
    /// Tokens of the prompt that came from the provider's cache.
    pub cached: Option<u64>,
}

impl Usage {
    /// Tokens of prompt and answer.
    pub fn new(prompt: Option<u64>, completion: Option<u64>) -> Usage {
        Usage { prompt, completion, total: None, cached: None }
    }

    /// Reads OpenAI's `usage` object.
    pub fn from_openai(usage: &Json) -> Usage {
        Usage {
            prompt: count(usage, "/prompt_tokens").or_else(|| count(usage, "/input_tokens")),
            completion: count(usage, "/completion_tokens").or_else(|| count(usage, "/output_tokens")),
            total: count(usage, "/total_tokens"),
            cached: count(usage, "/prompt_tokens_details/cached_tokens"),
        }
    }

    /// The sum of both.
    pub fn total(&self) -> u64 {
        self.total.unwrap_or_else(|| {
            self.prompt.unwrap_or_default().saturating_add(self.completion.unwrap_or_default())
        })
    }

    /// OpenAI's `usage` object.
    pub fn to_json(&self) -> Json {
        let mut usage = json!({
            "prompt_tokens": self.prompt.unwrap_or_default(),
            "completion_tokens": self.completion.unwrap_or_default(),
            "total_tokens": self.total(),
        });
        if let (Some(cached), Some(members)) = (self.cached, usage.as_object_mut()) {
            members.insert("prompt_tokens_details".into(), json!({"cached_tokens": cached}));
        }
        usage
    }

    /// This, and where it is silent the other.
    #[must_use]
    pub fn or(self, other: Usage) -> Usage {
        Usage {
            prompt: self.prompt.or(other.prompt),
            completion: self.completion.or(other.completion),
            total: self.total.or(other.total),
            cached: self.cached.or(other.cached),
        }
    }

    /// The price by the model's configured costs; `None` unless both are configured.
    pub fn cost(&self, options: &Options) -> Option<f64> {
        let (input, output) = options.input_cost.zip(options.output_cost)?;
        let tokens = |count: Option<u64>| count.unwrap_or_default() as f64;
        Some((tokens(self.prompt) * input + tokens(self.completion) * output) / 1_000_000.0)
    }
}

/// Kong's estimate of a request's tokens: its words times a factor (1.8 for streams, 1.0 otherwise), rounded.
pub fn estimate_tokens(body: &Map, factor: f64) -> u64 {
    let in_text = |text: &str| match text.is_ascii() {
        true => text.split_ascii_whitespace().count(),
        false => text.split_whitespace().count(),
    };
    let words = |content: &Json| match content {
        Json::String(text) => in_text(text),
        Json::Array(parts) => parts
            .iter()
            .filter_map(|part| part.as_str().or_else(|| part.get("text").and_then(Json::as_str)))
            .map(in_text)
            .sum(),
        _ => 0,
    };
    let count = match (body.get("messages").and_then(Json::as_array), body.get("prompt")) {
        (Some(messages), _) => messages.iter().filter_map(|message| message.get("content")).map(words).sum(),
        (None, Some(prompt)) => words(prompt),
        (None, None) => body.get("input").map_or(0, words),
    };
    (count as f64 * factor).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_in_texts_and_parts() {
        let body = json!({"messages": [
            {"role": "user", "content": "one two  three"},
            {"role": "user", "content": [{"type": "text", "text": "four five"}, {"type": "image_url"}]},
        ]});
        let estimate = |body: &Json, factor| body.as_object().map(|members| estimate_tokens(members, factor));
        assert_eq!(estimate(&body, 1.0), Some(5));
        assert_eq!(estimate(&body, 1.8), Some(9));
        assert_eq!(estimate(&json!({"prompt": "a b"}), 1.0), Some(2));
        assert_eq!(estimate(&json!({"input": ["a b", "c"]}), 1.0), Some(3));
    }

    #[test]
    fn a_price_needs_both_costs() {
        let usage = Usage::new(Some(1000), Some(500));
        let mut options = Options { input_cost: Some(2.0), ..Options::default() };
        assert_eq!(usage.cost(&options), None);
        options.output_cost = Some(4.0);
        assert_eq!(usage.cost(&options), Some(0.004));
        assert_eq!(usage.total(), 1500);
    }
}
