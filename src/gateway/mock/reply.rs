//! What the mock provider says: its texts, its tool calls, and how it counts tokens.

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

/// How much of the prompt is repeated, in characters.
const GIST: usize = 160;

/// What a request asks, whatever the API.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) model: String,
    /// The last thing the user said.
    pub(super) prompt: String,
    /// Everything that was said, for counting.
    pub(super) input_tokens: u64,
    pub(super) max_tokens: Option<u64>,
    pub(super) stream: bool,
    /// Whether the client wants the usage in the stream (OpenAI).
    pub(super) usage_chunk: bool,
    /// Whether the last chunk carries the usage unasked (Mistral).
    pub(super) usage_at_end: bool,
    pub(super) tool: Option<ToolCall>,
    /// Whether the answer must be JSON.
    pub(super) json: bool,
    /// How many answers (OpenAI's `n`).
    pub(super) choices: usize,
    /// Texts to embed, and how: dimensions and whether base64 is wanted.
    pub(super) inputs: Vec<String>,
    pub(super) dimensions: usize,
    pub(super) base64: bool,
}

/// A call of a tool that the answer makes.
#[derive(Clone, Debug)]
pub(super) struct ToolCall {
    pub(super) name: String,
    pub(super) arguments: Json,
}

/// Tokens of a text: one for every four characters that were begun.
pub(super) fn tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(4)
}

impl Ask {
    /// The answer's text: the model's name and the prompt's gist, cut at `max_tokens`.
    pub(super) fn text(&self) -> String {
        let gist: String = self.prompt.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = gist.chars().take(GIST).collect();
        let dots = if short.len() < gist.len() { "..." } else { "" };
        let text = if self.json {
            json!({"model": self.model, "prompt": format!("{short}{dots}")}).to_string()
        } else {
            format!("This is {} as the mock provider plays it. You said: {short}{dots}", self.model)
        };
        match self.max_tokens {
            Some(most) => {
                text.chars().take(usize::try_from(most.saturating_mul(4)).unwrap_or(usize::MAX)).collect()
            }
            None => text,
        }
    }

    /// Whether the text was cut at `max_tokens`.
    pub(super) fn is_cut(&self) -> bool {
        let whole = Ask {
            max_tokens: None,
            model: self.model.clone(),
            prompt: self.prompt.clone(),
            json: self.json,
            ..Ask::default()
        };
        self.tool.is_none() && self.max_tokens.is_some() && self.text().len() < whole.text().len()
    }

    /// The text in pieces: words with the space before them.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for word in self.text().split_inclusive(' ') {
            words.push(word.to_owned());
        }
        words
    }

    /// Tokens of the answer.
    pub(super) fn output_tokens(&self) -> u64 {
        match &self.tool {
            Some(call) => tokens(&call.name) + tokens(&call.arguments.to_string()),
            None => tokens(&self.text()),
        }
    }

    /// An id that is the same for the same request.
    pub(super) fn id(&self, prefix: &str) -> String {
        let hash = Sha256::digest(format!("{}\n{}\n{}", self.model, self.prompt, self.input_tokens));
        format!("{prefix}{}", hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

/// The text of a message's content: itself, or the texts of its parts.
pub(super) fn said(content: Option<&Json>) -> String {
    match content {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Array(parts)) => parts
            .iter()
            .filter_map(|part| {
                let nested = part.get("content").map(|content| said(Some(content)));
                part.as_str()
                    .or_else(|| part.get("text").and_then(Json::as_str))
                    .map(str::to_owned)
                    .or(nested)
            })
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::new(),
    }
}

/// The last user's text and the tokens of all messages. `content` is the member that holds it.
pub(super) fn conversation(messages: &[Json], content: &str) -> (String, u64) {
    let total = messages.iter().map(|message| tokens(&said(message.get(content)))).sum();
    let last = messages
        .iter()
        .rev()
        .find(|message| {
            !matches!(
                message.get("role").and_then(Json::as_str),
                Some("system" | "assistant" | "model" | "CHATBOT")
            )
        })
        .or(messages.last());
    (last.map(|message| said(message.get(content))).unwrap_or_default(), total)
}

/// A call of the tool, with arguments that fit its JSON Schema.
pub(super) fn call_tool(name: &str, schema: Option<&Json>) -> ToolCall {
    ToolCall {
        name: name.to_owned(),
        arguments: schema.map_or_else(|| json!({}), |schema| example(schema, 0)),
    }
}

/// A value that fits a schema: the same for the same schema.
fn example(schema: &Json, depth: usize) -> Json {
    let first =
        |key: &str| schema.get(key).and_then(Json::as_array).and_then(|values| values.first()).cloned();
    if let Some(value) =
        schema.get("default").cloned().or_else(|| schema.get("const").cloned()).or_else(|| first("enum"))
    {
        return value;
    }
    match schema.get("type").and_then(Json::as_str) {
        Some("string") => "mock".into(),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => true.into(),
        Some("null") => Json::Null,
        Some("array") => match schema.get("items").filter(|_| depth < 8) {
            Some(items) => json!([example(items, depth + 1)]),
            None => json!([]),
        },
        _ => {
            let properties = schema.get("properties").and_then(Json::as_object);
            let members = properties.into_iter().flatten().filter(|_| depth < 8);
            Json::Object(
                members.map(|(key, schema)| (key.clone(), example(schema, depth + 1))).collect::<Map<_, _>>(),
            )
        }
    }
}

/// A vector of length one, the same for the same text.
pub(super) fn embedding(text: &str, dimensions: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(dimensions);
    let mut block = Sha256::digest(text.as_bytes());
    while values.len() < dimensions {
        values.extend(block.iter().map(|byte| (f32::from(*byte) - 127.5) / 127.5));
        block = Sha256::digest(block);
    }
    values.truncate(dimensions);
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_name_the_model_and_repeat_the_prompt() {
        let ask = Ask { model: "m".into(), prompt: "  what is\n  Kong? ".into(), ..Ask::default() };
        assert!(ask.text().contains("This is m ") && ask.text().ends_with("You said: what is Kong?"));
        assert_eq!(ask.words().concat(), ask.text());
        assert!(!ask.is_cut());
        let cut = Ask { max_tokens: Some(2), ..ask };
        assert_eq!((cut.text().as_str(), cut.is_cut(), cut.output_tokens()), ("This is ", true, 2));
    }

    #[test]
    fn tools_are_called_with_arguments_of_their_schema() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]},
            "tags": {"type": "array", "items": {"type": "boolean"}}}});
        assert_eq!(
            call_tool("x", Some(&schema)).arguments,
            json!({"city": "mock", "days": 1, "unit": "C", "tags": [true]})
        );
    }

    #[test]
    fn embeddings_are_of_length_one_and_the_same_again() {
        let vector = embedding("a", 100);
        assert_eq!(vector.len(), 100);
        assert!((vector.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-4);
        assert_eq!(vector, embedding("a", 100));
        assert_ne!(vector, embedding("b", 100));
    }

    #[test]
    fn four_characters_are_a_token() {
        assert_eq!([tokens(""), tokens("abc"), tokens("abcd"), tokens("äöüßx")], [0, 1, 1, 2]);
    }
}
