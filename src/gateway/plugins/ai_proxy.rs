//! `ai-proxy`: chats in OpenAI's format, answered by one provider.

use super::ai::{self, Ready, Settings, answer};
use super::{BodyFilter, ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Response, response};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "ai-proxy", priority: 770, build };

struct AiProxy {
    settings: Arc<Settings>,
    ready: Arc<Ready>,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let settings = Settings::read(instance);
    let ready = Ready::read(instance.config, "", &settings)?;
    Ok(Arc::new(AiProxy { settings: Arc::new(settings), ready: Arc::new(ready) }))
}

#[async_trait]
impl Plugin for AiProxy {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let limit = ai::body_limit(&self.settings);
        let Some(question) = ai::question(context, limit).await? else {
            return ai::too_large(context, ai::dialect(&self.settings), limit);
        };
        let composed = match ai::compose(&self.settings, &self.ready, context, &question) {
            Ok(composed) => composed,
            Err(stop) => return stop.answer(context),
        };
        ai::note(context, &self.settings, &self.ready, &composed);
        ai::replace(&self.settings, &composed, context);
        Ok(Flow::Continue)
    }

    fn whole_response(&self, context: &Context, head: &response::Parts) -> Option<usize> {
        answer::whole_response(context, head)
    }

    async fn response(&self, context: &mut Context, whole: &mut Response<Bytes>) -> Result<(), Failure> {
        answer::response(context, whole);
        Ok(())
    }

    fn response_headers(&self, context: &mut Context, head: &mut response::Parts) {
        answer::response_headers(context, head);
    }

    fn response_body(&self, context: &mut Context, head: &response::Parts) -> Option<Box<dyn BodyFilter>> {
        answer::response_body(context, head)
    }
}
