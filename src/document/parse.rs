//! YAML and JSON to nodes. JSON is read as the YAML that it is.

use super::broken;
use super::mask::Masked;
use super::node::{Data, Member, Node};
use super::options::Expansion;
use super::scalar::typed;
use super::template::Template;
use super::text::{Span, Text};
use crate::diagnostics::{Diagnostic, codes};
use base64::Engine as _;
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span as YamlSpan, StructureStyle};
use std::collections::HashMap;
use std::sync::Arc;

/// The deepest nesting.
const DEEPEST: usize = 255;
/// How much aliases may add in all: one for a node, and one for every 64 bytes of its text.
const MOST_ALIASED: usize = 1_000_000;
/// What the tags of YAML itself (`!!int`) begin with in full.
const YAML_TAGS: &str = "tag:yaml.org,2002:";
/// The longest key in characters.
const LONGEST_KEY: usize = 64 * 1024;

/// A text as a tree.
pub struct Parsed {
    /// The root; `None` when the text is broken or holds nothing.
    pub root: Option<Node>,
    /// What is wrong with it.
    pub problems: Vec<Diagnostic>,
    /// What is not laid beside a schema and may be secret, near the problems.
    pub hidden: Vec<Span>,
}

impl Parsed {
    /// A text that cannot be read.
    fn broken(text: &Text, problems: Vec<Diagnostic>) -> Self {
        let hidden = broken::values(text, &problems);
        Parsed { root: None, problems, hidden }
    }
}

/// Reads one text. Never panics, whatever the text is; uses memory in proportion to its size.
pub fn parse(text: &Arc<Text>, expansion: Expansion) -> Parsed {
    let source = text.shared();
    if let Some((offset, control)) = source.char_indices().find(|(_, c)| forbidden(*c)) {
        let place = text.place(Span::new(offset, offset + control.len_utf8()));
        let name = if control == '\0' {
            "a NUL byte".into()
        } else {
            format!("the control character U+{:04X}", u32::from(control))
        };
        let problem = Diagnostic::error(codes::SYNTAX, format!("{name} in the text"))
            .at(place)
            .help("remove it, or write it in a double-quoted string as an escape such as `\\x01`");
        return Parsed::broken(text, vec![problem]);
    }
    let masked = if expansion.deck() { Masked::new(source) } else { Masked::none(source) };
    let mut reader = Reader::new(text, &masked, expansion);
    let mut options = granit_parser::options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
        simple_key_max_lookahead: LONGEST_KEY,
    };
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(&masked.text, options) {
        let go_on = match event {
            Ok((event, span)) => reader.event(event, &span),
            Err(error) => {
                reader.scan_error(&error);
                false
            }
        };
        if !go_on {
            return Parsed::broken(text, reader.problems);
        }
    }
    Parsed { root: reader.root, problems: reader.problems, hidden: reader.hidden }
}

/// Characters that YAML does not allow in a text. A NUL would end the text silently.
fn forbidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) || c == '\u{FEFF}'
}

/// A list or object that is still being read.
struct Open {
    start: Span,
    anchor: usize,
    flow: bool,
    depth: usize,
    weight: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { members: Vec<Member>, merges: Vec<Node>, key: Option<Key> },
}

struct Key {
    text: Box<str>,
    span: Span,
    merge: bool,
}

/// A node that may be repeated by an alias.
struct Anchored {
    node: Node,
    weight: usize,
    depth: usize,
}

