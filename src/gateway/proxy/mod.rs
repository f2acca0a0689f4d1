//! The proxy: matches requests to routes, runs plugins, sends requests to upstreams and answers back, as Kong does.
//!
//! It executes a [`Snapshot`] made from the store's rows. What does not live here: the store and its APIs, what
//! each plugin does (`plugins`), and what AI providers speak (`llm`).

mod body;
mod client;
mod context;
mod errors;
mod headers;
mod snapshot;
mod tls;
mod views;

pub use body::{Body, BodyError};
pub use client::{Client, Peer, Unsent};
pub use context::{Context, Forward, ForwardError, Identity, Inbound, Limits, Outbound, Record, Try};
pub use snapshot::Snapshot;
pub use views::{Consumer, ConsumerGroup, Credential, Route, Service};
