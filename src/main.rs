//! The `foredeck` binary: arguments in, exit code out.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// The gateway makes and frees many small things for each request.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    foredeck::cli::main()
}
