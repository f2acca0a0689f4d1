//! A whole state as one declarative configuration, for gateways without a database.

use super::types::Options;
use crate::model::State;
use crate::schema::Schemas;
use crate::value::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The version of the format that Kong 3 reads.
const FORMAT_VERSION: &str = "3.0";

/// Everything that the files ask for: a flat list of each kind, foreign fields as ids. `ids` are those of the entities,
/// as [`Plan::ids`](super::Plan::ids) has them.
pub fn declarative(desired: &State, ids: &[Option<Uuid>], schemas: &Schemas, options: &Options) -> Value {
    let mut desired = desired.clone();
    for (entity, id) in desired.entities.iter_mut().zip(ids) {
        entity.id = *id;
    }
    let all = super::plan(&State::default(), &desired, schemas, options, &mut Uuid::new_v4);
    let mut lists: BTreeMap<Box<str>, Vec<Value>> = BTreeMap::new();
    for change in &all.changes {
        let Some(mut body) = change.request(schemas) else { continue };
        for (field, _) in change.kind.record.foreign() {
            if let Some(id) = body.get(&field.name).and_then(|reference| reference.get("id")).cloned() {
                body.set(&field.name, id);
            }
        }
        if let Some(members) = body.as_object_mut() {
            members.retain(|_, member| !member.is_null());
        }
        lists.entry(change.kind.name.clone()).or_default().push(body);
    }
    let mut configuration = Value::object();
    configuration.set("_format_version", Value::from(FORMAT_VERSION));
    for (name, list) in lists {
        configuration.set(&name, Value::Array(list));
    }
    configuration
}
