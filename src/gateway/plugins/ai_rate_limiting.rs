//! `ai-rate-limiting-advanced`: so many tokens, or so much money, in a window, for each provider and client.
//!
//! Tokens are only known when an answer is over: a request is refused when those before it have used up the limit.
//! Where the counters are kept does not live here (`ai_windows`).

use super::ai::{Outcome, Told};
use super::ai_windows::{Counters, Key};
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin, status};
use crate::gateway::proxy::Context;
use crate::value::Value;
use async_trait::async_trait;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "ai-rate-limiting-advanced", priority: 905, build };

const RESET: HeaderName = HeaderName::from_static("x-ai-ratelimit-reset");

struct Limiter {
    rules: Vec<Rule>,
    by: By,
    hide_headers: bool,
    hide_providers: bool,
    error_code: StatusCode,
    error_message: Box<str>,
    counters: Counters,
}

/// Limits for what some conditions hold for.
struct Rule {
    conditions: Vec<Condition>,
    limits: Vec<Limit>,
    sliding: bool,
    /// Whether clients are counted apart by the plugin's identifier (`llm_providers`); policies say it themselves.
    by_identifier: bool,
}

#[derive(Clone, Copy)]
struct Limit {
    most: f64,
    /// Seconds.
    window: u64,
    measure: Measure,
}

#[derive(Clone, Copy)]
enum Measure {
    Total,
    Prompt,
    Completion,
    Cost,
}

struct Condition {
    subject: Subject,
    /// Any of them; empty for whatever there is.
    values: Vec<Box<str>>,
    /// Whether each value is counted apart.
    partition: bool,
}

/// What a condition looks at.
enum Subject {
    Provider,
    Model,
    /// `username`, `custom_id` or `id`.
    Consumer(Box<str>),
    /// `name` or `id`.
    ConsumerGroup(Box<str>),
    Header(HeaderName),
    Ip,
    Path,
}

/// `config.identifier`.
enum By {
    Consumer,
    ConsumerGroup,
    Credential,
    Ip,
    Service,
    Header(HeaderName),
    Path(Box<str>),
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let not_here = |field: &str, what: &str| {
        Err(ConfigError::new(field, format!("{what} is not executed by this gateway")))
    };
    for field in ["custom_cost_count_function", "request_prompt_count_function"] {
        if instance.get(field).is_some() {
            return not_here(field, "a Lua function");
        }
    }
    let header = |field: &str, name: &str| {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| ConfigError::new(field, format!("{name:?} is no header name")))
    };
    let by = match instance.text("identifier") {
        Some("ip") => By::Ip,
        Some("credential") => By::Credential,
        Some("consumer-group") => By::ConsumerGroup,
        Some("service") => By::Service,
        Some("path") => By::Path(instance.text("path").unwrap_or_default().into()),
        Some("header") => {
            By::Header(header("header_name", instance.text("header_name").unwrap_or_default())?)
        }
        _ => By::Consumer,
    };
    let sliding = instance.text("window_type") != Some("fixed");
    let measure = measure(instance.text("tokens_count_strategy"));
    let mut rules = Vec::new();
    for provider in instance.get("llm_providers").and_then(Value::as_array).unwrap_or_default() {
        let name = provider.get("name").and_then(Value::exposed_str).unwrap_or_default();
        if matches!(name, "requestPrompt" | "customCost") {
            return not_here("llm_providers", name);
        }
        let numbers = |field: &str| {
            let items = provider.get(field).and_then(Value::as_array).unwrap_or_default();
            items.iter().filter_map(Value::as_f64)
        };
        rules.push(Rule {
            conditions: vec![Condition {
                subject: Subject::Provider,
                values: vec![name.into()],
                partition: true,
            }],
            limits: numbers("limit")
                .zip(numbers("window_size"))
                .map(|(most, window)| Limit { most, window: (window as u64).max(1), measure })
                .collect(),
            sliding,
            by_identifier: true,
        });
    }
    for policy in instance.get("policies").and_then(Value::as_array).unwrap_or_default() {
        rules.push(policy_rule(policy)?);
    }
    Ok(Arc::new(Limiter {
        rules,
        by,
        hide_headers: instance.flag("hide_client_headers"),
        hide_providers: instance.flag("error_hide_providers"),
        error_code: status("error_code", instance.integer("error_code").unwrap_or(429))?,
        error_message: instance
            .text("error_message")
            .unwrap_or("AI token rate limit exceeded for provider(s): ")
            .into(),
        counters: Counters::new(instance)?,
    }))
}

fn measure(name: Option<&str>) -> Measure {
    match name {
        Some("prompt_tokens") => Measure::Prompt,
        Some("completion_tokens") => Measure::Completion,
        Some("cost") => Measure::Cost,
        _ => Measure::Total,
    }
}

