//! References to vaults (`{vault://env/NAME}`) in plugins' configurations, in the fields that may hold them.
//!
//! The environment is the only vault that is read here; a reference to another one is a problem of the plugin.

use super::ConfigError;
use crate::schema::{Field, PluginSchema, Record, Type, is_vault_reference};
use crate::value::{Origin, Secret, Value};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The environment variables that references may name. `Debug` shows none of them.
#[derive(Clone, Default)]
pub struct Variables(Arc<BTreeMap<String, String>>);

impl Variables {
    /// These variables.
    pub fn new(variables: BTreeMap<String, String>) -> Variables {
        Variables(Arc::new(variables))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables")
    }
}

/// The vaults that references can name.
#[derive(Debug)]
pub struct Vaults<'a> {
    variables: &'a Variables,
    rows: Vec<&'a Value>,
}

impl<'a> Vaults<'a> {
    /// The environment by its own name, and by those of the vault entities.
    pub fn new(variables: &'a Variables, rows: impl Iterator<Item = &'a Value>) -> Self {
        Vaults { variables, rows: rows.collect() }
    }

    /// A configuration with what its references stand for; the same one when it has none. The plugin's schema is
    /// asked for only if there are any.
    ///
    /// # Errors
    /// When a reference cannot be read, or nothing is there.
    pub fn resolve<'c>(
        &self,
        config: &'c Value,
        schema: impl FnOnce() -> Option<Arc<PluginSchema>>,
    ) -> Result<Cow<'c, Value>, ConfigError> {
        if !has_reference(config) {
            return Ok(Cow::Borrowed(config));
        }
        let mut resolved = config.clone();
        if let Some(schema) = schema()
            && let Some(Type::Record(record)) = schema.record.field("config").map(|field| &field.ty)
        {
            self.resolve_record(&mut resolved, record, "")?;
        }
        Ok(Cow::Owned(resolved))
    }

    fn resolve_record(&self, value: &mut Value, record: &Record, at: &str) -> Result<(), ConfigError> {
        for (name, member) in value.as_object_mut().into_iter().flatten() {
            if let Some(field) = record.field(name) {
                let at = if at.is_empty() { name.to_string() } else { format!("{at}.{name}") };
                self.resolve_field(member, field, &at)?;
            }
        }
        Ok(())
    }

    fn resolve_field(&self, value: &mut Value, field: &Field, at: &str) -> Result<(), ConfigError> {
        if field.referenceable && is_vault_reference(value) {
            let reference = value.exposed_str().unwrap_or_default();
            *value = Value::Secret(self.read(reference).map_err(|problem| ConfigError::new(at, problem))?);
            return Ok(());
        }
        match (&field.ty, value) {
            (Type::Record(record), value) => self.resolve_record(value, record, at),
            (Type::Array(element) | Type::Set(element), Value::Array(items)) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(place, item)| self.resolve_field(item, element, &format!("{at}[{place}]"))),
            (Type::Map { values, .. }, Value::Object(members)) => members
                .iter_mut()
                .try_for_each(|(name, member)| self.resolve_field(member, values, &format!("{at}.{name}"))),
            _ => Ok(()),
        }
    }

    /// What stands behind `{vault://VAULT/NAME/KEY?prefix=...}`.
    fn read(&self, reference: &str) -> Result<Secret, String> {
        let wrong = || format!("{reference} is not {{vault://VAULT/NAME}}");
        let inner =
            reference.strip_prefix("{vault://").and_then(|rest| rest.strip_suffix('}')).ok_or_else(wrong)?;
        let (path, query) = inner.split_once('?').unwrap_or((inner, ""));
        let (vault, rest) = path.split_once('/').ok_or_else(wrong)?;
        let (name, key) = rest.split_once('/').map_or((rest, None), |(name, key)| (name, Some(key)));
        let row = self.rows.iter().find(|row| text(row, "prefix") == Some(vault));
        let kind = row.and_then(|row| text(row, "name")).unwrap_or(vault);
        if kind != "env" {
            return Err(format!("{reference}: the vault {vault} is not read by this gateway, only env is"));
        }
        let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "prefix");
        let configured = row.and_then(|row| text(row.get("config")?, "prefix"));
        let prefix = asked.as_ref().map(|(_, prefix)| &**prefix).or(configured).unwrap_or_default();
        let variable = format!("{prefix}{name}").to_uppercase().replace('-', "_");
        let found = self.variables.0.get(&variable);
        let found =
            found.ok_or_else(|| format!("{reference}: the environment variable {variable} is not set"))?;
        let found = match key {
            None => found.clone(),
            Some(key) => serde_json::from_str::<Json>(found)
                .ok()
                .and_then(|object| Some(object.get(key)?.as_str()?.to_owned()))
                .ok_or_else(|| format!("{reference}: {variable} is no JSON object with a text {key}"))?,
        };
        Ok(Secret::text(found, Origin::Variables(vec![variable.into()])))
    }
}

fn text<'a>(row: &'a Value, key: &str) -> Option<&'a str> {
    row.get(key).and_then(Value::exposed_str)
}

fn has_reference(value: &Value) -> bool {
    match value.exposed() {
        Value::Array(items) => items.iter().any(has_reference),
        Value::Object(members) => members.values().any(has_reference),
        value => is_vault_reference(value),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::schema::{Flavor, Schemas};
    use serde_json::json;

    fn resolved(value: &str, vault: Json) -> Result<String, String> {
        let variables = Variables::new(
            [("OPENAI_KEY", "Bearer hush"), ("TEAM_KEY", "team"), ("JSON", r#"{"a": "inner"}"#)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        );
        let row = Value::from(vault);
        let vaults = Vaults::new(&variables, std::iter::once(&row));
        let config = Value::from(json!({"auth": {"header_name": "Authorization", "header_value": value},
                                        "model": {"provider": "openai"}}));
        let schema = || Schemas::bundled(Flavor::Kong314).plugin("ai-proxy");
        let resolved = vaults.resolve(&config, schema).map_err(|error| error.to_string())?;
        let value = resolved.get("auth").unwrap().get("header_value").unwrap();
        assert!(value.is_secret() || !value.exposed_str().unwrap().contains("hush"));
        Ok(value.exposed_str().unwrap().to_owned())
    }

    #[test]
    fn references_to_the_environment_are_resolved() {
        let resolved = |value: &str| {
            resolved(value, json!({"prefix": "team", "name": "env", "config": {"prefix": "team-"}}))
        };
        assert_eq!(resolved("{vault://env/openai-key}").unwrap(), "Bearer hush");
        assert_eq!(resolved("{vault://env/key?prefix=openai_}").unwrap(), "Bearer hush");
        assert_eq!(resolved("{vault://team/key}").unwrap(), "team");
        assert_eq!(resolved("{vault://env/json/a}").unwrap(), "inner");
        assert_eq!(resolved("Bearer plain").unwrap(), "Bearer plain");
    }

    #[test]
    fn what_cannot_be_resolved_is_named() {
        let problem = |value: &str| resolved(value, json!({"prefix": "team", "name": "aws"})).unwrap_err();
        assert_eq!(
            problem("{vault://env/none}"),
            "auth.header_value: {vault://env/none}: the environment variable NONE is not set"
        );
        assert!(problem("{vault://team/x}").contains("the vault team is not read by this gateway"));
        assert!(problem("{vault://hcv/x}").contains("the vault hcv is not read by this gateway"));
    }
}
