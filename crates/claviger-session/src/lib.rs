//! The one pipeline that every operation of every protocol takes:
//!
//! ```text
//! accept -> authenticate -> [ decide -> (hold) -> intent -> forward -> outcome -> release ]* -> close
//! ```
//!
//! A [`Pipeline`] stands between a [`Protocol`](claviger_protocols::Protocol), which knows bytes, and a driver, which knows
//! sockets. It knows who asks, asks policy, writes the record, and is the only maker of [`Admission`]s, without which no
//! operation's bytes can leave. It owns no socket and never blocks: what must be waited for is polled.

mod access;
mod admission;
mod approvals;
mod asides;
mod budget;
mod catalogs;
mod connection;
mod decide;
mod desk;
mod gateway;
mod history;
mod masking;
mod memory;
mod meters;
mod pipeline;
mod record;
mod refusals;
mod registry;
mod release;
mod routing;
mod seats;
mod seen;
mod understanding;
mod usage;

pub use access::{
    Access, AccessAsk, AccessError, AccessRules, Grant, GrantStanding, Grants, GrantsFailed, InForce, Revoked, Steady,
};
pub use admission::Admission;
pub use approvals::{
    Approval, Approvals, Asker, Channel, Consent, Consents, ConsentsFailed, Locked, Need, ReviewError, ReviewGroup, Reviewing,
    Rows, Said, Standing, View, Vote,
};
pub use asides::{Answered, Answers, Asides, Inquiry, Turn, Unanswered};
pub use budget::BudgetReading;
pub use catalogs::{CatalogKeeper, Catalogs, FreshSnapshot, Snapshot};
pub use connection::{Connection, ContentRules, CredentialRef, Sent, TlsIdentity, UpstreamTlsPolicy};
pub use decide::{ByPolicy, Case, Decider, Decision, Hold};
pub use desk::Desk;
pub use gateway::{Bounds, Connections, Deadlines, Gateway, Providers, Random, Rules, Services};
pub use history::Past;
pub use masking::{Detecting, FieldPattern, Fields, Fit, InvalidField, fits};
pub use memory::{Memory, MemoryOf};
pub use meters::{ConnectionMeters, ConnectionReading, IssuerKeys, Meters};
pub use pipeline::{Arrival, CancelTarget, Pipeline, Step, TlsFacts};
pub use registry::{Registry, SessionInfo, SessionObserver};
pub use release::{FilterBudget, Release};
pub use routing::Route;
pub use understanding::{Text, Understanding};
pub use usage::{Budget, Holder, MICROS, Measure, Price, UsageRow, UsageRules, Used};