fn policy_rule(policy: &Value) -> Result<Rule, ConfigError> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::exposed_str).map(str::to_owned);
    let mut conditions = Vec::new();
    for condition in policy.get("match").and_then(Value::as_array).unwrap_or_default() {
        let key = text(condition, "key");
        let subject = match text(condition, "type").as_deref() {
            Some("provider") => Subject::Provider,
            Some("model") => Subject::Model,
            Some("consumer") => Subject::Consumer(key.as_deref().unwrap_or("username").into()),
            Some("consumer_group") => Subject::ConsumerGroup(key.as_deref().unwrap_or("name").into()),
            Some("ip") => Subject::Ip,
            Some("path") => Subject::Path,
            Some("header") => {
                let name = key.unwrap_or_default();
                Subject::Header(HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                    ConfigError::new("policies.match.key", format!("{name:?} is no header name"))
                })?)
            }
            other => {
                let other = other.unwrap_or_default();
                return Err(ConfigError::new("policies.match.type", format!("{other:?} is not known")));
            }
        };
        let values = condition.get("values").and_then(Value::as_array).unwrap_or_default();
        conditions.push(Condition {
            subject,
            values: values.iter().filter_map(|value| value.exposed_str().map(Into::into)).collect(),
            partition: condition.get("partition_by").and_then(Value::as_bool).unwrap_or(false),
        });
    }
    let limits = policy.get("limits").and_then(Value::as_array).unwrap_or_default();
    Ok(Rule {
        conditions,
        limits: limits
            .iter()
            .filter_map(|limit| {
                let most = limit.get("limit").and_then(Value::as_f64)?;
                let window = limit.get("window_size").and_then(Value::as_f64)? as u64;
                let measure = measure(limit.get("tokens_count_strategy").and_then(Value::exposed_str));
                Some(Limit { most, window: window.max(1), measure })
            })
            .collect(),
        sliding: policy.get("window_type").and_then(Value::exposed_str) != Some("fixed"),
        by_identifier: false,
    })
}

#[async_trait]
impl Plugin for Limiter {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let now = now();
        let mut headers = HeaderMap::new();
        let mut over: Vec<String> = Vec::new();
        let mut wait = 0;
        // what is left under the tightest limit, and when it starts anew
        let mut tightest = (f64::INFINITY, 0);
        for (place, rule) in self.rules.iter().enumerate() {
            for (owner, label) in self.owners(rule, context, None) {
                for (index, limit) in rule.limits.iter().enumerate() {
                    let key = Key { rule: place, limit: index, owner: owner.clone(), window: limit.window };
                    let used = self.counters.used(key, rule.sliding, now).await;
                    let reset = limit.window - now % limit.window;
                    if used >= limit.most {
                        wait = wait.max(reset);
                        if !over.contains(&label) {
                            over.push(label.clone());
                        }
                    }
                    let left = (limit.most - used).max(0.0);
                    if left < tightest.0 {
                        tightest = (left, reset);
                    }
                    let window = window_name(limit.window);
                    let mut set = |what: &str, value: HeaderValue| {
                        let name = format!("x-ai-ratelimit-{what}-{window}-{label}");
                        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                            headers.insert(name, value);
                        }
                    };
                    set("limit", number(limit.most));
                    set("remaining", number(left));
                    set("reset", HeaderValue::from(reset));
                }
            }
        }
        if self.hide_headers {
            headers.clear();
        }
        if over.is_empty() {
            if !self.hide_headers && tightest.0.is_finite() {
                headers.insert(RESET, HeaderValue::from(tightest.1));
            }
            context.response_headers.extend(headers);
            return Ok(Flow::Continue);
        }
        let message = if self.hide_providers {
            self.error_message.trim_end_matches([' ', ':']).to_owned()
        } else {
            format!("{}{}", self.error_message, over.join(", "))
        };
        let mut answer = context.exit(self.error_code, &message);
        // told also to clients who are not told their limits
        for name in [RETRY_AFTER, HeaderName::from_static("x-ai-ratelimit-retry-after"), RESET] {
            headers.insert(name, HeaderValue::from(wait));
        }
        answer.headers_mut().extend(headers);
        Ok(Flow::Respond(answer))
    }

    fn log(&self, context: &Context) {
        let Some(outcome) = context.state.get::<Told>().map(Told::now) else { return };
        let now = now();
        for (place, rule) in self.rules.iter().enumerate() {
            for (owner, _) in self.owners(rule, context, Some(&outcome)) {
                for (index, limit) in rule.limits.iter().enumerate() {
                    let used = match limit.measure {
                        Measure::Total => outcome.usage.total() as f64,
                        Measure::Prompt => outcome.usage.prompt.unwrap_or_default() as f64,
                        Measure::Completion => outcome.usage.completion.unwrap_or_default() as f64,
                        Measure::Cost => outcome.cost.unwrap_or(0.0),
                    };
                    let key = Key { rule: place, limit: index, owner: owner.clone(), window: limit.window };
                    self.counters.add(key, used, now);
                }
            }
        }
    }
}

