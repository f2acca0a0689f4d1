//! Talking to control planes: one trait, and the Admin API, Konnect and DB-less gateways behind it.
//!
//! A [`ControlPlane`] lists, reads and writes entities as JSON values and says what it is. Connections, time-outs,
//! retries and limits are in `http`; reading a whole control plane into a [`State`](crate::model::State) is in
//! `read`. What does not live here: deciding what to write (`plan`) and in which order (`apply`).

mod client;
mod cookies;
mod error;
mod faults;
mod http;
mod read;
mod tls;

pub use client::{Client, synthetic_id};
pub use error::Error;
pub use http::{Connection, Trace};
pub use read::{Arrival, Wanted, entity, live_schemas, read};
pub use tls::Tls;

use crate::schema::{Flavor, Kind};
use crate::value::Value;
use async_trait::async_trait;
use serde_json::Value as Json;
use uuid::Uuid;

/// The most entities that gateways give in one page.
pub const LARGEST_PAGE: usize = 1000;

/// What a control plane is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The version as the gateway reports it (`3.10.0`, `3.14.0.0`); `None` for Konnect.
    pub version: Option<String>,
    /// The flavor whose bundled schemas fit best; live schemas are laid over them.
    pub flavor: Flavor,
    /// Whether the control plane is Konnect's.
    pub konnect: bool,
    /// Whether the gateway runs without a database, so that only `POST /config` changes it.
    pub dbless: bool,
    /// The names of the plugins that are configured on it, as far as it says so.
    pub plugins: Vec<String>,
}

/// Which list of entities to read.
#[derive(Clone, Debug)]
pub struct List<'a> {
    /// The kind to list.
    pub kind: &'a Kind,
    /// Only entities with all of these tags; empty for all.
    pub tags: &'a [String],
    /// The parent, for kinds that are listed under one: its kind and id.
    pub parent: Option<(&'a Kind, Uuid)>,
    /// How many entities a page holds, at most [`LARGEST_PAGE`].
    pub size: usize,
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// The entities as the API answers them, with `id` and foreign fields as `{"id": ...}`.
    pub rows: Vec<Value>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<String>,
}

/// One entity to write or to delete.
#[derive(Clone, Debug)]
pub struct Write<'a> {
    /// Its kind.
    pub kind: &'a Kind,
    /// Its id, made by the client for new entities.
    pub id: Uuid,
    /// The whole entity as the gateway should hold it, foreign fields as `{"id": ...}`.
    /// For a deletion the entity as it is, because some kinds are addressed through their parents.
    pub body: &'a Value,
    /// What is done with it.
    pub action: WriteAction,
    /// Passwords in the body are the hashes that the gateway holds, to be stored as they are.
    pub hashed: bool,
}

/// What a [`Write`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAction {
    /// The entity is new.
    Create,
    /// The entity is there and gets this body.
    Replace,
    /// The entity goes.
    Delete,
}

/// A gateway's configuration interface. Every method is one request or one lookup; all may run concurrently.
#[async_trait]
pub trait ControlPlane: Send + Sync {
    /// The address that messages name.
    fn address(&self) -> &str;

    /// Who answers. Fails with [`Error::Unreachable`], [`Error::Unauthorized`] or [`Error::NoControlPlane`].
    async fn info(&self) -> Result<Info, Error>;

    /// The schema of a kind as the gateway serves it; `None` when the gateway does not have the kind.
    async fn kind_schema(&self, kind: &Kind) -> Result<Option<Json>, Error>;

    /// The schema of a plugin as the gateway serves it; `None` when the gateway does not have the plugin.
    async fn plugin_schema(&self, name: &str) -> Result<Option<Json>, Error>;

    /// Whether all entities of a kind come in one list. Otherwise it is listed under each of its parents.
    fn lists_flat(&self, kind: &Kind) -> bool;

    /// One page of a list, from the start or from the `next` of the page before. A kind that the gateway
    /// does not have gives an empty page.
    async fn page(&self, list: &List<'_>, next: Option<&str>) -> Result<Page, Error>;

    /// One entity by its id; `None` when it does not exist. `like` is the entity as far as it is known:
    /// some kinds are addressed through their parents.
    async fn get(&self, kind: &Kind, id: Uuid, like: &Value) -> Result<Option<Value>, Error>;

    /// Puts or deletes one entity. Deleting what is gone already succeeds. A lost answer is looked up before the
    /// request is repeated.
    async fn write(&self, write: &Write<'_>) -> Result<(), Error>;

    /// One entity by the field that the gateway finds it by (`name`, `key`); `None` when it does not exist.
    async fn find(&self, kind: &Kind, key: &Value) -> Result<Option<Value>, Error>;

    /// Asks the gateway to check an entity without storing it: `Ok(None)` when it would take it, or its refusal.
    async fn validate(&self, kind: &Kind, body: &Value) -> Result<Option<Error>, Error>;
}
