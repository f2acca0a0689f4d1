//! What the proxy sees of the store: planes of rows, read again kind by kind as kinds change.

use super::{PlaneId, Store, StoreError};
use crate::gateway::{Plane, Source};
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The kinds whose rows in plane 0 stand for planes, in the order in which the proxy tries them.
const ROOTS: [&str; 2] = ["workspaces", "control_planes"];

/// The store as the proxy's source. Rows are read when the proxy asks, and kept until their kind changes.
#[derive(Debug)]
pub struct Planes {
    store: Store,
    known: Mutex<BTreeMap<PlaneId, Arc<Plane>>>,
}

impl Planes {
    /// A source over a store. A store has at most one, since it takes the store's list of changes.
    pub fn new(store: Store) -> Self {
        Planes { store, known: Mutex::default() }
    }

    fn refresh(&self, known: &mut BTreeMap<PlaneId, Arc<Plane>>) -> Result<Vec<Arc<Plane>>, StoreError> {
        let changes = self.store.take_changes();
        let before: Vec<PlaneId> = known.keys().copied().collect();
        type Read = (Vec<(PlaneId, Box<str>)>, Vec<(PlaneId, Box<str>, Vec<Arc<Value>>)>);
        let (roots, read): Read = self.store.run_blocking(move |tx| {
            let mut roots = Vec::new();
            for kind in ROOTS {
                for row in tx.all(0, kind)? {
                    let body = parse(&row.body)?;
                    roots
                        .push((row.seq, body.get("name").and_then(Value::as_str).unwrap_or_default().into()));
                }
            }
            let mut wanted = Vec::new();
            for (plane, _) in &roots {
                let new = !before.contains(plane);
                let kinds = if new { tx.kinds(*plane)? } else { Vec::new() };
                wanted.extend(kinds.into_iter().map(|kind| (*plane, kind)));
                wanted.extend(changes.iter().filter(|change| !new && change.0 == *plane).cloned());
            }
            let mut read = Vec::new();
            for (plane, kind) in wanted {
                let rows = tx.all(plane, &kind)?;
                let rows = rows.iter().map(|row| parse(&row.body).map(Arc::new)).collect::<Result<_, _>>()?;
                read.push((plane, kind, rows));
            }
            Ok::<_, StoreError>((roots, read))
        })?;
        known.retain(|id, _| roots.iter().any(|(root, _)| root == id));
        for (id, name) in &roots {
            Arc::make_mut(known.entry(*id).or_default()).name = name.to_string();
        }
        for (id, kind, rows) in read {
            if let Some(plane) = known.get_mut(&id) {
                Arc::make_mut(plane).rows.insert(kind, rows);
            }
        }
        Ok(roots.iter().filter_map(|(id, _)| known.get(id).cloned()).collect())
    }
}

fn parse(body: &str) -> Result<Value, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Row(error.to_string()))
}

impl Source for Planes {
    fn version(&self) -> u64 {
        self.store.version()
    }

    fn planes(&self) -> Vec<Arc<Plane>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match self.refresh(&mut known) {
            Ok(planes) => planes,
            // What was known last is the best answer; everything is read again next time.
            Err(_) => std::mem::take(&mut *known).into_values().collect(),
        }
    }
}
