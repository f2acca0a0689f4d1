//! The built-in gateway: a store, an Admin API, a Konnect API and a proxy that stand in for Kong.
//!
//! The store publishes what it holds as [`Plane`]s; the proxy executes them. What does not live here:
//! what Kong accepts (`schema`) and how state files are read.

pub mod admin;
mod entities;
pub mod health;
mod http;
pub mod konnect;
pub mod llm;
pub mod mock;
pub mod plugins;
pub mod proxy;
mod rest;
mod server;
pub mod store;

pub use http::FaultError;
pub use plugins::references::Variables;
pub use proxy::Report;
pub use server::{Addresses, Gateway, ServeError, ServeOptions, serve};

use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The configuration of one workspace or control plane, as the store publishes it to the proxy.
#[derive(Clone, Debug, Default)]
pub struct Plane {
    /// `default` for the Admin API's workspace, otherwise the control plane's name.
    pub name: String,
    /// Kinds by name (`services`, `keyauth_credentials` ...), and their rows in order of creation: as the Admin
    /// API answers them, with ids, every default filled in and references as `{"id": ...}`.
    pub rows: BTreeMap<Box<str>, Vec<Arc<Value>>>,
}

/// Where the proxy gets its configuration: the store, or a fixed set in tests.
///
/// The proxy compares [`Source::version`] with that of its snapshot at each request and builds a new snapshot when
/// they differ, so that an acknowledged write counts for the next request and a burst of writes is compiled once.
pub trait Source: Send + Sync {
    /// A number that grows with every committed change. Cheap: one atomic read.
    fn version(&self) -> u64;

    /// Every plane with its rows, the Admin API's workspaces first, then Konnect's control planes in order of creation.
    /// A request is served by the first plane in which a route matches.
    fn planes(&self) -> Vec<Arc<Plane>>;
}

/// The guide, whose example runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/gateway.md")]
mod guide {}
