//! `explain`: the pages of the codes of errors and warnings.

use super::{Console, Exit, Failure, Outcome};
use crate::diagnostics::codes;

/// The arguments of `explain`.
#[derive(clap::Args)]
pub struct Args {
    /// A code such as E0103, or its name; without one, every code is listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Prints a page, or the list of pages.
pub fn run(args: &Args, console: &Console) -> Outcome {
    match &args.code {
        Some(word) => {
            let page = codes::page(word).ok_or_else(|| unknown(word))?;
            console.out(page.text);
        }
        None => console.out(&list()),
    }
    Ok(Exit::Success)
}

fn list() -> String {
    let width = codes::ALL.iter().map(|page| page.code.name.len()).max().unwrap_or_default();
    let line = |page: &crate::diagnostics::Page| {
        format!("{}  {:width$}  {}\n", page.code.number, page.code.name, page.title())
    };
    codes::ALL.iter().map(line).collect()
}

fn unknown(word: &str) -> Failure {
    let shown: String = word.chars().take(40).collect();
    let failure = Failure::new(codes::USAGE, format!("there is no code `{shown}`"));
    match codes::near(word) {
        Some(code) => failure.help(format!("did you mean {} ({})?", code.number, code.name)),
        None => failure.help("`foredeck explain` lists every code"),
    }
}
