//! `ai-proxy-advanced`: chats in OpenAI's format, answered by one of several providers; another follows a failed one.

use super::ai::{self, Asking, Asks, Question, Ready, Settings, Stop, Told};
use super::ai_balance::{Algorithm, Board, Boards, Breaker, UnderWay};
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::llm::Usage;
use crate::gateway::proxy::{Body, Client, Context, Forward, ForwardError, Limits, Peer, Try, Unsent};
use crate::value::Value;
use async_trait::async_trait;
use http::header::{HOST, HeaderName};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use serde_json::Value as Json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "ai-proxy-advanced", priority: 770, build };

/// What is balanced by: tokens of one side or both, or their price.
#[derive(Clone, Copy)]
enum Measure {
    Prompt,
    Completion,
    Total,
    Cost,
}

/// When another target is asked.
struct Criteria {
    error: bool,
    timeout: bool,
    invalid_header: bool,
    /// Also after the request was sent: chats are POST requests, which a server may have acted on.
    non_idempotent: bool,
    statuses: Vec<StatusCode>,
}

struct Advanced {
    settings: Arc<Settings>,
    targets: Vec<Arc<Ready>>,
    weights: Vec<u32>,
    algorithm: Algorithm,
    header: HeaderName,
    retries: usize,
    limits: Limits,
    criteria: Criteria,
    breaker: Breaker,
    measure: Measure,
    per_token: bool,
    board: Arc<Board>,
}

/// The plugin in the table; its parts are shared with what forwards.
struct AiProxyAdvanced(Arc<Advanced>);

/// The target that answers, kept until the request is over.
#[derive(Clone)]
struct Chosen(Arc<UnderWay>, Instant);

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let settings = Settings::read(instance);
    let items = instance.get("targets").and_then(Value::as_array).unwrap_or_default();
    let targets = items
        .iter()
        .enumerate()
        .map(|(place, item)| Ready::read(item, &format!("targets[{place}]"), &settings).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    if instance.get("acls").is_some() {
        return Err(ConfigError::new("acls", "is not executed by this gateway"));
    }
    let name = instance.text("balancer.algorithm").unwrap_or("round-robin");
    let algorithm = Algorithm::from_name(name).ok_or_else(|| {
        ConfigError::new("balancer.algorithm", format!("{name} is not executed by this gateway"))
    })?;
    let header = instance.text("balancer.hash_on_header").unwrap_or("x-kong-llm-request-id");
    let millis = |field: &str, default: u64| {
        let given = instance.integer(field).and_then(|millis| u64::try_from(millis).ok());
        Duration::from_millis(given.unwrap_or(default))
    };
    let criteria = instance.texts("balancer.failover_criteria");
    let has = |word: &str| criteria.iter().any(|known| &**known == word);
    let statuses = criteria.iter().filter_map(|word| word.strip_prefix("http_")?.parse().ok());
    Ok(Arc::new(Asking(AiProxyAdvanced(Arc::new(Advanced {
        weights: targets.iter().map(|ready| ready.target.weight).collect(),
        algorithm,
        header: HeaderName::from_bytes(header.as_bytes()).map_err(|_| {
            ConfigError::new("balancer.hash_on_header", format!("{header:?} is no header name"))
        })?,
        retries: instance.integer("balancer.retries").and_then(|n| usize::try_from(n).ok()).unwrap_or(5),
        limits: Limits {
            connect: millis("balancer.connect_timeout", 60_000),
            write: millis("balancer.write_timeout", 60_000),
            read: millis("balancer.read_timeout", 60_000),
            ..Limits::default()
        },
        criteria: Criteria {
            error: has("error"),
            timeout: has("timeout"),
            invalid_header: has("invalid_header"),
            non_idempotent: has("non_idempotent"),
            statuses: statuses.collect(),
        },
        breaker: Breaker {
            max_fails: instance
                .integer("balancer.max_fails")
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0),
            fail_timeout: millis("balancer.fail_timeout", 10_000),
        },
        measure: match instance.text("balancer.tokens_count_strategy") {
            Some("prompt-tokens") => Measure::Prompt,
            Some("completion-tokens") => Measure::Completion,
            Some("cost") => Measure::Cost,
            _ => Measure::Total,
        },
        per_token: instance.text("balancer.latency_strategy") != Some("e2e"),
        board: instance.shared.get::<Boards>().board(instance.id, targets.len()),
        settings: Arc::new(settings),
        targets,
    })))))
}

#[async_trait]
impl Asks for AiProxyAdvanced {
    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    async fn ask(&self, context: &mut Context, question: Question) -> Result<Flow, Failure> {
        context.forward_with(Arc::new(Forwarder { plugin: Arc::clone(&self.0), question }));
        Ok(Flow::Continue)
    }

    fn log(&self, context: &Context) {
        let Some(Chosen(under_way, started)) = context.state.get::<Chosen>() else { return };
        if context.record.upstream_status != Some(StatusCode::OK) {
            return;
        }
        let outcome = context.state.get::<Told>().map(Told::now).unwrap_or_default();
        let tokens = |count: Option<u64>| count.unwrap_or_default() as f64;
        let Usage { prompt, completion, .. } = outcome.usage;
        let used = match self.0.measure {
            Measure::Prompt => tokens(prompt),
            Measure::Completion => tokens(completion),
            Measure::Total => outcome.usage.total() as f64,
            Measure::Cost => outcome.cost.unwrap_or(0.0),
        };
        let whole = started.elapsed().as_secs_f64() * 1000.0;
        let latency = if self.0.per_token { whole / tokens(completion).max(1.0) } else { whole };
        self.0.board.answered(under_way.place, latency, used);
    }
}

