//! OpenAI's parameters, as other formats ask for them.

use super::json::{present, text};
use super::{Call, Map};
use serde_json::{Value as Json, json};

/// The parameters of a request in OpenAI's format.
pub(super) struct Params<'a> {
    body: &'a Map,
    /// Whether every parameter is understood, or only those that Kong 3.10 passes on.
    complete: bool,
}

impl<'a> Params<'a> {
    pub(super) fn new(call: &Call, body: &'a Map) -> Params<'a> {
        Params { body, complete: call.dialect.complete_requests }
    }

    /// Whether every parameter is understood.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// A parameter, unless it is null.
    pub(super) fn take(&self, key: &str) -> Option<Json> {
        present(self.body, key).cloned()
    }

    /// A parameter that Kong 3.10 does not pass on.
    pub(super) fn more(&self, key: &str) -> Option<Json> {
        self.take(key).filter(|_| self.complete)
    }

    /// The most tokens of the answer, by either of its names.
    pub(super) fn max_tokens(&self) -> Option<Json> {
        self.take("max_tokens").or_else(|| self.more("max_completion_tokens"))
    }

    /// The stop sequences as a list.
    pub(super) fn stops(&self) -> Option<Json> {
        self.take("stop").map(|stop| if self.complete && stop.is_string() { json!([stop]) } else { stop })
    }

    /// Whether the answer must be JSON.
    pub(super) fn wants_json(&self) -> bool {
        let format = self.more("response_format").unwrap_or_default();
        matches!(text(&format, "/type"), Some("json_object" | "json_schema"))
    }

    /// The schema that the answer must fit.
    pub(super) fn schema(&self) -> Option<Json> {
        self.more("response_format")?.pointer("/json_schema/schema").cloned()
    }

    /// The functions among the tools.
    pub(super) fn functions(&self) -> Vec<&'a Json> {
        let tools = present(self.body, "tools").and_then(Json::as_array).into_iter().flatten();
        tools.filter_map(|tool| tool.get("function")).collect()
    }
}
