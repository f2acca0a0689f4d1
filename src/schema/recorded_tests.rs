//! Schemas against what a real gateway answered: run with `FOREDECK_RECORDINGS=FOLDER cargo test recorded -- --ignored`.
//!
//! `FOLDER/exchanges/*.json` hold requests and answers, `FOLDER/plugin-examples.json` configurations that are valid.

use super::*;
use crate::value::{Exposed, Value};
use serde_json::{Value as Json, json};
use std::path::PathBuf;

pub(crate) fn recordings() -> PathBuf {
    std::env::var_os("FOREDECK_RECORDINGS").map(PathBuf::from).expect("FOREDECK_RECORDINGS is a folder")
}

pub(crate) fn read(path: &std::path::Path) -> Json {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The id of everything that earlier answers made.
pub(crate) const ID: &str = "9d4e1b5c-8a1f-4c57-9d2b-0f6d8d2f3a11";

/// The recorded configurations, each with its plugin's name.
pub(crate) fn plugin_examples() -> Vec<(String, Json)> {
    let examples = read(&recordings().join("plugin-examples.json"));
    let of = |(name, configs): (&String, &Json)| -> Vec<(String, Json)> {
        configs.as_array().unwrap().iter().map(|config| (name.clone(), config.clone())).collect()
    };
    examples.as_object().unwrap().iter().flat_map(of).collect()
}

/// A reference by name is looked up before anything is checked.
fn resolve(kind: &Kind, body: &mut Json) {
    for (field, _) in kind.record.foreign() {
        if let Some(reference) = body.get_mut(&*field.name).filter(|it| it.get("name").is_some()) {
            *reference = json!({"id": ID});
        }
    }
}

/// Earlier answers are not at hand: any id will do.
pub(crate) fn fill_in(json: &mut Json) {
    match json {
        Json::String(text) if text.starts_with("{{") => ID.clone_into(text),
        Json::Array(items) => items.iter_mut().for_each(fill_in),
        Json::Object(members) => members.values_mut().for_each(fill_in),
        _ => {}
    }
}

/// The kind that a POST creates, and the foreign field that its path sets.
pub(crate) fn kind_of<'a>(schemas: &'a Schemas, path: &str) -> Option<(&'a Kind, Option<String>)> {
    let steps: Vec<&str> = path.trim_matches('/').split('/').collect();
    let named = |name: &str| schemas.kinds().iter().find(|kind| *kind.path == *name);
    match steps.as_slice() {
        [collection] => named(collection).map(|kind| (&**kind, None)),
        [parent, _, nested] => {
            let parent = named(parent)?;
            schemas.kinds().iter().find_map(|kind| {
                let (field, _) = kind.record.foreign().find(|(_, reference)| **reference == *parent.name)?;
                (*kind.nested_path == **nested).then(|| (&**kind, Some(field.name.to_string())))
            })
        }
        _ => None,
    }
}

/// Lists of words that the gateway prints in the order of a hash table.
fn normal(json: &Json) -> Json {
    match json {
        Json::String(text) => {
            let mut out = String::new();
            let mut rest = text.as_str();
            let leads = ["expected one of: ", "non-empty: "];
            while let Some((at, lead)) = leads.iter().filter_map(|lead| Some((rest.find(lead)?, lead))).min()
            {
                let (before, list) = rest.split_at(at + lead.len());
                let (list, after) =
                    list.split_at(list.find([';', '(', ')', '\n', '"']).unwrap_or(list.len()));
                let mut words: Vec<&str> = list.split(',').map(str::trim).collect();
                words.sort_unstable();
                out += before;
                out += &words.join(", ");
                rest = after;
            }
            out += rest;
            Json::String(out)
        }
        Json::Array(items) => Json::Array(items.iter().map(normal).collect()),
        Json::Object(members) => members.iter().map(|(key, member)| (key.clone(), normal(member))).collect(),
        other => other.clone(),
    }
}

