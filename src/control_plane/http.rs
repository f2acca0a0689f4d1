//! Requests over HTTP: one pool of connections, bounded concurrency, time-outs, limits on answers, retries.
//!
//! What does not live here: which paths and bodies mean what (`client`), and whom to trust (`tls`).

use super::Error;
use super::tls::{self, Tls};
use crate::model::SKIPPED_HEADER;
use crate::value::{Exposed, Secret, Value};
use bytes::Bytes;
use futures_util::StreamExt;
use rand::Rng;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// The longest answer that is read, in bytes. A page of a thousand large entities stays well below.
const LONGEST_ANSWER: usize = 128 << 20;
/// The first wait before a repetition; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait that is not asked for by `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often one request is repeated after a 500, which may be a fault that does not pass.
const REPEATS_AFTER_500: u32 = 3;

/// Who is told about requests and answers: the verbosity from which a line counts, and the line. Lines hold no secrets.
pub type Trace = Arc<dyn Fn(u8, &str) + Send + Sync>;

/// How to reach a control plane.
#[derive(Clone)]
pub struct Connection {
    /// The base address; a path in it is kept.
    pub address: String,
    /// Headers sent with every request; their values are secret.
    pub headers: Vec<(String, Secret)>,
    /// How long one request may take; `None` for no limit.
    pub timeout: Option<Duration>,
    /// How long failures that may pass are met with repetition; zero for none.
    pub retry_budget: Duration,
    /// How many requests may be under way at once; also the number of connections.
    pub parallelism: usize,
    /// Certificates.
    pub tls: Tls,
    /// The text of a cookie file in Netscape's format.
    pub cookies: Option<String>,
    /// Who is told about requests.
    pub trace: Option<Trace>,
    /// Passwords of basic-auth credentials are written as the hashes that they are already.
    pub skip_hash: bool,
}

/// A request: method, path below the base address, query, body.
pub(super) struct Request<'a> {
    pub method: Method,
    /// Percent-encoded, with a leading slash.
    pub path: String,
    pub query: Vec<(Cow<'static, str>, String)>,
    pub body: Option<&'a Value>,
    /// What traces show in place of a path that holds a secret.
    pub shown: Option<String>,
}

impl<'a> Request<'a> {
    pub fn get(path: impl Into<String>) -> Self {
        Request { method: Method::GET, path: path.into(), query: Vec::new(), body: None, shown: None }
    }

    fn shown_path(&self) -> &str {
        self.shown.as_deref().unwrap_or(&self.path)
    }

    pub fn query(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    pub fn with_body(method: Method, path: impl Into<String>, body: &'a Value) -> Self {
        Request { method, body: Some(body), ..Request::get(path) }
    }
}

/// An answer whose status is not one of a passing failure.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// A failure that may pass.
pub(super) struct Failure {
    /// In words, without secrets.
    pub reason: String,
    /// Whether the request may have been carried out although no answer tells.
    pub lost: bool,
    /// How long the gateway asks to wait.
    retry_after: Option<Duration>,
    /// Whether no connection could be made at all.
    no_connection: bool,
    server_error: bool,
}

/// One pool of connections to one control plane.
pub(super) struct Http {
    client: reqwest::Client,
    base: Url,
    /// The base address as messages name it, without credentials.
    pub address: String,
    host_header: Option<HeaderValue>,
    limit: Semaphore,
    budget: Duration,
    start: Instant,
    /// Milliseconds since `start` of the last answer, plus one; 0 when there was none yet.
    last_answer: AtomicU64,
    /// What the gateway says that it does not execute.
    skipped: Mutex<BTreeSet<String>>,
    trace: Option<Trace>,
}

impl Http {
    pub async fn new(connection: &Connection) -> Result<Self, Error> {
        let given = connection.address.trim();
        let spelled = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
        let mut base = Url::parse(&spelled)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Error::Settings(format!("'{given}' is not an http or https address")))?;
        base.set_query(None);
        base.set_fragment(None);
        let mut shown = base.clone();
        // Neither call fails for an address with a host.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        let address = shown.as_str().trim_end_matches('/').to_owned();

        // The provider is process-wide; that another one stands already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("foredeck/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(connection.parallelism.max(1))
            .pool_idle_timeout(Duration::from_secs(55))
            .connect_timeout(connection.timeout.unwrap_or(Duration::from_secs(30)))
            .tcp_nodelay(true)
            .default_headers(headers(&connection.headers)?);
        if let Some(timeout) = connection.timeout {
            builder = builder.timeout(timeout);
        }
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        if let Some(text) = &connection.cookies {
            builder = builder.cookie_provider(Arc::new(super::cookies::Cookies::of(text, &base)?));
        }
        let (builder, host_header) = tls::apply(builder, &mut base, &connection.tls).await?;
        let client = builder.build().map_err(|error| {
            let own = tls_fault(&error).and_then(tls::reason);
            Error::Settings(own.unwrap_or_else(|| chain(&error)))
        })?;
        Ok(Http {
            client,
            base,
            address,
            host_header,
            limit: Semaphore::new(connection.parallelism.max(1)),
            budget: connection.retry_budget,
            start: Instant::now(),
            last_answer: AtomicU64::new(0),
            skipped: Mutex::default(),
            trace: connection.trace.clone(),
        })
    }

