//! What the files say about the run: `_format_version`, `_workspace`, `_konnect`, `_info`, `_plugin_configs`.

use super::node::{Data, Member, Node};
use super::text::{Span, Text};
use super::{Document, Options};
use crate::diagnostics::{Diagnostic, Place, codes, nearest};
use std::collections::BTreeMap;

/// The supported `_format_version`.
const FORMAT: &str = "3.0";
/// Those that decK's `file convert` turns into it.
const OLD_FORMATS: [&str; 3] = ["0.1", "1.1", "2.1"];
/// The keys of a file that are no lists of entities.
pub const META: [&str; 7] =
    ["_format_version", "_info", "_workspace", "_konnect", "_plugin_configs", "_transform", CUSTOM];
/// The list of entities of any kind: `{type, fields}`.
pub const CUSTOM: &str = "custom_entities";
const INFO: [&str; 6] = [
    "select_tags",
    "default_lookup_tags",
    "defaults",
    "consumer_group_policy_overrides",
    "skip_hash_for_basic_auth",
    "include_plugin_definitions",
];

/// What all files of a run say together.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `_workspace`, or the workspace of `-w`.
    pub workspace: Option<String>,
    /// Whether a file has `_konnect`, which selects Konnect.
    pub konnect: bool,
    /// `_konnect.control_plane_name`
    pub control_plane: Option<String>,
    /// The sets of select tags of the files; see [`crate::model::Info::scopes`].
    pub scopes: Vec<Vec<String>>,
    /// By list key (`consumers`), the tags under which references to other entities are looked up.
    pub lookup_tags: BTreeMap<Box<str>, Vec<String>>,
    /// `_info.consumer_group_policy_overrides`
    pub consumer_group_policy_overrides: bool,
    /// `_info.skip_hash_for_basic_auth`
    pub skip_hash_for_basic_auth: bool,
    /// `_info.include_plugin_definitions`
    pub include_plugin_definitions: bool,
}

/// Reads the settings of all documents, fills in each document's select tags, and reports what contradicts.
pub fn read(documents: &mut [Document], options: &Options, problems: &mut Vec<Diagnostic>) -> Settings {
    let mut reader = Reader { options, problems, settings: Settings::default(), firsts: BTreeMap::new() };
    let mut versions = 0;
    for document in documents.iter_mut() {
        let text = document.text.clone();
        let (mut tags, mut workspace) = (Vec::new(), None);
        for member in document.root.members() {
            match &*member.key {
                "_format_version" => {
                    versions += 1;
                    reader.format(member, &text);
                }
                "_workspace" => workspace = reader.workspace(member, &text),
                "_konnect" => reader.konnect(member, &text),
                "_transform" => reader.transform(member, &text),
                "_info" => tags = reader.info(member, &text),
                _ => {}
            }
        }
        document.tags = tags;
        document.workspace = workspace;
    }
    let holder = documents.iter().find(|document| !document.root.members().is_empty());
    if let (0, Some(document)) = (versions, holder) {
        reader.problems.push(
            Diagnostic::error(codes::FORMAT_VERSION, "`_format_version` is missing")
                .at(document.text.place(document.root.head()))
                .help(format!("begin the file with `_format_version: \"{FORMAT}\"`")),
        );
    }
    reader.scopes(documents);
    reader.flags();
    reader.settings
}

/// A setting as it was first given.
struct First {
    value: String,
    /// As it is written: a variable's value is not shown.
    written: String,
    place: Place,
}

struct Reader<'a> {
    options: &'a Options,
    problems: &'a mut Vec<Diagnostic>,
    settings: Settings,
    /// Each setting as it was first given.
    firsts: BTreeMap<Box<str>, First>,
}

