//! What the global flags, the environment and the config file come to: where to connect, and how.

use super::console::Console;
use super::environment::Environment;
use super::exit::Failure;
use super::globals::{self, Globals, Layered};
use crate::diagnostics::{Diagnostic, codes};
use crate::value::{Origin, Secret};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use clap::ArgMatches;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Where Kong's Admin API is when nothing else is said.
pub const DEFAULT_KONG_ADDR: &str = "http://localhost:8001";
/// Where Konnect is when nothing else is said.
pub const DEFAULT_KONNECT_ADDR: &str = "https://us.api.konghq.com";
/// The control plane that is meant when none is named.
pub const DEFAULT_CONTROL_PLANE: &str = "default";

/// The largest certificate, key or token file that is read, in bytes.
const SMALL_FILE: u64 = 1 << 20;

/// What a command gets to work with.
pub struct Context {
    /// Where to connect, and how.
    pub settings: Settings,
    /// Where to write.
    pub console: Console,
    /// The environment, for variables in state files.
    pub environment: Environment,
    /// The command's own arguments, for what is saved to be done again.
    pub arguments: ArgMatches,
    /// What `--konnect-token` gave on the command line: for `serve` the tokens that its Konnect API accepts.
    /// Tokens of the environment and the config file are for the real Konnect and are not among them.
    pub konnect_token_flags: Vec<Secret>,
}

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Kong's Admin API.
    pub kong_addr: Url,
    /// Sent with every request, in this order.
    pub headers: Vec<(String, Secret)>,
    /// Sent as `Kong-Admin-Token` to an Admin API.
    pub kong_admin_token: Option<Secret>,
    /// A cookie jar in Netscape format.
    pub cookie_jar: Option<PathBuf>,
    /// Workspaces are neither looked up nor created.
    pub skip_workspace_crud: bool,
    /// Konnect.
    pub konnect: Konnect,
    /// TLS.
    pub tls: Tls,
    /// How long one request may take.
    pub timeout: Duration,
    /// Where journals and records of runs are kept; `None` for nowhere.
    pub state_folder: Option<PathBuf>,
    /// Whether the flags alone ask for Konnect; see [`Settings::uses_konnect`].
    asks_for_konnect: bool,
}

/// How to reach Konnect.
#[derive(Clone, Debug)]
pub struct Konnect {
    /// The API of the region.
    pub addr: Url,
    /// The access token.
    pub token: Option<Secret>,
    /// The control plane's name, when it is set outside the state file; see [`DEFAULT_CONTROL_PLANE`].
    pub control_plane: Option<String>,
}

/// TLS to the gateway.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// CA certificates to trust in place of the system's, as PEM text.
    pub ca_cert: Option<String>,
    /// The client certificate and its private key, as PEM text.
    pub client: Option<(String, Secret)>,
    /// The name to verify the gateway's certificate against, in place of the address's.
    pub server_name: Option<String>,
    /// Certificates are not verified.
    pub skip_verify: bool,
}

impl Context {
    /// Reads the settings of a run from its flags, environment and config file.
    pub fn new(matches: &ArgMatches, environment: Environment) -> Result<Context, Failure> {
        let layered = globals::layer(matches, &environment)?;
        let console = Console::new(layered.globals.no_color, layered.globals.verbose);
        console.problems(&layered.warnings, &Default::default());
        let settings = Settings { state_folder: environment.state_folder(), ..Settings::new(&layered)? };
        let flags = layered.globals.konnect_token.iter().filter(|_| layered.flags.contains("konnect-token"));
        let konnect_token_flags = flags.map(|text| secret("konnect-token", text)).collect();
        let mut arguments = matches;
        while let Some((_, inner)) = arguments.subcommand() {
            arguments = inner;
        }
        Ok(Context { settings, console, environment, arguments: arguments.clone(), konnect_token_flags })
    }
}

