//! What is kept on disk.
//!
//! [`Store`] is an SQLite database, `<data>/claviger.db`: registered principals and delegations, the digests of issued tokens,
//! revocations, consents that are not used, what webhooks are still to tell, what the names of labels stand for, what has been used of budgets
//! and seen of what is classified, the list of signing keys and an index of sessions. The command line edits the same file beside a running
//! gateway, so [`Store::watch`] sees what other processes change. The text of a token and the private half of a key are never
//! in the database.
//!
//! [`log`] is the audit log, in files. It is the truth about what happened; the index of sessions only makes it quick to find.

mod acts;
mod bindings;
mod consents;
mod database;
mod error;
mod grants;
mod issuer_keys;
pub mod log;
mod memories;
mod outbox;
mod principals;
mod queue;
mod secret_keys;
mod sessions;
mod tokens;
mod watch;

#[cfg(test)]
mod tests;

pub use acts::NotedAct;
pub use bindings::StoredBinding;
pub use consents::StoredConsent;
pub use database::Store;
pub use error::StoreError;
pub use issuer_keys::IssuerKey;
pub use memories::{MemoryKey, StoredMemory};
pub use outbox::{MessageApproval, MessageSubject, MessagesWaiting, NewMessage, StoredMessage};
pub use principals::{Delegation, NewPrincipal, StoredPrincipal};
pub use sessions::{SessionEnd, SessionFilter, StoredSession};
pub use tokens::StoredToken;
