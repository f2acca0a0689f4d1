//! A record together with the subschema that a body asks for, as one set of fields.

use super::bundled::Schemas;
use super::types::{Field, Kind, Record};
use crate::value::{Path, Value};

/// The fields of a record, some of them replaced by those of a subschema.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub base: &'a Record,
    pub variant: Option<&'a Record>,
    /// The paths whose values come from partials and are not known here.
    pub supplied: &'a [Path],
}

impl<'a> View<'a> {
    pub fn of(schemas: &'a Schemas, kind: &'a Kind, body: &Value) -> Self {
        View { base: &kind.record, variant: schemas.variant_of(kind, body), supplied: &[] }
    }

    /// Whether a path lies in what partials supply.
    pub fn is_supplied(&self, path: &Path) -> bool {
        self.supplied.iter().any(|supplied| path.steps().starts_with(supplied.steps()))
    }

    pub fn plain(record: &'a Record) -> Self {
        View { base: record, variant: None, supplied: &[] }
    }

    /// The field of this name; a variant can replace fields but not add any.
    pub fn field(&self, name: &str) -> Option<&'a Field> {
        let field = self.base.field(name)?;
        Some(self.replaced(field))
    }

    /// Every field in the record's order.
    pub fn fields(self) -> impl Iterator<Item = &'a Field> {
        self.base.fields.iter().map(move |field| self.replaced(field))
    }

    fn replaced(&self, field: &'a Field) -> &'a Field {
        self.variant.and_then(|variant| variant.field(&field.name)).unwrap_or(field)
    }
}