impl Settings {
    fn new(layered: &Layered) -> Result<Settings, Vec<Diagnostic>> {
        let given = &layered.globals;
        let mut problems = Vec::new();
        let mut keep = |problem: Diagnostic| problems.push(problem);
        let kong_addr = address("kong-addr", &given.kong_addr).map_err(&mut keep).ok();
        let login = kong_addr.as_ref().and_then(basic_auth);
        let konnect_addr = address("konnect-addr", &given.konnect_addr).map_err(&mut keep).ok();
        let mut headers = headers(given).map_err(&mut keep).unwrap_or_default();
        headers.extend(login);
        let token =
            text_or_file("konnect-token", &given.konnect_token.last().cloned(), &given.konnect_token_file)
                .and_then(|token| match token {
                    Some(token) if token.trim().is_empty() => {
                        Err(Diagnostic::error(codes::USAGE, "the access token for Konnect is empty"))
                    }
                    token => Ok(token.map(|text| secret("konnect-token", text.trim()))),
                })
                .map_err(&mut keep)
                .unwrap_or_default();
        let tls = tls(given, &mut keep);
        let (Some(kong_addr), Some(konnect_addr), true) = (kong_addr, konnect_addr, problems.is_empty())
        else {
            return Err(problems);
        };
        let control_plane =
            given.konnect_control_plane_name.clone().or_else(|| given.konnect_runtime_group_name.clone());
        Ok(Settings {
            asks_for_konnect: asks_for_konnect(layered, token.is_some()),
            kong_addr: without_login(kong_addr),
            headers,
            kong_admin_token: given
                .kong_admin_token
                .as_deref()
                .filter(|t| !t.is_empty())
                .map(|t| secret("kong-admin-token", t)),
            cookie_jar: given.kong_cookie_jar_path.clone(),
            skip_workspace_crud: given.skip_workspace_crud,
            konnect: Konnect { addr: without_login(konnect_addr), token, control_plane },
            tls,
            state_folder: None,
            timeout: Duration::from_secs(u64::from(given.timeout)),
        })
    }

    /// Settings for the built-in gateway of this very process: none of the user's credentials or headers.
    pub fn built_in(admin: SocketAddr, konnect: SocketAddr) -> Result<Settings, Failure> {
        Ok(Settings {
            kong_addr: address("kong-addr", &format!("http://{admin}"))?,
            headers: Vec::new(),
            kong_admin_token: None,
            cookie_jar: None,
            skip_workspace_crud: false,
            konnect: Konnect {
                addr: address("konnect-addr", &format!("http://{konnect}"))?,
                token: Some(secret("konnect-token", "built-in")),
                control_plane: None,
            },
            tls: Tls::default(),
            state_folder: None,
            timeout: Duration::from_secs(30),
            asks_for_konnect: false,
        })
    }

    /// Whether the run talks to Konnect: a state file with `_konnect` decides first, then the flags.
    /// As in decK an Admin API's address other than the usual one wins over a token or a Konnect address.
    pub fn uses_konnect(&self, file_names_konnect: bool) -> bool {
        file_names_konnect || self.asks_for_konnect
    }
}

/// As in decK, and one thing more: `--kong-addr` as a flag, whatever its value, beats Konnect settings of the
/// environment and the config file.
fn asks_for_konnect(layered: &Layered, has_token: bool) -> bool {
    let flag = |name: &str| layered.flags.contains(name);
    let meant = flag("kong-addr") && !layered.flags.iter().any(|name| name.starts_with("konnect-"));
    let elsewhere = layered.globals.kong_addr.trim_end_matches('/') != DEFAULT_KONG_ADDR;
    !meant && !elsewhere && (has_token || layered.set.contains("konnect-addr"))
}

fn secret(setting: &str, text: &str) -> Secret {
    Secret::text(text, Origin::Setting(format!("--{setting}").into()))
}

fn address(setting: &str, text: &str) -> Result<Url, Diagnostic> {
    let fault = |reason: String| {
        Diagnostic::error(codes::USAGE, format!("--{setting}: {reason}"))
            .help(format!("give an address such as {DEFAULT_KONG_ADDR}"))
    };
    let url = Url::parse(text).map_err(|error| fault(format!("not an address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(fault(format!("'{}' is not http or https", url.scheme())));
    }
    Ok(url)
}

/// The header that a user and password in an address stand for.
fn basic_auth(url: &Url) -> Option<(String, Secret)> {
    let plain = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let (user, password) = (plain(url.username()), plain(url.password().unwrap_or_default()));
    if user.is_empty() && password.is_empty() {
        return None;
    }
    let token = BASE64.encode([user, password].join(&b':'));
    Some(("Authorization".to_owned(), secret("kong-addr", &format!("Basic {token}"))))
}

/// An address without user and password, so that it can be shown.
fn without_login(mut url: Url) -> Url {
    // Only addresses that cannot have a login refuse this, and they have none.
    let _unchanged = (url.set_username(""), url.set_password(None));
    url
}

fn headers(given: &Globals) -> Result<Vec<(String, Secret)>, Diagnostic> {
    let mut headers = Vec::new();
    for (index, header) in given.headers.iter().enumerate() {
        let fault = |reason: &str| {
            Diagnostic::error(codes::USAGE, format!("--headers: header {} {reason}", index + 1))
                .help("write NAME:VALUE, such as `--headers X-Team:edge`")
        };
        let (name, value) = header.split_once(':').ok_or_else(|| fault("has no colon"))?;
        let (name, value) = (name.trim(), value.trim());
        http::HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| fault("has a name that HTTP does not allow"))?;
        http::HeaderValue::from_str(value).map_err(|_| fault("has a value that HTTP does not allow"))?;
        headers.push((name.to_owned(), secret("headers", value)));
    }
    Ok(headers)
}

fn tls(given: &Globals, mut keep: impl FnMut(Diagnostic)) -> Tls {
    let mut pem = |setting: &str, text: &Option<String>, file: &Option<PathBuf>| {
        let found = text_or_file(setting, text, file).map_err(&mut keep).unwrap_or_default();
        found.filter(|text| !text.trim().is_empty())
    };
    let ca_cert = pem("ca-cert", &given.ca_cert, &given.ca_cert_file);
    let cert = pem("tls-client-cert", &given.tls_client_cert, &given.tls_client_cert_file);
    let key = pem("tls-client-key", &given.tls_client_key, &given.tls_client_key_file);
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, secret("tls-client-key", &key))),
        (None, None) => None,
        (cert, _) => {
            let (there, missing) = if cert.is_some() { ("cert", "key") } else { ("key", "cert") };
            keep(
                Diagnostic::error(
                    codes::USAGE,
                    format!("--tls-client-{there} is set without --tls-client-{missing}"),
                )
                .help("a client certificate needs both, each as text or as a file"),
            );
            None
        }
    };
    Tls {
        ca_cert,
        client,
        server_name: given.tls_server_name.clone().filter(|name| !name.is_empty()),
        skip_verify: given.tls_skip_verify,
    }
}

