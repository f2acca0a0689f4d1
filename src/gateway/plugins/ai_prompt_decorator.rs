//! `ai-prompt-decorator`: messages before and after those of the client.

use super::ai;
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::llm::{self, Dialect};
use crate::gateway::proxy::Context;
use crate::value::Value;
use async_trait::async_trait;
use http::HeaderValue;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "ai-prompt-decorator", priority: 772, build };

struct Decorator {
    prepend: Vec<Json>,
    append: Vec<Json>,
    dialect: &'static Dialect,
    limit: usize,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    ai::only_openai(instance)?;
    let messages = |path: &str| -> Vec<Json> {
        let items = instance.get(path).and_then(Value::as_array).unwrap_or_default();
        let text = |item: &Value, key: &str| item.get(key).and_then(Value::exposed_str).map(str::to_owned);
        items
            .iter()
            .map(|item| json!({"role": text(item, "role"), "content": text(item, "content")}))
            .collect()
    };
    let dialect = llm::dialect(instance.environment.flavor);
    Ok(Arc::new(Decorator {
        prepend: messages("prompts.prepend"),
        append: messages("prompts.append"),
        dialect,
        limit: llm::body_limit(instance.integer("max_request_body_size"), dialect),
    }))
}

#[async_trait]
impl Plugin for Decorator {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let refusal = "this LLM route only supports llm/chat type requests";
        let mut members = match ai::question(context, self.limit).await? {
            Some(question) => question.members,
            None if self.dialect.strict_body_size => return ai::too_large(context, self.dialect, self.limit),
            None => llm::Map::new(),
        };
        let Some(messages) =
            members.get_mut("messages").and_then(Json::as_array_mut).filter(|messages| !messages.is_empty())
        else {
            return ai::refused(context, StatusCode::BAD_REQUEST, refusal);
        };
        messages.splice(0..0, self.prepend.iter().cloned());
        messages.extend(self.append.iter().cloned());
        context.outbound.set_body(Json::Object(members).to_string());
        context.outbound.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Flow::Continue)
    }
}
