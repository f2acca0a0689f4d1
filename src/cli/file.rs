//! The `file` commands: what is done with state files, without a gateway.

use super::{Context, Outcome, file_validate};

/// The commands of the group.
#[derive(clap::Subcommand)]
pub enum File {
    /// Check state files as the gateway would, and look for what is probably not meant
    Validate(file_validate::Args),
}

/// Runs a command of the group.
pub fn run(command: &File, context: &Context) -> Outcome {
    match command {
        File::Validate(args) => file_validate::run(args, context),
    }
}
