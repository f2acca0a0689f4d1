//! `foredeck serve`: the built-in gateway in the foreground.

use super::exit::{Failure, Outcome};
use super::settings::Context;
use crate::diagnostics::codes;
use crate::schema::Flavor;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The arguments of `foredeck serve`.
#[derive(clap::Args)]
pub struct Args {
    /// Where the Admin API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8001")]
    admin_listen: SocketAddr,

    /// Where the proxy listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    proxy_listen: SocketAddr,

    /// Where the Konnect API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8002")]
    konnect_listen: SocketAddr,

    /// Keep entities in this SQLite file [default: in memory, gone at the end]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,

    /// The gateway to stand in for: kong-3.10 or kong-3.14
    #[arg(long, value_name = "FLAVOR", default_value_t = Flavor::Kong314)]
    flavor: Flavor,

    /// Also start a mock AI provider, and send it what would go to an AI provider's own address
    #[arg(long)]
    mock_llm: bool,
}

/// Serves until Ctrl-C or SIGTERM.
pub fn run(_args: &Args, _context: &Context) -> Outcome {
    Err(Failure::new(codes::USAGE, "`foredeck serve` is not available yet"))
}
