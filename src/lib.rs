//! Foredeck: declarative configuration for Kong Gateway and Konnect, and a gateway to test against.
//!
//! State files become documents, documents become a model of entities, two models become a plan, and a plan is
//! applied to a control plane. The built-in gateway stands in for Kong.

pub mod apply;
pub mod cli;
pub mod control_plane;
pub mod diagnostics;
pub mod document;
pub mod dump;
pub mod gateway;
pub mod model;
pub mod plan;
pub mod report;
pub mod schema;
pub mod value;
