//! One rule of the router: what a route asks of a request, and where it stands in the order.

use super::{Found, Question};
use crate::gateway::plugins::ConfigError;
use crate::value::Value;
use http::header::HeaderName;
use ipnet::IpNet;
use regex::Regex;
use std::borrow::Cow;
use std::net::SocketAddr;
use uuid::Uuid;

/// Kong's namespace for the ids of the parts of a route whose paths differ in length.
const PARTS: Uuid = Uuid::from_u128(0x7f14_5bf9_0dce_4f91_98eb_debb_ce4b_9f6b);

/// A rule: all that is present must match.
pub(super) struct Rule {
    priority: u64,
    id: Uuid,
    snis: Vec<Pattern>,
    sources: Vec<Net>,
    destinations: Vec<Net>,
    methods: Vec<Box<str>>,
    hosts: Vec<Host>,
    paths: Paths,
    headers: Vec<(HeaderName, Vec<HeaderTest>)>,
}

enum Paths {
    Any,
    Plain(Vec<Box<str>>),
    Regex(Vec<Regex>),
}

struct Host {
    pattern: Pattern,
    port: Option<u16>,
}

/// A name, or the beginning or end of names: `*.example.com`, `example.*`.
struct Pattern {
    text: Box<str>,
    part: Part,
}

enum Part {
    Whole,
    Beginning,
    End,
}

struct Net {
    ip: Option<IpNet>,
    port: Option<u16>,
}

enum HeaderTest {
    Equal(Box<str>),
    Regex(Regex),
}

/// The rules of a route: one for its regular expressions, one for each length of its plain paths.
pub(super) fn rules(id: Uuid, row: &Value) -> Result<Vec<Rule>, ConfigError> {
    let mut groups: Vec<(usize, Vec<&str>)> = Vec::new();
    for path in texts(row, "paths") {
        let key = if path.starts_with('~') { 0 } else { path.len() };
        match groups.iter_mut().find(|(length, _)| *length == key) {
            Some((_, group)) => group.push(path),
            None => groups.push((key, vec![path])),
        }
    }
    match groups.as_slice() {
        [] => Ok(vec![rule(id, row, &[])?]),
        [(_, paths)] => Ok(vec![rule(id, row, paths)?]),
        several => several
            .iter()
            .zip(1..)
            .map(|((_, paths), part)| {
                rule(Uuid::new_v5(&PARTS, format!("{id}#{part}").as_bytes()), row, paths)
            })
            .collect(),
    }
}

fn rule(id: Uuid, row: &Value, paths: &[&str]) -> Result<Rule, ConfigError> {
    let paths = match paths.first() {
        None => Paths::Any,
        Some(first) if first.starts_with('~') => {
            Paths::Regex(paths.iter().map(|path| path_regex(path)).collect::<Result<_, _>>()?)
        }
        Some(_) => Paths::Plain(paths.iter().map(|&path| path.into()).collect()),
    };
    let mut rule = Rule {
        priority: 0,
        id,
        snis: texts(row, "snis").map(|sni| pattern(sni.strip_suffix('.').unwrap_or(sni))).collect(),
        sources: nets(row, "sources")?,
        destinations: nets(row, "destinations")?,
        methods: texts(row, "methods").map(Into::into).collect(),
        hosts: texts(row, "hosts").map(host).collect(),
        paths,
        headers: headers(row)?,
    };
    rule.priority = rule.priority(row);
    Ok(rule)
}

impl Rule {
    /// Rules are sorted by this, the greatest first.
    pub(super) fn order(&self) -> (u64, Uuid) {
        (self.priority, self.id)
    }

    /// The hosts, if the rule has some and all are plain names without a port.
    pub(super) fn plain_hosts(&self) -> Option<impl Iterator<Item = &Box<str>>> {
        let plain = |host: &Host| matches!(host.pattern.part, Part::Whole) && host.port.is_none();
        let all = !self.hosts.is_empty() && self.hosts.iter().all(plain);
        all.then(|| self.hosts.iter().map(|host| &host.pattern.text))
    }

    /// The path prefixes, if the rule has plain ones.
    pub(super) fn plain_paths(&self) -> Option<&[Box<str>]> {
        match &self.paths {
            Paths::Plain(prefixes) => Some(prefixes),
            _ => None,
        }
    }

    /// Kong's number: how many sorts of rules, then plain hosts, headers, regular expressions with their priority,
    /// and the length of plain paths.
    fn priority(&self, row: &Value) -> u64 {
        let headers = self.headers.len().min(255) as u64;
        let sorts = [
            !self.sources.is_empty(),
            !self.destinations.is_empty(),
            !self.methods.is_empty(),
            !self.hosts.is_empty(),
            !self.headers.is_empty(),
            !self.snis.is_empty(),
            !matches!(self.paths, Paths::Any),
        ];
        let weight = sorts.iter().filter(|present| **present).count() as u64;
        let no_wildcard = self.hosts.iter().all(|host| matches!(host.pattern.part, Part::Whole));
        let plain_hosts = u64::from(!self.hosts.is_empty() && no_wildcard);
        let (regex, regex_priority, length) = match &self.paths {
            Paths::Any => (0, 0, 0),
            Paths::Plain(prefixes) => (0, 0, prefixes.first().map_or(0, |p| p.len()) as u64 & 0x7_FFFF),
            Paths::Regex(_) => (1, row.get("regex_priority").and_then(Value::as_i64).unwrap_or(0), 0),
        };
        (weight << 61)
            | (plain_hosts << 60)
            | (headers << 52)
            | (regex << 51)
            | ((regex_priority as u64) << 19)
            | length
    }

