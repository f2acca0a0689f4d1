//! State files: sources, YAML and JSON to nodes that know their place, variables, `_info`, merging.
//!
//! [`read`] opens what the user named and gives [`Documents`]: trees in which every node knows its file, line and
//! column. [`Documents::build`] lays the schemas beside them and gives a [`Loaded`] state: flat entities with
//! references, and every problem with its place. What does not live here: what a body may hold (`schema`), writing
//! files, and printing. Only `source` opens files; nothing here reads the environment.

mod broken;
mod build;
mod mask;
mod node;
mod options;
mod parse;
mod scalar;
mod settings;
mod source;
mod template;
mod text;
mod workspaces;

#[cfg(test)]
mod recorded_tests;

pub use node::{Data, Member, Node};
pub use options::{Expansion, Options, Unset, Variables};
pub use settings::Settings;
pub use source::env_file;
pub use template::{Expanded, Template};
pub use text::{Span, Text};

use crate::diagnostics::{Diagnostic, Place, SourceMap, codes};
use crate::model::State;
use crate::schema::{Schemas, is_reference_text, plugin_lists};
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

/// One state file as a tree.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name and text.
    pub text: Arc<Text>,
    /// The tree; `null` for an empty file.
    pub root: Node,
    /// The select tags that its entities carry.
    pub tags: Vec<String>,
    /// Its own `_workspace`.
    pub workspace: Option<String>,
}

impl Document {
    /// Keeps the scalars of a node out of the lines that are shown: of what no schema speaks of, nobody knows what is
    /// secret.
    fn conceal(&self, node: &Node, sources: &mut SourceMap) {
        node.scalars(&mut |span| sources.conceal(&self.text.place(span)));
    }

    /// Shows expressions and references to vaults in lines whose other text is secret: they say where a secret is kept,
    /// and not what it is.
    fn reveal(&self, sources: &mut SourceMap) {
        let mut waiting = vec![&self.root];
        while let Some(node) = waiting.pop() {
            match &node.data {
                Data::Text(text) if is_reference_text(text) => sources.reveal(&self.text.place(node.span)),
                Data::Template(template) => {
                    for span in template.plain(node.span, &self.text) {
                        sources.reveal(&self.text.place(span));
                    }
                }
                Data::List(items) => waiting.extend(items.iter()),
                Data::Map(members) => waiting.extend(members.iter().map(|member| &member.value)),
                _ => {}
            }
        }
    }
}

/// The state files of a run, read but not yet laid beside a schema.
pub struct Documents {
    documents: Vec<Document>,
    options: Options,
    settings: Settings,
    problems: Vec<Diagnostic>,
    /// How many of the problems, the first ones, were found in reading the texts.
    of_texts: usize,
    sources: SourceMap,
    /// A source could not be read, so that what seems to be missing may stand there.
    incomplete: bool,
    /// Settings under `_plugin_configs` that plugins in other workspaces of the run use.
    used_elsewhere: BTreeSet<String>,
}

/// Reads state files: `-` is standard input (also when nothing is named), a folder stands for the files in it.
///
/// Never fails as a whole: what is wrong is in [`Documents::diagnostics`], all of it.
pub fn read(inputs: &[String], stdin: &mut dyn Read, options: Options) -> Documents {
    let opened = source::open(inputs, stdin);
    let mut problems = opened.problems;
    let mut sources = opened.broken;
    let mut incomplete = !problems.is_empty();
    let mut documents = Vec::new();
    for (name, text) in opened.texts {
        sources.insert(name.clone(), text.clone());
        let text = Arc::new(Text::new(name, text));
        let parsed = parse::parse(&text, options.expansion);
        incomplete |= !parsed.problems.is_empty();
        parsed.hidden.iter().for_each(|span| sources.conceal(&text.place(*span)));
        problems.extend(parsed.problems);
        let empty = Node { span: Span::default(), plain: true, data: Data::Null };
        let root = parsed.root.unwrap_or(empty);
        if !matches!(root.data, Data::Map(_) | Data::Null) {
            let message = format!("a state file holds an object, not {}", root.type_name());
            root.scalars(&mut |span| sources.conceal(&text.place(span)));
            let help = "begin it with `_format_version: \"3.0\"`, and list the entities under keys such as `services`";
            problems
                .push(Diagnostic::error(codes::WRONG_TYPE, message).at(text.place(root.head())).help(help));
            incomplete = true;
            continue;
        }
        let document = Document { text, root, tags: Vec::new(), workspace: None };
        document.reveal(&mut sources);
        documents.push(document);
    }
    let of_texts = problems.len();
    let settings = settings::read(&mut documents, &options, &mut problems);
    let used_elsewhere = BTreeSet::new();
    Documents { documents, options, settings, problems, of_texts, sources, incomplete, used_elsewhere }
}

impl Documents {
    /// Lays schemas beside the files and builds the state that they ask for.
    pub fn build(&self, schemas: &Schemas) -> Loaded {
        build::build(self, schemas)
    }

    /// What the files say about the run as a whole.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The problems found so far.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.problems
    }

    /// The texts of the files.
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }

    /// The files that could be read, in order.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The keys of the lists at the top of the files that are not empty, and where each stands.
    pub fn lists(&self) -> impl Iterator<Item = (&str, Place)> {
        self.documents.iter().flat_map(|document| {
            let lists = document.root.members().iter().filter(|member| !member.value.items().is_empty());
            lists.map(|member| (&*member.key, document.text.place(member.span)))
        })
    }

    /// Where the entities of a list at the top first have a member of this name.
    pub fn first_member(&self, list: &str, name: &str) -> Option<Place> {
        self.documents.iter().find_map(|document| {
            let items = document.root.get(list).map_or(&[][..], Node::items);
            let found = items.iter().find_map(|item| item.member(name))?;
            Some(document.text.place(found.span))
        })
    }

    /// Whether all files could be read and say nothing at all.
    pub fn say_nothing(&self) -> bool {
        !self.incomplete && self.documents.iter().all(|document| document.root.members().is_empty())
    }

    /// The names of the plugins that the files use, for asking a gateway for their schemas.
    pub fn plugins(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut waiting: Vec<&Node> = self.documents.iter().map(|document| &document.root).collect();
        while let Some(node) = waiting.pop() {
            for member in node.members() {
                if plugin_lists().contains(&&*member.key) {
                    let named = member.value.items().iter().filter_map(|plugin| plugin.get("name")?.text());
                    names.extend(named.map(str::to_owned));
                }
                waiting.push(&member.value);
            }
            waiting.extend(node.items());
        }
        names
    }

    /// The names of the variables that the files need, set or not.
    pub fn variables(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut waiting: Vec<&Node> = self.documents.iter().map(|document| &document.root).collect();
        while let Some(node) = waiting.pop() {
            if let Data::Template(template) = &node.data {
                names.extend(template.needs().map(str::to_owned));
            }
            waiting.extend(node.members().iter().map(|member| &member.value));
            waiting.extend(node.items());
        }
        names
    }

    /// How many entities the lists at the top of the files hold.
    pub fn entity_count(&self) -> usize {
        let members = self.documents.iter().flat_map(|document| document.root.members());
        members.map(|member| member.value.items().len()).sum()
    }
}

/// A state with its problems and the texts that they point into.
#[derive(Clone, Default)]
pub struct Loaded {
    /// What the files ask for. Incomplete when there are errors.
    pub state: State,
    /// Every problem of every file, in file order.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts of the files, for showing lines.
    pub sources: SourceMap,
}

impl Loaded {
    /// Whether any problem is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}