    /// Tells the trace, if there is one; the line is only made then.
    pub fn trace(&self, level: u8, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace(level, &line());
        }
    }

    /// Sends a request that may be sent twice, until it is answered or the budget is spent.
    pub async fn call(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut patience = self.patience();
        loop {
            match self.once(request).await? {
                Ok(answer) => return Ok(answer),
                Err(failure) => patience.wait(&failure).await?,
            }
        }
    }

    /// A fresh allowance of repetitions for one request.
    pub fn patience(&self) -> Patience<'_> {
        Patience { http: self, since: None, repeats: 0 }
    }

    /// The plugins, and fields of plugins, that the gateway said it keeps and does not execute.
    pub fn skipped(&self) -> BTreeSet<String> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request once.
    pub async fn once(&self, request: &Request<'_>) -> Result<Result<Answer, Failure>, Error> {
        let Ok(_permit) = self.limit.acquire().await else {
            return Err(self.unexpected("the connection pool is closed".into()));
        };
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), request.path));
        let mut builder = self.client.request(request.method.clone(), url);
        if !request.query.is_empty() {
            builder = builder.query(&request.query);
        }
        if let Some(host) = &self.host_header {
            builder = builder.header(reqwest::header::HOST, host);
        }
        if let Some(body) = request.body {
            let text = serde_json::to_vec(&Exposed(body))
                .map_err(|error| self.unexpected(format!("the request cannot be written: {error}")))?;
            builder = builder.header(reqwest::header::CONTENT_TYPE, "application/json").body(text);
            self.trace(2, || format!("> {} {} {body}", request.method, request.shown_path()));
        }
        let begun = Instant::now();
        let result = self.exchange(builder).await;
        self.trace(1, || {
            let end = match &result {
                Ok(Ok(answer)) => answer.status.as_u16().to_string(),
                Ok(Err(failure)) => failure.reason.clone(),
                Err(error) => error.to_string(),
            };
            let query: Vec<String> =
                request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mark = if query.is_empty() { "" } else { "?" };
            let spent = begun.elapsed().as_millis();
            format!(
                "{} {}{}{mark}{} -> {end} ({spent} ms)",
                request.method,
                self.address,
                request.shown_path(),
                query.join("&")
            )
        });
        if matches!(result, Ok(Ok(_))) {
            let now = self.start.elapsed().as_millis().try_into().unwrap_or(u64::MAX - 1);
            self.last_answer.store(now + 1, Ordering::Relaxed);
        }
        result
    }

    async fn exchange(&self, builder: reqwest::RequestBuilder) -> Result<Result<Answer, Failure>, Error> {
        let response = match builder.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() => return Err(Error::Settings(chain(&error))),
            Err(error) => return self.network(&error).map(Err),
        };
        let status = response.status();
        if let Some(names) = response.headers().get(SKIPPED_HEADER).and_then(|names| names.to_str().ok()) {
            let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
            skipped.extend(names.split(", ").map(str::to_owned));
        }
        let retry_after = retry_after(response.headers());
        if status.is_redirection() {
            let to = response.headers().get(reqwest::header::LOCATION).and_then(|to| to.to_str().ok());
            return Err(self.unexpected(format!("it redirects to {}", to.unwrap_or("an unnamed place"))));
        }
        let mut body = Vec::with_capacity(response.content_length().unwrap_or(0).min(1 << 20) as usize);
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) if body.len() + chunk.len() > LONGEST_ANSWER => {
                    return Err(self.unexpected(format!("it is longer than {} MiB", LONGEST_ANSWER >> 20)));
                }
                Ok(chunk) => body.extend_from_slice(&chunk),
                Err(error) => return self.network(&error).map(Err),
            }
        }
        if passes(status) {
            return Ok(Err(Failure {
                reason: format!("HTTP status {}", status.as_u16()),
                // A 429 was turned away at the door; behind the others the write may have happened.
                lost: status != StatusCode::TOO_MANY_REQUESTS,
                retry_after,
                no_connection: false,
                server_error: status == StatusCode::INTERNAL_SERVER_ERROR,
            }));
        }
        Ok(Ok(Answer { status, body: body.into() }))
    }

    /// A failure of the network, which may pass; that one side does not trust the other does not.
    fn network(&self, error: &reqwest::Error) -> Result<Failure, Error> {
        let address = || self.address.clone();
        match tls_fault(error) {
            Some(rustls::Error::InvalidCertificate(fault)) => {
                Err(Error::Certificate { address: address(), reason: fault.to_string() })
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                Err(Error::TlsRefused { address: address(), reason: format!("{alert:?}") })
            }
            _ => Ok(Failure::network(error)),
        }
    }

    /// An answer that is not the API's.
    pub fn unexpected(&self, reason: String) -> Error {
        Error::Unexpected { address: self.address.clone(), reason }
    }

    fn idle_for(&self) -> Option<Duration> {
        match self.last_answer.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.start.elapsed().saturating_sub(Duration::from_millis(millis - 1))),
        }
    }
}

