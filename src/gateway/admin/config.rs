//! `/config`: a gateway without a database takes its whole configuration at once and answers it again.
//!
//! What does not live here: how a configuration is read and what is wrong with it (`declarative`).

use super::declarative::{self, Failure, Options};
use super::{Admin, Call};
use crate::gateway::entities::{Entities, Fault};
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::{naming_skipped, read_body, skipped_of};
use crate::value::Value;
use data_encoding::HEXLOWER;
use http::{Method, StatusCode};
use md5::{Digest, Md5};
use serde_json::{Value as Json, json};
use std::sync::PoisonError;

/// The hash of no configuration.
pub(super) const NO_HASH: &str = "00000000000000000000000000000000";

/// What a request for a new configuration brings.
struct Given {
    config: Value,
    hash: String,
    options: Options,
    check_hash: bool,
}

impl Admin {
    /// The hash of the configuration that was loaded last.
    pub(super) fn config_hash(&self) -> String {
        self.config_hash.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers a request for `/config`.
    pub(super) async fn config(
        &self,
        all: &Entities,
        call: &Call,
        request: &Request,
    ) -> Result<Reply, Fault> {
        if !self.settings.dbless {
            let message = "this endpoint is only available when Kong is configured to not use a database";
            return Err(Fault::Refused(StatusCode::BAD_REQUEST, message.to_owned()));
        }
        let all = all.clone();
        if call.method == Method::GET {
            let text = self.store.run(move |tx| declarative::export(&all, tx)).await?;
            return Ok(Reply::json(StatusCode::OK, &json!({ "config": text })));
        }
        let given = match given(call, request).await? {
            Ok(given) => given,
            Err(unread) => return Ok(unread),
        };
        if given.check_hash && given.hash == self.config_hash() {
            return Ok(Reply::empty(StatusCode::NOT_MODIFIED));
        }
        let (config, options) = (given.config, given.options);
        match self.store.run(move |tx| declarative::load(&all, tx, config, options)).await {
            Ok(entities) => {
                *self.config_hash.lock().unwrap_or_else(PoisonError::into_inner) = given.hash;
                let plugins = entities.get("plugins").and_then(Json::as_object).into_iter().flatten();
                let skipped = plugins.flat_map(|(_, row)| skipped_of(&row.clone().into())).collect();
                Ok(naming_skipped(Reply::json(StatusCode::CREATED, &entities), skipped))
            }
            Err(Failure::Invalid(body)) => Ok(Reply::json(StatusCode::BAD_REQUEST, &body)),
            Err(Failure::Fault(fault)) => Err(fault),
        }
    }
}

fn truthy(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "on" | "yes")
}

/// Takes the configuration out of a request: the JSON body itself, the text in its `config` (a form's too), or a body
/// of YAML. The inner error is the answer to one that cannot be read.
async fn given(call: &Call, request: &Request) -> Result<Result<Given, Reply>, Fault> {
    let yaml = request
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("application/yaml") || kind.starts_with("text/yaml"));
    let mut members = match yaml {
        true => Value::object(),
        false => read_body(request).await?.plain().unwrap_or_else(Value::object),
    };
    let mut option = |name: &str| {
        let own = members.remove(name).map(|value| match value {
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            other => other.exposed_str().unwrap_or_default().to_owned(),
        });
        own.or_else(|| call.argument(name).map(str::to_owned)).unwrap_or_default()
    };
    let options = Options { flatten: truthy(&option("flatten_errors")) };
    let check_hash = option("check_hash") == "1";
    let hash = |text: &[u8]| HEXLOWER.encode(&Md5::digest(text));
    if members.get("_format_version").is_some() {
        return Ok(Ok(Given { config: members, hash: hash(&request.body), options, check_hash }));
    }
    let text = members.get("config").and_then(Value::exposed_str).or_else(|| call.argument("config"));
    let text = match text {
        Some(text) => text.to_owned(),
        None => String::from_utf8_lossy(&request.body).into_owned(),
    };
    if text.is_empty() {
        return Ok(Err(Reply::message(StatusCode::BAD_REQUEST, "expected a declarative configuration")));
    }
    Ok(match declarative::parse(&text) {
        Ok(config) => Ok(Given { config, hash: hash(text.as_bytes()), options, check_hash }),
        Err(body) => Err(Reply::json(StatusCode::BAD_REQUEST, &body)),
    })
}
