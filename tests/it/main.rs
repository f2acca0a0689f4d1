//! The integration tests: one binary, a file a topic. They start the real `foredeck` on loopback, on free ports.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // tests may fail loudly

mod admin_api;
mod admin_kinds;
mod ai_clients;
mod ai_examples;
mod ai_failover;
mod ai_plugins;
mod ai_proxy;
mod bad_input;
mod balancing;
mod canary;
mod commands;
mod connections;
mod converges;
mod dbless;
mod docs;
mod drift;
mod enterprise;
mod explain;
mod failures;
mod file_validate;
mod former;
mod gateway_flags;
mod gateway_sync;
mod interruptions;
mod konnect_api;
mod policy_overrides;
mod proxy;
mod proxy_calls;
mod proxy_plugins;
mod proxy_protocols;
mod random_states;
mod reference;
mod saved_plans;
mod schemas;
mod scopes;
mod serve;
mod support;
mod try_file;
mod tutorial;

/// A file of this folder without its `mod` line would never run.
#[test]
fn no_test_file_is_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let main = std::fs::read_to_string(format!("{folder}/main.rs")).unwrap();
    let mut missing = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_module = path.extension().is_some_and(|ext| ext == "rs") || path.join("mod.rs").is_file();
        if is_module && name != "main" && !main.lines().any(|line| line == format!("mod {name};")) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "tests/it/main.rs does not name {missing:?}");
}
