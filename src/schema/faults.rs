//! Faults as a tree of the same shape as the value, and the two things made of it: violations and Kong's answer.

use super::types::{Violation, ViolationKind};
use crate::value::{Path, Step};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What is wrong with a value.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The value itself.
    Leaf(Leaf),
    /// Some items of a list, by index.
    Items(BTreeMap<usize, Fault>),
    /// Some members of an object.
    Members(Members),
}

#[derive(Clone, Debug)]
pub(super) struct Leaf {
    kind: ViolationKind,
    message: String,
    help: Option<String>,
}

/// What is wrong with an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    rules: Vec<String>,
    fields: BTreeMap<Box<str>, Fault>,
}

impl Fault {
    pub fn new(kind: ViolationKind, message: impl Into<String>) -> Self {
        Fault::Leaf(Leaf { kind, message: message.into(), help: None })
    }

    pub fn items() -> Self {
        Fault::Items(BTreeMap::new())
    }

    #[must_use]
    pub fn with_help(mut self, help: Option<String>) -> Self {
        if let Fault::Leaf(leaf) = &mut self {
            leaf.help = help;
        }
        self
    }

    pub fn set_item(&mut self, index: usize, fault: Fault) {
        if let Fault::Items(items) = self {
            items.insert(index, fault);
        }
    }

    fn collect(self, at: Path, out: &mut Vec<Violation>) {
        match self {
            Fault::Leaf(Leaf { kind, message, help }) => {
                out.push(Violation { path: at, kind, message, help })
            }
            Fault::Items(items) => {
                items.into_iter().for_each(|(n, fault)| fault.collect(at.index(n), out));
            }
            Fault::Members(members) => members.collect(&at, out),
        }
    }
}

impl Members {
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.fields.is_empty()
    }

    /// Whether a field of this name has a fault.
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A broken rule of this object (Kong's `@entity`).
    pub fn rule(&mut self, message: String) {
        self.rules.push(message);
    }

    /// A member's fault, in place of the one that it had.
    pub fn set(&mut self, name: &str, fault: Fault) {
        self.fields.insert(name.into(), fault);
    }

    /// Takes a member's fault back.
    pub fn clear(&mut self, name: &str) {
        self.fields.remove(name);
    }

    /// The fault of a member of a member.
    pub fn set_at(&mut self, path: &Path, fault: Fault) {
        let Some((Step::Key(last), way)) = path.steps().split_last() else { return };
        let mut members = self;
        for step in way {
            let Step::Key(key) = step else { return };
            let inner =
                members.fields.entry(key.clone()).or_insert_with(|| Fault::Members(Members::default()));
            match inner {
                Fault::Members(inner) => members = inner,
                // The member has a fault of its own, which says more.
                _ => return,
            }
        }
        members.set(last, fault);
    }

    pub fn into_violations(self) -> Vec<Violation> {
        let mut out = Vec::new();
        self.collect(&Path::root(), &mut out);
        out
    }

    fn collect(self, at: &Path, out: &mut Vec<Violation>) {
        for message in self.rules {
            out.push(Violation { path: at.clone(), kind: ViolationKind::Rule, message, help: None });
        }
        for (name, fault) in self.fields {
            fault.collect(at.key(&name), out);
        }
    }
}

/// Kong's answer to faulty input: the `message` and the `fields` of its schema violation.
///
/// `fields` has the shape of the input; the holes of a list are null, broken rules stand in lists under `@entity`.
pub fn kong_error(violations: &[Violation]) -> (String, Json) {
    let mut tree = Node::Members(BTreeMap::new());
    for violation in violations {
        let mut node = &mut tree;
        for step in violation.path.steps() {
            node = node.enter(step);
        }
        match violation.kind {
            ViolationKind::Rule => node.enter(&Step::Key("@entity".into())).push(&violation.message),
            _ => *node = Node::Message(violation.message.clone()),
        }
    }
    (tree.message(), tree.json())
}

enum Node {
    Message(String),
    Items(BTreeMap<usize, Node>),
    Members(BTreeMap<Box<str>, Node>),
}

