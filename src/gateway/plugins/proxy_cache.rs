//! `proxy-cache`: answers are kept in memory and given again.

use super::{BodyFilter, ConfigError, Entry, Failure, Flow, Instance, Plugin, Shared};
use crate::gateway::proxy::{Body, BodyError, Context};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPIRES, HeaderMap, HeaderName,
    HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Response, StatusCode, response};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "proxy-cache", priority: 100, build };

const CACHE_STATUS: HeaderName = HeaderName::from_static("x-cache-status");
const CACHE_KEY: HeaderName = HeaderName::from_static("x-cache-key");
/// The largest answer that is kept, in bytes.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// How much is kept altogether, in bytes.
const CAPACITY: usize = 128 * 1024 * 1024;

struct ProxyCache {
    codes: Vec<u16>,
    methods: Vec<Box<str>>,
    types: Vec<Box<str>>,
    ttl: Duration,
    storage_ttl: Option<Duration>,
    cache_control: bool,
    ignore_case: bool,
    vary_query: Vec<Box<str>>,
    vary_headers: Vec<Box<str>>,
    show_age: bool,
    show_status: bool,
    show_key: bool,
    cache: Arc<Cache>,
}

/// An answer that is kept, as the Admin API shows it.
pub fn kept(shared: &Shared, key: &str) -> Option<Json> {
    let answer = shared.get::<Cache>().get(key)?;
    let headers: BTreeMap<&str, String> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Some(json!({
        "status": answer.status.as_u16(),
        "headers": headers,
        "body": String::from_utf8_lossy(&answer.body),
        "body_len": answer.body.len(),
        "ttl": answer.ttl.as_secs(),
    }))
}

/// Forgets an answer, or all of them. Answers whether there was one.
pub fn purge(shared: &Shared, key: Option<&str>) -> bool {
    let cache = shared.get::<Cache>();
    let mut kept = cache.0.lock().unwrap_or_else(PoisonError::into_inner);
    match key {
        Some(key) => match kept.answers.remove(key) {
            Some(answer) => {
                kept.bytes = kept.bytes.saturating_sub(answer.body.len());
                true
            }
            None => false,
        },
        None => !std::mem::take(&mut *kept).answers.is_empty(),
    }
}

/// All answers of all plugins of this sort.
#[derive(Default)]
struct Cache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answers: HashMap<String, Arc<Answer>>,
    bytes: usize,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    since: Instant,
    ttl: Duration,
    until: Instant,
}

/// What the cache has to do with this request.
#[derive(Clone)]
struct State {
    status: &'static str,
    /// Under which the answer is kept, if it may be.
    key: Option<String>,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let seconds = |field: &str| {
        instance.integer(field).and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
    };
    let codes = instance.get("response_code").and_then(|codes| codes.as_array()).unwrap_or_default();
    let shown = |header: &str| {
        instance.get(&format!("response_headers.{header}")).is_none_or(|shown| shown.as_bool() != Some(false))
    };
    Ok(Arc::new(ProxyCache {
        codes: codes
            .iter()
            .filter_map(|code| code.as_i64().and_then(|code| u16::try_from(code).ok()))
            .collect(),
        methods: instance.texts("request_method"),
        types: instance.texts("content_type"),
        ttl: seconds("cache_ttl").unwrap_or(Duration::from_secs(300)),
        storage_ttl: seconds("storage_ttl"),
        cache_control: instance.flag("cache_control"),
        ignore_case: instance.flag("ignore_uri_case"),
        vary_query: instance.texts("vary_query_params"),
        vary_headers: instance.texts("vary_headers"),
        show_age: shown("age"),
        show_status: shown("X-Cache-Status"),
        show_key: shown("X-Cache-Key"),
        cache: instance.shared.get::<Cache>(),
    }))
}

