//! Plugin entities as they are executed, and the order in which they run.
//!
//! What does not live here: which of them apply to a request (`scopes`), and what each does (`plugins`).

use super::rows::{Rows, digest, parse};
use super::scopes::{Scope, Scopes, Unsorted};
use super::views;
use crate::diagnostics::{Diagnostic, codes};
use crate::gateway::plugins::references::Vaults;
use crate::gateway::plugins::{self, ConfigError, Environment, Instance, Plugin, Shared};
use crate::gateway::store::StoreError;
use crate::schema::Schemas;
use crate::value::Value;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// The kinds that this is made from.
pub(super) const KINDS: &[&str] = &["plugins", "vaults"];

/// A plugin entity.
pub struct Configured {
    /// The entity's id.
    pub id: Uuid,
    /// The plugin's name.
    pub name: Box<str>,
    pub(super) scope: Scope,
    pub(super) execution: Execution,
    /// What of it is not executed here.
    pub(super) skipped: Box<[String]>,
    /// Of the row that it was made from.
    digest: u64,
}

pub(super) enum Execution {
    /// It has a handler.
    Runs(Arc<dyn Plugin>),
    /// There is no handler for this plugin here.
    Skipped,
    /// Its configuration cannot be executed: requests end with a 500.
    Broken,
}

/// Names of plugins and configurations for tests and traces.
impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.id)
    }
}

/// The enabled plugins of a plane.
#[derive(Default)]
pub(super) struct Plugins {
    /// Of the vaults that they may refer to.
    vaults: u64,
    /// Which apply where.
    pub scopes: Scopes,
    /// What cannot be executed.
    pub problems: Vec<Diagnostic>,
}

impl Plugins {
    /// Reads the plugins; those whose rows have not changed are taken over from `earlier`.
    pub fn read(
        rows: Rows<'_>,
        earlier: Option<&Plugins>,
        shared: &Shared,
        environment: &Environment,
    ) -> Result<Self, StoreError> {
        let mut vault_rows = Vec::new();
        rows.values("vaults", |_, row, _| vault_rows.push(row.clone()))?;
        let vaults = Vaults::new(&environment.variables, vault_rows.iter());
        let stamp = rows.stamp(&["vaults"]);
        let earlier = earlier.filter(|earlier| earlier.vaults == stamp);
        let known: HashMap<Uuid, &Arc<Configured>> =
            earlier.into_iter().flat_map(|earlier| earlier.scopes.all()).map(|c| (c.id, c)).collect();
        let (mut problems, mut scopes) = (Vec::new(), Unsorted::default());
        rows.texts("plugins", |id, text| {
            let digest = digest(text);
            let same =
                |c: &&&Arc<Configured>| c.digest == digest && !matches!(c.execution, Execution::Broken);
            if let Some(same) = known.get(&id).filter(same) {
                scopes.add(Arc::clone(same));
                return Ok(());
            }
            let row = parse(text)?;
            let Some(name) = views::text(&row, "name") else { return Ok(()) };
            if row.get("enabled").and_then(Value::as_bool) == Some(false) {
                return Ok(());
            }
            let made = execution(id, &name, &row, shared, environment, &vaults).unwrap_or_else(|error| {
                let message = format!("the plugin {name} ({id}) cannot be executed: {error}");
                problems.push(
                    Diagnostic::error(codes::INVALID_VALUE, message).path(format!("config.{}", error.field)),
                );
                Execution::Broken
            });
            let skipped = plugins::skipped(&name, row.get("config").unwrap_or(&Value::Null)).into();
            let scope = Scope::of(&row);
            scopes.add(Arc::new(Configured { id, name, scope, execution: made, skipped, digest }));
            Ok(())
        })?;
        Ok(Plugins { vaults: stamp, scopes: scopes.sorted(), problems })
    }
}

fn execution(
    id: Uuid,
    name: &str,
    row: &Value,
    shared: &Shared,
    environment: &Environment,
    vaults: &Vaults<'_>,
) -> Result<Execution, ConfigError> {
    let Some(entry) = plugins::entry(name) else { return Ok(Execution::Skipped) };
    let config = row.get("config").unwrap_or(&Value::Null);
    let config = vaults.resolve(config, || Schemas::bundled(environment.flavor).plugin(name))?;
    let id = id.to_string();
    (entry.build)(&Instance { id: &id, config: &config, row, shared, environment }).map(Execution::Runs)
}
