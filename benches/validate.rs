//! How long `file validate` takes, and how much memory.
//!
//! `cargo bench --bench validate`

#![allow(clippy::expect_used, clippy::print_stdout, missing_docs)] // a benchmark fails loudly and prints its table

mod common;

use common::{Size, best, foredeck, measure, scratch};

fn main() {
    let size = Size::of(5_000);
    let text = size.state();
    // One fault in nearly every entity.
    let faults =
        [("port:", "prot:"), ("minute:", "minut:"), ("username:", "usrname:"), ("secret:", "secrte:")];
    let faulty = faults.iter().fold(text.clone(), |text, (good, bad)| text.replace(good, bad));
    println!("{} entities, {} lines\n", size.entities(), text.lines().count());
    println!("| what | wall | CPU | peak memory |\n|---|---|---|---|");
    for (what, text, format, code) in [
        ("no errors", &text, "text", 0),
        ("no errors, as JSON", &text, "json", 0),
        ("an error in nearly every entity", &faulty, "text", 1),
        ("an error in nearly every entity, as JSON", &faulty, "json", 1),
    ] {
        let path = scratch("state.yaml");
        std::fs::write(&path, text).expect("a state file");
        let run = || {
            let mut command = foredeck();
            command.args(["file", "validate", "--format", format]).arg(&path);
            measure(command, code)
        };
        println!("| {what} | {} |", best(5, run, |figures| figures.wall).cells());
    }
}
