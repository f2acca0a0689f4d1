//! A connection of one command to one control plane, with the schemas that hold there.

use super::super::settings::read_small;
use super::super::{Context, DEFAULT_CONTROL_PLANE};
use super::flags::Requests;
use crate::control_plane::{self, Client, Connection, ControlPlane, Error, Info, Tls};
use crate::diagnostics::{Diagnostic, codes};
use crate::plan::MadeFor;
use crate::schema::Schemas;
use crate::value::{Origin, Secret};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The largest cookie file that is read, in bytes.
const LARGEST_COOKIE_FILE: u64 = 1 << 20;
/// The header that names a user of access control to the Admin API.
const ADMIN_TOKEN: &str = "Kong-Admin-Token";

/// Which control plane is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aim {
    /// Konnect's control plane by name; `None` for an Admin API.
    pub control_plane: Option<String>,
    /// The Admin API's workspace; `None` for the default one.
    pub workspace: Option<String>,
}

impl Aim {
    /// What settings, flags and files come to.
    pub fn new(
        context: &Context,
        files: Option<&crate::document::Settings>,
        workspace: Option<&str>,
    ) -> Self {
        let settings = &context.settings;
        let workspace = workspace
            .or_else(|| files.and_then(|files| files.workspace.as_deref()))
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        if !settings.uses_konnect(files.is_some_and(|files| files.konnect)) {
            return Aim { control_plane: None, workspace };
        }
        let named = files.and_then(|files| files.control_plane.clone());
        let name = settings.konnect.control_plane.clone().or(named);
        Aim { control_plane: Some(name.unwrap_or_else(|| DEFAULT_CONTROL_PLANE.to_owned())), workspace }
    }
}

/// A control plane that answered, and what holds there.
pub struct Session {
    /// The client.
    pub plane: Client,
    /// Who answered.
    pub info: Info,
    /// The schemas: bundled ones at first, the gateway's own after [`Session::learn`].
    pub schemas: Arc<Schemas>,
    /// Which control plane this is.
    pub aim: Aim,
    /// Whether its workspace exists.
    pub exists: bool,
    parallelism: usize,
}

impl Session {
    /// Connects and asks who answers.
    pub async fn open(context: &Context, requests: &Requests, aim: Aim) -> Result<Self, Diagnostic> {
        if aim.control_plane.is_some() && aim.workspace.is_some() {
            return Err(Diagnostic::error(codes::NOT_SUPPORTED, "Konnect has no workspaces")
                .help("leave `_workspace` and --workspace out, or use one control plane for each"));
        }
        let connection = connection(context, requests, &aim)?;
        let plane = match &aim.control_plane {
            Some(name) => Client::konnect(&connection, name).await,
            None => Client::admin(&connection, aim.workspace.as_deref()).await,
        };
        let plane = plane.map_err(|error| explain(&error, &aim, &connection.address))?;
        let info = plane.info().await.map_err(|error| explain(&error, &aim, &connection.address))?;
        let exists = context.settings.skip_workspace_crud
            || plane.workspace_exists().await.map_err(|error| explain(&error, &aim, &connection.address))?;
        let schemas = Schemas::bundled(info.flavor);
        plane.learn(&schemas);
        Ok(Session { plane, info, schemas, aim, exists, parallelism: requests.parallelism.into() })
    }

    /// The session with schemas for files whose consumer groups hold policy overrides, if that is `asked`.
    pub fn with_overrides(mut self, asked: bool) -> Result<Self, Diagnostic> {
        if asked && self.info.konnect {
            return Err(Diagnostic::error(
                codes::NOT_SUPPORTED,
                "Konnect has no policy overrides of consumer groups",
            )
            .help("write the policies as plugins of the consumer groups"));
        }
        if asked {
            self.schemas = Arc::new(self.schemas.with_overrides());
        }
        Ok(self)
    }

    /// What of these plugins the gateway said that it does not execute; the built-in one says so.
    pub fn not_executed(&self, plugins: &BTreeSet<String>) -> Option<Diagnostic> {
        let is_asked_for =
            |name: &String| name.split('.').next().is_some_and(|plugin| plugins.contains(plugin));
        let names: Vec<String> =
            self.plane.skipped().into_iter().filter(is_asked_for).map(|name| format!("`{name}`")).collect();
        let them = if names.len() == 1 { "it" } else { "them" };
        let message =
            format!("{} keeps {} and does not execute {them}", self.plane.address(), names.join(", "));
        let help = "requests pass without; Kong executes what is configured";
        (!names.is_empty()).then(|| Diagnostic::warning(codes::NOT_EXECUTED, message).help(help))
    }

    /// Lays the gateway's own schemas over the bundled ones: all kinds but these, and these plugins.
    pub async fn learn(
        &mut self,
        skip: &BTreeSet<Box<str>>,
        plugins: &BTreeSet<String>,
    ) -> Result<(), Diagnostic> {
        let kinds: Vec<_> =
            self.schemas.kinds().iter().filter(|kind| !skip.contains(&kind.name)).cloned().collect();
        let live = control_plane::live_schemas(
            &self.plane,
            &self.schemas,
            &self.info,
            &kinds,
            plugins,
            self.parallelism,
        )
        .await
        .map_err(|error| self.explain(&error))?;
        let live = live.map_err(|error| {
            let address = self.plane.address();
            Diagnostic::error(
                codes::UNEXPECTED_ANSWER,
                format!("{address} serves a schema that cannot be read: {error}"),
            )
        })?;
        self.schemas = Arc::new(live);
        Ok(())
    }

