//! `ip-restriction`: only clients of some addresses, or all but those.

use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin, status};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use http::StatusCode;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "ip-restriction", priority: 990, build };

struct IpRestriction {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    status: StatusCode,
    message: Option<Box<str>>,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let nets = |field: &str| {
        let net = |text: &str| {
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| ConfigError::new(field, format!("{text} is no address or range")))
        };
        instance.texts(field).iter().map(|text| net(text)).collect::<Result<Vec<_>, _>>()
    };
    Ok(Arc::new(IpRestriction {
        allow: nets("allow")?,
        deny: nets("deny")?,
        status: status("status", instance.integer("status").unwrap_or(403))?,
        message: instance.text("message").map(Into::into),
    }))
}

#[async_trait]
impl Plugin for IpRestriction {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let ip = context.inbound.client_ip;
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&ip));
        if !within(&self.deny) && (self.allow.is_empty() || within(&self.allow)) {
            return Ok(Flow::Continue);
        }
        let usual = format!("IP address not allowed: {ip}");
        Ok(Flow::Respond(context.error(self.status, self.message.as_deref().unwrap_or(&usual))))
    }
}
