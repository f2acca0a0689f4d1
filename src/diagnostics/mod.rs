//! Problems as users see them: a stable code, a severity, a place in a source, a message and help.
//!
//! Every room reports its problems as [`Diagnostic`]s; the renderers here turn them into terminal frames,
//! JSON and more. What does not live here: finding problems, and writing to the terminal (only `cli` prints).

mod code;
mod page;
mod place;
mod render;
mod suggest;

pub use code::{Code, codes};
pub use page::Page;
pub use place::{Place, Position, SourceMap};
pub use render::{Format, Summary, render};
pub use suggest::nearest;

use serde::Serialize;
use std::fmt;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Legal, but probably not what was meant.
    Warning,
    /// The run cannot go on, or the gateway would refuse this.
    Error,
}

/// One problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Which sort of problem.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// One line that says what is wrong. Never holds a secret's text.
    pub message: String,
    /// Where, if the problem has a place.
    pub place: Option<Place>,
    /// The path in the entity or document, such as `services[0].port`; empty when there is none.
    pub path: String,
    /// A few words beside the underlined text.
    pub label: Option<String>,
    /// What to do about it, one entry a line.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            place: None,
            path: String::new(),
            label: None,
            help: Vec::new(),
        }
    }

    /// A warning.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message) }
    }

    /// With a place.
    #[must_use]
    pub fn at(mut self, place: impl Into<Option<Place>>) -> Self {
        self.place = place.into();
        self
    }

    /// With a path inside the entity or document.
    #[must_use]
    pub fn path(mut self, path: impl fmt::Display) -> Self {
        self.path = path.to_string();
        self
    }

    /// With words beside the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With one more line of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    /// One line: place, code, message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.code.number, self.message)
    }
}
