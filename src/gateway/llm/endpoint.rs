//! Where a request goes: addresses from options and templates, and the credentials it carries.

use super::{Call, Location, Model, Provider, Route, Target, TransformError};
use crate::value::Secret;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use url::Url;

/// Where templates get their values from: the client's request.
pub trait Lookup {
    /// The value of `$(source.key)`, where `source` is `headers`, `uri_captures` or `query_params`.
    fn lookup(&self, source: &str, key: &str) -> Option<String>;
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// `http` or `https`.
    pub scheme: String,
    /// Host name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, beginning with one `/`.
    pub path: String,
    /// Whether this is the provider's own address, not one that the configuration gives.
    pub own: bool,
}

/// The address of a target, taken apart. Mostly it is the same for all calls: the first one is remembered.
#[derive(Debug, Default)]
pub struct Remembered(OnceLock<(String, Url)>);

impl Remembered {
    fn parse(&self, address: String) -> Result<Cow<'_, Url>, url::ParseError> {
        match self.0.get() {
            Some((known, url)) if *known == address => Ok(Cow::Borrowed(url)),
            Some(_) => Url::parse(&address).map(Cow::Owned),
            None => {
                let url = Url::parse(&address)?;
                let _ = self.0.set((address, url.clone()));
                Ok(Cow::Owned(url))
            }
        }
    }
}

/// Where a call goes. `request_path` is the client's path, which a `preserve` route keeps; `remembered` belongs to
/// the call's target.
///
/// # Errors
/// [`TransformError::Endpoint`] when the configuration does not say it.
pub fn upstream(
    provider: &dyn Provider,
    call: &Call,
    request_path: &str,
    remembered: &Remembered,
) -> Result<Upstream, TransformError> {
    let options = &call.model.options;
    let (address, own) = match &options.upstream_url {
        Some(url) => ([url, provider.path_suffix(call)].concat(), false),
        None => (provider.address(call)?, true),
    };
    let wrong = || TransformError::Endpoint(format!("the address of {} is no URL", provider.name()));
    let url = remembered.parse(address).map_err(|_| wrong())?;
    let path = match &options.upstream_path {
        Some(_) if provider.manners().places_upstream_path && own => url.path(),
        Some(path) if own || provider.manners().upstream_path_wins => path,
        None if call.route == Route::Preserve => request_path,
        _ => url.path(),
    };
    let other = if own || !call.dialect.complete_requests { None } else { provider.other_path(call, path) };
    let path = other.as_deref().unwrap_or(path);
    let rest = match call.route {
        Route::Relay(relayed) => relayed.rest(request_path),
        _ => "",
    };
    Ok(Upstream {
        scheme: url.scheme().to_owned(),
        host: url.host_str().ok_or_else(wrong)?.to_owned(),
        port: url.port_or_known_default().unwrap_or(443),
        path: ["/", path.trim_start_matches('/'), rest].concat(),
        own,
    })
}

impl Upstream {
    /// The `Host` header: host and port, the port left out where it is the scheme's own.
    pub fn authority(&self) -> String {
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// A credential to put on a request.
#[derive(Clone, Debug)]
pub enum Credential<'a> {
    /// A header, by its name in lower case.
    Header(&'a str, &'a Secret),
    /// A query parameter.
    Query(&'a str, &'a Secret),
    /// A member of the JSON body.
    Body(&'a str, &'a Secret),
}

/// The credentials of a target that are put on as they are (not signatures).
pub fn credentials(target: &Target) -> impl Iterator<Item = Credential<'_>> {
    let header = target.auth.header.as_ref().map(|(name, value)| Credential::Header(name, value));
    let param = target.auth.param.as_ref().map(|param| match param.location {
        Location::Query => Credential::Query(&param.name, &param.value),
        Location::Body => Credential::Body(&param.name, &param.value),
    });
    header.into_iter().chain(param)
}

