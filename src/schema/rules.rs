//! Rules over several fields of a record (`entity_checks`).

use super::check::{Mode, REQUIRED, check_field, is_vault_reference};
use super::checks;
use super::faults::{Fault, Members};
use super::types::{EntityCheck, Field, Type, ViolationKind};
use super::view::View;
use crate::value::{Map, Path, Step, Value};

/// What a rule finds at a path.
#[derive(Clone, Copy)]
enum Found<'a> {
    /// Nothing: the way there ends, or a required field has no value.
    Missing,
    /// A value; null for optional fields without one.
    Value(&'a Value),
}

impl<'a> Found<'a> {
    fn value(self) -> Option<&'a Value> {
        match self {
            Found::Missing => None,
            Found::Value(value) => Some(value),
        }
    }

    /// Kong's "non-empty": neither null nor an empty text, list or object.
    fn has_value(self) -> bool {
        self.value().is_some_and(|value| match value.exposed() {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        })
    }
}

struct Subject<'a> {
    view: View<'a>,
    members: &'a Map,
}

static NULL: Value = Value::Null;

impl<'a> Subject<'a> {
    fn find(&self, path: &Path) -> Found<'a> {
        let mut view = self.view;
        let mut members = self.members;
        let mut steps = path.steps().iter().peekable();
        while let Some(Step::Key(key)) = steps.next() {
            let field = view.field(key);
            let value = match members.get(&**key) {
                Some(value) => value,
                None if field.is_some_and(|field| !field.required) => &NULL,
                None => return Found::Missing,
            };
            if steps.peek().is_none() {
                return Found::Value(value);
            }
            let Some(inner) = value.as_object() else { return Found::Missing };
            members = inner;
            view = match field.map(|field| &field.ty) {
                Some(Type::Record(record)) => View::plain(record),
                _ => return inner_value(inner, &mut steps),
            };
        }
        Found::Missing
    }

    fn field(&self, path: &Path) -> Option<&'a Field> {
        let mut view = self.view;
        let mut steps = path.steps().iter().peekable();
        while let Some(Step::Key(key)) = steps.next() {
            let field = view.field(key)?;
            if steps.peek().is_none() {
                return Some(field);
            }
            match &field.ty {
                Type::Record(record) => view = View::plain(record),
                _ => return None,
            }
        }
        None
    }

    fn has_value(&self, path: &Path) -> bool {
        self.find(path).has_value()
    }
}

/// A member of something that is no record.
fn inner_value<'a>(
    mut members: &'a Map,
    steps: &mut std::iter::Peekable<std::slice::Iter<'_, Step>>,
) -> Found<'a> {
    while let Some(Step::Key(key)) = steps.next() {
        let Some(value) = members.get(&**key) else { return Found::Missing };
        if steps.peek().is_none() {
            return Found::Value(value);
        }
        match value.as_object() {
            Some(inner) => members = inner,
            None => return Found::Missing,
        }
    }
    Found::Missing
}

/// `'a', 'b'`
fn quoted(paths: &[Path]) -> String {
    paths.iter().map(|path| format!("'{path}'")).collect::<Vec<_>>().join(", ")
}

/// Runs the rules of a record and of its variant.
pub(super) fn check_rules(view: View<'_>, members: &Map, mode: Mode, faults: &mut Members) {
    let subject = Subject { view, members };
    let variant = view.variant.map(|variant| &variant.entity_checks);
    for rule in view.base.entity_checks.iter().chain(variant.into_iter().flatten()) {
        check_rule(&subject, rule, mode, faults);
    }
}

/// Which fields a rule reads, those of them that must be there, and whether it runs when some are missing or faulty.
struct Reads<'a> {
    fields: Vec<&'a Path>,
    needed: Vec<&'a Path>,
    with_missing: bool,
    with_invalid: bool,
}

fn reads(rule: &EntityCheck) -> Reads<'_> {
    match rule {
        EntityCheck::AtLeastOneOf(paths) => Reads {
            fields: paths.iter().collect(),
            needed: Vec::new(),
            with_missing: true,
            with_invalid: true,
        },
        EntityCheck::OnlyOneOf(paths) | EntityCheck::Distinct(paths) => Reads {
            fields: paths.iter().collect(),
            needed: paths.iter().collect(),
            with_missing: false,
            with_invalid: true,
        },
        EntityCheck::MutuallyRequired(paths) | EntityCheck::MutuallyExclusive(paths) => Reads {
            fields: paths.iter().collect(),
            needed: Vec::new(),
            with_missing: true,
            with_invalid: false,
        },
        EntityCheck::MutuallyExclusiveSets(a, b) => Reads {
            fields: a.iter().chain(b).collect(),
            needed: Vec::new(),
            with_missing: true,
            with_invalid: false,
        },
        EntityCheck::Conditional { if_field, then_field, .. } => Reads {
            fields: vec![if_field, then_field],
            needed: vec![if_field],
            with_missing: false,
            with_invalid: true,
        },
        EntityCheck::ConditionalAtLeastOneOf {
            if_field,
            then_at_least_one_of,
            else_then_at_least_one_of,
            ..
        } => Reads {
            fields: std::iter::once(if_field)
                .chain(then_at_least_one_of)
                .chain(else_then_at_least_one_of)
                .collect(),
            needed: Vec::new(),
            with_missing: true,
            with_invalid: true,
        },
        EntityCheck::Named { fields, with_missing_fields, with_invalid_fields, .. } => Reads {
            fields: fields.iter().collect(),
            needed: fields.iter().collect(),
            with_missing: *with_missing_fields,
            with_invalid: *with_invalid_fields,
        },
    }
}

