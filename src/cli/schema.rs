//! `foredeck schema`: what a gateway accepts, as a table, as JSON, and as a JSON Schema for editors.

use super::gateway::{Aim, Requests, Session};
use super::{Console, Context, Exit, Failure, Outcome, schema_folder};
use crate::control_plane::ControlPlane as _;
use crate::diagnostics::{Diagnostic, codes, nearest};
use crate::schema::export::{self, Row};
use crate::schema::{Flavor, Record, Schemas};
use clap::ValueEnum;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The commands of `foredeck schema`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Show the fields of a kind or plugin: types, defaults, bounds
    Show(ShowArgs),
    /// Print the JSON Schema of state files, for editors
    Export(ExportArgs),
    /// Save what a running gateway accepts to a folder, for `--schemas`
    Pull(PullArgs),
}

/// Which gateway is meant.
#[derive(clap::Args)]
struct Gateway {
    /// The gateway whose schemas are meant
    #[arg(long, value_name = "FLAVOR", default_value_t = Flavor::Kong314)]
    flavor: Flavor,

    /// A folder of schemas that `schema pull` saved, laid over the bundled ones
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
}

/// How a schema is shown.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table.
    #[default]
    Text,
    /// As the Admin API serves it.
    Json,
}

/// The arguments of `foredeck schema show`.
#[derive(clap::Args)]
pub struct ShowArgs {
    /// A kind (services), plugin (rate-limiting), vault (hcv) or type of partials (redis-ce); without it their names
    name: Option<String>,
    #[command(flatten)]
    gateway: Gateway,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The arguments of `foredeck schema export`.
#[derive(clap::Args)]
pub struct ExportArgs {
    /// Write to this file in place of standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output_file: PathBuf,
    #[command(flatten)]
    gateway: Gateway,
}

/// The arguments of `foredeck schema pull`.
#[derive(clap::Args)]
pub struct PullArgs {
    /// The plugins whose schemas are saved; those that the gateway names of itself by default
    #[arg(value_name = "PLUGIN")]
    plugins: Vec<String>,
    /// The folder to save to
    #[arg(short, long, value_name = "DIR", default_value = "schemas")]
    output: PathBuf,
    /// Workspace
    #[arg(short, long, value_name = "NAME")]
    workspace: Option<String>,
}

/// Runs one of the commands.
pub fn run(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Show(args) => show(args, &context.console),
        Command::Export(args) => export(args, &context.console),
        Command::Pull(args) => super::runtime()?.block_on(pull(args, context)),
    }
}

/// Asks for the schema of every kind, and of plugins one by one.
async fn pull(args: &PullArgs, context: &Context) -> Outcome {
    let aim = Aim::new(context, None, args.workspace.as_deref());
    let session = Session::open(context, &Requests::default(), aim).await?;
    session.require_workspace()?;
    let (mut kinds, mut plugins) = (BTreeMap::new(), BTreeMap::new());
    for kind in session.schemas.kinds() {
        let served = session.plane.kind_schema(kind).await.map_err(|error| session.explain(&error))?;
        kinds.extend(served.map(|json| (kind.name.to_string(), json)));
    }
    let named = if args.plugins.is_empty() { &session.info.plugins } else { &args.plugins };
    for name in named {
        match session.plane.plugin_schema(name).await.map_err(|error| session.explain(&error))? {
            Some(json) => {
                plugins.insert(name.clone(), json);
            }
            None if args.plugins.is_empty() => {}
            None => {
                let message = format!("{} has no plugin '{name}'", session.plane.address());
                return Err(Failure::new(codes::UNKNOWN_PLUGIN, message));
            }
        }
    }
    schema_folder::save(&args.output, &kinds, &plugins)?;
    let text =
        format!("Saved {} kinds and {} plugins to {}\n", kinds.len(), plugins.len(), args.output.display());
    context.console.out(&text);
    Ok(Exit::Success)
}

fn export(args: &ExportArgs, console: &Console) -> Outcome {
    let schemas = schema_folder::load(args.gateway.flavor, args.gateway.schemas.as_deref())?;
    let text = export::layout(&export::state_file(&schemas));
    if args.output_file.as_os_str() == "-" {
        console.raw(text.as_bytes())?;
    } else {
        std::fs::write(&args.output_file, text).map_err(|error| {
            Failure::new(codes::UNREADABLE, format!("cannot write {}: {error}", args.output_file.display()))
        })?;
    }
    Ok(Exit::Success)
}

fn pretty(json: &Json) -> String {
    format!("{json:#}\n")
}

/// What a name stands for.
struct Found {
    title: String,
    record: std::sync::Arc<Record>,
    served: Json,
}

