//! The endpoints of the Admin API that are no entities: one table of their paths, methods and editions, from which
//! requests are led and `/endpoints` and `OPTIONS` are answered.
//!
//! What does not live here: what the endpoints do, and the paths of entities (`rest::address`).

use crate::gateway::rest;
use crate::schema::{Flavor, Schemas};
use std::collections::BTreeSet;

/// An endpoint that is no entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// The node and its configuration.
    Node,
    /// Whether the node is well.
    Status,
    /// What the DNS client has seen.
    DnsStatus,
    /// The node's timers.
    Timers,
    /// What the proxy has counted, for Prometheus.
    Metrics,
    /// Whether the node is certified for FIPS.
    Fips,
    /// Every path.
    Endpoints,
    /// A kind's schema.
    Schema,
    /// The schema of a plugin, a vault or a type of partials.
    Variant,
    /// Checks an entity without writing it.
    Validate,
    /// The plugins that can be used.
    Enabled,
    /// The schema of a plugin's `config`, deprecated by Kong.
    ConfigSchema,
    /// The caches.
    Caches,
    /// One key of the caches.
    Cache,
    /// Everything that the proxy-cache plugins keep.
    ProxyCaches,
    /// An answer that a proxy-cache plugin keeps.
    ProxyCache,
    /// Certificates made by the acme plugin.
    Acme,
    /// The data planes of a control plane.
    DataPlanes,
    /// How much the log says.
    LogLevel,
    /// Changes how much the log says.
    SetLogLevel,
    /// What carries tags.
    Tags,
    /// What carries one tag.
    Tagged,
    /// The whole configuration of a gateway without a database.
    Config,
    /// Consumers, also by `?custom_id=`.
    Consumers,
    /// Every target of an upstream.
    AllTargets,
    /// The health of an upstream's targets.
    Health,
    /// Sets the health of a target.
    SetHealth,
    /// The filters that a route meets.
    Filters,
    /// Workspaces.
    Workspaces,
    /// Users and what they may do.
    RbacUsers,
    /// What a role may do.
    RolePermissions,
    /// People who may administer the gateway.
    Admins,
    /// The roles of a group of people.
    GroupRoles,
    /// The plugins that use a partial.
    PartialLinks,
    /// What a group of consumers has instead of a plugin's own configuration.
    Overrides,
    /// What hooks can wait for.
    HookSources,
    /// Tries a hook.
    HookTrial,
    /// The keyring.
    Keyring,
    /// The audit log.
    Audit,
    /// What a license has been used for.
    LicenseReport,
}

/// A line of the table.
struct Line {
    /// Its segments; one in braces stands for any.
    path: &'static str,
    methods: &'static str,
    enterprise: bool,
    endpoint: Endpoint,
}

const READ: &str = "GET, HEAD, OPTIONS";
const WRITE: &str = "OPTIONS, POST";
const SET: &str = "OPTIONS, PUT";

const fn any(path: &'static str, methods: &'static str, endpoint: Endpoint) -> Line {
    Line { path, methods, enterprise: false, endpoint }
}

const fn enterprise(path: &'static str, methods: &'static str, endpoint: Endpoint) -> Line {
    Line { path, methods, enterprise: true, endpoint }
}

