//! `foredeck try FILE`: a state file in the built-in gateway, and one chat through it.
//!
//! What does not live here: serving (`gateway`), syncing (`gateway sync` does it, with the same output).

use super::exit::{Exit, Failure, Outcome};
use super::gateway::{Gateway as Commands, perform};
use super::serve::{addresses, interrupt, refused, report};
use super::settings::{Context, DEFAULT_CONTROL_PLANE, Settings};
use super::try_credential::{self, Shown};
use crate::diagnostics::codes;
use crate::document;
use crate::gateway::{self, Addresses, Gateway, ServeError, ServeOptions, Variables};
use crate::schema::Flavor;
use clap::{FromArgMatches, Subcommand};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Variables under which AI providers' keys are known. Where a file asks for one that is not set, the mock provider
/// answers in the provider's place.
const PROVIDER_KEYS: [&str; 10] = [
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "AZURE_API_KEY",
    "COHERE_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "HUGGINGFACE_API_KEY",
    "HF_TOKEN",
    "MISTRAL_API_KEY",
];

/// decK's spelling of the same.
const DECK: &str = "DECK_";

/// What the mock provider gets for a key.
const MOCK_KEY: &str = "mock-key";

/// The question of the chat.
const QUESTION: &str = "What is Kong Gateway in one sentence?";

/// How long a request may take, and how long its answer may be, in bytes.
const REQUEST_TIME: Duration = Duration::from_secs(120);
const ANSWER_SIZE: usize = 8 << 20;

/// The usual ports, tried first.
const ADMIN_PORT: u16 = 8001;
const KONNECT_PORT: u16 = 8002;
const PROXY_PORT: u16 = 8000;

/// The arguments of `foredeck try`.
#[derive(clap::Args)]
pub struct Args {
    /// The state file
    file: String,

    /// End after the chat instead of serving until Ctrl-C
    #[arg(long)]
    once: bool,

    /// The gateway to stand in for: kong-3.10 (open source) or kong-3.14 (enterprise)
    #[arg(long, value_name = "FLAVOR", default_value_t = Flavor::Kong314)]
    flavor: Flavor,
}

/// Serves, syncs, chats, and serves on.
pub fn run(args: &Args, context: Context) -> Outcome {
    if args.file == "-" {
        return Err(Failure::new(codes::USAGE, "`foredeck try` needs a file, not standard input"));
    }
    super::runtime()?.block_on(tryout(args, context))
}

async fn tryout(args: &Args, mut context: Context) -> Outcome {
    let console = context.console;
    let wishes = Wishes::of(&args.file, &context);
    for name in &wishes.mocked {
        console
            .out(&format!("{name} is not set: a built-in mock provider answers in the provider's place.\n"));
        context.environment.set(name, MOCK_KEY);
    }
    let end = interrupt()?;
    let gateway = start(args.flavor, !wishes.mocked.is_empty(), &context).await?;
    let at = gateway.addresses();
    console.out(&format!("Foredeck stands in for {}:\n{}\n", args.flavor, addresses(&at)));

    let done = match go(args, wishes, at, &mut context).await {
        Ok(Exit::Success) if !args.once => {
            end.await;
            console.out("Stopping.\n");
            Ok(Exit::Success)
        }
        other => other,
    };
    gateway.stop().await;
    done
}

/// Everything between the start and the wait for Ctrl-C.
async fn go(args: &Args, wishes: Wishes, at: Addresses, context: &mut Context) -> Outcome {
    let (Some(admin), Some(konnect), Some(proxy)) = (at.admin, at.konnect, at.proxy) else {
        return Err(Failure::new(codes::GATEWAY_START, "a listener has no address"));
    };
    let web = Web::new();
    context.settings = Settings::built_in(admin, konnect)?;
    let mut collections = format!("http://{admin}");
    if let Some(name) = &wishes.control_plane {
        let made = web
            .send("POST", &format!("http://{konnect}/v2/control-planes"), &[], Some(&json!({"name": name})))
            .await?;
        let id = made.json().get("id").and_then(Json::as_str).map(str::to_owned).ok_or_else(|| {
            Failure::new(
                codes::UNEXPECTED_ANSWER,
                format!("the control plane {name} could not be made: {}", made.text),
            )
        })?;
        context.console.out(&format!("The control plane {name} is there.\n"));
        collections = format!("http://{konnect}/v2/control-planes/{id}/core-entities");
    }
    match perform(&sync_of(&args.file)?, context).await? {
        Exit::Success => {}
        exit => return Ok(exit),
    }
    let chat = match chat_route(&web, &collections).await? {
        Some(route) => route,
        None => {
            context.console.out("\nNo route of the file answers chats, so none was sent.\n");
            context.console.out(&go_on(args, &wishes, &at, None));
            return Ok(Exit::Success);
        }
    };
    let question = json!({"messages": [{"role": "user", "content": QUESTION}]});
    let url = format!("http://{proxy}{}", chat.path);
    context.console.out(&format!("\nPOST {}\n{question:#}\n", chat.path));
    if let Some(told) = chat.shown.as_ref().and_then(|shown| shown.told) {
        context.console.out(&format!("\n{told}\n"));
    }
    let answer = web.send("POST", &url, &chat.headers(), Some(&question)).await?;
    let text = match serde_json::from_str::<Json>(&answer.text) {
        Ok(json) => format!("{json:#}"),
        Err(_) => answer.text.clone(),
    };
    context.console.out(&format!("\n{}\n{text}\n", answer.status));
    if let Some(plugin) = chat.asks.as_ref().filter(|_| answer.status == http::StatusCode::UNAUTHORIZED) {
        context.console.out(&format!(
            "\nThe route lets only clients in that {plugin} knows; this chat showed no credential. Those of the file's \
             consumers are the ones to use.\n"
        ));
    }
    context.console.out(&go_on(args, &wishes, &at, Some(&chat)));
    if answer.status.is_success() || !args.once { Ok(Exit::Success) } else { Ok(Exit::Failure) }
}

