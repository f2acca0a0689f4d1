//! AWS Signature Version 4, as Bedrock asks for it.

use crate::value::Secret;
use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// AWS credentials.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: Secret,
    /// The secret access key.
    pub secret_access_key: Secret,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
}

/// What is signed. Names of headers are in lower case.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as it goes onto the wire.
    pub path: &'a str,
    /// Name and value of each query parameter, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// The headers that are signed, `host` among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// The region: `us-east-1` ...
    pub region: &'a str,
    /// The service: `bedrock` ...
    pub service: &'a str,
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// The headers that a signed request carries besides the signed ones: names in lower case, and values.
pub fn sign(credentials: &Credentials, request: &Signed<'_>) -> Vec<(&'static str, String)> {
    let stamp = timestamp(request.now);
    let day = stamp.get(..8).unwrap_or_default();
    let token = credentials.session_token.as_ref().map(|token| token.expose_text().to_owned());
    let mut headers: Vec<(&str, &str)> = request.headers.to_vec();
    headers.push(("x-amz-date", &stamp));
    headers.extend(token.as_deref().map(|token| ("x-amz-security-token", token)));
    headers.sort_unstable();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = canonical(request, &headers, &names);
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", HEXLOWER.encode(&Sha256::digest(canonical)));
    let secret = format!("AWS4{}", credentials.secret_access_key.expose_text());
    let key = [day, request.region, request.service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| mac(&key, part.as_bytes()));
    let signature = HEXLOWER.encode(&mac(&key, to_sign.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key_id.expose_text()
    );
    let mut result = vec![("authorization", authorization), ("x-amz-date", stamp.clone())];
    result.extend(token.map(|token| ("x-amz-security-token", token)));
    result
}

fn canonical(request: &Signed<'_>, headers: &[(&str, &str)], names: &str) -> String {
    let mut query: Vec<String> = request
        .query
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false)))
        .collect();
    query.sort_unstable();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{}",
        request.method,
        encode(request.path, true),
        query.join("&"),
        HEXLOWER.encode(&Sha256::digest(request.body))
    )
}

/// Percent-encoding as AWS wants it: everything but letters, digits and `-._~`. The path is encoded again as it
/// goes onto the wire.
fn encode(text: &str, path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            b'/' if path => out.push('/'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        }
        // HMAC takes keys of any length.
        Err(_) => Vec::new(),
    }
}

/// `20150830T123600Z`.
fn timestamp(now: u64) -> String {
    let (days, seconds) = (now / 86_400, now % 86_400);
    // Days since 0000-03-01, so that the leap day ends a year; then eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Origin;

    fn example() -> Credentials {
        let secret = |text: &str| Secret::text(text, Origin::ControlPlane);
        Credentials {
            access_key_id: secret("AKIDEXAMPLE"),
            secret_access_key: secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        }
    }

    #[test]
    fn dates_are_written_as_aws_wants_them() {
        assert_eq!(timestamp(0), "19700101T000000Z");
        assert_eq!(timestamp(951_782_400), "20000229T000000Z");
        assert_eq!(timestamp(1_440_938_160), "20150830T123600Z");
    }

    /// The example of AWS's own documentation: a list of IAM users.
    #[test]
    fn the_published_example_gives_the_published_signature() {
        let headers = sign(
            &example(),
            &Signed {
                method: "GET",
                path: "/",
                query: &[("Action", "ListUsers"), ("Version", "2010-05-08")],
                headers: &[
                    ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                    ("host", "iam.amazonaws.com"),
                ],
                body: b"",
                region: "us-east-1",
                service: "iam",
                now: 1_440_938_160,
            },
        );
        assert_eq!(
            headers.first().map(|(_, value)| value.as_str()),
            Some(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date, \
                 Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
            )
        );
    }

    /// `get-vanilla` of AWS's test suite.
    #[test]
    fn the_test_suites_plain_request_gives_its_signature() {
        let headers = sign(
            &example(),
            &Signed {
                method: "GET",
                path: "/",
                query: &[],
                headers: &[("host", "example.amazonaws.com")],
                body: b"",
                region: "us-east-1",
                service: "service",
                now: 1_440_938_160,
            },
        );
        assert!(headers.iter().any(|(_, value)| {
            value.ends_with("Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
        }));
    }
}
