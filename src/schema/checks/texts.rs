//! Checks on names, addresses, tags and URLs.

use super::super::host::{HostKind, is_ip, is_ip_or_cidr, parse_host};
use super::super::url;
use super::{Outcome, demand};
use std::borrow::Cow;

const BAD_PORT: &str = "invalid port number";

pub(super) fn host(text: &str) -> Outcome {
    match parse_host(text) {
        Err(fault) if fault != BAD_PORT => Err(format!("invalid value: {text}").into()),
        Ok(parsed) if parsed.port.is_none() => Ok(()),
        _ => Err("must not have a port".into()),
    }
}

pub(super) fn host_with_optional_port(text: &str) -> Outcome {
    parse_host(text).map(|_| ()).map_err(Cow::Owned)
}

pub(super) fn host_with_wildcards(text: &str) -> Outcome {
    let plain = text.replace('*', "abc");
    parse_host(&plain).map(|_| ()).map_err(|fault| fault.replace(&plain, text).into())
}

pub(super) fn sni(text: &str) -> Outcome {
    match parse_host(text) {
        Err(fault) if fault != BAD_PORT => Err(format!("invalid value: {text}").into()),
        Ok(parsed) if parsed.kind != HostKind::Name => Err("must not be an IP".into()),
        Ok(parsed) if parsed.port.is_none() => Ok(()),
        _ => Err("must not have a port".into()),
    }
}

pub(super) fn wildcard_host(text: &str) -> Outcome {
    let Some(at) = text.find('*') else { return sni(text) };
    demand(at == 0 || at + 1 == text.len(), || "wildcard must be leftmost or rightmost character")?;
    demand(text.matches('*').count() == 1, || "only one wildcard must be specified")?;
    sni(&text.replace('*', "wildcard"))
}

pub(super) fn ip(text: &str) -> Outcome {
    demand(is_ip(text), || format!("not an ip address: {text}"))
}

pub(super) fn ip_or_cidr(text: &str) -> Outcome {
    demand(is_ip_or_cidr(text, false), || format!("invalid ip or cidr range: '{text}'"))
}

pub(super) fn ip_or_cidr_v4(text: &str) -> Outcome {
    demand(is_ip_or_cidr(text, true), || format!("invalid ipv4 cidr range: '{text}'"))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_~".contains(&byte)
}

pub(super) fn name(text: &str) -> Outcome {
    demand(text.bytes().all(is_name_byte), || {
        format!("invalid value '{text}': it must only contain alphanumeric and '., -, _, ~' characters")
    })
}

pub(super) fn utf8_name(text: &str) -> Outcome {
    demand(text.bytes().all(|byte| is_name_byte(byte) || byte >= 128), || {
        format!(
            "invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
        )
    })
}

pub(super) fn tag(text: &str) -> Outcome {
    let allowed = |byte: u8| matches!(byte, b' '..=b'~' if byte != b',' && byte != b'/') || byte >= 128;
    demand(text.bytes().all(allowed), || {
        format!(
            "invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
        )
    })
}

pub(super) fn header_name(text: &str) -> Outcome {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    demand(text.bytes().all(allowed), || {
        format!("bad header name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'")
    })
}

pub(super) fn cookie_name(text: &str) -> Outcome {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    demand(text.bytes().all(allowed), || {
        format!(
            "'{text}' is not a valid HTTP token, allowed characters are A-Z, a-z, 0-9, \
             and any of !#$%&'*+-.^_`|~"
        )
    })
}

pub(super) fn full_url(text: &str) -> Outcome {
    let parts = url::parse(text);
    demand(parts.host.is_some(), || "missing host in url")?;
    demand(parts.scheme.is_some(), || "missing scheme in url")
}

pub(super) fn redirect_uri(text: &str) -> Outcome {
    let parts = url::parse(text);
    demand(parts.host.is_some() && parts.scheme.is_some(), || format!("cannot parse '{text}'"))?;
    demand(parts.fragment.is_none(), || format!("fragment not allowed in '{text}'"))
}

pub(super) fn upstream_name(text: &str) -> Outcome {
    let bad = |why: &str| Err(format!("Invalid name ('{text}'); {why}").into());
    match parse_host(text) {
        Err(_) => bad("must be a valid hostname"),
        Ok(parsed) if parsed.kind != HostKind::Name => bad("no ip addresses allowed"),
        Ok(parsed) if parsed.port.is_some() => bad("no port allowed"),
        Ok(_) => Ok(()),
    }
}

pub(super) fn target(text: &str) -> Outcome {
    parse_host(text).map(|_| ()).map_err(|_| "Invalid target; not a valid hostname or ip address".into())
}

/// A target's address with its port (8000 when it has none) and IPv6 in full length and brackets.
pub(super) fn normal_target(text: &str) -> Option<String> {
    let parsed = parse_host(text).ok()?;
    let port = parsed.port.unwrap_or(8000);
    Some(match parsed.kind {
        HostKind::Ipv6 => format!("[{}]:{port}", parsed.host),
        _ => format!("{}:{port}", parsed.host),
    })
}

/// A URL, or a single word or `${...}` that another tool will replace by one.
pub(super) fn url_or_word(text: &str) -> Outcome {
    if is_word_or_placeholder(text) { Ok(()) } else { full_url(text) }
}

/// A UUID, or what templates leave for another tool to replace by one.
pub(super) fn uuid_or_word(text: &str) -> Outcome {
    demand(super::is_uuid(text) || is_word_or_placeholder(text), || "expected a valid UUID")
}

/// Whether a text is a single word or `${...}`: what templates leave for another tool to replace.
pub(super) fn is_word_or_placeholder(text: &str) -> bool {
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    is_word || text.starts_with("${") && text.ends_with('}')
}
