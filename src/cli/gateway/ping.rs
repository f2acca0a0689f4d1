//! `gateway ping`: does it answer, and with which version?

use super::super::{Context, Exit, Outcome};
use super::flags::Requests;
use super::session::{Aim, Session};

/// The arguments of `gateway ping`.
#[derive(clap::Args)]
pub struct Args {
    /// Workspace
    #[arg(short, long, value_name = "NAME")]
    workspace: Option<String>,
}

/// Connects and says who answers.
pub async fn run(args: &Args, context: &Context) -> Outcome {
    let aim = Aim::new(context, None, args.workspace.as_deref());
    // One try: a ping that waits for a gateway to come back tells the wrong thing.
    let requests = Requests { retry_budget: 0, ..Requests::default() };
    let session = Session::open(context, &requests, aim).await?;
    session.require_workspace()?;
    let text = match (&session.aim.control_plane, &session.info.version) {
        (Some(name), _) => match session.plane.organization().await {
            Some(organization) => format!(
                "Successfully Konnected to the {organization} organization!\nControl plane:  {name}\n"
            ),
            None => format!("Successfully connected to Konnect!\nControl plane:  {name}\n"),
        },
        (None, version) => {
            let version = version.as_deref().unwrap_or("unknown");
            format!("Successfully connected to Kong!\nKong version:  {version}\n")
        }
    };
    context.console.out(&text);
    Ok(Exit::Success)
}
