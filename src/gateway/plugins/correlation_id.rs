//! `correlation-id`: every request carries an id, the client's or a new one.

use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use http::header::{HeaderName, HeaderValue};
use http::response;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "correlation-id", priority: 100_001, build };

struct CorrelationId {
    header: HeaderName,
    generator: Generator,
    echo: bool,
    counter: Arc<Counter>,
}

enum Generator {
    Uuid,
    UuidAndCounter,
    Tracker,
}

/// The process's own id and how many it gave out.
struct Counter(Uuid, AtomicU64);

impl Default for Counter {
    fn default() -> Self {
        Counter(Uuid::new_v4(), AtomicU64::new(0))
    }
}

/// The id of this request.
#[derive(Clone)]
struct Given(HeaderValue);

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let name = instance.text("header_name").unwrap_or("Kong-Request-ID");
    Ok(Arc::new(CorrelationId {
        header: HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| ConfigError::new("header_name", format!("{name:?} is no header name")))?,
        generator: match instance.text("generator") {
            Some("uuid") => Generator::Uuid,
            Some("tracker") => Generator::Tracker,
            _ => Generator::UuidAndCounter,
        },
        echo: instance.flag("echo_downstream"),
        counter: instance.shared.get::<Counter>(),
    }))
}

#[async_trait]
impl Plugin for CorrelationId {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let shown = context.inbound.headers.get(&self.header).filter(|value| !value.is_empty());
        let id = match shown {
            Some(id) => id.clone(),
            None => {
                let id = self.generate(context)?;
                context.outbound.headers.insert(self.header.clone(), id.clone());
                id
            }
        };
        context.log.insert("correlation_id".into(), String::from_utf8_lossy(id.as_bytes()).into());
        context.state.insert(Given(id));
        Ok(Flow::Continue)
    }

    fn response_headers(&self, context: &mut Context, head: &mut response::Parts) {
        if !self.echo {
            return;
        }
        let given = context.state.get::<Given>().map(|given| given.0.clone());
        let shown = || context.inbound.headers.get(&self.header).filter(|value| !value.is_empty()).cloned();
        if let Some(id) = given.or_else(shown).or_else(|| self.generate(context).ok()) {
            head.headers.insert(self.header.clone(), id);
        }
    }
}

impl CorrelationId {
    fn generate(&self, context: &Context) -> Result<HeaderValue, Failure> {
        let count = || self.counter.1.fetch_add(1, Ordering::Relaxed) + 1;
        let id = match self.generator {
            Generator::Uuid => Uuid::new_v4().to_string(),
            Generator::UuidAndCounter => format!("{}#{}", self.counter.0, count()),
            Generator::Tracker => {
                let inbound = &context.inbound;
                let now = inbound.started_at().as_secs_f64();
                let (ip, port, process) = (inbound.local.ip(), inbound.local.port(), std::process::id());
                format!("{ip}-{port}-{process}-{}-{}-{now:.3}", inbound.peer.port(), count())
            }
        };
        HeaderValue::from_str(&id).map_err(|e| Failure::new(e.to_string()))
    }
}
