//! `acl`: only consumers of some groups, or all but those.

use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use http::header::HeaderName;
use http::{HeaderValue, StatusCode};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "acl", priority: 950, build };

const CONSUMER_GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");
const AUTHENTICATED_GROUPS: HeaderName = HeaderName::from_static("x-authenticated-groups");

struct Acl {
    groups: Vec<Box<str>>,
    denies: bool,
    hide_groups: bool,
    prefers_authenticated: bool,
    includes_consumer_groups: bool,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let deny = instance.texts("deny");
    let denies = !deny.is_empty();
    Ok(Arc::new(Acl {
        groups: if denies { deny } else { instance.texts("allow") },
        denies,
        hide_groups: instance.flag("hide_groups_header"),
        prefers_authenticated: instance.flag("always_use_authenticated_groups"),
        includes_consumer_groups: instance.flag("include_consumer_groups"),
    }))
}

#[async_trait]
impl Plugin for Acl {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let identity = &context.identity;
        let known = identity.credential.is_some();
        let refusal = |context: &Context| {
            let (status, message) = if known {
                (StatusCode::FORBIDDEN, "You cannot consume this service")
            } else {
                (StatusCode::UNAUTHORIZED, "Unauthorized")
            };
            Ok(Flow::Respond(context.error(status, message)))
        };
        let authenticated = identity.groups.as_ref();
        let (groups, header) = match &identity.consumer {
            None => match authenticated {
                Some(groups) => (groups.clone(), AUTHENTICATED_GROUPS),
                None => return refusal(context),
            },
            Some(consumer) => match authenticated.filter(|_| !known || self.prefers_authenticated) {
                Some(groups) => (groups.clone(), AUTHENTICATED_GROUPS),
                None => {
                    let mut groups = consumer.acl_groups.to_vec();
                    if self.includes_consumer_groups {
                        groups.extend(consumer.groups.iter().map(|group| group.name.clone()));
                    }
                    if groups.is_empty() && !self.denies {
                        return refusal(context);
                    }
                    (groups, CONSUMER_GROUPS)
                }
            },
        };
        if groups.iter().any(|group| self.groups.contains(group)) == self.denies {
            let message = "You cannot consume this service";
            return Ok(Flow::Respond(context.error(StatusCode::FORBIDDEN, message)));
        }
        if !self.hide_groups
            && let Ok(value) = HeaderValue::from_str(&groups.join(", "))
        {
            context.outbound.headers.insert(header, value);
        }
        Ok(Flow::Continue)
    }
}
