//! `file validate`: state files checked against the bundled schemas, without a gateway.

use super::gateway::Inputs;
use super::{Context, Exit, Outcome};
use crate::diagnostics::{Format, render};
use crate::document::{self, Unset};
use crate::schema::{Flavor, Schemas};

/// The arguments of `file validate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: Inputs,

    /// The gateway that the files are meant for: kong-3.10 or kong-3.14
    #[arg(long, value_name = "GATEWAY", default_value_t = Flavor::Kong314)]
    flavor: Flavor,

    /// How problems are shown: text, json, sarif or github
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,

    /// Whether variables must be set
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Env::UnsetOk)]
    env: Env,

    /// Take warnings for errors, and demand that every variable is set
    #[arg(long, conflicts_with = "errors_as_warnings")]
    strict: bool,
}

/// What an unset variable means.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Env {
    /// A warning; the value counts as unknown and is not checked.
    UnsetOk,
    /// An error.
    Required,
}

/// Checks the files. Succeeds when there is no error.
pub fn run(args: &Args, context: &Context) -> Outcome {
    let mut options = args.inputs.options(context, &[], false)?;
    options.lint = true;
    options.unset = match args.env {
        Env::UnsetOk if !args.strict => Unset::Warn,
        _ => Unset::Error,
    };
    let documents = document::read(&args.inputs.files, &mut std::io::stdin().lock(), options);
    let mut loaded = documents.build(&Schemas::bundled(args.flavor));
    let mut inputs = args.inputs.clone();
    inputs.warnings_as_errors |= args.strict;
    inputs.weigh(&mut loaded.diagnostics);
    let console = &context.console;
    match args.format {
        Format::Text => {
            console.problems(&loaded.diagnostics, &loaded.sources);
            if !loaded.has_errors() {
                let (entities, files) = (loaded.state.entities.len(), documents.documents().len());
                let plural =
                    |n: usize, one: &str, more: &str| format!("{n} {}", if n == 1 { one } else { more });
                console.out(&format!(
                    "valid for {}: {} in {}\n",
                    args.flavor,
                    plural(entities, "entity", "entities"),
                    plural(files, "file", "files")
                ));
            }
        }
        format => console.out(&render(&loaded.diagnostics, &loaded.sources, format, false)),
    }
    Ok(if loaded.has_errors() { Exit::Failure } else { Exit::Success })
}
