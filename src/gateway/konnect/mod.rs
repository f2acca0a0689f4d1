//! The Konnect API: control planes and their entities.
