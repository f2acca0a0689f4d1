//! A target's configuration, typed: model, options, credentials, logging.

use super::Route;
use crate::value::{Origin, Secret, Value};
use std::sync::Arc;

/// One provider and model, as `ai-proxy` configures it and as `ai-proxy-advanced` lists them.
#[derive(Clone, Debug)]
pub struct Target {
    /// The operation.
    pub route: Route,
    /// `route_type` as configured, for messages.
    pub route_type: String,
    /// Credentials.
    pub auth: Auth,
    /// The model.
    pub model: Arc<Model>,
    /// What is logged.
    pub logging: Logging,
    /// The share of requests in `ai-proxy-advanced`, 1 to 65535.
    pub weight: u32,
}

/// `config.model`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The provider's name.
    pub provider: String,
    /// The model's name; `None` when the request names it.
    pub name: Option<String>,
    /// The name by which requests may ask for it.
    pub alias: Option<String>,
    /// Its options.
    pub options: Options,
}

/// `config.model.options`, as far as this gateway executes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Overrides the request's `max_tokens`.
    pub max_tokens: Option<i64>,
    /// Overrides the request's `temperature`.
    pub temperature: Option<f64>,
    /// Overrides the request's `top_p`.
    pub top_p: Option<f64>,
    /// Overrides the request's `top_k`.
    pub top_k: Option<i64>,
    /// Price of a million prompt tokens.
    pub input_cost: Option<f64>,
    /// Price of a million completion tokens.
    pub output_cost: Option<f64>,
    /// The `anthropic-version` header.
    pub anthropic_version: Option<String>,
    /// The Azure resource.
    pub azure_instance: Option<String>,
    /// The Azure API's version.
    pub azure_api_version: Option<String>,
    /// The Azure deployment.
    pub azure_deployment_id: Option<String>,
    /// `raw`, `openai` or `ollama`.
    pub llama2_format: Option<String>,
    /// `openai` or `ollama`.
    pub mistral_format: Option<String>,
    /// The full address, in place of the provider's own.
    pub upstream_url: Option<String>,
    /// The path, in place of the operation's own.
    pub upstream_path: Option<String>,
    /// Vertex: host of the regional API.
    pub gemini_api_endpoint: Option<String>,
    /// Vertex: the project.
    pub gemini_project_id: Option<String>,
    /// Vertex: the location.
    pub gemini_location_id: Option<String>,
    /// The AWS region of Bedrock.
    pub aws_region: Option<String>,
    /// Hugging Face: whether cached answers are good enough.
    pub huggingface_use_cache: Option<bool>,
    /// Hugging Face: whether to wait until the model is loaded.
    pub huggingface_wait_for_model: Option<bool>,
    /// Databricks: the workspace.
    pub databricks_workspace: Option<String>,
    /// DashScope: whether the international address is used.
    pub dashscope_international: Option<bool>,
}

/// Where a credential parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// The query string.
    Query,
    /// The JSON body.
    Body,
}

/// A credential as a parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// Where it goes.
    pub location: Location,
}

/// `config.auth`.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// A header's name (lower case) and value.
    pub header: Option<(String, Secret)>,
    /// A parameter.
    pub param: Option<Param>,
    /// Whether a credential in the client's request wins over the configured one.
    pub allow_override: bool,
    /// AWS access key id and secret key.
    pub aws: Option<(Secret, Secret)>,
    /// A field that asks for a way to get credentials that this gateway does not execute: service accounts of
    /// clouds.
    pub unsupported: Option<&'static str>,
}

/// `config.logging`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// Models, tokens, cost and latency go to the log plugins.
    pub statistics: bool,
    /// Bodies go to the log plugins.
    pub payloads: bool,
}

impl Target {
    /// Reads `config` of `ai-proxy`, an item of `config.targets` of `ai-proxy-advanced`, or `config.llm` of the
    /// transformers: they have the same shape, and were checked against their schema when they were written.
    pub fn read(config: &Value) -> Target {
        let route_type = string(config, "route_type").unwrap_or_default();
        Target {
            route: Route::from_name(&route_type),
            route_type,
            auth: config.get("auth").map(Auth::read).unwrap_or_default(),
            model: Arc::new(config.get("model").map(Model::read).unwrap_or_default()),
            logging: config.get("logging").map(Logging::read).unwrap_or_default(),
            weight: integer(config, "weight").and_then(|n| u32::try_from(n).ok()).unwrap_or(100).max(1),
        }
    }
}

impl Model {
    fn read(config: &Value) -> Model {
        Model {
            provider: string(config, "provider").unwrap_or_default(),
            name: string(config, "name"),
            alias: string(config, "model_alias"),
            options: config.get("options").map(Options::read).unwrap_or_default(),
        }
    }

    /// Whether any option or the name holds a `$(...)` template.
    pub fn has_template(&self) -> bool {
        let mut found = false;
        self.clone()
            .each_text(&mut |text| {
                found |= text.contains("$(");
                Ok::<(), ()>(())
            })
            .ok();
        found
    }

    /// Calls a function on each text that may hold a template: the name and every text option. Credentials and
    /// the provider are not among them.
    pub fn each_text<E>(&mut self, change: &mut dyn FnMut(&mut String) -> Result<(), E>) -> Result<(), E> {
        let options = &mut self.options;
        [
            &mut self.name,
            &mut options.anthropic_version,
            &mut options.azure_instance,
            &mut options.azure_api_version,
            &mut options.azure_deployment_id,
            &mut options.upstream_url,
            &mut options.upstream_path,
            &mut options.gemini_api_endpoint,
            &mut options.gemini_project_id,
            &mut options.gemini_location_id,
            &mut options.aws_region,
        ]
        .into_iter()
        .flatten()
        .try_for_each(change)
    }
}

