//! `ai-proxy`: chats in OpenAI's format, answered by one provider.

use super::ai::{self, Asking, Asks, Question, Ready, Settings};
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
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
    Ok(Arc::new(Asking(AiProxy { settings: Arc::new(settings), ready: Arc::new(ready) })))
}

#[async_trait]
impl Asks for AiProxy {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn ask(&self, context: &mut Context, question: Question) -> Result<Flow, Failure> {
        let headers = std::mem::take(&mut context.outbound.headers);
        match ai::compose(&self.settings, &self.ready, context, question, headers) {
            Ok(composed) => {
                ai::note(context, &self.settings, &self.ready, &composed);
                ai::replace(&self.settings, composed, context);
                Ok(Flow::Continue)
            }
            Err(stop) => stop.answer(context),
        }
    }
}
