//! Headers that the proxy itself sets, takes away or passes on.

use super::connection::Connection;
use super::context::Identity;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, EXPECT, Entry, HOST, HeaderMap, HeaderName,
    HeaderValue, TE, TRAILER, UPGRADE, VIA,
};

const CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
const CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
const CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
const CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");
const ANONYMOUS: HeaderName = HeaderName::from_static("x-anonymous-consumer");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PATH: HeaderName = HeaderName::from_static("x-forwarded-path");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const PROXY: HeaderName = HeaderName::from_static("proxy");
/// The request's id, sent to the upstream and to the client.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-kong-request-id");

/// How many headers the proxy adds at most, and then some for plugins.
const ADDED: usize = 16;

/// Media types of text, to which the server names its character set, and what they become.
const TEXTS: [(&str, &str); 6] = [
    ("text/html", "text/html; charset=UTF-8"),
    ("text/xml", "text/xml; charset=UTF-8"),
    ("text/plain", "text/plain; charset=UTF-8"),
    ("text/vnd.wap.wml", "text/vnd.wap.wml; charset=UTF-8"),
    ("application/javascript", "application/javascript; charset=UTF-8"),
    ("application/rss+xml", "application/rss+xml; charset=UTF-8"),
];

/// Tells the upstream who the client is, and takes away what the client itself may have claimed.
pub fn set_identity(headers: &mut HeaderMap, identity: &Identity) {
    let consumer = identity.consumer.as_deref();
    let mut set = |name: HeaderName, text: Option<&str>| match text.map(HeaderValue::from_str) {
        Some(Ok(value)) => drop(headers.insert(name, value)),
        _ => drop(headers.remove(name)),
    };
    set(CONSUMER_ID, consumer.map(|c| &*c.id));
    set(CONSUMER_CUSTOM_ID, consumer.and_then(|c| c.custom_id.as_deref()));
    set(CONSUMER_USERNAME, consumer.and_then(|c| c.username.as_deref()));
    set(CREDENTIAL_IDENTIFIER, identity.credential.as_deref().map(|c| &*c.identifier));
    set(ANONYMOUS, identity.credential.is_none().then_some("true"));
}

/// What the upstream is told about the client's request.
pub struct Forwarded<'a> {
    /// The connection that it came by.
    pub connection: &'a Connection,
    /// The host it asked for, without a port.
    pub host: &'a str,
    /// Its path, as it came.
    pub path: &'a str,
    /// The part of the path that the route strips.
    pub prefix: Option<&'a str>,
    /// The gateway's name in `Via`.
    pub via: &'a HeaderValue,
    /// The request's id.
    pub request_id: &'a str,
}

