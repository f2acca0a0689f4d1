//! The command line: arguments, settings, printing and exit codes.
//!
//! One file a command; each takes its arguments and a [`Context`] and returns an [`Outcome`]. Only this room
//! prints, reads the environment and decides on exit codes. What does not live here: anything that commands do.

mod arguments;
mod completion;
mod console;
mod environment;
mod exit;
mod explain;
mod file;
mod file_validate;
mod files;
mod former;
mod gateway;
mod globals;
mod later;
mod reference;
mod schema;
mod schema_folder;
mod serve;
mod settings;
mod try_credential;
mod try_file;
mod version;
mod weights;

pub use console::Console;
pub use environment::Environment;
pub use exit::{Exit, Failure, Outcome};
pub use reference::reference;
pub use settings::{Context, DEFAULT_CONTROL_PLANE, Konnect, Settings, Tls};

use crate::diagnostics::codes;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  foredeck try examples/kong-ai/kong-ai.yaml        a gateway, a state file in it, and one chat
  foredeck file validate kong.yaml                  what would Kong refuse?
  foredeck gateway diff kong.yaml                   what would change?
  foredeck gateway sync kong.yaml                   change it
  foredeck gateway dump -o kong.yaml                what is there?
  foredeck serve --mock-llm                         a gateway to test against";

/// Declarative configuration for Kong Gateway and Konnect, with a built-in gateway to test against
#[derive(Parser)]
#[command(
    name = "foredeck",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    args_override_self = true,
    after_help = EXAMPLES
)]
struct Cli {
    #[command(flatten)]
    globals: globals::Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Work with a running gateway or a Konnect control plane
    #[command(subcommand)]
    Gateway(Box<gateway::Gateway>),
    /// Work with state files, without a gateway
    #[command(subcommand)]
    File(Box<file::File>),
    /// Serve the built-in gateway: Admin API, Konnect API and proxy
    Serve(Box<serve::Args>),
    /// Start the built-in gateway, sync a file into it and send one chat through it
    Try(try_file::Args),
    /// Show what a gateway accepts, and export it for editors
    #[command(subcommand)]
    Schema(schema::Command),
    /// Explain the code of an error or a warning
    Explain(explain::Args),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completion(completion::Args),
}

/// Runs the program with the process's arguments and environment.
pub fn main() -> ExitCode {
    let exit = match run(std::env::args_os(), Environment::of_process()) {
        Ok(exit) => exit,
        Err((failure, console)) => {
            console.problems(&failure.problems, &failure.sources);
            failure.exit
        }
    };
    exit.into()
}

fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment,
) -> Result<Exit, (Failure, Console)> {
    let plain = Console::new(false, 0);
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return Ok(usage(&error, &plain)),
    };
    let fail = |failure| (failure, plain);
    later::refuse(Cli::command, &matches).map_err(fail)?;
    let parsed = match former::group(&matches, &plain) {
        Some("file") => {
            file::File::from_arg_matches(&matches).map(|command| Command::File(Box::new(command)))
        }
        Some(_) => {
            gateway::Gateway::from_arg_matches(&matches).map(|command| Command::Gateway(Box::new(command)))
        }
        None => Cli::from_arg_matches(&matches).map(|cli| cli.command),
    };
    match parsed {
        Err(error) => return Ok(usage(&error.format(&mut command()), &plain)),
        // These work whatever the environment and the config file say.
        Ok(Command::Version) => version::run(&plain),
        Ok(Command::Explain(args)) => explain::run(&args, &plain),
        Ok(Command::Completion(args)) => completion::run(&args, &plain),
        Ok(command) => {
            let context = Context::new(&matches, environment).map_err(fail)?;
            let console = context.console;
            return dispatch(command, context).map_err(|failure| (failure, console));
        }
    }
    .map_err(fail)
}

fn dispatch(command: Command, context: Context) -> Outcome {
    match command {
        Command::Gateway(command) => gateway::run(&command, &context),
        Command::File(command) => file::run(&command, &context),
        Command::Serve(args) => serve::run(&args, &context),
        Command::Try(args) => try_file::run(&args, context),
        Command::Schema(command) => schema::run(&command, &context),
        Command::Explain(args) => explain::run(&args, &context.console),
        Command::Version => version::run(&context.console),
        Command::Completion(args) => completion::run(&args, &context.console),
    }
}

/// A runtime for commands that wait for the network.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(codes::GATEWAY_START, format!("no threads to work with: {error}")))
}

/// The whole command line, with every command and flag.
pub fn command() -> clap::Command {
    later::add(former::add(spelling(Cli::command())))
}

/// Lets every switch also be written `--switch=true` and `--switch=false`, as decK's users do.
fn spelling(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| match argument.get_action() {
            ArgAction::SetTrue => argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .value_parser(clap::builder::BoolishValueParser::new())
                .default_value("false")
                .default_missing_value("true")
                .value_name("BOOL")
                .hide_default_value(true)
                .hide_possible_values(true),
            _ => argument,
        })
        .mut_subcommands(spelling)
}

/// Help and version go to standard output and succeed; a mistake goes to standard error and is exit code 1, because
/// 2 means differences.
fn usage(error: &clap::Error, console: &Console) -> Exit {
    let text = error.render();
    if error.use_stderr() {
        console.err(&text.ansi().to_string());
        Exit::Failure
    } else {
        console.out(&text.ansi().to_string());
        Exit::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every command up as a run does, in the tree with those to come and in the one without: nothing that is
    /// there may be refused, whatever the checks of a debug build make of it.
    #[test]
    fn every_command_is_there_or_still_to_come() {
        let (known, all) = (Cli::command(), command());
        let mut refused = 0;
        for group in all.get_subcommands().filter(|group| group.has_subcommands()) {
            for inner in group.get_subcommands() {
                let (group, name) = (group.get_name(), inner.get_name());
                let there =
                    known.find_subcommand(group).and_then(|group| group.find_subcommand(name)).is_some();
                assert_ne!(there, later::is_to_come(&known, group, name), "{group} {name}");
                refused += usize::from(!there);
            }
        }
        assert!(refused > 0 && known.find_subcommand("gateway").is_some_and(clap::Command::has_subcommands));
    }
}
