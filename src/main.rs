//! The `foredeck` binary: arguments in, exit code out.

fn main() {}