/// What one request may still wait for.
pub(super) struct Patience<'a> {
    http: &'a Http,
    since: Option<Instant>,
    repeats: u32,
}

impl Patience<'_> {
    /// Waits before the next try, or says that there is none.
    pub async fn wait(&mut self, failure: &Failure) -> Result<(), Error> {
        let http = self.http;
        let unreachable = |reason: String| Error::Unreachable { address: http.address.clone(), reason };
        let gave_up = |reason: String| Error::GaveUp { address: http.address.clone(), reason };
        let idle = http.idle_for();
        // An address that never answered is more likely wrong than busy.
        if failure.no_connection && idle.is_none() {
            return Err(unreachable(failure.reason.clone()));
        }
        if failure.server_error && self.repeats >= REPEATS_AFTER_500 {
            return Err(gave_up(failure.reason.clone()));
        }
        let spent = self.since.get_or_insert_with(Instant::now).elapsed();
        // When nothing at all was answered for the whole budget, later requests do not start a budget of their own.
        let spent = spent.max(idle.filter(|idle| *idle > http.budget).unwrap_or_default());
        let left = http.budget.saturating_sub(spent);
        let backoff = FIRST_WAIT.saturating_mul(1 << self.repeats.min(10)).min(LONGEST_WAIT);
        let jittered = backoff.mul_f64(rand::rng().random_range(0.5..1.0));
        let wait = failure.retry_after.map_or(jittered, |asked| asked.max(jittered));
        if left.is_zero() || wait > left {
            let asked = failure.retry_after.filter(|asked| *asked > left);
            return Err(match (idle, asked) {
                (_, Some(asked)) => {
                    gave_up(format!("{}, it asks to wait {} s", failure.reason, asked.as_secs()))
                }
                (None, None) => unreachable(failure.reason.clone()),
                (Some(_), None) => gave_up(failure.reason.clone()),
            });
        }
        self.repeats += 1;
        http.trace(1, || format!("{}: trying again in {} ms", failure.reason, wait.as_millis()));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

impl Failure {
    fn network(error: &reqwest::Error) -> Self {
        Failure {
            reason: if error.is_timeout() { "no answer in time".into() } else { chain(error) },
            lost: !error.is_connect(),
            retry_after: None,
            no_connection: error.is_connect(),
            server_error: false,
        }
    }
}

/// Statuses of failures that may pass by themselves.
fn passes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The fault of TLS that is behind a network error.
fn tls_fault(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = at {
        if let Some(fault) = cause.downcast_ref() {
            return Some(fault);
        }
        // The source of an I/O error is what is behind the error that it holds, not that error.
        at = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => cause.source(),
        };
    }
    None
}

/// The innermost causes of a network error, without the URL that reqwest puts in front.
fn chain(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words.push(cause.to_string());
        source = cause.source();
    }
    match words.pop() {
        Some(last) if last.contains("InvalidContentType") => "it does not speak TLS; is it http://?".into(),
        Some(last) => last,
        None if error.is_builder() => "the settings of the connection cannot be used".into(),
        None => "the connection failed".into(),
    }
}

fn headers(given: &[(String, Secret)]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let bad =
            |what: &str| Error::Settings(format!("the header '{name}' has {what} that HTTP does not allow"));
        let header = HeaderName::try_from(name.trim()).map_err(|_| bad("a name"))?;
        let mut text = HeaderValue::from_str(value.expose_text().trim()).map_err(|_| bad("a value"))?;
        text.set_sensitive(true);
        headers.append(header, text);
    }
    Ok(headers)
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_read_in_both_spellings() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            retry_after(&headers)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let waited = asked(&later).unwrap();
        assert!(waited > Duration::from_secs(50) && waited <= Duration::from_secs(60), "{waited:?}");
        assert_eq!(asked("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn loopback_addresses_bypass_proxies() {
        for (address, loopback) in [
            ("http://localhost:8001", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:8001/x", true),
            ("https://kong.test", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(address).unwrap()), loopback, "{address}");
        }
    }
}
