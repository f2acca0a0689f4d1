//! The filters that a route meets: those of its service's filter chain, then those of its own.

use super::info::{kind, ok};
use super::{Admin, Call};
use crate::gateway::entities::{Entities, Fault};
use crate::gateway::http::Reply;
use crate::gateway::store::Tx;
use http::StatusCode;
use serde_json::{Value as Json, json};
use uuid::Uuid;

impl Admin {
    /// `/routes/{route}/filters/{all|enabled|disabled}`
    pub(super) async fn filters(&self, all: Entities, call: Call) -> Result<Reply, Fault> {
        let chains = kind(&all, "filter_chains")?;
        if let Some(message) = &chains.switched_off {
            return Err(Fault::Refused(StatusCode::BAD_REQUEST, message.to_string()));
        }
        self.store
            .run(move |tx| {
                let word = |at: usize| call.path.get(at).map_or("", String::as_str);
                let wanted = match word(3) {
                    "enabled" => Some(true),
                    "disabled" => Some(false),
                    _ => None,
                };
                filters(&all, tx, word(1), wanted)
            })
            .await
    }
}

fn filters(all: &Entities, tx: &Tx<'_>, key: &str, wanted: Option<bool>) -> Result<Reply, Fault> {
    let routes = kind(all, "routes")?;
    let route = all.find(tx, &routes, &all.mark_of(tx, &routes, key, None)?)?.ok_or(Fault::Absent)?;
    let body: Json = serde_json::from_str(&route.body).map_err(|error| Fault::Internal(error.to_string()))?;
    let service = body.pointer("/service/id").and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok());
    let mut filters = Vec::new();
    for (from, id) in [("service", service), ("route", Some(route.id))] {
        let Some(id) = id else { continue };
        for row in tx.page_referencing(all.plane, "filter_chains", from, id, None, usize::MAX)? {
            let chain: Json =
                serde_json::from_str(&row.body).map_err(|error| Fault::Internal(error.to_string()))?;
            for filter in chain.get("filters").and_then(Json::as_array).into_iter().flatten() {
                let on = |value: &Json| value.get("enabled") == Some(&Json::Bool(true));
                let enabled = on(&chain) && on(filter);
                if wanted.is_none_or(|wanted| wanted == enabled) {
                    filters.push(json!({
                        "name": filter.get("name"), "config": filter.get("config"), "from": from, "enabled": enabled,
                        "filter_chain": {"id": row.id, "name": chain.get("name")},
                    }));
                }
            }
        }
    }
    Ok(ok(&json!({ "filters": filters })))
}
