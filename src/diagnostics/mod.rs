//! Problems as users see them: a stable code, a severity, a place in a source, a message and help.
//!
//! Every room reports its problems as [`Diagnostic`]s; the renderers here turn them into terminal frames,
//! JSON and more. What does not live here: finding problems, and writing to the terminal (only `cli` prints).

mod place;
mod render;
mod suggest;

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

/// A stable name for one sort of problem: a letter and number (`E0103`) and a word (`unknown-field`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    /// `E` or `W` and four digits.
    pub number: &'static str,
    /// A few lower-case words joined by hyphens.
    pub name: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.name)
    }
}

/// The table of codes. Numbers are never given anew: scripts and suppressions name them.
/// 00xx reading files, 01xx schemas, 02xx references and identity, 03xx variables, 04xx plans, 05xx gateways.
pub mod codes {
    use super::Code;

    macro_rules! codes {
        ($($(#[$doc:meta])* $constant:ident = $number:literal $name:literal;)*) => {
            $($(#[$doc])* pub const $constant: Code = Code { number: $number, name: $name };)*
            /// Every code, in order of number.
            pub const ALL: &[Code] = &[$($constant),*];
        };
    }

    codes! {
        /// A file, folder or standard input could not be read.
        UNREADABLE = "E0001" "unreadable-file";
        /// The text is not YAML or JSON.
        SYNTAX = "E0002" "syntax-error";
        /// A second document in one file.
        SECOND_DOCUMENT = "E0003" "second-document";
        /// A key that stands twice in one mapping.
        DUPLICATE_KEY = "E0004" "duplicate-key";
        /// `_format_version` is missing, of a wrong type, or not supported.
        FORMAT_VERSION = "E0005" "format-version";
        /// Two files contradict each other, or repeat each other's entities.
        MERGE = "E0006" "contradicting-files";
        /// Text, depth or expansion beyond what is read.
        TOO_LARGE = "E0007" "too-large";
        /// A value of the wrong type.
        WRONG_TYPE = "E0101" "wrong-type";
        /// A value outside what the schema allows.
        INVALID_VALUE = "E0102" "invalid-value";
        /// A field that the schema does not know.
        UNKNOWN_FIELD = "E0103" "unknown-field";
        /// A required field is missing.
        MISSING_FIELD = "E0104" "missing-field";
        /// Fields that contradict or require each other.
        FIELD_RULE = "E0105" "field-rule";
        /// A plugin that is not known.
        UNKNOWN_PLUGIN = "E0106" "unknown-plugin";
        /// A kind or feature that the chosen gateway does not have.
        NOT_SUPPORTED = "E0107" "not-supported";
        /// A reference to an entity that does not exist.
        DANGLING = "E0201" "dangling-reference";
        /// Two entities with the same identity.
        DUPLICATE_ENTITY = "E0202" "duplicate-entity";
        /// Two entities with the same value in a field that must be unique.
        DUPLICATE_UNIQUE = "E0203" "duplicate-unique-value";
        /// A variable that is not set.
        UNSET_VARIABLE = "E0301" "unset-variable";
        /// An expression that cannot be read, or a value that its filter cannot turn.
        BAD_EXPRESSION = "E0302" "bad-expression";
        /// A plan that would delete more than was agreed to.
        REFUSED_DELETE = "E0401" "refused-delete";
        /// A plan that collides with an entity outside its scope.
        CONFLICT = "E0402" "conflict";
        /// A saved plan that no longer fits the control plane or the files.
        STALE_PLAN = "E0403" "stale-plan";
        /// The gateway could not be reached.
        UNREACHABLE = "E0501" "gateway-unreachable";
        /// The gateway refused the credentials.
        UNAUTHORIZED = "E0502" "unauthorized";
        /// The named control plane does not exist.
        NO_CONTROL_PLANE = "E0503" "no-control-plane";
        /// The gateway refused a request.
        REFUSED_REQUEST = "E0504" "refused-request";
        /// The gateway answered with something that is not its API.
        UNEXPECTED_ANSWER = "E0505" "unexpected-answer";
        /// The built-in gateway could not start.
        GATEWAY_START = "E0506" "gateway-start";
        /// A run that was interrupted before its end.
        INTERRUPTED = "E0506" "interrupted";
        /// Flags or settings that do not go together.
        USAGE = "E0601" "usage";
        /// A setting of a file that a flag replaces.
        OVERRIDDEN = "W0001" "setting-overridden";
        /// A field that is on its way out.
        DEPRECATED_FIELD = "W0101" "deprecated-field";
        /// A path that looks like a regular expression and is taken as plain text.
        REGEX_PATH = "W0102" "regex-path";
        /// Credentials that may travel over plain HTTP.
        PLAIN_HTTP = "W0103" "plain-http-credentials";
        /// A route that no request can reach because another takes them all.
        SHADOWED_ROUTE = "W0104" "shadowed-route";
        /// Shared plugin settings that no plugin uses.
        UNUSED_CONFIG = "W0201" "unused-plugin-config";
        /// A secret written in clear into a state file.
        CLEAR_SECRET = "W0301" "secret-in-clear";
    }
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
