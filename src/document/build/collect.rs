//! Goes over the trees and lists every entity, parents before the children nested in them.

use super::super::settings::{CUSTOM, META};
use super::super::{Data, Document, Documents, Member, Node, Span};
use super::references::naming_fields;
use crate::diagnostics::{Diagnostic, SourceMap, codes, nearest};
use crate::schema::{Flavor, Kind, Schemas};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// An entity as it is written.
pub(super) struct Draft<'a> {
    pub kind: Arc<Kind>,
    /// The index of its document.
    pub document: usize,
    /// Its fields.
    pub node: &'a Node,
    /// The list that it stands in and its index there.
    pub list: &'a str,
    pub index: usize,
    /// For an entity nested in another: that one's index, and the field that refers to it.
    pub parent: Option<(usize, Box<str>)>,
    /// For an item that only names another entity: the field that refers to it.
    pub item: Option<Box<str>>,
    /// The draft inside which it is written without belonging to it: that of an item that declares what it names.
    pub inside: Option<usize>,
    /// The item's fields stand one level down, under `fields`.
    pub custom: bool,
    /// The id of such an item, which stands beside its fields.
    pub id: Option<&'a Node>,
}

/// A node of one of the documents.
#[derive(Clone, Copy)]
pub(super) struct Located<'a> {
    pub document: usize,
    pub node: &'a Node,
}

/// Settings that plugins share, under the name in `_plugin_configs`.
pub(super) struct Config<'a> {
    pub at: Located<'a>,
    pub key: Span,
}

/// What the documents hold.
pub(super) struct Collected<'a> {
    pub drafts: Vec<Draft<'a>>,
    pub configs: BTreeMap<&'a str, Config<'a>>,
    /// By the word for a kind (`service`): `_info.defaults` of every file that has them.
    pub defaults: BTreeMap<&'a str, Vec<Located<'a>>>,
    /// The lists that are nested in entities of a kind, by the kind's name and the list's key.
    nested: HashMap<(&'a str, &'a str), Nested>,
}

/// A list nested in entities of a kind.
struct Nested {
    kind: Arc<Kind>,
    /// The field that refers to the parent.
    field: Box<str>,
    item: Option<Box<str>>,
    /// The kind that items declare.
    declares: Option<Box<str>>,
}

struct Collector<'a, 'p> {
    top: HashMap<&'a str, Arc<Kind>>,
    custom: Vec<Arc<Kind>>,
    problems: &'p mut Vec<Diagnostic>,
    sources: &'p mut SourceMap,
    out: Collected<'a>,
}

/// Lists every entity of the documents, and reports lists of no known kind.
pub(super) fn collect<'a>(
    documents: &'a Documents,
    schemas: &'a Schemas,
    problems: &mut Vec<Diagnostic>,
    sources: &mut SourceMap,
) -> Collected<'a> {
    let out = Collected {
        drafts: Vec::new(),
        configs: BTreeMap::new(),
        defaults: BTreeMap::new(),
        nested: HashMap::new(),
    };
    let mut collector = Collector { top: HashMap::new(), custom: Vec::new(), problems, sources, out };
    for kind in schemas.kinds() {
        collector.learn(kind);
    }
    for (index, document) in documents.documents.iter().enumerate() {
        collector.document(index, document, schemas);
    }
    collector.declare(documents, schemas);
    collector.check_defaults(documents, schemas);
    collector.out
}

