//! `gateway dump`: what the gateway holds, as a state file.

use super::super::files::{self, Draft};
use super::super::{Context, Exit, Failure, Outcome};
use super::flags::{Requests, Scope, exclusive};
use super::planning::{no_plugins, nothing, wanted};
use super::session::{Aim, Session};
use crate::control_plane::{self, Arrival};
use crate::diagnostics::codes;
use crate::dump::{self, Dump, Dumped, Format, Secrets};
use crate::plan;
use clap::parser::ValueSource;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// The arguments of `gateway dump`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,

    /// Workspace
    #[arg(short, long, value_name = "NAME")]
    workspace: Option<String>,

    /// Every workspace, each to its own file: WORKSPACE.yaml
    #[arg(long)]
    all_workspaces: bool,

    /// File to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output_file: String,

    /// Format: yaml or json
    #[arg(long, value_name = "FORMAT", default_value = "yaml")]
    format: Format,

    /// Also write ids
    #[arg(long)]
    with_id: bool,

    /// Leave out values that the gateway fills in by itself
    #[arg(long)]
    skip_defaults: bool,

    /// Write salted hashes in place of credentials and other secrets
    #[arg(long)]
    sanitize: bool,

    /// What stands in place of secrets: plain (themselves), env (variables) or vault (vault references, else variables)
    #[arg(long, value_name = "HOW", default_value = "plain")]
    secrets: Secrets,

    /// File for the values of the variables [default: the dump's name with .env]
    #[arg(long, value_name = "FILE")]
    secrets_file: Option<PathBuf>,

    /// Replace a file that exists
    #[arg(long)]
    yes: bool,

    /// Also policy overrides of consumer groups, which stand in place of the groups' plugins
    #[arg(long)]
    consumer_group_policy_overrides: bool,

    #[command(flatten)]
    requests: Requests,
}

/// The settings of `_info` that stand for `--include-plugin-definitions` and `--consumer-group-policy-overrides`.
const INCLUDE: &str = "include_plugin_definitions";
const OVERRIDES: &str = "consumer_group_policy_overrides";

/// Reads everything and writes it.
pub async fn run(args: &Args, context: &Context) -> Outcome {
    let named = context.arguments.value_source("output_file") == Some(ValueSource::CommandLine);
    let plain = matches!(args.secrets, Secrets::Plain);
    exclusive(("--all-workspaces", args.all_workspaces), ("--workspace", args.workspace.is_some()))?;
    exclusive(("--all-workspaces", args.all_workspaces), ("--output-file", named))?;
    exclusive(("--sanitize", args.sanitize), ("--secrets", !plain))?;
    if !args.all_workspaces {
        let mut file = args.output_file.clone();
        if file != "-" && Path::new(&file).extension().is_none() {
            file = format!("{file}.{}", args.extension());
        }
        one(args, context, args.workspace.as_deref(), &file).await?;
        return Ok(Exit::Success);
    }
    let session = Session::open(context, &args.requests, Aim::new(context, None, None)).await?;
    let names = session.workspaces().await?;
    for name in names {
        let file = format!("{name}.{}", args.extension());
        one(args, context, Some(&name), &file).await?;
    }
    Ok(Exit::Success)
}

impl Args {
    fn extension(&self) -> &'static str {
        match self.format {
            Format::Yaml => "yaml",
            Format::Json => "json",
        }
    }

    fn secrets(&self) -> Secrets {
        if self.sanitize {
            Secrets::Sanitized(uuid::Uuid::new_v4().to_string())
        } else {
            self.secrets.clone()
        }
    }

    /// Where the values of variables go.
    fn variables_file(&self, file: &str) -> Result<PathBuf, Failure> {
        match &self.secrets_file {
            Some(path) => Ok(path.clone()),
            None if file == "-" => Err(Failure::new(codes::USAGE, "the values of the secrets need a file")
                .help("name one with --secrets-file, or write the dump to a file with --output-file")),
            None => Ok(Path::new(file).with_extension("env")),
        }
    }
}

async fn one(args: &Args, context: &Context, workspace: Option<&str>, file: &str) -> Result<(), Failure> {
    let variables_file = match args.secrets {
        Secrets::Env | Secrets::Vault => Some(args.variables_file(file)?),
        _ => None,
    };
    for path in
        [Some(Path::new(file)).filter(|_| file != "-"), variables_file.as_deref()].into_iter().flatten()
    {
        if path.exists() && !args.yes && !confirmed(context, path) {
            return Err(Failure::new(codes::USAGE, format!("{} exists already", path.display()))
                .help("add --yes to replace it"));
        }
    }
    let overrides = args.consumer_group_policy_overrides;
    let session = Session::open(context, &args.requests, Aim::new(context, None, workspace)).await?;
    let mut session = session.with_overrides(overrides)?;
    session.require_workspace()?;
    let settings = [(INCLUDE, args.scope.kinds.include_plugin_definitions), (OVERRIDES, overrides)];
    let options = plan::Options { skip: args.scope.skipped(&session.schemas), ..plan::Options::default() };
    session.learn(&options.skip, &no_plugins()).await?;
    let scope = dump::Options {
        with_id: args.with_id,
        skip_defaults: args.skip_defaults,
        secrets: args.secrets(),
        select_tags: args.scope.select_tag.clone(),
        settings: settings.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect(),
        workspace: session.aim.workspace.clone(),
        control_plane: session.aim.control_plane.clone(),
    };
    let mut dump = Dump::new(&session.schemas, &scope);
    read(&session, &options, &scope.select_tags, &mut dump).await?;
    let dumped = if file == "-" {
        context.console.stream(|out| dump.write(args.format, out))?
    } else {
        let path = Path::new(file);
        Some(written(path, args.format, dump).map_err(|error| files::unwritable(path, &error))?)
    };
    let Some(dumped) = dumped else { return Ok(()) };
    if let Some(path) = &variables_file {
        files::write_private(path, dump::env_file(&dumped.variables).as_bytes())?;
    }
    if dumped.plain_secrets > 0 {
        context.console.err(&format!(
            "Warning: the dump holds {} in clear; --secrets env writes variables in their place.\n",
            match dumped.plain_secrets {
                1 => "a secret".to_owned(),
                many => format!("{many} secrets"),
            }
        ));
    }
    Ok(())
}

fn written(path: &Path, format: Format, dump: Dump<'_>) -> io::Result<Dumped> {
    let mut out = BufWriter::new(Draft::new(path)?);
    let dumped = dump.write(format, &mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.settle()?;
    Ok(dumped)
}

async fn read(
    session: &Session,
    options: &plan::Options,
    tags: &[String],
    dump: &mut Dump<'_>,
) -> Result<(), Failure> {
    let wanted = wanted(session, plan::reads(&nothing(tags), &session.schemas, options));
    let mut sink = |arrival: Arrival| {
        if let Arrival::Page(page) = arrival {
            let belongs = |reference: &crate::model::Reference| !options.skip.contains(&*reference.kind);
            let page = page.into_iter().filter(|entity| entity.references.values().all(belongs));
            page.for_each(|entity| dump.add(entity));
        }
    };
    control_plane::read(&session.plane, &session.schemas, &wanted, session.parallelism(), &mut sink)
        .await
        .map_err(|error| session.explain(&error).into())
}

fn confirmed(context: &Context, path: &Path) -> bool {
    if !context.console.in_is_terminal() {
        return false;
    }
    context.console.err(&format!("{} exists already. Type 'yes' to replace it: ", path.display()));
    let mut answer = String::new();
    // A stream that ends or fails is no agreement.
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "yes")
}
