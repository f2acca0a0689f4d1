//! The flags that every command takes, and how environment and config file stand in for them.
//!
//! The clap definitions below are the one table of settings: `--kong-addr` is also `FOREDECK_KONG_ADDR`,
//! `DECK_KONG_ADDR` and the key `kong-addr` of the config file. What the values mean is in `settings`.

use super::environment::Environment;
use crate::diagnostics::{Diagnostic, codes};
use clap::{ArgMatches, Args, FromArgMatches};
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The prefixes of environment variables, the stronger first.
const PREFIXES: [&str; 2] = ["FOREDECK_", "DECK_"];

/// The config files looked for in the home folder when `--config` names none.
const CONFIG_FILES: [&str; 3] = [".deck.yaml", ".deck.yml", ".deck.json"];

/// The largest config file that is read, in bytes.
const CONFIG_LIMIT: u64 = 1 << 20;

/// Flags that give one thing in two ways: set in one place, they hide both in the weaker places.
const ALTERNATIVES: [&[&str]; 5] = [
    &["ca-cert", "ca-cert-file"],
    &["tls-client-cert", "tls-client-cert-file"],
    &["tls-client-key", "tls-client-key-file"],
    &["konnect-token", "konnect-token-file"],
    &["konnect-control-plane-name", "konnect-runtime-group-name"],
];

/// A config file's path and its settings.
type Config = (PathBuf, Map<String, Json>);

/// The flags of every command.
#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Address of Kong's Admin API
    #[arg(long, global = true, value_name = "URL", default_value = super::settings::DEFAULT_KONG_ADDR)]
    pub kong_addr: String,

    /// Header (NAME:VALUE) sent with every request to the gateway; repeatable
    #[arg(long, global = true, value_name = "NAME:VALUE", value_delimiter = ',')]
    pub headers: Vec<String>,

    /// Token for Kong's Admin API, sent as Kong-Admin-Token
    #[arg(long, global = true, value_name = "TOKEN")]
    pub kong_admin_token: Option<String>,

    /// Cookie jar (Netscape format) with a session for Kong's Admin API
    #[arg(long, global = true, value_name = "FILE")]
    pub kong_cookie_jar_path: Option<PathBuf>,

    /// Make no requests about workspaces: they exist already
    #[arg(long, global = true)]
    pub skip_workspace_crud: bool,

    /// Address of the Konnect API
    #[arg(long, global = true, value_name = "URL", default_value = super::settings::DEFAULT_KONNECT_ADDR)]
    pub konnect_addr: String,

    /// Personal or system access token for Konnect; for `serve`, a token that it accepts (repeatable) [default: any]
    #[arg(long, global = true, value_name = "TOKEN", conflicts_with = "konnect_token_file")]
    pub konnect_token: Vec<String>,

    /// File that holds the access token for Konnect
    #[arg(long, global = true, value_name = "FILE")]
    pub konnect_token_file: Option<PathBuf>,

    /// Name of the control plane in Konnect [default: default]
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "konnect_runtime_group_name")]
    pub konnect_control_plane_name: Option<String>,

    /// Former name of --konnect-control-plane-name
    #[arg(long, global = true, value_name = "NAME", hide = true)]
    pub konnect_runtime_group_name: Option<String>,

    /// CA certificate (PEM text) to verify the gateway with
    #[arg(long, global = true, value_name = "PEM", allow_hyphen_values = true)]
    pub ca_cert: Option<String>,

    /// File with a CA certificate to verify the gateway with
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_cert_file: Option<PathBuf>,

    /// Client certificate (PEM text) shown to the gateway
    #[arg(long, global = true, value_name = "PEM", allow_hyphen_values = true)]
    pub tls_client_cert: Option<String>,

    /// File with the client certificate shown to the gateway
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_client_cert_file: Option<PathBuf>,

    /// Private key (PEM text) of the client certificate
    #[arg(long, global = true, value_name = "PEM", allow_hyphen_values = true)]
    pub tls_client_key: Option<String>,

    /// File with the private key of the client certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_client_key_file: Option<PathBuf>,

    /// Name to verify the gateway's certificate against
    #[arg(long, global = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,

    /// Do not verify the gateway's certificate
    #[arg(long, global = true)]
    pub tls_skip_verify: bool,

    /// Seconds to wait for the gateway to answer a request
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10)]
    pub timeout: u32,

    /// Tell on standard error what is asked of the gateway: 1 requests, 2 also bodies (secrets as their origin)
    #[arg(long, global = true, value_name = "LEVEL", default_value_t = 0)]
    pub verbose: u8,

    /// Write without colours (NO_COLOR does the same)
    #[arg(long, global = true)]
    pub no_color: bool,

    /// Accepted for decK's sake and without effect: Foredeck sends no telemetry to anyone
    // A text, because decK's users write `true`, `false`, `on`, `off` and more.
    #[arg(long, global = true, value_name = "BOOL", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub analytics: Option<String>,

    /// Config file with settings under the flags' names [default: $HOME/.deck.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The globals of a run, and which of them a user set, by flag or otherwise.
pub struct Layered {
    /// The values after all layers.
    pub globals: Globals,
    /// The long names of the settings that were set in any layer.
    pub set: BTreeSet<String>,
    /// The long names of the settings that were set on the command line.
    pub flags: BTreeSet<String>,
    /// Things to tell the user.
    pub warnings: Vec<Diagnostic>,
}

/// Where a value stands.
enum Layer<'a> {
    Variable(String),
    File(&'a Path),
}

impl Layer<'_> {
    fn describe(&self, long: &str) -> String {
        match self {
            Layer::Variable(name) => name.clone(),
            Layer::File(path) => format!("{long} in {}", path.display()),
        }
    }
}

