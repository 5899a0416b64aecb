//! The port through which the session pipeline writes the record. The store implements it over files.

use std::future::Future;
use std::pin::Pin;

use claviger_model::{OpId, SessionId};

use crate::Leaf;
use crate::leaf::ChunkRef;

/// A place in the log: how many leaves come before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// Why the record could not be written. Nothing may be admitted while it cannot.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// There is no room; admission resumes when there is.
    #[error("the audit storage is full")]
    Full,
    /// The storage failed; a failed flush is never retried, so the gateway must be restarted.
    #[error("the audit storage failed")]
    Failed,
}

/// What is appended together: sealed chunks, and the leaves that refer to them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// For the recording.
    pub chunks: Vec<Vec<u8>>,
    /// For the log, in order.
    pub leaves: Vec<Leaf>,
}

impl Batch {
    /// One leaf.
    pub fn of(leaf: Leaf) -> Self {
        Self::leaves(vec![leaf])
    }

    /// Leaves without content.
    pub fn leaves(leaves: Vec<Leaf>) -> Self {
        Self { chunks: Vec::new(), leaves }
    }
}

/// The log.
pub trait Ledger: Send + Sync + 'static {
    /// Appends a batch: all of it or nothing. On return it has been handed to the kernel, so that it survives the death of this
    /// process.
    ///
    /// Room for the outcomes of everything in flight is kept in reserve: a batch with an `INTENT`, `REQUEST` or
    /// `SESSION_OPEN` fails with [`LedgerError::Full`] while there is room left for outcomes, and a batch of only other
    /// leaves does not. Of a batch that fails so, the chunks are kept by themselves or noted as lost, because the recording
    /// goes on after them.
    fn append(&self, batch: Batch) -> Result<Position, LedgerError>;

    /// Appends several batches, each of which fares as it would by itself.
    fn append_all(&self, batches: Vec<Batch>) -> Vec<Result<Position, LedgerError>> {
        batches.into_iter().map(|batch| self.append(batch)).collect()
    }

    /// Resolves when everything before `position` is on stable storage.
    fn synced(&self, position: Position) -> Pin<Box<dyn Future<Output = Result<(), LedgerError>> + Send>>;

    /// Begins a session's recording.
    fn record(&self, session: SessionId) -> Box<dyn SessionRecorder>;
}

/// Seals one session's recording, chunk by chunk. Holds the session's key; nothing is written here.
pub trait SessionRecorder: Send {
    /// Names the data key.
    fn key_id(&self) -> &str;
    /// Adds request bytes to the chunk in progress.
    fn request(&mut self, op: OpId, bytes: &[u8]);
    /// Adds response bytes, as delivered, to the chunk in progress.
    fn response(&mut self, op: OpId, bytes: &[u8]);
    /// Bytes in the chunk in progress, before compression.
    fn pending(&self) -> usize;
    /// Seals the chunk in progress: its framed ciphertext, to be given to [`Ledger::append`], and the reference for leaves.
    /// `None` if nothing was added.
    fn seal(&mut self, last: bool) -> Option<(Vec<u8>, ChunkRef)>;
}
