//! The nouns of Claviger.
//!
//! Every other crate speaks in these words. Nothing here does anything: there is no socket, clock, file or policy in this
//! crate, and it depends on nothing of ours. A value of one of these types is valid by construction.

mod chain;
mod connection;
mod disclosure;
mod histogram;
mod id;
mod meaning;
mod network;
mod refusal;
mod secret;
mod time;
mod tokens;

pub use chain::{Chain, EmptyChain, Principal, PrincipalKey, PrincipalKind};
pub use connection::{ConnectionName, Durability, InvalidConnectionName, Mode, ResponseRecording, UnknownWord};
pub use disclosure::{
    Carried, Cell, Control, CopyFormat, Disclosure, Insertion, MaskPlan, Masked, MaskedColumn, Order, Output, StatementMask, Sum,
};
pub use histogram::{Histogram, Tally};
pub use id::{ApprovalId, BootId, InvalidId, OpId, SessionId, TxId};
pub use meaning::{Column, Definition, Effect, Endpoint, Hazard, Labels, Meaning, Object, Routine, Table, TableKind, Verb};
pub use network::{InvalidNetwork, Network};
pub use refusal::{Refusal, RefusalKind};
pub use secret::Secret;
pub use time::Timestamp;
pub use tokens::Tokens;