/// Joins flags, environment and config file: for each setting the flag wins over `FOREDECK_`, that over `DECK_`,
/// that over the file.
pub fn layer(matches: &ArgMatches, environment: &Environment) -> Result<Layered, Vec<Diagnostic>> {
    let command = super::spelling(Globals::augment_args(clap::Command::new("settings").no_binary_name(true)));
    let mut argv: Vec<String> = Vec::new();
    let mut set = BTreeSet::new();
    let mut problems = Vec::new();
    for (long, texts) in super::arguments::options(&command, matches) {
        set.insert(long.to_owned());
        argv.extend(texts);
    }
    let flags = set.clone();

    let mut offer = |values: Vec<(&str, Layer, Vec<String>)>, problems: &mut Vec<Diagnostic>| {
        let stronger = set.clone();
        let hidden = |long: &str| {
            stronger.contains(long)
                || ALTERNATIVES
                    .iter()
                    .any(|pair| pair.contains(&long) && pair.iter().any(|other| stronger.contains(*other)))
        };
        for (long, layer, texts) in values {
            if hidden(long) {
                continue;
            }
            let given: Vec<String> = texts.iter().map(|text| format!("--{long}={text}")).collect();
            match command.clone().try_get_matches_from(&given) {
                Ok(_) => {
                    set.insert(long.to_owned());
                    argv.extend(given);
                }
                Err(error) => problems.push(
                    Diagnostic::error(codes::USAGE, format!("{}: {}", layer.describe(long), reason(&error)))
                        .help(format!("it stands for the flag --{long}; see `foredeck --help`")),
                ),
            }
        }
    };

    let longs: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    for prefix in PREFIXES {
        let variables = longs
            .iter()
            .filter_map(|long| {
                let name = format!("{prefix}{}", long.to_uppercase().replace('-', "_"));
                let text = environment.get(&name).filter(|text| !text.is_empty())?;
                Some((*long, Layer::Variable(name), vec![text.to_owned()]))
            })
            .collect();
        offer(variables, &mut problems);
    }

    let mut warnings = Vec::new();
    let named = matches.get_one::<PathBuf>("config").cloned().or_else(|| {
        PREFIXES
            .iter()
            .find_map(|p| environment.get(&format!("{p}CONFIG")).filter(|t| !t.is_empty()))
            .map(Into::into)
    });
    match read_config(named, environment) {
        Ok(Some((path, config))) => {
            let mut values = Vec::new();
            for (key, value) in &config {
                let long = key.to_lowercase();
                match (longs.iter().find(|known| **known == long), texts(value)) {
                    (Some(long), Some(texts)) => values.push((*long, Layer::File(&path), texts)),
                    (Some(_), None) => problems.push(Diagnostic::error(
                        codes::USAGE,
                        format!(
                            "{key} in {}: must be a text, a number, true or false, or a list",
                            path.display()
                        ),
                    )),
                    (None, _) => warnings.push(unknown_key(key, &path, &longs)),
                }
            }
            offer(values, &mut problems);
        }
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let globals = command
        .try_get_matches_from(&argv)
        .and_then(|matches| Globals::from_arg_matches(&matches))
        .map_err(|error| vec![Diagnostic::error(codes::USAGE, reason(&error))])?;
    Ok(Layered { globals, set, flags, warnings })
}

/// The first line of a clap error, without its prefix.
fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn unknown_key(key: &str, path: &Path, longs: &[&str]) -> Diagnostic {
    let warning = Diagnostic::warning(
        codes::USAGE,
        format!("{}: '{key}' is not a setting and is ignored", path.display()),
    );
    match longs.iter().max_by(|a, b| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key))) {
        Some(near) if strsim::jaro(near, key) > 0.8 => warning.help(format!("did you mean `{near}`?")),
        _ => warning,
    }
}

/// A config file's value as texts for the flag; `None` for what no flag can take.
fn texts(value: &Json) -> Option<Vec<String>> {
    match value {
        Json::String(text) => Some(vec![text.clone()]),
        Json::Number(number) => Some(vec![number.to_string()]),
        Json::Bool(flag) => Some(vec![flag.to_string()]),
        Json::Array(items) => {
            let nested: Option<Vec<_>> = items.iter().map(texts).collect();
            Some(nested?.into_iter().flatten().collect())
        }
        Json::Null => Some(Vec::new()),
        Json::Object(_) => None,
    }
}

/// The config file that was named, or the one in the home folder if there is one.
fn read_config(named: Option<PathBuf>, environment: &Environment) -> Result<Option<Config>, Diagnostic> {
    let path = match named {
        Some(path) => path,
        None => {
            let Some(home) = environment.home() else { return Ok(None) };
            match CONFIG_FILES.iter().map(|name| home.join(name)).find(|path| path.is_file()) {
                Some(path) => path,
                None => return Ok(None),
            }
        }
    };
    let text = super::settings::read_small(&path, CONFIG_LIMIT)?;
    if text.trim().is_empty() {
        return Ok(Some((path, Map::new())));
    }
    let parsed: Json = serde_saphyr::from_str(&text).map_err(|error| {
        let mut problem = Diagnostic::error(
            codes::SYNTAX,
            format!("{} is not a readable config file", path.display()),
        )
        .help(
            "write one `setting: value` a line, named as the flags are: `kong-addr: http://localhost:8001`",
        );
        if let Some(place) = error.location() {
            problem.message.push_str(&format!(" (line {}, column {})", place.line(), place.column()));
        }
        problem
    })?;
    match parsed {
        Json::Object(config) => Ok(Some((path, config))),
        _ => Err(Diagnostic::error(
            codes::WRONG_TYPE,
            format!("{} must hold settings by name, not a single value or a list", path.display()),
        )),
    }
}
