//! The `gateway` commands: one file each, over a shared way from files to a plan.
//!
//! What does not live here: comparing (`plan`), running a plan (`apply`), requests (`control_plane`), reports.

mod drift;
mod dump;
mod flags;
mod journal;
mod output;
mod ping;
mod planning;
mod record;
mod reset;
mod resume;
mod saved;
mod session;
mod sync;
mod validate;
mod write;

pub(super) use flags::Requests;
pub use flags::{Inputs, Kinds};
pub(super) use session::{Aim, Session};
pub(super) use validate::konnect_faults;

use super::{Context, Failure, Outcome};
use crate::diagnostics::codes;

/// Work with a running gateway or a Konnect control plane
#[derive(clap::Subcommand)]
pub enum Gateway {
    /// Make the gateway hold what the state files say
    #[command(
        after_help = "Examples:\n  foredeck gateway sync kong.yaml\n  foredeck gateway sync kong/ --select-tag team-a --max-deletes 10%\n  cat kong.yaml | foredeck gateway sync"
    )]
    Sync(sync::SyncArgs),
    /// Show what sync would change
    #[command(
        after_help = "Examples:\n  foredeck gateway diff kong.yaml --non-zero-exit-code\n  foredeck gateway diff kong/ --format markdown > diff.md\n  foredeck gateway diff kong.yaml --out plan.json"
    )]
    Diff(sync::DiffArgs),
    /// Show who changed what since the last sync: the state files, the gateway, or both
    #[command(
        after_help = "Examples:\n  foredeck gateway drift kong.yaml\n  foredeck gateway drift kong.yaml --base released.yaml --format json"
    )]
    Drift(drift::Args),
    /// Create and update what the state files say; delete nothing
    Apply(sync::ApplyArgs),
    /// Write what the gateway holds as a state file
    #[command(
        after_help = "Examples:\n  foredeck gateway dump -o kong.yaml --secrets env\n  foredeck gateway dump --select-tag team-a --skip-defaults"
    )]
    Dump(dump::Args),
    /// Check state files against the gateway
    Validate(validate::Args),
    /// Check that the gateway answers
    Ping(ping::Args),
    /// Go on with a run that was interrupted or failed
    Resume(resume::Args),
    /// Delete everything that the gateway holds
    Reset(reset::Args),
}

/// Runs one of the commands.
pub fn run(command: &Gateway, context: &Context) -> Outcome {
    // One thread is enough for the client, and saves the handing over of each answer between threads.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(codes::UNREACHABLE, format!("no network runtime: {error}")))?;
    runtime.block_on(perform(command, context))
}

/// Runs one of the commands inside a runtime that is there already.
pub async fn perform(command: &Gateway, context: &Context) -> Outcome {
    match command {
        Gateway::Sync(args) => sync::sync(args, context).await,
        Gateway::Diff(args) => sync::diff(args, context).await,
        Gateway::Drift(args) => drift::run(args, context).await,
        Gateway::Apply(args) => sync::apply(args, context).await,
        Gateway::Dump(args) => dump::run(args, context).await,
        Gateway::Validate(args) => validate::run(args, context).await,
        Gateway::Ping(args) => ping::run(args, context).await,
        Gateway::Resume(args) => resume::run(args, context).await,
        Gateway::Reset(args) => reset::run(args, context).await,
    }
}
