//! `key-auth`: clients show an API key in a header, the query, or the body.

use super::arguments::{self, Argument, Arguments};
use super::auth::{Common, Refusal, challenge};
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::{Context, Credential};
use async_trait::async_trait;
use http::HeaderValue;
use http::header::HeaderName;
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "key-auth", priority: 1250, build };

struct KeyAuth {
    common: Common,
    /// As configured, and as a header.
    names: Vec<(Box<str>, Option<HeaderName>)>,
    in_header: bool,
    in_query: bool,
    in_body: bool,
    hide: bool,
    challenge: Option<HeaderValue>,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let names = instance.texts("key_names");
    Ok(Arc::new(KeyAuth {
        common: Common::new(instance),
        names: names
            .into_iter()
            .map(|name| (name.clone(), HeaderName::from_bytes(name.as_bytes()).ok()))
            .collect(),
        in_header: instance.flag("key_in_header"),
        in_query: instance.flag("key_in_query"),
        in_body: instance.flag("key_in_body"),
        hide: instance.flag("hide_credentials"),
        challenge: challenge("Key", instance.text("realm")),
    }))
}

#[async_trait]
impl Plugin for KeyAuth {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        if self.common.is_done(context) {
            return Ok(Flow::Continue);
        }
        let found = self.authenticate(context).await?;
        self.common.conclude(context, found)
    }
}

impl KeyAuth {
    async fn authenticate(&self, context: &mut Context) -> Result<Result<Arc<Credential>, Refusal>, Failure> {
        let refused = |message| Ok(Err(Refusal::unauthorized(message, &self.challenge)));
        let key = match self.key(context).await? {
            Some(Argument::One(key)) if !key.is_empty() => key,
            Some(Argument::Several) => return refused("Duplicate API key found"),
            _ => return refused("No API key found in request"),
        };
        match context.snapshot.credential("keyauth_credentials", &key) {
            Some(credential) => Ok(Ok(Arc::clone(credential))),
            None => refused("Unauthorized"),
        }
    }

    /// The key that the client shows. It is taken out of the request that goes on, if so configured.
    async fn key(&self, context: &mut Context) -> Result<Option<Argument>, Failure> {
        let mut body = None;
        for (name, header) in &self.names {
            let mut found = match header {
                Some(header) if self.in_header => in_header(context, header),
                _ => None,
            };
            if found.is_none() && self.in_query {
                found = arguments::in_query(context.inbound.uri.query(), name);
            }
            if found.is_none() && self.in_body {
                if body.is_none() {
                    body = Arguments::read(context).await?;
                }
                found = body.as_ref().and_then(|body| body.get(name));
            }
            match found {
                None | Some(Argument::Other) => continue,
                Some(Argument::One(_)) if self.hide => {
                    self.hide(context, header.as_ref(), name, body).await?
                }
                Some(_) => {}
            }
            return Ok(found);
        }
        Ok(None)
    }

    /// Takes the key out of the request that goes on, wherever it stands.
    async fn hide(
        &self,
        context: &mut Context,
        header: Option<&HeaderName>,
        name: &str,
        body: Option<Arguments>,
    ) -> Result<(), Failure> {
        if let Some(header) = header {
            context.outbound.headers.remove(header);
        }
        if let Some(query) = &context.outbound.query {
            let rest = arguments::without(query, name);
            context.outbound.query = (!rest.is_empty()).then_some(rest);
        }
        if self.in_body {
            let body = match body {
                Some(body) => Some(body),
                None => Arguments::read(context).await?,
            };
            if let Some(body) = body {
                context.outbound.set_body(body.without(name));
            }
        }
        Ok(())
    }
}

fn in_header(context: &Context, name: &HeaderName) -> Option<Argument> {
    let mut values = context.inbound.headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return Some(Argument::Several);
    }
    Some(Argument::One(String::from_utf8_lossy(first.as_bytes()).into_owned()))
}