    /// The control plane, as saved plans and journals name it.
    pub fn made_for(&self) -> MadeFor {
        MadeFor {
            address: self.plane.address().to_owned(),
            workspace: self.aim.workspace.clone(),
            control_plane: self.aim.control_plane.clone(),
        }
    }

    /// How many requests may be under way at once.
    pub fn parallelism(&self) -> usize {
        self.parallelism
    }

    /// The names of all workspaces; fails where there are none, as in Konnect.
    pub async fn workspaces(&self) -> Result<Vec<String>, Diagnostic> {
        let names = match self.info.konnect {
            true => Vec::new(),
            false => self.plane.workspaces().await.map_err(|error| self.explain(&error))?,
        };
        if names.is_empty() {
            let message = format!("{} has no workspaces", self.plane.address());
            return Err(Diagnostic::error(codes::NOT_SUPPORTED, message).help("leave --all-workspaces out"));
        }
        Ok(names)
    }

    /// Fails when the workspace does not exist.
    pub fn require_workspace(&self) -> Result<(), Diagnostic> {
        match &self.aim.workspace {
            Some(name) if !self.exists => {
                let address = self.plane.address().to_owned();
                let error = Error::NoControlPlane { address, what: "workspace", name: name.clone() };
                Err(self.explain(&error))
            }
            _ => Ok(()),
        }
    }

    /// A problem of this control plane as users see it.
    pub fn explain(&self, error: &Error) -> Diagnostic {
        explain(error, &self.aim, self.plane.address())
    }
}

/// A problem as users see it, with what to do about it.
fn explain(error: &Error, aim: &Aim, address: &str) -> Diagnostic {
    let konnect = aim.control_plane.is_some();
    let mut problem = error.diagnostic();
    match error {
        Error::Refused { .. } => {
            problem.message = format!("{address} refused: {}", problem.message);
            problem.help("check that this is the address of an Admin API, or of Konnect")
        }
        Error::Unreachable { .. } => problem.help(if konnect {
            "check --konnect-addr and the network"
        } else {
            "check --kong-addr (DECK_KONG_ADDR), and that the gateway is running"
        }),
        Error::Certificate { .. } => problem.help(
            "name its authority with --ca-cert or --ca-cert-file (DECK_CA_CERT, DECK_CA_CERT_FILE); when the certificate \
             is for another name than the address's, name it with --tls-server-name",
        ),
        Error::TlsRefused { .. } => problem.help(
            "it may ask for a client certificate: give one that it trusts with --tls-client-cert and --tls-client-key, \
             or --tls-client-cert-file and --tls-client-key-file",
        ),
        Error::Unexpected { .. } => problem.help(if konnect {
            "check --konnect-addr: something other than Konnect may answer there, such as a proxy"
        } else {
            "check --kong-addr (DECK_KONG_ADDR): the Admin API listens on a port of its own, 8001 by default"
        }),
        Error::Unauthorized { .. } => problem.help(if konnect {
            "check --konnect-token (DECK_KONNECT_TOKEN)"
        } else {
            "check --kong-admin-token (DECK_KONG_ADMIN_TOKEN) and --headers"
        }),
        Error::NoControlPlane { what: "control plane", .. } => problem.help(
            "check --konnect-control-plane-name and `_konnect.control_plane_name`; it must exist already",
        ),
        Error::NoControlPlane { .. } => problem.help("`gateway sync` makes a workspace that does not exist"),
        _ => problem,
    }
}

fn connection(context: &Context, requests: &Requests, aim: &Aim) -> Result<Connection, Diagnostic> {
    let settings = &context.settings;
    let mut headers = settings.headers.clone();
    let address = if aim.control_plane.is_some() {
        let token = settings.konnect.token.as_ref().ok_or_else(|| {
            Diagnostic::error(codes::UNAUTHORIZED, format!("no access token for {}", settings.konnect.addr))
                .help("give one with --konnect-token, --konnect-token-file or DECK_KONNECT_TOKEN")
        })?;
        let bearer = format!("Bearer {}", token.expose_text());
        headers
            .push(("Authorization".into(), Secret::text(bearer, Origin::Setting("--konnect-token".into()))));
        settings.konnect.addr.as_str()
    } else {
        headers.extend(settings.kong_admin_token.clone().map(|token| (ADMIN_TOKEN.to_owned(), token)));
        settings.kong_addr.as_str()
    };
    let cookies =
        settings.cookie_jar.as_deref().map(|path| read_small(path, LARGEST_COOKIE_FILE)).transpose()?;
    let tls = &settings.tls;
    let console = context.console;
    let verbose = console.verbose();
    Ok(Connection {
        address: address.to_owned(),
        headers,
        timeout: Some(settings.timeout).filter(|timeout| !timeout.is_zero()),
        retry_budget: requests.budget(),
        parallelism: requests.parallelism.into(),
        tls: Tls {
            authorities: tls.ca_cert.as_ref().map(|pem| pem.clone().into_bytes()),
            certificate: tls.client.as_ref().map(|(certificate, _)| certificate.clone().into_bytes()),
            key: tls.client.as_ref().map(|(_, key)| key.clone()),
            server_name: tls.server_name.clone(),
            skip_verify: tls.skip_verify,
        },
        cookies,
        skip_hash: requests.skip_hash,
        trace: (verbose > 0).then(|| -> control_plane::Trace {
            Arc::new(move |level, line| {
                if level <= verbose {
                    console.err(&format!("{line}\n"));
                }
            })
        }),
    })
}