impl Reader<'_> {
    fn report(
        &mut self,
        code: crate::diagnostics::Code,
        text: &Text,
        span: Span,
        message: String,
        help: &str,
    ) {
        let problem = Diagnostic::error(code, message).at(text.place(span));
        self.problems.push(if help.is_empty() { problem } else { problem.help(help) });
    }

    /// The text of a node, its variables expanded. Reports what is no text.
    fn text(&mut self, node: &Node, name: &str, text: &Text) -> Option<String> {
        match &node.data {
            Data::Text(value) => Some(value.to_string()),
            Data::Template(template) => {
                let expanded = template.expand(false, self.options, text, self.problems);
                // Names of workspaces and tags are shown; a variable may hold them all the same.
                expanded.known.then(|| expanded.value.exposed_str().map(str::to_owned)).flatten()
            }
            _ => {
                let message = format!("`{name}` must be a string, not {}", node.type_name());
                let help = if matches!(node.data, Data::Number(_) | Data::Bool(_)) {
                    "put it in quotes"
                } else {
                    ""
                };
                self.report(codes::WRONG_TYPE, text, node.head(), message, help);
                None
            }
        }
    }

    fn texts(&mut self, node: &Node, name: &str, text: &Text) -> Vec<String> {
        if node.is_null() {
            return Vec::new();
        }
        if !matches!(node.data, Data::List(_)) {
            let message = format!("`{name}` must be a list of strings, not {}", node.type_name());
            self.report(codes::WRONG_TYPE, text, node.head(), message, "");
        }
        node.items().iter().filter_map(|item| self.text(item, name, text)).collect()
    }

    fn flag(&mut self, node: &Node, name: &str, text: &Text) -> bool {
        match &node.data {
            Data::Bool(value) => {
                self.same(name, &value.to_string(), text, node);
                *value
            }
            _ => {
                let message = format!("`{name}` must be true or false, not {}", node.type_name());
                self.report(codes::WRONG_TYPE, text, node.head(), message, "");
                false
            }
        }
    }

    /// Whether no other file gives another value; reports it otherwise.
    fn same(&mut self, name: &str, value: &str, text: &Text, node: &Node) -> bool {
        let place = text.place(node.head());
        let written = written(node, value);
        let Some(first) = self.firsts.get(name) else {
            self.firsts.insert(name.into(), First { value: value.to_owned(), written, place });
            return true;
        };
        if first.value == value {
            return true;
        }
        let problem =
            Diagnostic::error(codes::MERGE, format!("`{name}` differs between the files of one run"))
                .at(place)
                .label(format!("here `{written}`"))
                .help(format!(
                    "{} says `{}`; give both the same value, or use the files in runs of their own",
                    first.place, first.written
                ));
        self.problems.push(problem);
        false
    }

    fn unknown(&mut self, member: &Member, known: &[&str], inside: &str, text: &Text) {
        let near = nearest(&member.key, known.iter().copied());
        let help = near
            .map_or_else(|| format!("known: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
        let message = format!("`{}` is not a field of `{inside}`", member.key);
        self.report(codes::UNKNOWN_FIELD, text, member.span, message, &help);
    }

    fn format(&mut self, member: &Member, text: &Text) {
        let span = member.value.span;
        let version = match &member.value.data {
            Data::Text(version) => version.to_string(),
            Data::Number(number) => {
                let written = text.slice(span);
                let written = if written.is_empty() { number.to_string() } else { written.to_owned() };
                let message = "`_format_version` must be a string, not a number".to_owned();
                self.report(
                    codes::FORMAT_VERSION,
                    text,
                    span,
                    message,
                    &if OLD_FORMATS.contains(&&*written) {
                        convert_help(text)
                    } else {
                        format!("write \"{FORMAT}\" in quotes")
                    },
                );
                return;
            }
            _ => {
                let message = format!("`_format_version` must be a string, not {}", member.value.type_name());
                self.report(codes::FORMAT_VERSION, text, member.value.head(), message, "write \"3.0\"");
                return;
            }
        };
        if version == FORMAT {
            return;
        }
        let shown: String = version.chars().take(40).collect();
        let message = format!("`_format_version` {shown:?} is not supported");
        let help = if OLD_FORMATS.contains(&version.as_str()) {
            convert_help(text)
        } else {
            format!("write \"{FORMAT}\"")
        };
        self.report(codes::FORMAT_VERSION, text, span, message, &help);
    }

    /// Reads one file's `_workspace`.
    fn workspace(&mut self, member: &Member, text: &Text) -> Option<String> {
        let span = member.value.head();
        let value = self.text(&member.value, "_workspace", text)?;
        if self.same("_workspace", &value, text, &member.value) {
            if let Some(flag) = self.options.workspace.as_ref().filter(|flag| **flag != value) {
                let written = written(&member.value, &value);
                let problem = Diagnostic::warning(
                    codes::OVERRIDDEN,
                    format!(
                        "workspace '{flag}' specified via --workspace flag is different from workspace '{written}' found in state file(s)"
                    ),
                );
                self.problems.push(
                    problem.at(text.place(span)).help("the flag wins; leave it out, or remove `_workspace`"),
                );
            }
            self.settings.workspace = Some(value.clone());
        }
        Some(value)
    }

    fn konnect(&mut self, member: &Member, text: &Text) {
        self.settings.konnect = true;
        self.object(&member.value, "_konnect", text);
        for setting in member.value.members() {
            match &*setting.key {
                "control_plane_name" | "runtime_group_name" => {
                    let Some(name) = self.text(&setting.value, &setting.key, text) else { continue };
                    if self.same("_konnect.control_plane_name", &name, text, &setting.value) {
                        self.settings.control_plane = Some(name);
                    }
                }
                _ => self.unknown(setting, &["control_plane_name"], "_konnect", text),
            }
        }
    }

    fn transform(&mut self, member: &Member, text: &Text) {
        if self.flag(&member.value, "_transform", text) || !matches!(member.value.data, Data::Bool(_)) {
            return;
        }
        let message = "`_transform: false` is not supported".to_owned();
        self.report(
            codes::NOT_SUPPORTED,
            text,
            member.value.span,
            message,
            "remove it; credentials are written in clear and the gateway hashes them",
        );
    }

    fn object(&mut self, node: &Node, name: &str, text: &Text) {
        if !matches!(node.data, Data::Map(_) | Data::Null) {
            let message = format!("`{name}` must be an object, not {}", node.type_name());
            self.report(codes::WRONG_TYPE, text, node.head(), message, "");
        }
    }

    /// Reads one file's `_info`; gives its select tags.
    fn info(&mut self, member: &Member, text: &Text) -> Vec<String> {
        self.object(&member.value, "_info", text);
        let mut tags = Vec::new();
        for setting in member.value.members() {
            let value = &setting.value;
            match &*setting.key {
                "select_tags" => {
                    tags = self.texts(value, "select_tags", text);
                    tags.sort();
                    tags.dedup();
                    self.selected(&tags, text, value.head());
                }
                "default_lookup_tags" => {
                    self.object(value, "default_lookup_tags", text);
                    for list in value.members() {
                        let tags = self.texts(&list.value, &list.key, text);
                        let all = self.settings.lookup_tags.entry(list.key.clone()).or_default();
                        all.extend(tags);
                        all.sort();
                        all.dedup();
                    }
                }
                "defaults" => self.object(value, "defaults", text),
                name if INFO.contains(&name) => {
                    self.flag(value, name, text);
                }
                _ => self.unknown(setting, &INFO, "_info", text),
            }
        }
        tags
    }

    fn selected(&mut self, tags: &[String], text: &Text, span: Span) {
        let mut given = self.options.select_tags.clone();
        given.sort();
        given.dedup();
        if !given.is_empty() && !tags.is_empty() && given != tags {
            let message =
                format!("the file's select tags are not those of --select-tag ({})", given.join(", "));
            self.report(codes::MERGE, text, span, message, "leave out the flag, or give the same tags");
        }
    }

    /// Settles which select tags each document's entities get: its own, those of the flag, or all of the run's.
    fn scopes(&mut self, documents: &mut [Document]) {
        let mut scopes: Vec<Vec<String>> = documents
            .iter()
            .map(|document| &document.tags)
            .filter(|tags| !tags.is_empty())
            .cloned()
            .collect();
        scopes.sort();
        scopes.dedup();
        if scopes.is_empty() && !self.options.select_tags.is_empty() {
            let mut given = self.options.select_tags.clone();
            given.sort();
            given.dedup();
            scopes.push(given);
        }
        let mut all: Vec<String> = scopes.iter().flatten().cloned().collect();
        all.sort();
        all.dedup();
        for document in documents.iter_mut().filter(|document| document.tags.is_empty()) {
            document.tags.clone_from(&all);
        }
        self.settings.scopes = scopes;
    }

    fn flags(&mut self) {
        let is_set = |name: &str| self.firsts.get(name).is_some_and(|first| first.value == "true");
        self.settings.consumer_group_policy_overrides = is_set("consumer_group_policy_overrides");
        self.settings.skip_hash_for_basic_auth = is_set("skip_hash_for_basic_auth");
        self.settings.include_plugin_definitions = is_set("include_plugin_definitions");
        if self.options.workspace.is_some() {
            self.settings.workspace.clone_from(&self.options.workspace);
        }
    }
}

/// How a file for Kong before 3.0 becomes one for Kong 3.
fn convert_help(text: &Text) -> String {
    format!(
        "decK's `deck file convert --from kong-gateway-2.x --to kong-gateway-3.x --input-file {}` writes this file for Kong 3",
        text.name()
    )
}

/// A setting as its file says it: what a variable supplies may be secret.
fn written(node: &Node, value: &str) -> String {
    match &node.data {
        Data::Template(template) => template.raw(),
        _ => value.to_owned(),
    }
}