/// The model with its templates resolved; the same one when it has none.
///
/// # Errors
/// Kong's words when a template cannot be read or its value is not there.
pub fn resolve(model: &Arc<Model>, has_template: bool, lookup: &dyn Lookup) -> Result<Arc<Model>, String> {
    if !has_template {
        return Ok(Arc::clone(model));
    }
    let mut resolved = Model::clone(model);
    resolved.each_text(&mut |text| {
        *text = fill(text, lookup)?;
        Ok::<(), String>(())
    })?;
    Ok(Arc::new(resolved))
}

/// Replaces the first `$(source.key)` of a text.
fn fill(text: &str, lookup: &dyn Lookup) -> Result<String, String> {
    let Some((before, (template, after))) =
        text.split_once("$(").and_then(|(before, rest)| Some((before, rest.split_once(')')?)))
    else {
        return Ok(text.to_owned());
    };
    let wrong = || format!("cannot parse expression for field '{text}'");
    let (source, key) = template.split_once('.').filter(|(_, key)| !key.contains('.')).ok_or_else(wrong)?;
    if !matches!(source, "headers" | "uri_captures" | "query_params") {
        return Err(format!("source '{source}' is not supported"));
    }
    let value = lookup.lookup(source, key).ok_or_else(|| format!("{source} key {key} was not provided"))?;
    Ok(format!("{before}{value}{after}"))
}

