//! What the mock provider keeps: files, batches, and answers that clients may ask for again.
//!
//! What does not live here: answering (`converse`), and the APIs' formats. Everything is in memory; the oldest goes
//! when there is too much.

use super::api::{Api, Found, Problem, Question};
use super::reply::digest;
use super::{anthropic, batches, openai};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most objects that are kept, and the most bytes in all of them.
const MOST: usize = 512;
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A kind of objects.
pub(super) struct Kind {
    /// The end of the path of their collection.
    path: &'static str,
    /// What messages call one.
    name: &'static str,
    pub(super) api: &'static Api,
    /// The word behind an object's path that asks for its content, and the content's type.
    content: (&'static str, &'static str),
    /// How the answer to a deletion calls what is gone.
    gone: (&'static str, &'static str),
}

pub(super) static FILE: Kind = Kind {
    path: "/files",
    name: "file",
    api: &openai::CHAT,
    content: ("content", "application/octet-stream"),
    gone: ("object", "file"),
};
pub(super) static BATCH: Kind = Kind {
    path: "/v1/batches",
    name: "batch",
    api: &openai::CHAT,
    content: ("", ""),
    gone: ("object", "batch"),
};
pub(super) static MESSAGE_BATCH: Kind = Kind {
    path: "/v1/messages/batches",
    name: "message_batch",
    api: &anthropic::MESSAGES,
    content: ("results", "application/x-jsonl"),
    gone: ("type", "message_batch_deleted"),
};
static RESPONSE: Kind = Kind {
    path: "/responses",
    name: "response",
    api: &openai::RESPONSES,
    content: ("input_items", "application/json"),
    gone: ("object", "response"),
};
static CHAT: Kind = Kind {
    path: "/chat/completions",
    name: "chat.completion",
    api: &openai::CHAT,
    content: ("messages", "application/json"),
    gone: ("object", "chat.completion.deleted"),
};
static KINDS: [&Kind; 5] = [&FILE, &BATCH, &MESSAGE_BATCH, &RESPONSE, &CHAT];

/// An object.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) kind: &'static Kind,
    pub(super) object: Json,
    pub(super) content: Bytes,
}

impl Stored {
    fn id(&self) -> &str {
        self.object.get("id").and_then(Json::as_str).unwrap_or_default()
    }
}

/// The objects.
#[derive(Default)]
pub(super) struct Store(Mutex<VecDeque<Stored>>);

impl Store {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Stored>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an object, in place of one with the same id.
    pub(super) fn keep(&self, new: Stored) {
        let mut all = self.lock();
        all.retain(|old| old.id() != new.id());
        all.push_back(new);
        let bytes = |all: &VecDeque<Stored>| all.iter().map(|stored| stored.content.len()).sum::<usize>();
        while all.len() > MOST || (bytes(&all) > MOST_BYTES && all.len() > 1) {
            all.pop_front();
        }
    }

    /// The object of this id.
    pub(super) fn find(&self, kind: &'static Kind, id: &str) -> Option<Stored> {
        self.lock().iter().find(|stored| stored.kind.is(kind) && stored.id() == id).cloned()
    }

    /// Keeps an answer where its request wants that: responses unless it says no, chats only if it says yes.
    pub(super) fn keep_answer(&self, request: &Json, answer: &Json) {
        let store = request.get("store").and_then(Json::as_bool);
        let (kind, said) = match answer.get("object").and_then(Json::as_str) {
            Some("response") if store != Some(false) => (&RESPONSE, request.get("input")),
            Some("chat.completion") if store == Some(true) => (&CHAT, request.get("messages")),
            _ => return,
        };
        let items = list(said_items(said).into_iter());
        self.keep(Stored { kind, object: answer.clone(), content: items.to_string().into() });
    }

    /// The answer to a request about objects; `None` for any other.
    pub(super) fn answer(&self, method: &Method, question: &Question<'_>) -> Option<Found> {
        let (kind, id, operation) = KINDS.iter().find_map(|kind| kind.parts(question.path))?;
        let found = |body: &Json| Some(Found::json(kind.api, StatusCode::OK, body));
        if id.is_empty() {
            return match *method {
                Method::GET => {
                    let all = self.lock();
                    let mine = all.iter().filter(|stored| stored.kind.is(kind));
                    found(&list(mine.map(|stored| stored.object.clone())))
                }
                Method::POST => batches::create(self, kind, question),
                _ => None,
            };
        }
        let Some(stored) = self.find(kind, id) else {
            let message = format!("No such {}: '{id}'", kind.name);
            return Some(refused(kind.api, question, StatusCode::NOT_FOUND, &message));
        };
        match (method, operation) {
            (&Method::GET, "") => found(&stored.object),
            (&Method::GET, word) if word == kind.content.0 => Some(Found {
                status: StatusCode::OK,
                api: kind.api,
                content_type: kind.content.1,
                body: stored.content,
            }),
            (&Method::DELETE, "") => {
                self.lock().retain(|stored| stored.id() != id);
                found(&json!({"id": id, kind.gone.0: kind.gone.1, "deleted": true}))
            }
            (&Method::POST, "cancel") => {
                let message = format!("the {} '{id}' is completed and cannot be cancelled", kind.name);
                Some(refused(kind.api, question, StatusCode::BAD_REQUEST, &message))
            }
            (&Method::POST, "") => {
                let changed = question.body.get("metadata").cloned().unwrap_or_default();
                let mut object = stored.object.clone();
                openai::set(&mut object, "metadata", changed);
                self.keep(Stored { object: object.clone(), ..stored });
                found(&object)
            }
            _ => None,
        }
    }
}

