//! Whose entities a run touches: what belongs to others is neither changed nor deleted, not even through a parent.

use crate::support::{Folder, Gateway, Output, http};
use serde_json::{Value as Json, json};

const MINE: &str = r#"_format_version: "3.0"
_info: {select_tags: [mine]}
services: [{name: shop, host: shop.test}]
consumers: [{username: ann}]
"#;

const NOTHING: &str = "_format_version: \"3.0\"\n_info: {select_tags: [mine]}\n";

/// A gateway that holds what `MINE` says.
fn synced() -> (Gateway, Folder) {
    let gateway = Gateway::with(&["--flavor", "kong-3.10"]);
    let folder = Folder::with("mine.yaml", MINE);
    folder.write("nothing.yaml", NOTHING);
    gateway.run(&folder, &["gateway", "sync", "mine.yaml"], &[]).expect(0);
    (gateway, folder)
}

fn post(gateway: &Gateway, path: &str, body: &Json) -> Json {
    let answer = http("POST", &format!("{}{path}", gateway.admin), &[], body);
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

#[track_caller]
fn is_conflict(output: Output, words: &str) {
    assert!(
        output.code == 1 && output.stderr.contains("E0402") && output.stderr.contains(words),
        "{output:#?}"
    );
}

#[test]
fn a_parent_does_not_take_the_children_of_others_along() {
    let (gateway, folder) = synced();
    let sync = ["gateway", "sync", "nothing.yaml", "--yes"];
    post(&gateway, "/consumers/ann/key-auth", &json!({"key": "theirs", "tags": ["theirs"]}));
    is_conflict(gateway.run(&folder, &sync, &[]), "belongs to the tags theirs");
    is_conflict(
        gateway.run(&folder, &["gateway", "reset", "--force", "--select-tag", "mine"], &[]),
        "would delete",
    );
    post(&gateway, "/services/shop/routes", &json!({"name": "r", "paths": ["/x"]}));
    is_conflict(gateway.run(&folder, &sync, &[]), "route r");
    assert_eq!(
        (gateway.count("/consumers"), gateway.count("/services"), gateway.count("/key-auths")),
        (1, 1, 1)
    );
    http("DELETE", &format!("{}/routes/r", gateway.admin), &[], &Json::Null);
    http("DELETE", &format!("{}/consumers/ann/key-auth/theirs", gateway.admin), &[], &Json::Null);
    gateway.run(&folder, &sync, &[]).expect(0);
    assert_eq!((gateway.count("/consumers"), gateway.count("/services")), (0, 0));
}

#[test]
fn a_conflict_names_the_place_and_the_owner_and_nothing_is_written() {
    let (gateway, folder) = synced();
    post(&gateway, "/consumers", &json!({"username": "bob", "custom_id": "7", "tags": ["theirs"]}));
    let text = MINE.replace("{username: ann}", "{username: ann}, {username: bob}, {username: new}");
    folder.write("more.yaml", &text);
    let refused = gateway.run(&folder, &["gateway", "sync", "more.yaml"], &[]);
    assert!(refused.stderr.contains("more.yaml:4:"), "{}", refused.stderr);
    is_conflict(refused, "belongs to the tags theirs");
    assert_eq!(gateway.count("/consumers"), 2);
    gateway.run(&folder, &["gateway", "sync", "more.yaml", "--adopt"], &[]).expect(0);
    assert_eq!(gateway.count("/consumers"), 3);
    gateway.run(&folder, &["gateway", "diff", "more.yaml", "--non-zero-exit-code"], &[]).expect(0);
}

#[test]
fn a_protected_child_protects_its_parent() {
    let (gateway, folder) = synced();
    post(&gateway, "/consumers/ann/key-auth", &json!({"key": "k", "tags": ["mine", "foredeck-protect"]}));
    let sync = gateway.run(&folder, &["gateway", "sync", "nothing.yaml", "--yes"], &[]).expect(1);
    assert!(sync.stderr.contains("E0401") && sync.stderr.contains("foredeck-protect"), "{}", sync.stderr);
    assert_eq!((gateway.count("/consumers"), gateway.count("/services")), (1, 1));
}

#[test]
fn what_goes_with_a_parent_counts_as_deleted() {
    let (gateway, folder) = synced();
    post(&gateway, "/consumers/ann/key-auth", &json!({"key": "k", "tags": ["mine"]}));
    let run = |limit: &str| {
        gateway.run(&folder, &["gateway", "sync", "nothing.yaml", "--yes", "--max-deletes", limit], &[])
    };
    assert!(run("2").expect(1).stderr.contains("E0401"));
    assert!(run("99%").expect(1).stderr.contains("E0401"));
    run("3").expect(0);
}

#[test]
fn a_membership_belongs_to_the_consumers_file_where_the_group_is_looked_up() {
    let gateway = Gateway::start();
    let shared =
        "_format_version: \"3.0\"\n_info: {select_tags: [shared]}\nconsumer_groups: [{name: gold}]\n";
    let mine = |groups: &str| {
        format!(
            "_format_version: \"3.0\"\n_info: {{select_tags: [mine], default_lookup_tags: {{consumer_groups: [shared]}}}}\n\
             consumers: [{{username: ann{groups}}}]\n"
        )
    };
    let folder = Folder::with("shared.yaml", shared);
    folder.write("mine.yaml", &mine(", groups: [{name: gold}]"));
    folder.write("left.yaml", &mine(""));
    let members = || {
        let list =
            http("GET", &format!("{}/consumer_groups/gold/consumers", gateway.admin), &[], &Json::Null);
        list.json()["data"].as_array().map(Vec::len)
    };
    for file in ["shared.yaml", "mine.yaml", "shared.yaml"] {
        gateway.run(&folder, &["gateway", "sync", file], &[]).expect(0);
        gateway.run(&folder, &["gateway", "diff", file, "--non-zero-exit-code"], &[]).expect(0);
    }
    assert_eq!(members(), Some(1));
    gateway.run(&folder, &["gateway", "sync", "left.yaml"], &[]).expect(0);
    assert_eq!(members(), Some(0));
}
