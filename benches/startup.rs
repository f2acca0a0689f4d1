//! How long the program takes to start, and how large it is.
//!
//! `cargo bench --bench startup`

#![allow(clippy::print_stdout, missing_docs)] // a benchmark prints its table

mod common;

use common::{foredeck, measure};

fn main() {
    let run = || {
        let mut command = foredeck();
        command.arg("version");
        measure(command, 0)
    };
    let mut walls: Vec<_> = (0..50).map(|_| run().wall).collect();
    walls.sort();
    let median = walls.get(walls.len() / 2).copied().unwrap_or_default();
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_foredeck")).map(|file| file.len()).unwrap_or_default();
    println!("| what | figure |\n|---|---|");
    println!("| `foredeck version`, median of {} | {:.2} ms |", walls.len(), median.as_secs_f64() * 1000.0);
    println!("| peak memory | {:.1} MB |", run().memory as f64 / 1e6);
    println!("| binary | {:.1} MB |", size as f64 / 1e6);
}
