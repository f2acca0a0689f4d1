//! A command's own arguments as they were given, spelt so that the same command reads them again.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// The options that stand on the command line, each as `--name=value`.
pub fn options<'a>(
    command: &'a Command,
    matches: &'a ArgMatches,
) -> impl Iterator<Item = (&'a str, Vec<String>)> {
    command.get_arguments().filter_map(|argument| {
        let (long, id) = (argument.get_long()?, argument.get_id().as_str());
        // Another command may have handed its matches on: an id that it does not know was not given.
        let given =
            matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine);
        given.then(|| (long, texts(argument, matches).map(|text| format!("--{long}={text}")).collect()))
    })
}

/// All arguments of `command` that `matches` holds: the options that were given, then the texts of what has no name.
pub fn given(command: &Command, matches: &ArgMatches) -> Vec<String> {
    let mut arguments: Vec<String> = options(command, matches).flat_map(|(_, texts)| texts).collect();
    arguments.push("--".to_owned());
    for argument in command.get_positionals() {
        arguments.extend(texts(argument, matches));
    }
    arguments
}

fn texts<'a>(argument: &Arg, matches: &'a ArgMatches) -> impl Iterator<Item = String> + use<'a> {
    let raw = matches.try_get_raw(argument.get_id().as_str()).ok().flatten();
    raw.into_iter().flatten().map(|text| text.to_string_lossy().into_owned())
}
