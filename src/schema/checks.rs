//! The checks that Kong writes as code: named functions that the notation refers to by `check`.

use super::check::show;
use super::faults::Fault;
use super::host::{HostKind, is_ip, is_ip_or_cidr, parse_host};
use super::types::{Field, ViolationKind};
use crate::value::{Map, Value};

type Outcome = Result<(), String>;
type TextCheck = fn(&str) -> Outcome;
type ValueCheck = fn(&Value) -> Outcome;
type Rule = fn(&Map) -> Outcome;

/// Checks on texts, by name. A message must not hold the text but through its one argument.
const TEXT_CHECKS: &[(&str, TextCheck)] = &[
    ("cookie_name", cookie_name),
    ("header_name", header_name),
    ("host", host),
    ("host_with_optional_port", host_with_optional_port),
    ("host_with_wildcards", host_with_wildcards),
    ("ip", ip),
    ("ip_or_cidr", ip_or_cidr),
    ("ip_or_cidr_v4", ip_or_cidr_v4),
    ("name", name),
    ("path", path),
    ("redirect_uri", redirect_uri),
    ("router_path", router_path),
    ("sni", sni),
    ("tag", tag),
    ("target", target),
    ("upstream_name", upstream_name),
    ("url", url),
    ("utf8_name", utf8_name),
    ("wildcard_host", wildcard_host),
];

/// Checks on values of any type, by name.
const VALUE_CHECKS: &[(&str, ValueCheck)] = &[];

/// Rules over the fields of a record, by name.
const RULES: &[(&str, Rule)] = &[];

/// The names of all checks on a field.
#[cfg(test)]
pub(super) fn field_check_names() -> impl Iterator<Item = &'static str> {
    TEXT_CHECKS.iter().map(|(name, _)| *name).chain(VALUE_CHECKS.iter().map(|(name, _)| *name))
}

/// The names of all rules.
#[cfg(test)]
pub(super) fn rule_names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}

/// Runs a named check on a field's value.
pub(super) fn run(name: &str, field: &Field, value: &Value) -> Result<(), Fault> {
    let _ = field;
    let text_check = TEXT_CHECKS.iter().find(|(each, _)| *each == name);
    let outcome = match (text_check, value.exposed_str()) {
        (Some((_, check)), Some(text)) => check(text),
        (Some(_), None) => Ok(()),
        (None, _) => match VALUE_CHECKS.iter().find(|(each, _)| *each == name) {
            Some((_, check)) => check(value),
            None => Ok(()),
        },
    };
    outcome.map_err(|message| {
        let message = if value.has_secret() { format!("invalid value: {}", show(value)) } else { message };
        Fault::new(ViolationKind::InvalidValue, message)
    })
}

/// Runs a named rule on a record.
pub(super) fn run_rule(name: &str, members: &Map) -> Outcome {
    match RULES.iter().find(|(each, _)| *each == name) {
        Some((_, rule)) => rule(members),
        None => Ok(()),
    }
}

/// The known name that is nearest to a mistyped one, if one is near.
pub(super) fn near<'a>(name: &str, known: Vec<&'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|each| (strsim::damerau_levenshtein(name, each), each))
        .filter(|(distance, each)| *distance <= (each.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, each)| each)
}

/// Whether a text is a UUID in its usual form.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// What is wrong with a regular expression; `None` when nothing is.
pub(super) fn regex_fault(pattern: &str) -> Option<String> {
    fancy_regex::Regex::new(pattern).err().map(|fault| fault.to_string())
}

fn demand(holds: bool, message: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(message()) }
}

const BAD_PORT: &str = "invalid port number";

fn host(text: &str) -> Outcome {
    match parse_host(text) {
        Err(fault) if fault != BAD_PORT => Err(format!("invalid value: {text}")),
        Ok(parsed) if parsed.port.is_none() => Ok(()),
        _ => Err("must not have a port".to_owned()),
    }
}

fn host_with_optional_port(text: &str) -> Outcome {
    parse_host(text).map(|_| ())
}

fn host_with_wildcards(text: &str) -> Outcome {
    host_with_optional_port(&text.replace('*', "abc")).map_err(|fault| {
        if text.contains('*') { fault.replace(&text.replace('*', "abc"), text) } else { fault }
    })
}

fn sni(text: &str) -> Outcome {
    match parse_host(text) {
        Err(fault) if fault != BAD_PORT => Err(format!("invalid value: {text}")),
        Ok(parsed) if parsed.kind != HostKind::Name => Err("must not be an IP".to_owned()),
        Ok(parsed) if parsed.port.is_none() => Ok(()),
        _ => Err("must not have a port".to_owned()),
    }
}

fn wildcard_host(text: &str) -> Outcome {
    let Some(at) = text.find('*') else { return sni(text) };
    demand(at == 0 || at + 1 == text.len(), || {
        "wildcard must be leftmost or rightmost character".to_owned()
    })?;
    demand(text.matches('*').count() == 1, || "only one wildcard must be specified".to_owned())?;
    sni(&text.replace('*', "wildcard"))
}

fn ip(text: &str) -> Outcome {
    demand(is_ip(text), || format!("not an ip address: {text}"))
}

