//! `prometheus`: counts requests, bytes and times, for the Admin API's `/metrics`.

use super::log_entry::{Latencies, request_size, response_size};
use super::{ConfigError, Entry, Instance, Plugin, Shared};
use crate::gateway::proxy::Context;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "prometheus", priority: 13, build };

const KONG_BUCKETS: &[u64] = &[1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000];
const UPSTREAM_BUCKETS: &[u64] = &[25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10_000, 30_000, 60_000];
const AI_BUCKETS: &[u64] =
    &[250, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 10_000, 30_000, 60_000];

/// Every metric, its kind and help, in the order in which they are written.
const METRICS: &[(&str, &str, &str)] = &[
    ("kong_ai_llm_cost_total", "counter", "AI requests cost per ai_provider/cache in Kong"),
    ("kong_ai_llm_provider_latency_ms", "histogram", "LLM response latency for each AI provider in Kong"),
    ("kong_ai_llm_requests_total", "counter", "AI requests total per ai_provider in Kong"),
    ("kong_ai_llm_tokens_total", "counter", "AI tokens total per ai_provider and type in Kong"),
    ("kong_bandwidth_bytes", "counter", "Total bandwidth (ingress/egress) throughput in bytes"),
    ("kong_http_requests_total", "counter", "HTTP status codes per consumer/service/route in Kong"),
    (
        "kong_kong_latency_ms",
        "histogram",
        "Latency added by Kong and enabled plugins for each service/route in Kong",
    ),
    (
        "kong_request_latency_ms",
        "histogram",
        "Total latency incurred during requests for each service/route in Kong",
    ),
    (
        "kong_upstream_latency_ms",
        "histogram",
        "Latency added by upstream response for each service/route in Kong",
    ),
];

struct Prometheus {
    per_consumer: bool,
    status: bool,
    ai: bool,
    latency: bool,
    bandwidth: bool,
    metrics: Arc<Metrics>,
}

/// All series of this process.
#[derive(Default)]
struct Metrics(Mutex<BTreeMap<&'static str, BTreeMap<String, Series>>>);

enum Series {
    Counter(f64),
    Histogram { buckets: &'static [u64], counts: Vec<u64>, sum: f64, count: u64 },
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    Ok(Arc::new(Prometheus {
        per_consumer: instance.flag("per_consumer"),
        status: instance.flag("status_code_metrics"),
        ai: instance.flag("ai_metrics"),
        latency: instance.flag("latency_metrics"),
        bandwidth: instance.flag("bandwidth_metrics"),
        metrics: instance.shared.get::<Metrics>(),
    }))
}

/// What is counted so far, in Prometheus' text format.
pub fn exposition(shared: &Shared) -> String {
    let metrics = shared.get::<Metrics>();
    let metrics = metrics.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = String::new();
    for (name, kind, help) in METRICS {
        let Some(series) = metrics.get(name).filter(|series| !series.is_empty()) else { continue };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in series {
            value.write(&mut out, name, labels);
        }
    }
    out
}

impl Series {
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        match self {
            Series::Counter(value) => drop(writeln!(out, "{name}{{{labels}}} {value}")),
            Series::Histogram { buckets, counts, sum, count } => {
                for (bound, count) in buckets.iter().zip(counts) {
                    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
                }
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
                let _ = writeln!(out, "{name}_count{{{labels}}} {count}\n{name}_sum{{{labels}}} {sum}");
            }
        }
    }
}

impl Metrics {
    fn count(&self, name: &'static str, labels: &[(&str, &str)], by: f64) {
        let mut metrics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let series = metrics.entry(name).or_default().entry(written(labels)).or_insert(Series::Counter(0.0));
        if let Series::Counter(value) = series {
            *value += by;
        }
    }

    fn observe(&self, name: &'static str, buckets: &'static [u64], labels: &[(&str, &str)], value: f64) {
        let mut metrics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let series = metrics.entry(name).or_default().entry(written(labels));
        let new = || Series::Histogram { buckets, counts: vec![0; buckets.len()], sum: 0.0, count: 0 };
        if let Series::Histogram { counts, sum, count, .. } = series.or_insert_with(new) {
            for (bound, within) in buckets.iter().zip(counts) {
                *within += u64::from(value <= *bound as f64);
            }
            *sum += value;
            *count += 1;
        }
    }
}

/// Labels as they stand between the braces.
pub fn written(labels: &[(&str, &str)]) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect::<Vec<_>>().join(",")
}