/// A text that is given itself or in a file; the text wins.
fn text_or_file(
    setting: &str,
    text: &Option<String>,
    file: &Option<PathBuf>,
) -> Result<Option<String>, Diagnostic> {
    match (text.as_deref().filter(|text| !text.is_empty()), file) {
        (Some(text), _) => Ok(Some(text.to_owned())),
        (None, Some(path)) if !path.as_os_str().is_empty() => match read_small(path, SMALL_FILE) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(problem) => {
                Err(Diagnostic { message: format!("--{setting}-file: {}", problem.message), ..problem })
            }
        },
        _ => Ok(None),
    }
}

/// Reads a file of at most `limit` bytes as text.
pub(super) fn read_small(path: &Path, limit: u64) -> Result<String, Diagnostic> {
    let shown = path.display();
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text));
    match read {
        Ok(length) if length as u64 > limit => {
            Err(Diagnostic::error(codes::TOO_LARGE, format!("{shown} is larger than {limit} bytes")))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(Diagnostic::error(codes::UNREADABLE, format!("{shown} cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    /// The settings that flags, variables and a config file's text come to.
    fn read(flags: &[&str], variables: &[(&str, &str)], config: &str) -> Result<Settings, String> {
        let home = tempfile::tempdir().unwrap();
        if !config.is_empty() {
            std::fs::write(home.path().join(".deck.yaml"), config).unwrap();
        }
        let pairs = variables.iter().copied().chain([("HOME", home.path().to_str().unwrap())]);
        let environment: Environment = pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let arguments = ["foredeck", "serve"].iter().chain(flags);
        let matches = super::super::command().try_get_matches_from(arguments).map_err(|e| e.to_string())?;
        let shown =
            |problems: &[Diagnostic]| problems.iter().map(|p| p.to_string() + "\n").collect::<String>();
        Context::new(&matches, environment).map(|c| c.settings).map_err(|failure| shown(&failure.problems))
    }

    #[test]
    fn flag_over_environment_over_file() {
        let file = "kong-addr: http://file\ntimeout: 30\nheaders: [a:1, b:2]\n";
        let settings = read(&[], &[], file).unwrap();
        assert_eq!(settings.kong_addr.as_str(), "http://file/");
        assert_eq!(settings.timeout, Duration::from_secs(30));
        assert_eq!(settings.headers.len(), 2);

        let deck = ("DECK_KONG_ADDR", "http://deck");
        assert_eq!(read(&[], &[deck], file).unwrap().kong_addr.as_str(), "http://deck/");
        let both = [deck, ("FOREDECK_KONG_ADDR", "http://foredeck")];
        assert_eq!(read(&[], &both, file).unwrap().kong_addr.as_str(), "http://foredeck/");
        assert_eq!(
            read(&["--kong-addr", "http://flag"], &both, file).unwrap().kong_addr.as_str(),
            "http://flag/"
        );
        // An empty variable is as good as none.
        assert_eq!(read(&[], &[("DECK_KONG_ADDR", "")], file).unwrap().kong_addr.as_str(), "http://file/");
    }

    #[test]
    fn switches_take_true_and_false() {
        assert!(read(&["--tls-skip-verify"], &[], "").unwrap().tls.skip_verify);
        assert!(
            !read(&["--tls-skip-verify=false"], &[("DECK_TLS_SKIP_VERIFY", "true")], "")
                .unwrap()
                .tls
                .skip_verify
        );
        assert!(read(&[], &[("DECK_TLS_SKIP_VERIFY", "true")], "").unwrap().tls.skip_verify);
        assert!(read(&["--analytics=false"], &[("DECK_ANALYTICS", "off")], "analytics: false\n").is_ok());
    }

    #[test]
    fn a_value_and_its_file_are_one_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "kpat_file\n").unwrap();
        let path = path.to_str().unwrap();
        let token = |settings: Settings| settings.konnect.token.unwrap().expose_text().to_owned();
        let variable = [("DECK_KONNECT_TOKEN", "kpat_variable")];
        assert_eq!(token(read(&["--konnect-token-file", path], &variable, "").unwrap()), "kpat_file");
        let file = format!("konnect-token-file: {path}\n");
        assert_eq!(token(read(&[], &variable, &file).unwrap()), "kpat_variable");
        assert_eq!(token(read(&[], &[], &file).unwrap()), "kpat_file");
        let missing = read(&["--konnect-token-file", "/nonexistent"], &[], "").unwrap_err();
        assert!(missing.contains("--konnect-token-file: /nonexistent cannot be read"), "{missing}");
        let both = read(&["--konnect-token-file", path, "--konnect-token", "x"], &[], "").unwrap_err();
        assert!(both.contains("cannot be used with"), "{both}");
    }

    #[test]
    fn konnect_is_chosen_as_in_deck() {
        let uses = |flags: &[&str], variables: &[(&str, &str)]| {
            read(flags, variables, "").unwrap().uses_konnect(false)
        };
        assert!(!uses(&[], &[]));
        assert!(uses(&["--konnect-token", "t"], &[]));
        assert!(uses(&["--konnect-addr", "http://127.0.0.1:8002"], &[]));
        assert!(uses(&[], &[("DECK_KONNECT_TOKEN", "t")]));
        assert!(!uses(&["--konnect-token", "t", "--kong-addr", "http://elsewhere:8001"], &[]));
        assert!(!uses(&["--kong-addr", DEFAULT_KONG_ADDR], &[("DECK_KONNECT_TOKEN", "t")]));
        assert!(uses(&[], &[("DECK_KONNECT_TOKEN", "t"), ("DECK_KONG_ADDR", DEFAULT_KONG_ADDR)]));
        assert!(read(&[], &[], "").unwrap().uses_konnect(true));
    }

    #[test]
    fn a_login_in_the_address_becomes_a_header_and_is_never_shown() {
        let settings = read(&["--kong-addr", "http://ann:s3cret@gateway:8001"], &[], "").unwrap();
        assert_eq!(settings.kong_addr.as_str(), "http://gateway:8001/");
        assert_eq!(*settings.headers[0].1.expose(), Value::from("Basic YW5uOnMzY3JldA=="));
        assert!(!format!("{settings:?}").contains("s3cret"));
        assert!(!format!("{settings:?}").contains("YW5u"));
    }

    #[test]
    fn mistakes_name_where_they_stand() {
        let fault = |flags: &[&str], variables: &[(&str, &str)], file: &str| {
            read(flags, variables, file).unwrap_err()
        };
        assert!(fault(&[], &[("DECK_TIMEOUT", "soon")], "").contains("DECK_TIMEOUT: invalid value 'soon'"));
        assert!(fault(&[], &[], "timeout: soon\n").contains(".deck.yaml: invalid value 'soon'"));
        assert!(
            fault(&["--kong-addr", "localhost:8001"], &[], "").contains("'localhost' is not http or https")
        );
        assert!(fault(&["--kong-addr", "gateway"], &[], "").contains("--kong-addr: not an address"));
        assert!(fault(&["--headers", "abc"], &[], "").contains("header 1 has no colon"));
        assert!(fault(&["--tls-client-cert", "x"], &[], "").contains("without --tls-client-key"));
        assert!(fault(&[], &[], "- a\n").contains("must hold settings by name"));
        assert!(fault(&[], &[], "kong-addr: {a: b}\n").contains("must be a text"));
        assert!(fault(&[], &[], "kong-addr: [\n").contains("not a readable config file"));
        // Every mistake is told, not the first only.
        let both = fault(&[], &[("DECK_TIMEOUT", "soon"), ("DECK_VERBOSE", "much")], "");
        assert!(both.contains("DECK_TIMEOUT") && both.contains("DECK_VERBOSE"), "{both}");
    }
}
