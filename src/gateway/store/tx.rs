//! What can be asked of the store: rows by id, by unique key, by reference, by tag, in pages; writes that keep the
//! three tables in step.

use super::StoreError;
use super::worker::{Changes, Stamps};
use rusqlite::{Connection, OptionalExtension, Params, Row as SqlRow, ToSql, params};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// A workspace or control plane: the `seq` of the entity that stands for it; 0 holds what belongs to none.
pub type PlaneId = i64;

/// The field under which tags stand in `refs`.
const TAG: &str = "#";

/// One stored entity.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its place in the order of creation; never given anew.
    pub seq: i64,
    /// Its id.
    pub id: Uuid,
    /// The whole entity as JSON text.
    pub body: Box<str>,
    /// When it goes by itself, in seconds since 1970.
    pub expires: Option<f64>,
}

/// A value that no two entities of a kind may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it is unique.
    pub plane: PlaneId,
    /// The field, or fields.
    pub name: Box<str>,
    /// The value as text.
    pub value: Box<str>,
}

/// An entity as it is written: the row, and what the other tables say of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its id.
    pub id: Uuid,
    /// The whole entity as JSON text.
    pub body: Box<str>,
    /// Its unique values, in the order in which a conflict is told.
    pub keys: Vec<Key>,
    /// What it points to: field and id.
    pub references: Vec<(Box<str>, Uuid)>,
    /// Its tags.
    pub tags: Vec<Box<str>>,
    /// When it goes by itself, in seconds since 1970.
    pub expires: Option<f64>,
}

/// A write that collides: the index of the key in [`Entry::keys`], or `None` for the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict(pub Option<usize>);

/// An entity that carries a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The tag.
    pub tag: Box<str>,
    /// The entity's kind.
    pub kind: Box<str>,
    /// The entity's id.
    pub id: Uuid,
}

/// An entity whose field points at another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The pointing entity's kind.
    pub kind: Box<str>,
    /// The field that points.
    pub field: Box<str>,
    /// The pointing entity's id.
    pub id: Uuid,
}

/// The store within one job.
pub struct Tx<'a> {
    connection: &'a Connection,
    stamps: &'a Stamps,
    changes: Changes,
    wrote: bool,
    now: f64,
}