/// Of two lines that fit a path the first counts.
const TABLE: &[Line] = &[
    any("/", READ, Endpoint::Node),
    enterprise("/kong", READ, Endpoint::Node),
    any("/status", READ, Endpoint::Status),
    any("/status/dns", READ, Endpoint::DnsStatus),
    any("/timers", READ, Endpoint::Timers),
    any("/metrics", READ, Endpoint::Metrics),
    enterprise("/fips-status", READ, Endpoint::Fips),
    any("/endpoints", READ, Endpoint::Endpoints),
    any("/schemas/{name}", READ, Endpoint::Schema),
    any("/schemas/plugins/validate", WRITE, Endpoint::Validate),
    any("/schemas/vaults/validate", WRITE, Endpoint::Validate),
    any("/schemas/{db_entity_name}/validate", WRITE, Endpoint::Validate),
    any("/schemas/plugins/{name}", READ, Endpoint::Variant),
    any("/schemas/vaults/{name}", READ, Endpoint::Variant),
    enterprise("/schemas/partials/{name}", READ, Endpoint::Variant),
    any("/schemas/filters/{name}", READ, Endpoint::Variant),
    any("/plugins/enabled", READ, Endpoint::Enabled),
    any("/plugins/schema/{name}", READ, Endpoint::ConfigSchema),
    any("/cache", "DELETE, OPTIONS", Endpoint::Caches),
    any("/cache/{key}", "DELETE, GET, HEAD, OPTIONS", Endpoint::Cache),
    any("/proxy-cache", "DELETE, OPTIONS", Endpoint::ProxyCaches),
    any("/proxy-cache/{cache_key}", "DELETE, GET, HEAD, OPTIONS", Endpoint::ProxyCache),
    any("/proxy-cache/{plugin_id}/caches/{cache_key}", "DELETE, GET, HEAD, OPTIONS", Endpoint::ProxyCache),
    any("/acme", "OPTIONS, PATCH, POST", Endpoint::Acme),
    any("/acme/certificates", READ, Endpoint::Acme),
    any("/acme/certificates/{certificates}", READ, Endpoint::Acme),
    any("/clustering/data-planes", READ, Endpoint::DataPlanes),
    any("/clustering/status", READ, Endpoint::DataPlanes),
    any("/debug/node/log-level", READ, Endpoint::LogLevel),
    any("/debug/node/log-level/{log_level}", SET, Endpoint::SetLogLevel),
    any("/debug/cluster/log-level/{log_level}", SET, Endpoint::SetLogLevel),
    any("/tags", READ, Endpoint::Tags),
    any("/tags/{tags}", READ, Endpoint::Tagged),
    any("/config", "GET, HEAD, OPTIONS, POST", Endpoint::Config),
    any("/consumers", "GET, HEAD, OPTIONS, POST", Endpoint::Consumers),
    any("/upstreams/{upstreams}/targets/all", READ, Endpoint::AllTargets),
    any("/upstreams/{upstreams}/health", READ, Endpoint::Health),
    any("/upstreams/{upstreams}/targets/{targets}/healthy", SET, Endpoint::SetHealth),
    any("/upstreams/{upstreams}/targets/{targets}/unhealthy", SET, Endpoint::SetHealth),
    any("/upstreams/{upstreams}/targets/{targets}/{address}/healthy", SET, Endpoint::SetHealth),
    any("/upstreams/{upstreams}/targets/{targets}/{address}/unhealthy", SET, Endpoint::SetHealth),
    any("/routes/{routes}/filters/all", READ, Endpoint::Filters),
    any("/routes/{routes}/filters/disabled", READ, Endpoint::Filters),
    any("/routes/{routes}/filters/enabled", READ, Endpoint::Filters),
    enterprise("/workspaces", "GET, HEAD, OPTIONS, POST", Endpoint::Workspaces),
    enterprise("/workspaces/{workspaces}", ENTITY, Endpoint::Workspaces),
    enterprise("/workspaces/{workspaces}/meta", READ, Endpoint::Workspaces),
    enterprise("/rbac/users", "GET, HEAD, OPTIONS, POST", Endpoint::RbacUsers),
    enterprise("/rbac/users/{rbac_users}", ENTITY, Endpoint::RbacUsers),
    enterprise("/rbac/users/{rbac_users}/permissions", READ, Endpoint::RbacUsers),
    enterprise("/rbac/users/{rbac_users}/roles", "DELETE, GET, HEAD, OPTIONS, POST", Endpoint::RbacUsers),
    enterprise("/rbac/roles/{rbac_roles}/permissions", READ, Endpoint::RolePermissions),
    enterprise("/admins", "GET, HEAD, OPTIONS, POST", Endpoint::Admins),
    enterprise("/admins/register", WRITE, Endpoint::Admins),
    enterprise("/admins/password_resets", "OPTIONS, PATCH, POST", Endpoint::Admins),
    enterprise("/admins/{admins}", ENTITY, Endpoint::Admins),
    enterprise("/admins/{admins}/roles", "DELETE, GET, HEAD, OPTIONS, POST", Endpoint::Admins),
    enterprise("/admins/{admins}/workspaces", READ, Endpoint::Admins),
    enterprise("/admins/{admins}/consumer", READ, Endpoint::Admins),
    enterprise("/groups/{groups}/roles", "DELETE, GET, HEAD, OPTIONS, POST", Endpoint::GroupRoles),
    enterprise("/partials/{partials}/links", READ, Endpoint::PartialLinks),
    enterprise(
        "/consumer_groups/{consumer_groups}/overrides/plugins/rate-limiting-advanced",
        "DELETE, OPTIONS, PUT",
        Endpoint::Overrides,
    ),
    enterprise("/event-hooks/sources", READ, Endpoint::HookSources),
    enterprise("/event-hooks/sources/{source}", READ, Endpoint::HookSources),
    enterprise("/event-hooks/{event_hooks}/ping", READ, Endpoint::HookTrial),
    enterprise("/event-hooks/{event_hooks}/test", WRITE, Endpoint::HookTrial),
    enterprise("/keyring", READ, Endpoint::Keyring),
    enterprise("/keyring/{action}", WRITE, Endpoint::Keyring),
    enterprise("/keyring/vault/sync", WRITE, Endpoint::Keyring),
    enterprise("/audit/objects", READ, Endpoint::Audit),
    enterprise("/audit/requests", READ, Endpoint::Audit),
    enterprise("/license/report", READ, Endpoint::LicenseReport),
];

