//! The Admin API, derived from the table of kinds.
