//! Creating everything, comparing, dumping and deleting states of several sizes and shapes, against the built-in gateway.
//!
//! `cargo bench --bench sync [-- SERVICES...]` prints the table of docs/benchmarks.md.

#![allow(clippy::expect_used, clippy::print_stdout, missing_docs)] // a benchmark fails loudly and prints its table

mod common;

use common::{Counter, Figures, Gateway, Size, best, measure, scratch, state_file};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Consumers of the one group, targets of the one upstream, upstreams behind a slow network.
const WIDE: [usize; 3] = [8000, 5000, 2000];

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let usual = sizes.is_empty();
    println!(
        "| state | job | wall | CPU | peak memory | requests | connections |\n|---|---|---|---|---|---|---|"
    );
    for services in if usual { vec![1000, 5000, 25_000] } else { sizes } {
        let size = Size::of(services);
        run(&format!("{services} services, {} entities", size.entities()), &state_file(size), &[]);
    }
    if !usual {
        return;
    }
    let [consumers, targets, upstreams] = WIDE;
    let group = format!("a group of {consumers} consumers");
    run(&group, &written("group", &group_of(consumers)), &[]);
    let size = Size { services: 0, consumers: 0, upstreams: 1, targets };
    run(&format!("an upstream of {targets} targets"), &written("targets", &size.state()), &[]);
    let size = Size { upstreams, targets: 1, ..size };
    let slow = ["--fault", "GET /*: latency=20ms"];
    run(&format!("{upstreams} upstreams, every read 20 ms late"), &written("late", &size.state()), &slow);
}

/// Measures every job on one state.
fn run(name: &str, file: &std::path::Path, serve: &[&str]) {
    let file = file.to_str().expect("a path in UTF-8");
    let gateway = Gateway::start(serve);
    let counter = Counter::before(&gateway.admin);
    let work = |arguments: &[&str]| -> (Figures, (usize, usize)) {
        counter.take();
        let mut command = gateway.command(arguments);
        command.env("DECK_KONG_ADDR", &counter.address);
        (measure(command, 0), counter.take())
    };
    let row = |job: &str, (figures, (requests, connections)): (Figures, (usize, usize))| {
        println!("| {name} | {job} | {} | {requests} | {connections} |", figures.cells());
    };
    let best = |arguments: &[&str]| best(3, || work(arguments), |(figures, _)| figures.cpu);
    row("create all", work(&["gateway", "sync", file]));
    row("diff without differences", best(&["gateway", "diff", file, "--non-zero-exit-code"]));
    row("dump", best(&["gateway", "dump"]));
    row("delete all", work(&["gateway", "reset", "-f"]));
    println!("| {name} | the gateway itself | | | {} MB | | |", gateway.memory() / 1_000_000);
}

/// A state file with one group and its members.
fn group_of(consumers: usize) -> String {
    let mut text = String::from("_format_version: \"3.0\"\nconsumer_groups:\n  - name: all\nconsumers:\n");
    for n in 0..consumers {
        let _infallible = writeln!(text, "  - username: consumer-{n}\n    groups: [{{name: all}}]");
    }
    text
}

fn written(name: &str, text: &str) -> PathBuf {
    let path = scratch(&format!("{name}.yaml"));
    std::fs::write(&path, text).expect("a state file");
    path
}
