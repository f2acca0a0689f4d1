//! `file validate`: state files checked without a gateway, against the bundled schemas or those of a folder.

use super::gateway::{Inputs, Kinds, Requests, konnect_faults};
use super::{Context, Exit, Failure, Outcome, schema_folder};
use crate::diagnostics::{Diagnostic, Format, SourceMap, codes, render};
use crate::document::{self, Unset};
use crate::model::State;
use crate::schema::{Flavor, Schemas};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The arguments of `file validate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: Inputs,

    /// The gateway that the files are meant for: kong-3.10 or kong-3.14
    #[arg(long, value_name = "GATEWAY", default_value_t = Flavor::Kong314)]
    flavor: Flavor,

    /// Folder of schemas that `foredeck schema pull` saved, for plugins of your own and other versions
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,

    /// How problems are shown: text, json, sarif or github
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,

    /// Whether variables must be set
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Env::UnsetOk)]
    env: Env,

    /// Take warnings for errors, except those of -W, and demand that every variable is set
    #[arg(long)]
    strict: bool,

    /// Also report what Konnect does not take
    #[arg(long)]
    konnect_compatibility: bool,

    /// Report what is no resource of access control (roles and their permissions)
    #[arg(long)]
    rbac_resources_only: bool,

    // decK takes these here too, though it asks nothing online.
    #[arg(long, hide = true, value_name = "KIND", value_delimiter = ',')]
    online_entities_list: Vec<String>,
    #[arg(long, hide = true, value_name = "N")]
    parallelism: Option<u16>,
}

/// What an unset variable means.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Env {
    /// A warning; the value counts as unknown and is not checked.
    UnsetOk,
    /// An error.
    Required,
}

/// What was found in the files.
#[derive(Default)]
struct Report {
    problems: Vec<Diagnostic>,
    sources: SourceMap,
    files: usize,
    entities: usize,
}

/// Checks the files. Succeeds when there is no error.
pub fn run(args: &Args, context: &Context) -> Outcome {
    let console = &context.console;
    let told = args.parallelism.is_some_and(|n| n != Requests::default().parallelism);
    if told || !args.online_entities_list.is_empty() {
        console.err(
            "Note: --parallelism and --online-entities-list belong to `foredeck gateway validate`; \
             nothing is asked online here.\n",
        );
    }
    let mut report = check(args, context)?;
    args.inputs.weights.weigh(args.strict, &mut report.problems);
    let failed = report.problems.iter().any(Diagnostic::is_error);
    match args.format {
        Format::Text => {
            console.problems(&report.problems, &report.sources);
            if !failed {
                let count =
                    |n: usize, one: &str, more: &str| format!("{n} {}", if n == 1 { one } else { more });
                console.out(&format!(
                    "valid for {}: {} in {}\n",
                    args.flavor,
                    count(report.entities, "entity", "entities"),
                    count(report.files, "file", "files")
                ));
            }
        }
        format => console.out(&render(&report.problems, &report.sources, format, false)),
    }
    Ok(if failed { Exit::Failure } else { Exit::Success })
}

/// Reads the files and checks the state of each workspace that they name.
fn check(args: &Args, context: &Context) -> Result<Report, Failure> {
    let mut options = args.inputs.options(context, &[], false)?;
    options.lint = true;
    options.unset = match args.env {
        Env::UnsetOk if !args.strict => Unset::Warn,
        _ => Unset::Error,
    };
    let schemas = schema_folder::load(args.flavor, args.schemas.as_deref())?;
    let documents = document::read(&args.inputs.files, &mut std::io::stdin().lock(), options);
    let order: BTreeMap<String, usize> =
        documents.documents().iter().enumerate().map(|(n, file)| (file.text.name().to_string(), n)).collect();
    let mut report = Report { sources: documents.sources().clone(), files: order.len(), ..Report::default() };
    let parts = documents.by_workspace();
    let several = parts.len() > 1;
    for part in parts {
        let overrides = part.settings().consumer_group_policy_overrides.then(|| schemas.with_overrides());
        let loaded = part.build(overrides.as_ref().unwrap_or(&schemas));
        report.entities += loaded.state.entities.len();
        report.sources.conceal_as(&loaded.sources);
        report.problems.extend(loaded.diagnostics);
        if args.konnect_compatibility {
            report.problems.extend(konnect_faults(&loaded.state));
        }
        if args.rbac_resources_only {
            report.problems.extend(not_rbac(&loaded.state, &schemas));
        }
    }
    if several {
        let file =
            |problem: &Diagnostic| problem.place.as_ref().map(|place| order.get(&*place.file).copied());
        report.problems.sort_by_key(file);
        // What stands in files that workspaces share is found once for each.
        let mut seen = BTreeSet::new();
        report.problems.retain(|problem| seen.insert(problem.to_string()));
    }
    Ok(report)
}

/// The first entity of each kind that is no resource of access control.
fn not_rbac(state: &State, schemas: &Schemas) -> Vec<Diagnostic> {
    let mut others = Kinds { rbac_resources_only: true, ..Kinds::default() }.skipped(schemas);
    let first = state.entities.iter().filter(|entity| others.remove(&entity.kind.name));
    first
        .map(|entity| {
            let message = format!("a {} is no resource of access control", entity.kind.report.word);
            Diagnostic::error(codes::USAGE, message)
                .at(entity.place.clone())
                .help("leave out --rbac-resources-only, or keep it in another file")
        })
        .collect()
}