/// `GEN` stands for whatever the recording left out.
fn same(expected: &Json, got: &Json) -> bool {
    match (expected, got) {
        (Json::String(left_out), Json::String(_)) if left_out == "GEN" => true,
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => expected == got,
    }
}

/// Whether a request was refused because another certificate has the name: only a gateway knows that.
pub(crate) fn names_taken(kind: &Kind, fields: &Json) -> bool {
    kind.record.fields.iter().any(|field| field.transient && fields[&*field.name].is_string())
}

/// Every recorded POST: file, step, path.
pub(crate) fn each_step(mut visit: impl FnMut(&str, usize, &str, &Json)) {
    let entries = std::fs::read_dir(recordings().join("exchanges")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let scenario = read(&file);
        let name = file.file_name().unwrap().to_string_lossy();
        for (n, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
            if let Some(path) = step["do"].as_str().unwrap().strip_prefix("POST ") {
                visit(&name, n, path, step);
            }
        }
    }
}

fn faults(schemas: &Schemas, kind: &Kind, body: &Json) -> Vec<Violation> {
    let mut body = Value::from(body.clone());
    let found = expand_shorthands(schemas, kind, &mut body);
    if !found.is_empty() {
        return found;
    }
    fill_defaults(schemas, kind, &mut body, true);
    check(schemas, kind, &body)
}

#[test]
#[ignore = "needs FOREDECK_RECORDINGS"]
fn recorded_exchanges_are_answered_alike() {
    let schemas = Schemas::bundled(Flavor::Kong310);
    let (mut alike, mut total) = (0, 0);
    each_step(|file, n, path, step| {
        let Some((kind, parent)) = kind_of(&schemas, path) else { return };
        let mut body = step["body"].clone();
        let answer = &step["expect"];
        if !body.is_object() || answer["status"] == 404 {
            return;
        }
        fill_in(&mut body);
        resolve(kind, &mut body);
        if let Some(parent) = parent {
            body[parent] = json!({"id": ID});
        }
        // What only a gateway can answer: taken values, references that lead nowhere, options of the request.
        let expected = match (answer["status"].as_u64(), answer["body"]["code"].as_u64()) {
            (Some(400), _) if names_taken(kind, &answer["body"]["fields"]) => return,
            (Some(400), Some(11)) => return,
            (Some(400), Some(2)) => normal(&answer["body"]["fields"]),
            (Some(400), None | Some(13)) => return,
            _ => json!({}),
        };
        total += 1;
        let found = faults(&schemas, kind, &body);
        let (message, fields) = kong_error(&found);
        let same_words = found.is_empty()
            || answer["body"]["message"]
                .as_str()
                .is_none_or(|words| normal(&json!(words)) == normal(&json!(message)));
        if same(&expected, &normal(&fields)) && same_words {
            alike += 1;
        } else {
            println!(
                "{}[{n}] {path} {}\n  want {expected} {}\n  got  {fields} {message}",
                file, step["body"], answer["body"]["message"]
            );
        }
    });
    println!("{alike} of {total} recorded requests are answered alike");
    assert_eq!(alike, total);
}

/// What a gateway answers to a body that it takes: every default filled in, deprecated fields shown.
fn shown(schemas: &Schemas, kind: &Kind, body: &Json) -> Json {
    let mut body = Value::from(body.clone());
    expand_shorthands(schemas, kind, &mut body);
    fill_defaults(schemas, kind, &mut body, true);
    show_shorthands(schemas, kind, &mut body);
    serde_json::to_value(Exposed(&body)).unwrap()
}

