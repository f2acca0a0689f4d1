//! Every body against its schema, the faults mapped back to places in the files.

use super::super::Documents;
use super::super::{Data, Node};
use super::Made;
use super::collect::{Collected, Draft};
use super::layers::{Layers, field_at, hide, place};
use super::references::clip;
use crate::diagnostics::{Code, Diagnostic, Place, SourceMap, codes};
use crate::model::Target;
use crate::schema::{self, Check, Field, Kind, Schemas, Type, Violation, ViolationKind};
use crate::value::{Path, Value};

/// Stands in for the id of an entity that has none yet.
const NO_ID_YET: &str = "00000000-0000-4000-8000-000000000000";

/// What one thread finds.
#[derive(Default)]
struct Findings {
    problems: Vec<Diagnostic>,
    /// Stretches of the files that are not to be shown.
    concealed: Vec<Place>,
}

/// Checks every entity, on as many threads as there are processors.
pub(super) fn check(
    documents: &Documents,
    schemas: &Schemas,
    collected: &Collected<'_>,
    made: &[Made],
    problems: &mut Vec<Diagnostic>,
    sources: &mut SourceMap,
) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8);
    let share = made.len().div_ceil(threads).max(256);
    let checker = Checker { documents, schemas, collected, made };
    let findings: Vec<Findings> = std::thread::scope(|scope| {
        let checker = &checker;
        let running: Vec<_> = (0..made.len())
            .step_by(share)
            .map(|from| scope.spawn(move || checker.range(from, from + share)))
            .collect();
        // A thread that panics would be a fault of this program; its panic goes on here.
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    for mut found in findings {
        problems.append(&mut found.problems);
        found.concealed.iter().for_each(|place| sources.conceal(place));
    }
}

struct Checker<'c, 'a> {
    documents: &'c Documents,
    schemas: &'c Schemas,
    collected: &'c Collected<'a>,
    made: &'c [Made],
}

impl Checker<'_, '_> {
    fn range(&self, from: usize, to: usize) -> Findings {
        let mut findings = Findings::default();
        let entities = self.collected.drafts.iter().zip(self.made).take(to).skip(from);
        for (draft, made) in entities {
            self.entity(draft, made, &mut findings);
        }
        findings
    }

    fn entity(&self, draft: &Draft<'_>, made: &Made, findings: &mut Findings) {
        let kind = &*made.entity.kind;
        if !made.faults.is_empty() {
            for fault in &made.faults {
                self.violation(draft, made, fault, findings);
            }
            return;
        }
        let mut body = made.entity.body.clone();
        for (field, reference) in &made.entity.references {
            let id = match reference.target {
                Target::Entity(index) => self.made.get(index).and_then(|other| other.entity.id),
                Target::Id(id) => Some(id),
                Target::Name(_) => None,
            };
            let id = id.map_or_else(|| NO_ID_YET.to_owned(), |id| id.to_string());
            let mut object = Value::object();
            object.set("id", Value::from(id));
            body.set(field, object);
        }
        schema::fill_defaults(self.schemas, kind, &mut body, false);
        for violation in schema::check(self.schemas, kind, &body) {
            if !concerns_unknown(made, &violation) {
                self.violation(draft, made, &violation, findings);
            }
        }
    }

    fn violation(&self, draft: &Draft<'_>, made: &Made, violation: &Violation, findings: &mut Findings) {
        let kind = &*made.entity.kind;
        let layers = Layers::of(self.collected, draft);
        let variant = self.schemas.variant_of(kind, &made.entity.body);
        let found = layers.find_written(&violation.path, &kind.record, variant);
        let written = found.depth == violation.path.steps().len();
        let span = match (violation.kind, found.key) {
            (ViolationKind::UnknownField, Some(key)) if written => key,
            _ => found.at.node.head(),
        };
        if violation.kind == ViolationKind::UnknownField && written {
            // It may be a misspelt credential.
            hide(self.documents, found.at, &mut findings.concealed);
        }
        let field = field_at(&kind.record, variant, &violation.path);
        if field.is_some_and(|field| may_hold_a_key(kind, field)) {
            hide(self.documents, found.at, &mut findings.concealed);
        }
        let path = match violation.path.is_root() {
            true => self.collected.path(draft),
            false => format!("{}.{}", self.collected.path(draft), violation.path),
        };
        let mut problem = Diagnostic::error(code(violation.kind), message(made, kind, violation))
            .at(place(self.documents, found.at.document, span))
            .path(path);
        let help = violation.help.clone();
        for line in help
            .into_iter()
            .chain(self.quoting(found.at.node, field, violation))
            .chain(default(field, violation))
        {
            problem = problem.help(line);
        }
        findings.problems.push(problem);
    }

    /// For text that YAML took for a number or a boolean.
    fn quoting(&self, node: &Node, field: Option<&Field>, violation: &Violation) -> Option<String> {
        let wants_text = matches!(field, Some(Field { ty: Type::String, .. }));
        let is_scalar = matches!(node.data, Data::Number(_) | Data::Bool(_));
        (violation.kind == ViolationKind::WrongType && wants_text && is_scalar && node.plain)
            .then(|| "put the value in quotes".to_owned())
    }
}

/// Whether a text that is refused may be a secret in the wrong place: any text in a credential (a private key for the
/// public one) but a choice among words.
fn may_hold_a_key(kind: &Kind, field: &Field) -> bool {
    let is_choice = field.checks.iter().any(|check| matches!(check, Check::OneOf(_)));
    kind.record.fields.iter().any(|field| field.secret) && matches!(field.ty, Type::String) && !is_choice
}

/// Names the default of a field whose value is wrong.
pub(super) fn default(field: Option<&Field>, violation: &Violation) -> Option<String> {
    let wrong = matches!(violation.kind, ViolationKind::WrongType | ViolationKind::InvalidValue);
    let default = field.filter(|_| wrong)?.default.as_ref()?;
    match default {
        Value::Null | Value::Array(_) | Value::Object(_) | Value::Secret(_) => None,
        scalar => Some(format!("the default is {scalar}")),
    }
}

/// The code of a fault.
pub(super) fn code(kind: ViolationKind) -> Code {
    match kind {
        ViolationKind::WrongType => codes::WRONG_TYPE,
        ViolationKind::InvalidValue => codes::INVALID_VALUE,
        ViolationKind::UnknownField => codes::UNKNOWN_FIELD,
        ViolationKind::MissingField => codes::MISSING_FIELD,
        ViolationKind::Rule => codes::FIELD_RULE,
        ViolationKind::UnknownPlugin => codes::UNKNOWN_PLUGIN,
    }
}

/// `service shop: port: value should be between 0 and 65535`
fn message(made: &Made, kind: &Kind, violation: &Violation) -> String {
    let label = made.entity.label().filter(|label| !label.is_empty());
    let entity = match label {
        Some(label) => format!("{} {}", kind.report.word, clip(label)),
        None => kind.report.word.to_string(),
    };
    match violation.path.is_root() {
        true => format!("{entity}: {}", violation.message),
        false => format!("{entity}: {}: {}", violation.path, violation.message),
    }
}

/// Whether a fault is about a value that is not known, or about a record that holds one.
fn concerns_unknown(made: &Made, violation: &Violation) -> bool {
    let at = violation.path.steps();
    made.unknown.iter().any(|unknown: &Path| {
        let unknown = unknown.steps();
        at.starts_with(unknown) || (violation.kind == ViolationKind::Rule && unknown.starts_with(at))
    })
}