fn check_rule(subject: &Subject<'_>, rule: &EntityCheck, mode: Mode, faults: &mut Members) {
    let reads = reads(rule);
    if reads.fields.iter().any(|path| subject.view.is_supplied(path)) {
        return;
    }
    let mut all_missing = true;
    let mut faulty = false;
    let mut missing = Vec::new();
    for path in &reads.fields {
        match subject.find(path) {
            Found::Missing => {
                if !reads.with_missing && reads.needed.contains(path) {
                    missing.push(*path);
                }
            }
            Found::Value(value) => {
                all_missing = false;
                // What a vault will give is not known here.
                if is_vault_reference(value) && subject.field(path).is_some_and(|field| field.referenceable) {
                    return;
                }
            }
        }
        if let [Step::Key(name)] = path.steps() {
            faulty |= faults.has(name);
        }
    }
    if faulty && !reads.with_invalid {
        return;
    }
    if all_missing && !(reads.with_missing && mode == Mode::Insert) {
        return;
    }
    if !missing.is_empty() {
        for path in missing {
            let words = match mode {
                Mode::Insert => "field required for entity check",
                Mode::Update => "field required for entity check when updating",
            };
            faults.set_at(path, Fault::new(ViolationKind::MissingField, words));
        }
        return;
    }
    if let Err(message) = run(subject, rule, mode, faults) {
        faults.rule(message);
    }
}

fn run(subject: &Subject<'_>, rule: &EntityCheck, mode: Mode, faults: &mut Members) -> Result<(), String> {
    let when = match mode {
        Mode::Insert => "",
        Mode::Update => "when updating, ",
    };
    let at_least_one = |paths: &[Path], words: Option<&str>| {
        if paths.iter().any(|path| subject.has_value(path)) {
            return Ok(());
        }
        Err(match words {
            Some(words) => words.replacen("%s", &quoted(paths), 1),
            None => format!("{when}at least one of these fields must be non-empty: {}", quoted(paths)),
        })
    };
    let count = |paths: &[Path]| paths.iter().filter(|path| subject.has_value(path)).count();
    match rule {
        EntityCheck::AtLeastOneOf(paths) => at_least_one(paths, None),
        EntityCheck::OnlyOneOf(paths) => match count(paths) {
            1 => Ok(()),
            _ => Err(format!("exactly one of these fields must be non-empty: {}", quoted(paths))),
        },
        EntityCheck::MutuallyRequired(paths) => match count(paths) {
            n if n == 0 || n == paths.len() => Ok(()),
            _ => Err(format!("all or none of these fields must be set: {}", quoted(paths))),
        },
        EntityCheck::MutuallyExclusive(paths) => match count(paths) {
            0 | 1 => Ok(()),
            _ => Err(format!("only one or none of these fields must be set: {}", quoted(paths))),
        },
        EntityCheck::MutuallyExclusiveSets(a, b) => {
            let used = |paths: &[Path]| -> Vec<Path> {
                paths.iter().filter(|path| subject.has_value(path)).cloned().collect()
            };
            let (a, b) = (used(a), used(b));
            if a.is_empty() || b.is_empty() {
                return Ok(());
            }
            Err(format!("these sets are mutually exclusive: ({}), ({})", quoted(&a), quoted(&b)))
        }
        EntityCheck::Distinct(paths) => {
            let values: Vec<&Value> = paths
                .iter()
                .map(|path| subject.find(path))
                .filter(|found| found.has_value())
                .filter_map(Found::value)
                .collect();
            let repeated =
                values.iter().enumerate().any(|(n, value)| values.iter().take(n).any(|other| other == value));
            if repeated {
                return Err(format!("values of these fields must be distinct: {}", quoted(paths)));
            }
            Ok(())
        }
        EntityCheck::Conditional { if_field, if_match, then_field, then_match, then_err } => {
            let if_value = subject.find(if_field).value().unwrap_or(&NULL);
            if check_field(if_match, if_value).is_err() {
                return Ok(());
            }
            let then_value = subject.find(then_field).value().unwrap_or(&NULL);
            let fault = if then_match.required && then_value.is_null() {
                Fault::new(ViolationKind::MissingField, REQUIRED)
            } else {
                match check_field(then_match, then_value) {
                    Ok(()) => return Ok(()),
                    Err(fault) => fault,
                }
            };
            let missing = then_value.is_null();
            faults.set_at(then_field, fault);
            Err(match then_err {
                Some(words) if !(then_match.required && missing) => {
                    words.replacen("%s", &if_field.to_string(), 1)
                }
                _ => format!("failed conditional validation given value of field '{if_field}'"),
            })
        }
        EntityCheck::ConditionalAtLeastOneOf {
            if_field,
            if_match,
            then_at_least_one_of,
            then_err,
            else_match,
            else_then_at_least_one_of,
            else_then_err,
        } => {
            let Found::Value(if_value) = subject.find(if_field) else { return Ok(()) };
            if check_field(if_match, if_value).is_ok() {
                return at_least_one(then_at_least_one_of, then_err.as_deref());
            }
            match else_match {
                Some(else_match) if check_field(else_match, if_value).is_ok() => {
                    at_least_one(else_then_at_least_one_of, else_then_err.as_deref())
                }
                _ => Ok(()),
            }
        }
        EntityCheck::Named { name, .. } => checks::run_rule(name, subject.members),
    }
}