impl<'a> Tx<'a> {
    pub(super) fn new(connection: &'a Connection, stamps: &'a Stamps) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        Tx { connection, stamps, changes: Changes::new(), wrote: false, now }
    }

    /// Keeps or undoes what this job wrote.
    pub(super) fn end(mut self, keep: bool, changes: &mut Changes) -> rusqlite::Result<()> {
        if !self.wrote {
            return Ok(());
        }
        if keep {
            changes.append(&mut self.changes);
        } else {
            self.execute("ROLLBACK TO job", [])?;
        }
        self.execute("RELEASE job", []).map(|_| ())
    }

    fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    fn row(&self, sql: &str, params: impl Params) -> Result<Option<Row>, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.query_row(params, row).optional()?)
    }

    fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: fn(&SqlRow<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether this job has written anything so far.
    pub fn wrote(&self) -> bool {
        self.wrote
    }

    /// The time of this job, in seconds since 1970.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// A row by id.
    pub fn get(&self, plane: PlaneId, kind: &str, id: Uuid) -> Result<Option<Row>, StoreError> {
        self.row(
            "SELECT seq, id, body, expires FROM entities
             WHERE plane = ?1 AND kind = ?2 AND id = ?3 AND (expires IS NULL OR expires > ?4)",
            params![plane, kind, id.as_bytes(), self.now],
        )
    }

    /// A row by a unique key.
    pub fn find(&self, plane: PlaneId, kind: &str, key: &Key) -> Result<Option<Row>, StoreError> {
        self.row(
            "SELECT e.seq, e.id, e.body, e.expires FROM unique_keys u
             JOIN entities e ON e.plane = ?5 AND e.kind = ?2 AND e.id = u.id
             WHERE u.plane = ?1 AND u.kind = ?2 AND u.name = ?3 AND u.value = ?4
               AND (e.expires IS NULL OR e.expires > ?6)",
            params![key.plane, kind, key.name, key.value, plane, self.now],
        )
    }

    /// Rows of a kind in order of their ids, those after an id only.
    pub fn page(
        &self,
        plane: PlaneId,
        kind: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.rows(
            "SELECT seq, id, body, expires FROM entities
             WHERE plane = ?1 AND kind = ?2 AND id > ?3 AND (expires IS NULL OR expires > ?4)
             ORDER BY id LIMIT ?5",
            params![plane, kind, start(&after), self.now, count(limit)],
            row,
        )
    }

    /// The version of the store at which one of these kinds last changed; 0 before the first change since the start.
    pub fn stamp(&self, plane: PlaneId, kinds: &[&str]) -> u64 {
        let changed = self.stamps.get(&plane);
        kinds.iter().filter_map(|kind| changed?.get(*kind).copied()).max().unwrap_or(0)
    }

    /// Hands over the ids and bodies of a kind in order of creation, one at a time; few are in memory at once.
    pub fn each(
        &self,
        plane: PlaneId,
        kind: &str,
        mut take: impl FnMut(Uuid, &str) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // Sorted by the database, all bodies would be in its sorter.
        let mut order: Vec<i64> = self.rows(
            "SELECT seq FROM entities WHERE plane = ?1 AND kind = ?2",
            params![plane, kind],
            |row| row.get(0),
        )?;
        order.sort_unstable();
        let sql = "SELECT id, body FROM entities WHERE seq = ?1 AND (expires IS NULL OR expires > ?2)";
        let mut statement = self.connection.prepare_cached(sql)?;
        for seq in order {
            let mut found = statement.query(params![seq, self.now])?;
            if let Some(row) = found.next()? {
                let body = row.get_ref(1)?.as_str().map_err(|error| StoreError::Row(error.to_string()))?;
                take(id(row, 0)?, body)?;
            }
        }
        Ok(())
    }

    /// Rows of a kind in order of creation.
    pub fn all(&self, plane: PlaneId, kind: &str) -> Result<Vec<Row>, StoreError> {
        self.rows(
            "SELECT seq, id, body, expires FROM entities
             WHERE plane = ?1 AND kind = ?2 AND (expires IS NULL OR expires > ?3) ORDER BY seq",
            params![plane, kind, self.now],
            row,
        )
    }

    /// The kinds of which a plane has rows.
    pub fn kinds(&self, plane: PlaneId) -> Result<Vec<Box<str>>, StoreError> {
        self.rows("SELECT DISTINCT kind FROM entities WHERE plane = ?1", [plane], |row| row.get(0))
    }

    /// How many rows of a kind a plane has.
    pub fn count(&self, plane: PlaneId, kind: &str) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM entities WHERE plane = ?1 AND kind = ?2";
        let n: i64 =
            self.connection.prepare_cached(sql)?.query_row(params![plane, kind], |row| row.get(0))?;
        Ok(n.unsigned_abs())
    }

    /// Rows of a kind whose field points at an entity, in order of their ids.
    pub fn page_referencing(
        &self,
        plane: PlaneId,
        kind: &str,
        field: &str,
        target: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.page_in_refs(plane, kind, field, &[target.as_bytes().as_slice()], true, after, limit)
    }

    /// Rows of a kind that carry all (or any) of the tags, in order of their ids.
    pub fn page_tagged(
        &self,
        plane: PlaneId,
        kind: &str,
        tags: &[Box<str>],
        all: bool,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let targets: Vec<&[u8]> = tags.iter().map(|tag| tag.as_bytes()).collect();
        self.page_in_refs(plane, kind, TAG, &targets, all, after, limit)
    }

    #[allow(clippy::too_many_arguments)] // one query, told apart by its two callers
    fn page_in_refs(
        &self,
        plane: PlaneId,
        kind: &str,
        field: &str,
        targets: &[&[u8]],
        all: bool,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let one = |n: usize| {
            format!(
                "SELECT id FROM refs WHERE plane = ?1 AND kind = ?2 AND field = ?3 AND id > ?4 AND target = ?{n}"
            )
        };
        let sets: Vec<String> = (0..targets.len()).map(|n| one(n + 7)).collect();
        let sql = format!(
            "SELECT e.seq, e.id, e.body, e.expires FROM ({}) r
             JOIN entities e ON e.plane = ?1 AND e.kind = ?2 AND e.id = r.id
             WHERE e.expires IS NULL OR e.expires > ?5 ORDER BY r.id LIMIT ?6",
            sets.join(if all { " INTERSECT " } else { " UNION " })
        );
        let (start, limit) = (start(&after), count(limit));
        let mut values: Vec<&dyn ToSql> = vec![&plane, &kind, &field, &start, &self.now, &limit];
        values.extend(targets.iter().map(|target| target as &dyn ToSql));
        self.rows(&sql, values.as_slice(), row)
    }

    /// What points at an entity.
    pub fn referencing(&self, plane: PlaneId, target: Uuid) -> Result<Vec<Pointer>, StoreError> {
        self.rows(
            "SELECT kind, field, id FROM refs WHERE plane = ?1 AND target = ?2 AND field <> '#'",
            params![plane, target.as_bytes()],
            |row| Ok(Pointer { kind: row.get(0)?, field: row.get(1)?, id: id(row, 2)? }),
        )
    }

    /// The tags of a plane's entities, or those of one tag, in order of tag, kind and id, after one of them.
    pub fn tags(
        &self,
        plane: PlaneId,
        tag: Option<&str>,
        after: Option<&Tagged>,
        limit: usize,
    ) -> Result<Vec<Tagged>, StoreError> {
        let nil = Uuid::nil();
        let (from, kind, id) = after.map_or(("", "", &nil), |t| (&*t.tag, &*t.kind, &t.id));
        self.rows(
            "SELECT target, kind, id FROM refs
             WHERE plane = ?1 AND field = '#' AND (?2 IS NULL OR target = ?2) AND (target, kind, id) > (?3, ?4, ?5)
             ORDER BY target, kind, id LIMIT ?6",
            params![plane, tag.map(str::as_bytes), from.as_bytes(), kind, id.as_bytes(), count(limit)],
            |row| {
                let tag: Vec<u8> = row.get(0)?;
                Ok(Tagged {
                    tag: String::from_utf8_lossy(&tag).into(),
                    kind: row.get(1)?,
                    id: self::id(row, 2)?,
                })
            },
        )
    }

    /// Writes a new entity, or over `old` (what the store holds now). Nothing is written when it collides.
    pub fn put(
        &mut self,
        plane: PlaneId,
        kind: &str,
        new: &Entry,
        old: Option<&Entry>,
    ) -> Result<Result<(), Conflict>, StoreError> {
        if old.is_none() && self.get(plane, kind, new.id)?.is_some() {
            return Ok(Err(Conflict(None)));
        }
        self.touch(plane, kind)?;
        if old.is_none() {
            self.forget_expired(plane, kind, new.id)?;
        }
        for (index, key) in new.keys.iter().enumerate() {
            if old.is_some_and(|old| old.keys.contains(key)) {
                continue;
            }
            if let Some((home, holder)) = self.holder(kind, key)?
                && holder != new.id
            {
                if self.get(home, kind, holder)?.is_some() {
                    return Ok(Err(Conflict(Some(index))));
                }
                self.forget_expired(home, kind, holder)?;
                self.execute(
                    "DELETE FROM unique_keys WHERE plane = ?1 AND kind = ?2 AND name = ?3 AND value = ?4",
                    params![key.plane, kind, key.name, key.value],
                )?;
            }
        }
        let id = new.id.as_bytes();
        match old {
            Some(old) => {
                self.execute(
                    "UPDATE entities SET body = ?4, expires = ?5 WHERE plane = ?1 AND kind = ?2 AND id = ?3",
                    params![plane, kind, id, new.body, new.expires],
                )?;
                self.unindex(plane, kind, old, Some(new))?;
            }
            None => {
                self.execute(
                    "INSERT INTO entities (plane, kind, id, body, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![plane, kind, id, new.body, new.expires],
                )?;
            }
        }
        for key in new.keys.iter().filter(|key| !old.is_some_and(|old| old.keys.contains(key))) {
            self.execute(
                "INSERT INTO unique_keys (plane, kind, name, value, home, id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![key.plane, kind, key.name, key.value, plane, id],
            )?;
        }
        for (target, field) in pointers(new) {
            self.execute(
                "INSERT OR IGNORE INTO refs (plane, target, kind, field, id) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![plane, target, kind, field, id],
            )?;
        }
        Ok(Ok(()))
    }

    /// Deletes an entity as the store holds it now.
    pub fn remove(&mut self, plane: PlaneId, kind: &str, old: &Entry) -> Result<(), StoreError> {
        self.touch(plane, kind)?;
        self.execute(
            "DELETE FROM entities WHERE plane = ?1 AND kind = ?2 AND id = ?3",
            params![plane, kind, old.id.as_bytes()],
        )?;
        self.unindex(plane, kind, old, None)
    }

    /// Deletes what has expired, and answers how many rows that were.
    pub fn sweep(&mut self) -> Result<usize, StoreError> {
        let sql = "SELECT plane, kind FROM entities WHERE expires <= ?1";
        let expired: Vec<(PlaneId, Box<str>)> =
            self.rows(sql, [self.now], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (plane, kind) in &expired {
            self.touch(*plane, kind)?;
        }
        if !expired.is_empty() {
            self.execute("DELETE FROM entities WHERE expires <= ?1", [self.now])?;
        }
        Ok(expired.len())
    }

    /// Deletes everything that a plane holds.
    pub fn clear(&mut self, plane: PlaneId) -> Result<(), StoreError> {
        for kind in self.kinds(plane)? {
            self.touch(plane, &kind)?;
        }
        for table in ["entities", "unique_keys", "refs"] {
            self.execute(&format!("DELETE FROM {table} WHERE plane = ?1"), [plane])?;
        }
        Ok(())
    }

    /// Takes the unique keys and references of `old` that `new` does not have out of the tables.
    fn unindex(
        &mut self,
        plane: PlaneId,
        kind: &str,
        old: &Entry,
        new: Option<&Entry>,
    ) -> Result<(), StoreError> {
        let id = old.id.as_bytes();
        for key in old.keys.iter().filter(|key| !new.is_some_and(|new| new.keys.contains(key))) {
            self.execute(
                "DELETE FROM unique_keys WHERE plane = ?1 AND kind = ?2 AND name = ?3 AND value = ?4 AND id = ?5",
                params![key.plane, kind, key.name, key.value, id],
            )?;
        }
        let kept: Vec<_> = new.map(|new| pointers(new).collect()).unwrap_or_default();
        for pointer in pointers(old).filter(|pointer| !kept.contains(pointer)) {
            self.execute(
                "DELETE FROM refs WHERE plane = ?1 AND target = ?2 AND kind = ?3 AND field = ?4 AND id = ?5",
                params![plane, pointer.0, kind, pointer.1, id],
            )?;
        }
        Ok(())
    }

    fn holder(&self, kind: &str, key: &Key) -> Result<Option<(PlaneId, Uuid)>, StoreError> {
        let sql =
            "SELECT home, id FROM unique_keys WHERE plane = ?1 AND kind = ?2 AND name = ?3 AND value = ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement
            .query_row(params![key.plane, kind, key.name, key.value], |row| Ok((row.get(0)?, id(row, 1)?)));
        Ok(found.optional()?)
    }

    /// Deletes an expired row whose place or key a new one takes. What the other tables say of it stays: reads join
    /// with the rows, and a key without a row is taken over.
    fn forget_expired(&mut self, plane: PlaneId, kind: &str, id: Uuid) -> Result<bool, StoreError> {
        let sql = "DELETE FROM entities WHERE plane = ?1 AND kind = ?2 AND id = ?3 AND expires <= ?4";
        let gone = self.execute(sql, params![plane, kind, id.as_bytes(), self.now])? > 0;
        Ok(gone)
    }

    /// Before the first write: a place to go back to. Notes what changes for the proxy.
    fn touch(&mut self, plane: PlaneId, kind: &str) -> Result<(), StoreError> {
        if !self.wrote {
            self.execute("SAVEPOINT job", [])?;
            self.wrote = true;
        }
        if !self.changes.iter().any(|(p, k)| *p == plane && **k == *kind) {
            self.changes.insert((plane, kind.into()));
        }
        Ok(())
    }
}

/// References and tags as `refs` holds them: target and field.
fn pointers(entry: &Entry) -> impl Iterator<Item = (&[u8], &str)> {
    let references = entry.references.iter().map(|(field, id)| (id.as_bytes().as_slice(), &**field));
    references.chain(entry.tags.iter().map(|tag| (tag.as_bytes(), TAG)))
}

fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row { seq: row.get(0)?, id: id(row, 1)?, body: row.get(2)?, expires: row.get(3)? })
}

fn id(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get::<_, [u8; 16]>(column).map(Uuid::from_bytes)
}

/// Where a page starts: after an id, or at the first one. No id is an empty blob.
fn start(after: &Option<Uuid>) -> &[u8] {
    after.as_ref().map_or(&[], |id| id.as_bytes().as_slice())
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
