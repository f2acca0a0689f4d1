//! A plan or a result as text, JSON, Markdown or GitHub's commands, secrets as their origins.
//!
//! What does not live here: problems with a place in a file (`diagnostics` renders them), and printing (`cli`).

mod diff;
mod drift;
mod fingerprint;
mod github;
mod json;
mod markdown;
mod text;

pub use diff::{Line, Mark};
pub use drift::{drift_github, drift_json, drift_markdown, drift_text};
pub use fingerprint::Fingerprints;
pub use github::github;
pub use json::{JsonOptions, json};
pub use markdown::{failure_markdown, markdown};
pub use text::{TextOptions, change_text, counts, failures, summary, text};

/// What became of one change of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The control plane has it.
    Done,
    /// It failed: why.
    Failed(String),
    /// It was not tried: why.
    NotTried(String),
    /// It was done and undone again.
    RolledBack,
}

#[cfg(test)]
mod tests;
