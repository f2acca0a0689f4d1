//! What is legal and probably not meant: warnings.

use super::super::{Documents, Node, Span};
use super::Made;
use super::collect::{Collected, Draft};
use super::layers::{Layers, field, inside, place};
use crate::diagnostics::{Code, Diagnostic, codes};
use crate::model::Target;
use crate::schema::{Check, Deprecation, Field, Kind, Schemas, Type};
use crate::value::{Origin, Path, Step, Value};
use std::collections::{BTreeMap, HashMap};

/// Plugins that take a consumer's credentials from the request.
const CREDENTIAL_PLUGINS: [&str; 11] = [
    "basic-auth",
    "hmac-auth",
    "jwt",
    "key-auth",
    "key-auth-enc",
    "ldap-auth",
    "ldap-auth-advanced",
    "oauth2",
    "oauth2-introspection",
    "openid-connect",
    "vault-auth",
];
/// The plugin whose limits consumer groups could override before Kong Gateway 3.4, and its fields for that.
const OVERRIDDEN: &str = "rate-limiting-advanced";
const OVERRIDING: [&str; 2] = ["consumer_groups", "enforce_consumer_groups"];
/// The check of the paths that a router matches.
const ROUTER_PATH: &str = "router_path";
/// What stands in a regular expression and hardly ever in a plain path.
const REGEX_SIGNS: [&str; 9] = ["(", "[", "\\", "^", ".*", ".+", "|", "$", "{"];
/// The fields by which a router chooses; a route takes what another takes when each of these does.
const CRITERIA: [&str; 6] = ["hosts", "methods", "paths", "snis", "sources", "destinations"];
/// How many of the lines with a secret are named.
const MOST_LINES: usize = 3;
/// How many earlier routes with a path in common a route is compared with.
const MOST_COMPARED: usize = 64;

/// Looks for what is legal and probably not meant: all of it when files are validated, and before every run at least
/// paths that a gateway before 3.0 took for regular expressions, as decK does.
pub(super) fn lint(
    documents: &Documents,
    schemas: &Schemas,
    collected: &Collected<'_>,
    made: &[Made],
    problems: &mut Vec<Diagnostic>,
) {
    let clear = BTreeMap::new();
    let mut linter = Linter { documents, schemas, collected, made, problems, clear, routes: HashMap::new() };
    let mut overrides = false;
    for (index, (draft, one)) in collected.drafts.iter().zip(made).enumerate() {
        linter.regex_paths(draft, one);
        linter.overrides(draft, one, !overrides);
        overrides |= draft.kind.file.instead_of.is_some();
        if !documents.options.lint {
            continue;
        }
        linter.deprecated(draft, one);
        linter.clear_secrets(draft, one);
        linter.plain_http(draft, one);
        linter.shadowed(index, draft, one);
    }
    linter.tell_clear_secrets();
}

struct Linter<'l, 'a> {
    documents: &'l Documents,
    schemas: &'l Schemas,
    collected: &'l Collected<'a>,
    made: &'l [Made],
    problems: &'l mut Vec<Diagnostic>,
    /// The places of secrets written in clear, by document, kind and field, each with its path.
    clear: BTreeMap<(usize, &'l str, String), BTreeMap<Span, String>>,
    /// Routes by each of their paths (or hosts, or nothing).
    routes: HashMap<String, Vec<usize>>,
}

impl<'l, 'a> Linter<'l, 'a> {
    fn warn(
        &mut self,
        code: Code,
        draft: &Draft<'_>,
        at: (usize, Span),
        path: &Path,
        message: String,
        help: String,
    ) {
        self.tell(Diagnostic::warning(code, message).help(help), draft, at, path);
    }

    fn tell(&mut self, problem: Diagnostic, draft: &Draft<'_>, at: (usize, Span), path: &Path) {
        let path = match path.is_root() {
            true => self.collected.path(draft),
            false => format!("{}.{path}", self.collected.path(draft)),
        };
        self.problems.push(problem.at(place(self.documents, at.0, at.1)).path(path));
    }

