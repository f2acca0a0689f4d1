//! JSON values that know which of their parts are secret, and paths into them.
//!
//! Every room passes bodies around as [`Value`]. It is JSON's data model with one more case, [`Secret`],
//! whose text can only be reached by [`Secret::expose`]. What does not live here: schemas, places in files
//! other than as part of an origin, and any input or output.

mod path;
mod secret;
mod serde_impl;

pub use path::{Path, Step};
pub use secret::{Origin, Secret};
pub use serde_impl::Exposed;

use crate::diagnostics::Place;
use std::fmt;

/// The members of an object, sorted by key. Small and flat: most bodies hold fewer than thirty members.
pub type Map = litemap::LiteMap<Box<str>, Value>;

/// A JSON number: a signed or unsigned 64-bit integer, or a finite double.
pub type Number = serde_json::Number;

/// A JSON value in which scalars may be secret.
///
/// Equality looks through secrets: a secret and a plain scalar of the same text are equal, because
/// whether two sides of a comparison differ does not depend on who may see them.
#[derive(Clone, Default)]
pub enum Value {
    /// JSON's `null`, which is not the same as an absent member.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text that may be shown.
    String(String),
    /// A scalar that is shown as its origin only.
    Secret(Secret),
    /// A list.
    Array(Vec<Value>),
    /// An object, its members sorted by key.
    Object(Map),
}

impl Value {
    /// An empty object.
    pub fn object() -> Self {
        Value::Object(Map::new())
    }

    /// The value without its secrecy: for a secret its scalar, otherwise itself.
    /// For comparing and checking; never for showing.
    pub fn exposed(&self) -> &Value {
        match self {
            Value::Secret(secret) => secret.expose(),
            other => other,
        }
    }

    /// Whether this very value is a secret (members are not looked at).
    pub fn is_secret(&self) -> bool {
        matches!(self, Value::Secret(_))
    }

