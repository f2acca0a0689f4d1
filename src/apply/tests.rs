//! Plans run against a control plane in memory that can fail at will.

use super::{Event, Options, Reason, Status, run};
use crate::control_plane::{ControlPlane, Error, Info, List, Page, Write, WriteAction};
use crate::plan::{Action, Change, Plan, Role};
use crate::schema::{Flavor, Kind, Schemas};
use crate::value::Value;
use async_trait::async_trait;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// A control plane in memory.
#[derive(Default)]
struct Fake {
    rows: Mutex<BTreeMap<Uuid, Value>>,
    log: Mutex<Vec<String>>,
    refused: BTreeSet<Uuid>,
    under_way: AtomicUsize,
    most: AtomicUsize,
    reads: AtomicUsize,
}

#[async_trait]
impl ControlPlane for Fake {
    fn address(&self) -> &str {
        "http://fake.test"
    }
    async fn info(&self) -> Result<Info, Error> {
        Ok(Info {
            version: None,
            flavor: Flavor::Kong310,
            konnect: false,
            dbless: false,
            plugins: Vec::new(),
        })
    }
    async fn kind_schema(&self, _: &Kind) -> Result<Option<Json>, Error> {
        Ok(None)
    }
    async fn plugin_schema(&self, _: &str) -> Result<Option<Json>, Error> {
        Ok(None)
    }
    fn lists_flat(&self, _: &Kind) -> bool {
        true
    }
    async fn page(&self, list: &List<'_>, next: Option<&str>) -> Result<Page, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let after = next.and_then(|next| Uuid::parse_str(next).ok()).unwrap_or_default();
        let rows = self.rows.lock().unwrap();
        let found: Vec<(&Uuid, &Value)> =
            rows.iter().filter(|(id, _)| **id > after).take(list.size).collect();
        let next = found.last().filter(|_| found.len() == list.size).map(|(id, _)| id.to_string());
        Ok(Page { rows: found.into_iter().map(|(_, row)| row.clone()).collect(), next })
    }
    async fn get(&self, _: &Kind, id: Uuid, _: &Value) -> Result<Option<Value>, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(self.rows.lock().unwrap().get(&id).cloned())
    }
    async fn find(&self, _: &Kind, _: &Value) -> Result<Option<Value>, Error> {
        Ok(None)
    }
    async fn validate(&self, _: &Kind, _: &Value) -> Result<Option<Error>, Error> {
        Ok(None)
    }
    async fn write(&self, write: &Write<'_>) -> Result<(), Error> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        if self.refused.contains(&write.id) {
            return Err(Error::Refused { status: 400, message: "no".into() });
        }
        let word = match write.action {
            WriteAction::Delete => "delete",
            _ if write.hashed => "put hashed",
            _ => "put",
        };
        self.log.lock().unwrap().push(format!("{word} {}", number(write.id)));
        let mut rows = self.rows.lock().unwrap();
        if write.action == WriteAction::Delete {
            rows.remove(&write.id);
        } else {
            rows.insert(write.id, write.body.clone());
        }
        Ok(())
    }
}

fn id(number: u8) -> Uuid {
    Uuid::from_u128(number.into())
}

fn number(id: Uuid) -> u128 {
    id.as_u128()
}

fn service(number: u8, host: &str, updated_at: u64) -> Value {
    let id = id(number).to_string();
    Value::from(json!({"id": id, "name": format!("s{number}"), "host": host, "updated_at": updated_at}))
}

struct Bench {
    schemas: Arc<Schemas>,
    plan: Plan,
    plane: Fake,
}

impl Bench {
    fn new() -> Self {
        Bench { schemas: Schemas::bundled(Flavor::Kong310), plan: Plan::default(), plane: Fake::default() }
    }

    fn change(&mut self, n: u8, before: Option<Value>, after: Option<Value>, depends_on: &[usize]) -> usize {
        let action = match (&before, &after) {
            (None, _) => Action::Create,
            (_, None) => Action::Delete,
            _ => Action::Update,
        };
        if let Some(before) = &before {
            self.plane.rows.lock().unwrap().insert(id(n), before.clone());
        }
        self.plan.changes.push(Change {
            action,
            kind: self.schemas.kind("services").unwrap().clone(),
            id: id(n),
            label: format!("s{n}"),
            before,
            after,
            names: BTreeMap::new(),
            depends_on: depends_on.to_vec(),
            cascades_from: None,
            role: Role::Asked,
            place: None,
        });
        self.plan.changes.len() - 1
    }

