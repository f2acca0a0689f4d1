//! Keeps web pages from driving the control-plane APIs through a browser on the same machine.
//!
//! A page can make a browser send requests to loopback addresses, straight (told by `Origin` and `Sec-Fetch-Site`) or
//! through a host name that it makes point there (told by `Host`). Tools send neither.

use super::Reply;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, StatusCode, Uri};
use std::net::{IpAddr, SocketAddr};

/// Who may call an API, by what a browser tells of a request's origin.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct Guard {
    /// The API listens on loopback only, so that only loopback's names can be meant.
    local: bool,
}

impl Guard {
    /// The guard of an API that listens here.
    pub fn of(address: SocketAddr) -> Self {
        Guard { local: address.ip().is_loopback() }
    }

    /// The answer to a request that a web page may have sent.
    pub fn refusal(self, headers: &HeaderMap) -> Option<Reply> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(HOST.as_str()).and_then(|host| host.parse::<Uri>().ok());
        let host_name = host.as_ref().and_then(Uri::host).unwrap_or_default();
        if self.local && !is_local(host_name) {
            return Some(refuse("the Host header names another machine"));
        }
        if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
            return Some(refuse("requests from web pages are not answered"));
        }
        let origin = headers.get(ORIGIN)?;
        let own = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
        let same = own.is_some() && own == text(HOST.as_str());
        (!same).then(|| refuse("requests from web pages are not answered"))
    }
}

/// Names and addresses that can only mean this machine.
fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        // A page cannot make a browser put an address there that it did not connect to.
        Ok(_) => true,
        Err(_) => bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost"),
    }
}

fn refuse(reason: &str) -> Reply {
    Reply::message(StatusCode::FORBIDDEN, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn refused(local: bool, headers: &[(&'static str, &'static str)]) -> bool {
        let map = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Guard { local }.refusal(&map).is_some()
    }

    #[test]
    fn tools_pass_and_pages_do_not() {
        for host in ["127.0.0.1:8001", "localhost:8001", "[::1]:8001", "kong.localhost", "10.1.2.3"] {
            assert!(!refused(true, &[("host", host)]), "{host}");
        }
        assert!(refused(true, &[("host", "rebound.example:8001")]));
        assert!(refused(true, &[]));
        assert!(!refused(false, &[("host", "kong.internal:8001")]));
        assert!(refused(false, &[("host", "kong.internal"), ("origin", "https://evil.example")]));
        assert!(refused(true, &[("host", "localhost:8001"), ("origin", "null")]));
        assert!(refused(true, &[("host", "localhost:8001"), ("sec-fetch-site", "cross-site")]));
        assert!(!refused(true, &[("host", "localhost:8001"), ("origin", "http://localhost:8001")]));
    }
}