#[async_trait]
impl Plugin for ProxyCache {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let asked = Directives::read(&context.inbound.headers);
        let method = context.inbound.method.as_str();
        let forbidden = self.cache_control && (asked.has("no-store") || asked.has("no-cache"));
        if forbidden || !self.methods.iter().any(|known| **known == *method) {
            context.state.insert(State { status: "Bypass", key: None });
            return Ok(Flow::Continue);
        }
        let key = self.key(context);
        let Some(answer) = self.cache.get(&key) else {
            if self.cache_control && asked.has("only-if-cached") {
                let mut answer = Response::new(Body::Empty);
                *answer.status_mut() = StatusCode::GATEWAY_TIMEOUT;
                self.name_key(context, answer.headers_mut(), &key);
                return Ok(Flow::Respond(answer));
            }
            context.state.insert(State { status: "Miss", key: Some(key) });
            return Ok(Flow::Continue);
        };
        let age = answer.since.elapsed();
        let stale = if self.cache_control {
            let over = |name: &str, value: u64| asked.seconds(name).is_some_and(|limit| value > limit);
            let left = answer.ttl.saturating_sub(age).as_secs();
            over("max-age", age.as_secs())
                || over("max-stale", age.saturating_sub(answer.ttl).as_secs())
                || asked.seconds("min-fresh").is_some_and(|fresh| left < fresh)
        } else {
            age > self.ttl
        };
        if stale {
            context.state.insert(State { status: "Refresh", key: Some(key) });
            return Ok(Flow::Continue);
        }
        context.record.proxied = true;
        Ok(Flow::Respond(self.hit(context, &answer, age, &key)))
    }

    fn response_headers(&self, context: &mut Context, head: &mut response::Parts) {
        let Some(mut state) = context.state.get::<State>().cloned() else { return };
        if let Some(key) = &state.key {
            self.name_key(context, &mut head.headers, key);
        }
        if state.key.is_some() && self.lifetime(head).is_none() {
            state = State { status: "Bypass", key: None };
        }
        if self.show_status || is_debugged(context) {
            head.headers.insert(CACHE_STATUS, HeaderValue::from_static(state.status));
        }
        if context.inbound.method == Method::HEAD
            && let Some(key) = &state.key
        {
            self.keep(key.clone(), head, Bytes::new());
        }
        context.state.insert(state);
    }

    fn response_body(&self, context: &mut Context, head: &response::Parts) -> Option<Box<dyn BodyFilter>> {
        let key = context.state.get::<State>()?.key.clone()?;
        let ttl = self.lifetime(head)?;
        Some(Box::new(Keeper {
            key: Some(key),
            status: head.status,
            headers: head.headers.clone(),
            data: BytesMut::new(),
            cache: Arc::clone(&self.cache),
            ttl,
            stored: self.storage_ttl.unwrap_or(ttl),
        }))
    }
}

/// Whether a client wants to see everything.
fn is_debugged(context: &Context) -> bool {
    context.inbound.headers.contains_key("kong-debug")
}

impl ProxyCache {
    /// Tells the client the key, if that is wanted.
    fn name_key(&self, context: &Context, headers: &mut HeaderMap, key: &str) {
        if (self.show_key || is_debugged(context))
            && let Ok(key) = HeaderValue::from_str(key)
        {
            headers.insert(CACHE_KEY, key);
        }
    }

    fn hit(&self, context: &Context, answer: &Answer, age: Duration, key: &str) -> Response<Body> {
        let mut response = Response::new(Body::full(answer.body.clone()));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        *headers = answer.headers.clone();
        headers.remove(AGE);
        headers.remove(CACHE_KEY);
        headers.remove(CACHE_STATUS);
        let debugged = is_debugged(context);
        if self.show_age || debugged {
            headers.insert(AGE, HeaderValue::from(age.as_secs()));
        }
        if self.show_status || debugged {
            headers.insert(CACHE_STATUS, HeaderValue::from_static("Hit"));
        }
        self.name_key(context, headers, key);
        response
    }

    /// What makes a request another: whose it is, the route, the method, the path, the query, and chosen headers.
    fn key(&self, context: &Context) -> String {
        let inbound = &context.inbound;
        let path =
            if self.ignore_case { inbound.uri.path().to_lowercase() } else { inbound.uri.path().to_owned() };
        let mut arguments: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(inbound.uri.query().unwrap_or_default().as_bytes()) {
            if self.vary_query.is_empty() || self.vary_query.iter().any(|known| **known == *name) {
                arguments.entry(name.into_owned()).or_default().push(value.into_owned());
            }
        }
        let header = |name: &str| {
            let values = inbound.headers.get_all(name).iter();
            let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            (name.to_owned(), texts.collect::<Vec<_>>())
        };
        let headers: Vec<_> = self.vary_headers.iter().map(|name| header(name)).collect();
        let consumer = context.identity.consumer.as_ref().map(|consumer| &*consumer.id);
        let route = context.route.as_ref().map(|route| &*route.id);
        let text = format!("{consumer:?}|{route:?}|{}|{path:?}|{arguments:?}|{headers:?}", inbound.method);
        HEXLOWER.encode(&Sha256::digest(text))
    }

    /// How long an answer may be given again; `None` if it may not.
    fn lifetime(&self, head: &response::Parts) -> Option<Duration> {
        let kind = head.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        if !self.codes.contains(&head.status.as_u16())
            || !self.types.iter().any(|wanted| is_kind(kind, wanted))
        {
            return None;
        }
        if !self.cache_control {
            return Some(self.ttl);
        }
        let said = Directives::read(&head.headers);
        if said.has("private") || said.has("no-store") || said.has("no-cache") {
            return None;
        }
        let expires = || {
            let date = httpdate::parse_http_date(head.headers.get(EXPIRES)?.to_str().ok()?).ok()?;
            date.duration_since(SystemTime::now()).ok()
        };
        let said = said.seconds("s-maxage").or_else(|| said.seconds("max-age")).map(Duration::from_secs);
        said.or_else(expires).filter(|ttl| !ttl.is_zero())
    }

