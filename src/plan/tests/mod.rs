//! The plan's tests: states written as JSON, single cases, and properties over random states.

mod cases;
mod guard;
mod scopes;
mod support;
