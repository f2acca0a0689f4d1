//! `ai-prompt-template`: requests by the name of a template, with values for its placeholders.

use super::ai;
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::llm::{self, Dialect};
use crate::gateway::proxy::Context;
use crate::value::Value;
use async_trait::async_trait;
use http::StatusCode;
use regex::Regex;
use serde_json::{Value as Json, json};
use std::sync::{Arc, LazyLock};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "ai-prompt-template", priority: 773, build };

/// A placeholder. The pattern is fixed; were it broken, no template would have any.
static PLACEHOLDER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\{\{([A-Za-z0-9_]+)\}\}").ok());

struct Template {
    templates: Vec<(String, String)>,
    others_allowed: bool,
    logs: bool,
    dialect: &'static Dialect,
    limit: usize,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let items = instance.get("templates").and_then(Value::as_array).unwrap_or_default();
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::exposed_str).map(str::to_owned);
    let dialect = llm::dialect(instance.environment.flavor);
    Ok(Arc::new(Template {
        templates: items.iter().filter_map(|item| text(item, "name").zip(text(item, "template"))).collect(),
        others_allowed: instance.flag("allow_untemplated_requests"),
        logs: instance.flag("log_original_request"),
        dialect,
        limit: llm::body_limit(instance.integer("max_request_body_size"), dialect),
    }))
}

#[async_trait]
impl Plugin for Template {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let question = match ai::question(context, self.limit).await? {
            Some(question) => question,
            None if self.dialect.strict_body_size => return ai::too_large(context, self.dialect, self.limit),
            // Kong 3.10 reads nothing of it
            None => ai::Question::default(),
        };
        if self.logs {
            let original = String::from_utf8_lossy(&question.raw).into_owned();
            let ai = context.log.entry("ai").or_insert_with(|| json!({}));
            if let Some(ai) = ai.as_object_mut() {
                ai.insert("payload".into(), json!({"original_request": original}));
            }
        }
        // read as JSON whatever the client calls it
        match self.request(&serde_json::from_slice(&question.raw).unwrap_or_default()) {
            Ok(Some(rendered)) => {
                context.outbound.set_body(rendered);
                Ok(Flow::Continue)
            }
            Ok(None) => Ok(Flow::Continue),
            Err(message) => ai::refused(context, StatusCode::BAD_REQUEST, &message),
        }
    }
}

impl Template {
    /// The request that a template makes; `None` for one that names no template and may go on.
    fn request(&self, body: &Json) -> Result<Option<String>, String> {
        if !(body.is_object() || body.is_array()) {
            return Err("this LLM route only supports application/json requests".into());
        }
        // null counts as given, false does not
        let member = |key: &str| body.get(key).filter(|value| **value != Json::Bool(false));
        let reference = match (member("messages"), member("prompt")) {
            (Some(_), Some(_)) => {
                return Err("cannot run 'messages' and 'prompt' templates at the same time".into());
            }
            (Some(reference), None) | (None, Some(reference)) => reference,
            (None, None) => {
                return Err(
                    "only 'llm/v1/chat' and 'llm/v1/completions' formats are supported for templating".into(),
                );
            }
        };
        let name = reference.as_str().and_then(|text| text.strip_prefix("{template://")?.strip_suffix('}'));
        let Some(name) = name else {
            return if self.others_allowed {
                Ok(None)
            } else {
                Err("this LLM route only supports templated requests".into())
            };
        };
        let template = self.templates.iter().find(|(known, _)| known == name);
        let (_, template) = template.ok_or_else(|| format!("could not find template name [{name}]"))?;
        render(template, body.get("properties")).map(Some)
    }
}

/// A template with its placeholders replaced, each value escaped to stand inside a JSON text.
fn render(template: &str, properties: Option<&Json>) -> Result<String, String> {
    let none = serde_json::Map::new();
    let properties = match properties {
        None | Some(Json::Bool(false)) => &none,
        Some(Json::Array(items)) if items.is_empty() => &none,
        Some(properties) => properties.as_object().ok_or("properties must be an object")?,
    };
    for value in properties.values() {
        let kind = match value {
            Json::String(_) => continue,
            Json::Number(_) => "number",
            Json::Bool(_) => "boolean",
            Json::Null => "userdata",
            Json::Array(_) | Json::Object(_) => "table",
        };
        return Err(format!("property values must be a string, got {kind}"));
    }
    let Some(placeholder) = PLACEHOLDER.as_ref() else { return Ok(template.to_owned()) };
    let rendered = placeholder.replace_all(template, |found: &regex::Captures<'_>| {
        let whole = found.get(0).map_or("", |whole| whole.as_str());
        match found.get(1).and_then(|name| properties.get(name.as_str())) {
            Some(value) => {
                let quoted = value.to_string();
                quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
            }
            None => whole.to_owned(),
        }
    });
    let mut missing: Vec<String> = Vec::new();
    for found in placeholder.captures_iter(&rendered) {
        let name = format!("[{}]", found.get(1).map_or("", |name| name.as_str()));
        if !missing.contains(&name) {
            missing.push(name);
        }
    }
    if missing.is_empty() {
        Ok(rendered.into_owned())
    } else {
        Err(format!("missing template parameters: {}", missing.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_out_of_their_text() {
        let rendered = render(r#"{"a":"x {{v}} y"}"#, Some(&json!({"v": "\"}], \\ \n"})));
        let back: Json = rendered
            .as_deref()
            .map(|text| serde_json::from_str(text).unwrap_or_default())
            .unwrap_or_default();
        assert_eq!(back, json!({"a": "x \"}], \\ \n y"}));
        let quoted = render(r#"{"a":"{{v}}"}"#, Some(&json!({"v": "\"quoted\""})));
        assert_eq!(quoted.as_deref(), Ok(r#"{"a":"\"quoted\""}"#));
    }

    #[test]
    fn null_is_a_value_that_was_given() {
        let plugin = Template {
            templates: vec![("known".into(), r#"{"a": "b"}"#.into())],
            others_allowed: false,
            logs: false,
            dialect: &llm::KONG_3_14,
            limit: 0,
        };
        let call = "{template://known}";
        let rendered = Ok(Some(r#"{"a": "b"}"#.to_owned()));
        let refused = |message: &str| Err(message.to_owned());
        let both = refused("cannot run 'messages' and 'prompt' templates at the same time");
        let formats =
            refused("only 'llm/v1/chat' and 'llm/v1/completions' formats are supported for templating");
        let properties = refused("properties must be an object");
        for (body, expected) in [
            (json!({"messages": null, "prompt": call}), both),
            (json!({"messages": false, "prompt": call}), rendered.clone()),
            (json!({"messages": null}), refused("this LLM route only supports templated requests")),
            (json!([]), formats.clone()),
            (json!({"messages": false}), formats),
            (json!("text"), refused("this LLM route only supports application/json requests")),
            (json!({"messages": call, "properties": null}), properties.clone()),
            (json!({"messages": call, "properties": ["a"]}), properties),
            (json!({"messages": call, "properties": []}), rendered.clone()),
            (json!({"messages": call, "properties": false}), rendered),
        ] {
            assert_eq!(plugin.request(&body), expected, "{body}");
        }
    }

    #[test]
    fn what_is_missing_is_named_once() {
        assert_eq!(
            render("{{a}} {{b}} {{a}}", None),
            Err("missing template parameters: [a], [b]".to_owned())
        );
        assert_eq!(
            render("{{a}}", Some(&json!({"a": 1}))),
            Err("property values must be a string, got number".to_owned())
        );
    }
}