impl Limiter {
    /// Whose counters a rule means, each with a label for headers and messages; none if it does not hold. Before
    /// the answer (`outcome` is `None`), provider and model are not known: every one that the rule names is meant.
    fn owners(&self, rule: &Rule, context: &Context, outcome: Option<&Outcome>) -> Vec<(String, String)> {
        let mut owners = vec![(String::new(), String::new())];
        for condition in &rule.conditions {
            let found: Vec<Box<str>> = match (&condition.subject, outcome) {
                (Subject::Provider | Subject::Model, None) => condition.values.clone(),
                (Subject::Provider, Some(outcome)) => vec![outcome.provider.into()],
                (Subject::Model, Some(outcome)) => vec![outcome.model.as_str().into()],
                (subject, _) => found(subject, context),
            };
            let holds = |value: &&str| {
                condition.values.is_empty() || condition.values.iter().any(|known| **known == **value)
            };
            let found: Vec<&str> = found.iter().map(|value| &**value).filter(holds).collect();
            if found.is_empty() {
                return Vec::new();
            }
            let named = matches!(condition.subject, Subject::Provider | Subject::Model);
            owners = owners
                .iter()
                .flat_map(|(owner, label)| {
                    // not partitioned: one counter for all values
                    found.iter().take(if condition.partition { usize::MAX } else { 1 }).map(move |value| {
                        let owner =
                            if condition.partition { format!("{owner}\n{value}") } else { owner.clone() };
                        let label = if named { (*value).to_owned() } else { label.clone() };
                        (owner, label)
                    })
                })
                .collect();
        }
        if rule.by_identifier {
            let identifier = self.identifier(context);
            owners.iter_mut().for_each(|(owner, _)| owner.push_str(&format!("\n\n{identifier}")));
        }
        for (_, label) in owners.iter_mut().filter(|(_, label)| label.is_empty()) {
            label.push_str("policy");
        }
        owners
    }

    /// Whom a request is counted for; the client's address where there is nobody else.
    fn identifier(&self, context: &Context) -> String {
        let identity = &context.identity;
        let found = match &self.by {
            By::Consumer => identity.consumer.as_ref().map(|consumer| consumer.id.to_string()),
            By::ConsumerGroup => identity
                .consumer
                .as_ref()
                .and_then(|consumer| consumer.groups.first())
                .map(|group| group.id.to_string()),
            By::Credential => identity.credential.as_ref().map(|credential| credential.id.to_string()),
            By::Ip => None,
            By::Service => context.service.as_ref().map(|service| service.id.to_string()),
            By::Header(name) => context
                .inbound
                .headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            By::Path(path) => (context.inbound.uri.path() == &**path).then(|| path.to_string()),
        };
        found.unwrap_or_else(|| context.inbound.client_ip.to_string())
    }
}

/// What the request has to show to a condition.
fn found(subject: &Subject, context: &Context) -> Vec<Box<str>> {
    let consumer = context.identity.consumer.as_deref();
    match subject {
        Subject::Provider | Subject::Model => Vec::new(),
        Subject::Consumer(key) => consumer
            .and_then(|consumer| match &**key {
                "id" => Some(consumer.id.clone()),
                "custom_id" => consumer.custom_id.clone(),
                _ => consumer.username.clone(),
            })
            .into_iter()
            .collect(),
        Subject::ConsumerGroup(key) => {
            let groups = consumer.map_or(&[][..], |consumer| &consumer.groups);
            groups
                .iter()
                .map(|group| if &**key == "id" { group.id.clone() } else { group.name.clone() })
                .collect()
        }
        Subject::Header(name) => {
            let value = context.inbound.headers.get(name);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into()).into_iter().collect()
        }
        Subject::Ip => vec![context.inbound.client_ip.to_string().into()],
        Subject::Path => vec![context.inbound.uri.path().into()],
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `minute` for 60 ..., the seconds for others.
fn window_name(seconds: u64) -> String {
    match seconds {
        1 => "second".into(),
        60 => "minute".into(),
        3600 => "hour".into(),
        86_400 => "day".into(),
        2_592_000 => "month".into(),
        31_536_000 => "year".into(),
        other => other.to_string(),
    }
}

fn number(value: f64) -> HeaderValue {
    let text = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value}") };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_their_names() {
        assert_eq!([window_name(60), window_name(90)], ["minute", "90"]);
        assert_eq!(number(2.0), "2");
        assert_eq!(number(0.5), "0.5");
    }
}
