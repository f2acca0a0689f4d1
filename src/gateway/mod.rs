//! The built-in gateway: a store, an Admin API, a Konnect API and a proxy that stand in for Kong.

pub mod admin;
pub mod konnect;
pub mod llm;
pub mod mock;
pub mod plugins;
pub mod proxy;
pub mod store;
