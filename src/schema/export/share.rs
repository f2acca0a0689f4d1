//! Makes a JSON Schema smaller: objects that it describes more than once are described once, under `$defs`.

use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeSet, HashMap};

/// The shortest description, in bytes, that is worth a reference.
const WORTH: usize = 120;

/// Moves every object that is described more than once to `$defs`, under the name of the field that it belongs to.
pub(super) fn share(schema: &mut Json) {
    let mut found = Found::default();
    found.look(schema, "");
    let mut names: BTreeSet<String> = keys(schema.get("$defs")).cloned().collect();
    let mut shared: HashMap<String, String> = HashMap::new();
    for (text, field) in found.order {
        if found.times.get(&text).is_some_and(|times| *times > 1) {
            let free = |name: &String| !names.contains(name);
            let numbered = (2..).map(|n| format!("{field}.{n}"));
            let name = std::iter::once(format!("{field}.1")).chain(numbered).find(free).unwrap_or_default();
            names.insert(name.clone());
            shared.insert(text, name);
        }
    }
    let mut definitions = Map::new();
    refer(schema, &shared, &mut definitions);
    if let Some(Json::Object(known)) = schema.get_mut("$defs") {
        known.extend(definitions);
    }
}

fn keys(json: Option<&Json>) -> impl Iterator<Item = &String> {
    json.and_then(Json::as_object).into_iter().flat_map(Map::keys)
}

/// The text of an object's description that may be shared.
fn candidate(json: &Json) -> Option<String> {
    // A field may be called `properties` or `type` too; then what it holds is an object.
    let described = json.get("properties").is_some_and(Json::is_object)
        && json.get("type").is_some_and(|ty| !ty.is_object());
    if !described {
        return None;
    }
    let text = json.to_string();
    (text.len() >= WORTH).then_some(text)
}

/// The descriptions of objects, each with the field that it was first found at.
#[derive(Default)]
struct Found {
    order: Vec<(String, String)>,
    times: HashMap<String, usize>,
}

impl Found {
    fn look(&mut self, json: &Json, field: &str) {
        match json {
            Json::Object(members) => {
                for (key, member) in members {
                    // What stands in a list or a map has the name of that one.
                    let field = if is_word(key) { field } else { key };
                    self.look(member, field);
                }
            }
            Json::Array(items) => items.iter().for_each(|item| self.look(item, field)),
            _ => {}
        }
        if let Some(text) = candidate(json) {
            let times = self.times.entry(text.clone()).or_default();
            *times += 1;
            if *times == 1 {
                self.order.push((text, field.to_owned()));
            }
        }
    }
}

/// Whether a key is a word of JSON Schema and not the name of a field.
fn is_word(key: &str) -> bool {
    ["properties", "items", "additionalProperties", "anyOf", "$defs"].contains(&key)
}

/// Puts references in the place of what is shared.
fn refer(json: &mut Json, shared: &HashMap<String, String>, definitions: &mut Map<String, Json>) {
    let name = candidate(json).and_then(|text| shared.get(&text));
    match json {
        Json::Object(members) => members.values_mut().for_each(|member| refer(member, shared, definitions)),
        Json::Array(items) => items.iter_mut().for_each(|item| refer(item, shared, definitions)),
        _ => {}
    }
    if let Some(name) = name {
        let reference = json!({"$ref": format!("#/$defs/{name}")});
        definitions.insert(name.clone(), std::mem::replace(json, reference));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_twice_is_described_once() {
        let limits = json!({"type": "object", "properties": {"second": {"type": "integer"}, "minute": {"type": "integer"}},
            "additionalProperties": false, "description": "how many requests there may be in so much time"});
        let mut schema = json!({"properties": {
            "a": {"type": "object", "properties": {"limits": limits}},
            "b": {"type": "array", "items": {"type": "object", "properties": {"limits": limits, "other": {}}}}}, "$defs": {}});
        share(&mut schema);
        assert_eq!(schema["$defs"], json!({"limits.1": limits}));
        let reference = json!({"$ref": "#/$defs/limits.1"});
        assert_eq!(schema["properties"]["a"]["properties"]["limits"], reference);
        assert_eq!(schema["properties"]["b"]["items"]["properties"]["limits"], reference);
    }
}
