//! `cors`: answers to preflight requests, and the headers that browsers ask for.

use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::{Body, Context};
use async_trait::async_trait;
use fancy_regex::Regex;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, response};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "cors", priority: 2000, build };

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const ALL_METHODS: &str = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT";

struct Cors {
    origins: Origins,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    methods: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
    private_network: bool,
    preflight_continue: bool,
    allow_absent: bool,
}

enum Origins {
    Any,
    /// One that is named whoever asks.
    One(HeaderValue),
    /// `*` beside others: any, for whoever names its own.
    AnyNamed,
    Some(Vec<OriginTest>),
}

enum OriginTest {
    Equal(String),
    Regex {
        pattern: Regex,
        /// Compares the host instead of the whole origin.
        by_host: bool,
    },
}

/// A preflight request: its answer gets no further headers.
#[derive(Clone)]
struct Preflight;

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let list = |field: &str| {
        let items = instance.texts(field);
        (!items.is_empty()).then(|| HeaderValue::from_str(&items.join(",")).ok()).flatten()
    };
    Ok(Arc::new(Cors {
        origins: origins(&instance.texts("origins"))?,
        headers: list("headers"),
        exposed: list("exposed_headers"),
        methods: list("methods").or_else(|| Some(HeaderValue::from_static(ALL_METHODS))),
        max_age: instance.number("max_age").and_then(|age| HeaderValue::from_str(&age.to_string()).ok()),
        credentials: instance.flag("credentials"),
        private_network: instance.flag("private_network"),
        preflight_continue: instance.flag("preflight_continue"),
        allow_absent: instance.get("allow_origin_absent").is_none_or(|v| v.as_bool() != Some(false)),
    }))
}

fn is_plain(origin: &str) -> bool {
    !origin.is_empty() && origin.bytes().all(|b| b.is_ascii_alphanumeric() || b".:/-".contains(&b))
}

fn origins(configured: &[Box<str>]) -> Result<Origins, ConfigError> {
    match configured {
        [] => return Ok(Origins::Any),
        [only] if &**only == "*" => return Ok(Origins::Any),
        [only] if is_plain(only) => {
            let value =
                HeaderValue::from_str(only).map_err(|e| ConfigError::new("origins", e.to_string()))?;
            return Ok(Origins::One(value));
        }
        several if several.iter().any(|origin| &**origin == "*") => return Ok(Origins::AnyNamed),
        _ => {}
    }
    let test = |entry: &str| {
        if is_plain(entry) {
            return Ok(OriginTest::Equal(normalize(entry).0));
        }
        let bare = entry.trim_start_matches('^').trim_end_matches('$');
        let pattern =
            Regex::new(&format!("^(?:{bare})$")).map_err(|e| ConfigError::new("origins", e.to_string()))?;
        Ok(OriginTest::Regex { pattern, by_host: !entry.contains(':') })
    };
    Ok(Origins::Some(configured.iter().map(|entry| test(entry)).collect::<Result<_, _>>()?))
}

/// An origin without its usual port, and its host.
fn normalize(origin: &str) -> (String, String) {
    match url::Url::parse(origin) {
        Ok(url) if url.has_host() => {
            let host = url.host_str().unwrap_or_default().to_owned();
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            (format!("{}://{host}{port}", url.scheme()), host)
        }
        _ => (origin.to_owned(), origin.to_owned()),
    }
}

impl Cors {
    /// Sets the allowed origin; whether any is.
    fn allow_origin(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) -> bool {
        let tests = match &self.origins {
            Origins::Any => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                return true;
            }
            Origins::One(one) => {
                headers.append(VARY, HeaderValue::from_static("Origin"));
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, one.clone());
                return false;
            }
            Origins::AnyNamed if origin.is_some() => {
                headers.append(VARY, HeaderValue::from_static("Origin"));
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                return true;
            }
            Origins::AnyNamed => &[],
            Origins::Some(tests) => tests.as_slice(),
        };
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin.and_then(|origin| origin.to_str().ok()) {
            let (whole, host) = normalize(origin);
            for test in tests {
                let found = match test {
                    OriginTest::Equal(wanted) => *wanted == whole,
                    OriginTest::Regex { pattern, by_host } => {
                        pattern.is_match(if *by_host { &host } else { &whole }).unwrap_or(false)
                    }
                };
                if found && let Ok(value) = HeaderValue::from_str(&whole) {
                    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value);
                    return false;
                }
            }
        }
        headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        false
    }

    fn allow(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let any = self.allow_origin(headers, origin);
        if !self.credentials {
            return;
        }
        if any {
            // Browsers take no credentials with an origin of `*`.
            let Some(origin) = origin else { return };
            headers.append(VARY, HeaderValue::from_static("Origin"));
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

fn origin(context: &Context) -> Option<HeaderValue> {
    context.inbound.headers.get(ORIGIN).filter(|origin| !origin.is_empty()).cloned()
}

#[async_trait]
impl Plugin for Cors {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let asked = &context.inbound.headers;
        let origin = origin(context);
        if context.inbound.method != Method::OPTIONS
            || origin.is_none()
            || !asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return Ok(Flow::Continue);
        }
        let mut answer = Response::new(Body::Empty);
        let headers = answer.headers_mut();
        self.allow(headers, origin.as_ref());
        if let Some(allowed) = self.headers.as_ref().or_else(|| asked.get(ACCESS_CONTROL_REQUEST_HEADERS)) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
        }
        if let Some(methods) = &self.methods {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        }
        if let Some(age) = &self.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, age.clone());
        }
        if self.private_network && asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|v| v.as_bytes() == b"true")
        {
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        context.state.insert(Preflight);
        Ok(if self.preflight_continue { Flow::Continue } else { Flow::Respond(answer) })
    }

    fn response_headers(&self, context: &mut Context, head: &mut response::Parts) {
        let origin = origin(context);
        if context.state.get::<Preflight>().is_some() || (origin.is_none() && !self.allow_absent) {
            return;
        }
        self.allow(&mut head.headers, origin.as_ref());
        if let Some(exposed) = &self.exposed {
            head.headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }
}
