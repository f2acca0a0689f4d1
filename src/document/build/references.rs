//! References: names and ids as they are written become indices of other entities, in one pass.

use super::super::Documents;
use super::Made;
use super::body::Pending;
use super::collect::{Collected, Draft};
use super::layers::{Layers, place};
use crate::diagnostics::{Diagnostic, codes, nearest};
use crate::model::{Reference, Target};
use crate::schema::{Field, Kind, Schemas, Type, Variants};
use crate::value::{Origin, Path, Secret, Value};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// How a reference to a secret of a vault begins.
const VAULT: &str = "{vault://";

/// The entities of the files by what they are called.
struct Names {
    ids: HashMap<(Arc<str>, Uuid), usize>,
    /// By kind and field, the entities by that field's value.
    names: HashMap<(Arc<str>, Box<str>), ByValue>,
}

type ByValue = HashMap<Box<str>, usize>;

/// The fields whose value names an entity of a kind.
pub(super) fn naming_fields(kind: &Kind) -> Vec<&str> {
    let mut fields: Vec<&str> = kind.endpoint_key.iter().map(|key| &**key).collect();
    for key in &kind.identity {
        if let [one] = key.as_slice()
            && one.as_ref() != "id"
            && !fields.contains(&&**one)
        {
            fields.push(one);
        }
    }
    fields
}

impl Names {
    fn of(made: &[Made]) -> Self {
        let mut names = Names { ids: HashMap::new(), names: HashMap::new() };
        let mut kinds: HashMap<Box<str>, Arc<str>> = HashMap::new();
        for (index, Made { entity, .. }) in made.iter().enumerate() {
            let kind =
                kinds.entry(entity.kind.name.clone()).or_insert_with(|| (&*entity.kind.name).into()).clone();
            if let Some(id) = entity.id {
                names.ids.entry((kind.clone(), id)).or_insert(index);
            }
            for field in naming_fields(&entity.kind) {
                if let Some(name) = entity.body.get(field).and_then(Value::exposed_str) {
                    let all = names.names.entry((kind.clone(), field.into())).or_default();
                    all.entry(name.into()).or_insert(index);
                }
            }
        }
        names
    }

    fn named(&self, kind: &Arc<str>, field: &str, name: &str) -> Option<usize> {
        self.names.get(&(kind.clone(), field.into()))?.get(name).copied()
    }

    fn find(&self, kind: &Kind, reference: &Pending) -> Option<usize> {
        let text = reference.value.exposed_str()?;
        let name: Arc<str> = (&*kind.name).into();
        let by_id = || self.ids.get(&(name.clone(), Uuid::try_parse(text).ok()?)).copied();
        match reference.by.as_deref() {
            Some("id") => by_id(),
            Some(field) => self.named(&name, field, text),
            None => {
                by_id().or_else(|| naming_fields(kind).into_iter().find_map(|f| self.named(&name, f, text)))
            }
        }
    }

    fn near(&self, kind: &Kind, text: &str) -> Option<&str> {
        let name: Arc<str> = (&*kind.name).into();
        let all = naming_fields(kind).into_iter().filter_map(|f| self.names.get(&(name.clone(), f.into())));
        nearest(text, all.flat_map(HashMap::keys).map(|key| &**key))
    }
}

/// Resolves every reference, and reports those that lead nowhere.
pub(super) fn resolve(
    documents: &Documents,
    schemas: &Schemas,
    collected: &Collected<'_>,
    made: &mut [Made],
    problems: &mut Vec<Diagnostic>,
) {
    let names = Names::of(made);
    let mut resolver = Resolver { documents, schemas, collected, names, problems };
    for (draft, made) in collected.drafts.iter().zip(made.iter_mut()) {
        resolver.entity(draft, made);
    }
    resolver.links(made);
    resolver.vaults(made);
}

/// What a reference that leads nowhere is: a problem made of its message.
type Sort = fn(String) -> Diagnostic;

fn dangling(message: String) -> Diagnostic {
    Diagnostic::error(codes::DANGLING, message)
}

fn unknown_vault(message: String) -> Diagnostic {
    Diagnostic::warning(codes::UNKNOWN_VAULT, message)
}

struct Resolver<'r, 'a> {
    documents: &'r Documents,
    schemas: &'r Schemas,
    collected: &'r Collected<'a>,
    names: Names,
    problems: &'r mut Vec<Diagnostic>,
}

