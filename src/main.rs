//! The `foredeck` binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    foredeck::cli::main()
}
