//! Which plugins apply to a request: Kong's order of precedence over routes, services, consumers and groups.

use super::snapshot::Configured;
use super::views::{Consumer, reference};
use crate::gateway::plugins;
use std::collections::HashMap;
use std::sync::Arc;

/// A place in a route's order of plugins.
pub enum Slot {
    /// One configuration, whoever the client is.
    Fixed(Arc<Configured>),
    /// The configuration depends on the consumer.
    ByConsumer {
        /// What applies to clients for whom there is nothing special.
        otherwise: Option<Arc<Configured>>,
        /// All configurations of this plugin.
        table: Arc<Table>,
        /// The route's id.
        route: Box<str>,
        /// The service's id.
        service: Option<Box<str>>,
    },
}

/// Whom a configuration is for: the ids of a route, a service, a consumer and a consumer group.
#[derive(Clone, Copy, Default)]
struct Scope<'a> {
    route: Option<&'a str>,
    service: Option<&'a str>,
    consumer: Option<&'a str>,
    group: Option<&'a str>,
}

/// All configurations of one plugin, by scope.
#[derive(Default)]
pub struct Table {
    by_scope: HashMap<String, Arc<Configured>>,
    for_consumers: bool,
}

/// All plugins of a plane in Kong's order.
pub struct Scopes {
    tables: Vec<Arc<Table>>,
}

impl Scopes {
    /// Sorts plugins by name, priority and scope.
    pub fn new(plugins: impl Iterator<Item = Arc<Configured>>) -> Self {
        let mut tables: HashMap<Box<str>, Table> = HashMap::new();
        for configured in plugins {
            let table = tables.entry(configured.name.clone()).or_default();
            let row = Arc::clone(&configured.row);
            let id = |field| reference(&row, field);
            let scope = Scope {
                route: id("route"),
                service: id("service"),
                consumer: id("consumer"),
                group: id("consumer_group"),
            };
            table.for_consumers |= scope.consumer.is_some() || scope.group.is_some();
            table.by_scope.insert(scope.key(), configured);
        }
        let mut tables: Vec<(Box<str>, Table)> = tables.into_iter().collect();
        tables.sort_by(|(a, _), (b, _)| priority(b).cmp(&priority(a)).then_with(|| b.cmp(a)));
        Scopes { tables: tables.into_iter().map(|(_, table)| Arc::new(table)).collect() }
    }

    /// The plugins without any scope, in order.
    pub fn globals(&self) -> Vec<Arc<Configured>> {
        let everybody = Scope::default().key();
        self.tables.iter().filter_map(|table| table.by_scope.get(&everybody).map(Arc::clone)).collect()
    }

    /// The places for a route.
    pub fn slots(&self, route: &str, service: Option<&str>) -> Box<[Slot]> {
        let slot = |table: &Arc<Table>| {
            let otherwise = table.find(Some(route), service, None).map(Arc::clone);
            if table.for_consumers {
                let (route, service) = (route.into(), service.map(Into::into));
                Some(Slot::ByConsumer { otherwise, table: Arc::clone(table), route, service })
            } else {
                otherwise.map(Slot::Fixed)
            }
        };
        self.tables.iter().filter_map(slot).collect()
    }
}

impl Slot {
    /// What applies to this client, if anything does.
    pub fn pick(&self, consumer: Option<&Consumer>) -> Option<&Arc<Configured>> {
        match (self, consumer) {
            (Slot::Fixed(configured), _) => Some(configured),
            (Slot::ByConsumer { otherwise, .. }, None) => otherwise.as_ref(),
            (Slot::ByConsumer { table, route, service, .. }, consumer) => {
                table.find(Some(route), service.as_deref(), consumer)
            }
        }
    }
}

impl Table {
    /// The configuration for the narrowest scope: Kong's order, consumers before groups before everybody.
    fn find(
        &self,
        route: Option<&str>,
        service: Option<&str>,
        consumer: Option<&Consumer>,
    ) -> Option<&Arc<Configured>> {
        let mut key = String::new();
        let mut at = |scope: Scope<'_>| {
            scope.write(&mut key);
            self.by_scope.get(&key)
        };
        // Narrow to wide; what a request lacks is skipped.
        let both = route.zip(service).map(|_| (route, service));
        let (route, service) = (route.map(|_| (route, None)), service.map(|_| (None, service)));
        let nothing = Some((None, None));
        if let Some(consumer) = consumer.filter(|_| self.for_consumers) {
            let mut own = |places: &[Option<(Option<&str>, Option<&str>)>]| {
                places.iter().flatten().find_map(|&(route, service)| {
                    at(Scope { route, service, consumer: Some(&consumer.id), group: None })
                })
            };
            let found = own(&[both]);
            if found.is_some() {
                return found;
            }
            let found = self.for_groups(consumer, &[both]).or_else(|| own(&[route, service]));
            let found = found.or_else(|| self.for_groups(consumer, &[route, service]));
            if found.is_some() {
                return found;
            }
            let wide = both.and_then(|(route, service)| {
                self.by_scope.get(&Scope { route, service, ..Scope::default() }.key())
            });
            let found = wide.or_else(|| own(&[nothing])).or_else(|| self.for_groups(consumer, &[nothing]));
            if found.is_some() {
                return found;
            }
        }
        [both, route, service, nothing]
            .into_iter()
            .flatten()
            .find_map(|(route, service)| at(Scope { route, service, ..Scope::default() }))
    }

    fn for_groups(
        &self,
        consumer: &Consumer,
        places: &[Option<(Option<&str>, Option<&str>)>],
    ) -> Option<&Arc<Configured>> {
        let mut key = String::new();
        places.iter().flatten().find_map(|&(route, service)| {
            consumer.groups.iter().find_map(|group| {
                Scope { route, service, consumer: None, group: Some(&group.id) }.write(&mut key);
                self.by_scope.get(&key)
            })
        })
    }
}

impl Scope<'_> {
    fn key(&self) -> String {
        let mut key = String::new();
        self.write(&mut key);
        key
    }

    fn write(&self, key: &mut String) {
        key.clear();
        for part in [self.route, self.service, self.consumer, self.group] {
            key.push_str(part.unwrap_or_default());
            key.push(':');
        }
    }
}

fn priority(name: &str) -> i32 {
    plugins::entry(name).map_or(0, |entry| entry.priority)
}
