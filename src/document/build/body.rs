//! Bodies: values with their variables expanded, shared settings and defaults merged in, secrets made secret.

use super::super::scalar::old_boolean;
use super::super::{Data, Documents, Node, Span, Template};
use super::Made;
use super::collect::{Collected, Draft};
use super::layers::{CONFIG, CONFIG_NAME, Layers, field, hide, inside, place};
use crate::diagnostics::{Diagnostic, Place, SourceMap, codes, nearest};
use crate::model::Entity;
use crate::schema::{self, Field, Record, Schemas, Type};
use crate::value::{Map, Origin, Path, Step, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What private keys in PEM form say of themselves.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// A reference as it is written.
pub(super) struct Pending {
    /// The foreign field.
    pub field: Box<str>,
    /// The field of the other entity that is given (`name`, `id`); `None` for a bare text.
    pub by: Option<Box<str>>,
    pub value: Value,
    pub span: Span,
    /// Whether the value says what is meant; not when a variable is not set.
    pub known: bool,
}

/// Makes the bodies of drafts.
pub(super) struct Bodies<'c, 'a> {
    documents: &'a Documents,
    schemas: &'a Schemas,
    collected: &'c Collected<'a>,
    used: BTreeSet<&'a str>,
    /// Stretches of the files that are not to be shown, whatever field they stand in.
    hidden: Vec<Place>,
    pub problems: Vec<Diagnostic>,
}

/// Values on their way from nodes into one body.
struct Filling<'f> {
    document: usize,
    at: Vec<Step>,
    unknown: &'f mut Vec<Path>,
}