impl Options {
    fn read(config: &Value) -> Options {
        let nested = |record: &str, field: &str| config.get(record).and_then(|record| string(record, field));
        let flag = |record: &str, field: &str| {
            config.get(record).and_then(|record| record.get(field)).and_then(Value::as_bool)
        };
        Options {
            max_tokens: integer(config, "max_tokens"),
            temperature: number(config, "temperature"),
            top_p: number(config, "top_p"),
            top_k: integer(config, "top_k"),
            input_cost: number(config, "input_cost"),
            output_cost: number(config, "output_cost"),
            anthropic_version: string(config, "anthropic_version"),
            azure_instance: string(config, "azure_instance"),
            azure_api_version: string(config, "azure_api_version"),
            azure_deployment_id: string(config, "azure_deployment_id"),
            llama2_format: string(config, "llama2_format"),
            mistral_format: string(config, "mistral_format"),
            upstream_url: string(config, "upstream_url"),
            upstream_path: string(config, "upstream_path"),
            gemini_api_endpoint: nested("gemini", "api_endpoint"),
            gemini_project_id: nested("gemini", "project_id"),
            gemini_location_id: nested("gemini", "location_id"),
            aws_region: nested("bedrock", "aws_region"),
            huggingface_use_cache: flag("huggingface", "use_cache"),
            huggingface_wait_for_model: flag("huggingface", "wait_for_model"),
            databricks_workspace: nested("databricks", "workspace_instance_id"),
            dashscope_international: flag("dashscope", "international"),
        }
    }
}

impl Auth {
    fn read(config: &Value) -> Auth {
        let header = string(config, "header_name").zip(secret(config, "header_value"));
        let location = match string(config, "param_location").as_deref() {
            Some("body") => Some(Location::Body),
            Some("query") => Some(Location::Query),
            _ => None,
        };
        let param = string(config, "param_name")
            .zip(secret(config, "param_value"))
            .zip(location)
            .map(|((name, value), location)| Param { name, value, location });
        let flag = |field: &str| config.get(field).and_then(Value::as_bool).unwrap_or(false);
        Auth {
            header: header.map(|(name, value)| (name.to_ascii_lowercase(), value)),
            param,
            allow_override: flag("allow_override"),
            aws: secret(config, "aws_access_key_id").zip(secret(config, "aws_secret_access_key")),
            unsupported: ["gcp_use_service_account", "azure_use_managed_identity"]
                .into_iter()
                .find(|field| flag(field)),
        }
    }
}

impl Logging {
    fn read(config: &Value) -> Logging {
        let flag = |field: &str| config.get(field).and_then(Value::as_bool).unwrap_or(false);
        Logging { statistics: flag("log_statistics"), payloads: flag("log_payloads") }
    }
}

/// A text member, for settings that are no secrets.
fn string(config: &Value, key: &str) -> Option<String> {
    config.get(key).and_then(Value::exposed_str).map(str::to_owned)
}

/// A text member as a secret, which keeps its origin.
fn secret(config: &Value, key: &str) -> Option<Secret> {
    match config.get(key)? {
        Value::Secret(secret) => Some(secret.clone()),
        Value::String(text) => Some(Secret::text(text.clone(), Origin::ControlPlane)),
        _ => None,
    }
}

fn integer(config: &Value, key: &str) -> Option<i64> {
    config.get(key).and_then(Value::as_i64)
}

fn number(config: &Value, key: &str) -> Option<f64> {
    config.get(key).and_then(Value::as_f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn credentials_are_secret_from_the_first_line_on() {
        let target = Target::read(&Value::from(json!({
            "route_type": "llm/v1/chat",
            "auth": {"header_name": "Authorization", "header_value": "Bearer hush",
                     "aws_access_key_id": "hush", "aws_secret_access_key": "hush",
                     "param_name": "key", "param_value": "hush", "param_location": "query"},
            "model": {"provider": "openai", "name": "m", "options": {"max_tokens": 5}},
        })));
        assert!(!format!("{target:?}").contains("hush"));
        assert_eq!(target.auth.header.as_ref().unwrap().0, "authorization");
        assert_eq!(target.auth.header.as_ref().unwrap().1.expose_text(), "Bearer hush");
        assert_eq!(target.model.options.max_tokens, Some(5));
        assert_eq!(target.weight, 100);
    }

    #[test]
    fn what_cannot_be_resolved_is_named() {
        let read =
            |auth: serde_json::Value| Target::read(&Value::from(json!({"auth": auth}))).auth.unsupported;
        assert_eq!(read(json!({"gcp_use_service_account": true})), Some("gcp_use_service_account"));
        assert_eq!(read(json!({"header_value": "Bearer x"})), None);
    }

    #[test]
    fn templates_are_found_in_nested_options() {
        let config = |region: &str| {
            Value::from(json!({"model": {"provider": "bedrock", "name": "m",
                "options": {"bedrock": {"aws_region": region}}}}))
        };
        assert!(Target::read(&config("$(headers.region)")).model.has_template());
        assert!(!Target::read(&config("eu-central-1")).model.has_template());
    }
}
