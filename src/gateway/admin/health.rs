//! The health of targets: what the proxy's checks found, and what operators say.

use super::info::{kind, listing, targets_of};
use super::{Admin, Endpoint};
use crate::gateway::entities::{Entities, Fault, Mark};
use crate::gateway::health::Board;
use crate::gateway::http::Reply;
use crate::gateway::plugins::prometheus;
use crate::gateway::rest::{Call, escape, is_uuid, listed, page_size};
use crate::gateway::store::{Row, Tx};
use http::StatusCode;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use uuid::Uuid;

impl Admin {
    /// Answers a request about the health of targets.
    pub(super) async fn health(&self, endpoint: Endpoint, all: Entities, call: Call) -> Result<Reply, Fault> {
        let (board, node) = (Arc::clone(&self.settings.board), self.node);
        self.store
            .run(move |tx| {
                let words: Vec<&str> = call.path.iter().map(String::as_str).collect();
                match (endpoint, words.as_slice()) {
                    (Endpoint::AllTargets, [_, key, ..]) => all_targets(&all, tx, key, &call),
                    (Endpoint::Health, [_, key, ..]) => health(&all, tx, key, &call, &board, node),
                    (Endpoint::SetHealth, [_, key, _, target, .., state]) => {
                        set(&all, tx, key, target, *state == "healthy", &board)
                    }
                    _ => Err(Fault::Absent),
                }
            })
            .await
    }
}

fn upstream(all: &Entities, tx: &Tx<'_>, key: &str) -> Result<Row, Fault> {
    let upstreams = kind(all, "upstreams")?;
    let mark = all.mark_of(tx, &upstreams, key, None)?;
    all.find(tx, &upstreams, &mark)?.ok_or(Fault::Absent)
}

fn all_targets(all: &Entities, tx: &Tx<'_>, key: &str, call: &Call) -> Result<Reply, Fault> {
    let id = upstream(all, tx, key)?.id;
    let targets = kind(all, "targets")?;
    let page = all.page(tx, &targets, &targets_of(id), page_size(call)?, call.argument("offset"))?;
    let next = page.offset.as_ref().map(|o| format!("/upstreams/{id}/targets/all?offset={}", escape(o)));
    Ok(listed(&page, next))
}

fn health(
    all: &Entities,
    tx: &Tx<'_>,
    key: &str,
    call: &Call,
    board: &Board,
    node: Uuid,
) -> Result<Reply, Fault> {
    let row = upstream(all, tx, key)?;
    let checked = has_checks(&parsed(&row.body));
    let word = |target: &str| state(checked, board.is_healthy(row.id, target));
    if call.argument("balancer_health") == Some("1") {
        let body = json!({
            "data": {"health": if checked { "HEALTHY" } else { "HEALTHCHECKS_OFF" }, "id": row.id},
            "next": null,
            "node_id": node,
        });
        return Ok(Reply::json(StatusCode::OK, &body));
    }
    let targets = kind(all, "targets")?;
    let page = all.page(tx, &targets, &targets_of(row.id), page_size(call)?, call.argument("offset"))?;
    let mut data = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        let mut body: Json = serde_json::from_str(row).map_err(|error| Fault::Internal(error.to_string()))?;
        let target = body.get("target").and_then(Json::as_str).unwrap_or_default().to_owned();
        let weight = body.get("weight").cloned().unwrap_or_default();
        let (host, port) = target.rsplit_once(':').unwrap_or((&target, "0"));
        let address = json!({
            "ip": host, "port": port.parse::<u16>().unwrap_or(0), "health": word(&target), "weight": weight,
        });
        if let Some(members) = body.as_object_mut() {
            members.insert("health".to_owned(), word(&target).into());
            members.insert(
                "data".to_owned(),
                json!({
                    "addresses": [address], "host": host, "port": port.parse::<u16>().unwrap_or(0),
                    "nodeWeight": weight, "dns": "A",
                    "weight": {"total": weight, "available": weight, "unavailable": 0},
                }),
            );
        }
        data.push(body);
    }
    let mut body = listing(data, page.offset, &format!("/upstreams/{key}/health"));
    if let Some(members) = body.as_object_mut() {
        members.insert("node_id".to_owned(), json!(node));
    }
    Ok(Reply::json(StatusCode::OK, &body))
}

