//! Things that no schema of Kong's describes: workspaces, users, control planes, accounts, tokens. They are JSON
//! objects with an id, kept in the same tables as entities.

use super::Fault;
use crate::gateway::store::{Conflict, Entry, Key, PlaneId, Row, Tx};
use serde_json::Value as Json;
use uuid::Uuid;

/// A sort of records.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct Records {
    /// Its name in the store.
    pub kind: &'static str,
    /// The plane that holds them.
    pub plane: PlaneId,
    /// Fields that no two of them share (below the same owner).
    pub unique: &'static [&'static str],
    /// The field that holds the id of the owner.
    pub owner: Option<&'static str>,
}

impl Records {
    fn key(&self, body: &Json, field: &str) -> Option<Key> {
        let value = body.get(field)?.as_str()?;
        let owner = self.owner.and_then(|owner| body.get(owner)?.as_str()).unwrap_or_default();
        let value = if owner.is_empty() { value.into() } else { format!("{owner}/{value}").into() };
        Some(Key { plane: self.plane, name: field.into(), value })
    }

    fn entry(&self, body: &Json) -> Result<Entry, Fault> {
        let id = |field: &str| body.get(field).and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok());
        Ok(Entry {
            id: id("id").ok_or_else(|| Fault::Internal("a record without an id".to_owned()))?,
            body: body.to_string().into(),
            keys: self.unique.iter().filter_map(|field| self.key(body, field)).collect(),
            references: self.owner.and_then(|owner| Some((owner.into(), id(owner)?))).into_iter().collect(),
            tags: Vec::new(),
            expires: None,
        })
    }

    /// A record by its id.
    pub fn get(&self, tx: &Tx<'_>, id: Uuid) -> Result<Option<Json>, Fault> {
        tx.get(self.plane, self.kind, id)?.map(|row| parse(&row)).transpose()
    }

    /// A record that no owner has, by a unique field; and its row's number, which is the plane that it may stand for.
    pub fn find(&self, tx: &Tx<'_>, field: &str, value: &str) -> Result<Option<(Json, PlaneId)>, Fault> {
        let key = Key { plane: self.plane, name: field.into(), value: value.into() };
        let row = tx.find(self.plane, self.kind, &key)?;
        row.map(|row| Ok((parse(&row)?, row.seq))).transpose()
    }

    /// The plane that a record stands for.
    pub fn plane_of(&self, tx: &Tx<'_>, id: Uuid) -> Result<Option<PlaneId>, Fault> {
        Ok(tx.get(self.plane, self.kind, id)?.map(|row| row.seq))
    }

    /// All records in order of creation, or those of an owner.
    pub fn all(&self, tx: &Tx<'_>, owner: Option<Uuid>) -> Result<Vec<Json>, Fault> {
        let rows = match (self.owner, owner) {
            (Some(field), Some(id)) => {
                tx.page_referencing(self.plane, self.kind, field, id, None, usize::MAX)?
            }
            _ => tx.all(self.plane, self.kind)?,
        };
        rows.iter().map(parse).collect()
    }

    /// Writes a record, in place of the one with its id. The error is the field whose value is taken.
    pub fn put(&self, tx: &mut Tx<'_>, body: &Json) -> Result<Result<(), &'static str>, Fault> {
        let new = self.entry(body)?;
        let held = tx.get(self.plane, self.kind, new.id)?.map(|row| parse(&row)).transpose()?;
        let old = held.as_ref().map(|held| self.entry(held)).transpose()?;
        Ok(match tx.put(self.plane, self.kind, &new, old.as_ref())? {
            Ok(()) => Ok(()),
            Err(Conflict(index)) => {
                let taken: Vec<_> =
                    self.unique.iter().filter(|field| self.key(body, field).is_some()).collect();
                Err(index.and_then(|index| taken.get(index).copied().copied()).unwrap_or("id"))
            }
        })
    }

    /// Deletes a record. Answers whether there was one.
    pub fn delete(&self, tx: &mut Tx<'_>, id: Uuid) -> Result<bool, Fault> {
        let Some(held) = self.get(tx, id)? else { return Ok(false) };
        let entry = self.entry(&held)?;
        tx.remove(self.plane, self.kind, &entry)?;
        Ok(true)
    }
}

fn parse(row: &Row) -> Result<Json, Fault> {
    serde_json::from_str(&row.body).map_err(|error| Fault::Internal(error.to_string()))
}
