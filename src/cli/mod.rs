//! The command line: arguments, settings, printing and exit codes.