    /// Where this very value came from, when it is a secret.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Value::Secret(secret) => Some(secret.origin()),
            _ => None,
        }
    }

    /// Whether this value or anything inside it is a secret.
    pub fn has_secret(&self) -> bool {
        match self {
            Value::Secret(_) => true,
            Value::Array(items) => items.iter().any(Value::has_secret),
            Value::Object(members) => members.values().any(Value::has_secret),
            _ => false,
        }
    }

    /// Whether this is `null` (also a secret one).
    pub fn is_null(&self) -> bool {
        matches!(self.exposed(), Value::Null)
    }

    /// Text that may be shown: `None` for a secret.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Text, secret or not. For comparing, checking and sending; never for showing.
    pub fn exposed_str(&self) -> Option<&str> {
        self.exposed().as_str()
    }

    /// A boolean, secret or not.
    pub fn as_bool(&self) -> Option<bool> {
        match self.exposed() {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// A whole number, secret or not; a double without a fraction counts.
    pub fn as_i64(&self) -> Option<i64> {
        match self.exposed() {
            Value::Number(n) => n
                .as_i64()
                .or_else(|| n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9.0e15).map(|f| f as i64)),
            _ => None,
        }
    }

    /// A number, secret or not.
    pub fn as_f64(&self) -> Option<f64> {
        match self.exposed() {
            Value::Number(n) => n.as_f64(),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The members of an object, to change.
    pub fn as_object_mut(&mut self) -> Option<&mut Map> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// A member of an object; `None` when it is absent or this is no object.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object().and_then(|members| members.get(key))
    }

    /// What stands at a path; `None` when a step leads nowhere.
    pub fn at(&self, path: &Path) -> Option<&Value> {
        path.steps().iter().try_fold(self, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.as_array().and_then(|items| items.get(*index)),
        })
    }

    /// Sets a member; turns anything that is not an object into one.
    pub fn set(&mut self, key: &str, value: Value) {
        if !matches!(self, Value::Object(_)) {
            *self = Value::object();
        }
        if let Value::Object(members) = self {
            members.insert(key.into(), value);
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.as_object_mut().and_then(|members| members.remove(key))
    }

    /// Makes this scalar a secret of the given origin. Lists and objects become secret scalar by scalar;
    /// `null` stays `null`, and what is secret already keeps its origin.
    pub fn conceal(&mut self, origin: &Origin) {
        match self {
            Value::Null | Value::Secret(_) => {}
            Value::Array(items) => items.iter_mut().for_each(|item| item.conceal(origin)),
            Value::Object(members) => members.iter_mut().for_each(|(_, member)| member.conceal(origin)),
            scalar => *scalar = Value::Secret(Secret::new(std::mem::take(scalar), origin.clone())),
        }
    }

    /// Makes secret what is secret at the same place of `model`: the value before a change is as secret as the one
    /// after it. What is equal takes over the model's origin; a list with a secret item is concealed whole, because
    /// items move.
    pub fn conceal_like(&mut self, model: &Value, origin: &Origin) {
        if !model.has_secret() {
            return;
        }
        if self == model {
            *self = model.clone();
            return;
        }
        match (self, model) {
            (Value::Object(members), Value::Object(models)) => {
                for (key, member) in members.iter_mut() {
                    if let Some(model) = models.get(key) {
                        member.conceal_like(model, origin);
                    }
                }
            }
            (this, _) => this.conceal(origin),
        }
    }

    /// What JSON calls this: "a string", "a number", ... For messages.
    pub fn type_name(&self) -> &'static str {
        match self.exposed() {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) | Value::Secret(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self.exposed(), other.exposed()) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a == b,
            (Value::Object(a), Value::Object(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Value {
    /// Compact JSON in which every secret is replaced by its origin.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! from {
    ($($source:ty => |$name:ident| $make:expr),* $(,)?) => {
        $(impl From<$source> for Value {
            fn from($name: $source) -> Self {
                $make
            }
        })*
    };
}
from! {
    bool => |v| Value::Bool(v),
    i64 => |v| Value::Number(v.into()),
    u64 => |v| Value::Number(v.into()),
    i32 => |v| Value::Number(v.into()),
    u32 => |v| Value::Number(v.into()),
    u16 => |v| Value::Number(v.into()),
    f64 => |v| Number::from_f64(v).map_or(Value::Null, Value::Number),
    String => |v| Value::String(v),
    &str => |v| Value::String(v.to_owned()),
    Vec<Value> => |v| Value::Array(v),
    Map => |v| Value::Object(v),
    Secret => |v| Value::Secret(v),
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(b),
            serde_json::Value::Number(n) => Value::Number(n),
            serde_json::Value::String(s) => Value::String(s),
            serde_json::Value::Array(items) => Value::Array(items.into_iter().map(Value::from).collect()),
            serde_json::Value::Object(members) => {
                Value::Object(members.into_iter().map(|(k, v)| (k.into_boxed_str(), v.into())).collect())
            }
        }
    }
}

/// Where a secret was written, as an origin, when it stands in a file in clear.
pub fn literal_origin(place: &Place) -> Origin {
    Origin::Literal(place.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equality_looks_through_secrets() {
        let plain = Value::from("k1");
        let mut secret = plain.clone();
        secret.conceal(&Origin::ControlPlane);
        assert!(secret.is_secret());
        assert_eq!(plain, secret);
        assert_ne!(secret, Value::from("k2"));
    }

    #[test]
    fn no_way_of_printing_shows_a_secret() {
        let mut value =
            Value::from(json!({"config": {"keys": ["hush-1", "hush-2"], "n": null}, "name": "shown"}));
        if let Some(config) = value.as_object_mut().and_then(|m| m.get_mut("config")) {
            config.conceal(&Origin::Variables(vec!["TOKEN".into()]));
        }
        for printed in
            [format!("{value}"), format!("{value:?}"), serde_json::to_string(&value).unwrap_or_default()]
        {
            assert!(!printed.contains("hush"), "{printed}");
            assert!(printed.contains("shown") && printed.contains("TOKEN"), "{printed}");
        }
        let sent = serde_json::to_string(&Exposed(&value)).unwrap_or_default();
        assert!(sent.contains("hush-2"), "{sent}");
    }

    #[test]
    fn a_value_is_as_secret_as_its_successor() {
        let origin = Origin::Variables(vec!["TOKEN".into()]);
        let mut after = Value::from(json!({"tags": ["a", "old-1"], "same": "kept-2", "open": "shown"}));
        for key in ["tags", "same"] {
            if let Some(member) = after.as_object_mut().and_then(|m| m.get_mut(key)) {
                member.conceal(&origin);
            }
        }
        let mut before = Value::from(json!({"tags": ["old-3"], "same": "kept-2", "open": "seen", "more": 1}));
        before.conceal_like(&after, &Origin::ControlPlane);
        let printed = before.to_string();
        assert!(!printed.contains("old-3") && !printed.contains("kept-2"), "{printed}");
        assert!(printed.contains("seen") && printed.contains("TOKEN"), "{printed}");
        assert_eq!(before.get("same"), after.get("same"));
    }

    #[test]
    fn numbers_compare_by_what_they_mean() {
        assert_eq!(Value::from(json!(1)), Value::from(json!(1.0)));
        assert_ne!(Value::from(json!(1)), Value::from(json!("1")));
    }

    #[test]
    fn a_path_leads_to_a_member() {
        let value = Value::from(json!({"a": [{"b": 7}]}));
        let path = Path::root().key("a").index(0).key("b");
        assert_eq!(value.at(&path).and_then(Value::as_i64), Some(7));
        assert_eq!(path.to_string(), "a[0].b");
        assert!(value.at(&path.key("c")).is_none());
    }
}
