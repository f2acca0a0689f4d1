//! The tree of one state file: nodes that know where they stand.

use super::template::Template;
use super::text::Span;
use crate::value::{Map, Number, Value};

/// A node of a state file.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// A scalar without quotes.
    pub plain: bool,
    /// What it is.
    pub data: Data,
}

/// The content of a node.
#[derive(Clone, Debug)]
pub enum Data {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text without variables.
    Text(Box<str>),
    /// Text with variables or what looks like them.
    Template(Box<Template>),
    /// A list.
    List(Box<[Node]>),
    /// An object, its members in the file's order, without repeated keys.
    Map(Box<[Member]>),
}

/// A member of an object.
#[derive(Clone, Debug)]
pub struct Member {
    /// The key.
    pub key: Box<str>,
    /// Where the key stands.
    pub span: Span,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A member's value.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|member| &member.value)
    }

    /// A member.
    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().find(|member| &*member.key == key)
    }

    /// The members of an object; none for anything else.
    pub fn members(&self) -> &[Member] {
        match &self.data {
            Data::Map(members) => members,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    /// Text without variables.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// What messages call it.
    pub fn type_name(&self) -> &'static str {
        match &self.data {
            Data::Null => "null",
            Data::Bool(_) => "a boolean",
            Data::Number(_) => "a number",
            Data::Text(_) | Data::Template(_) => "a string",
            Data::List(_) => "a list",
            Data::Map(_) => "an object",
        }
    }

    /// The span to underline: the node itself, or the head of an object or list that has no line of its own.
    pub fn head(&self) -> Span {
        match &self.data {
            Data::Map(members) => members.first().map_or(self.span, |first| match first.value.data {
                Data::Map(_) | Data::List(_) => first.span,
                _ => first.span.to(first.value.span),
            }),
            Data::List(items) => items.first().map_or(self.span, Node::head),
            _ => self.span,
        }
    }

    /// Calls a function for the span of every scalar in this node that may hold text of any kind.
    pub fn scalars(&self, each: &mut dyn FnMut(Span)) {
        match &self.data {
            Data::Null => {}
            Data::List(items) => items.iter().for_each(|item| item.scalars(each)),
            Data::Map(members) => members.iter().for_each(|member| member.value.scalars(each)),
            _ => each(self.span),
        }
    }

    /// The value, its templates made into values by the given function.
    pub fn to_value(&self, expand: &mut dyn FnMut(&Template, Span) -> Value) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(b) => Value::Bool(*b),
            Data::Number(n) => Value::Number(n.clone()),
            Data::Text(text) => Value::String(text.to_string()),
            Data::Template(template) => expand(template, self.span),
            Data::List(items) => Value::Array(items.iter().map(|item| item.to_value(expand)).collect()),
            Data::Map(members) => {
                let mut map = Map::with_capacity(members.len());
                for member in members {
                    map.insert(member.key.clone(), member.value.to_value(expand));
                }
                Value::Object(map)
            }
        }
    }
}