    fn keep(&self, key: String, head: &response::Parts, body: Bytes) {
        if let Some(ttl) = self.lifetime(head) {
            let stored = self.storage_ttl.unwrap_or(ttl);
            self.cache.put(key, Answer::new(head.status, &head.headers, body, ttl, stored));
        }
    }
}

impl Answer {
    fn new(status: StatusCode, headers: &HeaderMap, body: Bytes, ttl: Duration, stored: Duration) -> Self {
        let mut headers = headers.clone();
        for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE] {
            headers.remove(name);
        }
        let limited: Vec<HeaderName> =
            headers.keys().filter(|name| name.as_str().contains("ratelimit-remaining")).cloned().collect();
        for name in limited {
            headers.remove(name);
        }
        let since = Instant::now();
        Answer { status, headers, body, since, ttl, until: since + stored }
    }
}

impl Cache {
    fn get(&self, key: &str) -> Option<Arc<Answer>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.get(key).filter(|answer| answer.until > Instant::now()).map(Arc::clone)
    }

    fn put(&self, key: String, answer: Answer) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + answer.body.len() > CAPACITY {
            let now = Instant::now();
            kept.answers.retain(|_, answer| answer.until > now);
            kept.bytes = kept.answers.values().map(|answer| answer.body.len()).sum();
            if kept.bytes + answer.body.len() > CAPACITY {
                kept.answers.clear();
                kept.bytes = 0;
            }
        }
        kept.bytes += answer.body.len();
        if let Some(earlier) = kept.answers.insert(key, Arc::new(answer)) {
            kept.bytes -= earlier.body.len();
        }
    }
}

/// Collects an answer as it streams by.
struct Keeper {
    key: Option<String>,
    status: StatusCode,
    headers: HeaderMap,
    data: BytesMut,
    cache: Arc<Cache>,
    ttl: Duration,
    stored: Duration,
}

impl BodyFilter for Keeper {
    fn data(&mut self, _context: &mut Context, chunk: Bytes) -> Result<Bytes, BodyError> {
        if self.data.len() + chunk.len() > LARGEST_ANSWER {
            self.key = None;
            self.data = BytesMut::new();
        }
        if self.key.is_some() {
            self.data.extend_from_slice(&chunk);
        }
        Ok(chunk)
    }

    fn end(&mut self, _context: &mut Context) -> Result<Bytes, BodyError> {
        if let Some(key) = self.key.take() {
            let data = std::mem::take(&mut self.data).freeze();
            self.cache.put(key, Answer::new(self.status, &self.headers, data, self.ttl, self.stored));
        }
        Ok(Bytes::new())
    }
}

/// The directives of a `Cache-Control` header.
struct Directives(Vec<(String, Option<u64>)>);

impl Directives {
    fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let directive = |text: &str| {
            let (name, value) =
                text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            (name.trim().to_lowercase(), value.and_then(|value| value.trim().trim_matches('"').parse().ok()))
        };
        Directives(values.flat_map(|value| value.split(',')).map(directive).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    fn seconds(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(known, _)| known == name).and_then(|(_, seconds)| *seconds)
    }
}

/// Whether a media type is the configured one: equal parameters, and `*` for any type or subtype.
fn is_kind(kind: &str, wanted: &str) -> bool {
    let parse = |text: &str| {
        let mut parts = text.split(';').map(|part| part.trim().to_lowercase());
        let name = parts.next().unwrap_or_default();
        let mut parameters: Vec<String> = parts.collect();
        parameters.sort();
        (name, parameters)
    };
    let ((kind, parameters), (wanted, wanted_parameters)) = (parse(kind), parse(wanted));
    let (Some((main, sub)), Some((wanted_main, wanted_sub))) = (kind.split_once('/'), wanted.split_once('/'))
    else {
        return false;
    };
    (wanted_main == "*" || main == wanted_main)
        && (wanted_sub == "*" || sub == wanted_sub)
        && parameters == wanted_parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_shown_and_forgotten() {
        let shared = Shared::default();
        let hour = Duration::from_secs(3600);
        for key in ["a", "b"] {
            let answer =
                Answer::new(StatusCode::OK, &HeaderMap::new(), Bytes::from_static(b"hi"), hour, hour);
            shared.get::<Cache>().put(key.to_owned(), answer);
        }
        let shown = kept(&shared, "a").unwrap();
        assert_eq!(
            (&shown["status"], &shown["body"], &shown["body_len"]),
            (&json!(200), &json!("hi"), &json!(2))
        );
        assert!(purge(&shared, Some("a")) && !purge(&shared, Some("a")));
        assert!(kept(&shared, "a").is_none() && kept(&shared, "b").is_some());
        assert!(purge(&shared, None) && kept(&shared, "b").is_none());
    }
}
