//! What the mock provider says, whatever the API: its text, its tool calls, and how it counts tokens.

use super::example::example;
use data_encoding::HEXLOWER;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

/// How much of the prompt is repeated, in characters.
const GIST: usize = 160;

/// What an image counts, in tokens.
pub(super) const IMAGE: u64 = 85;

/// What a request asks, and what is said to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) model: String,
    /// The last thing the user, or a tool, said.
    pub(super) prompt: String,
    pub(super) input_tokens: u64,
    pub(super) max_tokens: Option<u64>,
    /// Texts at which the answer ends.
    pub(super) stop: Vec<String>,
    pub(super) stream: bool,
    /// The tools that may be called.
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Choice,
    /// Whether the last message is a tool's result, which is answered in words.
    pub(super) answers_tool: bool,
    /// The schema that the answer fits, where it must be JSON; `null` for any JSON.
    pub(super) schema: Option<Json>,
    /// How many answers (OpenAI's `n`).
    pub(super) choices: usize,
    /// The host the request was sent to.
    pub(super) host: String,
    /// The request's body, for what only one API has.
    pub(super) body: Json,
    /// What is said; set by [`Ask::settle`].
    pub(super) text: String,
    /// The tool that is called in place of an answer; set by [`Ask::settle`].
    pub(super) call: Option<ToolCall>,
    /// Why the answer ends; set by [`Ask::settle`].
    pub(super) end: End,
}

/// A tool that a request offers.
#[derive(Clone, Debug, Default)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) parameters: Json,
}

/// Whether a request insists on a tool.
#[derive(Clone, Debug, Default)]
pub(super) enum Choice {
    /// The mock decides: it calls none.
    #[default]
    Free,
    /// Any tool: the first.
    Any,
    /// The one of this name.
    Named(String),
}

/// Why an answer ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum End {
    /// It is over.
    #[default]
    Over,
    /// `max_tokens` are used up.
    Length,
    /// It came to this stop sequence.
    Sequence(String),
    /// A tool is called.
    Tool,
}

impl End {
    /// The API's word for it, of those for a call of a tool, the length, a stop sequence and the end.
    pub(super) fn word(&self, [tool, length, sequence, over]: [&'static str; 4]) -> &'static str {
        match self {
            End::Tool => tool,
            End::Length => length,
            End::Sequence(_) => sequence,
            End::Over => over,
        }
    }
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
    /// Decides what is said.
    pub(super) fn settle(&mut self) {
        let wanted = match &self.choice {
            _ if self.answers_tool => None,
            Choice::Free => None,
            Choice::Any => self.tools.first(),
            Choice::Named(name) => self.tools.iter().find(|tool| tool.name == *name),
        };
        self.call =
            wanted.map(|tool| ToolCall { name: tool.name.clone(), arguments: example(&tool.parameters) });
        if self.call.is_some() {
            self.end = End::Tool;
            return;
        }
        let gist: String = self.prompt.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = gist.chars().take(GIST).collect();
        let dots = if short.len() < gist.len() { "..." } else { "" };
        self.text = match &self.schema {
            Some(Json::Null) => json!({"model": self.model, "prompt": format!("{short}{dots}")}).to_string(),
            Some(schema) => example(schema).to_string(),
            None => format!("This is {} as the mock provider plays it. You said: {short}{dots}", self.model),
        };
        self.end = End::Over;
        let found = self.stop.iter().filter(|stop| !stop.is_empty());
        if let Some((at, stop)) = found.filter_map(|stop| Some((self.text.find(&**stop)?, stop))).min() {
            self.end = End::Sequence(stop.clone());
            self.text.truncate(at);
        }
        let most = self.max_tokens.and_then(|most| usize::try_from(most.saturating_mul(4)).ok());
        if let Some((at, _)) = most.and_then(|most| self.text.char_indices().nth(most)) {
            self.end = End::Length;
            self.text.truncate(at);
        }
    }

    /// The text in pieces: words with the space behind them.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(' ')
    }

    /// Tokens of the answer.
    pub(super) fn output_tokens(&self) -> u64 {
        match &self.call {
            Some(call) => tokens(&call.name) + tokens(&call.arguments.to_string()),
            None => tokens(&self.text),
        }
    }

    /// An id that is the same for the same request.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", digest(&format!("{}\n{}\n{}", self.model, self.prompt, self.input_tokens)))
    }
}

/// 24 hexadecimal digits, the same for the same text.
pub(super) fn digest(text: &str) -> String {
    HEXLOWER.encode(Sha256::digest(text).get(..12).unwrap_or_default())
}

/// The names under which parts of messages hold the result of a tool.
const RESULTS: [&str; 3] = ["functionResponse", "function_response", "toolResult"];

