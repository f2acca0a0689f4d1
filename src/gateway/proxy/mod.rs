//! The proxy: matches requests to routes, runs plugins, sends requests to upstreams and answers back, as Kong does.
//!
//! It executes a [`Snapshot`] made from the store's rows. What does not live here: the store and its APIs, what
//! each plugin does (`plugins`), and what AI providers speak (`llm`).

mod balancer;
mod body;
mod certificates;
mod checks;
mod client;
mod configured;
mod connection;
mod context;
mod errors;
mod forward;
mod handle;
mod headers;
mod http1;
mod live;
mod paths;
mod patience;
mod people;
mod respond;
mod router;
mod rows;
mod rules;
mod scopes;
mod serve;
mod services;
mod snapshot;
mod tls;
mod upgrade;
mod views;
mod wire;

pub use body::{Body, BodyError};
pub use checks::watch;
pub use client::{Client, Peer, Unsent};
pub use configured::Configured;
pub use connection::Tls;
pub use context::{Context, Forward, ForwardError, Identity, Inbound, Limits, Outbound, Record, Try};
pub use headers::{cookie, is_own as is_own_header, lines as header_lines};
pub use live::{Options, Proxy, Report};
pub use paths::{escape as escape_path, normalize as normalize_path};
pub use rows::Text;
pub use serve::serve;
pub use snapshot::{Configuration, RoutePlan, Snapshot};
pub use tls::UpstreamTls;
pub use views::{Consumer, ConsumerGroup, Credential, Route, Service};

/// The plugins of one request, in order.
type Plugins = smallvec::SmallVec<[std::sync::Arc<Configured>; 8]>;
