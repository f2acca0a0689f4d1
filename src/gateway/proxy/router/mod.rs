//! Which route a request takes. Rules and order are those of Kong's `traditional_compatible` router: every route
//! becomes rules with a computed priority; the first rule in order that matches wins. Routes with an `expression`
//! are matched by the same library that Kong uses.
//!
//! What does not live here: what happens to a request once its route is known.

mod expression;
mod rule;

use super::views::{self, Route};
use crate::gateway::plugins::ConfigError;
use crate::gateway::proxy::rows::Text;
use crate::value::Value;
use expression::Expressions;
use http::{HeaderMap, Method};
use rule::Rule;
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use uuid::Uuid;

/// What the router looks at.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a Method,
    /// The normalised path.
    pub path: &'a str,
    /// The query, as it came.
    pub query: Option<&'a str>,
    /// The `Host` header as it came, with its port if it has one.
    pub host: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub source: SocketAddr,
    /// The listener's address.
    pub destination: SocketAddr,
}

/// The route that matched.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The route's position in the list that the router was made from.
    pub route: usize,
    /// The part of the path that matched; `None` when the path played no part.
    pub prefix: Option<Cow<'a, str>>,
    /// Captures of a regular expression: by number from 1, and by name.
    pub captures: Vec<(Box<str>, Box<str>)>,
}

/// A route, and what it asks of a request.
pub struct Compiled {
    /// Its id.
    pub id: Uuid,
    /// The route.
    pub route: Arc<Route>,
    /// Its service.
    pub service: Option<Uuid>,
    /// Of the row that it was made from.
    pub digest: u64,
    matching: Result<Matching, ConfigError>,
}

enum Matching {
    Rules(Vec<Arc<Rule>>),
    Expression { text: Box<str>, priority: usize },
}

impl Compiled {
    /// Reads a route from its row and the row's text.
    pub fn new(id: Uuid, row: &Value, text: &str, digest: u64) -> Self {
        let matching = match row.get("expression").and_then(Value::exposed_str) {
            Some(text) => {
                let priority = views::integer(row, "priority").and_then(|n| usize::try_from(n).ok());
                Ok(Matching::Expression { text: text.into(), priority: priority.unwrap_or(0) })
            }
            None => {
                rule::rules(id, row).map(|rules| Matching::Rules(rules.into_iter().map(Arc::new).collect()))
            }
        };
        let route = Arc::new(views::route(row, Text::new(text)));
        Compiled { id, route, service: views::target(row, "service"), digest, matching }
    }
}

/// Rules in order, and an index that finds those which can match.
#[derive(Default)]
pub struct Router {
    /// The positions of routes, and their rules.
    rules: Vec<(u32, Arc<Rule>)>,
    by_host: HashMap<Box<str>, PathIndex>,
    any_host: PathIndex,
    expressions: Expressions,
}

/// Rules by plain path prefix; all others beside. Positions in [`Router::rules`], ascending.
#[derive(Default)]
struct PathIndex {
    by_prefix: HashMap<Box<str>, Vec<u32>>,
    /// The lengths of the prefixes, ascending.
    lengths: Vec<usize>,
    others: Vec<u32>,
}

impl Router {
    /// A router for these routes, and the routes that cannot be matched.
    pub fn new<'r>(routes: &[&'r Compiled]) -> (Self, Vec<(&'r Route, ConfigError)>) {
        let mut router = Router::default();
        let mut problems = Vec::new();
        for (position, compiled) in (0u32..).zip(routes) {
            let added = match &compiled.matching {
                Ok(Matching::Expression { text, priority }) => {
                    router.expressions.add(position, compiled.id, text, *priority)
                }
                Ok(Matching::Rules(rules)) => {
                    router.rules.extend(rules.iter().map(|rule| (position, Arc::clone(rule))));
                    Ok(())
                }
                Err(error) => Err(error.clone()),
            };
            if let Err(error) = added {
                problems.push((&*compiled.route, error));
            }
        }
        router.rules.sort_by_key(|(_, rule)| std::cmp::Reverse(rule.order()));
        for (position, (_, rule)) in (0u32..).zip(&router.rules) {
            match rule.plain_hosts() {
                Some(hosts) => {
                    for host in hosts {
                        router.by_host.entry(host.clone()).or_default().add(position, rule);
                    }
                }
                None => router.any_host.add(position, rule),
            }
        }
        (router, problems)
    }

    /// The route of a request.
    pub fn find<'a>(&self, question: &Question<'a>) -> Option<Found<'a>> {
        if let Some(found) = self.expressions.find(question) {
            return Some(found);
        }
        let (host, port) = split_port(question.host);
        let mut candidates: Candidates<'_> = Candidates::default();
        if let Some(index) = self.by_host.get(host) {
            index.candidates(question.path, &mut candidates);
        }
        self.any_host.candidates(question.path, &mut candidates);
        while let Some(position) = candidates.next() {
            let found = self
                .rules
                .get(position as usize)
                .and_then(|(route, rule)| rule.matches(*route, question, host, port));
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl PathIndex {
    fn add(&mut self, position: u32, rule: &Rule) {
        let Some(prefixes) = rule.plain_paths() else {
            self.others.push(position);
            return;
        };
        for prefix in prefixes {
            if let Err(place) = self.lengths.binary_search(&prefix.len()) {
                self.lengths.insert(place, prefix.len());
            }
            let positions = self.by_prefix.entry(prefix.clone()).or_default();
            if positions.last() != Some(&position) {
                positions.push(position);
            }
        }
    }

    fn candidates<'r>(&'r self, path: &str, candidates: &mut Candidates<'r>) {
        candidates.add(&self.others);
        for &length in &self.lengths {
            let Some(prefix) = path.get(..length) else {
                if length > path.len() {
                    break;
                }
                continue;
            };
            if let Some(positions) = self.by_prefix.get(prefix) {
                candidates.add(positions);
            }
        }
    }
}

/// Several ascending lists, read as one. Few lists hold candidates for one request, so a scan beats a heap.
#[derive(Default)]
struct Candidates<'r> {
    lists: smallvec::SmallVec<[&'r [u32]; 8]>,
}

impl<'r> Candidates<'r> {
    fn add(&mut self, list: &'r [u32]) {
        if !list.is_empty() {
            self.lists.push(list);
        }
    }

    fn next(&mut self) -> Option<u32> {
        let least = self.lists.iter().filter_map(|list| list.first()).min().copied()?;
        for list in &mut self.lists {
            if let Some((first, rest)) = list.split_first()
                && *first == least
            {
                *list = rest;
            }
        }
        Some(least)
    }
}

/// A `Host` header's name and port. What follows a colon and is no number belongs to the name.
pub fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.split_once(':') {
        Some((name, port)) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        None => (host, None),
    }
}

#[cfg(test)]
mod tests;
