//! Finding and listing entities.

use super::row::{body as body_of, joint_fields, text};
use super::write::show_ttl;
use super::{Entities, Fault, Mark, hooks};
use crate::gateway::store::{Row, Tagged, Tx};
use crate::schema::{self, Kind};
use crate::value::Value;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// Which entities of a kind a list holds.
#[derive(Clone, Debug)]
pub(in crate::gateway) enum Which {
    /// All of them.
    All,
    /// Those that carry the tags: all of them, or any.
    Tagged(Vec<Box<str>>, bool),
    /// Those whose field points at an entity.
    Of(Box<str>, Uuid),
}

/// A page of a list: rows as JSON texts, and where the next one starts.
#[derive(Debug)]
pub(in crate::gateway) struct Page {
    /// The rows.
    pub rows: Vec<Box<str>>,
    /// The token of the next page; `None` on the last.
    pub offset: Option<String>,
}

/// A page of tags.
#[derive(Debug)]
pub(in crate::gateway) struct Tags {
    /// The tags and what carries them.
    pub rows: Vec<Tagged>,
    /// The token of the next page; `None` on the last.
    pub offset: Option<String>,
}

impl Entities {
    /// A row by its mark.
    pub fn find(&self, tx: &Tx<'_>, kind: &Kind, mark: &Mark) -> Result<Option<Row>, Fault> {
        let (field, value) = match mark {
            Mark::Id(id) => return Ok(tx.get(self.plane_of(kind), &kind.name, *id)?),
            Mark::Field(field, value) => (field, value),
        };
        let Some(field) = kind.record.field(field) else { return Ok(None) };
        self.check_mark(kind, &field.name, value)?;
        if field.unique {
            return Ok(tx.find(self.plane_of(kind), &kind.name, &self.key_of(kind, field, value))?);
        }
        // A name that is no key: the first that has it.
        for row in tx.all(self.plane_of(kind), &kind.name)? {
            if body_of(&row)?.get(&field.name) == Some(value) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// A row below a parent, by the value that is unique there (the group of an acl, the target of an upstream).
    pub fn find_below(
        &self,
        tx: &Tx<'_>,
        kind: &Kind,
        parent_field: &str,
        parent: Uuid,
        field: &str,
        value: &Value,
    ) -> Result<Option<Row>, Fault> {
        let body = Value::Object(
            [(parent_field.into(), super::write::reference_to(parent)), (field.into(), value.clone())]
                .into_iter()
                .collect(),
        );
        let fields = joint_fields(kind).into_iter().find(|fields| is_pair(fields, parent_field, field));
        match fields.and_then(|fields| self.joint_key(&fields, &body)) {
            Some(key) => Ok(tx.find(self.plane_of(kind), &kind.name, &key)?),
            None => Ok(None),
        }
    }

    /// A value in an address must be one that the field may have.
    fn check_mark(&self, kind: &Kind, field: &str, value: &Value) -> Result<(), Fault> {
        let probe = Value::Object([(field.into(), value.clone())].into_iter().collect());
        let violations = schema::check(&self.schemas, kind, &probe);
        let own = violations.into_iter().find(|violation| violation.path.last_key() == Some(field));
        match own.filter(|violation| violation.path.steps().len() == 1) {
            Some(violation) => Err(Fault::InvalidUnique { field: field.into(), message: violation.message }),
            None => Ok(()),
        }
    }

    /// An entity as it is answered, or `None`.
    pub fn select(&self, tx: &Tx<'_>, kind: &Kind, mark: &Mark) -> Result<Option<Box<str>>, Fault> {
        self.find(tx, kind, mark)?.map(|row| self.shown(tx, kind, row)).transpose()
    }

    /// A row as it is answered.
    pub fn shown(&self, tx: &Tx<'_>, kind: &Kind, row: Row) -> Result<Box<str>, Fault> {
        if row.expires.is_none() && !hooks::shows(kind) {
            return Ok(row.body);
        }
        let mut body = body_of(&row)?;
        if let Some(expires) = row.expires {
            show_ttl(expires, &mut body);
        }
        hooks::show(self, tx, kind, &mut body)?;
        text(&body)
    }

    /// A page of a list.
    pub fn page(
        &self,
        tx: &Tx<'_>,
        kind: &Kind,
        which: &Which,
        size: usize,
        offset: Option<&str>,
    ) -> Result<Page, Fault> {
        let after =
            offset.map(|token| read_offset(token).and_then(|json| id_of(&json, token))).transpose()?;
        let (plane, name) = (self.plane_of(kind), &*kind.name);
        let mut rows = match which {
            Which::All => tx.page(plane, name, after, size + 1)?,
            Which::Tagged(tags, all) => tx.page_tagged(plane, name, tags, *all, after, size + 1)?,
            Which::Of(field, target) => tx.page_referencing(plane, name, field, *target, after, size + 1)?,
        };
        let more = rows.len() > size;
        rows.truncate(size);
        let offset = rows.last().filter(|_| more).map(|last| write_offset(&json!([last.id])));
        let rows = rows.into_iter().map(|row| self.shown(tx, kind, row)).collect::<Result<_, _>>()?;
        Ok(Page { rows, offset })
    }

    /// A page of the plane's tags, or of the entities that carry one.
    pub fn tags(
        &self,
        tx: &Tx<'_>,
        tag: Option<&str>,
        size: usize,
        offset: Option<&str>,
    ) -> Result<Tags, Fault> {
        let after =
            offset.map(|token| read_offset(token).and_then(|json| tagged_of(&json, token))).transpose()?;
        let mut rows = tx.tags(self.plane, tag, after.as_ref(), size + 1)?;
        let more = rows.len() > size;
        rows.truncate(size);
        let offset = rows.last().filter(|_| more);
        let offset = offset.map(|last| write_offset(&json!([last.tag, last.kind, last.id])));
        Ok(Tags { rows, offset })
    }
}

fn is_pair(fields: &[Box<str>], a: &str, b: &str) -> bool {
    matches!(fields, [x, y] if (&**x == a && &**y == b) || (&**x == b && &**y == a))
}

fn write_offset(json: &Json) -> String {
    STANDARD_NO_PAD.encode(json.to_string())
}

fn read_offset(token: &str) -> Result<Json, Fault> {
    let bytes = STANDARD.decode(token).or_else(|_| STANDARD_NO_PAD.decode(token.trim_end_matches('=')));
    // Kong's decoder takes the letters that fill whole bytes and lets the rest go.
    let bytes =
        bytes.or_else(|_| STANDARD_NO_PAD.decode(token.get(..token.len() / 4 * 4).unwrap_or_default()));
    let bytes = bytes.map_err(|_| bad_offset(token, "bad base64 encoding"))?;
    serde_json::from_slice(&bytes).map_err(|_| bad_offset(token, "bad json encoding"))
}

fn bad_offset(token: &str, reason: &'static str) -> Fault {
    Fault::InvalidOffset { offset: token.to_owned(), reason }
}

fn id_of(json: &Json, token: &str) -> Result<Uuid, Fault> {
    let id = json.get(0).and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok());
    id.ok_or_else(|| bad_offset(token, "bad json encoding"))
}

fn tagged_of(json: &Json, token: &str) -> Result<Tagged, Fault> {
    let text = |n: usize| json.get(n).and_then(Json::as_str);
    match (text(0), text(1), text(2).and_then(|id| Uuid::try_parse(id).ok())) {
        (Some(tag), Some(kind), Some(id)) => Ok(Tagged { tag: tag.into(), kind: kind.into(), id }),
        _ => Err(bad_offset(token, "bad json encoding")),
    }
}
