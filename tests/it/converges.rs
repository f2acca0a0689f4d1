//! What was synced stays synced: random states of every kind, one after the other, in the real built-in gateway.

use crate::random_states::{Dice, can_be_written, file, state};
use foredeck::apply;
use foredeck::control_plane::{self, Arrival, Client, Connection, ControlPlane, Tls, Wanted};
use foredeck::document;
use foredeck::dump;
use foredeck::gateway::{Gateway, ServeOptions};
use foredeck::model::State;
use foredeck::plan::{self, Comparer, Lookup, Plan};
use foredeck::schema::{Check, Field, Flavor, Kind, Record, Schemas, Type};
use foredeck::value::Value;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How many requests may be under way.
const PARALLELISM: usize = 10;

/// A gateway of this process and its client.
struct Bench {
    runtime: tokio::runtime::Runtime,
    _gateway: Gateway,
    plane: Client,
    schemas: Arc<Schemas>,
}

impl Bench {
    fn new(flavor: Flavor, overrides: bool) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (gateway, plane, schemas) = runtime.block_on(async {
            let options =
                ServeOptions { flavor, proxy_listen: None, konnect_listen: None, ..ServeOptions::default() };
            let gateway = Gateway::start(options).await.unwrap();
            let connection = Connection {
                address: format!("http://{}", gateway.addresses().admin.unwrap()),
                headers: Vec::new(),
                timeout: Some(Duration::from_secs(10)),
                retry_budget: Duration::ZERO,
                parallelism: PARALLELISM,
                tls: Tls::default(),
                cookies: None,
                trace: None,
                skip_hash: false,
            };
            let plane = Client::admin(&connection, None).await.unwrap();
            let info = plane.info().await.unwrap();
            let mut bundled = Schemas::bundled(info.flavor);
            if overrides {
                bundled = Arc::new(bundled.with_overrides());
            }
            plane.learn(&bundled);
            let plugins = bundled.plugin_names().into_iter().map(str::to_owned).collect();
            let kinds = bundled.kinds().to_vec();
            let live = control_plane::live_schemas(&plane, &bundled, &info, &kinds, &plugins, PARALLELISM);
            let schemas = Arc::new(live.await.unwrap().unwrap());
            (gateway, plane, schemas)
        });
        Bench { runtime, _gateway: gateway, plane, schemas }
    }

    /// The kinds that no file can hold.
    fn placeless(&self) -> BTreeSet<Box<str>> {
        let kinds = self.schemas.kinds().iter().filter(|kind| !kind.file.has_place());
        kinds.map(|kind| kind.name.clone()).collect()
    }

    fn loaded(&self, text: &str) -> Result<State, String> {
        let mut input = text.as_bytes();
        let documents = document::read(&["-".to_owned()], &mut input, document::Options::default());
        let loaded = documents.build(&self.schemas);
        if loaded.has_errors() { Err(format!("{:#?}\n{text}", loaded.diagnostics)) } else { Ok(loaded.state) }
    }

    async fn read(&self, wanted: &[Wanted], sink: &mut (dyn FnMut(Arrival) + Send)) {
        control_plane::read(&self.plane, &self.schemas, wanted, PARALLELISM, sink).await.unwrap();
    }

    async fn plan(&self, desired: &State) -> Plan {
        let options = plan::Options { skip: self.placeless(), ..plan::Options::default() };
        let mut comparer = Comparer::new(desired, &self.schemas, &options);
        let reads = plan::reads(desired, &self.schemas, &options);
        let wanted: Vec<Wanted> =
            reads.into_iter().map(|read| Wanted { kind: read.kind, tags: read.tags }).collect();
        self.read(&wanted, &mut |arrival| match arrival {
            Arrival::Page(entities) => comparer.page(entities),
            Arrival::Finished(kind) => comparer.finish_kind(&kind),
        })
        .await;
        for question in comparer.questions() {
            let mut found = Vec::new();
            self.read(&lists(&self.schemas, &question.kind), &mut |arrival| {
                if let Arrival::Page(entities) = arrival {
                    found.extend(entities);
                }
            })
            .await;
            let key = question.kind.endpoint_key.clone().unwrap_or_default();
            found.retain(|entity| match &question.lookup {
                Lookup::Id(id) => entity.id == Some(*id),
                Lookup::Key(value) => entity.body.get(&key) == Some(value),
                Lookup::All => true,
            });
            found.into_iter().for_each(|entity| comparer.answer(entity));
        }
        comparer.finish(&mut Uuid::new_v4)
    }

    /// Syncs a file; afterwards nothing may be left to do.
    fn sync(&self, text: &str) -> Result<(), String> {
        let desired = self.loaded(text)?;
        self.runtime.block_on(async {
            let plan = self.plan(&desired).await;
            if !plan.conflicts.is_empty() {
                return Err(format!("{:#?}\nwhile syncing\n{text}", plan.conflicts));
            }
            let options = apply::Options { parallelism: PARALLELISM, ..apply::Options::default() };
            let outcome = apply::run(&plan, &self.schemas, &self.plane, &options, &mut |_| {}).await;
            if !outcome.complete() {
                return Err(format!("{:?}\nof\n{}\nwhile syncing\n{text}", outcome.statuses, outline(&plan)));
            }
            let again = self.plan(&desired).await;
            if again.is_empty() && again.conflicts.is_empty() {
                return Ok(());
            }
            Err(format!(
                "after\n{}\nthere is still\n{}{:?}\nof\n{text}",
                outline(&plan),
                details(&again),
                again.conflicts
            ))
        })
    }

    /// A dump of everything, as a state file.
    fn dump(&self, options: &dump::Options) -> String {
        self.runtime.block_on(async {
            let mut dump = dump::Dump::new(&self.schemas, options);
            let kinds: Vec<Wanted> = self
                .schemas
                .kinds()
                .iter()
                .filter(|kind| kind.file.has_place())
                .map(|kind| Wanted { kind: kind.clone(), tags: Vec::new() })
                .collect();
            self.read(&kinds, &mut |arrival| {
                if let Arrival::Page(entities) = arrival {
                    entities.into_iter().for_each(|entity| dump.add(entity));
                }
            })
            .await;
            let mut text = Vec::new();
            dump.write(dump::Format::Yaml, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        })
    }

    fn is_in_sync(&self, text: &str) -> Result<(), String> {
        let desired = self.loaded(text)?;
        let plan = self.runtime.block_on(self.plan(&desired));
        if plan.is_empty() && plan.conflicts.is_empty() {
            return Ok(());
        }
        Err(format!("the dump\n{text}\nwould change\n{}{:?}", details(&plan), plan.conflicts))
    }
}

