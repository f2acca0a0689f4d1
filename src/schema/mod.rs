//! What Kong accepts: the schema notation, the table of kinds, bundled and live schemas, checking and defaults.
//!
//! The notation is the one the Admin API serves under `/schemas`, so bundled and live schemas are read by the
//! same code. What does not live here: entities (see `model`), files, and requests.

mod types;

pub use types::{
    Check, Deprecation, EntityCheck, Field, FileWords, Flavor, Kind, OnDelete, PluginSchema, Record,
    ReportWords, Shorthand, Type, Violation, ViolationKind,
};
