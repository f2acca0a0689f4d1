//! The request log: one JSON line a request, without bodies and without values that could be secret.

use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Query arguments whose values are shown: none of them can hold a secret.
const SHOWN: [&str; 8] = [
    "size",
    "offset",
    "tags",
    "page[size]",
    "page[number]",
    "page[after]",
    "filter[name][eq]",
    "filter[name]",
];

/// An open log.
#[derive(Debug)]
pub(in crate::gateway) struct RequestLog(Mutex<File>);

/// What a line tells of a request.
#[derive(Serialize)]
pub(in crate::gateway) struct Line<'a> {
    /// `admin` or `konnect`.
    pub api: &'a str,
    /// The request's method.
    pub method: &'a str,
    /// The path, secrets left out.
    pub path: &'a str,
    /// The query, secrets left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<&'a str>,
    /// The status answered.
    pub status: u16,
    /// The rule of the fault that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'a str>,
    /// The request body's length in bytes, as announced.
    pub received: u64,
    /// The answer's length in bytes.
    pub sent: u64,
    /// From the request's headers to the answer.
    pub milliseconds: f64,
}

impl RequestLog {
    /// Opens a file to append to, readable by its owner only.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map(|file| RequestLog(Mutex::new(file)))
    }

    /// Writes a line. A full disk must not stop the gateway, so that errors are dropped.
    pub fn write(&self, line: Line<'_>) {
        #[derive(Serialize)]
        struct Timed<'a> {
            time: f64,
            #[serde(flatten)]
            line: Line<'a>,
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        if let Ok(mut text) = serde_json::to_vec(&Timed { time, line }) {
            text.push(b'\n');
            let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&text);
        }
    }
}

/// A query with the values of unknown arguments left out.
pub(super) fn shown_query(query: &str) -> String {
    let shown = query.split('&').map(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let plain = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        if SHOWN.contains(&&*plain) || !pair.contains('=') { pair.to_owned() } else { format!("{name}=***") }
    });
    shown.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_arguments_are_masked() {
        assert_eq!(shown_query("size=5&custom_id=hush&x&tags=a%2Cb"), "size=5&custom_id=***&x&tags=a%2Cb");
    }
}