    /// Limits of consumer groups in the manner of gateways before 3.4: with the setting for it a warning, without it an
    /// error, as with decK.
    fn overrides(&mut self, draft: &Draft<'a>, made: &Made, first: bool) {
        let takes_over = |kind: &Kind| kind.file.instead_of.is_some();
        if takes_over(&draft.kind) {
            if first {
                let message =
                    "policy overrides of consumer groups are deprecated since Kong Gateway 3.4".to_owned();
                let help = "write them as plugins of the groups, and take `consumer_group_policy_overrides` away; both \
                            together get into each other's way";
                let at = (draft.document, draft.node.head());
                self.warn(codes::DEPRECATED_FIELD, draft, at, &Path::root(), message, help.to_owned());
            }
            return;
        }
        let body = &made.entity.body;
        let is_limiter =
            draft.kind.subschema.as_ref().is_some_and(|subschema| {
                body.get(&subschema.key).and_then(Value::as_str) == Some(OVERRIDDEN)
            });
        let off = |kind: &std::sync::Arc<Kind>| takes_over(kind) && !kind.file.has_place();
        if !is_limiter || !self.schemas.kinds().iter().any(off) {
            return;
        }
        let config = Path::root().key("config");
        let set = |value: &Value| {
            value.as_array().is_some_and(|groups| !groups.is_empty()) || value.as_bool() == Some(true)
        };
        let fields = OVERRIDING.map(|name| config.key(name));
        let Some(path) = fields.into_iter().find(|path| body.at(path).is_some_and(set)) else { return };
        let at = Layers::of(self.collected, draft).find(&path).at;
        let message = format!("limits of consumer groups are plugins of the groups, not `{path}`");
        let problem = Diagnostic::error(codes::POLICY_OVERRIDE, message).help(
            "write a rate-limiting-advanced plugin for each group, or keep the overrides with \
             --consumer-group-policy-overrides (`_info.consumer_group_policy_overrides: true`)",
        );
        self.tell(problem, draft, (at.document, at.node.head()), &path);
    }

    /// Fields that are on their way out, as they are written.
    fn deprecated(&mut self, draft: &Draft<'a>, made: &Made) {
        if draft.item.is_some() {
            return;
        }
        let kind = &draft.kind;
        let schemas = self.schemas;
        let variant = schemas.variant_of(kind, &made.entity.body);
        let layers = Layers::of(self.collected, draft);
        let mut found: Vec<(Span, Path, &Deprecation)> = Vec::new();
        for member in layers.own.node.members() {
            if let Some(known) = field(&kind.record, variant, &member.key) {
                let path = Path::root().key(&member.key);
                walk(&member.value, known, &path, member.span, &mut found);
            }
        }
        for (span, path, deprecation) in found {
            let name = path.last_key().unwrap_or_default().to_owned();
            let parent = path.parent().unwrap_or_default();
            let successors: Vec<String> =
                deprecation.replaced_with.iter().map(|to| format!("`{}`", parent.join(to))).collect();
            let help = match (successors.is_empty(), &deprecation.removal_in) {
                (false, _) => format!("write {}", successors.join(" and ")),
                (true, Some(version)) => format!("it goes with version {version}"),
                (true, None) => "leave it out".to_owned(),
            };
            let message = format!("`{name}` is deprecated: {}", deprecation.message);
            self.warn(codes::DEPRECATED_FIELD, draft, (draft.document, span), &path, message, help);
        }
    }

    /// Credentials that everyone who reads the file can read.
    fn clear_secrets(&mut self, draft: &Draft<'a>, made: &'l Made) {
        let mut found = Vec::new();
        literal_secrets(&made.entity.body, &Path::root(), &mut found);
        for path in found {
            let layers = Layers::of(self.collected, draft);
            let variant = self.schemas.variant_of(&draft.kind, &made.entity.body);
            let at = layers.find_written(&path, &draft.kind.record, variant).at;
            let field =
                path.steps().iter().filter(|step| matches!(step, Step::Key(_))).cloned().collect::<Path>();
            let key = (at.document, &*made.entity.kind.report.word, field.to_string());
            let places = self.clear.entry(key).or_default();
            places.entry(at.node.head()).or_insert_with(|| format!("{}.{path}", self.collected.path(draft)));
        }
    }