fn ip_or_cidr(text: &str) -> Outcome {
    demand(is_ip_or_cidr(text, false), || format!("invalid ip or cidr range: '{text}'"))
}

fn ip_or_cidr_v4(text: &str) -> Outcome {
    demand(is_ip_or_cidr(text, true), || format!("invalid ipv4 cidr range: '{text}'"))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_~".contains(&byte)
}

fn name(text: &str) -> Outcome {
    demand(text.bytes().all(is_name_byte), || {
        format!("invalid value '{text}': it must only contain alphanumeric and '., -, _, ~' characters")
    })
}

fn utf8_name(text: &str) -> Outcome {
    demand(text.bytes().all(|byte| is_name_byte(byte) || byte >= 128), || {
        format!(
            "invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
        )
    })
}

fn tag(text: &str) -> Outcome {
    let allowed = |byte: u8| matches!(byte, b' '..=b'~' if byte != b',' && byte != b'/') || byte >= 128;
    demand(text.bytes().all(allowed), || {
        format!(
            "invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
        )
    })
}

fn header_name(text: &str) -> Outcome {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    demand(text.bytes().all(allowed), || {
        format!("bad header name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'")
    })
}

fn cookie_name(text: &str) -> Outcome {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    demand(text.bytes().all(allowed), || {
        format!(
            "'{text}' is not a valid HTTP token, allowed characters are A-Z, a-z, 0-9, \
             and any of !#$%&'*+-.^_`|~"
        )
    })
}

fn url(text: &str) -> Outcome {
    let parts = super::url::parse(text);
    demand(parts.host.is_some(), || "missing host in url".to_owned())?;
    demand(parts.scheme.is_some(), || "missing scheme in url".to_owned())
}

fn redirect_uri(text: &str) -> Outcome {
    let parts = super::url::parse(text);
    demand(parts.host.is_some() && parts.scheme.is_some(), || format!("cannot parse '{text}'"))?;
    demand(parts.fragment.is_none(), || format!("fragment not allowed in '{text}'"))
}

fn upstream_name(text: &str) -> Outcome {
    let bad = |why: &str| Err(format!("Invalid name ('{text}'); {why}"));
    match parse_host(text) {
        Err(_) => bad("must be a valid hostname"),
        Ok(parsed) if parsed.kind != HostKind::Name => bad("no ip addresses allowed"),
        Ok(parsed) if parsed.port.is_some() => bad("no port allowed"),
        Ok(_) => Ok(()),
    }
}

fn target(text: &str) -> Outcome {
    parse_host(text)
        .map(|_| ())
        .map_err(|_| format!("Invalid target ('{text}'); not a valid hostname or ip address"))
}

/// What is wrong with a path's characters or percent signs.
enum PathFault {
    Characters(String),
    Percent(String),
}

fn path_fault(text: &str) -> Option<PathFault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~/%:@!$&'()*+,;=".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(allowed) {
        return Some(PathFault::Characters(format!(
            "invalid path: '{text}' (characters outside of the reserved list of RFC 3986 found)"
        )));
    }
    for (at, _) in text.match_indices('%') {
        let code: String = text.chars().skip(at).take(3).collect();
        let hex = code.len() == 3 && code.chars().skip(1).all(|c| c.is_ascii_hexdigit());
        if !hex {
            return Some(PathFault::Percent(format!("invalid url-encoded value: '{code}'")));
        }
    }
    None
}

fn path(text: &str) -> Outcome {
    match path_fault(text) {
        Some(PathFault::Characters(message) | PathFault::Percent(message)) => Err(message),
        None => Ok(()),
    }
}

/// A prefix must be in normal form, a regular expression (after `~`) must be one.
fn router_path(text: &str) -> Outcome {
    if let Some(PathFault::Percent(message)) = path_fault(text) {
        return Err(message);
    }
    match text.strip_prefix('~') {
        Some(pattern) => match regex_fault(pattern) {
            Some(fault) => Err(format!("invalid regex: '{pattern}' (PCRE returned: {fault})")),
            None => Ok(()),
        },
        None => {
            let normal = normalize_path(text);
            demand(normal == text, || format!("non-normalized path, consider use '{normal}' instead"))
        }
    }
}

/// A path in normal form: percent codes of unreserved characters decoded, others in capitals, dot segments and
/// repeated slashes gone.
pub fn normalize_path(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let raw = path.as_bytes();
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        let code = (byte == b'%')
            .then(|| path.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            // Reserved characters mean something else when they are not encoded.
            Some(code) if code.is_ascii() && b"%!*'();:@&=+$,/?#[]".contains(&code) => {
                bytes.extend(format!("%{code:02X}").bytes());
                at += 3;
            }
            Some(code) => {
                bytes.push(code);
                at += 3;
            }
            None => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    let decoded = String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned());
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = decoded.split('/').collect();
    let last = segments.len().saturating_sub(1);
    for (n, segment) in segments.iter().enumerate() {
        match *segment {
            "" if n != 0 && n != last => {}
            "." if n == last => out.push(""),
            "." => {}
            ".." => {
                if out.len() > 1 {
                    out.pop();
                }
                if n == last {
                    out.push("");
                }
            }
            other => out.push(other),
        }
    }
    out.join("/")
}
