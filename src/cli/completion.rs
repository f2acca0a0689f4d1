//! `foredeck completion`: scripts with which shells complete commands and flags.

use super::console::Console;
use super::exit::{Exit, Outcome};
use clap_complete::Shell;

/// The arguments of `foredeck completion`.
#[derive(clap::Args)]
pub struct Args {
    /// The shell to write a script for
    #[arg(value_parser = clap::builder::EnumValueParser::<Shell>::new())]
    shell: Shell,
}

/// Prints the script for a shell.
pub fn run(args: &Args, console: &Console) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "foredeck", &mut script);
    console.raw(&script)?;
    Ok(Exit::Success)
}
