//! Runs that are killed or interrupted, and what brings them to their end.

use crate::failures::{Fault, Relay};
use crate::support::{Folder, Gateway, command};
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
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills a sync at every write, before or after the gateway has carried it out, and brings it to its end.
fn kill_and(carried_out: bool, finish: &(dyn Fn(&Relay, &Folder, &str) + Sync)) {
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
        let diff = ["gateway", "diff", "after.yaml", "-w", &workspace, "--non-zero-exit-code"];
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
    kill_and(true, &|relay, folder, workspace| {
        relay.run(folder, &["gateway", "sync", "after.yaml", "-w", workspace]).expect(0);
    });
}

#[test]
fn a_run_that_is_killed_at_any_write_can_be_gone_on_with() {
    kill_and(false, &|relay, folder, _| {
        let resume = relay.run(folder, &["gateway", "resume", "--journal", "j"]).expect(0);
        assert!(resume.stderr.contains("of 8 changes were done"), "{}", resume.stderr);
    });
}
