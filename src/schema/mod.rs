//! What Kong accepts: the schema notation, the table of kinds, bundled and live schemas, checking and defaults.
//!
//! The notation is the one the Admin API serves under `/schemas`, so bundled and live schemas are read by the
//! same code. What does not live here: entities (see `model`), files, and requests.
//!
//! The way of a body: [`expand_shorthands`], [`fill_defaults`], [`check`], and [`canonical`] to compare it.

mod bundled;
mod check;
mod checks;
mod conceal;
pub mod export;
mod faults;
mod fill;
mod hashes;
mod host;
mod live;
mod lua_pattern;
mod notation;
mod rules;
mod shorthand;
mod types;
mod url;
mod view;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
pub(crate) mod recorded_tests;
#[cfg(test)]
mod tests;

pub use bundled::{Schemas, plugin_lists};
pub use check::{Mode, check, check_as, is_reference_text, is_vault_reference, supplied_by_partials};
pub use checks::normalize_path;
pub use conceal::conceal;
pub use faults::kong_error;
pub use fill::{canonical, fill_defaults, generate, strip_default_fields, strip_defaults};
pub use hashes::{is_pbkdf2_of, pbkdf2_text};
pub use host::{HostKind, HostPort, parse_host};
pub use lua_pattern::Pattern;
pub use notation::SchemaError;
pub use shorthand::{expand_shorthands, hide_shorthands, said_beside, show_shorthands};
pub use types::{
    AlsoIn, Check, Deprecation, EntityCheck, Field, FileWords, Flavor, Kind, OnDelete, PluginSchema, Record,
    ReportWords, Shorthand, Subschema, Type, Variants, Violation, ViolationKind,
};
