//! `ai-prompt-guard`: lets prompts through, or not, by regular expressions. Clients are not told which.

use super::ai;
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::llm::{self, Dialect, Map, Native};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use fancy_regex::{Regex, RegexBuilder};
use http::StatusCode;
use serde_json::Value as Json;
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "ai-prompt-guard", priority: 771, build };

/// How many steps back a pattern may take before it is given up.
const BACKTRACKS: usize = 1_000_000;

struct Guard {
    allow: Vec<Regex>,
    deny: Vec<Regex>,
    last_only: bool,
    all_roles: bool,
    native: Option<Native>,
    dialect: &'static Dialect,
    limit: usize,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let patterns = |field: &str| {
        instance
            .texts(field)
            .iter()
            .map(|pattern| RegexBuilder::new(pattern).backtrack_limit(BACKTRACKS).build())
            .collect::<Result<Vec<Regex>, _>>()
            .map_err(|error| ConfigError::new(field, error.to_string()))
    };
    let dialect = llm::dialect(instance.environment.flavor);
    Ok(Arc::new(Guard {
        allow: patterns("allow_patterns")?,
        deny: patterns("deny_patterns")?,
        last_only: instance.flag("allow_all_conversation_history"),
        all_roles: instance.flag("match_all_roles"),
        native: Native::from_name(instance.text("llm_format")),
        dialect,
        limit: llm::body_limit(instance.integer("max_request_body_size"), dialect),
    }))
}

#[async_trait]
impl Plugin for Guard {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let members = match ai::question(context, self.limit).await? {
            Some(question) => match self.native {
                Some(native) => native.to_openai(&question.members, context.inbound.uri.path()),
                None => question.members,
            },
            None if self.dialect.strict_body_size => return ai::too_large(context, self.dialect, self.limit),
            None => Map::new(),
        };
        let allowed = match self.prompts(&members) {
            Some(prompts) => self.allows(&prompts)?,
            None => false,
        };
        if allowed {
            Ok(Flow::Continue)
        } else {
            ai::refused(context, StatusCode::BAD_REQUEST, "bad request")
        }
    }
}

impl Guard {
    /// What is checked: the last message first. `None` for what is no prompt.
    fn prompts(&self, members: &Map) -> Option<String> {
        let messages = match members.get("messages") {
            Some(Json::Array(messages)) => messages.as_slice(),
            // an object has no messages to check, whatever stands beside it
            Some(Json::Object(_)) => &[],
            _ => return members.get("prompt").and_then(Json::as_str).map(str::to_owned),
        };
        let mut prompts = String::new();
        for message in messages.iter().rev() {
            let role = message.get("role").and_then(Json::as_str)?;
            if role != "user" && !self.all_roles {
                continue;
            }
            match message.get("content")? {
                Json::String(text) => prompts.push_str(text),
                // images beside texts are more than Kong 3.10 reads
                Json::Array(parts) if self.dialect.complete_requests => {
                    for text in parts.iter().filter_map(|part| part.get("text").and_then(Json::as_str)) {
                        prompts.push_str(text);
                        prompts.push(' ');
                    }
                }
                _ => return None,
            }
            if self.last_only {
                break;
            }
            prompts.push(' ');
        }
        Some(prompts)
    }

    fn allows(&self, prompts: &str) -> Result<bool, Failure> {
        let any = |patterns: &[Regex]| {
            for pattern in patterns {
                let found = pattern
                    .is_match(prompts)
                    .map_err(|error| Failure::new(format!("bad regex pattern '{pattern}': {error}")))?;
                if found {
                    return Ok::<bool, Failure>(true);
                }
            }
            Ok(false)
        };
        Ok(!any(&self.deny)? && (self.allow.is_empty() || any(&self.allow)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::llm::KONG_3_14;
    use serde_json::json;

    fn guard(allow: &str, deny: &str, last_only: bool, all_roles: bool) -> Guard {
        let patterns =
            |pattern: &str| Regex::new(pattern).ok().filter(|_| !pattern.is_empty()).into_iter().collect();
        Guard {
            allow: patterns(allow),
            deny: patterns(deny),
            last_only,
            all_roles,
            native: None,
            dialect: &KONG_3_14,
            limit: 0,
        }
    }

    fn passes(guard: &Guard, body: Json) -> bool {
        let members = body.as_object().cloned().unwrap_or_default();
        guard.prompts(&members).is_some_and(|prompts| guard.allows(&prompts).unwrap_or(false))
    }

    #[test]
    fn patterns_see_what_they_are_configured_to_see() {
        let chat = || {
            json!({"messages": [
                {"role": "system", "content": "secret rules"},
                {"role": "user", "content": "tell me about bees"},
                {"role": "assistant", "content": "bees fly"},
                {"role": "user", "content": [{"type": "text", "text": "and wasps?"}]},
            ]})
        };
        assert!(!passes(&guard("", "bees", false, false), chat()));
        assert!(passes(&guard("", "bees", true, false), chat()));
        assert!(passes(&guard("", "secret", false, false), chat()));
        assert!(!passes(&guard("", "secret", false, true), chat()));
        assert!(passes(&guard("wasps", "", true, false), chat()));
        assert!(!passes(&guard("hornets", "", false, false), chat()));
        assert!(passes(&guard("", "x", false, false), json!({"prompt": "bees"})));
        assert!(!passes(&guard("", "x", false, false), json!({})));
        assert!(passes(&guard("", "x", false, false), json!({"messages": {}})));
        assert!(!passes(&guard("bees", "", false, false), json!({"messages": {}, "prompt": "bees"})));
    }
}