impl<'a> Collector<'a, '_> {
    fn learn(&mut self, kind: &'a Arc<Kind>) {
        if kind.file.top_level {
            self.top.insert(&kind.file.key, kind.clone());
        }
        if kind.file.custom_entity {
            self.custom.push(kind.clone());
        }
        for parent in &kind.file.nested_in {
            if let Some(field) = parent_field(kind, parent, None) {
                let nested = Nested { kind: kind.clone(), field, item: None, declares: None };
                self.out.nested.insert((parent, &kind.file.key), nested);
            }
        }
        for also in &kind.file.also {
            if let Some(field) = parent_field(kind, &also.nested_in, Some(&also.item)) {
                let declares =
                    kind.record.foreign().find(|(field, _)| also.declares && field.name == also.item);
                let nested = Nested {
                    kind: kind.clone(),
                    field,
                    item: Some(also.item.clone()),
                    declares: declares.map(|(_, kind)| kind.into()),
                };
                self.out.nested.insert((&also.nested_in, &also.key), nested);
            }
        }
    }

    fn document(&mut self, index: usize, document: &'a Document, schemas: &Schemas) {
        for member in document.root.members() {
            match &*member.key {
                "_plugin_configs" => self.configs(index, document, member),
                "_info" => self.defaults(index, document, member),
                CUSTOM => self.custom_entities(index, document, member),
                key if META.contains(&key) => {}
                key => match self.top.get(key).cloned() {
                    Some(kind) => self.list(index, document, member, &kind, None, None),
                    None => self.unknown_list(document, member, schemas),
                },
            }
        }
    }

    fn configs(&mut self, index: usize, document: &Document, member: &'a Member) {
        if !matches!(member.value.data, Data::Map(_) | Data::Null) {
            self.wrong(document, &member.value, "`_plugin_configs` must be an object");
        }
        for config in member.value.members() {
            if !matches!(config.value.data, Data::Map(_)) {
                self.wrong(document, &config.value, "settings of a plugin must be an object");
                continue;
            }
            let at = Located { document: index, node: &config.value };
            if let Some(first) = self.out.configs.get(&*config.key) {
                // Two files may say the same; a file cannot repeat a key.
                if !same(first.at.node, &config.value) {
                    let message = format!("`_plugin_configs` says two things about `{}`", config.key);
                    let problem = Diagnostic::error(codes::MERGE, message)
                        .at(document.text.place(config.span))
                        .help("give the settings one name in one file");
                    self.problems.push(problem);
                }
                continue;
            }
            self.out.configs.insert(&config.key, Config { at, key: config.span });
        }
    }

    /// Takes `_info.defaults`, and reports `_info.default_lookup_tags` for no known list.
    fn defaults(&mut self, index: usize, document: &Document, member: &'a Member) {
        for list in member.value.get("default_lookup_tags").map_or(&[][..], Node::members) {
            if !self.top.contains_key(&*list.key) {
                let near = nearest(&list.key, self.top.keys().copied());
                let help = near.map_or_else(
                    || "entities are looked up under the keys of lists, such as `services`".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("there are no entities `{}` to look up", list.key);
                let place = document.text.place(list.span);
                self.problems.push(Diagnostic::error(codes::UNKNOWN_FIELD, message).at(place).help(help));
            }
        }
        let Some(defaults) = member.value.get("defaults") else { return };
        for kind in defaults.members() {
            let at = Located { document: index, node: &kind.value };
            self.out.defaults.entry(&kind.key).or_default().push(at);
        }
    }

    /// Reports defaults for no known kind, and those of two files that contradict each other.
    fn check_defaults(&mut self, documents: &Documents, schemas: &Schemas) {
        let words: Vec<&str> = schemas.kinds().iter().map(|kind| &*kind.report.word).collect();
        for (word, all) in &self.out.defaults {
            for (n, at) in all.iter().enumerate() {
                let Some(document) = documents.documents.get(at.document) else { continue };
                let text = &document.text;
                if !words.contains(word) {
                    document.conceal(at.node, self.sources);
                    let near = nearest(word, words.iter().copied());
                    let help = near.map_or_else(
                        || "defaults stand under the word for one entity, such as `service`".to_owned(),
                        |near| format!("did you mean `{near}`?"),
                    );
                    let message = format!("there are no entities of the kind `{word}` to have defaults");
                    let place = text.place(at.node.head());
                    self.problems.push(Diagnostic::error(codes::UNKNOWN_FIELD, message).at(place).help(help));
                }
                for member in at.node.members() {
                    let earlier = all.iter().take(n).find_map(|other| other.node.member(&member.key));
                    if let Some(earlier) = earlier.filter(|earlier| !same(&earlier.value, &member.value)) {
                        let message =
                            format!("the default of `{word}.{}` differs between the files", earlier.key);
                        let problem = Diagnostic::error(codes::MERGE, message)
                            .at(text.place(member.span))
                            .help("give it in one file only");
                        self.problems.push(problem);
                    }
                }
            }
        }
    }

    fn custom_entities(&mut self, index: usize, document: &'a Document, member: &'a Member) {
        self.expect_list(document, member);
        for (n, item) in member.value.items().iter().enumerate() {
            let place = |span: Span| document.text.place(span);
            let named = item.get("type");
            let found = named
                .and_then(Node::text)
                .and_then(|name| self.custom.iter().find(|kind| &*kind.name == name));
            let Some(kind) = found.cloned() else {
                document.conceal(item, self.sources);
                let known: Vec<&str> = self.custom.iter().map(|kind| &*kind.name).collect();
                let problem = match named {
                    Some(node) => {
                        Diagnostic::error(codes::INVALID_VALUE, "this is no type of custom entities")
                            .at(place(node.head()))
                    }
                    None => Diagnostic::error(codes::MISSING_FIELD, "a custom entity must say its `type`")
                        .at(place(item.head())),
                };
                let known = if known.is_empty() { "none for this gateway".into() } else { known.join(", ") };
                self.problems
                    .push(problem.path(format!("{CUSTOM}[{n}].type")).help(format!("known: {known}")));
                continue;
            };
            for extra in item.members().iter().filter(|m| !matches!(&*m.key, "type" | "fields" | "id")) {
                let problem = Diagnostic::error(
                    codes::UNKNOWN_FIELD,
                    format!("`{}` is not a field of a custom entity", extra.key),
                );
                document.conceal(&extra.value, self.sources);
                let path = format!("{CUSTOM}[{n}].{}", extra.key);
                self.problems
                    .push(problem.at(place(extra.span)).path(path).help("its fields stand under `fields`"));
            }
            let Some(fields) = item.get("fields").filter(|fields| matches!(fields.data, Data::Map(_))) else {
                let problem = Diagnostic::error(codes::MISSING_FIELD, "a custom entity must have `fields`");
                let path = format!("{CUSTOM}[{n}].fields");
                self.problems
                    .push(problem.at(place(item.head())).path(path).help("an object of the entity's fields"));
                continue;
            };
            self.out.drafts.push(Draft {
                kind,
                document: index,
                node: fields,
                list: CUSTOM,
                index: n,
                parent: None,
                item: None,
                inside: None,
                custom: true,
                id: item.get("id"),
            });
        }
    }

    fn list(
        &mut self,
        index: usize,
        document: &'a Document,
        member: &'a Member,
        kind: &Arc<Kind>,
        parent: Option<(usize, Box<str>)>,
        item: Option<Box<str>>,
    ) {
        self.expect_list(document, member);
        for (n, node) in member.value.items().iter().enumerate() {
            let named = item.is_some() && matches!(node.data, Data::Text(_) | Data::Template(_));
            if !matches!(node.data, Data::Map(_)) && !named {
                let message = format!("an entity of `{}` must be an object", member.key);
                self.wrong(document, node, &message);
                continue;
            }
            let own = self.out.drafts.len();
            self.out.drafts.push(Draft {
                kind: kind.clone(),
                document: index,
                node,
                list: &member.key,
                index: n,
                parent: parent.clone(),
                item: item.clone(),
                inside: None,
                custom: false,
                id: None,
            });
            if item.is_none() {
                self.children(index, document, node, kind, own);
            }
        }
    }

    /// Lists what is nested in an entity.
    fn children(&mut self, index: usize, document: &'a Document, node: &'a Node, kind: &Kind, own: usize) {
        for child in node.members() {
            let Some(nested) = self.out.nested.get(&(&*kind.name, &*child.key)) else { continue };
            let (kind, field, item) = (nested.kind.clone(), nested.field.clone(), nested.item.clone());
            self.list(index, document, child, &kind, Some((own, field)), item);
        }
    }

    /// Lists the entities that are declared where another entity names them, and nowhere else: decK takes a consumer
    /// that only a consumer group lists for one of the file's.
    fn declare(&mut self, documents: &'a Documents, schemas: &Schemas) {
        let mut known: HashMap<Box<str>, HashSet<&'a str>> = HashMap::new();
        for own in 0..self.out.drafts.len() {
            let Some(draft) = self.out.drafts.get(own) else { continue };
            let Some((kind, inside)) = self.declared(draft, documents, schemas) else { continue };
            let names = known.entry(kind.name.clone()).or_insert_with(|| {
                let all = self.out.drafts.iter().filter(|draft| draft.kind.name == kind.name);
                all.flat_map(|draft| names_of(&kind, draft.node)).collect()
            });
            let (index, node, list, n) = (draft.document, draft.node, draft.list, draft.index);
            let given: Vec<&str> = names_of(&kind, node).collect();
            let (Some(document), false) = (
                documents.documents.get(index),
                given.is_empty() || given.iter().any(|name| names.contains(name)),
            ) else {
                continue;
            };
            names.extend(given);
            let own = self.out.drafts.len();
            self.out.drafts.push(Draft {
                kind: kind.clone(),
                document: index,
                node,
                list,
                index: n,
                parent: None,
                item: None,
                inside: Some(inside),
                custom: false,
                id: None,
            });
            self.children(index, document, node, &kind, own);
        }
    }

    /// The kind that an item declares, and the draft inside which it stands.
    fn declared(
        &self,
        draft: &Draft<'_>,
        documents: &Documents,
        schemas: &Schemas,
    ) -> Option<(Arc<Kind>, usize)> {
        let (inside, _) = draft.parent.as_ref().filter(|_| draft.item.is_some())?;
        let above = self.out.drafts.get(*inside)?;
        let nested = self.out.nested.get(&(&*above.kind.name, draft.list))?;
        let kind = schemas.kind(nested.declares.as_ref()?)?;
        // Those are on the gateway already, and stay as they are.
        let elsewhere = documents.settings.lookup_tags.contains_key(&kind.file.key);
        (!elsewhere).then(|| (kind.clone(), *inside))
    }

    fn expect_list(&mut self, document: &Document, member: &Member) {
        // A key whose items were all taken out or commented out would delete the entities without a word.
        if !matches!(member.value.data, Data::List(_)) {
            self.wrong(document, &member.value, &format!("`{}` must be a list", member.key));
        }
    }

    fn wrong(&mut self, document: &Document, node: &Node, message: &str) {
        let message = format!("{message}, not {}", node.type_name());
        document.conceal(node, self.sources);
        self.problems
            .push(Diagnostic::error(codes::WRONG_TYPE, message).at(document.text.place(node.head())));
    }

    fn unknown_list(&mut self, document: &Document, member: &Member, schemas: &Schemas) {
        let key = &*member.key;
        document.conceal(&member.value, self.sources);
        let place = document.text.place(member.span);
        let elsewhere = Flavor::ALL.into_iter().filter(|flavor| *flavor != schemas.flavor()).find(|flavor| {
            let other = Schemas::bundled(*flavor);
            other.kinds().iter().any(|kind| kind.file.top_level && &*kind.file.key == key)
        });
        if let Some(flavor) = elsewhere {
            let message = format!("{} has no `{key}`", schemas.flavor());
            let problem = Diagnostic::error(codes::NOT_SUPPORTED, message).at(place).path(key);
            self.problems.push(problem.help(format!("{flavor} has them; --flavor chooses the gateway")));
            return;
        }
        let known = self.top.keys().copied().chain(META);
        let inside = self.out.nested.keys().find(|(_, nested)| *nested == key).map(|(parent, _)| *parent);
        let help = match (inside, nearest(key, known)) {
            (Some(parent), _) => format!("`{key}` stand inside the entities of `{parent}`"),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => {
                let mut known: Vec<&str> = self.top.keys().copied().collect();
                known.sort_unstable();
                format!("a state file holds {}", known.join(", "))
            }
        };
        let shown: String = key.chars().take(80).collect();
        let message = format!("`{shown}` is not a field of a state file");
        self.problems.push(Diagnostic::error(codes::UNKNOWN_FIELD, message).at(place).path(shown).help(help));
    }
}