const ENTITY: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, PUT";

fn segments(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The endpoint that a path (split and decoded) means and the methods that it answers; `None` for entities and for
/// what is not there.
pub(super) fn find(flavor: Flavor, path: &[String]) -> Option<(Endpoint, &'static str)> {
    let fits = |line: &&Line| {
        let mut given = path.iter();
        let all = segments(line.path)
            .all(|segment| given.next().is_some_and(|word| segment.starts_with('{') || *word == segment));
        all && given.next().is_none() && (!line.enterprise || flavor.is_enterprise())
    };
    TABLE.iter().find(fits).map(|line| (line.endpoint, line.methods))
}

/// Every path, those of entities too, in Kong's order.
pub(super) fn all(schemas: &Schemas) -> Vec<String> {
    let known = |line: &&Line| !line.enterprise || schemas.flavor().is_enterprise();
    let mut all: BTreeSet<String> = rest::templates(schemas).into_iter().collect();
    all.extend(TABLE.iter().filter(known).map(|line| line.path.to_owned()));
    let mut all: Vec<String> = all.into_iter().collect();
    // Segment by segment: a slash sorts before everything else.
    all.sort_by_key(|path| path.replace('/', "\0"));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flavor: Flavor, path: &str) -> Option<Endpoint> {
        let path: Vec<String> = path.split('/').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        find(flavor, &path).map(|(endpoint, _)| endpoint)
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        for (path, expected) in [
            ("/", Some(Endpoint::Node)),
            ("/schemas/plugins", Some(Endpoint::Schema)),
            ("/schemas/plugins/cors", Some(Endpoint::Variant)),
            ("/schemas/plugins/validate", Some(Endpoint::Validate)),
            ("/upstreams/u/targets/all", Some(Endpoint::AllTargets)),
            ("/upstreams/u/targets/t/1.2.3.4:80/healthy", Some(Endpoint::SetHealth)),
            ("/upstreams/u/targets/t", None),
            ("/services", None),
        ] {
            assert_eq!(found(Flavor::Kong310, path), expected, "{path}");
        }
        assert_eq!(found(Flavor::Kong310, "/workspaces"), None);
        assert_eq!(found(Flavor::Kong314, "/workspaces"), Some(Endpoint::Workspaces));
    }

    #[test]
    fn paths_are_listed_segment_by_segment() {
        let all = all(&Schemas::serving(Flavor::Kong310));
        let at = |path: &str| all.iter().position(|listed| listed == path);
        assert!(at("/routes") < at("/routes/{routes}"));
        assert!(at("/routes/{routes}/filters/all") < at("/schemas/{name}"));
        assert_eq!(at("/workspaces"), None);
    }
}
