//! Azure OpenAI: OpenAI's format at an address made of instance and deployment.

use super::stream::Translate;
use super::{Answer, Call, Manners, Map, Provider, Route, TransformError, openai};
use serde_json::Value as Json;

pub(super) struct Azure;

impl Provider for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn address(&self, call: &Call) -> Result<String, TransformError> {
        let options = &call.model.options;
        let missing = |field: &str| TransformError::Endpoint(format!("must set {field} for azure provider"));
        let instance =
            options.azure_instance.as_deref().ok_or_else(|| missing("model.options.azure_instance"))?;
        let deployment = options
            .azure_deployment_id
            .as_deref()
            .ok_or_else(|| missing("model.options.azure_deployment_id"))?;
        let path = match call.route {
            Route::Chat => "/chat/completions",
            Route::Completions => "/completions",
            Route::Embeddings => "/embeddings",
            Route::Responses => {
                return Ok(format!("https://{instance}.openai.azure.com:443/openai/responses"));
            }
            Route::Relay(relayed) => {
                let path = relayed.path.trim_start_matches("/v1");
                if !relayed.has_model {
                    return Ok(format!("https://{instance}.openai.azure.com:443/openai{path}"));
                }
                path
            }
            Route::Preserve | Route::Other => "/",
        };
        let path = options.upstream_path.as_deref().unwrap_or(path).trim_start_matches('/');
        Ok(format!("https://{instance}.openai.azure.com:443/openai/deployments/{deployment}/{path}"))
    }

    fn query(&self, call: &Call) -> Vec<(&'static str, String)> {
        call.model.options.azure_api_version.iter().map(|version| ("api-version", version.clone())).collect()
    }

    fn request(&self, call: &Call, body: Map) -> Result<Json, TransformError> {
        openai::request(self.name(), call, body, call.dialect.ask_stream_usage)
    }

    fn answer(&self, call: &Call, body: &[u8]) -> Result<Answer, TransformError> {
        openai::answer(self.name(), call, body)
    }

    fn stream(&self, _call: &Call) -> Box<dyn Translate> {
        Box::new(openai::Relay::default())
    }

    fn manners(&self) -> Manners {
        Manners { places_upstream_path: true, relays: true, drops_cookies: true, ..Manners::default() }
    }
}
