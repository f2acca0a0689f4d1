//! The schemas for people and editors: a JSON Schema of the whole state file, and the fields of one schema as rows.

mod json_schema;
mod layout;
mod rows;
mod share;

pub use json_schema::state_file;
pub use layout::layout;
pub use rows::{Row, rows, rules};
