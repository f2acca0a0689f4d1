//! `foredeck version`: which program this is.

use super::console::Console;
use super::exit::{Exit, Outcome};

/// Prints name and version on one line.
pub fn run(console: &Console) -> Outcome {
    console.out(concat!("foredeck ", env!("CARGO_PKG_VERSION"), "\n"));
    Ok(Exit::Success)
}
