//! A request as it goes to a target: translation, address, credentials, signature.

use super::{Question, Ready, Settings, Stop};
use crate::gateway::llm::{self, Asked, Call, Credential, Credentials, Lookup, Map, Route, Signed, Upstream};
use crate::gateway::plugins::Failure;
use crate::gateway::proxy::Context;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::{SystemTime, UNIX_EPOCH};

/// A request as it goes to a target.
pub struct Composed {
    /// What it calls for.
    pub call: Call,
    /// Where it goes.
    pub upstream: Upstream,
    /// Its headers, without `host`.
    pub headers: HeaderMap,
    /// Its query.
    pub query: Option<String>,
    /// Its body.
    pub body: Bytes,
}

/// Composes the request for a target out of the client's: checks, translation, address, credentials. `headers` are
/// those of the request that would go on without this.
///
/// # Errors
/// [`Stop`] when the request cannot go to this target.
pub fn compose(
    settings: &Settings,
    ready: &Ready,
    context: &Context,
    question: Question,
    mut headers: HeaderMap,
) -> Result<Composed, Stop> {
    headers.remove(CONTENT_LENGTH);
    let base = Base { method: &context.outbound.method, headers, query: context.outbound.query.clone() };
    compose_on(base, settings, ready, context, question)
}

/// What a request is composed on.
pub(super) struct Base<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: HeaderMap,
    pub(super) query: Option<String>,
}

pub(super) fn compose_on(
    base: Base<'_>,
    settings: &Settings,
    ready: &Ready,
    context: &Context,
    question: Question,
) -> Result<Composed, Stop> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let path = context.inbound.uri.path();
    let route = ready.target.route;
    if !ready.is_executed() {
        let (kind, provider) = (&ready.target.route_type, ready.provider.name());
        return Err(Stop::NotExecuted(format!(
            "route_type {kind} is not executed by this gateway for {provider}"
        )));
    }
    let asked = Asked {
        target: &ready.target,
        route: if ready.provider.manners().relays { route.at(path) } else { route },
        has_template: ready.has_template,
        streaming: settings.streaming,
        dialect: settings.dialect,
        now,
        id: &context.request_id,
        lookup: &Client(context),
    };
    let call = match settings.native {
        Some(native) => llm::accept(&native.to_openai(&question.members, path), &asked)?,
        None => llm::accept(&question.members, &asked)?,
    };
    let mut upstream = llm::upstream(ready.provider, &call, path, &ready.address)?;
    if let Some(native) = settings.native.filter(|_| upstream.own) {
        native.keep_operation(path, &mut upstream.path);
    }
    let lacks_model = matches!(call.route, Route::Relay(relayed) if relayed.has_model())
        && !question.members.is_empty()
        && !question.members.contains_key("model");
    let passes = settings.native.is_some() || (call.route.passes() && !lacks_model);
    let body = if passes { question.raw } else { translated(ready, &call, question.members)? };
    let Base { method, mut headers, mut query } = base;
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if !passes {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in ready.provider.headers(&call) {
        set_header(&mut headers, name, &value)?;
    }
    for (name, value) in ready.provider.query(&call) {
        set_query(&mut query, name, &value, true);
    }
    let ignores = ready.provider.manners().ignores_override && !call.dialect.complete_requests;
    let allows_override = ready.target.auth.allow_override && !ignores;
    for credential in llm::credentials(&ready.target) {
        match credential {
            Credential::Header(name, secret) => {
                if !allows_override || !headers.contains_key(name) {
                    set_header(&mut headers, name, secret.expose_text())?;
                }
            }
            Credential::Query(name, secret) => {
                set_query(&mut query, name, secret.expose_text(), allows_override);
            }
            // set with the body
            Credential::Body(..) => {}
        }
    }
    sign(ready, method, &call, &upstream, query.as_deref(), &body, &mut headers)?;
    Ok(Composed { call, upstream, headers, query, body })
}

fn translated(ready: &Ready, call: &Call, mut members: Map) -> Result<Bytes, Stop> {
    for credential in llm::credentials(&ready.target) {
        if let Credential::Body(name, secret) = credential
            && !(ready.target.auth.allow_override && members.contains_key(name))
        {
            members.insert(name.to_owned(), secret.expose_text().into());
        }
    }
    let body = ready.provider.request(call, members)?;
    let written = serde_json::to_vec(&body).map_err(|e| Stop::Failed(Failure::new(e.to_string())))?;
    Ok(written.into())
}

