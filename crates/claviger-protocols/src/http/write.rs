//! What the gateway itself says.

use bytes::Bytes;
use claviger_model::{Refusal, RefusalKind};
use serde_json::json;

use super::fields::field;
use super::head::METHODS;

/// Tells a client that its content is wanted.
pub(super) const CONTINUE: Bytes = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");

/// What is known of whoever is to be told, so that it understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// Whether it wants no content.
    pub(super) is_head: bool,
    /// Whether it speaks Anthropic's API. All others get the form of OpenAI's errors, which most SDKs read.
    pub(super) is_anthropic: bool,
}

/// A refusal as a response.
pub(super) fn refusal(refusal: &Refusal, status: Option<u16>, manner: Manner, closes: bool) -> Bytes {
    let (usual, code) = status_of(refusal.kind);
    let status = status.unwrap_or(usual);
    let message = match &refusal.detail {
        Some(detail) => format!("{} ({detail})", refusal.message),
        None => refusal.message.clone(),
    };
    let error = match manner.is_anthropic {
        true => json!({ "type": "error", "error": { "type": type_of(status), "message": message } }),
        false => json!({ "error": { "message": message, "type": type_of(status), "param": null, "code": code } }),
    };
    let body = error.to_string();
    let mut out = format!("HTTP/1.1 {status} {}\r\n", reason(status)).into_bytes();
    field(&mut out, "content-type", b"application/json");
    field(&mut out, "content-length", body.len().to_string().as_bytes());
    match status {
        401 => field(&mut out, "www-authenticate", b"Bearer realm=\"claviger\""),
        405 => field(&mut out, "allow", METHODS.join(", ").as_bytes()),
        _ => {}
    }
    if closes {
        field(&mut out, "connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    if !manner.is_head {
        out.extend_from_slice(body.as_bytes());
    }
    out.into()
}

fn status_of(kind: RefusalKind) -> (u16, &'static str) {
    match kind {
        RefusalKind::Unauthenticated => (401, "unauthenticated"),
        RefusalKind::NotPermitted => (403, "not_permitted"),
        RefusalKind::NotUnderstood | RefusalKind::Encoding => (400, "not_understood"),
        RefusalKind::UndefinedTable
        | RefusalKind::UndefinedColumn
        | RefusalKind::UndefinedSchema
        | RefusalKind::UndefinedStatement
        | RefusalKind::PlanChanged
        | RefusalKind::UndefinedCursor => (404, "undefined"),
        RefusalKind::TransactionFailed => (409, "transaction_failed"),
        RefusalKind::Undecidable => (503, "undecidable"),
        RefusalKind::UnknownConnection => (404, "unknown_connection"),
        RefusalKind::Unsupported => (501, "unsupported"),
        RefusalKind::ProtocolViolation => (400, "protocol_violation"),
        RefusalKind::InvalidSetting => (400, "invalid_setting"),
        RefusalKind::TooLarge => (413, "too_large"),
        RefusalKind::TimedOut => (408, "timed_out"),
        RefusalKind::UpstreamUnavailable => (502, "upstream_unavailable"),
        RefusalKind::UpstreamTimedOut => (504, "upstream_timed_out"),
        RefusalKind::AuditUnavailable => (503, "audit_unavailable"),
        RefusalKind::Terminated => (503, "terminated"),
        RefusalKind::TooMany => (429, "too_many"),
        RefusalKind::Idle | RefusalKind::IdleInTransaction => (408, "idle"),
        RefusalKind::Internal => (500, "internal"),
    }
}

fn type_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}
