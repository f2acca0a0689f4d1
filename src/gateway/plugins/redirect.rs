//! `redirect`: requests are sent elsewhere.

use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin, status};
use crate::gateway::proxy::{Body, Context, normalize_path};
use async_trait::async_trait;
use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use std::sync::Arc;
use url::Url;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "redirect", priority: 779, build };

struct Redirect {
    status: StatusCode,
    location: HeaderValue,
    /// The location, if the request's path and query take the place of its own.
    base: Option<Url>,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let location = instance.text("location").unwrap_or_default();
    let invalid = |reason: String| ConfigError::new("location", reason);
    let keeps = instance.flag("keep_incoming_path");
    Ok(Arc::new(Redirect {
        status: status("status_code", instance.integer("status_code").unwrap_or(301))?,
        location: HeaderValue::from_str(location).map_err(|e| invalid(e.to_string()))?,
        base: keeps.then(|| Url::parse(location)).transpose().map_err(|e| invalid(e.to_string()))?,
    }))
}

#[async_trait]
impl Plugin for Redirect {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let location = match &self.base {
            None => self.location.clone(),
            Some(base) => {
                let mut target = base.clone();
                let path = context.inbound.uri.path();
                target.set_path(normalize_path(path).as_deref().unwrap_or(path));
                target.set_query(context.inbound.uri.query().filter(|query| !query.is_empty()));
                HeaderValue::from_str(target.as_str()).map_err(|e| Failure::new(e.to_string()))?
            }
        };
        let mut answer = Response::new(Body::full("redirecting"));
        *answer.status_mut() = self.status;
        answer.headers_mut().insert(LOCATION, location);
        Ok(Flow::Respond(answer))
    }
}