impl Resolver<'_, '_> {
    fn entity(&mut self, draft: &Draft<'_>, made: &mut Made) {
        if let Some((index, field)) = &draft.parent
            && let Some(parent) = self.collected.drafts.get(*index)
        {
            let kind: Arc<str> = (&*parent.kind.name).into();
            let reference = Reference { kind, target: Target::Entity(*index), place: None };
            // Room for one: most entities reference no more than their parent.
            made.entity.references = [(field.clone(), reference)].into_iter().collect();
        }
        for pending in std::mem::take(&mut made.pending) {
            let foreign = made.entity.kind.record.foreign().find(|(field, _)| *field.name == *pending.field);
            let Some(kind) = foreign.and_then(|(_, name)| self.schemas.kind(name)).cloned() else { continue };
            let target = self.target(draft, &kind, &pending);
            let nested = draft.parent.as_ref().filter(|(_, field)| *field == pending.field);
            if let Some((parent, _)) = nested {
                if target != Target::Entity(*parent) && pending.known {
                    let word = &kind.report.word;
                    let message = format!("this stands inside one {word} and refers to another");
                    self.report(
                        draft,
                        &pending,
                        Diagnostic::error(codes::FIELD_RULE, message).help(format!(
                            "remove `{}`, or move the entity out of the {word}",
                            pending.field
                        )),
                    );
                }
                continue;
            }
            let at = place(self.documents, draft.document, pending.span);
            let reference = Reference { kind: (&*kind.name).into(), target, place: at };
            made.entity.references.insert(pending.field, reference);
        }
    }

    fn report(&mut self, draft: &Draft<'_>, pending: &Pending, problem: Diagnostic) {
        let path = match &draft.item {
            Some(_) => self.collected.path(draft),
            None => format!("{}.{}", self.collected.path(draft), pending.field),
        };
        self.problems.push(problem.at(place(self.documents, draft.document, pending.span)).path(path));
    }

    fn target(&mut self, draft: &Draft<'_>, kind: &Kind, pending: &Pending) -> Target {
        if let Some(index) = self.names.find(kind, pending) {
            return Target::Entity(index);
        }
        let text = pending.value.exposed_str();
        let id = text
            .and_then(|text| Uuid::try_parse(text).ok())
            .filter(|_| matches!(pending.by.as_deref(), None | Some("id")));
        if pending.known && !self.may_be_outside(kind, id.is_some()) {
            self.dangling(draft, kind, pending, dangling);
        }
        id.map_or_else(|| Target::Name(pending.value.clone()), Target::Id)
    }

    /// Whether only the gateway can say if an entity that the files do not hold exists.
    fn may_be_outside(&self, kind: &Kind, by_id: bool) -> bool {
        let settings = &self.documents.settings;
        self.documents.options.partial
            || self.documents.incomplete
            || settings.lookup_tags.contains_key(&kind.file.key)
            || (by_id && !settings.scopes.is_empty())
    }