/// `gateway sync FILE`, with every other flag as it is by default.
fn sync_of(file: &str) -> Result<Commands, Failure> {
    let command = Commands::augment_subcommands(clap::Command::new("gateway").no_binary_name(true));
    super::spelling(command)
        .try_get_matches_from(["sync", "--", file])
        .and_then(|matches| Commands::from_arg_matches(&matches))
        .map_err(|error| Failure::new(codes::USAGE, error.to_string()))
}

/// What a file needs before it can be tried.
#[derive(Default)]
struct Wishes {
    /// The providers' keys that it asks for and that are not set.
    mocked: BTreeSet<String>,
    /// The control plane that it is for.
    control_plane: Option<String>,
}

impl Wishes {
    /// Reads the file as far as that is possible; its mistakes are told by the sync.
    fn of(file: &str, context: &Context) -> Wishes {
        let variables = context.environment.variables().clone();
        let options = document::Options {
            variables: Arc::new(document::Variables::new(variables)),
            ..document::Options::default()
        };
        let documents = document::read(&[file.to_owned()], &mut std::io::empty(), options);
        let is_key = |name: &str| PROVIDER_KEYS.contains(&name.strip_prefix(DECK).unwrap_or(name));
        let needed = documents.variables().into_iter();
        let settings = documents.settings();
        Wishes {
            mocked: needed
                .filter(|name| is_key(name) && context.environment.get(name).is_none_or(str::is_empty))
                .collect(),
            control_plane: settings
                .konnect
                .then(|| settings.control_plane.clone().unwrap_or_else(|| DEFAULT_CONTROL_PLANE.to_owned())),
        }
    }
}

/// Starts the gateway; where a usual port is taken, on a free one.
async fn start(flavor: Flavor, mock_llm: bool, context: &Context) -> Result<Gateway, Failure> {
    let usual = |port| Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    let mut options = ServeOptions {
        flavor,
        mock_llm,
        variables: Variables::new(context.environment.variables().clone()),
        report: report(context.console),
        admin_listen: usual(ADMIN_PORT),
        konnect_listen: usual(KONNECT_PORT),
        proxy_listen: usual(PROXY_PORT),
        ..ServeOptions::default()
    };
    loop {
        let refusal = match gateway::serve(options.clone()).await {
            Ok(gateway) => return Ok(gateway),
            Err(error) => error,
        };
        let ServeError::Listen { what, address, .. } = &refusal else { return Err(refused(&refusal)) };
        let listeners = [&mut options.admin_listen, &mut options.konnect_listen, &mut options.proxy_listen];
        let Some(listener) = listeners.into_iter().find(|l| **l == Some(*address) && address.port() != 0)
        else {
            return Err(refused(&refusal));
        };
        *listener = usual(0);
        context.console.out(&format!("Port {} is taken; the {what} takes a free one.\n", address.port()));
    }
}

/// Where a chat can be sent.
struct Chat {
    path: String,
    host: Option<String>,
    /// The credential that the route wants, from one of the file's consumers.
    shown: Option<Shown>,
    /// The plugin that asks for another credential.
    asks: Option<String>,
}

impl Chat {
    fn headers(&self) -> Vec<(&str, &str)> {
        let host = self.host.as_deref().map(|host| ("host", host));
        let shown = self.shown.as_ref().map(|shown| (shown.header.as_str(), shown.value.expose_text()));
        host.into_iter().chain(shown).collect()
    }
}

/// The plugins that let only known clients in.
const AUTHENTICATION: [&str; 7] =
    ["key-auth", "basic-auth", "jwt", "hmac-auth", "oauth2", "openid-connect", "ldap-auth"];

