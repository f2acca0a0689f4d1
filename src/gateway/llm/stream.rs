//! Streams: the provider's bytes in, OpenAI's chunks out.

use super::cost::Usage;
use super::framing::{Event, Framer};
use super::{Call, Dialect, Map, TransformError};
use serde_json::{Value as Json, json};

/// One piece of an answer in OpenAI's stream format.
#[derive(Clone, Debug, PartialEq)]
pub enum Chunk {
    /// A chunk's JSON, as the provider sent it.
    Text(String),
    /// A chunk.
    Json(Json),
    /// The end: `[DONE]`.
    Done,
}

impl Chunk {
    /// Appends the chunk as a server-sent event.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        match self {
            Chunk::Text(text) => out.extend_from_slice(text.as_bytes()),
            Chunk::Json(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Chunk::Done => out.extend_from_slice(b"[DONE]"),
        }
        out.extend_from_slice(b"\n\n");
    }
}

/// Gives chunks for a provider's events. Remembers what it needs from one event to the next.
pub trait Translate: Send {
    /// The chunks of one event.
    fn event(&mut self, call: &Call, event: &Event, seen: &mut Seen) -> Vec<Chunk>;
}

/// What was seen of a stream so far, for its last chunk and for logging.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Tokens, as the provider counted them.
    pub usage: Usage,
    /// The model that answers, by the provider's words.
    pub model: Option<String>,
    /// The id of the answer.
    pub id: Option<String>,
    /// Why the answer ended, in OpenAI's terms.
    pub finish: Option<&'static str>,
    /// Characters of the answer's text, for estimates.
    pub characters: usize,
    /// The first bytes of the answer's text, when payloads are logged.
    pub text: Option<String>,
}

/// The most of an answer's text that is kept for logging, in bytes.
pub const MAX_LOGGED_TEXT: usize = 64 * 1024;

impl Seen {
    /// Notes text of the answer.
    pub fn note(&mut self, text: &str) {
        self.characters += text.chars().count();
        if let Some(kept) = self.text.as_mut().filter(|kept| kept.len() + text.len() <= MAX_LOGGED_TEXT) {
            kept.push_str(text);
        }
    }
}

/// Decodes one stream. Feeding the same bytes in any pieces gives the same chunks.
pub struct Decoder {
    call: Call,
    framer: Framer,
    translate: Box<dyn Translate>,
    seen: Seen,
    done: bool,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("call", &self.call).field("done", &self.done).finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder for a stream of this content type. `keep_text` keeps the answer's text for logging.
    pub fn new(
        call: Call,
        provider: &dyn super::Provider,
        content_type: Option<&str>,
        keep_text: bool,
    ) -> Decoder {
        let translate = provider.stream(&call);
        let seen = Seen { text: keep_text.then(String::new), ..Seen::default() };
        Decoder { framer: Framer::new(content_type), translate, seen, done: false, call }
    }

    /// Takes the next bytes and gives the chunks that are complete now.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Chunk>, TransformError> {
        let events = self.framer.feed(bytes)?;
        Ok(self.translate(&events))
    }

    /// The end of the provider's stream.
    pub fn finish(&mut self) -> Vec<Chunk> {
        let events = self.framer.finish();
        let mut chunks = self.translate(&events);
        if !self.done && self.call.dialect.complete_answers && self.seen.finish.is_some() {
            // a provider whose format has no end mark (Gemini)
            self.end(&mut chunks);
        }
        chunks
    }

    /// Whether `[DONE]` was given.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What was seen so far.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    fn translate(&mut self, events: &[Event]) -> Vec<Chunk> {
        let mut chunks = Vec::with_capacity(events.len());
        for event in events {
            for chunk in self.translate.event(&self.call, event, &mut self.seen) {
                if self.done {
                    continue;
                }
                match chunk {
                    Chunk::Done => self.end(&mut chunks),
                    chunk => chunks.push(chunk),
                }
            }
        }
        chunks
    }

    /// The end in OpenAI's way: the finish reason, the usage (in a chunk of its own when the client asked for it),
    /// then the mark.
    fn end(&mut self, chunks: &mut Vec<Chunk>) {
        self.done = true;
        // chunks that passed as they came tell their finish reason themselves, but not always a usage
        let untold = self.seen.finish.is_some() || self.seen.usage == Usage::default();
        if self.call.dialect.complete_answers && untold {
            let mut last = chunk(&self.call, &self.seen, json!({}), self.seen.finish);
            let usage = self.call.counted(self.seen.usage, self.seen.characters).to_json();
            if self.call.usage_chunk {
                if self.seen.finish.is_some() {
                    chunks.push(Chunk::Json(last.clone()));
                }
                set(&mut last, "choices", json!([]));
            }
            set(&mut last, "usage", usage);
            chunks.push(Chunk::Json(last));
        }
        chunks.push(Chunk::Done);
    }
}

fn set(value: &mut Json, key: &str, member: Json) {
    if let Some(members) = value.as_object_mut() {
        members.insert(key.to_owned(), member);
    }
}

/// A chunk of a chat (or, for `llm/v1/completions`, of a completion whose text is the delta's content).
pub fn chunk(call: &Call, seen: &Seen, delta: Json, finish: Option<&str>) -> Json {
    let mut choice = Map::new();
    choice.insert("index".into(), 0.into());
    let object = if call.route == super::Route::Completions {
        let text = delta.get("content").cloned().unwrap_or_else(|| "".into());
        choice.insert("text".into(), text);
        "text_completion"
    } else {
        choice.insert("delta".into(), delta);
        "chat.completion.chunk"
    };
    choice.insert("finish_reason".into(), finish.into());
    choice.insert("logprobs".into(), Json::Null);
    json!({
        "id": call.answer_id(seen.id.as_deref()),
        "object": object,
        "created": call.now,
        "model": call.model_name(),
        "choices": [choice],
    })
}

/// A chunk that tells the client of an error in the middle of a stream, as OpenAI's SDKs read it.
pub fn error_chunk(kind: &str, message: &str) -> Chunk {
    Chunk::Json(json!({"error": {"message": message, "type": kind, "param": null, "code": null}}))
}

/// What a client gets that asked for a stream where the provider's answer is none.
pub fn no_stream(dialect: &Dialect) -> Chunk {
    if dialect.complete_answers {
        return error_chunk("server_error", "the provider's answer is no stream");
    }
    Chunk::Text("{\"error\": true, \"message\": \"empty or unsupported transformer response\"}".to_owned())
}
