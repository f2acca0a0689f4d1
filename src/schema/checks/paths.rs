//! Checks on the paths of services and routes, and their normal form.

use super::regexes::pcre_fault;
use super::{Outcome, demand};

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
        let code: String = text.get(at..).unwrap_or_default().chars().take(3).collect();
        let hex = code.len() == 3 && code.chars().skip(1).all(|c| c.is_ascii_hexdigit());
        if !hex {
            return Some(PathFault::Percent(format!("invalid url-encoded value: '{code}'")));
        }
    }
    None
}

pub(super) fn path(text: &str) -> Outcome {
    match path_fault(text) {
        Some(PathFault::Characters(message) | PathFault::Percent(message)) => Err(message.into()),
        None => Ok(()),
    }
}

/// A prefix must be in normal form, a regular expression (after `~`) must be one.
pub(super) fn router_path(text: &str) -> Outcome {
    if let Some(PathFault::Percent(message)) = path_fault(text) {
        return Err(message.into());
    }
    match text.strip_prefix('~') {
        Some(pattern) => match pcre_fault(pattern) {
            Some(fault) => Err(format!("invalid regex: '{pattern}' (PCRE returned: {fault})").into()),
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
