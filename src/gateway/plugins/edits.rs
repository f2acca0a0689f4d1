//! Edits of headers, arguments and JSON members, as the transformers configure them: `name:value` in lists.

use super::{ConfigError, Instance};
use http::header::HeaderName;
use serde_json::{Map, Value as Json};

/// One entry of a list: a name, and what follows the colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What stands before the first colon.
    pub name: Box<str>,
    /// What stands after it; empty when there is nothing.
    pub value: Box<str>,
}

impl Edit {
    /// Whether there is a value. An entry such as `name:` has none, and then there is nothing to add.
    pub fn has_value(&self) -> bool {
        !self.value.is_empty()
    }

    /// The name as a header's.
    pub fn header(&self) -> Option<HeaderName> {
        HeaderName::from_bytes(self.name.as_bytes()).ok()
    }
}

/// The edits of one sort of thing (`headers`, `querystring`, `body`, `json`), in the order in which they are made.
#[derive(Debug, Default)]
pub struct Edits {
    /// What is taken away.
    pub remove: Vec<Edit>,
    /// What gets another name.
    pub rename: Vec<Edit>,
    /// What gets another value, if it is there.
    pub replace: Vec<Edit>,
    /// What is added, unless it is there.
    pub add: Vec<Edit>,
    /// What is added in any case.
    pub append: Vec<Edit>,
}

impl Edits {
    /// Reads `remove.X`, `rename.X` and so on.
    pub fn new(instance: &Instance<'_>, what: &str) -> Self {
        let read = |action: &str| {
            instance.texts(&format!("{action}.{what}")).iter().map(|text| edit(text)).collect()
        };
        Edits {
            remove: read("remove"),
            rename: read("rename"),
            replace: read("replace"),
            add: read("add"),
            append: read("append"),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        [&self.remove, &self.rename, &self.replace, &self.add, &self.append]
            .iter()
            .all(|edits| edits.is_empty())
    }

    /// Every edit.
    pub fn all(&self) -> impl Iterator<Item = &Edit> {
        [&self.remove, &self.rename, &self.replace, &self.add, &self.append].into_iter().flatten()
    }

    /// Refuses edits of headers whose names are none.
    ///
    /// # Errors
    /// [`ConfigError`] with the first such name.
    pub fn check_headers(&self) -> Result<(), ConfigError> {
        match self.all().find(|edit| edit.header().is_none()) {
            Some(edit) => Err(ConfigError::new("headers", format!("{:?} is no header name", edit.name))),
            None => Ok(()),
        }
    }
}

/// Adds a value to a member of a JSON object: a text becomes a list, and so does what is absent.
pub fn append(members: &mut Map<String, Json>, name: &str, value: Json) {
    let appended = match members.remove(name) {
        Some(text @ Json::String(_)) => vec![text, value],
        Some(Json::Array(mut items)) => {
            items.push(value);
            items
        }
        _ => vec![value],
    };
    members.insert(name.to_owned(), Json::Array(appended));
}

fn edit(text: &str) -> Edit {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    Edit { name: name.into(), value: value.trim_start_matches(':').into() }
}
