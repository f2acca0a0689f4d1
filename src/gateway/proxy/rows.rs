//! Reading the store for a snapshot: rows one at a time, and what tells whether they changed.
//!
//! What does not live here: what is made of the rows (`views`, `people`, `configured` ...).

use crate::gateway::store::{PlaneId, StoreError, Tx};
use crate::value::Value;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::Hasher;
use std::ops::Deref;
use std::sync::Arc;
use uuid::Uuid;

/// The kinds whose rows in plane 0 stand for planes, in the order in which the proxy tries them.
const ROOTS: [&str; 2] = ["workspaces", "control_planes"];

/// The rows of one plane at one moment.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    tx: &'a Tx<'a>,
    plane: PlaneId,
}

/// Every plane with its name: the workspaces first, then Konnect's control planes in order of creation.
pub(super) fn planes<'a>(tx: &'a Tx<'a>) -> Result<Vec<(PlaneId, Box<str>, Rows<'a>)>, StoreError> {
    let mut planes = Vec::new();
    for kind in ROOTS {
        for row in tx.all(0, kind)? {
            let name = parse(&row.body)?.get("name").and_then(Value::as_str).unwrap_or_default().into();
            planes.push((row.seq, name, Rows { tx, plane: row.seq }));
        }
    }
    Ok(planes)
}

impl Rows<'_> {
    /// Grows whenever one of these kinds changes.
    pub fn stamp(&self, kinds: &[&str]) -> u64 {
        self.tx.stamp(self.plane, kinds)
    }

    /// Hands over the rows of a kind in order of creation: ids and texts.
    pub fn texts(
        &self,
        kind: &str,
        take: impl FnMut(Uuid, &str) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.tx.each(self.plane, kind, take)
    }

    /// Hands over the rows of a kind in order of creation, read.
    pub fn values(&self, kind: &str, mut take: impl FnMut(Uuid, &Value, &str)) -> Result<(), StoreError> {
        self.texts(kind, |id, text| {
            take(id, &parse(text)?, text);
            Ok(())
        })
    }
}

/// Reads a row.
pub(super) fn parse(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Row(error.to_string()))
}

/// Tells texts of one row apart.
pub(super) fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// A whole entity as its text: a tenth of what the tree takes. Read for log entries only.
#[derive(Clone, Default)]
pub struct Text(Box<str>);

impl Text {
    /// Keeps a row.
    pub(super) fn new(text: &str) -> Self {
        Text(text.into())
    }

    /// The entity; null if it cannot be read.
    pub fn value(&self) -> Value {
        parse(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

/// A part of a snapshot, kept until something changes of what it is made from.
#[derive(Default)]
pub(super) struct Part<T> {
    pub stamp: u64,
    made: Arc<T>,
}

impl<T> Part<T> {
    /// The earlier part if the stamp is still the same, otherwise what `make` makes with its help.
    pub fn renew(
        earlier: Option<&Part<T>>,
        stamp: u64,
        make: impl FnOnce(Option<&T>) -> Result<T, StoreError>,
    ) -> Result<Self, StoreError> {
        let made = match earlier {
            Some(earlier) if earlier.stamp == stamp => Arc::clone(&earlier.made),
            _ => Arc::new(make(earlier.map(|earlier| &*earlier.made))?),
        };
        Ok(Part { stamp, made })
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.made
    }
}