impl<'c, 'a> Bodies<'c, 'a> {
    pub fn new(documents: &'a Documents, schemas: &'a Schemas, collected: &'c Collected<'a>) -> Self {
        Bodies {
            documents,
            schemas,
            collected,
            used: BTreeSet::new(),
            hidden: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Makes one entity. Its references are still as they are written.
    pub fn make(&mut self, draft: &Draft<'a>, sources: &mut SourceMap) -> Made {
        let layers = Layers::of(self.collected, draft);
        let entity = Entity {
            kind: draft.kind.clone(),
            id: None,
            body: Value::object(),
            references: Default::default(),
            place: place(self.documents, draft.document, draft.node.head()),
        };
        let mut made = Made { entity, pending: Vec::new(), unknown: Vec::new(), faults: Vec::new() };
        if let Some(item) = &draft.item {
            let reference = self.reference(draft, item, draft.node);
            made.pending.extend(reference);
            self.add_tags(draft, &mut made.entity.body);
            return made;
        }
        let kind = draft.kind.clone();
        let variant = self.variant(draft, &layers);
        let variant = variant.as_ref().and_then(|key| self.schemas.variant_of(&kind, key));
        if let Some(id) = draft.id {
            made.entity.id = self.id(draft, id);
        }
        let mut body = Map::with_capacity(draft.node.members().len());
        for member in draft.node.members() {
            let key = &*member.key;
            if key == "id" {
                made.entity.id = self.id(draft, &member.value);
                continue;
            }
            if self.collected.is_nested(&kind.name, key) || (key == CONFIG_NAME && takes_config(&kind.record))
            {
                continue;
            }
            // `config:` with nothing after it asks for the defaults.
            if key == CONFIG && matches!(member.value.data, Data::Null) && takes_config(&kind.record) {
                continue;
            }
            let known = field(&kind.record, variant, key);
            if let Some(Field { ty: Type::Foreign { .. }, .. }) = known {
                let reference = self.reference(draft, key, &member.value);
                made.pending.extend(reference);
                continue;
            }
            let mut filling = Filling {
                document: draft.document,
                at: vec![Step::Key(member.key.clone())],
                unknown: &mut made.unknown,
            };
            let value = self.value(&member.value, known, &mut filling);
            body.insert(member.key.clone(), value);
        }
        made.entity.body = Value::Object(body);
        self.merge_config(draft, &layers, variant, &mut made);
        let said = schema::said_beside(&kind, &made.entity.body);
        self.merge_defaults(draft, &layers, variant, &mut made);
        made.faults = schema::expand_shorthands(self.schemas, &kind, &mut made.entity.body);
        for (name, value) in said.iter().filter_map(Value::as_object).flatten() {
            if !value.is_null() {
                made.entity.body.set(name, value.clone());
            }
        }
        self.conceal(draft, &layers, variant, &mut made, sources);
        self.add_tags(draft, &mut made.entity.body);
        made
    }

    /// A body with nothing but the field that decides on the further schema.
    fn variant(&mut self, draft: &Draft<'a>, layers: &Layers<'c, 'a>) -> Option<Value> {
        let subschema = draft.kind.subschema.as_ref()?;
        let path = Path::root().key(&subschema.key);
        let found = layers.find(&path);
        let node = (found.depth == 1).then_some(found.at.node)?;
        // Problems of this value are reported where the body is made.
        let mut value = Value::object();
        let options = &self.documents.options;
        let text = &self.documents.documents.get(draft.document)?.text;
        let inner =
            node.to_value(&mut |template, _| template.expand(false, options, text, &mut Vec::new()).value);
        value.set(&subschema.key, inner);
        Some(value)
    }

    /// A node as a value, its field's schema in hand.
    fn value(&mut self, node: &Node, known: Option<&Field>, filling: &mut Filling<'_>) -> Value {
        match &node.data {
            Data::Null => Value::Null,
            Data::Bool(b) => Value::Bool(*b),
            Data::Number(n) => Value::Number(n.clone()),
            Data::Text(text) if text.contains(PRIVATE_KEY) => {
                self.hidden.extend(place(self.documents, filling.document, node.span));
                Value::from(&**text)
            }
            Data::Text(text) => match (node.plain, known) {
                (true, Some(Field { ty: Type::Boolean, .. })) => {
                    old_boolean(text).map_or_else(|| Value::from(&**text), Value::Bool)
                }
                _ => Value::from(&**text),
            },
            Data::Template(template) => {
                let verbatim =
                    known.is_some_and(|field| field.verbatim || matches!(field.ty, Type::Function));
                let (value, known) = self.expand(template, verbatim, filling.document);
                if !known {
                    filling.unknown.push(filling.at.iter().cloned().collect());
                }
                value
            }
            Data::List(items) => {
                let items = items.iter().enumerate().map(|(n, item)| {
                    let step = Step::Index(n);
                    let known = known.and_then(|field| inside(field, &step));
                    filling.at.push(step);
                    let value = self.value(item, known, filling);
                    filling.at.pop();
                    value
                });
                Value::Array(items.collect())
            }
            Data::Map(members) => {
                let mut map = Map::with_capacity(members.len());
                for member in members {
                    let step = Step::Key(member.key.clone());
                    let known = known.and_then(|field| inside(field, &step));
                    filling.at.push(step);
                    let value = self.value(&member.value, known, filling);
                    filling.at.pop();
                    map.insert(member.key.clone(), value);
                }
                Value::Object(map)
            }
        }
    }

    fn expand(&mut self, template: &Template, verbatim: bool, document: usize) -> (Value, bool) {
        let Some(document) = self.documents.documents.get(document) else { return (Value::Null, false) };
        let expanded = template.expand(verbatim, &self.documents.options, &document.text, &mut self.problems);
        (expanded.value, expanded.known)
    }

    fn scalar(&mut self, draft: &Draft<'a>, node: &Node) -> (Value, bool) {
        let mut unknown = Vec::new();
        let mut filling = Filling { document: draft.document, at: Vec::new(), unknown: &mut unknown };
        let value = self.value(node, None, &mut filling);
        (value, unknown.is_empty())
    }

    fn id(&mut self, draft: &Draft<'a>, node: &Node) -> Option<Uuid> {
        let (value, known) = self.scalar(draft, node);
        if !known || value.is_null() {
            return None;
        }
        let id = value.exposed_str().and_then(|text| Uuid::try_parse(text).ok());
        if id.is_none() {
            self.problems.push(
                Diagnostic::error(codes::INVALID_VALUE, "an id must be a UUID")
                    .at(place(self.documents, draft.document, node.head()))
                    .path(format!("{}.id", self.collected.path(draft)))
                    .help("such as 6d1fcbe1-7f5c-4a3e-9a3b-0c4b5a1f2e3d; leave it out to have one made"),
            );
        }
        id
    }

    /// Reads a reference: a name or id as text, or an object with one of the other entity's fields.
    fn reference(&mut self, draft: &Draft<'a>, field: &str, node: &Node) -> Option<Pending> {
        let (by, node) = match &node.data {
            Data::Null => return None,
            Data::Text(_) | Data::Template(_) => (None, node),
            Data::Map(members) if !members.is_empty() => {
                let member = node.member("id").or_else(|| members.first())?;
                (Some(member.key.clone()), &member.value)
            }
            _ => {
                let message = format!(
                    "a reference is a name, an id or an object that holds one, not {}",
                    node.type_name()
                );
                self.problems.push(
                    Diagnostic::error(codes::WRONG_TYPE, message)
                        .at(place(self.documents, draft.document, node.head()))
                        .path(format!("{}.{field}", self.collected.path(draft))),
                );
                return None;
            }
        };
        let (value, known) = self.scalar(draft, node);
        // A name that looks like a number is a name all the same.
        let value = match (&value, node.plain) {
            (Value::Number(_) | Value::Bool(_), true) => Value::from(self.written(draft, node)),
            _ => value,
        };
        Some(Pending { field: field.into(), by, value, span: node.head(), known })
    }

    fn written(&self, draft: &Draft<'a>, node: &Node) -> &str {
        self.documents.documents.get(draft.document).map_or("", |document| document.text.slice(node.span))
    }

    /// Merges the settings of `_plugin_configs` that the entity names: its own values win, object by object.
    fn merge_config(
        &mut self,
        draft: &Draft<'a>,
        layers: &Layers<'c, 'a>,
        variant: Option<&Record>,
        made: &mut Made,
    ) {
        let Some(name) = draft.node.get(CONFIG_NAME).filter(|_| takes_config(&draft.kind.record)) else {
            return;
        };
        let Some(config) = layers.config else {
            let problem = match name.text() {
                Some(text) => {
                    let shown: String = text.chars().take(80).collect();
                    let problem = Diagnostic::error(
                        codes::DANGLING,
                        format!("there is no `{shown}` under `_plugin_configs`"),
                    );
                    let near = nearest(text, self.collected.configs.keys().copied());
                    problem.help(near.map_or_else(
                        || {
                            "settings are shared by a name under `_plugin_configs` at the top of a file"
                                .to_owned()
                        },
                        |near| format!("did you mean `{near}`?"),
                    ))
                }
                None => Diagnostic::error(
                    codes::WRONG_TYPE,
                    "`_config` must be the name of settings under `_plugin_configs`",
                ),
            };
            self.problems.push(
                problem
                    .at(place(self.documents, draft.document, name.head()))
                    .path(format!("{}.{CONFIG_NAME}", self.collected.path(draft))),
            );
            return;
        };
        if let Some((key, _)) = name.text().and_then(|name| self.collected.configs.get_key_value(name)) {
            self.used.insert(key);
        }
        let known = field(&draft.kind.record, variant, CONFIG);
        let mut unknown = Vec::new();
        let mut filling =
            Filling { document: config.document, at: vec![Step::Key(CONFIG.into())], unknown: &mut unknown };
        let shared = self.value(config.node, known, &mut filling);
        if made.entity.body.get(CONFIG).is_none_or(Value::is_null) {
            made.entity.body.set(CONFIG, Value::object());
        }
        if let Some(own) = made.entity.body.as_object_mut().and_then(|body| body.get_mut(CONFIG)) {
            merge(own, shared);
        }
        // What the entity says itself is known, whatever the shared settings say.
        made.unknown
            .extend(unknown.into_iter().filter(|path| layers.find(path).at.document == config.document));
    }

    /// Merges `_info.defaults`: the entity's own values win, object by object.
    fn merge_defaults(
        &mut self,
        draft: &Draft<'a>,
        layers: &Layers<'c, 'a>,
        variant: Option<&Record>,
        made: &mut Made,
    ) {
        for defaults in layers.defaults {
            for member in defaults.node.members() {
                let known = field(&draft.kind.record, variant, &member.key);
                if matches!(known, Some(Field { ty: Type::Foreign { .. }, .. })) {
                    continue;
                }
                let mut filling = Filling {
                    document: defaults.document,
                    at: vec![Step::Key(member.key.clone())],
                    unknown: &mut made.unknown,
                };
                let value = self.value(&member.value, known, &mut filling);
                match made.entity.body.as_object_mut().and_then(|body| body.get_mut(&*member.key)) {
                    Some(own) => merge(own, value),
                    None => made.entity.body.set(&member.key, value),
                }
            }
        }
    }

    /// Makes credential fields secret, and keeps their text out of the frames that show lines of the file.
    fn conceal(
        &mut self,
        draft: &Draft<'a>,
        layers: &Layers<'c, 'a>,
        variant: Option<&Record>,
        made: &mut Made,
        sources: &mut SourceMap,
    ) {
        let concealed: RefCell<Vec<Place>> = RefCell::default();
        let origin = |path: &Path| {
            let found = layers.find_written(path, &draft.kind.record, variant);
            match place(self.documents, found.at.document, found.at.node.span) {
                Some(place) => {
                    hide(self.documents, found.at, &mut concealed.borrow_mut());
                    Origin::Literal(place)
                }
                None => Origin::Variables(Vec::new()),
            }
        };
        schema::conceal(self.schemas, &draft.kind, &mut made.entity.body, &origin);
        // Of a plugin without a schema nobody knows what is secret.
        if draft.kind.subschema.is_some() && variant.is_none() {
            let hidden: Vec<&str> = draft
                .kind
                .record
                .fields
                .iter()
                .filter(|field| matches!(field.ty, Type::Abstract))
                .map(|field| &*field.name)
                .collect();
            for name in hidden {
                if let Some(value) = made.entity.body.as_object_mut().and_then(|body| body.get_mut(name)) {
                    value.conceal(&origin(&Path::root().key(name)));
                }
            }
        }
        for place in concealed.into_inner().into_iter().chain(self.hidden.drain(..)) {
            sources.conceal(&place);
        }
    }

    /// Adds the file's select tags to an entity that can have tags.
    fn add_tags(&self, draft: &Draft<'a>, body: &mut Value) {
        let Some(document) = self.documents.documents.get(draft.document) else { return };
        if document.tags.is_empty() || draft.kind.record.field("tags").is_none() {
            return;
        }
        let mut tags = match body.remove("tags") {
            Some(Value::Array(tags)) => tags,
            None | Some(Value::Null) => Vec::new(),
            // Of a wrong type; that is reported.
            Some(other) => {
                body.set("tags", other);
                return;
            }
        };
        for tag in &document.tags {
            if !tags.iter().any(|known| known.exposed_str() == Some(tag)) {
                tags.push(Value::from(tag.as_str()));
            }
        }
        body.set("tags", Value::Array(tags));
    }

    /// Keeps settings under `_plugin_configs` that no plugin uses out of sight, and warns of them.
    pub fn unused(&mut self, sources: &mut SourceMap) {
        for (name, config) in &self.collected.configs {
            if self.used.contains(name) {
                continue;
            }
            if let Some(document) = self.documents.documents.get(config.at.document) {
                document.conceal(config.at.node, sources);
            }
            if !self.documents.options.lint || self.documents.used_elsewhere.contains(*name) {
                continue;
            }
            self.problems.push(
                Diagnostic::warning(codes::UNUSED_CONFIG, format!("no plugin uses the settings `{name}`"))
                    .at(place(self.documents, config.at.document, config.key))
                    .path(format!("_plugin_configs.{name}"))
                    .help(format!("write `_config: {name}` at a plugin, or remove them")),
            );
        }
    }
}

/// Whether entities of a record can use shared settings.
fn takes_config(record: &Record) -> bool {
    record.field(CONFIG).is_some_and(|field| matches!(field.ty, Type::Abstract | Type::Record(_)))
}

/// Adds the members of `other` that are missing, object by object.
fn merge(own: &mut Value, other: Value) {
    let (Value::Object(own), Value::Object(other)) = (own, other) else { return };
    for (key, value) in other {
        match own.get_mut(&*key) {
            Some(present) => merge(present, value),
            None => {
                own.insert(key, value);
            }
        }
    }
}
