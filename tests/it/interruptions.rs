//! Runs that are killed or interrupted, and what brings them to their end.

use crate::failures::{Fault, Relay};
use crate::support::{Folder, Gateway, command, http};
use serde_json::json;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const BEFORE: &str = r#"_format_version: "3.0"
consumers:
- {username: amy, custom_id: one}
- {username: bob, custom_id: two}
services:
- {name: old, host: old.test, routes: [{name: gone, paths: [/gone]}]}
"#;
/// Two values change hands, which takes a step between; something is made below something new; something goes.
const AFTER: &str = r#"_format_version: "3.0"
consumers:
- {username: amy, custom_id: two}
- {username: bob, custom_id: one}
services:
- {name: new, host: new.test, routes: [{name: r, paths: [/r], plugins: [{name: key-auth}]}]}
"#;
/// How many writes the way from one to the other takes.
const WRITES: usize = 7;

/// A relay that stops at a write, before the gateway hears of it or when its answer is lost.
struct Stopping {
    relay: Relay,
    /// Hears when the write is there.
    reached: Receiver<()>,
    /// Set to let everything pass again.
    open: Arc<AtomicBool>,
}

fn stopping(gateway: &Gateway, at: usize, carried_out: bool) -> Stopping {
    let (tell, reached) = channel();
    let open = Arc::new(AtomicBool::new(false));
    let (pass, over) = (open.clone(), AtomicBool::new(false));
    let relay = Relay::before(&gateway.admin, move |line, writes| {
        let hit = writes == at && !line.starts_with("GET") && !pass.load(Ordering::SeqCst);
        if hit && carried_out && !over.swap(true, Ordering::SeqCst) {
            return Some(Fault::LostAnswer);
        }
        if hit || over.load(Ordering::SeqCst) && !pass.load(Ordering::SeqCst) {
            // Only the first is waited for.
            let _ = tell.send(());
            loop {
                std::thread::park();
            }
        }
        None
    });
    Stopping { relay, reached, open }
}