impl Plugin for Prometheus {
    fn log(&self, context: &Context) {
        let Some(route) = context.route.as_ref() else { return };
        let route = route.name.as_deref().unwrap_or(&route.id);
        let service = context.service.as_ref().map_or("", |s| s.name.as_deref().unwrap_or(&s.host));
        let workspace = &*context.snapshot.plane;
        let consumer = context.identity.consumer.as_ref().filter(|_| self.per_consumer);
        let consumer = consumer.and_then(|consumer| consumer.username.as_deref()).unwrap_or_default();
        let record = &context.record;
        if self.bandwidth {
            let sizes = [("ingress", request_size(context)), ("egress", response_size(context))];
            for (direction, bytes) in sizes {
                let labels = [
                    ("service", service),
                    ("route", route),
                    ("direction", direction),
                    ("workspace", workspace),
                    ("consumer", consumer),
                ];
                self.metrics.count("kong_bandwidth_bytes", &labels, bytes as f64);
            }
        }
        if let (true, Some(status)) = (self.status, record.status) {
            let labels = [
                ("service", service),
                ("route", route),
                ("code", status.as_str()),
                ("source", if record.proxied { "service" } else { "kong" }),
                ("workspace", workspace),
                ("consumer", consumer),
            ];
            self.metrics.count("kong_http_requests_total", &labels, 1.0);
        }
        if self.latency {
            let labels = [("service", service), ("route", route), ("workspace", workspace)];
            let latencies = Latencies::of(context);
            let observe =
                |name, buckets, value: u64| self.metrics.observe(name, buckets, &labels, value as f64);
            observe("kong_request_latency_ms", UPSTREAM_BUCKETS, latencies.request);
            observe("kong_kong_latency_ms", KONG_BUCKETS, latencies.kong);
            if let Some(upstream) = latencies.upstream {
                observe("kong_upstream_latency_ms", UPSTREAM_BUCKETS, upstream);
            }
        }
        if let (true, Some(Json::Object(uses))) = (self.ai, context.log.get("ai")) {
            uses.values().for_each(|ai| self.count_ai(ai, workspace));
        }
    }
}

impl Prometheus {
    fn count_ai(&self, ai: &Json, workspace: &str) {
        let word = |pointer: &str| ai.pointer(pointer).and_then(Json::as_str).unwrap_or_default();
        let number = |pointer: &str| ai.pointer(pointer).and_then(Json::as_f64).filter(|value| *value >= 0.0);
        let mut labels = vec![
            ("ai_provider", word("/meta/provider_name")),
            ("ai_model", word("/meta/request_model")),
            ("cache_status", word("/cache/cache_status")),
            ("vector_db", word("/cache/vector_db")),
            ("embeddings_provider", word("/cache/embeddings_provider")),
            ("embeddings_model", word("/cache/embeddings_model")),
            ("workspace", workspace),
        ];
        self.metrics.count("kong_ai_llm_requests_total", &labels, 1.0);
        if let Some(cost) = number("/usage/cost").filter(|cost| *cost > 0.0) {
            self.metrics.count("kong_ai_llm_cost_total", &labels, cost);
        }
        if let Some(latency) = number("/meta/llm_latency") {
            self.metrics.observe("kong_ai_llm_provider_latency_ms", AI_BUCKETS, &labels, latency);
        }
        for kind in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            if let Some(tokens) = number(&format!("/usage/{kind}")).filter(|tokens| *tokens > 0.0) {
                labels.insert(6, ("token_type", kind));
                self.metrics.count("kong_ai_llm_tokens_total", &labels, tokens);
                labels.remove(6);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_written_with_their_labels() {
        let shared = Shared::default();
        let metrics = shared.get::<Metrics>();
        metrics.count("kong_http_requests_total", &[("route", "a\"b"), ("code", "200")], 2.0);
        metrics.observe("kong_kong_latency_ms", KONG_BUCKETS, &[("route", "r")], 3.0);
        let text = exposition(&shared);
        assert!(text.contains("kong_http_requests_total{route=\"a\\\"b\",code=\"200\"} 2\n"), "{text}");
        assert!(text.contains("kong_kong_latency_ms_bucket{route=\"r\",le=\"2\"} 0\n"), "{text}");
        assert!(text.contains("kong_kong_latency_ms_bucket{route=\"r\",le=\"5\"} 1\n"), "{text}");
        assert!(text.contains("kong_kong_latency_ms_sum{route=\"r\"} 3\n"), "{text}");
    }
}