impl Node {
    fn enter(&mut self, step: &Step) -> &mut Node {
        let empty = |node: &Node| match node {
            Node::Message(_) => true,
            Node::Items(items) => items.is_empty(),
            Node::Members(members) => members.is_empty(),
        };
        match step {
            Step::Index(index) => {
                if empty(self) {
                    *self = Node::Items(BTreeMap::new());
                }
                match self {
                    Node::Items(items) => {
                        items.entry(*index).or_insert_with(|| Node::Members(BTreeMap::new()))
                    }
                    other => other,
                }
            }
            Step::Key(key) => {
                if empty(self) {
                    *self = Node::Members(BTreeMap::new());
                }
                match self {
                    Node::Members(members) => {
                        members.entry(key.clone()).or_insert_with(|| Node::Members(BTreeMap::new()))
                    }
                    other => other,
                }
            }
        }
    }

    fn push(&mut self, message: &str) {
        if matches!(self, Node::Members(members) if members.is_empty()) {
            *self = Node::Items(BTreeMap::new());
        }
        if let Node::Items(items) = self {
            items.insert(items.len(), Node::Message(message.to_owned()));
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Node::Message(text) => Some(text),
            _ => None,
        }
    }

    fn json(&self) -> Json {
        match self {
            Node::Message(text) => Json::String(text.clone()),
            Node::Items(items) => {
                let length = items.keys().next_back().map_or(0, |last| last + 1);
                Json::Array((0..length).map(|n| items.get(&n).map_or(Json::Null, Node::json)).collect())
            }
            Node::Members(members) => {
                Json::Object(members.iter().map(|(key, node)| (key.to_string(), node.json())).collect())
            }
        }
    }

    /// One part a field and a field of a field; what is deeper is printed as Lua prints tables.
    fn message(&self) -> String {
        let mut parts = Vec::new();
        if let Node::Members(members) = self {
            if let Some(Node::Items(rules)) = members.get("@entity") {
                parts.extend(rules.values().filter_map(Node::text).map(str::to_owned));
            }
            for (name, node) in members.iter().filter(|(name, _)| &***name != "@entity") {
                node.parts(name, &mut parts);
            }
        }
        match parts.as_slice() {
            [one] => format!("schema violation ({one})"),
            many => format!("{} schema violations ({})", many.len(), many.join("; ")),
        }
    }

    fn parts(&self, name: &str, out: &mut Vec<String>) {
        let part = |key: &dyn std::fmt::Display, node: &Node| match node {
            Node::Message(text) => format!("{name}.{key}: {text}"),
            table => format!("{name}.{key}: {}", table.pretty(0)),
        };
        match self {
            Node::Message(text) => out.push(format!("{name}: {text}")),
            Node::Items(items) => out.extend(items.iter().map(|(n, node)| part(&(n + 1), node))),
            Node::Members(members) => out.extend(members.iter().map(|(key, node)| part(key, node))),
        }
    }

    /// A table as Lua's usual pretty printer writes it.
    fn pretty(&self, depth: usize) -> String {
        let indent = "  ".repeat(depth + 1);
        let lines: Vec<String> = match self {
            Node::Message(text) => return quote(text),
            Node::Items(items) => {
                let mut next = 0;
                let mut line = |(n, node): (&usize, &Node)| {
                    let text = node.pretty(depth + 1);
                    if *n == next {
                        next += 1;
                        format!("{indent}{text}")
                    } else {
                        format!("{indent}[{}] = {text}", n + 1)
                    }
                };
                items.iter().map(&mut line).collect()
            }
            Node::Members(members) => {
                let line = |(key, node): (&str, &Node)| {
                    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                    let key = if plain { key.to_owned() } else { format!("[{}]", quote(key)) };
                    format!("{indent}{key} = {}", node.pretty(depth + 1))
                };
                members.iter().map(|(key, node)| (&**key, node)).map(line).collect()
            }
        };
        if lines.is_empty() {
            return "{\n}".to_owned();
        }
        format!("{{\n{}\n{}}}", lines.join(",\n"), "  ".repeat(depth))
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
