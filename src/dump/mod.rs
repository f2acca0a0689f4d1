//! A state written as a state file: nesting, references by name, order, secrets left out, YAML and JSON.
//!
//! What was dumped and is synced again changes nothing. Where a kind stands in a file is said by its
//! [`FileWords`](crate::schema::FileWords). What does not live here: reading the control plane, and writing files.

mod secrets;
mod text;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

pub use secrets::{Secrets, Variable, env_file};
pub use text::Format;
pub use tree::{Dump, Dumped, Options};