/// The headers for the upstream, made of the client's: without what belongs to one connection only, and with
/// what the upstream is told. `host` is taken out, and `expect`, which the proxy itself answers. WebSocket upgrades
/// are kept.
pub fn outbound(client: &HeaderMap, forwarded: &Forwarded<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(client.len() + ADDED);
    let mut own = false;
    for (name, value) in client {
        if belongs_to_connection(name) {
            own = true;
        } else if ![HOST, PROXY, EXPECT].contains(name) {
            headers.append(name, value.clone());
        }
    }
    if own {
        if takes_trailers(client) {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        named_by_connection(client).for_each(|name| drop(headers.remove(name)));
        if is_websocket(client) {
            headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
    }
    let connection = forwarded.connection;
    append_to_list(&mut headers, FORWARDED_FOR, &connection.client_ip);
    headers.insert(REAL_IP, connection.client_ip.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(connection.scheme));
    headers.insert(FORWARDED_PORT, connection.port.clone());
    let mut set = |name: HeaderName, text: Option<&str>| match text.map(HeaderValue::from_str) {
        Some(Ok(value)) => drop(headers.insert(name, value)),
        _ => drop(headers.remove(name)),
    };
    set(FORWARDED_HOST, Some(forwarded.host));
    set(FORWARDED_PATH, Some(forwarded.path));
    set(FORWARDED_PREFIX, forwarded.prefix.filter(|prefix| *prefix != "/"));
    set(REQUEST_ID, Some(forwarded.request_id));
    append_to_list(&mut headers, VIA, forwarded.via);
    headers
}

/// Whether a header of the request to the upstream is the proxy's own, whatever plugins want.
pub fn is_own(name: &HeaderName) -> bool {
    [CONNECTION, HOST, REAL_IP, REQUEST_ID, TE, UPGRADE, VIA].contains(name)
        || [FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PATH, FORWARDED_PORT, FORWARDED_PREFIX, FORWARDED_PROTO]
            .contains(name)
}

/// Makes an upstream's headers fit for the client's connection.
pub fn inbound(headers: &mut HeaderMap, upgraded: bool, trailers: bool) {
    // One look at each is cheaper than a search for everything that may have to go.
    let suspect = |name: &HeaderName| belongs_to_connection(name) || is_for_server(name);
    let own: Vec<HeaderName> = headers.keys().filter(|name| suspect(name)).cloned().collect();
    let named: Vec<HeaderName> = match own.contains(&CONNECTION) {
        true => named_by_connection(headers).collect(),
        false => Vec::new(),
    };
    let kept = |name: &HeaderName| *name == TE || (upgraded && [CONNECTION, UPGRADE].contains(name));
    for name in own.iter().filter(|name| !kept(name)).chain(&named) {
        headers.remove(name);
    }
    if !trailers {
        headers.remove(TRAILER);
    }
}

/// Names the character set of texts that do not, as the server does that Kong is built on.
pub fn name_charset(headers: &mut HeaderMap) {
    let Some(kind) = headers.get(CONTENT_TYPE).filter(|_| !headers.contains_key(CONTENT_ENCODING)) else {
        return;
    };
    let Some((text, named)) =
        TEXTS.iter().find(|(text, _)| text.as_bytes().eq_ignore_ascii_case(kind.as_bytes()))
    else {
        return;
    };
    let named = match kind == text {
        true => HeaderValue::from_static(named),
        // It stays as it is written.
        false => match HeaderValue::from_bytes(&[kind.as_bytes(), b"; charset=UTF-8"].concat()) {
            Ok(named) => named,
            Err(_) => return,
        },
    };
    headers.insert(CONTENT_TYPE, named);
}

/// How many bytes the lines of headers take, with the empty one behind them.
pub fn lines(headers: &HeaderMap) -> usize {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    headers.iter().map(line).sum::<usize>() + "\r\n".len()
}

/// Whether a request asks for a WebSocket.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether a request lets the answer have trailers.
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|te| lists(te, "trailers"))
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

/// Whether a header belongs to one connection only. `TE` does as well, for requests.
fn belongs_to_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade"
    )
}

/// What an upstream says to the server that Kong is built on, which does not pass it on.
fn is_for_server(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-accel-") || *name == "x-pad"
}

/// The headers that `Connection` names beside the usual ones.
fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| {
            !["close", "keep-alive", "upgrade"].iter().any(|known| name.eq_ignore_ascii_case(known))
        })
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
}

fn lists(value: &HeaderValue, word: &str) -> bool {
    value.to_str().is_ok_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
}

/// Puts a value at the end of a comma-separated list, or begins one.
pub fn append_to_list(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => drop(entry.insert(value.clone())),
        Entry::Occupied(mut entry) => {
            let mut joined = Vec::new();
            for earlier in entry.iter() {
                joined.extend_from_slice(earlier.as_bytes());
                joined.extend_from_slice(b", ");
            }
            joined.extend_from_slice(value.as_bytes());
            if let Ok(joined) = HeaderValue::from_bytes(&joined) {
                entry.insert(joined);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_upstreams_connection_stays_there() {
        let left = |lines: &[(&'static str, &'static str)], upgraded, trailers| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            inbound(&mut headers, upgraded, trailers);
            headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let usual = [("connection", "keep-alive, X-Own"), ("keep-alive", "5"), ("x-own", "1"), ("a", "b")];
        assert_eq!(left(&usual, false, false), "a");
        let chunked = [("transfer-encoding", "chunked"), ("proxy-connection", "close"), ("trailer", "x")];
        assert_eq!(left(&chunked, false, false), "");
        assert_eq!(left(&chunked, false, true), "trailer");
        let switched = [("connection", "Upgrade"), ("upgrade", "websocket")];
        assert_eq!(left(&switched, false, false), "");
        assert_eq!(left(&switched, true, false), "connection upgrade");
        assert_eq!(
            left(&[("te", "x"), ("x-accel-redirect", "/y"), ("server", "z")], false, false),
            "te server"
        );
    }
}