    fn dangling(&mut self, draft: &Draft<'_>, kind: &Kind, pending: &Pending, problem: Sort) {
        let word = &kind.report.word;
        let message = match (&pending.value, pending.by.as_deref()) {
            (Value::String(name), None | Some("id")) => format!("there is no {word} `{}`", clip(name)),
            (Value::String(name), Some(by)) => format!("there is no {word} whose {by} is `{}`", clip(name)),
            (Value::Secret(_), _) => format!("there is no {word} of this name"),
            (other, _) => format!("a reference is a name or an id, not {}", other.type_name()),
        };
        let near = pending.value.as_str().and_then(|text| self.names.near(kind, text));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.documents.settings.scopes.is_empty() => {
                format!("add it under `{}`, or correct the reference", kind.file.key)
            }
            None => format!(
                "add it under `{key}`, or say under `_info.default_lookup_tags.{key}` which tags it has on the gateway",
                key = kind.file.key
            ),
        };
        self.report(draft, pending, problem(message).help(help));
    }

    /// Reports names and ids in lists (`partials: [{name}]`, `ca_certificates: [id]`) that lead nowhere.
    fn links(&mut self, made: &[Made]) {
        for (draft, made) in self.collected.drafts.iter().zip(made) {
            for field in &draft.kind.record.fields {
                let items = made.entity.body.get(&field.name).and_then(Value::as_array).unwrap_or_default();
                for (index, item) in items.iter().enumerate() {
                    let path = Path::root().key(&field.name).index(index);
                    self.link(draft, made, field, item, path);
                }
            }
        }
    }

    fn link(&mut self, draft: &Draft<'_>, made: &Made, list: &Field, item: &Value, path: Path) {
        let naming = list.item_naming().or(match &list.ty {
            // Runs that leave these entities alone (`--skip-ca-certificates`) have them on the gateway only.
            Type::Array(element) | Type::Set(element) if self.documents.options.lint => Some(&**element),
            _ => None,
        });
        let name = naming.and_then(|naming| naming.names.as_ref());
        let Some(kind) = name.and_then(|name| self.schemas.kind(name)).cloned() else { return };
        let (by, value) = match item {
            Value::Object(_) => {
                let said = |key: &'static str| {
                    item.get(key).filter(|value| !value.is_null()).map(|value| (key, value))
                };
                let Some((key, value)) = said("id").or_else(|| said("name")) else {
                    let message = format!("this names no {}", kind.report.word);
                    let span = Layers::of(self.collected, draft).find(&path).at.node.head();
                    let problem = Diagnostic::error(codes::MISSING_FIELD, message)
                        .at(place(self.documents, draft.document, span))
                        .path(format!("{}.{path}", self.collected.path(draft)));
                    self.problems.push(problem.help("give its `name` or its `id`"));
                    return;
                };
                (Some(key), value)
            }
            value => (Some("id"), value),
        };
        let path = by.filter(|_| matches!(item, Value::Object(_))).map_or(path.clone(), |key| path.key(key));
        self.lead((draft, made), &kind, by, value.clone(), &path, dangling);
    }

    /// Reports what a value inside a body names, unless it exists or only the gateway can say.
    fn lead(
        &mut self,
        (draft, made): (&Draft<'_>, &Made),
        kind: &Kind,
        by: Option<&str>,
        value: Value,
        path: &Path,
        problem: Sort,
    ) {
        let known = !made.unknown.iter().any(|unknown| path.steps().starts_with(unknown.steps()));
        let is_id = value.exposed_str().is_some_and(|text| Uuid::try_parse(text).is_ok());
        let pending = Pending {
            field: path.to_string().into(),
            by: by.map(Into::into),
            value,
            span: Layers::of(self.collected, draft).find(path).at.node.span,
            known,
        };
        let wrong = pending.value.exposed_str().is_none() || (by == Some("id") && !is_id);
        // What is no name or id is reported by its check.
        if known && !wrong && self.names.find(kind, &pending).is_none() && !self.may_be_outside(kind, is_id) {
            self.dangling(draft, kind, &pending, problem);
        }
    }

    /// Reports references `{vault://prefix/...}` to vaults that do not exist.
    fn vaults(&mut self, made: &[Made]) {
        let is_vault = |kind: &&Arc<Kind>| matches!(&kind.subschema, Some(subschema) if matches!(subschema.variants, Variants::Vaults));
        let Some(kind) = self.schemas.kinds().iter().find(is_vault).cloned() else { return };
        if self.may_be_outside(&kind, !self.documents.settings.scopes.is_empty()) {
            return;
        }
        let backends = self.schemas.vault_names();
        for (draft, made) in self.collected.drafts.iter().zip(made) {
            let mut found = Vec::new();
            vault_references(&made.entity.body, &Path::root(), &mut found);
            for (path, prefix) in found {
                if prefix.exposed_str().is_none_or(|prefix| !backends.contains(&prefix)) {
                    // A gateway may have vaults of its own, and takes any reference.
                    self.lead((draft, made), &kind, None, prefix, &path, unknown_vault);
                }
            }
        }
    }
}

/// Lists the prefixes of the vault references in a value.
fn vault_references(value: &Value, at: &Path, found: &mut Vec<(Path, Value)>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                vault_references(item, &at.index(index), found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                vault_references(member, &at.key(key), found);
            }
        }
        scalar => {
            let text = scalar.exposed_str().and_then(|text| text.strip_prefix(VAULT));
            if let Some(inner) = text.and_then(|text| text.strip_suffix('}')) {
                let prefix = inner.split('/').next().unwrap_or_default();
                // A prefix that comes from a variable is as little shown as the variable.
                let prefix = match scalar {
                    Value::Secret(secret) if !matches!(secret.origin(), Origin::Literal(_)) => {
                        Value::Secret(Secret::text(prefix, secret.origin().clone()))
                    }
                    _ => Value::from(prefix),
                };
                found.push((at.clone(), prefix));
            }
        }
    }
}

/// At most so much of a name as a message can hold.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
