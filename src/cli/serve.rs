//! `foredeck serve`: the built-in gateway in the foreground.

use super::console::Console;
use super::exit::{Exit, Failure, Outcome};
use super::settings::Context;
use crate::diagnostics::{SourceMap, codes};
use crate::gateway::{self, Addresses, Gateway, Report, ServeError, ServeOptions, Variables};
use crate::schema::Flavor;
use crate::value::{Origin, Secret};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where a listener listens, or that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Listen(None));
        }
        let loopback =
            |port: &str| port.parse().ok().map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        let address = match text.strip_prefix("localhost:") {
            Some(port) => loopback(port),
            None => text.parse().ok().or_else(|| loopback(text)),
        };
        address.map(|address| Listen(Some(address))).ok_or_else(|| {
            "not ADDRESS:PORT, a port on loopback, or `off`; port 0 takes a free one".to_owned()
        })
    }
}

/// The arguments of `foredeck serve`.
#[derive(clap::Args)]
pub struct Args {
    /// Where the Admin API listens: ADDRESS:PORT (port 0 takes a free one), or off
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8001")]
    admin_listen: Listen,

    /// Where the proxy listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    proxy_listen: Listen,

    /// Where the proxy listens with TLS, with the certificates that were synced
    #[arg(long, value_name = "ADDRESS", default_value = "off")]
    proxy_tls_listen: Listen,

    /// How many threads the proxy has, like the workers of a Kong node [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    proxy_threads: Option<u16>,

    /// Where the Konnect API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8002")]
    konnect_listen: Listen,

    /// Keep entities in this SQLite file [default: in memory, gone at the end]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,

    /// The gateway to stand in for: kong-3.10 (open source) or kong-3.14 (enterprise)
    #[arg(long, value_name = "FLAVOR", default_value_t = Flavor::Kong314)]
    flavor: Flavor,

    /// Also start a mock AI provider, and send it whatever would go to an AI provider's own address
    #[arg(long)]
    mock_llm: bool,

    /// Where the mock AI provider listens [default: a free port]
    #[arg(long, value_name = "ADDRESS", requires = "mock_llm")]
    mock_listen: Option<Listen>,

    /// Ask clients of the Admin API for this token, in the header Kong-Admin-Token
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,

    /// Take entities only from declarative configurations (POST /config), as a Kong without a database does
    #[arg(long)]
    dbless: bool,

    /// Ask clients of the Admin API for RBAC tokens (kong-3.14)
    #[arg(long)]
    rbac: bool,

    /// Let the Admin API listen beyond loopback without a token
    #[arg(long)]
    allow_unauthenticated: bool,

    /// Answer at most this many requests a second to the Konnect API, then 429
    #[arg(long, value_name = "N")]
    konnect_rate_limit: Option<u32>,

    /// Make a fault, such as `PUT /routes/*: 503 x3`; repeatable
    #[arg(long, value_name = "RULE")]
    fault: Vec<String>,

    /// The seed of what chance decides about faults, so that a run can be repeated
    #[arg(long, value_name = "N", default_value_t = 0)]
    fault_seed: u64,

    /// Log requests to the Admin API and the Konnect API to this file, one JSON object a line, secrets masked
    #[arg(long, value_name = "FILE")]
    log_requests: Option<PathBuf>,

    /// Write the addresses to this file as JSON once every listener answers
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,

    /// Write a line to this open file descriptor once every listener answers
    #[arg(long, value_name = "FD")]
    ready_fd: Option<u32>,
}