    /// One warning for each file, kind and field: a file may hold thousands of credentials.
    fn tell_clear_secrets(&mut self) {
        for ((document, word, field), places) in std::mem::take(&mut self.clear) {
            let Some((first, path)) = places.first_key_value() else { continue };
            let Some(text) = self.documents.documents.get(document).map(|document| &document.text) else {
                continue;
            };
            let message = format!("{word}: `{field}` is a secret, written in clear");
            let mut problem =
                Diagnostic::warning(codes::CLEAR_SECRET, message).at(text.place(*first)).path(path);
            let mut lines: Vec<u32> =
                places.keys().skip(1).map(|span| text.position(span.start).line).collect();
            lines.dedup();
            if let Some(last) = lines.last() {
                let few: Vec<String> = lines.iter().take(MOST_LINES).map(u32::to_string).collect();
                let few = few.join(", ");
                problem = problem.help(match places.len() - 1 {
                    1 => format!("so is that in line {few}"),
                    more if lines.len() <= MOST_LINES => format!("so are {more} more, in lines {few}"),
                    more => format!("so are {more} more, in lines {few} and on to line {last}"),
                });
            }
            self.problems
                .push(problem.help("take it from a variable (`$NAME`) or from a vault (`{vault://...}`)"));
        }
    }

    fn regex_paths(&mut self, draft: &Draft<'a>, made: &Made) {
        let is_paths = |field: &&Field| {
            matches!(&field.ty, Type::Array(element) | Type::Set(element)
                if element.checks.iter().any(|check| matches!(check, Check::Named(name) if &**name == ROUTER_PATH)))
        };
        let names: Vec<Box<str>> =
            draft.kind.record.fields.iter().filter(is_paths).map(|field| field.name.clone()).collect();
        for name in names {
            let paths = made.entity.body.get(&name).and_then(Value::as_array).unwrap_or_default();
            for (index, value) in paths.iter().enumerate() {
                let Some(text) = value.as_str().filter(|text| text.starts_with('/')) else { continue };
                if !REGEX_SIGNS.iter().any(|sign| text.contains(sign)) {
                    continue;
                }
                let path = Path::root().key(&name).index(index);
                let at = Layers::of(self.collected, draft).find(&path).at;
                let shown = super::references::clip(text);
                let message = format!(
                    "the path `{shown}` looks like a regular expression and is matched as plain text"
                );
                let help = match without_placeholders(&shown) {
                    Some(regex) => format!("`{{name}}` is no placeholder; write `~{regex}`"),
                    None => format!("write `~{shown}` for a regular expression"),
                };
                self.warn(codes::REGEX_PATH, draft, (at.document, at.node.span), &path, message, help);
            }
        }
    }

    /// A plugin that takes credentials, on a route that is written to take plain HTTP.
    fn plain_http(&mut self, draft: &Draft<'a>, made: &Made) {
        let Some(subschema) = &draft.kind.subschema else { return };
        let name = made.entity.body.get(&subschema.key).and_then(Value::as_str).unwrap_or_default();
        if !CREDENTIAL_PLUGINS.contains(&name) {
            return;
        }
        let owners: Vec<usize> = made
            .entity
            .references
            .values()
            .filter_map(|reference| match reference.target {
                Target::Entity(index) => Some(index),
                _ => None,
            })
            .collect();
        for owner in owners {
            let Some((entity, owner_draft)) = self.made.get(owner).zip(self.collected.drafts.get(owner))
            else {
                continue;
            };
            let protocols = entity.entity.body.get("protocols").and_then(Value::as_array).unwrap_or_default();
            let Some(index) = protocols.iter().position(|protocol| protocol.as_str() == Some("http")) else {
                continue;
            };
            let redirected = entity.entity.body.get("https_redirect_status_code").is_some();
            if redirected && protocols.len() == 1 {
                continue;
            }
            let path = Path::root().key("protocols").index(index);
            let at = Layers::of(self.collected, owner_draft).find(&path).at;
            let word = &owner_draft.kind.report.word;
            let message =
                format!("the credentials that {name} asks for may reach this {word} over plain HTTP");
            let help = "write `protocols: [https]`".to_owned();
            self.warn(codes::PLAIN_HTTP, owner_draft, (at.document, at.node.span), &path, message, help);
        }
    }