impl Collected<'_> {
    /// Whether a member of an entity is a list of entities nested in it.
    pub fn is_nested(&self, kind: &str, key: &str) -> bool {
        self.nested.contains_key(&(kind, key))
    }

    /// Where an entity stands in its document: `services[0].routes[1]`.
    pub fn path(&self, draft: &Draft<'_>) -> String {
        let own = format!("{}[{}]", draft.list, draft.index);
        let own = if draft.custom { format!("{own}.fields") } else { own };
        let parent = draft.parent.as_ref().map(|(parent, _)| *parent).or(draft.inside);
        match parent.and_then(|parent| self.drafts.get(parent)) {
            Some(parent) => format!("{}.{own}", self.path(parent)),
            None => own,
        }
    }
}

/// The values in a node by which an entity of a kind is named.
fn names_of<'a>(kind: &Kind, node: &'a Node) -> impl Iterator<Item = &'a str> {
    naming_fields(kind).into_iter().filter_map(|field| node.get(field)?.text())
}

/// The foreign field of a kind that refers to a parent; not the one that each item names.
fn parent_field(kind: &Kind, parent: &str, item: Option<&str>) -> Option<Box<str>> {
    let mut fields = kind.record.foreign().filter(|(field, _)| Some(&*field.name) != item);
    fields.find(|(_, reference)| *reference == parent).map(|(field, _)| field.name.clone())
}

/// Whether two nodes say the same.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.data, &b.data) {
        (Data::Null, Data::Null) => true,
        (Data::Bool(a), Data::Bool(b)) => a == b,
        (Data::Number(a), Data::Number(b)) => a == b,
        (Data::Text(a), Data::Text(b)) => a == b,
        (Data::Template(a), Data::Template(b)) => a.raw() == b.raw(),
        (Data::List(a), Data::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Data::Map(x), Data::Map(y)) => {
            x.len() == y.len() && x.iter().all(|m| b.get(&m.key).is_some_and(|other| same(&m.value, other)))
        }
        _ => false,
    }
}