/// The lists in which all entities of a kind come.
fn lists(schemas: &Schemas, kind: &Arc<Kind>) -> Vec<Wanted> {
    let parent = kind.only_under.as_ref().and_then(|name| schemas.kind(name));
    parent.into_iter().chain([kind]).map(|kind| Wanted { kind: kind.clone(), tags: Vec::new() }).collect()
}

fn outline(plan: &Plan) -> String {
    plan.changes
        .iter()
        .map(|c| format!("{} {} {} {:?}\n", c.action, c.kind.name, c.label, c.depends_on))
        .collect()
}

fn details(plan: &Plan) -> String {
    let body = |body: &Option<Value>| body.as_ref().map_or_else(String::new, ToString::to_string);
    let line = |c: &plan::Change| {
        format!("{} {} {}\n- {}\n+ {}\n", c.action, c.kind.name, c.label, body(&c.before), body(&c.after))
    };
    plan.changes.iter().map(line).collect()
}

fn converges(flavor: Flavor, overrides: bool, cases: u32) {
    let bench = Bench::new(flavor, overrides);
    let mut kinds = bench.schemas.parents_first();
    // Kong 3.10 takes filter chains only with WebAssembly switched on.
    kinds.retain(|kind| kind.switched_off.is_none() && kind.file.has_place());
    let dice = || prop::collection::vec(any::<Dice>(), 0..28);
    let scope = prop::sample::select(vec![None, None, Some("team")]);
    let mut runner =
        TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let result = runner.run(&(dice(), dice(), scope), |(first, second, scope)| {
        let states = [state(&bench.schemas, &kinds, &first), state(&bench.schemas, &kinds, &second)];
        prop_assume!(states.iter().all(|state| can_be_written(state)));
        let [first, second] = states.map(|state| file(&state, scope));
        let fail = |error: String| TestCaseError::fail(error);
        let empty = || bench.sync(r#"{"_format_version": "3.0"}"#).map_err(fail);
        empty()?;
        bench.sync(&first).map_err(fail)?;
        bench.sync(&second).map_err(|error| fail(format!("{error}\nafter\n{first}")))?;
        for skip_defaults in [false, true] {
            let options = dump::Options { skip_defaults, ..dump::Options::default() };
            bench
                .is_in_sync(&bench.dump(&options))
                .map_err(|error| fail(format!("{error}\nafter\n{second}")))?;
        }
        bench.sync(&first).map_err(|error| fail(format!("{error}\nafter\n{second}")))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// How many pairs of states are tried; more with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(12)
}

#[test]
fn random_states_converge_on_kong_3_10() {
    converges(Flavor::Kong310, false, cases());
}

#[test]
fn random_states_converge_on_kong_3_14() {
    converges(Flavor::Kong314, false, cases());
}

#[test]
fn random_states_with_policy_overrides_converge() {
    converges(Flavor::Kong314, true, cases() / 2);
}

/// The smallest configuration that a plugin takes, from its schema: a value for each required field without a default.
fn smallest(record: &Record) -> Json {
    let required = record.fields.iter().filter(|field| field.required && field.default.is_none());
    required.map(|field| (field.name.to_string(), sample(field))).collect()
}

/// What plugins need because of rules over several fields.
fn needs(plugin: &str) -> Option<Json> {
    Some(match plugin {
        "acl" => json!({"allow": ["a"]}),
        "acme" => json!({"account_email": "a@h.test", "storage": "kong"}),
        "ai-prompt-decorator" => json!({"prompts": {"prepend": [{"role": "system", "content": "c"}]}}),
        "ai-prompt-guard" => json!({"allow_patterns": ["a"]}),
        "app-dynamics" => json!({}),
        "confluent" => json!({"topic": "t", "cluster_api_key": "k", "cluster_api_secret": "s",
            "bootstrap_servers": [{"host": "h.test", "port": 1}]}),
        "confluent-consume" => json!({"topics": [{"name": "t"}], "mode": "http-get", "cluster_api_key": "k",
            "cluster_api_secret": "s", "bootstrap_servers": [{"host": "h.test", "port": 1}]}),
        "ip-restriction" => json!({"allow": ["10.0.0.1"]}),
        "oauth2" => json!({"enable_client_credentials": true}),
        "opentelemetry" => json!({"traces_endpoint": "http://h.test/x"}),
        "post-function" | "pre-function" => json!({"access": ["return"]}),
        "rate-limiting" => json!({"minute": 1}),
        "saml" => json!({"issuer": "i", "idp_sso_url": "http://h.test/x", "assertion_consumer_path": "/x",
            "session_secret": "01234567890123456789012345678901", "validate_assertion_signature": false}),
        "redirect" => json!({"location": "https://h.test"}),
        "response-ratelimiting" => json!({"limits": {"a": {"minute": 1}}}),
        _ => return None,
    })
}

fn sample(field: &Field) -> Json {
    let one_of = field.checks.iter().find_map(|check| match check {
        Check::OneOf(values) => values.first().and_then(|value| serde_json::to_value(value).ok()),
        _ => None,
    });
    let between = field.checks.iter().find_map(|check| match check {
        Check::Between(low, _) => Some(json!(low.max(1.0) as i64)),
        _ => None,
    });
    one_of.or(between).unwrap_or_else(|| match &field.ty {
        Type::String => json!(match &*field.name {
            name if name.ends_with("url")
                || name.ends_with("endpoint")
                || name == "issuer"
                || name == "access_token_jwks_uri" =>
                "http://h.test/x",
            name if name.ends_with("path") => "/x",
            name if name.ends_with("host") => "h.test",
            _ => "text",
        }),
        Type::Integer | Type::Number => json!(1),
        Type::Boolean => json!(true),
        Type::Array(element) | Type::Set(element) => json!([sample(element)]),
        Type::Map { values, .. } => json!({"k": sample(values)}),
        Type::Record(record) => smallest(record),
        _ => json!({}),
    })
}

/// Every plugin with the least that it takes is synced, and then nothing is left to do.
fn plugins_converge(flavor: Flavor) {
    let bench = Bench::new(flavor, false);
    let mut plugins = Vec::new();
    let mut refused = Vec::new();
    for name in bench.schemas.plugin_names() {
        let config = bench.schemas.plugin(name).and_then(|plugin| match &plugin.record.field("config")?.ty {
            Type::Record(config) => Some(smallest(config)),
            _ => None,
        });
        let config = needs(name).or(config).unwrap_or_default();
        let plugin = json!({"name": name, "config": config});
        let one = json!({"_format_version": "3.0", "plugins": [plugin.clone()]});
        match bench.loaded(&one.to_string()) {
            Ok(_) => plugins.push(plugin),
            Err(_) => refused.push(name.to_owned()),
        }
    }
    assert!(refused.is_empty(), "needs() must say what these need: {refused:?}");
    let file = json!({"_format_version": "3.0", "plugins": plugins}).to_string();
    bench.sync(&file).unwrap_or_else(|error| panic!("{error}"));
    for skip_defaults in [false, true] {
        let options = dump::Options { skip_defaults, ..dump::Options::default() };
        bench.is_in_sync(&bench.dump(&options)).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_plugin_converges_on_kong_3_10() {
    plugins_converge(Flavor::Kong310);
}

#[test]
fn every_plugin_converges_on_kong_3_14() {
    plugins_converge(Flavor::Kong314);
}
