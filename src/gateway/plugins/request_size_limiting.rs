//! `request-size-limiting`: larger request bodies are refused.

use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::{BodyError, Context};
use async_trait::async_trait;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "request-size-limiting", priority: 951, build };

struct RequestSizeLimiting {
    /// In bytes.
    allowed: usize,
    require_length: bool,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let unit: usize = match instance.text("size_unit") {
        Some("bytes") => 1,
        Some("kilobytes") => 1 << 10,
        _ => 1 << 20,
    };
    let size = usize::try_from(instance.integer("allowed_payload_size").unwrap_or(128)).unwrap_or(0);
    Ok(Arc::new(RequestSizeLimiting {
        allowed: size.saturating_mul(unit),
        require_length: instance.flag("require_content_length"),
    }))
}

#[async_trait]
impl Plugin for RequestSizeLimiting {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let headers = &context.inbound.headers;
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let too_large = match length {
            Some(length) => length > self.allowed as u64,
            None if self.require_length && !headers.contains_key(TRANSFER_ENCODING) => {
                let message = "A valid Content-Length header is required";
                return Ok(Flow::Respond(context.error(StatusCode::LENGTH_REQUIRED, message)));
            }
            None => match context.request_body(self.allowed).await {
                Ok(_) => false,
                Err(BodyError::TooLarge { .. }) => true,
                Err(error) => return Err(error.into()),
            },
        };
        if !too_large {
            return Ok(Flow::Continue);
        }
        let waits = context.inbound.headers.get(EXPECT);
        let waits = waits.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let status = if waits { StatusCode::EXPECTATION_FAILED } else { StatusCode::PAYLOAD_TOO_LARGE };
        Ok(Flow::Respond(context.error(status, "Request size limit exceeded")))
    }
}
