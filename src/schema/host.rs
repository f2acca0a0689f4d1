//! Host names and addresses, with or without a port, as Kong accepts and normalises them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A host name.
    Name,
}

/// A host and, if there is one, a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// What the host is.
    pub kind: HostKind,
    /// The host: IPv4 without leading zeros, IPv6 in full length and lower case without brackets, names as they are.
    pub host: String,
    /// The port.
    pub port: Option<u16>,
}

/// Reads `name`, `name:port`, `1.2.3.4`, `1.2.3.4:port`, `::1` or `[::1]:port`; the error is Kong's message.
pub fn parse_host(address: &str) -> Result<HostPort, String> {
    if address.bytes().filter(|byte| *byte == b':').count() > 1 {
        return ipv6(address);
    }
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let without_colon: String = address.chars().filter(|c| *c != ':').collect();
    if !without_colon.is_empty() && numeric(&without_colon) {
        return ipv4(address);
    }
    name(address)
}

const BAD_PORT: &str = "invalid port number";

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| BAD_PORT.to_owned())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn ipv4(address: &str) -> Result<HostPort, String> {
    let bad = || format!("invalid ipv4 address: {address}");
    let (host, number) = match address.split_once(':') {
        Some((host, number)) if is_digits(number) => (host, Some(number)),
        Some(_) => return Err(bad()),
        None => (address, None),
    };
    let mut octets = Vec::new();
    for octet in host.split('.') {
        if octet.len() > 3 || !is_digits(octet) {
            return Err(bad());
        }
        octets.push(octet.parse::<u8>().map_err(|_| bad())?);
    }
    let [a, b, c, d] = octets.as_slice() else { return Err(bad()) };
    Ok(HostPort {
        kind: HostKind::Ipv4,
        host: format!("{a}.{b}.{c}.{d}"),
        port: number.map(port).transpose()?,
    })
}

fn ipv6(address: &str) -> Result<HostPort, String> {
    let bad = || format!("invalid ipv6 address: {address}");
    let (host, number) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => match rest.strip_prefix(':') {
            Some(number) if is_digits(number) => (host, Some(number)),
            _ => return Err("invalid ipv6 address".to_owned()),
        },
        None => (address, None),
    };
    let parsed: Ipv6Addr = host.parse().map_err(|_| bad())?;
    // An embedded IPv4 address is not among the forms that Kong takes.
    if host.contains('.') {
        return Err(bad());
    }
    let groups: Vec<String> = parsed.segments().iter().map(|group| format!("{group:04x}")).collect();
    Ok(HostPort { kind: HostKind::Ipv6, host: groups.join(":"), port: number.map(port).transpose()? })
}

fn name(address: &str) -> Result<HostPort, String> {
    let bad = || format!("invalid hostname: {address}");
    let (host, number) = match address.rsplit_once(':') {
        Some((host, number)) if is_digits(number) => (host, Some(port(number)?)),
        _ => (address, None),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err(bad());
    }
    let last = host.split('.').count() - 1;
    let bad_segment = |(n, segment): (usize, &str)| segment.ends_with('-') || segment.is_empty() && n != last;
    if host.split('.').enumerate().any(bad_segment) {
        return Err(bad());
    }
    Ok(HostPort { kind: HostKind::Name, host: host.to_owned(), port: number })
}

/// Whether a text is an IPv4 or IPv6 address.
pub(super) fn is_ip(text: &str) -> bool {
    is_ipv4(text) || text.parse::<Ipv6Addr>().is_ok()
}

fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

/// Whether a text is an address or a range `address/bits`; `v4` takes IPv4 only.
pub(super) fn is_ip_or_cidr(text: &str, v4: bool) -> bool {
    let address = |text: &str| if v4 { is_ipv4(text) } else { is_ip(text) };
    let Some((ip, bits)) = text.split_once('/') else { return address(text) };
    let most = if is_ipv4(ip) { 32 } else { 128 };
    // The bits are written without leading zeros.
    address(ip) && bits.parse::<u8>().is_ok_and(|n| n <= most && n.to_string() == bits)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn addresses_are_normalised() {
        for (address, host, port) in [
            ("api.test", "api.test", None),
            ("api.test:8080", "api.test", Some(8080)),
            ("001.2.3.4:80", "1.2.3.4", Some(80)),
            ("::1", "0000:0000:0000:0000:0000:0000:0000:0001", None),
            ("[2001:DB8::1]:443", "2001:0db8:0000:0000:0000:0000:0000:0001", Some(443)),
            ("fqdn.test.", "fqdn.test.", None),
        ] {
            let parsed = parse_host(address).unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port), "{address}");
        }
    }

    #[test]
    fn faulty_addresses_say_why() {
        for (address, message) in [
            ("bad host", "invalid hostname: bad host"),
            ("a..b", "invalid hostname: a..b"),
            ("a-.b", "invalid hostname: a-.b"),
            ("1.2.3.256", "invalid ipv4 address: 1.2.3.256"),
            ("1.2.3.4:70000", BAD_PORT),
            ("x:y:z", "invalid ipv6 address: x:y:z"),
        ] {
            assert_eq!(parse_host(address).unwrap_err(), message);
        }
    }

    #[test]
    fn ranges_have_bounds() {
        assert!(is_ip_or_cidr("10.0.0.0/8", true) && is_ip_or_cidr("::/0", false));
        assert!(!is_ip_or_cidr("10.0.0.0/33", true) && !is_ip_or_cidr("::/0", true));
        assert!(!is_ip_or_cidr("10.0.0.0/08", false));
    }
}