fn start(relay: &Relay, folder: &Folder, arguments: &[&str]) -> Child {
    let mut command = command();
    command.current_dir(folder.path()).args(arguments).env("DECK_KONG_ADDR", &relay.address);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Kills a sync at every write, before or after the gateway has carried it out, and brings it to its end: the gateway
/// holds what `file` says then.
fn kill_and(carried_out: bool, file: &str, finish: &(dyn Fn(&Relay, &Folder, &str) + Sync)) {
    let gateway = &Gateway::start();
    let case = |at: usize| {
        let workspace = format!("w{at}");
        let folder = Folder::with("before.yaml", BEFORE);
        folder.write("after.yaml", AFTER);
        gateway.run(&folder, &["gateway", "sync", "before.yaml", "-w", &workspace], &[]).expect(0);
        let Stopping { relay, reached, open } = stopping(gateway, at, carried_out);
        let sync =
            ["gateway", "sync", "after.yaml", "-w", &workspace, "--parallelism", "1", "--journal", "j"];
        let mut child = start(&relay, &folder, &sync);
        reached.recv_timeout(Duration::from_secs(20)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        open.store(true, Ordering::SeqCst);
        finish(&relay, &folder, &workspace);
        let diff = ["gateway", "diff", file, "-w", &workspace, "--non-zero-exit-code"];
        gateway.run(&folder, &diff, &[]).expect(0);
    };
    std::thread::scope(|scope| {
        let case = &case;
        for first in [0, 1] {
            scope.spawn(move || (first..WRITES).step_by(2).for_each(case));
        }
    });
}

#[test]
fn a_run_that_is_killed_at_any_write_is_made_good_by_the_next() {
    kill_and(true, "after.yaml", &|relay, folder, workspace| {
        relay.run(folder, &["gateway", "sync", "after.yaml", "-w", workspace]).expect(0);
    });
}

#[test]
fn a_run_that_is_killed_at_any_write_can_be_gone_on_with() {
    kill_and(false, "after.yaml", &|relay, folder, _| {
        let resume = relay.run(folder, &["gateway", "resume", "--journal", "j"]).expect(0);
        assert!(resume.stderr.contains("of 8 changes were done"), "{}", resume.stderr);
    });
}

#[test]
fn a_run_that_is_killed_at_any_write_can_be_undone() {
    kill_and(true, "before.yaml", &|relay, folder, _| {
        relay.run(folder, &["gateway", "resume", "--rollback", "--journal", "j"]).expect(0);
    });
}

#[test]
fn undoing_brings_back_all_but_secrets() {
    let gateway = Gateway::start();
    let before = "_format_version: \"3.0\"\nservices: [{name: a, host: one.test, routes: [{name: r, paths: [/r]}]}]\n\
                  consumers:\n- {username: amy, acls: [{group: g}], keyauth_credentials: [{key: k1}]}\n\
                  - {username: bob, keyauth_credentials: [{key: k2, tags: [old]}]}\n";
    let after = "_format_version: \"3.0\"\nservices: [{name: a, host: two.test}, {name: b, host: h.test}]\n\
                 consumers: [{username: bob, keyauth_credentials: [{key: k2, tags: [new]}]}]\n";
    let folder = Folder::with("before.yaml", before);
    folder.write("after.yaml", after);
    gateway.run(&folder, &["gateway", "sync", "before.yaml"], &[]).expect(0);
    gateway.run(&folder, &["gateway", "sync", "after.yaml", "--journal", "j"], &[]).expect(0);
    let journal = std::fs::read_to_string(folder.path().join("j")).unwrap();
    assert!(!journal.contains("k1") && !journal.contains("k2"), "{journal}");
    let undo = gateway.run(&folder, &["gateway", "resume", "--rollback", "--journal", "j"], &[]).expect(3);
    assert!(
        undo.stderr.contains("key-auth") && undo.stderr.contains("does not hold its secrets"),
        "{undo:?}"
    );
    let diff = gateway.run(&folder, &["gateway", "diff", "before.yaml"], &[]).expect(0);
    assert!(diff.stdout.contains("Created: 1") && diff.stdout.contains("Updated: 0"), "{diff:?}");
    assert!(diff.stdout.contains("creating key-auth") && diff.stdout.contains("Deleted: 0"), "{diff:?}");
}

/// A relay that holds a write back until `open` is set, and fails it then by `fault`.
fn holding(gateway: &Gateway, at: usize, fault: Option<Fault>) -> Stopping {
    let (tell, reached) = channel();
    let open = Arc::new(AtomicBool::new(false));
    let pass = open.clone();
    let relay = Relay::before(&gateway.admin, move |line, writes| {
        if writes != at || line.starts_with("GET") || pass.load(Ordering::SeqCst) {
            return None;
        }
        // Only the first is waited for.
        let _ = tell.send(());
        while !pass.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        fault
    });
    Stopping { relay, reached, open }
}

/// A sync that waits for the answer to a write and has been interrupted once.
#[cfg(unix)]
struct Interrupted {
    child: Child,
    stderr: std::io::BufReader<std::process::ChildStderr>,
}

#[cfg(unix)]
impl Interrupted {
    fn new(relay: &Stopping, folder: &Folder) -> Self {
        let sync = ["gateway", "sync", "after.yaml", "--parallelism", "1", "--journal", "j"];
        let mut child = start(&relay.relay, folder, &sync);
        let stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        relay.reached.recv_timeout(Duration::from_secs(20)).unwrap();
        let mut run = Interrupted { child, stderr };
        run.interrupt();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut run.stderr, &mut line).unwrap();
        assert!(line.contains("Finishing what is under way"), "{line}");
        run
    }

    fn interrupt(&self) {
        let kill = format!("kill -INT {}", self.child.id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// The exit code, and what standard error said.
    fn end(mut self) -> (i32, String) {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.stderr, &mut text).unwrap();
        (self.child.wait().unwrap().code().unwrap(), text)
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_lets_what_is_under_way_finish() {
    for (at, fault, code) in [(2, None, 3), (0, Some(Fault::Status(400)), 1)] {
        let gateway = Gateway::start();
        let folder = Folder::with("before.yaml", BEFORE);
        folder.write("after.yaml", AFTER);
        gateway.run(&folder, &["gateway", "sync", "before.yaml"], &[]).expect(0);
        let relay = holding(&gateway, at, fault);
        let run = Interrupted::new(&relay, &folder);
        relay.open.store(true, Ordering::SeqCst);
        let (ended, stderr) = run.end();
        assert_eq!(ended, code, "{stderr}");
        assert!(stderr.contains("interrupted") && stderr.contains("resume --journal j"), "{stderr}");
        let resume = relay.relay.run(&folder, &["gateway", "resume", "--journal", "j"]).expect(0);
        assert_eq!(resume.stderr.contains("of which 0 of 8"), code == 1, "{}", resume.stderr);
        gateway.run(&folder, &["gateway", "diff", "after.yaml", "--non-zero-exit-code"], &[]).expect(0);
    }
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_ends_the_run_at_once() {
    let gateway = Gateway::start();
    let folder = Folder::with("before.yaml", BEFORE);
    folder.write("after.yaml", AFTER);
    gateway.run(&folder, &["gateway", "sync", "before.yaml"], &[]).expect(0);
    let relay = holding(&gateway, 2, None);
    let run = Interrupted::new(&relay, &folder);
    run.interrupt();
    // The write is still held back.
    let (code, stderr) = run.end();
    assert_eq!(code, 3, "{stderr}");
    relay.open.store(true, Ordering::SeqCst);
    relay.relay.run(&folder, &["gateway", "resume", "--journal", "j"]).expect(0);
    gateway.run(&folder, &["gateway", "diff", "after.yaml", "--non-zero-exit-code"], &[]).expect(0);
}

#[test]
fn a_run_stops_where_somebody_else_changed_an_entity_meanwhile() {
    let gateway = Gateway::start();
    let state = |host: &str| {
        format!(
            "_format_version: \"3.0\"\nservices: [{{name: one, host: {host}}}, {{name: two, host: {host}}}]\n"
        )
    };
    let folder = Folder::with("before.yaml", &state("old.test"));
    folder.write("after.yaml", &state("new.test"));
    gateway.run(&folder, &["gateway", "sync", "before.yaml"], &[]).expect(0);
    // Times of writes are kept in seconds.
    std::thread::sleep(Duration::from_millis(1100));
    let address = gateway.admin.clone();
    let relay = Relay::before(&gateway.admin, move |line, writes| {
        if writes == 0 && !line.starts_with("GET") {
            let answer = http("PATCH", &format!("{address}/services/two"), &[], &json!({"retries": 7}));
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        None
    });
    let sync = relay.run(&folder, &["gateway", "sync", "after.yaml", "--parallelism", "1"]).expect(3);
    assert!(sync.stderr.contains("service two was changed by somebody else"), "{sync:?}");
    assert!(sync.stdout.contains("Updated: 1"), "{sync:?}");
    let two = http("GET", &format!("{}/services/two", gateway.admin), &[], &json!(null));
    assert!(two.text.contains("old.test") && two.text.contains("\"retries\":7"), "{}", two.text);
    gateway.run(&folder, &["gateway", "sync", "after.yaml"], &[]).expect(0);
    gateway.run(&folder, &["gateway", "diff", "after.yaml", "--non-zero-exit-code"], &[]).expect(0);
}
