//! The plan's tests: states written as JSON, single cases, and properties over random states.

mod cases;
mod drift;
mod guard;
mod plane;
mod properties;
mod saved;
mod scopes;
mod support;