fn find(schemas: &Schemas, name: &str) -> Option<Found> {
    let found = |what: &str, record: &std::sync::Arc<Record>, served: &Json| Found {
        title: format!("{what} {name} of {}", schemas.flavor()),
        record: record.clone(),
        served: served.clone(),
    };
    // A kind is also known by the word that reports use for it.
    let kind = schemas.kinds().iter().find(|kind| *kind.name == *name || *kind.report.word == *name);
    // `key-auth` is a plugin and the word for its credentials: the plugin is meant.
    if let Some(plugin) = schemas.plugin(name) {
        return Some(found("plugin", &plugin.record, &plugin.served));
    }
    if let Some(kind) = kind {
        return Some(found("kind", &kind.record, &kind.served));
    }
    if let Some(vault) = schemas.vault(name) {
        return Some(found("vault", &vault.record, &vault.served));
    }
    schemas.partial(name).map(|partial| found("partial", &partial.record, &partial.served))
}

fn show(args: &ShowArgs, console: &Console) -> Outcome {
    let schemas = schema_folder::load(args.gateway.flavor, args.gateway.schemas.as_deref())?;
    let Some(name) = &args.name else {
        console.out(&names(&schemas));
        return Ok(Exit::Success);
    };
    let Some(found) = find(&schemas, name) else {
        let problem = Diagnostic::error(
            codes::UNKNOWN_PLUGIN,
            format!("{} has no kind, plugin, vault or partial '{name}'", schemas.flavor()),
        );
        let text = names(&schemas);
        let near = nearest(name, text.lines().filter_map(|line| line.strip_prefix("  ")));
        let help = near.map_or_else(
            || "`foredeck schema show` prints every name".to_owned(),
            |near| format!("did you mean `{near}`? `foredeck schema show` prints every name"),
        );
        return Err(Failure::from(problem).help(help));
    };
    match args.format {
        Format::Json => console.out(&pretty(&found.served)),
        Format::Text => console.out(&table(&found)),
    }
    Ok(Exit::Success)
}

/// Every name, one paragraph a sort.
fn names(schemas: &Schemas) -> String {
    let kinds: Vec<&str> = schemas.kinds().iter().map(|kind| &*kind.name).collect();
    let mut out = String::new();
    let sorts = [
        ("Kinds", kinds),
        ("Plugins", schemas.plugin_names()),
        ("Plugins of partners", schemas.partner_names()),
        ("Vaults", schemas.vault_names()),
        ("Partials", schemas.partial_names()),
    ];
    for (title, names) in sorts.into_iter().filter(|(_, names)| !names.is_empty()) {
        out.push_str(&format!("{title}:\n"));
        names.iter().for_each(|name| out.push_str(&format!("  {name}\n")));
    }
    out
}

/// Columns as wide as their widest cell, the last one free.
fn table(found: &Found) -> String {
    let rows = export::rows(&found.record);
    let heads = Row {
        path: "FIELD".to_owned(),
        ty: "TYPE".to_owned(),
        default: "DEFAULT".to_owned(),
        notes: "NOTES".to_owned(),
    };
    let width = |cell: fn(&Row) -> &str, most: usize| {
        let all = std::iter::once(&heads).chain(&rows).map(|row| cell(row).chars().count());
        all.filter(|width| *width <= most).max().unwrap_or(0)
    };
    let (path, ty, default) =
        (width(|row| &row.path, 60), width(|row| &row.ty, 40), width(|row| &row.default, 40));
    let mut out = format!("{}\n\n", found.title);
    for row in std::iter::once(&heads).chain(&rows) {
        let line = format!("{:path$}  {:ty$}  {:default$}  {}", row.path, row.ty, row.default, row.notes);
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let rules = export::rules(&found.record);
    if !rules.is_empty() {
        out.push_str("\nRules:\n");
        rules.iter().for_each(|rule| out.push_str(&format!("  {rule}\n")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_state_files_is_current() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas/state.schema.json");
        let made = export::layout(&export::state_file(&Schemas::bundled(Flavor::Kong314)));
        if std::env::var_os("FOREDECK_UPDATE").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept == made, "run `FOREDECK_UPDATE=1 cargo test state_files_is_current`");
    }

    #[test]
    fn a_schema_is_shown_as_a_table() {
        let schemas = Schemas::bundled(Flavor::Kong314);
        insta::assert_snapshot!("schema_show_key_auth", table(&find(&schemas, "key-auth").unwrap()));
        insta::assert_snapshot!("schema_show_targets", table(&find(&schemas, "targets").unwrap()));
        assert!(find(&schemas, "no-such").is_none());
        assert!(find(&schemas, "hcv").is_some() && find(&schemas, "redis-ce").is_some());
    }

    #[test]
    fn every_name_can_be_shown() {
        let schemas = Schemas::bundled(Flavor::Kong314);
        for line in names(&schemas).lines().filter_map(|line| line.strip_prefix("  ")) {
            assert!(find(&schemas, line).is_some(), "{line}");
        }
    }
}
