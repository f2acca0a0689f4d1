//! Mistral: OpenAI's format, or Ollama's for models that are hosted by oneself.

use super::stream::Translate;
use super::{Answer, Call, Manners, Map, Provider, Route, TransformError, ollama, openai};
use serde_json::Value as Json;

pub(super) struct Mistral;

fn in_ollamas_format(call: &Call) -> bool {
    call.model.options.mistral_format.as_deref() == Some("ollama") && call.route != Route::Embeddings
}

impl Provider for Mistral {
    fn name(&self) -> &'static str {
        "mistral"
    }

    fn address(&self, call: &Call) -> Result<String, TransformError> {
        let path = match call.route {
            Route::Completions if !call.dialect.complete_requests => "/",
            route => openai::path(route),
        };
        Ok(format!("https://api.mistral.ai:443{path}"))
    }

    fn request(&self, call: &Call, mut body: Map) -> Result<Json, TransformError> {
        if in_ollamas_format(call) {
            ollama::request(call, body)
        } else {
            if call.dialect.complete_requests {
                // Mistral sends token counts without being asked, and refuses this
                body.remove("stream_options");
            }
            openai::request(self.name(), call, body, false)
        }
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        if in_ollamas_format(call) {
            ollama::answer(self.name(), call, body)
        } else {
            openai::answer(self.name(), call, body)
        }
    }

    fn stream(&self, call: &Call) -> Box<dyn Translate> {
        if in_ollamas_format(call) {
            Box::new(ollama::Stream::default())
        } else {
            Box::new(openai::Relay::default())
        }
    }

    fn manners(&self) -> Manners {
        Manners { drops_cookies: true, ..Manners::default() }
    }
}