    /// What matched of the route at a position, if all of the rule does.
    pub(super) fn matches<'a>(
        &self,
        route: u32,
        question: &Question<'a>,
        host: &str,
        port: Option<u16>,
    ) -> Option<Found<'a>> {
        if !self.methods.is_empty() && !self.methods.iter().any(|m| &**m == question.method.as_str()) {
            return None;
        }
        let port = port.unwrap_or(question.destination.port());
        if !self.hosts.is_empty() && !self.hosts.iter().any(|pattern| pattern.matches(host, port)) {
            return None;
        }
        if !self.snis.is_empty() && question.scheme == "https" {
            let sni = question.sni?;
            if !self.snis.iter().any(|pattern| pattern.matches(sni)) {
                return None;
            }
        }
        let net = |nets: &[Net], address| nets.is_empty() || nets.iter().any(|net| net.matches(address));
        if !net(&self.sources, question.source) || !net(&self.destinations, question.destination) {
            return None;
        }
        let asked = |(name, tests): &(HeaderName, Vec<HeaderTest>)| {
            question.headers.get_all(name).iter().any(|value| {
                let text = String::from_utf8_lossy(value.as_bytes()).to_lowercase();
                tests.iter().any(|test| test.matches(&text))
            })
        };
        if !self.headers.iter().all(asked) {
            return None;
        }
        self.match_path(route, question.path)
    }

    fn match_path<'a>(&self, route: u32, path: &'a str) -> Option<Found<'a>> {
        let mut found = Found { route: route as usize, prefix: None, captures: Vec::new() };
        match &self.paths {
            Paths::Any => {}
            Paths::Plain(prefixes) => {
                let prefix = prefixes.iter().find(|prefix| path.starts_with(&***prefix))?;
                found.prefix = path.get(..prefix.len()).map(Cow::Borrowed);
            }
            Paths::Regex(patterns) => {
                let (pattern, captures) =
                    patterns.iter().find_map(|pattern| pattern.captures(path).map(|c| (pattern, c)))?;
                found.prefix = captures.get(0).map(|whole| Cow::Borrowed(whole.as_str()));
                for (number, name) in pattern.capture_names().enumerate().skip(1) {
                    let Some(part) = captures.get(number) else { continue };
                    found.captures.push((number.to_string().into(), part.as_str().into()));
                    if let Some(name) = name {
                        found.captures.push((name.into(), part.as_str().into()));
                    }
                }
            }
        }
        Some(found)
    }
}

impl Host {
    fn matches(&self, host: &str, port: u16) -> bool {
        self.pattern.matches(host) && self.port.is_none_or(|wanted| wanted == port)
    }
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        match self.part {
            Part::Whole => name == &*self.text,
            Part::Beginning => name.starts_with(&*self.text),
            Part::End => name.ends_with(&*self.text),
        }
    }
}

impl Net {
    fn matches(&self, address: SocketAddr) -> bool {
        self.ip.is_none_or(|net| net.contains(&address.ip().to_canonical()))
            && self.port.is_none_or(|port| port == address.port())
    }
}

impl HeaderTest {
    fn matches(&self, text: &str) -> bool {
        match self {
            HeaderTest::Equal(wanted) => text == &**wanted,
            HeaderTest::Regex(pattern) => pattern.is_match(text),
        }
    }
}

fn texts<'a>(row: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    row.get(field).and_then(Value::as_array).unwrap_or_default().iter().filter_map(Value::exposed_str)
}

fn host(text: &str) -> Host {
    let (name, port) = super::split_port(text);
    Host { pattern: pattern(name), port }
}

fn pattern(text: &str) -> Pattern {
    let (text, part) = match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(end), _) => (end, Part::End),
        (None, Some(beginning)) => (beginning, Part::Beginning),
        (None, None) => (text, Part::Whole),
    };
    Pattern { text: text.into(), part }
}

/// A path's regular expression matches from the beginning.
fn path_regex(path: &str) -> Result<Regex, ConfigError> {
    let pattern = path.strip_prefix('~').unwrap_or(path);
    Regex::new(&format!("^{pattern}")).map_err(|e| ConfigError::new("paths", e.to_string()))
}

fn headers(row: &Value) -> Result<Vec<(HeaderName, Vec<HeaderTest>)>, ConfigError> {
    let Some(headers) = row.get("headers").and_then(Value::as_object) else { return Ok(Vec::new()) };
    headers
        .iter()
        .map(|(name, values)| {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|e| ConfigError::new("headers", e.to_string()))?;
            let values = values.as_array().unwrap_or_default().iter().filter_map(Value::exposed_str);
            let tests = values.map(|value| match value.strip_prefix("~*") {
                Some(pattern) => Regex::new(&pattern.to_lowercase())
                    .map(HeaderTest::Regex)
                    .map_err(|e| ConfigError::new("headers", e.to_string())),
                None => Ok(HeaderTest::Equal(value.to_lowercase().into())),
            });
            Ok((name, tests.collect::<Result<_, _>>()?))
        })
        .collect()
}

fn nets(row: &Value, field: &str) -> Result<Vec<Net>, ConfigError> {
    let items = row.get(field).and_then(Value::as_array).unwrap_or_default();
    let net = |item: &Value| {
        let ip = item.get("ip").and_then(Value::exposed_str).map(|text| {
            text.parse::<IpNet>()
                .map(|net| net.trunc())
                .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
                .map_err(|_| ConfigError::new(field, "no address"))
        });
        let port = item.get("port").and_then(Value::as_i64).and_then(|port| u16::try_from(port).ok());
        Ok(Net { ip: ip.transpose()?, port })
    };
    items.iter().map(net).collect()
}