/// The first route that answers chats with a plain path, found as any client would find it.
async fn chat_route(web: &Web, collections: &str) -> Result<Option<Chat>, Failure> {
    let plugins = web.rows(&format!("{collections}/plugins")).await?;
    for plugin in &plugins {
        let text = |path: &str| plugin.pointer(path).and_then(Json::as_str);
        let chats = text("/config/route_type").or_else(|| text("/config/targets/0/route_type"))
            == Some("llm/v1/chat");
        if !chats || plugin.get("enabled") == Some(&Json::Bool(false)) {
            continue;
        }
        let routes = match (text("/route/id"), text("/service/id")) {
            (Some(id), _) => vec![web.get(&format!("{collections}/routes/{id}")).await?],
            (None, Some(id)) => web.rows(&format!("{collections}/services/{id}/routes")).await?,
            (None, None) => web.rows(&format!("{collections}/routes")).await?,
        };
        let first = |route: &Json, name: &str, fits: fn(&str) -> bool| {
            let values = route.get(name).and_then(Json::as_array).into_iter().flatten();
            values.filter_map(Json::as_str).find(|value| fits(value)).map(str::to_owned)
        };
        for route in routes {
            if let Some(path) = first(&route, "paths", |path| path.starts_with('/')) {
                let host = first(&route, "hosts", |host| !host.contains('*'));
                let gate = gate(&plugins, &route);
                let name = gate.and_then(|gate| text_at(gate, "/name"));
                let shown = match gate.and_then(try_credential::kind) {
                    Some(kind) => {
                        let rows = web.rows(&format!("{collections}/{}", kind.collection())).await?;
                        gate.and_then(|gate| kind.show(gate, &rows))
                    }
                    None => None,
                };
                let asks = name.filter(|_| shown.is_none()).map(str::to_owned);
                return Ok(Some(Chat { path, host, shown, asks }));
            }
        }
    }
    Ok(None)
}

pub(super) fn text_at<'a>(value: &'a Json, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Json::as_str)
}

/// The plugin that asks a route's clients who they are.
fn gate<'a>(plugins: &'a [Json], route: &Json) -> Option<&'a Json> {
    let holds = |plugin: &Json, scope: &str, of: &str| {
        text_at(plugin, scope).is_none_or(|id| Some(id) == text_at(route, of))
    };
    plugins.iter().find(|plugin| {
        text_at(plugin, "/name").is_some_and(|name| AUTHENTICATION.contains(&name))
            && plugin.get("enabled") != Some(&Json::Bool(false))
            && holds(plugin, "/route/id", "/id")
            && holds(plugin, "/service/id", "/service/id")
    })
}

/// The commands to go on with.
fn go_on(args: &Args, wishes: &Wishes, at: &Addresses, chat: Option<&Chat>) -> String {
    let mut text = String::from("\nGo on with\n");
    let file = &args.file;
    if let (Some(chat), Some(proxy)) = (chat, at.proxy) {
        let host = chat.host.as_ref().map(|host| format!(" -H 'Host: {host}'")).unwrap_or_default();
        let key = chat.shown.as_ref().map(Shown::on_a_command_line).unwrap_or_default();
        let body = json!({"messages": [{"role": "user", "content": "Hello"}]});
        text.push_str(&format!(
            "  curl http://{proxy}{}{host}{key} -H 'Content-Type: application/json' -d '{body}'\n",
            chat.path
        ));
    }
    if let Some(admin) = at.admin {
        let addr = match admin.port() {
            ADMIN_PORT => String::new(),
            _ => format!(" --kong-addr http://{admin}"),
        };
        let keys: String = wishes.mocked.iter().map(|name| format!("{name}={MOCK_KEY} ")).collect();
        text.push_str(&format!(
            "  {keys}foredeck gateway diff {file}{addr}\n  foredeck gateway dump{addr}\n"
        ));
    }
    if args.once {
        text.push_str(&format!("after `foredeck try {file}` without --once, which serves until Ctrl-C.\n"));
    } else {
        text.push_str("Ctrl-C ends it.\n");
    }
    text
}

/// A small HTTP client for loopback.
struct Web(Client<HttpConnector, Full<Bytes>>);

struct Answer {
    status: http::StatusCode,
    text: String,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl Web {
    fn new() -> Self {
        Web(Client::builder(TokioExecutor::new()).build_http())
    }

    async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Result<Answer, Failure> {
        let fault =
            |why: &dyn std::fmt::Display| Failure::new(codes::UNREACHABLE, format!("{method} {url}: {why}"));
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        let sent = body.map(Json::to_string).unwrap_or_default();
        let request = request.body(Full::from(sent)).map_err(|error| fault(&error))?;
        let whole = async {
            let answer = self.0.request(request).await.map_err(|error| fault(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_SIZE)
                .collect()
                .await
                .map_err(|error| fault(&error))?;
            Ok(Answer { status, text: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
        };
        tokio::time::timeout(REQUEST_TIME, whole).await.map_err(|_| fault(&"no answer in time"))?
    }

    async fn get(&self, url: &str) -> Result<Json, Failure> {
        Ok(self.send("GET", url, &[], None).await?.json())
    }

    /// The first rows of a list; enough to find a route to try.
    async fn rows(&self, url: &str) -> Result<Vec<Json>, Failure> {
        let list = self.get(&format!("{url}?size=1000")).await?;
        Ok(list.get("data").and_then(Json::as_array).cloned().unwrap_or_default())
    }
}
