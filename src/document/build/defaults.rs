//! `_info.defaults` of kinds that the files have no entities of. Where there are entities, the checks of those cover
//! the defaults too.

use super::super::Documents;
use super::check::{code, default};
use super::collect::{Collected, Located};
use super::layers::{Layers, field_at, hide, place};
use crate::diagnostics::{Diagnostic, Place, SourceMap};
use crate::schema::{self, Field, Kind, Schemas, Type, Violation, ViolationKind};
use crate::value::{Origin, Path, Value};
use std::cell::RefCell;
use std::collections::HashSet;

/// Checks what no entity uses.
pub(super) fn check(
    documents: &Documents,
    schemas: &Schemas,
    collected: &Collected<'_>,
    problems: &mut Vec<Diagnostic>,
    sources: &mut SourceMap,
) {
    let used: HashSet<&str> = collected.drafts.iter().map(|draft| &*draft.kind.report.word).collect();
    for (word, all) in collected.defaults.iter().filter(|(word, _)| !used.contains(*word)) {
        let Some(kind) = schemas.kinds().iter().find(|kind| &*kind.report.word == *word) else { continue };
        for at in all {
            one(documents, schemas, kind, *at, problems, sources);
        }
    }
}

fn one(
    documents: &Documents,
    schemas: &Schemas,
    kind: &Kind,
    at: Located<'_>,
    problems: &mut Vec<Diagnostic>,
    sources: &mut SourceMap,
) {
    let Some(document) = documents.documents.get(at.document) else { return };
    // Of what a variable that is not set supplies nothing can be said.
    let mut body = at.node.to_value(&mut |template, _| {
        let expanded = template.expand(false, &documents.options, &document.text, problems);
        if expanded.known { expanded.value } else { Value::Null }
    });
    for field in kind.record.fields.iter().filter(|field| matches!(field.ty, Type::Foreign { .. })) {
        body.remove(&field.name);
    }
    let layers = Layers { own: at, config: None, defaults: &[] };
    let variant = schemas.variant_of(kind, &body);
    let hidden: RefCell<Vec<Place>> = RefCell::default();
    let origin = |path: &Path| {
        let found = layers.find_written(path, &kind.record, variant);
        hide(documents, found.at, &mut hidden.borrow_mut());
        Origin::Variables(Vec::new())
    };
    schema::conceal(schemas, kind, &mut body.clone(), &origin);
    let mut hidden = hidden.into_inner();
    if kind.subschema.is_some() && variant.is_none() {
        // Nobody knows what of it is secret.
        let of_any_shape = |field: &&Field| matches!(field.ty, Type::Abstract);
        for node in kind.record.fields.iter().filter(of_any_shape).filter_map(|f| at.node.get(&f.name)) {
            hide(documents, Located { node, ..at }, &mut hidden);
        }
    }
    let mut faults = schema::expand_shorthands(schemas, kind, &mut body);
    if faults.is_empty() {
        faults = schema::check(schemas, kind, &body);
    }
    for fault in faults.iter().filter(|fault| concerns_one_value(fault)) {
        let found = layers.find_written(&fault.path, &kind.record, variant);
        // What is missing may stand in the entities.
        if found.depth < fault.path.steps().len() {
            continue;
        }
        let unknown = fault.kind == ViolationKind::UnknownField;
        if unknown {
            hide(documents, found.at, &mut hidden);
        }
        let span = found.key.filter(|_| unknown).unwrap_or_else(|| found.at.node.head());
        let word = &kind.report.word;
        let message = format!("defaults of {word}: {}: {}", fault.path, fault.message);
        let mut problem = Diagnostic::error(code(fault.kind), message)
            .at(place(documents, found.at.document, span))
            .path(format!("_info.defaults.{word}.{}", fault.path));
        problem.help = fault.help.iter().cloned().collect();
        problem.help.extend(default(field_at(&kind.record, variant, &fault.path), fault));
        problems.push(problem);
    }
    hidden.iter().for_each(|place| sources.conceal(place));
}

/// Whether a fault says something of a value and nothing of what else there is.
fn concerns_one_value(fault: &Violation) -> bool {
    let kinds = [ViolationKind::UnknownField, ViolationKind::WrongType, ViolationKind::InvalidValue];
    !fault.path.is_root() && kinds.contains(&fault.kind)
}
