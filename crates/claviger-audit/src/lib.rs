//! What happened: an append-only Merkle log of facts, and sealed recordings of content.
//!
//! The *log* is JSON Lines in canonical form (RFC 8785), one leaf a line, hashed as RFC 6962 says, with signed checkpoints in
//! the C2SP form. A leaf holds header facts only: who, what kind, which decision, how it ended, how much. Statement text and
//! values are in the *recording*, encrypted before they touch a disk; a leaf commits to the ciphertext only, so that keys can
//! be destroyed without changing the tree, and nobody can guess a value from a digest.
//!
//! Everything here is pure: bytes in, bytes out. Files, clocks and randomness are the store's.

mod canonical;
pub mod checkpoint;
pub mod hex;
mod leaf;
mod ledger;
mod line;
pub mod merkle;
pub mod recording;
pub mod verify;

pub use canonical::{MAX_CLOSING_LEAF, MAX_LEAF, MAX_OUTCOME_LEAF};
pub use leaf::{
    AccessEvent, AccessLeaf, AdminLeaf, ApprovalEvent, ApprovalLeaf, BootLeaf, ChunkRef, CloseReason, DecisionFacts, EffectFacts,
    GapLeaf, IntentLeaf, Leaf, LeafKind, LeafType, OutcomeLeaf, OutcomeStatus, RecoveryLeaf, RefusalsLeaf, RequestLeaf,
    SessionCloseLeaf, SessionOpenLeaf, SessionRefusedLeaf, StatementFacts, TokenFacts, TxEndLeaf, TxResult, Verdict,
};
pub use ledger::{Batch, Ledger, LedgerError, Position, SessionRecorder};
pub use line::{Line, LineError};
