//! Which plugins apply to a request: Kong's order of precedence over routes, services, consumers and groups.

use super::configured::Configured;
use super::views::{Consumer, target};
use crate::gateway::plugins;
use crate::value::Value;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

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
        route: Uuid,
        /// The service's id.
        service: Option<Uuid>,
    },
}

/// Whom a configuration is for: the ids of a route, a service, a consumer and a consumer group.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    route: Option<Uuid>,
    service: Option<Uuid>,
    consumer: Option<Uuid>,
    group: Option<Uuid>,
}

impl Scope {
    /// The scope of a plugin entity.
    pub fn of(row: &Value) -> Self {
        Scope {
            route: target(row, "route"),
            service: target(row, "service"),
            consumer: target(row, "consumer"),
            group: target(row, "consumer_group"),
        }
    }
}

/// All configurations of one plugin, by scope.
#[derive(Default)]
pub struct Table {
    by_scope: HashMap<Scope, Arc<Configured>>,
    for_consumers: bool,
}

/// All plugins of a plane in Kong's order.
#[derive(Default)]
pub(super) struct Scopes {
    tables: Vec<(Box<str>, Arc<Table>)>,
}

/// Plugins as they are read, by name.
#[derive(Default)]
pub(super) struct Unsorted(HashMap<Box<str>, Table>);

impl Unsorted {
    /// Adds a plugin.
    pub fn add(&mut self, configured: Arc<Configured>) {
        let scope = configured.scope;
        let table = match self.0.get_mut(&configured.name) {
            Some(table) => table,
            None => self.0.entry(configured.name.clone()).or_default(),
        };
        table.for_consumers |= scope.consumer.is_some() || scope.group.is_some();
        table.by_scope.insert(scope, configured);
    }

    /// Sorts plugins by priority.
    pub fn sorted(self) -> Scopes {
        let shrunk = self.0.into_iter().map(|(name, mut table)| {
            table.by_scope.shrink_to_fit();
            (name, Arc::new(table))
        });
        let mut tables: Vec<_> = shrunk.collect();
        tables.sort_by(|(a, _), (b, _)| priority(b).cmp(&priority(a)).then_with(|| b.cmp(a)));
        Scopes { tables }
    }
}

impl Scopes {
    /// Every plugin.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Configured>> {
        self.tables.iter().flat_map(|(_, table)| table.by_scope.values())
    }

    /// The plugins without any scope, in order.
    pub fn globals(&self) -> super::Plugins {
        let everybody = Scope::default();
        self.tables.iter().filter_map(|(_, table)| table.by_scope.get(&everybody).map(Arc::clone)).collect()
    }

    /// The places for a route.
    pub fn slots(&self, route: Uuid, service: Option<Uuid>) -> Box<[Slot]> {
        let slot = |(_, table): &(Box<str>, Arc<Table>)| {
            let otherwise = table.find(Some(route), service, None).map(Arc::clone);
            if table.for_consumers {
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
                table.find(Some(*route), *service, consumer)
            }
        }
    }
}

impl Table {
    /// The configuration for the narrowest scope: Kong's order, consumers before groups before everybody.
    fn find(
        &self,
        route: Option<Uuid>,
        service: Option<Uuid>,
        consumer: Option<&Consumer>,
    ) -> Option<&Arc<Configured>> {
        // Narrow to wide; what a request lacks is skipped.
        let both = route.zip(service).map(|_| (route, service));
        let (route, service) = (route.map(|_| (route, None)), service.map(|_| (None, service)));
        let nothing = Some((None, None));
        let wide = |places: &[Option<Place>]| self.at(places, None, None);
        let Some(consumer) = consumer.filter(|_| self.for_consumers) else {
            return wide(&[both, route, service, nothing]);
        };
        let own = |places: &[Option<Place>]| self.at(places, Some(consumer.uuid), None);
        own(&[both])
            .or_else(|| self.for_groups(consumer, &[both]))
            .or_else(|| own(&[route, service]))
            .or_else(|| self.for_groups(consumer, &[route, service]))
            .or_else(|| wide(&[both]))
            .or_else(|| own(&[nothing]))
            .or_else(|| self.for_groups(consumer, &[nothing]))
            .or_else(|| wide(&[route, service, nothing]))
    }

    /// The configuration at the first of these places that has one.
    fn at(
        &self,
        places: &[Option<Place>],
        consumer: Option<Uuid>,
        group: Option<Uuid>,
    ) -> Option<&Arc<Configured>> {
        let at = |&(route, service): &Place| self.by_scope.get(&Scope { route, service, consumer, group });
        places.iter().flatten().find_map(at)
    }

    fn for_groups(&self, consumer: &Consumer, places: &[Option<Place>]) -> Option<&Arc<Configured>> {
        places.iter().find_map(|place| {
            consumer.groups.iter().find_map(|group| self.at(&[*place], None, Some(group.uuid)))
        })
    }
}

/// A route and a service, each if it plays a part.
type Place = (Option<Uuid>, Option<Uuid>);

fn priority(name: &str) -> i32 {
    plugins::entry(name).map_or(0, |entry| entry.priority)
}
