//! The configuration as the proxy executes it: typed, indexed, made once for each version of the source.

/// The configuration that a request is served by, from beginning to end.
#[derive(Debug, Default)]
pub struct Snapshot {}
