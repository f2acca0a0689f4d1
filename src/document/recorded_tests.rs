//! State files against what a real gateway took and refused: each recorded request written as a file and validated.
//!
//! Run with `FOREDECK_RECORDINGS=FOLDER cargo test recorded -- --ignored`.

use super::{Options, Unset, read};
use crate::diagnostics::{Diagnostic, codes};
use crate::schema::recorded_tests::{ID, each_step, fill_in, kind_of, names_taken, plugin_examples};
use crate::schema::{Flavor, Kind, Schemas};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;

/// The errors that `file validate` finds.
fn errors(schemas: &Schemas, file: &Json) -> Vec<Diagnostic> {
    let options = Options { unset: Unset::Warn, lint: true, ..Options::default() };
    let mut found = read(&["-".into()], &mut file.to_string().as_bytes(), options).build(schemas).diagnostics;
    found.retain(Diagnostic::is_error);
    found
}

/// An entity of a kind with all that it needs, for others to refer to.
fn stub(kind: &str) -> Json {
    let mut stub = match kind {
        "services" => json!({"host": "stub.test"}),
        "routes" => json!({"paths": ["/stub"]}),
        "consumers" => json!({"username": "stub"}),
        "certificates" => {
            let pair = rcgen::generate_simple_self_signed(vec!["stub.test".to_owned()]).unwrap();
            json!({"cert": pair.cert.pem(), "key": pair.signing_key.serialize_pem()})
        }
        _ => json!({"name": "stub"}),
    };
    stub["id"] = json!(ID);
    stub
}

/// A request's body as a state file spells it: what the gateway turns into entities (names of SNIs) are entities there.
fn spelled(kind: &Kind, mut body: Json) -> Json {
    for field in kind.record.fields.iter().filter(|field| field.transient) {
        if let Some(Json::Array(names)) = body.get_mut(&*field.name) {
            names.iter_mut().for_each(|name| *name = json!({"name": name}));
        }
    }
    body
}

/// The state file that asks for what a request creates, and the path of the entity in it.
///
/// What the entity refers to stands in the file too; an entity that was created below another is nested in that one.
fn state_file(kind: &Kind, parent: Option<&str>, body: &Json) -> (Json, String) {
    let mut file = json!({"_format_version": "3.0"});
    for (field, reference) in kind.record.foreign() {
        let mut entity = stub(reference);
        if let Some(Json::Object(named)) = body.get(&*field.name) {
            entity.as_object_mut().unwrap().extend(named.clone());
        }
        if parent == Some(&field.name) && kind.file.nested_in.iter().any(|parent| **parent == *reference) {
            entity[&*kind.file.key] = json!([body]);
            file[reference] = json!([entity]);
            return (file, format!("{reference}[0].{}[0]", kind.file.key));
        }
        if body.get(&*field.name).is_some_and(Json::is_object) {
            file[reference] = json!([entity]);
        }
    }
    file[&*kind.file.key] = json!([body]);
    (file, format!("{}[0]", kind.file.key))
}

/// The paths at which an answer of the Admin API finds faults; a broken rule's is that of its record.
fn refused(fields: &Json, at: &str, out: &mut BTreeSet<String>) {
    match fields {
        Json::Object(members) => members.iter().for_each(|(name, member)| match name.as_str() {
            "@entity" => drop(out.insert(at.to_owned())),
            name => refused(member, &format!("{at}.{name}"), out),
        }),
        Json::Array(items) => items.iter().enumerate().for_each(|(n, item)| {
            if !item.is_null() {
                refused(item, &format!("{at}[{n}]"), out);
            }
        }),
        _ => drop(out.insert(at.to_owned())),
    }
}

#[test]
#[ignore = "needs FOREDECK_RECORDINGS"]
fn recorded_requests_are_validated_alike_as_state_files() {
    let schemas = Schemas::bundled(Flavor::Kong310);
    let (mut alike, mut total) = (0, 0);
    each_step(|file, n, path, step| {
        let Some((kind, parent)) = kind_of(&schemas, path) else { return };
        let (mut body, answer) = (step["body"].clone(), &step["expect"]);
        let fields = match (answer["status"].as_u64(), answer["body"]["code"].as_u64()) {
            (Some(400), Some(2)) => answer["body"]["fields"].clone(),
            // Taken; the value that another entity has already is none of the file's.
            (Some(201 | 409), _) => Json::Object(Map::new()),
            _ => return,
        };
        if !body.is_object() || names_taken(kind, &fields) {
            return;
        }
        fill_in(&mut body);
        let (document, at) = state_file(kind, parent.as_deref(), &spelled(kind, body));
        let mut expected = BTreeSet::new();
        refused(&fields, &at, &mut expected);
        let problems = errors(&schemas, &document);
        // An item of a list that is refused as a whole may dangle too: the field is the same.
        let told = |problem: &&Diagnostic| {
            let inside = |field: &String| problem.path.starts_with(&format!("{field}["));
            problem.code != codes::DANGLING || !expected.iter().any(inside)
        };
        let found: BTreeSet<String> =
            problems.iter().filter(told).map(|problem| problem.path.clone()).collect();
        total += 1;
        if found == expected {
            alike += 1;
        } else {
            println!("{file}[{n}] {path} {document}\n  want {expected:?} {fields}\n  got  {found:?}");
            problems.iter().for_each(|problem| println!("    {problem}"));
        }
    });
    println!("{alike} of {total} recorded files are judged alike");
    assert_eq!(alike, total);
}

#[test]
#[ignore = "needs FOREDECK_RECORDINGS"]
fn recorded_plugin_examples_are_valid_state_files() {
    let schemas = Schemas::bundled(Flavor::Kong314);
    let (mut valid, mut total) = (0, 0);
    for (name, config) in plugin_examples() {
        let file = json!({"_format_version": "3.0", "plugins": [{"name": name, "config": config}]});
        let problems = errors(&schemas, &file);
        total += 1;
        if problems.is_empty() {
            valid += 1;
        } else {
            println!("{name} {config}");
            problems.iter().for_each(|problem| println!("    {problem}"));
        }
    }
    println!("{valid} of {total} recorded examples are valid state files");
    assert_eq!(valid, total);
}
