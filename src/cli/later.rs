//! Commands that decK has and Foredeck does not have yet: they are known, hidden, and say so.

use super::exit::Failure;
use crate::diagnostics::codes;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// The groups and the commands in them that are still to come.
const LATER: &[(&str, &[&str])] = &[
    ("gateway", &["sync", "diff", "apply", "dump", "validate", "ping", "reset"]),
    (
        "file",
        &[
            "add-plugins",
            "add-tags",
            "ai2kong",
            "convert",
            "format",
            "kong2kic",
            "kong2tf",
            "lint",
            "list-tags",
            "merge",
            "namespace",
            "openapi2kong",
            "openapi2mcp",
            "patch",
            "remove-tags",
            "render",
            "validate",
        ],
    ),
    ("ai", &["sync", "dump"]),
];

/// The rest of the line, whatever it is.
const REST: &str = "rest";

/// The command line with the commands to come added, hidden.
pub fn add(mut command: Command) -> Command {
    for (group, names) in LATER {
        let exists = command.find_subcommand(group).is_some();
        let fill = |mut group: Command| {
            for name in *names {
                if group.find_subcommand(name).is_none() {
                    group = group.subcommand(hidden(name));
                }
            }
            group
        };
        command = if exists {
            command.mut_subcommand(group, fill)
        } else {
            command.subcommand(fill(Command::new(*group).hide(true).subcommand_required(true)))
        };
    }
    command
}

fn hidden(name: &'static str) -> Command {
    Command::new(name).hide(true).disable_help_flag(true).arg(
        Arg::new(REST)
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .action(ArgAction::Append)
            .hide(true),
    )
}

fn listed(group: &str, name: &str) -> bool {
    LATER.iter().any(|(other, names)| *other == group && names.contains(&name))
}

/// Whether a command is one of the table that `known`, the real tree, does not have.
pub fn is_to_come(known: &Command, group: &str, name: &str) -> bool {
    let exists = known.find_subcommand(group).is_some_and(|inner| inner.find_subcommand(name).is_some());
    listed(group, name) && !exists
}

/// Refuses a command that is still to come; `known` gives the real tree.
pub fn refuse(known: impl FnOnce() -> Command, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((group, inner)) = matches.subcommand() else { return Ok(()) };
    let Some((name, _)) = inner.subcommand() else { return Ok(()) };
    // The tree is only built for names of the table.
    if !listed(group, name) || !is_to_come(&known(), group, name) {
        return Ok(());
    }
    Err(Failure::new(codes::USAGE, format!("`foredeck {group} {name}` is not available yet"))
        .help("`foredeck --help` lists the commands that are"))
}
