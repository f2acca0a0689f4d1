//! What Kong's server asks of a request's head before a route is looked for.
//!
//! What does not live here: what is wrong with the bytes of a head (`http1::server`).

use super::http1::server::Refused;
use http::header::{
    AUTHORIZATION, CONTENT_RANGE, EXPECT, HOST, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{Method, StatusCode, Version, request};

/// Headers that a request has once at most.
const ONCE: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_RANGE,
    EXPECT,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
];

/// The host that a request names, with its port; empty if it names none and need not.
///
/// # Errors
/// The status of the answer to a request that breaks a rule.
pub fn host(head: &request::Parts) -> Result<Box<str>, StatusCode> {
    if let Some(Refused(status)) = head.extensions.get() {
        return Err(*status);
    }
    let headers = &head.headers;
    let repeated = || ONCE.iter().any(|name| headers.get_all(name).iter().nth(1).is_some());
    if !is_sound(head.uri.path()) || (headers.len() != headers.keys_len() && repeated()) {
        return Err(StatusCode::BAD_REQUEST);
    }
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut named = headers.get_all(HOST).iter();
    let host = match (head.uri.authority(), named.next(), named.next()) {
        (Some(authority), _, None) => authority.as_str(),
        (None, Some(host), None) => host.to_str().map_err(|_| StatusCode::BAD_REQUEST)?,
        (None, None, None) if head.version < Version::HTTP_11 => return Ok(Box::default()),
        _ => return Err(StatusCode::BAD_REQUEST),
    };
    if host.is_empty() || host.bytes().any(|byte| byte == b'/' || byte <= b' ') {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(host.into())
}

/// Whether a path begins at the root and stays below it, and is escaped as it should be.
fn is_sound(path: &str) -> bool {
    if !path.starts_with('/') {
        return false;
    }
    if !path.contains('%') {
        return !path.contains("/.") || stays_below(path.as_bytes());
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match digit().zip(digit()) {
            None | Some((0, 0)) => return false,
            Some((high, low)) => decoded.push(high * 16 + low),
        }
    }
    stays_below(&decoded)
}

fn stays_below(path: &[u8]) -> bool {
    let mut depth = 0u32;
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." if depth == 0 => return false,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root_and_are_escaped() {
        for path in
            ["/", "/a/../b", "/a%20b", "/a/%2e%2e/x", "/..a", "/a/b/../..", "/.well-known/x", "/a//../b"]
        {
            assert!(is_sound(path), "{path}");
        }
        for path in ["", "*", "/..", "/a/../../b", "/%2e%2e/b", "/a%2f..%2f..", "/%", "/%4", "/%zz", "/%00"] {
            assert!(!is_sound(path), "{path}");
        }
    }

    #[test]
    fn a_host_is_named_once() {
        let told = |hosts: &[&str], version| {
            let mut request = http::Request::builder().uri("/").version(version);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            request.body(()).map_err(|_| StatusCode::BAD_REQUEST).and_then(|r| host(&r.into_parts().0))
        };
        assert_eq!(told(&["h.test:80"], Version::HTTP_11).as_deref(), Ok("h.test:80"));
        assert_eq!(told(&[], Version::HTTP_10).as_deref(), Ok(""));
        for hosts in [&[][..], &["a", "b"], &["a/b"], &["a b"], &[""]] {
            assert_eq!(told(hosts, Version::HTTP_11), Err(StatusCode::BAD_REQUEST), "{hosts:?}");
        }
    }
}
