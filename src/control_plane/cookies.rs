//! Cookies from a file in Netscape's format, as curl and browsers' exports write it. No cookie is written back.

use super::Error;
use reqwest::Url;
use reqwest::cookie::{CookieStore, Jar};
use reqwest::header::HeaderValue;
use std::time::{SystemTime, UNIX_EPOCH};

/// The cookies for one address, whatever name requests go by because of TLS.
pub(super) struct Cookies {
    jar: Jar,
    address: Url,
}

impl Cookies {
    /// Those that a file's text describes.
    pub fn of(text: &str, address: &Url) -> Result<Self, Error> {
        Ok(Cookies { jar: jar(text)?, address: address.clone() })
    }

    fn place(&self, url: &Url) -> Url {
        let mut place = self.address.clone();
        place.set_path(url.path());
        place
    }
}

impl CookieStore for Cookies {
    fn set_cookies(&self, headers: &mut dyn Iterator<Item = &HeaderValue>, url: &Url) {
        self.jar.set_cookies(headers, &self.place(url));
    }

    fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        self.jar.cookies(&self.place(url))
    }
}

/// The jar that a file's text describes. Expired cookies are left out.
fn jar(text: &str) -> Result<Jar, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let jar = Jar::default();
    for (index, line) in text.lines().enumerate() {
        let (line, http_only) = match line.strip_prefix("#HttpOnly_") {
            Some(rest) => (rest, true),
            None => (line, false),
        };
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let malformed = || {
            Error::Settings(format!(
                "line {} of the cookie file does not have seven columns set apart by tabs",
                index + 1
            ))
        };
        let columns: Vec<&str> = line.split('\t').collect();
        let [domain, subdomains, path, secure, expires, name, value] = columns.as_slice() else {
            return Err(malformed());
        };
        let expires: u64 = expires.trim().parse().map_err(|_| malformed())?;
        if expires != 0 && expires <= now {
            continue;
        }
        let host = domain.trim_start_matches('.');
        let secure = secure.eq_ignore_ascii_case("true");
        let url = Url::parse(&format!("{}://{host}/", if secure { "https" } else { "http" }))
            .map_err(|_| malformed())?;
        let mut cookie = format!("{name}={value}; Path={path}");
        if subdomains.eq_ignore_ascii_case("true") {
            cookie.push_str(&format!("; Domain={host}"));
        }
        if secure {
            cookie.push_str("; Secure");
        }
        if http_only {
            cookie.push_str("; HttpOnly");
        }
        jar.add_cookie_str(&cookie, &url);
    }
    Ok(jar)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cookie_is_sent_to_its_domain_only() {
        let jar = jar("# a comment\n\n.kong.test\tTRUE\t/\tFALSE\t0\tsession\tabc\n\
                       #HttpOnly_kong.test\tFALSE\t/\tFALSE\t4102444800\tother\txyz\n\
                       kong.test\tFALSE\t/\tFALSE\t1\told\tgone\n")
        .unwrap();
        let sent = |url: &str| jar.cookies(&Url::parse(url).unwrap()).map(|v| v.to_str().unwrap().to_owned());
        let here = sent("http://kong.test/services").unwrap();
        assert!(
            here.contains("session=abc") && here.contains("other=xyz") && !here.contains("old"),
            "{here}"
        );
        assert_eq!(sent("http://admin.kong.test/").as_deref(), Some("session=abc"));
        assert_eq!(sent("http://elsewhere.test/"), None);
    }

    #[test]
    fn a_line_of_another_shape_is_an_error_that_names_it() {
        let error = jar("\nkong.test TRUE / FALSE 0 a b\n").err().unwrap();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