/// A path that ends in one of two operations, with the wanted one in its place.
pub(super) fn operation(path: &str, wanted: &str, other: &str) -> Option<String> {
    path.strip_suffix(other).map(|before| format!("{before}{wanted}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{KONG_3_14, Options, provider};
    use super::*;

    fn call(provider: &str, route: Route, options: Options) -> Call {
        Call {
            model: Arc::new(Model {
                provider: provider.into(),
                name: Some("m:1".into()),
                alias: None,
                options,
            }),
            route,
            streaming: false,
            rich: false,
            estimate: 0,
            usage_chunk: false,
            dialect: &KONG_3_14,
            now: 0,
            id: "x".into(),
        }
    }

    fn address(name: &str, route: Route, options: Options) -> String {
        let call = call(name, route, options);
        let found = upstream(provider(name).unwrap(), &call, "/client/path", &Remembered::default()).unwrap();
        format!("{}://{}{}", found.scheme, found.authority(), found.path)
    }

    #[test]
    fn objects_are_found_behind_the_path() {
        let call = call("openai", Route::from_name("llm/v1/files"), Options::default());
        let found =
            upstream(provider("openai").unwrap(), &call, "/ai/files/file-1/content", &Remembered::default())
                .unwrap();
        assert_eq!(found.path, "/v1/files/file-1/content");
    }

    #[test]
    fn every_provider_has_its_address() {
        let none = Options::default;
        let text = |text: &str| Some(text.to_owned());
        let azure =
            Options { azure_instance: text("i"), azure_deployment_id: text("d"), ..Options::default() };
        let vertex = Options {
            gemini_api_endpoint: text("eu.example"),
            gemini_project_id: text("p"),
            gemini_location_id: text("l"),
            ..Options::default()
        };
        let region = Options { aws_region: text("eu-west-1"), ..Options::default() };
        for (name, route, options, want) in [
            ("openai", Route::Chat, none(), "https://api.openai.com/v1/chat/completions"),
            ("openai", Route::Embeddings, none(), "https://api.openai.com/v1/embeddings"),
            ("openai", Route::Preserve, none(), "https://api.openai.com/client/path"),
            (
                "openai",
                Route::from_name("audio/v1/audio/speech"),
                none(),
                "https://api.openai.com/v1/audio/speech",
            ),
            (
                "azure",
                Route::from_name("image/v1/images/edits"),
                Options { azure_instance: text("i"), azure_deployment_id: text("d"), ..none() },
                "https://i.openai.azure.com/openai/deployments/d/images/edits",
            ),
            (
                "azure",
                Route::from_name("llm/v1/files"),
                Options { azure_instance: text("i"), azure_deployment_id: text("d"), ..none() },
                "https://i.openai.azure.com/openai/files",
            ),
            ("azure", Route::Chat, azure, "https://i.openai.azure.com/openai/deployments/d/chat/completions"),
            ("anthropic", Route::Chat, none(), "https://api.anthropic.com/v1/messages"),
            ("cohere", Route::Chat, none(), "https://api.cohere.com/v1/chat"),
            ("mistral", Route::Chat, none(), "https://api.mistral.ai/v1/chat/completions"),
            (
                "gemini",
                Route::Chat,
                none(),
                "https://generativelanguage.googleapis.com/v1beta/models/m:1:generateContent",
            ),
            (
                "gemini",
                Route::Chat,
                vertex,
                "https://eu.example/v1/projects/p/locations/l/publishers/google/models/m:1:generateContent",
            ),
            (
                "bedrock",
                Route::Chat,
                region,
                "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m%3A1/converse",
            ),
            (
                "huggingface",
                Route::Chat,
                none(),
                "https://api-inference.huggingface.co/models/m:1/v1/chat/completions",
            ),
            ("deepseek", Route::Chat, none(), "https://api.deepseek.com/v1/chat/completions"),
        ] {
            assert_eq!(address(name, route, options), want);
        }
    }

    #[test]
    fn a_configured_address_is_taken_as_it_is() {
        let at = |url: &str| Options { upstream_url: Some(url.into()), ..Options::default() };
        assert_eq!(address("openai", Route::Chat, at("http://h:91/a/b")), "http://h:91/a/b");
        assert_eq!(address("huggingface", Route::Chat, at("http://h/x")), "http://h/x/v1/chat/completions");
        assert_eq!(address("llama2", Route::Chat, at("http://h")), "http://h/");
        assert!(
            upstream(
                provider("llama2").unwrap(),
                &call("llama2", Route::Chat, Options::default()),
                "/",
                &Remembered::default()
            )
            .is_err()
        );
    }

    #[test]
    fn only_the_same_address_is_remembered() {
        let remembered = Remembered::default();
        for host in ["a", "b", "a"] {
            let options = Options { upstream_url: Some(format!("http://{host}/x")), ..Options::default() };
            let call = call("openai", Route::Chat, options);
            let found = upstream(provider("openai").unwrap(), &call, "/", &remembered).unwrap();
            assert_eq!(found.host, host);
        }
    }

    #[test]
    fn an_upstream_path_replaces_the_operations_own() {
        let options = Options {
            upstream_path: Some("v9/x".into()),
            azure_instance: Some("i".into()),
            azure_deployment_id: Some("d".into()),
            ..Options::default()
        };
        assert_eq!(address("openai", Route::Chat, options.clone()), "https://api.openai.com/v9/x");
        assert_eq!(
            address("azure", Route::Chat, options),
            "https://i.openai.azure.com/openai/deployments/d/v9/x"
        );
    }

    struct Fixed;
    impl Lookup for Fixed {
        fn lookup(&self, source: &str, key: &str) -> Option<String> {
            (key == "name").then(|| format!("{source}-value"))
        }
    }

    #[test]
    fn templates_come_from_the_request() {
        let name = |text: &str| Arc::new(Model { name: Some(text.into()), ..Model::default() });
        let resolved =
            |text: &str| resolve(&name(text), true, &Fixed).map(|model| model.name.clone().unwrap());
        assert_eq!(resolved("a-$(headers.name)-b").unwrap(), "a-headers-value-b");
        assert_eq!(resolved("$(uri_captures.gone)").unwrap_err(), "uri_captures key gone was not provided");
        assert_eq!(resolved("$(body.name)").unwrap_err(), "source 'body' is not supported");
        assert_eq!(resolved("$(x)").unwrap_err(), "cannot parse expression for field '$(x)'");
    }
}
