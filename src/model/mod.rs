//! Entities and sets of them: what a state file asks for, and what a control plane holds.
//!
//! An [`Entity`] is a kind, a body and references; a [`State`] is the desired side, made from documents.
//! What does not live here: reading files (`document`), comparing (`plan`), requests (`control_plane`).

mod entity;

pub use entity::{Entity, Info, Reference, References, State, Target};

/// The response header by which the built-in gateway names what is configured but not executed by it: plugins and
/// fields (`http-log.custom_fields_by_lua`), joined by `, `.
pub const SKIPPED_HEADER: &str = "x-foredeck-skipped-plugins";
