//! `gateway reset`: everything that the gateway holds is deleted. One without a database is given an empty state.

use super::super::{Context, Failure, Outcome};
use super::flags::{Kinds, Requests, Scope, exclusive};
use super::output::{Output, Printer};
use super::planning::{Ids, Planned, Planning, compare, no_plugins, nothing, whole};
use super::record::Applied;
use super::session::{Aim, Session};
use super::write::{Run, Writing};
use crate::diagnostics::{SourceMap, codes};
use crate::plan;

/// The arguments of `gateway reset`.
#[derive(clap::Args)]
pub struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Only entities with all of these tags; repeatable
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    select_tag: Vec<String>,

    /// Workspace
    #[arg(short, long, value_name = "NAME")]
    workspace: Option<String>,

    /// Every workspace of the gateway
    #[arg(long)]
    all_workspaces: bool,

    /// Leave CA certificates alone
    #[arg(long)]
    skip_ca_certificates: bool,

    /// Leave consumers alone, with all that belongs to them
    #[arg(long)]
    skip_consumers: bool,

    /// Leave definitions of custom and cloned plugins alone
    #[arg(long)]
    skip_plugin_definitions: bool,

    /// Only the roles of access control and their permissions
    #[arg(long)]
    rbac_resources_only: bool,

    /// Tag of entities that are never deleted, besides foredeck-protect; repeatable
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    protect_tag: Vec<String>,

    /// Print the result as JSON
    #[arg(long)]
    json_output: bool,

    /// For scripts that give it everywhere: a reset reads no variables whose values could be shown
    #[arg(long)]
    no_mask_deck_env_vars_value: bool,

    #[command(flatten)]
    requests: Requests,
}

/// Deletes everything within the flags' scope.
pub async fn run(args: &Args, context: &Context) -> Outcome {
    let output = Output { json_output: args.json_output, ..Output::default() };
    let printer = Printer::new(context, &output)?;
    let named = ("--workspace", args.workspace.is_some());
    if let Err(problem) = exclusive(("--all-workspaces", args.all_workspaces), named) {
        return printer.failed(problem.into());
    }
    if !args.force && !agreed(context) {
        let failure = Failure::new(codes::REFUSED_DELETE, "reset deletes everything and was not confirmed");
        return printer.failed(failure.help("add --force to go on without being asked"));
    }
    let planned = async {
        let mut parts = Vec::new();
        for workspace in workspaces(args, context).await? {
            parts.push(plan(args, context, workspace.as_deref()).await?);
        }
        Ok(parts)
    };
    let writing = Writing::default();
    let run = Run { requests: &args.requests, writing: &writing, printer: &printer, context };
    match planned.await {
        Ok(parts) => run.write(parts, None).await,
        Err(failure) => printer.failed(failure),
    }
}

/// The workspaces to go through; `None` is the one that the settings name.
async fn workspaces(args: &Args, context: &Context) -> Result<Vec<Option<String>>, Failure> {
    if !args.all_workspaces {
        return Ok(vec![args.workspace.clone()]);
    }
    let session = Session::open(context, &args.requests, Aim::new(context, None, None)).await?;
    let names = session.workspaces().await?;
    Ok(names.into_iter().map(Some).collect())
}

async fn plan(args: &Args, context: &Context, workspace: Option<&str>) -> Result<Planned, Failure> {
    let mut session = Session::open(context, &args.requests, Aim::new(context, None, workspace)).await?;
    session.require_workspace()?;
    let scope = Scope {
        select_tag: args.select_tag.clone(),
        skip_ca_certificates: args.skip_ca_certificates,
        skip_consumers: args.skip_consumers,
        kinds: Kinds {
            rbac_resources_only: args.rbac_resources_only,
            include_plugin_definitions: !args.skip_plugin_definitions,
        },
        ..Scope::default()
    };
    let options = plan::Options { skip: scope.skipped(&session.schemas), ..plan::Options::default() };
    session.learn(&options.skip, &no_plugins()).await?;
    let nothing = nothing(&args.select_tag);
    let plan = compare(&session, &nothing, &options, &mut Ids::default()).await?;
    let planning = Planning { yes: true, protect_tag: args.protect_tag.clone(), ..Planning::default() };
    let mut problems = plan.conflicts.clone();
    problems.extend(plan.refusals(&planning.guard()));
    if problems.iter().any(crate::diagnostics::Diagnostic::is_error) {
        return Err(problems.into());
    }
    let whole = match session.info.dbless {
        true => Some(whole(&session, &nothing, &plan, &options, &scope)?),
        false => None,
    };
    let left_alone = |kind: &str| options.skip.contains(kind);
    let applied = Applied::after(context, &session, &nothing, &plan, &left_alone);
    Ok(Planned {
        session,
        plan,
        new_ids: Vec::new(),
        whole,
        applied,
        drift: Vec::new(),
        warnings: problems,
        plugins: no_plugins(),
        sources: SourceMap::default(),
    })
}

/// Asks on a terminal; elsewhere nobody can agree.
fn agreed(context: &Context) -> bool {
    if !context.console.in_is_terminal() {
        return false;
    }
    context.console.err("This deletes all configuration of the gateway. Type 'yes' to go on: ");
    let mut answer = String::new();
    // A stream that ends or fails is no agreement.
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "yes")
}
