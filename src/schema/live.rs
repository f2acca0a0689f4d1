//! What a running gateway serves, completed with what only the bundled schemas know.
//!
//! A gateway serves neither coded checks nor our own words (credentials, computed fields ...), so these carry over
//! from the bundled schema of the same name, field by field.

use super::types::{Check, EntityCheck, Field, PluginSchema, Record, Type};
use std::sync::Arc;

/// A served record completed with the bundled one.
pub(super) fn complete(live: &Record, bundled: &Record) -> Record {
    let field = |live: &Field| match bundled.field(&live.name) {
        Some(bundled) => complete_field(live, bundled),
        None => live.clone(),
    };
    let mut shorthands = live.shorthands.clone();
    for shorthand in &bundled.shorthands {
        let name = &shorthand.field.name;
        match shorthands.iter_mut().find(|own| own.field.name == *name) {
            Some(own) => own.expand.clone_from(&shorthand.expand),
            // Those of kinds are not served.
            None => shorthands.push(shorthand.clone()),
        }
    }
    Record {
        fields: live.fields.iter().map(field).collect(),
        entity_checks: live.entity_checks.iter().map(|rule| complete_rule(rule, bundled)).collect(),
        shorthands,
    }
}

fn complete_rule(live: &EntityCheck, bundled: &Record) -> EntityCheck {
    let EntityCheck::Named { fields: own, .. } = live else { return live.clone() };
    let same = |rule: &&EntityCheck| matches!(rule, EntityCheck::Named { fields, .. } if fields == own);
    bundled.entity_checks.iter().find(same).unwrap_or(live).clone()
}

fn complete_field(live: &Field, bundled: &Field) -> Field {
    let mut out = live.clone();
    out.secret |= bundled.secret;
    // A default that is made up anew by every gateway is served as if it were one of all.
    out.auto |= bundled.auto;
    out.verbatim |= bundled.verbatim;
    out.computed |= bundled.computed;
    out.transient |= bundled.transient;
    out.names.clone_from(&bundled.names);
    out.normal.clone_from(&bundled.normal);
    out.salted_by.clone_from(&bundled.salted_by);
    out.hashed_if.clone_from(&bundled.hashed_if);
    let named = |check: &&Check| matches!(check, Check::Named(_));
    out.checks.extend(bundled.checks.iter().filter(named).cloned());
    out.ty = match (&live.ty, &bundled.ty) {
        (Type::Record(live), Type::Record(bundled)) => Type::Record(Arc::new(complete(live, bundled))),
        (Type::Array(live), Type::Array(bundled)) => Type::Array(Box::new(complete_field(live, bundled))),
        (Type::Set(live), Type::Set(bundled)) => Type::Set(Box::new(complete_field(live, bundled))),
        (Type::Map { keys, values }, Type::Map { keys: bundled_keys, values: bundled_values }) => Type::Map {
            keys: Box::new(complete_field(keys, bundled_keys)),
            values: Box::new(complete_field(values, bundled_values)),
        },
        _ => live.ty.clone(),
    };
    out
}

/// A served plugin's schema completed with the bundled one.
pub(super) fn complete_plugin(live: PluginSchema, bundled: &PluginSchema) -> PluginSchema {
    let supported_partials = match live.supported_partials.is_empty() {
        true => bundled.supported_partials.clone(),
        false => live.supported_partials,
    };
    PluginSchema {
        record: Arc::new(complete(&live.record, &bundled.record)),
        priority: bundled.priority,
        supported_partials,
        ..live
    }
}
