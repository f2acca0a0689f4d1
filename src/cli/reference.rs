//! The reference of commands and flags, as Markdown, from the definitions that parse them.

use clap::{Arg, Command};
use std::fmt::Write;

/// `docs/reference.md`: a test compares it with the file.
pub fn reference() -> String {
    let mut command = super::command();
    command.build();
    let mut text = String::from(
        "# Every command and flag\n\n\
         Made from the program's own definitions. Switches also take `=true` and `=false`, as decK's do.\n\n\
         ## Global options\n\n\
         Every command takes them. Each is also `FOREDECK_...` and `DECK_...` in the environment (`--kong-addr`: `DECK_KONG_ADDR`)\n\
         and a key of the config file; a flag wins over the environment, that over the file.\n",
    );
    table(&mut text, command.get_arguments().filter(|argument| argument.is_global_set()));
    commands(&mut text, &command, "foredeck");
    text
}

fn commands(text: &mut String, command: &Command, path: &str) {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        let path = format!("{path} {}", inner.get_name());
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        let _infallible = write!(text, "\n## {path}\n\n{}.\n", about.trim_end_matches('.'));
        let usage: Vec<String> = inner
            .get_positionals()
            .filter(|argument| !argument.is_hide_set())
            .map(|argument| argument.to_string())
            .collect();
        if !usage.is_empty() {
            let _infallible = write!(text, "\n`{path} {}`\n", usage.join(" "));
        }
        table(text, inner.get_arguments().filter(|argument| !argument.is_global_set()));
        commands(text, inner, &path);
    }
}

/// One row an argument.
fn table<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let mut begun = false;
    for argument in arguments {
        if argument.is_hide_set() || ["help", "version"].contains(&argument.get_id().as_str()) {
            continue;
        }
        if !begun {
            text.push_str("\n| flag | meaning | default |\n|---|---|---|\n");
            begun = true;
        }
        let cell = |text: &str| text.replace('|', "\\|");
        let help =
            argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if argument.is_hide_default_value_set() { String::new() } else { defaults.join(", ") };
        let default = if default.is_empty() { default } else { format!("`{default}`") };
        let choices: Vec<_> = argument
            .get_possible_values()
            .iter()
            .filter(|_| !argument.is_hide_possible_values_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let choices = if choices.is_empty() { String::new() } else { format!(" ({})", choices.join(", ")) };
        let name = match (argument.get_long(), argument.get_short()) {
            (Some(long), short) => {
                let short = short.map(|letter| format!("`-{letter}` ")).unwrap_or_default();
                let values = argument.get_value_names().unwrap_or_default();
                let takes = argument.get_num_args().is_some_and(|range| range.min_values() > 0);
                let value =
                    values.first().filter(|_| takes).map(|name| format!(" {name}")).unwrap_or_default();
                format!("{short}`--{long}{value}`")
            }
            (None, _) => format!("`{argument}`"),
        };
        let _infallible = writeln!(text, "| {} | {}{choices} | {default} |", cell(&name), cell(&help));
    }
}
