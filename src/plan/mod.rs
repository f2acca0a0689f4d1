//! Comparing what is with what should be, and putting the changes in order. Pure.
//!
//! A [`Plan`] is plain data, the same for the same input. What does not live here: requests (`control_plane`),
//! running a plan (`apply`), and showing it (`report`).

mod types;

pub use types::{Action, Change, Counts, Name, Options, Plan, Role};
