//! Providers that speak OpenAI's format and differ in their address only: one line each.

use super::stream::Translate;
use super::{Answer, Call, Manners, Map, Provider, Route, TransformError, ollama, openai};
use serde_json::Value as Json;

/// A provider that speaks OpenAI's format.
pub(super) struct Compatible {
    name: &'static str,
    /// The address before `/chat/completions`; `None` where only `upstream_url` tells.
    base: Option<fn(&Call) -> Option<String>>,
    /// Ollama's own format instead of OpenAI's, for chats and completions.
    ollama: bool,
    asks_usage: bool,
}

static TABLE: [Compatible; 7] = [
    openai_at("cerebras", |_| Some("https://api.cerebras.ai/v1".into())),
    openai_at("deepseek", |_| Some("https://api.deepseek.com/v1".into())),
    openai_at("xai", |_| Some("https://api.x.ai/v1".into())),
    openai_at("dashscope", |call| {
        let international = call.model.options.dashscope_international.unwrap_or(true);
        let host = if international { "dashscope-intl" } else { "dashscope" };
        Some(format!("https://{host}.aliyuncs.com/compatible-mode/v1"))
    }),
    openai_at("databricks", |call| {
        let workspace = call.model.options.databricks_workspace.as_deref()?;
        Some(format!("https://{workspace}.cloud.databricks.com/serving-endpoints"))
    }),
    Compatible { name: "vllm", base: None, ollama: false, asks_usage: true },
    Compatible { name: "ollama", base: None, ollama: true, asks_usage: false },
];

const fn openai_at(name: &'static str, base: fn(&Call) -> Option<String>) -> Compatible {
    Compatible { name, base: Some(base), ollama: false, asks_usage: true }
}

/// The provider of this name.
pub(super) fn provider(name: &str) -> Option<&'static Compatible> {
    TABLE.iter().find(|provider| provider.name == name)
}

impl Compatible {
    fn in_ollamas_format(&self, call: &Call) -> bool {
        self.ollama && matches!(call.route, Route::Chat | Route::Completions)
    }
}

impl Provider for Compatible {
    fn name(&self) -> &'static str {
        self.name
    }

    fn address(&self, call: &Call) -> Result<String, TransformError> {
        let path = openai::path(call.route);
        let base = self.base.and_then(|base| base(call)).ok_or_else(|| {
            TransformError::Endpoint(format!(
                "must set model.options.upstream_url for {} provider",
                self.name
            ))
        })?;
        Ok(format!("{base}{}", path.strip_prefix("/v1").unwrap_or(path)))
    }

    fn request(&self, call: &Call, body: Map) -> Result<Json, TransformError> {
        if self.in_ollamas_format(call) {
            return ollama::request(call, body);
        }
        openai::request(self.name, call, body, call.dialect.ask_stream_usage && self.asks_usage)
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        if self.in_ollamas_format(call) {
            return ollama::answer(self.name, call, body);
        }
        openai::answer(self.name, call, body)
    }

    fn stream(&self, call: &Call) -> Box<dyn Translate> {
        if self.in_ollamas_format(call) {
            return Box::new(ollama::Stream::default());
        }
        Box::new(openai::Relay::default())
    }

    fn manners(&self) -> Manners {
        Manners {
            relays: !self.ollama,
            drops_cookies: true,
            counts_stream_tokens: self.ollama,
            ..Manners::default()
        }
    }
}
