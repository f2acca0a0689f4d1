//! Creating everything, comparing, dumping and deleting states of several sizes, against the built-in gateway.
//!
//! `cargo bench --bench sync [-- SERVICES...]` prints a table for docs/benchmarks.md.

#![allow(clippy::expect_used, clippy::print_stdout, missing_docs)] // a benchmark fails loudly and prints its table

mod common;

use common::{Gateway, Size, best, measure, state_file};

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1000, 5000] } else { sizes };
    println!("| services | entities | job | wall | CPU | peak memory |\n|---|---|---|---|---|---|");
    for services in sizes {
        let size = Size::of(services);
        let file = state_file(size);
        let file = file.to_str().expect("a path in UTF-8");
        let gateway = Gateway::start(&[]);
        let row = |job: &str, figures: common::Figures| {
            println!("| {services} | {} | {job} | {} |", size.entities(), figures.cells());
        };
        row("create all", measure(gateway.command(&["gateway", "sync", file]), 0));
        let diff = || measure(gateway.command(&["gateway", "diff", file, "--non-zero-exit-code"]), 0);
        row("diff without differences", best(3, diff));
        row("dump", best(3, || measure(gateway.command(&["gateway", "dump", "--yes"]), 0)));
        row("delete all", measure(gateway.command(&["gateway", "reset", "-f"]), 0));
        println!(
            "| {services} | {} | the gateway itself | | | {} MB |",
            size.entities(),
            gateway.memory() / 1_000_000
        );
    }
}