    /// A route all of whose requests go to an earlier one.
    fn shadowed(&mut self, index: usize, draft: &Draft<'a>, made: &Made) {
        if !routes(&draft.kind) || !made.unknown.is_empty() {
            return;
        }
        let body = &made.entity.body;
        let keys = keys(body);
        let earlier: Vec<usize> = keys
            .first()
            .and_then(|key| self.routes.get(key))
            .map(|all| all.iter().take(MOST_COMPARED).copied().collect())
            .unwrap_or_default();
        let taker = earlier
            .into_iter()
            .find(|other| self.made.get(*other).is_some_and(|other| takes_all(&other.entity.body, body)));
        if let Some(other) = taker
            && let Some((one, other)) = self.made.get(other).zip(self.collected.drafts.get(other))
        {
            let label = one.entity.label().filter(|label| !label.is_empty());
            let name = label.map_or_else(
                || "an earlier route".to_owned(),
                |label| format!("the route `{}`", super::references::clip(label)),
            );
            let at = place(self.documents, other.document, other.node.head());
            let at = at.map_or_else(String::new, |place| format!(" at {place}"));
            let message = format!("no request reaches this route: {name} takes them all");
            let help = format!("remove it, or make it narrower than {name}{at}");
            self.warn(
                codes::SHADOWED_ROUTE,
                draft,
                (draft.document, draft.node.head()),
                &Path::root(),
                message,
                help,
            );
        }
        for key in keys {
            let all = self.routes.entry(key).or_default();
            if all.len() < MOST_COMPARED {
                all.push(index);
            }
        }
    }
}

/// Lists the deprecated fields that are written in a node.
fn walk<'s>(
    node: &Node,
    known: &'s Field,
    path: &Path,
    key: Span,
    found: &mut Vec<(Span, Path, &'s Deprecation)>,
) {
    if let Some(deprecation) = &known.deprecation {
        found.push((key, path.clone(), deprecation));
    }
    for member in node.members() {
        let step = Step::Key(member.key.clone());
        if let Some(known) = inside(known, &step) {
            walk(&member.value, known, &path.step(step), member.span, found);
        }
    }
    for (index, item) in node.items().iter().enumerate() {
        if let Some(known) = inside(known, &Step::Index(index)) {
            walk(item, known, &path.index(index), item.head(), found);
        }
    }
}

/// Lists the secrets of a value that stand in a file as they are. Vault references are none.
fn literal_secrets(value: &Value, at: &Path, found: &mut Vec<Path>) {
    match value {
        Value::Secret(secret)
            if matches!(secret.origin(), Origin::Literal(_))
                && !secret.expose_text().starts_with("{vault://") =>
        {
            found.push(at.clone());
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| literal_secrets(item, &at.index(index), found));
        }
        Value::Object(members) => {
            members.iter().for_each(|(key, member)| literal_secrets(member, &at.key(key), found));
        }
        _ => {}
    }
}

/// A path whose parts in braces (`/users/{id}`) are groups of a regular expression; `None` when it has none.
fn without_placeholders(path: &str) -> Option<String> {
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').filter(|(name, _)| is_name(name))?;
        out.push_str(&format!("{before}(?<{name}>[^/]+)"));
        rest = after;
    }
    (rest.len() < path.len()).then(|| out + rest + "$")
}

/// Whether entities of a kind are what a router chooses among.
fn routes(kind: &Kind) -> bool {
    CRITERIA.iter().all(|name| kind.record.field(name).is_some())
}

/// What a route is found by: its paths, else its hosts, else nothing.
fn keys(body: &Value) -> Vec<String> {
    let list = |name: &str| body.get(name).and_then(Value::as_array).filter(|items| !items.is_empty());
    let texts = |items: &[Value]| items.iter().filter_map(Value::exposed_str).map(str::to_owned).collect();
    list("paths").or_else(|| list("hosts")).map_or_else(|| vec![String::new()], texts)
}

/// Whether every request that `later` could take goes to `first`, as Kong's traditional router ranks them: both
/// name the same criteria, and what the later one asks for is part of what the first one asks for.
fn takes_all(first: &Value, later: &Value) -> bool {
    let list = |body: &Value, name: &str| -> Vec<Value> {
        body.get(name).and_then(Value::as_array).map(<[Value]>::to_vec).unwrap_or_default()
    };
    let expression = |body: &Value| body.get("expression").is_some_and(|text| !text.is_null());
    if expression(first) || expression(later) {
        return false;
    }
    let within = |name: &str| {
        let (first, later) = (list(first, name), list(later, name));
        first.is_empty() == later.is_empty() && later.iter().all(|item| first.contains(item))
    };
    let priority = |body: &Value| body.get("regex_priority").and_then(Value::as_i64).unwrap_or(0);
    let same_headers =
        first.get("headers").filter(|h| !h.is_null()) == later.get("headers").filter(|h| !h.is_null());
    let protocols = |body: &Value| match list(body, "protocols") {
        written if written.is_empty() => vec![Value::from("http"), Value::from("https")],
        written => written,
    };
    let (taken, asked) = (protocols(first), protocols(later));
    CRITERIA.iter().all(|name| within(name))
        && same_headers
        && asked.iter().all(|protocol| taken.contains(protocol))
        && priority(first) >= priority(later)
}
