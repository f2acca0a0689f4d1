//! The entities of a control plane, with Konnect's bodies: what is null is left out.

use super::control_planes::plane;
use super::words::Problem;
use super::{Konnect, schemas};
use crate::gateway::admin::partial_links;
use crate::gateway::entities::Entities;
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::{self, Call};
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};
use std::sync::Arc;

impl Konnect {
    /// Answers a request below `core-entities`; the path of the call starts there.
    pub(super) async fn core_entities(
        &self,
        id: &str,
        call: Call,
        request: &Request,
    ) -> Result<Reply, Problem> {
        let id = id.to_owned();
        let plane = self.store.run(move |tx| plane(tx, &id)).await?;
        let all = Entities::of(&self.schemas, plane, plane, &call);
        let words: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["v1", "schemas", "json", name] | ["schemas", "json", name] => schemas::json(&all.schemas, name),
            ["schemas", "plugins", name] => {
                let schema = all.schemas.plugin(name).ok_or(Problem::Absent)?;
                Ok(Reply::json(StatusCode::OK, &schema.served))
            }
            ["schemas", "partials", name] => {
                let schema = all.schemas.partial(name).ok_or(Problem::Absent)?;
                Ok(Reply::json(StatusCode::OK, &schema.served))
            }
            ["schemas", name] => {
                let kind = schemas::kind(&all.schemas, name).ok_or(Problem::Absent)?;
                Ok(Reply::json(StatusCode::OK, &kind.served))
            }
            ["schemas", name, "validate"] if call.method == Method::POST => {
                let kind = Arc::clone(schemas::kind(&all.schemas, name).ok_or(Problem::Absent)?);
                let body = rest::read_body(request).await?.entity(&all.schemas, &kind);
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                all.validate(now.map_or(0.0, |t| t.as_secs_f64()), &kind, body.ok_or(Problem::Absent)?)?;
                Ok(Reply::json(StatusCode::OK, &json!({})))
            }
            ["plugin-schemas"] => self.plugin_schemas(plane, None, &call, request).await,
            ["plugin-schemas", name] => self.plugin_schemas(plane, Some(name), &call, request).await,
            ["partials", key, "links"] if call.method == Method::GET => {
                let key = (*key).to_owned();
                self.store.run(move |tx| Ok(partial_links(&all, tx, &key)?)).await
            }
            _ => self.entities(all, call, request).await,
        }
    }

    async fn entities(&self, all: Entities, call: Call, request: &Request) -> Result<Reply, Problem> {
        let address = rest::resolve(&all.schemas, call.dialect, &call.path).ok_or(Problem::Absent)?;
        if !address.methods().split(", ").any(|method| method == call.method.as_str()) {
            return Err(Problem::Method);
        }
        let body = rest::entity_body(&self.store, &all, &address, &call, request).await?;
        let reply = self.store.run(move |tx| rest::answer(&all, tx, &address, &call, body)).await?;
        if reply.body.is_empty() {
            return Ok(reply);
        }
        let mut json: Json = serde_json::from_slice(&reply.body).unwrap_or_default();
        strip(&mut json);
        // The end of a list is told by the absence of its next page.
        Ok(Reply { body: json.to_string().into(), ..reply })
    }
}

/// Takes nulls out of objects. A `config`, whose shape the entity's own type decides on, is kept whole.
fn strip(json: &mut Json) {
    match json {
        Json::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.iter_mut().filter(|(name, _)| *name != "config").for_each(|(_, member)| strip(member));
        }
        Json::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