/// Where two bodies differ, leaving out what the gateway makes and what the recording hides.
fn differences(expected: &Json, got: &Json, at: &str, out: &mut Vec<String>) {
    match (expected, got) {
        (Json::Object(a), Json::Object(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                match (a.get(name), b.get(name)) {
                    // Ids, times, generated keys.
                    (Some(a), None) if at.is_empty() && !a.is_null() || *a == "GEN" => {}
                    (a, b) => {
                        let show = |side: Option<&Json>| side.map_or("absent".to_owned(), Json::to_string);
                        match (a, b) {
                            (Some(a), Some(b)) => differences(a, b, &format!("{at}.{name}"), out),
                            _ => out.push(format!("{at}.{name}: want {} got {}", show(a), show(b))),
                        }
                    }
                }
            }
        }
        (Json::String(made), _) if made == "GEN" || made.starts_with('U') || made.starts_with("BASE/") => {}
        (Json::Number(_), _) if at == ".ttl" => {}
        // Computed when the entity is stored.
        _ if at == ".cert_digest" => {}
        (Json::Number(a), Json::Number(b)) if a.as_f64() == b.as_f64() => {}
        _ if expected == got => {}
        _ => out.push(format!("{at}: want {expected} got {got}")),
    }
}

#[test]
#[ignore = "needs FOREDECK_RECORDINGS"]
fn recorded_defaults_are_filled_in_alike() {
    let schemas = Schemas::bundled(Flavor::Kong310);
    let (mut alike, mut total) = (0, 0);
    each_step(|file, n, path, step| {
        let Some((kind, parent)) = kind_of(&schemas, path) else { return };
        let mut body = step["body"].clone();
        if step["expect"]["status"] != 201 || !body.is_object() {
            return;
        }
        fill_in(&mut body);
        resolve(kind, &mut body);
        if let Some(parent) = parent {
            body[parent] = json!({"id": ID});
        }
        total += 1;
        let mut found = Vec::new();
        differences(&step["expect"]["body"], &shown(&schemas, kind, &body), "", &mut found);
        if found.is_empty() {
            alike += 1;
        } else {
            println!("{file}[{n}] {path} {}\n  {}", step["body"], found.join("\n  "));
        }
    });
    println!("{alike} of {total} recorded bodies are filled in alike");
    assert_eq!(alike, total);
}

#[test]
#[ignore = "needs FOREDECK_RECORDINGS"]
fn recorded_schemas_are_served_alike() {
    let schemas = Schemas::bundled(Flavor::Kong310);
    let (mut alike, mut total) = (0, 0);
    let mut compare = |folder: &str, name: &str, served: &Json| {
        let path = recordings().join("schemas").join(folder).join(format!("{name}.json"));
        if !path.exists() {
            return;
        }
        total += 1;
        let mut found = Vec::new();
        differences(&read(&path), served, "", &mut found);
        if found.is_empty() {
            alike += 1;
        } else {
            println!("{folder}/{name}\n  {}", found.join("\n  "));
        }
    };
    // Which filters there are depends on what is installed.
    for kind in schemas.kinds().iter().filter(|kind| &*kind.name != "filter_chains") {
        compare("entities", &kind.name, &kind.served);
    }
    // The recorded default of session's secret was made up by that node.
    for name in schemas.plugin_names().into_iter().filter(|name| *name != "session") {
        compare("plugins", name, &schemas.plugin(name).unwrap().served);
    }
    println!("{alike} of {total} recorded schemas are served alike");
    assert_eq!(alike, total);
}

#[test]
#[ignore = "needs FOREDECK_RECORDINGS"]
fn recorded_plugin_examples_are_valid() {
    let schemas = Schemas::bundled(Flavor::Kong314);
    let kind = schemas.kind("plugins").unwrap();
    let (mut valid, mut total) = (0, 0);
    for (name, config) in plugin_examples() {
        total += 1;
        let found = faults(&schemas, kind, &json!({"name": name, "config": config}));
        if found.is_empty() {
            valid += 1;
        } else {
            println!("{name} {config}\n  {}", kong_error(&found).0);
        }
    }
    println!("{valid} of {total} recorded configurations are valid");
    assert_eq!(valid, total);
}
