//! decK's former commands at the top (`deck sync -s kong.yaml`): hidden, and handed to the commands they became.

use super::console::Console;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// The former command, and the group in which it lives now.
const FORMS: [(&str, &str); 6] = [
    ("sync", "gateway"),
    ("diff", "gateway"),
    ("dump", "gateway"),
    ("reset", "gateway"),
    ("ping", "gateway"),
    ("validate", "file"),
];

/// `validate --online` became `gateway validate`.
const ONLINE: &str = "online";

/// The file that the former commands read and wrote unless told otherwise.
const FORMER_FILE: &str = "kong.yaml";

/// The command line with the former commands added.
pub fn add(mut command: Command) -> Command {
    for (name, group) in FORMS {
        let find = |group| command.find_subcommand(group).and_then(|group| group.find_subcommand(name));
        let Some(now) = find(group) else { continue };
        let former = match find("gateway").filter(|_| group == "file") {
            Some(online) => either(former(now.clone()), former(online.clone())),
            None => former(now.clone()),
        };
        command = command.subcommand(former);
    }
    command
}

/// The command as it was: files by `-s`, and `kong.yaml` where standard input and output are meant now.
fn former(now: Command) -> Command {
    now.hide(true).mut_args(|argument| match argument.get_id().as_str() {
        "files" => argument
            .long("state")
            .short('s')
            .action(ArgAction::Append)
            .num_args(1)
            .value_delimiter(',')
            .default_value(FORMER_FILE),
        "output_file" => argument.default_value(FORMER_FILE),
        _ => argument,
    })
}

/// A command that takes the arguments of both and `--online`, which decides between them.
fn either(offline: Command, online: Command) -> Command {
    let known: Vec<_> = online.get_arguments().map(|argument| argument.get_id().clone()).collect();
    let more: Vec<Arg> =
        offline.get_arguments().filter(|own| !known.contains(own.get_id())).cloned().collect();
    online.args(more).arg(Arg::new(ONLINE).long(ONLINE).action(ArgAction::SetTrue))
}

/// The group that a former command belongs to now, after a word on standard error; `None` for any other command.
pub fn group(matches: &ArgMatches, console: &Console) -> Option<&'static str> {
    let (called, inner) = matches.subcommand()?;
    let (name, group) = FORMS.into_iter().find(|(name, _)| *name == called)?;
    let online = inner.try_get_one::<bool>(ONLINE).ok().flatten().copied().unwrap_or(false);
    let group = if online { "gateway" } else { group };
    console.err(&format!(
        "Note: `foredeck {name}` is now `foredeck {group} {name}`, which takes files without -s.\n"
    ));
    Some(group)
}
