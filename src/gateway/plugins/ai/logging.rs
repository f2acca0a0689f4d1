//! What is told of requests to providers: to other plugins, and in the log entry.

use super::answer::SentState;
use super::millis;
use crate::gateway::llm::{self, Call, Credential, Map, Target, Usage};
use crate::gateway::proxy::Context;
use serde_json::{Value as Json, json};
use std::sync::{Arc, Mutex, PoisonError};

/// What became of a request to a provider, told piece by piece. Log phases of other plugins read it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The provider.
    pub provider: &'static str,
    /// The model that was asked.
    pub model: String,
    /// Tokens, estimated where the provider does not count them.
    pub usage: Usage,
    /// The price, where costs are configured.
    pub cost: Option<f64>,
}

/// The outcome of this request, for every plugin of it.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Outcome>>);

impl Told {
    /// What is known now.
    pub fn now(&self) -> Outcome {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, outcome: Outcome) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}

pub(super) fn tell(sent: &SentState, usage: Usage) {
    sent.told.set(Outcome {
        provider: sent.ready.provider.name(),
        model: sent.call.model_name().to_owned(),
        usage,
        cost: usage.cost(&sent.call.model.options),
    });
}

/// Tells the other plugins, and puts Kong's `ai` object into the log entry.
pub(super) fn record(
    context: &mut Context,
    sent: &SentState,
    usage: Usage,
    model: Option<String>,
    payload: Option<String>,
) {
    tell(sent, usage);
    let logging = sent.ready.target.logging;
    let latency = context.record.answered.map_or_else(
        || millis(sent.started),
        |at| at.saturating_duration_since(sent.started).as_millis() as u64,
    );
    let mut entry = Map::new();
    if logging.statistics {
        entry = statistics(&sent.settings.plugin_id, &sent.call, usage, model.as_deref(), latency);
    }
    if let Some(request) = &sent.payload {
        let request = without_credential(&sent.ready.target, request);
        entry.insert("payload".into(), json!({"request": request, "response": payload}));
    }
    log_entry(context, "proxy", entry);
}

/// Puts an entry below `ai` into the log, unless it is empty.
pub(super) fn log_entry(context: &mut Context, name: &str, entry: Map) {
    if !entry.is_empty() {
        let ai = context.log.entry("ai").or_insert_with(|| json!({}));
        if let Some(ai) = ai.as_object_mut() {
            ai.insert(name.to_owned(), Json::Object(entry));
        }
    }
}

/// Kong's statistics of one call of a provider; the latency in milliseconds.
pub(super) fn statistics(
    plugin_id: &str,
    call: &Call,
    usage: Usage,
    model: Option<&str>,
    latency: u64,
) -> Map {
    let mut entry = Map::new();
    let asked = call.model_name();
    let options = &call.model.options;
    let mut meta = json!({
        "plugin_id": plugin_id,
        "provider_name": call.model.provider,
        "request_model": asked,
        "response_model": model.unwrap_or(asked),
        "llm_latency": latency,
    });
    if let (Some(members), "azure") = (meta.as_object_mut(), call.model.provider.as_str()) {
        for (name, value) in [
            ("azure_instance_id", &options.azure_instance),
            ("azure_deployment_id", &options.azure_deployment_id),
            ("azure_api_version", &options.azure_api_version),
        ] {
            members.insert(name.into(), value.as_deref().into());
        }
    }
    let completion = usage.completion.unwrap_or_default();
    let per_token = if completion > 0 { latency as f64 / completion as f64 } else { 0.0 };
    entry.insert("meta".into(), meta);
    entry.insert(
        "usage".into(),
        json!({
            "prompt_tokens": usage.prompt.unwrap_or_default(),
            "completion_tokens": completion,
            "total_tokens": usage.total(),
            "time_per_token": per_token,
            "cost": usage.cost(options).unwrap_or(0.0),
        }),
    );
    entry.insert("cache".into(), json!({}));
    entry
}

/// The request's text for the log. A credential that stands in the body stays out of it.
fn without_credential(target: &Target, request: &[u8]) -> String {
    let names: Vec<&str> = llm::credentials(target)
        .filter_map(|credential| match credential {
            Credential::Body(name, _) => Some(name),
            _ => None,
        })
        .collect();
    match serde_json::from_slice::<Map>(request) {
        Ok(mut members) if !names.is_empty() => {
            names.iter().for_each(|name| drop(members.remove(*name)));
            Json::Object(members).to_string()
        }
        _ => String::from_utf8_lossy(request).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn a_credential_in_the_body_is_not_logged() {
        let target = Target::read(&Value::from(json!({"model": {"provider": "openai"},
            "auth": {"param_name": "token", "param_value": "hush", "param_location": "body"}})));
        let logged = without_credential(&target, br#"{"prompt":"x","token":"hush"}"#);
        assert_eq!(logged, r#"{"prompt":"x"}"#);
    }
}
