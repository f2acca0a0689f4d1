//! Bodies of `multipart/form-data`: read into parts, edited by name, written again.

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use std::convert::Infallible;

/// The most parts that are read.
const MOST_PARTS: usize = 1_000;

/// A whole form.
#[derive(Debug)]
pub struct Multipart {
    boundary: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: String,
    disposition: Vec<u8>,
    content_type: Option<Vec<u8>>,
    data: Bytes,
}

impl Multipart {
    /// Reads a body by its `Content-Type`; `None` if it is no form, or one of too many parts.
    pub async fn read(content_type: &str, data: Bytes) -> Option<Self> {
        let boundary = multer::parse_boundary(content_type).ok()?;
        let stream = futures_util::stream::once(std::future::ready(Ok::<_, Infallible>(data)));
        let mut read = multer::Multipart::new(stream, boundary.clone());
        let mut parts = Vec::new();
        while let Some(field) = read.next_field().await.ok()? {
            if parts.len() == MOST_PARTS {
                return None;
            }
            let header = |name| field.headers().get(name).map(|value| value.as_bytes().to_vec());
            parts.push(Part {
                name: field.name().unwrap_or_default().to_owned(),
                disposition: header(CONTENT_DISPOSITION).unwrap_or_default(),
                content_type: header(CONTENT_TYPE),
                data: field.bytes().await.ok()?,
            });
        }
        Some(Multipart { boundary, parts })
    }

    /// The value of the first part of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.parts.iter().find(|part| part.name == name).map(|part| &*part.data)
    }

    /// Takes all parts of this name out.
    pub fn remove(&mut self, name: &str) {
        self.parts.retain(|part| part.name != name);
    }

    /// Adds a part at the end, in place of others of this name.
    pub fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        self.remove(name);
        let quoted = name.replace(['"', '\r', '\n'], "_");
        self.parts.push(Part {
            name: name.to_owned(),
            disposition: format!("form-data; name=\"{quoted}\"").into_bytes(),
            content_type: None,
            data: value.into(),
        });
    }

    /// The body, with the boundary that it came with.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.parts {
            out.extend_from_slice(format!("--{}\r\nContent-Disposition: ", self.boundary).as_bytes());
            out.extend_from_slice(&part.disposition);
            if let Some(kind) = &part.content_type {
                out.extend_from_slice(b"\r\nContent-Type: ");
                out.extend_from_slice(kind);
            }
            out.extend_from_slice(b"\r\n\r\n");
            out.extend_from_slice(&part.data);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_are_edited_by_name() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk1\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\
                    Content-Type: text/plain\r\n\r\nline\r\n\r\nline\r\n--b--\r\n";
        let mut form = Multipart::read("multipart/form-data; boundary=b", body.into()).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&form.write()), body);
        assert_eq!(form.get("key"), Some(&b"k1"[..]));
        form.remove("key");
        form.set("new", "v");
        let text = String::from_utf8(form.write()).unwrap();
        assert!(!text.contains("k1") && text.contains("filename=\"a.txt\""), "{text}");
        assert!(text.ends_with("name=\"new\"\r\n\r\nv\r\n--b--\r\n"), "{text}");
        assert!(Multipart::read("multipart/form-data", "".into()).await.is_none());
        assert!(Multipart::read("multipart/form-data; boundary=b", "no parts".into()).await.is_none());
    }
}
