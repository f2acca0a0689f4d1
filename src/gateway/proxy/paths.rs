//! Request paths: normalising them for the router, escaping them for the wire, joining them with a service's path.

use std::borrow::Cow;

/// Characters that mean something in a URI; their percent-encoded forms stay as they are.
const RESERVED: &[u8] = b"!*'();:@&=+$,/?%#[]";
/// Characters, besides letters and digits, that need no escape in a path.
const PLAIN: &[u8] = b"!#$&'()*+,/:;=?@[]-_.~%";

/// The path as the router sees it: unreserved characters decoded, dot segments resolved, slashes merged.
/// `None` when decoding gives no UTF-8 text (no route can match then).
pub fn normalize(path: &str) -> Option<Cow<'_, str>> {
    let bytes = path.as_bytes();
    let encoded = bytes.contains(&b'%');
    if !encoded && !bytes.contains(&b'.') && !bytes.windows(2).any(|pair| pair == b"//") {
        return Some(Cow::Borrowed(path));
    }
    let decoded = if encoded { String::from_utf8(decode(bytes)).ok()? } else { path.to_owned() };
    if !decoded.contains('.') && !decoded.contains("//") {
        return Some(Cow::Owned(decoded));
    }
    Some(Cow::Owned(resolve_dots(&decoded)))
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let code = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        match code {
            Some(code) if RESERVED.contains(&code) => {
                out.extend(rest.iter().take(3).map(u8::to_ascii_uppercase));
                rest = rest.get(3..).unwrap_or_default();
            }
            Some(code) => {
                out.push(code);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// RFC 3986's removal of dot segments, and merging of slashes.
fn resolve_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut directory = false;
    for segment in path.split('/').skip(1) {
        directory = false;
        match segment {
            "" | "." => directory = true,
            ".." => {
                segments.pop();
                directory = true;
            }
            name => segments.push(name),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if directory || segments.is_empty() {
        out.push('/');
    }
    out
}

/// The path as it goes onto the wire: what may not stand in a URI is percent-encoded.
pub fn escape(path: String) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || PLAIN.contains(byte);
    if path.bytes().all(|byte| plain(&byte)) {
        return path;
    }
    let mut out = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if plain(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    out
}

/// How a request's path becomes the upstream's.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    /// The service's path; empty stands for `/`.
    pub base: &'a str,
    /// The matched part of the path, if the route strips it.
    pub prefix: Option<&'a str>,
    /// The route's `strip_path`.
    pub strip: bool,
}

impl Join<'_> {
    /// The upstream's path for a normalised request path, not yet escaped. There is one way: the routers that stand
    /// in here have no use for a route's `path_handling` (`v1` is the old `traditional` router's).
    pub fn apply(&self, path: &str) -> String {
        let base = if self.base.is_empty() { "/" } else { self.base };
        let stripped = self.prefix.map_or(1, str::len);
        let postfix = without_dots(path.get(stripped..).unwrap_or_default());
        let Some(bare) = base.strip_suffix('/') else {
            return match (self.strip, postfix) {
                (true, "") if path.len() > 1 && path.ends_with('/') => [base, "/"].concat(),
                (true, "") => base.to_owned(),
                (true, postfix) if postfix.starts_with('/') => [base, postfix].concat(),
                (true, postfix) => [base, "/", postfix].concat(),
                (false, _) if path == "/" => base.to_owned(),
                (false, _) => [base, path].concat(),
            };
        };
        match (self.strip, postfix) {
            (true, "") if base == "/" || path.ends_with('/') => base.to_owned(),
            (true, "") => bare.to_owned(),
            (true, postfix) if postfix.starts_with('/') => [bare, postfix].concat(),
            (true, postfix) => [base, postfix].concat(),
            (false, _) => [base, path.strip_prefix('/').unwrap_or(path)].concat(),
        }
    }
}

/// What is left after the prefix may not climb out of the service's path.
fn without_dots(postfix: &str) -> &str {
    match postfix {
        "." | ".." => "",
        other => other.strip_prefix("./").or_else(|| other.strip_prefix("../")).unwrap_or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_as_the_router_wants_them() {
        for (raw, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b///c", "/a/b/c"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/a/%2e%2e/x", "/x"),
            ("/../../x", "/x"),
            ("/%41%2f%20", "/A%2F "),
            ("/a/%zz%4", "/a/%zz%4"),
            ("/a.b/", "/a.b/"),
            ("/caf%C3%A9", "/café"),
        ] {
            assert_eq!(normalize(raw).as_deref(), Some(normal), "{raw}");
        }
        assert_eq!(normalize("/%FF"), None);
    }

    #[test]
    fn what_a_path_may_not_hold_is_escaped() {
        assert_eq!(escape("/a b/é%20\"".into()), "/a%20b/%C3%A9%20%22");
        assert_eq!(escape("/plain-_.~!*".into()), "/plain-_.~!*");
    }

    #[test]
    fn paths_are_joined() {
        // base, prefix, strip, request, joined
        for (base, prefix, strip, path, joined) in [
            ("/base", Some("/p"), true, "/p", "/base"),
            ("/base", Some("/p"), true, "/p/", "/base/"),
            ("/base", Some("/p"), true, "/p/x", "/base/x"),
            ("/base", Some("/p"), true, "/px", "/base/x"),
            ("/base/", Some("/p"), true, "/p", "/base"),
            ("/base/", Some("/p"), true, "/px", "/base/x"),
            ("/base", None, false, "/p/x", "/base/p/x"),
            ("/base", None, false, "/", "/base"),
            ("", Some("/p"), true, "/p", "/"),
            ("", None, false, "/p/x", "/p/x"),
        ] {
            assert_eq!(Join { base, prefix, strip }.apply(path), joined, "{base} {path}");
        }
    }

    #[test]
    fn what_is_left_cannot_climb_out() {
        let join = Join { base: "/base", prefix: Some("/p"), strip: true };
        assert_eq!(join.apply("/p.."), "/base");
        assert_eq!(join.apply("/p../x"), "/base/x");
    }
}