impl Kind {
    /// Whether it is this one.
    pub(super) fn is(&self, other: &Kind) -> bool {
        self.name == other.name
    }

    /// The object's id and the operation on it, empty where the path has none; `None` for another path.
    fn parts<'a>(&'static self, path: &'a str) -> Option<(&'static Kind, &'a str, &'a str)> {
        let (_, rest) = path.rsplit_once(self.path)?;
        if rest.is_empty() || rest == "/" {
            return Some((self, "", ""));
        }
        let (id, operation) = {
            let rest = rest.strip_prefix('/')?;
            rest.split_once('/').unwrap_or((rest, ""))
        };
        Some((self, id, operation))
    }
}

/// A file from its content.
pub(super) fn file(name: &str, purpose: &str, content: Bytes) -> Stored {
    let id = format!("file-{}", digest(&format!("{name}\n{purpose}\n{}", String::from_utf8_lossy(&content))));
    let object = json!({"id": id, "object": "file", "bytes": content.len(), "created_at": openai::CREATED,
        "filename": name, "purpose": purpose, "status": "processed", "status_details": null, "expires_at": null});
    Stored { kind: &FILE, object, content }
}

/// An error of this API.
pub(super) fn refused(
    api: &'static Api,
    question: &Question<'_>,
    status: StatusCode,
    message: &str,
) -> Found {
    let problem = Problem { id: question.id, ..Problem::new(status, message) };
    Found::json(api, status, &(api.error)(&problem))
}

fn list(objects: impl Iterator<Item = Json>) -> Json {
    let data: Vec<Json> = objects.collect();
    let id = |object: Option<&Json>| object.and_then(|object| object.get("id")).cloned();
    json!({"object": "list", "first_id": id(data.first()), "last_id": id(data.last()), "has_more": false,
           "data": data})
}

/// What a request says, as items with ids: a text is one message of the user.
fn said_items(said: Option<&Json>) -> Vec<Json> {
    let texts = |text: &str| json!([{"type": "input_text", "text": text}]);
    let mut items = match said {
        Some(Json::String(text)) => vec![json!({"role": "user", "content": texts(text)})],
        Some(Json::Array(items)) => items.clone(),
        _ => Vec::new(),
    };
    for (place, item) in items.iter_mut().enumerate() {
        let Some(members) = item.as_object_mut() else { continue };
        let id = format!("msg_{}", digest(&format!("{place}{}", Json::Object(members.clone()))));
        members.entry("id").or_insert_with(|| id.into());
        members.entry("type").or_insert_with(|| "message".into());
        let text = members.get("content").and_then(Json::as_str).map(texts);
        members.extend(text.map(|text| ("content".to_owned(), text)));
        members.entry("status").or_insert_with(|| "completed".into());
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let store = Store::default();
        for n in 0..=MOST {
            store.keep(file(&n.to_string(), "batch", Bytes::new()));
        }
        assert_eq!(store.lock().len(), MOST);
        let names = |place: usize| file(&place.to_string(), "batch", Bytes::new()).id().to_owned();
        assert!(store.find(&FILE, &names(0)).is_none() && store.find(&FILE, &names(1)).is_some());
    }

    #[test]
    fn paths_name_objects_and_what_is_done_with_them() {
        let parts = |path| {
            KINDS.iter().find_map(|kind| kind.parts(path)).map(|(kind, id, word)| (kind.name, id, word))
        };
        assert_eq!(parts("/v1/files"), Some(("file", "", "")));
        assert_eq!(parts("/openai/files/file-1/content"), Some(("file", "file-1", "content")));
        assert_eq!(parts("/v1/messages/batches/m1/results"), Some(("message_batch", "m1", "results")));
        assert_eq!(parts("/v1/responses/r1"), Some(("response", "r1", "")));
        assert_eq!(parts("/v1/filesystem"), None);
    }
}
