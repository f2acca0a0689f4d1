//! Entities that repeat each other, or a value that no two may share, within the files.

use super::super::Documents;
use super::Made;
use super::collect::Collected;
use super::layers::{Layers, place};
use crate::diagnostics::{Diagnostic, codes};
use crate::model::Target;
use crate::schema::Kind;
use crate::value::{Exposed, Path, Value};
use std::collections::{BTreeMap, HashMap};

/// Reports repeats. Gives the entities that say the very same as another and are dropped without a word, with the
/// index of the other: memberships may be written at both of their ends.
pub(super) fn check(
    documents: &Documents,
    collected: &Collected<'_>,
    made: &[Made],
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<usize, usize> {
    let mut checker = Checker { documents, collected, made, problems, seen: HashMap::new() };
    let mut repeated = BTreeMap::new();
    for (index, one) in made.iter().enumerate() {
        let kind = &one.entity.kind;
        if let Some(id) = one.entity.id {
            let id = id.to_string();
            if let Some(first) = checker.first(kind, "id", id, index) {
                checker.report(first, index, &["id".into()], true);
                continue;
            }
        }
        if let Some(first) = checker.identity(kind, index, &mut repeated) {
            checker.report(first.0, index, first.1, true);
            continue;
        }
        checker.unique(kind, index);
    }
    repeated
}

struct Checker<'c, 'a> {
    documents: &'c Documents,
    collected: &'c Collected<'a>,
    made: &'c [Made],
    problems: &'c mut Vec<Diagnostic>,
    /// The first entity with a value, by kind, fields and values.
    seen: HashMap<(Box<str>, String), usize>,
}

impl<'c> Checker<'c, '_> {
    /// The entity that had these values first; otherwise this one is it.
    fn first(&mut self, kind: &Kind, fields: &str, value: String, index: usize) -> Option<usize> {
        let key = (kind.name.clone(), format!("{fields}\n{value}"));
        match self.seen.entry(key) {
            std::collections::hash_map::Entry::Occupied(first) => Some(*first.get()),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(index);
                None
            }
        }
    }

    fn identity(
        &mut self,
        kind: &'c Kind,
        index: usize,
        repeated: &mut BTreeMap<usize, usize>,
    ) -> Option<(usize, &'c [Box<str>])> {
        for key in &kind.identity {
            if key.len() == 1 && key.iter().any(|field| &**field == "id") {
                continue;
            }
            let Some(value) = self.value(index, key) else { continue };
            let Some(first) = self.first(kind, &key.join(","), value, index) else { continue };
            if !kind.file.also.is_empty() {
                repeated.insert(index, first);
                return None;
            }
            return Some((first, key));
        }
        None
    }

    fn unique(&mut self, kind: &'c Kind, index: usize) {
        let fields = kind.record.fields.iter().filter(|field| field.unique);
        let single = fields.map(|field| vec![field.name.clone()]);
        let sets: Vec<Vec<Box<str>>> = single.chain(kind.unique_together.iter().cloned()).collect();
        for key in sets {
            if kind.identity.contains(&key) {
                continue;
            }
            let Some(value) = self.value(index, &key) else { continue };
            if let Some(first) = self.first(kind, &key.join(","), value, index) {
                self.report(first, index, &key, false);
            }
        }
    }

    /// The values of the fields as one text. `None` when there is nothing to compare: a single field without a
    /// value, or a value that is not known.
    fn value(&self, index: usize, key: &[Box<str>]) -> Option<String> {
        let one = self.made.get(index)?;
        let mut values = Vec::with_capacity(key.len());
        for field in key {
            let shown = match one.entity.references.get(field) {
                Some(reference) => match &reference.target {
                    Target::Entity(index) => format!("#{index}"),
                    Target::Id(id) => id.to_string(),
                    Target::Name(name) => format!("={}", name.exposed_str()?),
                },
                None => match one.entity.body.get(field).filter(|value| !value.is_null()) {
                    Some(value) => serde_json::to_string(&Exposed(value)).ok()?,
                    None if key.len() == 1 => return None,
                    None => String::new(),
                },
            };
            values.push(shown);
        }
        let unknown = |path: &Path| {
            path.steps()
                .first()
                .is_some_and(|first| key.iter().any(|field| *first == crate::value::Step::Key(field.clone())))
        };
        if one.unknown.iter().any(unknown) || values.iter().all(String::is_empty) {
            return None;
        }
        Some(values.join("\n"))
    }

    fn report(&mut self, first: usize, second: usize, key: &[Box<str>], identity: bool) {
        let (Some(draft), Some(made)) = (self.collected.drafts.get(second), self.made.get(second)) else {
            return;
        };
        let Some(earlier) = self.collected.drafts.get(first) else { return };
        let kind = &made.entity.kind;
        let word = &kind.report.word;
        let find = |draft| {
            let layers = Layers::of(self.collected, draft);
            let field =
                key.iter().map(|field| Path::root().key(field)).find(|path| layers.find(path).depth == 1);
            let node = field.map_or(draft.node, |path| layers.find(&path).at.node);
            place(self.documents, draft.document, node.head())
        };
        let (at, earlier_at) = (find(draft), find(earlier));
        let value = match key {
            [one] if &**one == "id" => made.entity.id.map(|id| id.to_string()),
            [one] => made.entity.body.get(one).and_then(Value::as_str).map(super::references::clip),
            _ => None,
        };
        let label = made.entity.label().filter(|label| !label.is_empty()).map(super::references::clip);
        let message = match (identity, key, value) {
            (true, [_], Some(value)) => format!("the {word} `{value}` stands twice in the files"),
            (true, _, _) => match label {
                Some(label) => {
                    format!("the {word} `{label}` stands twice in the files with the same {}", key.join(", "))
                }
                None => format!("a {word} stands twice in the files with the same {}", key.join(", ")),
            },
            (false, _, Some(value)) => format!("two of the {word}s have the {} `{value}`", key.join(", ")),
            (false, _, None) => format!("two of the {word}s have the same {}", key.join(", ")),
        };
        let code = if identity { codes::DUPLICATE_ENTITY } else { codes::DUPLICATE_UNIQUE };
        let mut problem =
            Diagnostic::error(code, message).at(at).path(self.collected.path(draft)).label("given again");
        if let Some(earlier) = earlier_at {
            problem =
                problem.help(format!("the first one stands at {earlier}; remove or rename one of the two"));
        }
        self.problems.push(problem);
    }
}
