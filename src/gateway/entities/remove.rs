//! Deleting entities, and what happens to those that reference them.

use super::row::body as body_of;
use super::{Entities, Fault, Mark, hooks};
use crate::gateway::store::{Row, Tx};
use crate::schema::{Kind, OnDelete, Type};
use crate::value::Value;

/// How long a chain of cascades may be; the table of kinds has none longer than four.
const MAX_DEPTH: usize = 16;

impl Entities {
    /// Deletes an entity. Answers whether there was one.
    pub fn delete(&self, tx: &mut Tx<'_>, kind: &Kind, mark: &Mark) -> Result<bool, Fault> {
        let Some(row) = self.find(tx, kind, mark)? else { return Ok(false) };
        hooks::remove(self, tx, kind, row.id)?;
        self.remove(tx, kind, &row, 0)?;
        Ok(true)
    }

    fn remove(&self, tx: &mut Tx<'_>, kind: &Kind, row: &Row, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Internal("cascades go in a circle".to_owned()));
        }
        for pointer in tx.referencing(self.plane, row.id)? {
            let child = self.kind(&pointer.kind)?;
            let on_delete = match child.record.field(&pointer.field).map(|field| &field.ty) {
                // Ids are unique within a kind only: the pointer may mean an entity of another kind.
                Some(Type::Foreign { reference, on_delete }) if **reference == *kind.name => *on_delete,
                _ => continue,
            };
            match on_delete {
                OnDelete::Restrict => {
                    return Err(Fault::Restricted { parent: kind.name.clone(), child: pointer.kind });
                }
                OnDelete::Cascade => {
                    if let Some(row) = tx.get(self.plane_of(child), &child.name, pointer.id)? {
                        self.remove(tx, child, &row, depth + 1)?;
                    }
                }
                OnDelete::SetNull => {
                    if let Some(row) = tx.get(self.plane_of(child), &child.name, pointer.id)? {
                        let mut body = body_of(&row)?;
                        let old = self.entry(child, &body, row.expires)?;
                        body.set(&pointer.field, Value::Null);
                        let new = self.entry(child, &body, row.expires)?;
                        self.put(tx, child, &body, &new, Some(&old))?;
                    }
                }
            }
        }
        let old = self.entry(kind, &body_of(row)?, row.expires)?;
        Ok(tx.remove(self.plane_of(kind), &kind.name, &old)?)
    }
}
