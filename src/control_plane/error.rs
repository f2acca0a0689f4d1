//! What can go wrong with a control plane, and how users see it.

use crate::diagnostics::{Code, Diagnostic, codes};
use thiserror::Error as ThisError;

/// A request that did not do what it should. No variant holds a secret's text.
#[derive(Clone, Debug, ThisError, PartialEq, Eq)]
pub enum Error {
    /// No connection, or one that broke or stayed silent for too long.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// The gateway's address.
        address: String,
        /// What the network said.
        reason: String,
    },
    /// The gateway's certificate is not to be trusted.
    #[error("the certificate of {address} is not trusted: {reason}")]
    Certificate {
        /// The gateway's address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The gateway ended the TLS connection by an alert, such as for want of a client certificate.
    #[error("{address} refused the TLS connection: {reason}")]
    TlsRefused {
        /// The gateway's address.
        address: String,
        /// The alert's name.
        reason: String,
    },
    /// The credentials were refused (401 or 403).
    #[error("{address} refused the credentials: HTTP status {status}{}", colon(.message))]
    Unauthorized {
        /// The gateway's address.
        address: String,
        /// 401 or 403.
        status: u16,
        /// The gateway's words, if it gave any.
        message: String,
    },
    /// Konnect has no control plane, or the gateway no workspace, of this name.
    #[error("{address} has no {what} named '{name}'")]
    NoControlPlane {
        /// The gateway's address.
        address: String,
        /// `control plane` or `workspace`.
        what: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// The gateway answered with an error of its API.
    #[error("HTTP status {status}{}", quoted(.message))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The gateway's words, without secrets.
        message: String,
    },
    /// The retry budget ran out before the gateway answered with anything but a passing failure.
    #[error("{address} did not take it within the retry budget: {reason}")]
    GaveUp {
        /// The gateway's address.
        address: String,
        /// The last failure.
        reason: String,
    },
    /// The answer is not one of the API's: no JSON, too large, a missing member.
    #[error("{address} gave an unexpected answer: {reason}")]
    Unexpected {
        /// The gateway's address.
        address: String,
        /// What was wrong with it.
        reason: String,
    },
    /// The entity is not what the plan saw: somebody else changed or deleted it since.
    #[error("{what} was changed by somebody else while this run was under way")]
    Changed {
        /// The entity, as reports name it.
        what: String,
    },
    /// The client's own settings cannot be used: a bad address, an unreadable certificate.
    #[error("{0}")]
    Settings(String),
}

fn colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn quoted(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" (message: {message:?})") }
}

impl Error {
    /// The stable code of this sort of problem.
    pub fn code(&self) -> Code {
        match self {
            Error::Unreachable { .. } | Error::GaveUp { .. } => codes::UNREACHABLE,
            Error::Certificate { .. } | Error::TlsRefused { .. } => codes::UNREACHABLE,
            Error::Unauthorized { .. } => codes::UNAUTHORIZED,
            Error::Changed { .. } => codes::CONFLICT,
            Error::NoControlPlane { .. } => codes::NO_CONTROL_PLANE,
            Error::Refused { .. } => codes::REFUSED_REQUEST,
            Error::Unexpected { .. } => codes::UNEXPECTED_ANSWER,
            Error::Settings(_) => codes::USAGE,
        }
    }

    /// The problem as users see it.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::error(self.code(), self.to_string())
    }
}
