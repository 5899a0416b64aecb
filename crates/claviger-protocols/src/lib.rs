//! Wire protocols, sans-io, behind one contract.
//!
//! A [`Protocol`] is both halves of one proxied connection: what the client says, what the upstream says, and what the gateway
//! says to each. It turns bytes into [`Event`]s and [`Reply`]s into bytes. It knows no socket, clock, policy, store or record.
//!
//! The rules that hold for every protocol, and that the conformance suite checks over every entry of [`PROTOCOLS`]:
//!
//! - any split of the input gives the same events;
//! - nothing that belongs to an operation reaches the upstream before the operation is admitted;
//! - an operation's completion does not reach the client before its outcome is released;
//! - a refused operation leaves a usable session, in the state in which a server's own error would have left it;
//! - a client message that is not understood is refused; declared lengths are checked before anything is kept;
//! - arbitrary bytes never panic and never grow a buffer past its limit.

mod content;
mod contract;
mod credential;
pub mod http;
mod masking;
mod options;
pub mod postgres;
pub mod proxied;

pub use contract::{
    Access, Admitted, Awaited, BackendKey, Cancel, ChannelBinding, Closed, Commit, Event, Exchange, Forward, Notice, Operation,
    Outcome, Probe, ProbeId, Protocol, Question, Recorded, Reply, Request, Shown, Side, StatementResult, Status, TransactionEnd,
    TransactionResult, Transmit, Types, UpstreamLogin, UpstreamTls,
};

pub use content::{Content, Said};
pub use credential::{Ask, Auth, Credential, Login};
pub use masking::{Look, Masker, Slot};
pub use options::{Limits, ProtocolEntry, ProtocolOptions};

/// Every protocol that byte-stream listeners speak. Config kinds, default ports, help texts and the conformance suite derive
/// from this list; a new protocol is one directory and one line here.
pub const PROTOCOLS: &[ProtocolEntry] = &[postgres::ENTRY, http::ENTRY];

/// The protocol of this kind, for one session. `None` for a kind that is not in [`PROTOCOLS`].
pub fn open<A: Send + 'static>(kind: &str, options: ProtocolOptions) -> Option<Box<dyn Protocol<A>>> {
    match kind {
        "postgres" => Some(Box::new(postgres::Postgres::new(options))),
        "http" => Some(Box::new(http::Http::new(options))),
        _ => None,
    }
}

/// A session of this kind that has no client, on which the gateway asks with [`Reply::Probe`]. It waits for
/// [`Reply::Authenticated`]. `None` for a kind in which there is nothing to ask.
pub fn open_own<A: Send + 'static>(kind: &str, limits: Limits) -> Option<Box<dyn Protocol<A>>> {
    match kind {
        "postgres" => Some(Box::new(postgres::Postgres::without_client(limits))),
        _ => None,
    }
}
