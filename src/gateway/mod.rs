//! The built-in gateway: a store, an Admin API, a Konnect API and a proxy that stand in for Kong.
//!
//! The proxy executes what the store holds and reads it when a request asks. What does not live here: what Kong
//! accepts (`schema`) and how state files are read (`document`).

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

/// The guide, whose example runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/gateway.md")]
mod guide {}
