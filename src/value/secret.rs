//! Values that are never shown, only named by where they came from.

use super::Value;
use crate::diagnostics::Place;
use std::fmt;
use std::sync::Arc;

/// Where a secret came from. This is all that is ever shown of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Environment variables (or those of `--env-file`), by name, in the order of their use.
    Variables(Vec<Arc<str>>),
    /// Written in clear in a state file.
    Literal(Place),
    /// Read from the gateway.
    ControlPlane,
    /// Given by a flag or a setting of this name.
    Setting(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Variables(names) => write!(f, "[from env {}]", names.join(", ")),
            Origin::Literal(place) => write!(f, "[secret at {place}]"),
            Origin::ControlPlane => f.write_str("[secret on the control plane]"),
            Origin::Setting(name) => write!(f, "[from {name}]"),
        }
    }
}

/// A scalar that must not be shown. `Debug`, `Display` and `Serialize` give its origin.
#[derive(Clone)]
pub struct Secret(Arc<(Value, Origin)>);

impl Secret {
    /// Wraps a scalar. A value that is secret already keeps its first origin.
    pub fn new(value: Value, origin: Origin) -> Self {
        match value {
            Value::Secret(secret) => secret,
            value => Secret(Arc::new((value, origin))),
        }
    }

    /// A secret text.
    pub fn text(text: impl Into<String>, origin: Origin) -> Self {
        Secret::new(Value::String(text.into()), origin)
    }

    /// The scalar itself. Call this only to compare, to check, or to write a request.
    pub fn expose(&self) -> &Value {
        &self.0.0
    }

    /// The text itself, empty for a number or a boolean. The same caution applies as for [`Secret::expose`].
    pub fn expose_text(&self) -> &str {
        self.expose().as_str().unwrap_or_default()
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.0.1
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.origin(), f)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.origin(), f)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}