/// Signs requests to Bedrock, unless another credential or the mock provider makes that needless.
fn sign(
    ready: &Ready,
    method: &Method,
    call: &Call,
    upstream: &Upstream,
    query: Option<&str>,
    body: &[u8],
    headers: &mut HeaderMap,
) -> Result<(), Stop> {
    if ready.provider.name() != "bedrock" {
        return Ok(());
    }
    let Some((id, key)) = &ready.target.auth.aws else { return Ok(()) };
    let failed = |reason: &str| Stop::Failed(Failure::new(reason));
    let region = call
        .model
        .options
        .aws_region
        .as_deref()
        .ok_or_else(|| failed("AWS region not specified anywhere"))?;
    let credentials =
        Credentials { access_key_id: id.clone(), secret_access_key: key.clone(), session_token: None };
    let pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    let authority = upstream.authority();
    let signed = Signed {
        method: method.as_str(),
        path: &upstream.path,
        query: &pairs,
        headers: &[("host", &authority)],
        body,
        region,
        service: "bedrock",
        now: call.now,
    };
    for (name, value) in llm::sign(&credentials, &signed) {
        set_header(headers, name, &value)?;
    }
    Ok(())
}

fn set_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Stop> {
    let failed =
        || Stop::Failed(Failure::new(format!("the configured value of the header {name} cannot be sent")));
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| failed())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| failed())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// What is not encoded in a query parameter.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sets a query parameter; with `keep`, only if the client gave none.
fn set_query(query: &mut Option<String>, name: &str, value: &str, keep: bool) {
    let given = query.take().unwrap_or_default();
    let is_this = |pair: &&str| url::form_urlencoded::parse(pair.as_bytes()).any(|(key, _)| key == name);
    let mut pairs: Vec<String> =
        given.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    if !(keep && pairs.iter().any(|pair| is_this(&&**pair))) {
        pairs.retain(|pair| !is_this(&&**pair));
        pairs.push(format!("{}={}", utf8_percent_encode(name, PLAIN), utf8_percent_encode(value, PLAIN)));
    }
    *query = Some(pairs.join("&"));
}

/// Values for templates.
struct Client<'a>(&'a Context);

impl Lookup for Client<'_> {
    fn lookup(&self, source: &str, key: &str) -> Option<String> {
        match source {
            "headers" => {
                self.0.inbound.headers.get(key).and_then(|value| value.to_str().ok()).map(str::to_owned)
            }
            "query_params" => self.0.query_arg(key),
            "uri_captures" => {
                self.0.captures.iter().find(|(name, _)| **name == *key).map(|(_, value)| value.to_string())
            }
            _ => None,
        }
    }
}

/// Where a request really goes: the upstream, or the mock provider in the place of a provider's own address.
pub struct Way {
    /// `http` or `https`.
    pub scheme: Box<str>,
    /// Host name or address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// The `host` header, where it is not the host itself.
    pub host_header: Option<Box<str>>,
}

/// Where a composed request really goes.
pub fn way(settings: &Settings, upstream: &Upstream) -> Way {
    match settings.mock {
        Some(mock) if upstream.own => Way {
            scheme: "http".into(),
            host: mock.ip().to_string().into(),
            port: mock.port(),
            host_header: Some(upstream.authority().into()),
        },
        _ => Way {
            scheme: upstream.scheme.as_str().into(),
            host: upstream.host.trim_matches(['[', ']']).into(),
            port: upstream.port,
            host_header: None,
        },
    }
}

/// Puts a composed request in the place of the client's.
pub fn replace(settings: &Settings, composed: Composed, context: &mut Context) {
    let way = way(settings, &composed.upstream);
    let outbound = &mut context.outbound;
    (outbound.scheme, outbound.host, outbound.port) = (way.scheme, way.host, way.port);
    outbound.host_header = way.host_header;
    outbound.path = composed.upstream.path;
    outbound.query = composed.query;
    outbound.headers = composed.headers;
    outbound.set_body(composed.body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_set_beside_the_clients_own() {
        let set = |given: Option<&str>, keep| {
            let mut query = given.map(str::to_owned);
            set_query(&mut query, "key", "a b", keep);
            query.unwrap_or_default()
        };
        assert_eq!(set(None, false), "key=a%20b");
        assert_eq!(set(Some("x=1"), false), "x=1&key=a%20b");
        assert_eq!(set(Some("key=mine&x=1"), false), "x=1&key=a%20b");
        assert_eq!(set(Some("key=mine&x=1"), true), "key=mine&x=1");
    }
}
