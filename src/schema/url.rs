//! URLs taken apart as Kong takes them apart: leniently, by position.

/// The parts of a URL; `None` for what it does not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub scheme: Option<String>,
    pub host: Option<String>,
    pub port: Option<String>,
    pub path: Option<String>,
    pub fragment: Option<String>,
}

/// Never fails: what is no URL becomes a path.
pub(super) fn parse(url: &str) -> Parts {
    let mut parts = Parts::default();
    let mut rest = url;
    if let Some((scheme, after)) = rest.split_once(':')
        && scheme.starts_with(|c: char| c.is_ascii_alphanumeric())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    {
        parts.scheme = Some(scheme.to_owned());
        rest = after;
    }
    let mut authority = None;
    if let Some(after) = rest.strip_prefix("//") {
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (found, after) = after.split_at(end);
        authority = Some(found);
        rest = after;
    }
    if let Some((before, fragment)) = rest.split_once('#') {
        parts.fragment = Some(fragment.to_owned());
        rest = before;
    }
    // A query and parameters end the path.
    let end = rest.find(['?', ';']).unwrap_or(rest.len());
    let (path, _) = rest.split_at(end);
    if !path.is_empty() {
        parts.path = Some(path.to_owned());
    }
    if let Some(authority) = authority {
        let host = authority.split_once('@').map_or(authority, |(_, host)| host);
        let host = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                parts.port = Some(port.to_owned());
                host
            }
            _ => host,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if !bare.is_empty() {
            parts.host = Some(bare.to_owned());
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(part: &str) -> Option<String> {
        Some(part.to_owned())
    }

    #[test]
    fn a_url_has_its_parts() {
        let parts = parse("https://user:pw@api.test:8443/v1/x;p?q=1#top");
        assert_eq!(
            parts,
            Parts {
                scheme: text("https"),
                host: text("api.test"),
                port: text("8443"),
                path: text("/v1/x"),
                fragment: text("top"),
            }
        );
        assert_eq!(parse("http://[::1]:80").host, text("::1"));
        assert_eq!(parse("http://[::1]").port, None);
    }

    #[test]
    fn what_is_no_url_is_a_path() {
        assert_eq!(parse("not a url"), Parts { path: text("not a url"), ..Parts::default() });
        assert_eq!(parse(""), Parts::default());
    }
}