fn state(checked: bool, healthy: bool) -> &'static str {
    match (checked, healthy) {
        (_, false) => "UNHEALTHY",
        (false, true) => "HEALTHCHECKS_OFF",
        (true, true) => "HEALTHY",
    }
}

/// The health of all targets in Prometheus' text format, if a plugin asks for it: a line for each state that a target
/// may be in.
pub(super) fn exposition(all: &Entities, tx: &Tx<'_>, board: &Board) -> Result<String, Fault> {
    let mut wanted = false;
    tx.each(all.plane, "plugins", |_, body| {
        // Few plugins are read whole.
        wanted |= body.contains("upstream_health_metrics") && asks_for_health(&parsed(body));
        Ok(())
    })?;
    let mut out = String::new();
    if !wanted {
        return Ok(out);
    }
    out.push_str("# HELP kong_upstream_target_health The state of a target is the one whose value is 1\n");
    out.push_str("# TYPE kong_upstream_target_health gauge\n");
    let mut upstreams = HashMap::new();
    tx.each(all.plane, "upstreams", |id, body| {
        let upstream = parsed(body);
        let name = upstream["name"].as_str().unwrap_or_default().to_owned();
        upstreams.insert(id.to_string(), (id, name, has_checks(&upstream)));
        Ok(())
    })?;
    tx.each(all.plane, "targets", |_, body| {
        let target = parsed(body);
        let upstream = target.pointer("/upstream/id").and_then(Json::as_str).and_then(|id| upstreams.get(id));
        if let (Some((id, name, checked)), Some(address)) = (upstream, target["target"].as_str()) {
            let now = state(*checked, board.is_healthy(*id, address)).to_ascii_lowercase();
            for state in ["dns_error", "healthchecks_off", "healthy", "unhealthy"] {
                let labels = prometheus::written(&[
                    ("upstream", name),
                    ("target", address),
                    ("address", address),
                    ("state", state),
                    ("subsystem", "http"),
                ]);
                // Writing to a String cannot fail.
                let _ = writeln!(out, "kong_upstream_target_health{{{labels}}} {}", u8::from(state == now));
            }
        }
        Ok(())
    })?;
    Ok(out)
}

fn asks_for_health(plugin: &Json) -> bool {
    plugin["enabled"] != json!(false) && plugin["config"]["upstream_health_metrics"] == json!(true)
}

/// A stored body; one that cannot be read has nothing in it.
fn parsed(body: &str) -> Json {
    serde_json::from_str(body).unwrap_or_default()
}

/// Whether an upstream has active or passive checks: some threshold or interval is above zero.
fn has_checks(upstream: &Json) -> bool {
    fn any_positive(value: &Json) -> bool {
        match value {
            Json::Object(members) => members.iter().any(|(name, value)| match name.as_str() {
                "interval" | "successes" | "http_failures" | "tcp_failures" | "timeouts" => {
                    value.as_f64().is_some_and(|n| n > 0.0)
                }
                _ => any_positive(value),
            }),
            _ => false,
        }
    }
    upstream.get("healthchecks").is_some_and(any_positive)
}

fn set(
    all: &Entities,
    tx: &Tx<'_>,
    key: &str,
    target: &str,
    healthy: bool,
    board: &Board,
) -> Result<Reply, Fault> {
    let row = upstream(all, tx, key)?;
    let targets = kind(all, "targets")?;
    let found = if is_uuid(target) {
        let id = Uuid::try_parse(target).map_err(|_| Fault::Absent)?;
        all.find(tx, &targets, &Mark::Id(id))?
    } else {
        all.find_below(tx, &targets, "upstream", row.id, "target", &target.into())?
    };
    let found = found.ok_or(Fault::Absent)?;
    let body: Json = serde_json::from_str(&found.body).map_err(|error| Fault::Internal(error.to_string()))?;
    let own = body.get("upstream").and_then(|up| up.get("id")).and_then(Json::as_str);
    let name = body.get("target").and_then(Json::as_str).filter(|_| own == Some(&row.id.to_string()));
    board.set(row.id, name.ok_or(Fault::Absent)?, healthy);
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
