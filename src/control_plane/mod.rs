//! Talking to control planes: one trait, the Admin API and Konnect behind it.
