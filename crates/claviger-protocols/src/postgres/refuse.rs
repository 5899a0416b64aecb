//! Refusals in the client's own protocol, and the faults that end a session.

use bytes::Bytes;
use claviger_model::{Refusal, RefusalKind};

use super::frame::{Malformed, frame};

/// What a peer did that the session cannot outlive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The client broke the protocol.
    #[error("{0}")]
    Client(&'static str),
    /// The client asked for what is never let through.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The client's message exceeds a limit.
    #[error("a message of {len} bytes exceeds the gateway's limit of {limit}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The client must use TLS, or prove who it is in another way.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The upstream broke the protocol, or cannot serve the gateway.
    #[error("{0}")]
    Upstream(&'static str),
    /// The upstream refused the gateway's login with this code; its message may name the upstream's user, and is not shown.
    #[error("the upstream refused the gateway's login ({0})")]
    LoginRefused(String),
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Client("malformed message")
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let kind = match fault {
            Fault::Client(_) => RefusalKind::ProtocolViolation,
            Fault::Unsupported(_) => RefusalKind::Unsupported,
            Fault::TooLarge { .. } => RefusalKind::TooLarge,
            Fault::Unauthenticated(_) => RefusalKind::Unauthenticated,
            Fault::Upstream(_) | Fault::LoginRefused(_) => RefusalKind::UpstreamUnavailable,
        };
        Refusal::new(kind, fault.to_string())
    }
}

/// ErrorResponse that refuses one operation.
pub(super) fn error(refusal: &Refusal) -> Bytes {
    response(b"ERROR", code(refusal.kind), refusal)
}

/// ErrorResponse that ends the session. `served` tells a deadline of the login from one of a statement.
pub(super) fn fatal(refusal: &Refusal, served: bool) -> Bytes {
    let code = if refusal.kind == RefusalKind::TimedOut && !served { "08006" } else { code(refusal.kind) };
    response(b"FATAL", code, refusal)
}

fn response(severity: &[u8], code: &str, refusal: &Refusal) -> Bytes {
    let message = refusal.message.replace('\0', " ");
    frame(b'E', &[b"S", severity, b"\0V", severity, b"\0C", code.as_bytes(), b"\0M", message.as_bytes(), b"\0\0"])
}

/// The SQLSTATE (manual, appendix A).
fn code(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Unauthenticated => "28000",
        RefusalKind::NotPermitted => "42501",
        RefusalKind::UnknownConnection => "3D000",
        RefusalKind::Unsupported => "0A000",
        RefusalKind::ProtocolViolation => "08P01",
        RefusalKind::TooLarge => "54000",
        RefusalKind::TimedOut => "57014",
        RefusalKind::UpstreamUnavailable => "08006",
        RefusalKind::AuditUnavailable => "53100",
        RefusalKind::Terminated => "57P01",
        RefusalKind::Internal => "XX000",
    }
}