struct Reader<'a> {
    text: &'a Text,
    masked: &'a Masked<'a>,
    expansion: Expansion,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    aliased: usize,
    documents: usize,
    root: Option<Node>,
    problems: Vec<Diagnostic>,
    hidden: Vec<Span>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a Text, masked: &'a Masked<'a>, expansion: Expansion) -> Self {
        Reader {
            text,
            masked,
            expansion,
            open: Vec::new(),
            anchors: HashMap::new(),
            aliased: 0,
            documents: 0,
            root: None,
            problems: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// Takes one event; `false` when reading cannot go on.
    fn event(&mut self, event: Event<'_>, at: &YamlSpan) -> bool {
        let span = at.byte_range().map_or_else(Span::default, |range| Span::new(range.start, range.end));
        match event {
            Event::DocumentStart(..) => self.documents += 1,
            Event::Scalar(scalar, style, anchor, tag) => {
                let tag = tag.as_ref().and_then(|tag| tag.suffix_in_namespace(YAML_TAGS));
                return self.scalar(&scalar, style, anchor, tag.as_deref(), span);
            }
            Event::SequenceStart(style, anchor, _) => {
                return self.start(span, style, anchor, Content::List(Vec::new()));
            }
            Event::MappingStart(style, anchor, _) => {
                let content = Content::Map { members: Vec::new(), merges: Vec::new(), key: None };
                return self.start(span, style, anchor, content);
            }
            Event::SequenceEnd | Event::MappingEnd => return self.end(span),
            Event::Alias(id) => return self.alias(id, span),
            Event::UnresolvedAlias(_) => {
                // A password that begins with `*` and was not quoted looks the same.
                self.hidden.push(span);
                self.problem(
                    span,
                    "there is no anchor of this name before this alias".to_owned(),
                    "an alias repeats a node that is marked with `&name` further up in the same file; quote a text that begins with `*`",
                );
                let null = Node { span, plain: true, data: Data::Null };
                return self.add(null, 1, 0, 0);
            }
            _ => {}
        }
        true
    }

    fn problem(&mut self, span: Span, message: String, help: &str) {
        let problem = Diagnostic::error(codes::SYNTAX, message).at(self.text.place(span));
        self.problems.push(if help.is_empty() { problem } else { problem.help(help) });
    }

    fn too_large(&mut self, span: Span, message: String, help: &str) -> bool {
        self.problems.push(Diagnostic::error(codes::TOO_LARGE, message).at(self.text.place(span)).help(help));
        false
    }

    fn start(&mut self, start: Span, style: StructureStyle, anchor: usize, content: Content) -> bool {
        if self.expects_key() {
            self.problem(
                start,
                "a key must be text, not a list or an object".into(),
                "put the key in quotes",
            );
            return false;
        }
        if self.open.len() >= DEEPEST {
            return self.too_deep(start);
        }
        let flow = style == StructureStyle::Flow;
        self.open.push(Open { start, anchor, flow, depth: 1, weight: 1, content });
        true
    }

    fn too_deep(&mut self, at: Span) -> bool {
        self.too_large(
            at,
            format!("the text is nested more than {DEEPEST} levels deep"),
            "no entity needs such nesting",
        )
    }

    fn end(&mut self, end: Span) -> bool {
        let Some(open) = self.open.pop() else { return true };
        let Open { start, anchor, flow, depth, weight, content } = open;
        let (data, last) = match content {
            Content::List(items) => {
                let last = items.last().map(|item| item.span);
                (Data::List(items.into()), last)
            }
            Content::Map { mut members, merges, .. } => {
                let last = members.iter().map(|m| m.value.span.end.max(m.span.end)).max();
                self.report_duplicates(&members);
                self.merge(&mut members, &merges);
                (Data::Map(members.into()), last.map(|end| Span { start: end, end }))
            }
        };
        let end = if flow { end } else { last.unwrap_or(start) };
        let span = start.to(end);
        self.add(Node { span, plain: false, data }, weight, depth, anchor)
    }

    /// Reports keys that stand twice in an object.
    fn report_duplicates(&mut self, members: &[Member]) {
        let mut sorted: Vec<&Member> = members.iter().collect();
        sorted.sort_by(|a, b| (&a.key, a.span).cmp(&(&b.key, b.span)));
        for pair in sorted.windows(2) {
            let [first, second] = pair else { continue };
            if first.key == second.key {
                let earlier = self.text.position(first.span.start);
                let shown: String = second.key.chars().take(80).collect();
                second.value.scalars(&mut |span| self.hidden.push(span));
                self.problems.push(
                    Diagnostic::error(
                        codes::DUPLICATE_KEY,
                        format!("the key `{shown}` stands twice in one object"),
                    )
                    .at(self.text.place(second.span))
                    .label("given again")
                    .help(format!(
                        "it is first given in line {}, column {}; remove one of the two",
                        earlier.line, earlier.column
                    )),
                );
            }
        }
    }

    /// Adds the members of `<<`: the object's own members win, then those of earlier objects.
    fn merge(&mut self, members: &mut Vec<Member>, merges: &[Node]) {
        for merge in merges {
            let sources = match &merge.data {
                Data::Map(_) => std::slice::from_ref(merge),
                Data::List(items) => items,
                _ => &[],
            };
            if sources.is_empty() || sources.iter().any(|source| !matches!(source.data, Data::Map(_))) {
                merge.scalars(&mut |span| self.hidden.push(span));
                self.problem(
                    merge.span,
                    format!("`<<` takes an object or a list of objects, not {}", merge.type_name()),
                    "write `<<: *name`, with `&name` at an object further up",
                );
                continue;
            }
            let mut known: std::collections::HashSet<Box<str>> =
                members.iter().map(|m| m.key.clone()).collect();
            for member in sources.iter().flat_map(Node::members) {
                if known.insert(member.key.clone()) {
                    members.push(member.clone());
                }
            }
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> bool {
        let Some(anchored) = self.anchors.get(&id) else {
            self.problem(
                span,
                "an alias stands inside the node that it repeats".into(),
                "a node cannot hold itself",
            );
            return false;
        };
        let (weight, depth) = (anchored.weight, anchored.depth);
        self.aliased = self.aliased.saturating_add(weight);
        if self.aliased > MOST_ALIASED {
            return self.too_large(
                span,
                "the aliases of this file repeat more than can be read".into(),
                "repeat less, or write shared settings once under `_plugin_configs` or `_info.defaults`",
            );
        }
        if self.open.len() + depth > DEEPEST {
            return self.too_deep(span);
        }
        let node = anchored.node.clone();
        if self.expects_key() {
            return match node.text().map(str::to_owned) {
                Some(text) => self.add_key(&text, span, false),
                None => {
                    self.problem(span, "a key must be text".into(), "put the key in quotes");
                    false
                }
            };
        }
        self.add(node, weight, depth, 0)
    }

    fn scalar(
        &mut self,
        scalar: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&str>,
        span: Span,
    ) -> bool {
        let plain = style == ScalarStyle::Plain && tag != Some("str");
        if self.expects_key() {
            if self.masked.concerns(scalar)
                && !self.masked.pieces(scalar, span).iter().all(|p| matches!(p, super::mask::Piece::Text(_)))
            {
                self.problems.push(
                    Diagnostic::error(codes::BAD_EXPRESSION, "a variable cannot stand in a key")
                        .at(self.text.place(span))
                        .help("variables can stand in values only; write the key out"),
                );
            }
            return self.add_key(scalar, span, plain && scalar == "<<");
        }
        if tag == Some("binary") {
            return self.binary(scalar, anchor, span);
        }
        let data = if scalar.contains('$') || self.masked.concerns(scalar) {
            let pieces = self.masked.pieces(scalar, span);
            Template::new(&pieces, span, self.text, plain, self.expansion)
                .map(|template| Data::Template(Box::new(template)))
        } else {
            None
        };
        let typed_by_tag = matches!(tag, Some("int" | "float" | "bool" | "null"));
        let data = data.unwrap_or_else(|| match plain || typed_by_tag {
            true => typed(scalar),
            false => Data::Text(scalar.into()),
        });
        let weight = 1 + scalar.len() / 64;
        self.add(Node { span, plain, data }, weight, 0, anchor)
    }

    /// Text written in base64.
    fn binary(&mut self, scalar: &str, anchor: usize, span: Span) -> bool {
        let packed: String = scalar.split_whitespace().collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(packed).ok();
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        if text.is_none() {
            self.hidden.push(span);
            let message = "`!!binary` wants text that is written in base64";
            self.problem(
                span,
                message.into(),
                "correct the base64, or write the text itself without the tag",
            );
        }
        let data = text.map_or(Data::Null, |text| Data::Text(text.into()));
        self.add(Node { span, plain: false, data }, 1 + scalar.len() / 64, 0, anchor)
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Map { key: None, .. }, .. }))
    }

    fn add_key(&mut self, text: &str, span: Span, merge: bool) -> bool {
        if let Some(Open { content: Content::Map { key, .. }, weight, .. }) = self.open.last_mut() {
            *key = Some(Key { text: text.into(), span, merge });
            *weight += 1 + text.len() / 64;
        }
        true
    }

    /// Puts a finished node where it belongs: into the open list or object, or at the root.
    fn add(&mut self, node: Node, weight: usize, depth: usize, anchor: usize) -> bool {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), weight, depth });
        }
        let Some(open) = self.open.last_mut() else { return self.add_root(node) };
        open.weight += weight;
        open.depth = open.depth.max(depth + 1);
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { members, merges, key } => match key.take() {
                Some(Key { merge: true, .. }) => merges.push(node),
                Some(Key { text, span, .. }) => members.push(Member { key: text, span, value: node }),
                None => {}
            },
        }
        true
    }

    fn add_root(&mut self, node: Node) -> bool {
        if self.documents <= 1 {
            self.root = Some(node);
        } else if !node.is_null() {
            node.scalars(&mut |span| self.hidden.push(span));
            self.problems.push(
                Diagnostic::error(codes::SECOND_DOCUMENT, "a second document begins in this file")
                    .at(self.text.place(node.head()))
                    .help("a state file holds one document; move this one to a file of its own"),
            );
        }
        true
    }

    fn scan_error(&mut self, error: &ScanError) {
        let offset = error.marker().byte_offset().unwrap_or(0).min(self.text.shared().len());
        let width = self.text.shared().get(offset..).and_then(|rest| rest.chars().next());
        let width = width.filter(|c| !matches!(c, '\n' | '\r')).map_or(0, char::len_utf8);
        let span = Span::new(offset, offset + width);
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            self.too_deep(span);
            return;
        }
        let help = match error.kind() {
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar => "YAML is indented with spaces; replace the tab",
            ErrorKind::UnclosedQuotedScalar => "close the string with the quote that it begins with",
            ErrorKind::UnexpectedCharacter { .. } => "put the text in quotes",
            ErrorKind::MappingValueNotAllowed => {
                "put text that holds `: ` in quotes, and check the indentation"
            }
            _ => "",
        };
        self.problem(span, error.info(), help);
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
