//! Why something was not done, in words that the client may see.

use std::fmt;

/// A refusal, ready to be put into the client's own protocol.
///
/// The message is for the client: it never carries a secret, a token, statement text or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal, for the protocol's error code.
    pub kind: RefusalKind,
    /// One plain sentence without a final full stop.
    pub message: String,
    /// More of it, for whoever looks into it: what determined it, and what names it in the record.
    pub detail: Option<String>,
}

impl Refusal {
    /// A refusal of a kind, with its message.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Whose fault a refusal is, and so which error code it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The client did not prove who it is, or is no longer who it proved to be.
    Unauthenticated,
    /// Policy says no.
    NotPermitted,
    /// What the client asks cannot be understood.
    NotUnderstood,
    /// The client names a table that there is not.
    UndefinedTable,
    /// The client names a column that there is not.
    UndefinedColumn,
    /// The client names a schema that there is not.
    UndefinedSchema,
    /// The client names a prepared statement that there is not.
    UndefinedStatement,
    /// The client names a cursor that there is not.
    UndefinedCursor,
    /// What the client has prepared is not what it would be now.
    PlanChanged,
    /// The client's transaction has failed, and it has not ended it.
    TransactionFailed,
    /// Something that deciding depends on is not known at the moment.
    Undecidable,
    /// A text is in an encoding in which it cannot be understood.
    Encoding,
    /// The client named a connection that does not exist here.
    UnknownConnection,
    /// The client asked for what the gateway never lets through.
    Unsupported,
    /// The client broke its protocol.
    ProtocolViolation,
    /// The client brought a setting that the upstream does not take.
    InvalidSetting,
    /// A limit of the gateway was exceeded.
    TooLarge,
    /// The client took too long.
    TimedOut,
    /// The upstream cannot be reached or refuses the gateway.
    UpstreamUnavailable,
    /// The upstream took too long.
    UpstreamTimedOut,
    /// What is done could not be recorded, so it was not done.
    AuditUnavailable,
    /// An administrator ended the session, or the gateway is stopping.
    Terminated,
    /// There are as many clients as there may be.
    TooMany,
    /// The client did nothing for too long.
    Idle,
    /// The client kept a transaction open and did nothing in it for too long.
    IdleInTransaction,
    /// The gateway itself failed.
    Internal,
}