/// The text of a message's content: itself, or the texts of its parts.
pub(super) fn said(content: Option<&Json>) -> String {
    match content {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Array(parts)) => {
            let texts = parts.iter().map(part).filter(|text| !text.is_empty());
            texts.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

fn part(part: &Json) -> String {
    if let Some(text) = part.as_str().or_else(|| part.get("text").and_then(Json::as_str)) {
        return text.to_owned();
    }
    let result = RESULTS.iter().find_map(|name| part.get(name)).unwrap_or(part);
    match (result.get("content"), result.get("response").or_else(|| result.get("json"))) {
        (Some(content), _) => said(Some(content)),
        (None, Some(value)) => value.to_string(),
        (None, None) => String::new(),
    }
}

/// Tokens of a message's content: its text and its images.
pub(super) fn content_tokens(content: Option<&Json>) -> u64 {
    let is_image = |part: &&Json| {
        matches!(part.get("type").and_then(Json::as_str), Some("image_url" | "image" | "input_image"))
            || ["image", "inlineData", "inline_data", "fileData"].iter().any(|name| part.get(name).is_some())
    };
    let images = content.and_then(Json::as_array).into_iter().flatten().filter(is_image).count() as u64;
    tokens(&said(content)) + images * IMAGE
}

/// What was said so far.
pub(super) struct Conversation {
    /// The last thing that was not said by the model.
    pub(super) prompt: String,
    pub(super) tokens: u64,
    /// Whether the last message is a tool's result.
    pub(super) answers_tool: bool,
}

/// Reads messages, whose text stands in the member `content`.
pub(super) fn conversation(messages: &[Json], content: &str) -> Conversation {
    let told = |message: &Json| said(message.get(content).or_else(|| message.get("output")));
    let role = |message: &Json| message.get("role").and_then(Json::as_str).unwrap_or_default().to_owned();
    let kind = |value: &Json| value.get("type").and_then(Json::as_str).unwrap_or_default().to_owned();
    let is_result = |message: &Json| {
        let parts = message.get(content).and_then(Json::as_array);
        matches!(&*role(message), "tool" | "function")
            || kind(message) == "function_call_output"
            || parts.into_iter().flatten().any(|part| {
                kind(part) == "tool_result" || RESULTS.iter().any(|name| part.get(name).is_some())
            })
    };
    let last = messages
        .iter()
        .rev()
        .find(|message| {
            !matches!(&*role(message), "system" | "developer" | "assistant" | "model" | "CHATBOT")
        })
        .or(messages.last());
    Conversation {
        prompt: last.map(told).unwrap_or_default(),
        tokens: messages.iter().map(|message| content_tokens(message.get(content))).sum(),
        answers_tool: messages.last().is_some_and(is_result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(mut ask: Ask) -> Ask {
        ask.settle();
        ask
    }

    #[test]
    fn answers_name_the_model_and_repeat_the_prompt() {
        let ask = || Ask { model: "m".into(), prompt: "  what is\n  Kong? ".into(), ..Ask::default() };
        let plain = settled(ask());
        assert!(plain.text.contains("This is m ") && plain.text.ends_with("You said: what is Kong?"));
        assert_eq!((plain.words().collect::<String>(), plain.end.clone()), (plain.text.clone(), End::Over));
        let cut = settled(Ask { max_tokens: Some(2), ..ask() });
        assert_eq!((cut.text.as_str(), cut.output_tokens()), ("This is ", 2));
        assert_eq!(cut.end, End::Length);
        let stopped = settled(Ask { stop: vec!["said".into(), "mock".into()], ..ask() });
        assert_eq!((stopped.text.as_str(), stopped.end), ("This is m as the ", End::Sequence("mock".into())));
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        assert_eq!(settled(Ask { schema: Some(schema), ..ask() }).text, r#"{"n":1}"#);
    }

    #[test]
    fn a_tool_is_called_when_asked_for_but_not_with_its_result_there() {
        let tool = |name: &str| Tool { name: name.into(), parameters: Json::Null };
        let ask = |choice| Ask { tools: vec![tool("a"), tool("b")], choice, ..Ask::default() };
        let called = |ask| settled(ask).call.map(|call| call.name);
        assert_eq!(called(ask(Choice::Free)), None);
        assert_eq!(called(ask(Choice::Any)).as_deref(), Some("a"));
        assert_eq!(called(ask(Choice::Named("b".into()))).as_deref(), Some("b"));
        assert_eq!(called(Ask { answers_tool: true, ..ask(Choice::Any) }), None);
    }

    #[test]
    fn results_of_tools_are_read_in_every_format() {
        for (message, content) in [
            (json!({"role": "tool", "content": "sunny"}), "content"),
            (json!({"type": "function_call_output", "output": "sunny"}), "content"),
            (json!({"role": "user", "content": [{"type": "tool_result", "content": "sunny"}]}), "content"),
            (json!({"role": "user", "parts": [{"functionResponse": {"response": {"x": "sunny"}}}]}), "parts"),
            (
                json!({"role": "user", "content": [{"toolResult": {"content": [{"text": "sunny"}]}}]}),
                "content",
            ),
        ] {
            let read = conversation(&[json!({"role": "user", content: "x"}), message.clone()], content);
            assert!(read.prompt.contains("sunny") && read.answers_tool, "{message}");
        }
    }

    #[test]
    fn four_characters_are_a_token_and_an_image_is_many() {
        assert_eq!([tokens(""), tokens("abc"), tokens("abcd"), tokens("äöüßx")], [0, 1, 1, 2]);
        let content = json!([{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {}}]);
        assert_eq!(content_tokens(Some(&content)), 86);
    }
}
