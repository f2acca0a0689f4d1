//! Native formats (`llm_format`): clients that speak a provider's own format to that provider. Bodies pass as they
//! are; what is read here is only for prompt plugins and statistics.

use super::json::{content_text, list, object, text};
use super::{Map, Usage};
use serde_json::{Value as Json, json};

/// A provider's own format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// Anthropic's Messages API.
    Anthropic,
    /// Bedrock's Converse API.
    Bedrock,
    /// Cohere's chat API.
    Cohere,
    /// Gemini's generateContent.
    Gemini,
    /// Hugging Face's text generation.
    HuggingFace,
}

impl Native {
    const NAMES: [(&'static str, Native); 5] = [
        ("anthropic", Native::Anthropic),
        ("bedrock", Native::Bedrock),
        ("cohere", Native::Cohere),
        ("gemini", Native::Gemini),
        ("huggingface", Native::HuggingFace),
    ];

    /// The format of an `llm_format`; `None` for OpenAI's.
    pub fn from_name(name: Option<&str>) -> Option<Native> {
        Self::NAMES.iter().find(|(known, _)| Some(*known) == name).map(|(_, native)| *native)
    }

    /// The provider that speaks this format, which is also the format's name.
    pub fn provider(self) -> &'static str {
        Self::NAMES.iter().find(|(_, native)| *native == self).map_or("", |(name, _)| *name)
    }

    /// The request as OpenAI's format would say it: messages, model and whether it asks for a stream. `path` is
    /// the client's, which names model and operation in some formats.
    pub fn to_openai(self, body: &Map, path: &str) -> Map {
        let body = Json::Object(body.clone());
        let (messages, model, stream) = match self {
            Native::Anthropic => {
                let mut messages = system(body.get("system").map(content_text));
                messages.extend(list(&body, "/messages").iter().map(|message| said(message, "/content")));
                (messages, text(&body, "/model").map(str::to_owned), asks_stream(&body))
            }
            Native::Bedrock => {
                let (model, operation) = operation(path, "/model/", '/');
                let mut messages = system(body.get("system").map(content_text));
                messages.extend(list(&body, "/messages").iter().map(|message| said(message, "/content")));
                (messages, model, operation == Some("converse-stream"))
            }
            Native::Gemini => {
                let (model, operation) = operation(path, "/models/", ':');
                let prompt = body
                    .get("systemInstruction")
                    .or_else(|| body.get("system_instruction"))
                    .and_then(|system| system.get("parts"))
                    .map(content_text);
                let mut messages = system(prompt);
                messages.extend(list(&body, "/contents").iter().map(|message| said(message, "/parts")));
                (messages, model, operation == Some("streamGenerateContent"))
            }
            Native::Cohere => {
                let mut messages: Vec<Json> =
                    list(&body, "/messages").iter().map(|message| said(message, "/content")).collect();
                messages.extend(list(&body, "/chat_history").iter().map(|message| said(message, "/message")));
                messages.extend(text(&body, "/message").map(|said| json!({"role": "user", "content": said})));
                (messages, text(&body, "/model").map(str::to_owned), asks_stream(&body))
            }
            Native::HuggingFace => {
                let mut messages: Vec<Json> =
                    list(&body, "/messages").iter().map(|message| said(message, "/content")).collect();
                messages.extend(text(&body, "/inputs").map(|said| json!({"role": "user", "content": said})));
                (messages, text(&body, "/model").map(str::to_owned), asks_stream(&body))
            }
        };
        object([
            ("messages", Some(messages.into())),
            ("model", model.map(Json::from)),
            ("stream", stream.then(|| true.into())),
        ])
    }

    /// Keeps what the client's path asks for besides an answer: a count of tokens.
    pub fn keep_operation(self, path: &str, own: &mut String) {
        match self {
            Native::Anthropic if path.ends_with("/messages/count_tokens") => own.push_str("/count_tokens"),
            Native::Gemini if path.ends_with(":countTokens") => {
                *own = own.replace(":generateContent", ":countTokens");
            }
            _ => {}
        }
    }

    /// The tokens of an answer in this format.
    pub fn usage(self, answer: &Json) -> Usage {
        let at = |pointer: &str| super::json::count(answer, pointer);
        let (prompt, completion) = match self {
            Native::Anthropic => ("/usage/input_tokens", "/usage/output_tokens"),
            Native::Bedrock => ("/usage/inputTokens", "/usage/outputTokens"),
            Native::Gemini => ("/usageMetadata/promptTokenCount", "/usageMetadata/candidatesTokenCount"),
            Native::Cohere => {
                return Usage::new(
                    at("/meta/billed_units/input_tokens").or_else(|| at("/usage/billed_units/input_tokens")),
                    at("/meta/billed_units/output_tokens")
                        .or_else(|| at("/usage/billed_units/output_tokens")),
                );
            }
            Native::HuggingFace => ("/usage/prompt_tokens", "/usage/completion_tokens"),
        };
        Usage::new(at(prompt), at(completion))
    }

    /// The model that answered, when the format says so.
    pub fn answering_model(self, answer: &Json) -> Option<String> {
        let pointer = if self == Native::Gemini { "/modelVersion" } else { "/model" };
        text(answer, pointer).map(str::to_owned)
    }
}

fn asks_stream(body: &Json) -> bool {
    body.get("stream") == Some(&Json::Bool(true))
}

fn system(prompt: Option<String>) -> Vec<Json> {
    prompt.map(|prompt| json!({"role": "system", "content": prompt})).into_iter().collect()
}

/// A message with its text, the role in OpenAI's words.
fn said(message: &Json, content: &str) -> Json {
    let role = match text(message, "/role") {
        Some("model" | "assistant" | "CHATBOT") => "assistant",
        Some("system" | "SYSTEM") => "system",
        Some("function" | "tool" | "TOOL") => "tool",
        _ => "user",
    };
    json!({"role": role, "content": message.pointer(content).map(content_text).unwrap_or_default()})
}

/// Model and operation at the end of a path: `/models/MODEL:OPERATION`, `/model/MODEL/OPERATION`.
fn operation<'a>(path: &'a str, before: &str, between: char) -> (Option<String>, Option<&'a str>) {
    let Some((model, operation)) = path.rsplit_once(before).and_then(|(_, rest)| rest.rsplit_once(between))
    else {
        return (None, None);
    };
    let model = percent_encoding::percent_decode_str(model).decode_utf8_lossy().into_owned();
    (Some(model), Some(operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(native: Native, body: Json, path: &str) -> Json {
        Json::Object(native.to_openai(body.as_object().unwrap_or(&Map::new()), path))
    }

    #[test]
    fn prompts_of_native_requests_are_found() {
        let want = json!({"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
                          "model": "m:1", "stream": true});
        assert_eq!(
            read(
                Native::Anthropic,
                json!({"system": "be kind", "model": "m:1", "stream": true,
                       "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}),
                "/v1/messages"
            ),
            want
        );
        assert_eq!(
            read(
                Native::Gemini,
                json!({"systemInstruction": {"parts": [{"text": "be kind"}]},
                       "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
                "/v1beta/models/m:1:streamGenerateContent"
            ),
            want
        );
        assert_eq!(
            read(
                Native::Bedrock,
                json!({"system": [{"text": "be kind"}], "messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
                "/model/m%3A1/converse-stream"
            ),
            want
        );
    }

    #[test]
    fn tokens_of_native_answers_are_found() {
        let usage = Native::Gemini
            .usage(&json!({"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}}));
        assert_eq!(usage, Usage::new(Some(3), Some(4)));
    }
}