/// Serves until Ctrl-C or SIGTERM.
pub fn run(args: &Args, context: &Context) -> Outcome {
    let options = ServeOptions {
        flavor: args.flavor,
        admin_listen: args.admin_listen.0,
        proxy_listen: args.proxy_listen.0,
        proxy_tls_listen: args.proxy_tls_listen.0,
        proxy_threads: args.proxy_threads.map(usize::from),
        konnect_listen: args.konnect_listen.0,
        mock_listen: args.mock_listen.and_then(|listen| listen.0),
        mock_llm: args.mock_llm,
        variables: Variables::new(context.environment.variables().clone()),
        report: report(context.console),
        data: args.data.clone(),
        admin_token: args
            .admin_token
            .as_deref()
            .map(|text| Secret::text(text, Origin::Setting("--admin-token".into()))),
        dbless: args.dbless,
        rbac: args.rbac,
        allow_unauthenticated: args.allow_unauthenticated,
        konnect_tokens: context.konnect_token_flags.clone(),
        konnect_rate_limit: args.konnect_rate_limit,
        faults: args.fault.clone(),
        fault_seed: args.fault_seed,
        log_requests: args.log_requests.clone(),
        port_file: args.port_file.clone(),
        ready_fd: args.ready_fd,
    };
    super::runtime()?.block_on(async {
        // Listened for before anything is announced: a signal right after the start ends it properly too.
        let end = interrupt()?;
        let data = options.data.clone();
        let gateway = gateway::serve(options).await.map_err(|error| refused(&error))?;
        let kept = match data {
            Some(path) => format!("entities are kept in {}", path.display()),
            None => "entities are kept in memory".to_owned(),
        };
        context.console.out(&format!(
            "Foredeck stands in for {}; {kept}.\n{}Ctrl-C ends it.\n",
            args.flavor,
            addresses(&gateway.addresses())
        ));
        end.await;
        stop(gateway, &context.console).await;
        Ok(Exit::Success)
    })
}

/// Shows on standard error what the gateway cannot execute.
pub(super) fn report(console: Console) -> Report {
    Report::new(move |problem| console.problems(std::slice::from_ref(problem), &SourceMap::default()))
}

/// Stops a gateway and says so.
pub(super) async fn stop(gateway: Gateway, console: &Console) {
    console.out("Stopping.\n");
    gateway.stop().await;
}

/// One line a listener.
pub(super) fn addresses(addresses: &Addresses) -> String {
    let rows = [
        ("Admin API", "http", addresses.admin),
        ("Konnect API", "http", addresses.konnect),
        ("Proxy", "http", addresses.proxy),
        ("Proxy (TLS)", "https", addresses.proxy_tls),
        ("Mock AI provider", "http", addresses.mock),
    ];
    rows.into_iter()
        .filter_map(|(name, scheme, address)| Some(format!("  {name:<17} {scheme}://{}\n", address?)))
        .collect()
}

/// A gateway that could not start, with what to do about it.
pub(super) fn refused(error: &ServeError) -> Failure {
    let failure = Failure::new(codes::GATEWAY_START, error.to_string());
    match error {
        ServeError::Listen { what, .. } => failure.help(format!(
            "choose another address for the {what}, or port 0 for a free one; see `foredeck serve --help`"
        )),
        ServeError::Unauthenticated(_) => failure.help(
            "give --admin-token TOKEN, or --allow-unauthenticated if everybody who can reach it may change everything",
        ),
        _ => failure,
    }
}

/// Becomes ready at the first Ctrl-C or SIGTERM.
#[cfg(unix)]
pub(super) fn interrupt() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Failure::new(codes::GATEWAY_START, format!("cannot listen for signals: {error}"))
        })
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Becomes ready at the first Ctrl-C.
#[cfg(not(unix))]
pub(super) fn interrupt() -> Result<impl Future<Output = ()>, Failure> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_addresses_ports_or_off() {
        let parsed =
            |text: &str| text.parse::<Listen>().map(|listen| listen.0.map(|address| address.to_string()));
        assert_eq!(parsed("0.0.0.0:80"), Ok(Some("0.0.0.0:80".into())));
        assert_eq!(parsed("[::1]:80"), Ok(Some("[::1]:80".into())));
        assert_eq!(parsed("localhost:80"), Ok(Some("127.0.0.1:80".into())));
        assert_eq!(parsed("0"), Ok(Some("127.0.0.1:0".into())));
        assert_eq!(parsed("off"), Ok(None));
        assert!(parsed("gateway:80").is_err());
        assert!(parsed("80000").is_err());
    }
}
