//! State files: sources, YAML and JSON to nodes that know their place, variables, `_info`, merging.
//!
//! [`read`] opens what the user named and gives [`Documents`]: trees in which every node knows its file, line and
//! column. [`Documents::build`] lays the schemas beside them and gives a [`Loaded`] state: flat entities with
//! references, and every problem with its place. What does not live here: what a body may hold (`schema`), writing
//! files, and printing. Only `source` opens files; nothing here reads the environment.

mod options;

pub use options::{Expansion, Options, Unset, Variables};

use crate::diagnostics::{Diagnostic, SourceMap};
use crate::model::State;

/// A state with its problems and the texts that they point into.
#[derive(Clone, Default)]
pub struct Loaded {
    /// What the files ask for. Incomplete when there are errors.
    pub state: State,
    /// Every problem of every file, in file order.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts of the files, for showing lines.
    pub sources: SourceMap,
}

impl Loaded {
    /// Whether any problem is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}
