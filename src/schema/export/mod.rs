//! The schemas for people and editors: a JSON Schema of the whole state file, and the fields of one schema as rows.

mod json_schema;
mod rows;

pub use json_schema::state_file;
pub use rows::{Row, rows, rules};