    fn create(&mut self, n: u8, depends_on: &[usize]) -> usize {
        self.change(n, None, Some(service(n, "h.test", 0)), depends_on)
    }

    async fn run(&self, options: &Options) -> super::Outcome {
        run(&self.plan, &self.schemas, &self.plane, options, &mut |_: Event<'_>| {}).await
    }

    fn log(&self) -> Vec<String> {
        self.plane.log.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn what_is_depended_on_comes_first() {
    let mut bench = Bench::new();
    let first = bench.create(1, &[]);
    let second = bench.create(2, &[first]);
    bench.create(3, &[first, second]);
    let outcome = bench.run(&Options::default()).await;
    assert!(outcome.complete());
    assert_eq!(bench.log(), ["put 1", "put 2", "put 3"]);
}

#[tokio::test]
async fn no_more_run_at_once_than_is_allowed() {
    let mut bench = Bench::new();
    for n in 1..=40 {
        bench.create(n, &[]);
    }
    let outcome = bench.run(&Options { parallelism: 7, ..Options::default() }).await;
    assert!(outcome.complete());
    assert_eq!(bench.plane.most.load(Ordering::SeqCst), 7);
}

#[tokio::test]
async fn a_failure_stops_only_what_depends_on_it() {
    let mut bench = Bench::new();
    let bad = bench.create(1, &[]);
    let child = bench.create(2, &[bad]);
    bench.create(3, &[child]);
    bench.create(4, &[]);
    bench.plane.refused.insert(id(1));
    let outcome = bench.run(&Options::default()).await;
    assert!(matches!(outcome.statuses[0], Status::Failed(Error::Refused { status: 400, .. })));
    assert_eq!(outcome.statuses[1], Status::NotTried(Reason::DependsOn(0)));
    assert_eq!(outcome.statuses[2], Status::NotTried(Reason::DependsOn(1)));
    assert_eq!(outcome.statuses[3], Status::Done);
    assert!(outcome.changed() && !outcome.complete());
}

#[tokio::test]
async fn nothing_done_is_a_plain_failure() {
    let mut bench = Bench::new();
    bench.create(1, &[]);
    bench.plane.refused.insert(id(1));
    let outcome = bench.run(&Options::default()).await;
    assert!(!outcome.changed() && !outcome.complete());
}

#[tokio::test]
async fn a_cascaded_deletion_needs_no_request() {
    let mut bench = Bench::new();
    let parent = bench.change(1, Some(service(1, "h.test", 5)), None, &[]);
    let child = bench.change(2, Some(service(2, "h.test", 5)), None, &[]);
    bench.plan.changes[child].cascades_from = Some(parent);
    let outcome = bench.run(&Options::default()).await;
    assert!(outcome.complete());
    assert_eq!(bench.log(), ["delete 1"]);
}

#[tokio::test]
async fn an_entity_that_somebody_else_changed_is_not_written() {
    let mut bench = Bench::new();
    bench.change(1, Some(service(1, "old.test", 5)), Some(service(1, "new.test", 5)), &[]);
    bench.plane.rows.lock().unwrap().insert(id(1), service(1, "theirs.test", 6));
    bench.create(2, &[0]);
    let outcome = bench.run(&Options::default()).await;
    assert!(matches!(outcome.statuses[0], Status::Failed(Error::Changed { .. })), "{outcome:?}");
    assert!(bench.log().is_empty());
}

#[tokio::test]
async fn many_are_read_again_by_pages() {
    let mut bench = Bench::new();
    for n in 0..=250 {
        bench.change(n, Some(service(n, "h.test", 5)), None, &[]);
    }
    assert!(bench.run(&Options::default()).await.complete());
    assert_eq!(bench.log().len(), 251);
    // The last few stand on the third page, or are read one by one.
    let reads = bench.plane.reads.load(Ordering::SeqCst);
    assert!((3..40).contains(&reads), "{reads}");
}

#[tokio::test]
async fn a_page_shows_what_somebody_else_changed() {
    for theirs in [3, 60, 130, 199] {
        let mut bench = Bench::new();
        for n in 0..200 {
            bench.change(n, Some(service(n, "h.test", 5)), Some(service(n, "new.test", 5)), &[]);
        }
        bench.plane.rows.lock().unwrap().insert(id(theirs), service(theirs, "theirs.test", 6));
        let outcome = bench.run(&Options::default()).await;
        let at = usize::from(theirs);
        assert!(
            matches!(&outcome.statuses[at], Status::Failed(Error::Changed { what }) if what.ends_with(&format!(" s{theirs}")))
        );
        assert!(outcome.statuses.contains(&Status::NotTried(Reason::Stopped)) || theirs == 199);
        assert!(!bench.log().contains(&format!("put {theirs}")));
    }
}

#[tokio::test]
async fn a_list_of_which_little_is_due_is_not_read_to_its_end() {
    let mut bench = Bench::new();
    for n in 0..=250 {
        bench
            .plane
            .rows
            .lock()
            .unwrap()
            .insert(Uuid::from_u128(1000 + u128::from(n)), service(n, "h.test", 1));
    }
    for n in (5..=250).step_by(4) {
        bench.change(n, Some(service(n, "h.test", 5)), None, &[]);
    }
    for n in 0..=u8::MAX {
        bench.plane.rows.lock().unwrap().entry(id(n)).or_insert_with(|| service(n, "h.test", 1));
    }
    assert!(bench.run(&Options::default()).await.complete());
    let reads = bench.plane.reads.load(Ordering::SeqCst);
    assert!(reads <= 62 + 2, "{reads}");
}

#[tokio::test]
async fn going_back_undoes_the_last_first_and_cascades_after_their_parents() {
    let mut bench = Bench::new();
    let parent = bench.change(1, Some(service(1, "h.test", 5)), None, &[]);
    let child = bench.change(2, Some(service(2, "h.test", 5)), None, &[]);
    bench.plan.changes[child].cascades_from = Some(parent);
    let update = bench.change(3, Some(service(3, "old.test", 5)), Some(service(3, "new.test", 5)), &[parent]);
    let created = bench.create(4, &[update]);
    bench.create(5, &[created]);
    bench.plane.refused.insert(id(5));
    let outcome = bench.run(&Options { rollback_on_error: true, ..Options::default() }).await;
    assert_eq!(outcome.statuses[..4], vec![Status::RolledBack; 4]);
    assert!(!outcome.changed() && !outcome.complete());
    assert_eq!(bench.log(), ["delete 1", "put 3", "put 4", "delete 4", "put 3", "put 1", "put 2"]);
    let rows = bench.plane.rows.lock().unwrap();
    assert_eq!(rows.get(&id(3)).unwrap().get("host").unwrap().as_str(), Some("old.test"));
    assert!(!rows.contains_key(&id(4)));
}

#[tokio::test]
async fn a_password_comes_back_only_where_its_hash_can_be_stored() {
    for (flavor, comes_back) in [(Flavor::Kong314, true), (Flavor::Kong310, false)] {
        let mut bench = Bench { schemas: Schemas::bundled(flavor), ..Bench::new() };
        let login = |n: u8, password: &str| {
            Some(Value::from(
                json!({"id": id(n).to_string(), "username": format!("u{n}"), "password": password}),
            ))
        };
        let gone = bench.change(1, login(1, "5f4dcc3b5aa7"), None, &[]);
        let kept = bench.change(2, login(2, "same"), login(2, "same"), &[gone]);
        for change in &mut bench.plan.changes {
            change.kind = bench.schemas.kind("basicauth_credentials").unwrap().clone();
        }
        bench.create(3, &[kept]);
        bench.plane.refused.insert(id(3));
        let outcome = bench.run(&Options { rollback_on_error: true, ..Options::default() }).await;
        assert_eq!(outcome.statuses[kept], Status::RolledBack);
        assert_eq!(outcome.statuses[gone] == Status::RolledBack, comes_back, "{outcome:?}");
        let left: Vec<String> = outcome.left_behind.iter().map(|(_, error)| error.to_string()).collect();
        if comes_back {
            assert_eq!(bench.log(), ["delete 1", "put 2", "put 2", "put hashed 1"]);
            assert!(left.is_empty(), "{left:?}");
        } else {
            assert_eq!(bench.log(), ["delete 1", "put 2", "put 2"]);
            assert!(left[0].contains("only the hash"), "{left:?}");
        }
    }
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_starts_nothing_new() {
    let mut bench = Bench::new();
    let first = bench.create(1, &[]);
    bench.create(2, &[first]);
    let options = Options::default();
    let stop = options.stop.clone();
    let mut events = move |event: Event<'_>| {
        if matches!(event, Event::Started { .. }) {
            stop.cancel();
        }
    };
    let outcome = run(&bench.plan, &bench.schemas, &bench.plane, &options, &mut events).await;
    assert_eq!(outcome.statuses[0], Status::Done);
    assert_eq!(outcome.statuses[1], Status::NotTried(Reason::Interrupted));
    assert!(outcome.interrupted);
    assert!(outcome.changed() && !outcome.complete());
}
