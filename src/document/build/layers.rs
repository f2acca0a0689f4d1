//! Where the parts of a body come from, for finding the place of a path in it.

use super::super::{Documents, Node, Span};
use super::collect::{Collected, Draft, Located};
use crate::diagnostics::Place;
use crate::schema::{Field, Record, Type};
use crate::value::{Path, Step};

/// The member that names settings of `_plugin_configs`.
pub(in crate::document) const CONFIG_NAME: &str = "_config";
/// The field into which those are merged.
pub(super) const CONFIG: &str = "config";

/// The nodes that a body is merged from, the one that wins first.
pub(super) struct Layers<'c, 'a> {
    pub own: Located<'a>,
    /// The settings of `_plugin_configs` that the entity uses; they stand under `config`.
    pub config: Option<Located<'a>>,
    /// `_info.defaults` for the kind.
    pub defaults: &'c [Located<'a>],
}

/// What stands at a path, or at as much of it as is written.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub at: Located<'a>,
    /// The key, when it is a member of an object.
    pub key: Option<Span>,
    /// How many steps of the path are written.
    pub depth: usize,
}

impl<'c, 'a> Layers<'c, 'a> {
    pub fn of(collected: &'c Collected<'a>, draft: &Draft<'a>) -> Self {
        let name = draft.node.get(CONFIG_NAME).and_then(Node::text);
        let config = name.and_then(|name| collected.configs.get(name)).map(|config| config.at);
        let defaults = collected.defaults.get(&*draft.kind.report.word).map_or(&[][..], Vec::as_slice);
        Layers { own: Located { document: draft.document, node: draft.node }, config, defaults }
    }

    /// Finds a path: in the entity itself, else in what was merged into it; else as much of it as there is.
    pub fn find(&self, path: &Path) -> Found<'a> {
        let steps = path.steps();
        let own = descend(self.own, steps);
        if own.depth == steps.len() {
            return own;
        }
        let mut best = own;
        let mut offer = |found: Found<'a>| {
            if found.depth > best.depth {
                best = found;
            }
        };
        if let (Some(config), Some((Step::Key(first), rest))) = (self.config, steps.split_first())
            && &**first == CONFIG
        {
            let found = descend(config, rest);
            // The settings themselves stand for `config` only where the entity has none.
            if found.depth > 0 {
                offer(Found { depth: found.depth + 1, ..found });
            }
        }
        for defaults in self.defaults {
            offer(descend(*defaults, steps));
        }
        best
    }

    /// As [`Layers::find`]; where the path was made from a shorthand, the shorthand is found.
    pub fn find_written(&self, path: &Path, record: &Record, variant: Option<&Record>) -> Found<'a> {
        let found = self.find(path);
        let steps = path.steps();
        if found.depth == steps.len() {
            return found;
        }
        let (before, rest) = steps.split_at(found.depth);
        let Some(holder) = record_at(record, variant, before) else { return found };
        let rest: Path = rest.iter().cloned().collect();
        let shorthand = holder.shorthands.iter().find(|shorthand| {
            let successors =
                shorthand.field.deprecation.as_ref().map_or(&[][..], |known| &known.replaced_with);
            let matches = successors.is_empty() && shorthand.expand.is_some()
                || successors
                    .iter()
                    .any(|to| rest.steps().starts_with(to.steps()) || to.steps().starts_with(rest.steps()));
            matches && found.at.node.member(&shorthand.field.name).is_some()
        });
        match shorthand.and_then(|shorthand| found.at.node.member(&shorthand.field.name)) {
            Some(member) => Found {
                at: Located { document: found.at.document, node: &member.value },
                key: Some(member.span),
                depth: steps.len(),
            },
            None => found,
        }
    }
}

/// Goes down from a node as far as the steps are written.
fn descend<'a>(from: Located<'a>, steps: &[Step]) -> Found<'a> {
    let mut found = Found { at: from, key: None, depth: 0 };
    for step in steps {
        let (node, key) = match step {
            Step::Key(key) => match found.at.node.member(key) {
                Some(member) => (&member.value, Some(member.span)),
                None => break,
            },
            Step::Index(index) => match found.at.node.items().get(*index) {
                Some(item) => (item, None),
                None => break,
            },
        };
        found = Found { at: Located { document: from.document, node }, key, depth: found.depth + 1 };
    }
    found
}

/// A field of an entity: a variant's replaces that of the kind.
pub(super) fn field<'s>(record: &'s Record, variant: Option<&'s Record>, name: &str) -> Option<&'s Field> {
    let own = record.field(name).or_else(|| {
        record.shorthands.iter().map(|shorthand| &shorthand.field).find(|field| &*field.name == name)
    })?;
    Some(variant.and_then(|variant| variant.field(name)).unwrap_or(own))
}

/// What a field holds one step further down.
pub(super) fn inside<'s>(field: &'s Field, step: &Step) -> Option<&'s Field> {
    match (&field.ty, step) {
        (Type::Record(record), Step::Key(name)) => self::field(record, None, name),
        (Type::Map { values, .. }, Step::Key(_)) => Some(values),
        (Type::Array(element) | Type::Set(element), Step::Index(_)) => Some(element),
        _ => None,
    }
}

/// The field at a path from the root of an entity.
pub(super) fn field_at<'s>(
    record: &'s Record,
    variant: Option<&'s Record>,
    path: &Path,
) -> Option<&'s Field> {
    let (first, rest) = path.steps().split_first()?;
    let Step::Key(name) = first else { return None };
    rest.iter().try_fold(field(record, variant, name)?, |field, step| inside(field, step))
}

/// The record at a path from the root of an entity.
fn record_at<'s>(record: &'s Record, variant: Option<&'s Record>, steps: &[Step]) -> Option<&'s Record> {
    if steps.is_empty() {
        return Some(record);
    }
    match &field_at(record, variant, &steps.iter().cloned().collect())?.ty {
        Type::Record(record) => Some(record),
        _ => None,
    }
}

/// A span of one of the documents as a place.
pub(super) fn place(documents: &Documents, document: usize, span: Span) -> Option<Place> {
    documents.documents.get(document).map(|document| document.text.place(span))
}

/// Adds the places of all scalars of a node: those that are not to be shown.
pub(super) fn hide(documents: &Documents, at: Located<'_>, into: &mut Vec<Place>) {
    if let Some(document) = documents.documents.get(at.document) {
        at.node.scalars(&mut |span| into.push(document.text.place(span)));
    }
}