/// Sends one request to targets until one answers.
struct Forwarder {
    plugin: Arc<Advanced>,
    question: Question,
}

#[async_trait]
impl Forward for Forwarder {
    async fn forward(&self, context: &mut Context, client: &Client) -> Result<Response<Body>, ForwardError> {
        let plugin = &self.plugin;
        let mut left = self.candidates();
        let hash = self.hash(context);
        let mut tries = 0;
        loop {
            let chosen = plugin.board.choose(plugin.algorithm, &left, &plugin.weights, plugin.breaker, &hash);
            let Some((place, ready)) = chosen.and_then(|place| Some((place, plugin.targets.get(place)?)))
            else {
                return Err(ForwardError::NoTarget { upstream: "ai-proxy-advanced".to_owned() });
            };
            left.retain(|other| *other != place);
            let more = !left.is_empty() && tries < plugin.retries;
            tries += 1;
            let (question, headers) = (self.question.clone(), context.outbound.headers.clone());
            let composed = match ai::compose(&plugin.settings, ready, context, question, headers) {
                Ok(composed) => composed,
                Err(stop) => return Err(ForwardError::Answer(Box::new(stopped(stop)))),
            };
            ai::note(context, &plugin.settings, ready, &composed);
            context.state.insert(Chosen(Arc::new(plugin.board.begin(place)), Instant::now()));
            let sent = plugin.send(context, client, &composed).await;
            let (fails, safe) = plugin.judge(&sent);
            if fails {
                plugin.board.failed(place, plugin.breaker);
            }
            match sent {
                _ if fails && more && (safe || plugin.criteria.non_idempotent) => {}
                Ok(answer) => return Ok(answer),
                Err(Unsent { reason, .. }) => return Err(reason),
            }
        }
    }
}

impl Forwarder {
    /// The targets that a request may go to: where it names a model, those of this model or alias, if there are any.
    fn candidates(&self) -> Vec<usize> {
        let all = 0..self.plugin.targets.len();
        let Some(wanted) = self.question.members.get("model").and_then(Json::as_str) else {
            return all.collect();
        };
        let named: Vec<usize> = self
            .plugin
            .targets
            .iter()
            .enumerate()
            .filter(|(_, ready)| {
                let model = &ready.target.model;
                model.name.as_deref().is_none_or(|name| name == wanted)
                    || model.alias.as_deref() == Some(wanted)
            })
            .map(|(place, _)| place)
            .collect();
        if named.is_empty() { all.collect() } else { named }
    }

    /// What consistent hashing goes by: the configured header, or the request alone.
    fn hash(&self, context: &Context) -> String {
        let given = context.inbound.headers.get(&self.plugin.header);
        given.map_or_else(
            || context.request_id.to_string(),
            |value| String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    }
}

impl Advanced {
    async fn send(
        &self,
        context: &mut Context,
        client: &Client,
        composed: &ai::Composed,
    ) -> Result<Response<Body>, Unsent> {
        let way = ai::way(&self.settings, &composed.upstream);
        let unsent = |reason: ForwardError| Unsent { reason, request: None, untouched: false };
        let target = || format!("{}:{}", way.host, way.port);
        let wrong = |reason: String| unsent(ForwardError::Invalid { target: target(), reason });
        let path = match &composed.query {
            Some(query) => format!("{}?{query}", composed.upstream.path),
            None => composed.upstream.path.clone(),
        };
        let mut request = Request::new(Body::full(composed.body.clone()));
        *request.method_mut() = context.outbound.method.clone();
        *request.uri_mut() = path.parse::<Uri>().map_err(|error| wrong(error.to_string()))?;
        request.headers_mut().clone_from(&composed.headers);
        let authority =
            way.host_header.as_deref().map_or_else(|| composed.upstream.authority(), str::to_owned);
        let host = HeaderValue::from_str(&authority).map_err(|error| wrong(error.to_string()))?;
        request.headers_mut().insert(HOST, host);
        let started = Instant::now();
        let address = client.resolve(&way.host, way.port, 0).await.map_err(|reason| Unsent {
            reason,
            request: None,
            untouched: true,
        })?;
        let peer = match &*way.scheme {
            "https" => Peer::tls(address, way.host.clone(), self.limits.verify),
            _ => Peer::plain(address),
        };
        let answer = client.send_to(&peer, Box::new(request), &self.limits).await;
        let failure = answer.as_ref().err().map(|unsent| unsent.reason.to_string());
        context.record.tries.push(Try { ip: address.ip(), port: address.port(), started, failure });
        answer
    }

    /// Whether an attempt counts as failed, and whether the provider certainly did not act on it.
    fn judge(&self, sent: &Result<Response<Body>, Unsent>) -> (bool, bool) {
        let criteria = &self.criteria;
        match sent {
            Ok(answer) => (criteria.statuses.contains(&answer.status()), false),
            Err(Unsent { reason, untouched, .. }) => {
                let fails = match reason {
                    ForwardError::TimedOut { .. } => criteria.timeout,
                    ForwardError::Invalid { .. } => criteria.error || criteria.invalid_header,
                    ForwardError::Body(_) | ForwardError::Answer(_) => false,
                    _ => criteria.error,
                };
                (fails, *untouched)
            }
        }
    }
}

fn stopped(stop: Stop) -> Response<Body> {
    match stop {
        Stop::Refused(refusal) => ai::plain(StatusCode::BAD_REQUEST, &refusal.0),
        Stop::NotExecuted(message) => ai::plain(StatusCode::NOT_IMPLEMENTED, &message),
        Stop::Failed(_) => ai::plain(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred"),
    }
}
