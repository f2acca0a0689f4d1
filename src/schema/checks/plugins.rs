//! Checks of single plugins.

use super::texts::header_name;
use super::{Outcome, demand};
use crate::value::{Map, Value};

const PERIODS: [&str; 6] = ["second", "minute", "hour", "day", "month", "year"];

/// A longer period's limit must not be lower than a shorter one's.
fn periods(limits: &Value, the: &str) -> Outcome {
    for (n, lower) in PERIODS.iter().enumerate() {
        let Some(low) = limits.get(lower).and_then(Value::as_f64) else { continue };
        for upper in PERIODS.iter().skip(n + 1) {
            if let Some(high) = limits.get(upper).and_then(Value::as_f64).filter(|high| *high < low) {
                return Err(format!(
                    "{the} limit for {upper}({high:.1}) cannot be lower than the limit for {lower}({low:.1})"
                )
                .into());
            }
        }
    }
    Ok(())
}

pub fn limits_of_periods(limits: &Value) -> Outcome {
    periods(limits, "the")
}

/// The config of rate-limiting: periods in order, a sync rate only with Redis.
pub fn rate_limits(config: &Value) -> Outcome {
    periods(config, "The")?;
    let Some(rate) = config.get("sync_rate").and_then(Value::as_f64).filter(|rate| *rate != -1.0) else {
        return Ok(());
    };
    demand(
        config.get("policy").and_then(Value::exposed_str) == Some("redis"),
        || "sync_rate can only be used with the redis policy",
    )?;
    demand(rate >= 0.02, || "sync_rate must be greater than 0.02, or -1 to disable")
}

pub fn oauth2_flows(config: &Value) -> Outcome {
    let flows = [
        "enable_authorization_code",
        "enable_implicit_grant",
        "enable_client_credentials",
        "enable_password_grant",
    ];
    let enabled = |flow: &&str| config.get(flow).and_then(Value::as_bool) == Some(true);
    demand(flows.iter().any(enabled), || {
        format!("at least one of these fields must be true: {}", flows.join(", "))
    })
}

pub fn request_termination(config: &Value) -> Outcome {
    let given =
        |field: &str| config.get(field).and_then(Value::exposed_str).is_some_and(|text| !text.is_empty());
    let (message, content_type, body) = (given("message"), given("content_type"), given("body"));
    demand(!(message && (content_type || body)), || "message cannot be used with content_type or body")?;
    demand(!content_type || body, || "content_type requires a body")?;
    let echo = config.get("echo").and_then(Value::as_bool) == Some(true);
    demand(!(echo && (content_type || body)), || "echo cannot be used with content_type and body")
}

/// The values of resource attributes are scalars.
pub fn attributes(attributes: &Value) -> Outcome {
    for value in attributes.as_object().into_iter().flat_map(Map::values) {
        match value.exposed() {
            Value::String(text) if text.is_empty() => return Err("required field missing".into()),
            Value::Array(_) | Value::Object(_) => return Err("invalid type of value: table".into()),
            _ => {}
        }
    }
    Ok(())
}

/// Tags of one name would overwrite each other.
pub fn unique_tag_names(tags: &Value) -> Outcome {
    let names: Vec<&str> =
        tags.as_array().into_iter().flatten().filter_map(|tag| tag.get("name")?.exposed_str()).collect();
    match names.iter().enumerate().find(|(n, name)| names.iter().take(*n).any(|other| other == *name)) {
        Some((_, name)) => Err(format!("repeated tags are not allowed: {name}").into()),
        None => Ok(()),
    }
}

/// Credentials stand in the URL or in a header, not in both.
pub fn http_log_credentials(config: &Value) -> Outcome {
    let url = config.get("http_endpoint").and_then(Value::exposed_str).unwrap_or_default();
    let authority =
        url.split_once("//").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
    let headers = config.get("headers").and_then(Value::as_object);
    let authorization =
        headers.is_some_and(|headers| headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")));
    demand(
        !(authority.contains('@') && authorization),
        || "specifying both an 'Authorization' header and user info in 'http_endpoint' is not allowed",
    )
}

/// A port, or a text that another tool will replace by one.
pub fn port_or_word(port: &Value) -> Outcome {
    let number = port.as_f64().is_some_and(|port| port.fract() == 0.0 && (0.0..=65535.0).contains(&port));
    let word = port.exposed_str().is_some_and(|word| !word.is_empty() && word.parse::<f64>().is_err());
    demand(number || word, || "expected a number")
}

pub fn acme_namespace(text: &str) -> Outcome {
    let reserved = ["kong_acme:renew_config:", "kong_acme:renew_last_run", "kong_acme:cert_key:"];
    match reserved.iter().find(|word| text.starts_with(**word)) {
        Some(word) => Err(format!("namespace can't be prefixed with reserved word: {word}").into()),
        None => Ok(()),
    }
}

/// `name:value` at its first colons.
fn pair(entry: &str) -> (&str, &str) {
    match entry.split_once(':') {
        Some((name, value)) => (name, value.trim_start_matches(':')),
        None => (entry, ""),
    }
}

fn valid_header(name: &str) -> Outcome {
    demand(!name.is_empty() && header_name(name).is_ok(), || format!("'{name}' is not a valid header"))
}

pub fn transformer_header(entry: &str) -> Outcome {
    valid_header(pair(entry).0)
}

pub fn transformer_header_pair(entry: &str) -> Outcome {
    let (name, value) = pair(entry);
    valid_header(name)?;
    valid_header(value)
}

pub fn transformer_value(entry: &str) -> Outcome {
    let (name, value) = pair(entry);
    demand(!value.is_empty(), || format!("key '{name}' has no value"))
}

/// The proxy of aws-lambda speaks http.
pub fn aws_lambda_proxy(members: &Map) -> Outcome {
    let url = members.get("config").and_then(|config| config.get("proxy_url")).and_then(Value::exposed_str);
    let scheme = url.and_then(|url| url.split_once("://")).map(|(scheme, _)| scheme);
    demand(
        scheme.is_none_or(|scheme| scheme.is_empty() || scheme.contains(':') || scheme == "http"),
        || "proxy_url scheme must be http",
    )
}

/// Anthropic's completions have no statistics.
pub fn llm_statistics(members: &Map) -> Outcome {
    let statistics = members.get("logging").and_then(|logging| logging.get("log_statistics")?.as_bool());
    let route_type = members.get("route_type").and_then(Value::exposed_str).unwrap_or_default();
    let provider =
        members.get("model").and_then(|model| model.get("provider")?.exposed_str()).unwrap_or_default();
    let unsupported =
        statistics == Some(true) && route_type == "llm/v1/completions" && provider == "anthropic";
    demand(!unsupported, || format!("{provider} does not support statistics when route_type is {route_type}"))
}
