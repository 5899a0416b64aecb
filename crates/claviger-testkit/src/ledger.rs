//! A log in memory, that can be told to be full, to fail, and when it is on stable storage.

use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use claviger_audit::{Batch, ChunkRef, DecisionFacts, Leaf, LeafKind, LeafType, Ledger, LedgerError, Position, SessionRecorder};
use claviger_model::{OpId, SessionId};

/// A log in memory. Its clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger(Arc<Mutex<Inner>>);

/// How a storage fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// There is room.
    #[default]
    Fine,
    /// There is room for outcomes only.
    Full,
    /// It is broken.
    Failed,
}

#[derive(Debug, Default)]
struct Inner {
    storage: Storage,
    leaves: Vec<Leaf>,
    chunks: Vec<Vec<u8>>,
    journal: Vec<String>,
    /// Whether leaves reach stable storage only when told.
    gated: bool,
    synced: u64,
    wakers: Vec<Waker>,
}

impl MemoryLedger {
    /// How the storage fares from now on.
    pub fn set_storage(&self, storage: Storage) {
        let mut inner = self.lock();
        inner.storage = storage;
        inner.wake();
    }

    /// From now on nothing reaches stable storage until [`sync`](Self::sync).
    pub fn gate(&self) {
        let mut inner = self.lock();
        inner.gated = true;
        inner.synced = inner.leaves.len() as u64;
    }

    /// All that has been appended reaches stable storage; the journal notes it.
    pub fn sync(&self) {
        let mut inner = self.lock();
        inner.journal.push("SYNC".to_owned());
        inner.synced = inner.leaves.len() as u64;
        inner.wake();
    }

    /// Notes in the journal something that is no leaf, so that its place among them can be seen.
    pub fn note(&self, what: String) {
        self.lock().journal.push(what);
    }

    /// The leaves in brief, and the notes, in order; takes them out of the journal.
    pub fn journal(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().journal)
    }

    /// The leaves.
    pub fn leaves(&self) -> Vec<Leaf> {
        self.lock().leaves.clone()
    }

    /// The recordings' chunks, which are not sealed here.
    pub fn chunks(&self) -> Vec<Vec<u8>> {
        self.lock().chunks.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl Ledger for MemoryLedger {
    fn append(&self, Batch { chunks, leaves }: Batch) -> Result<Position, LedgerError> {
        use LeafType as T;
        let asks = |leaf: &Leaf| matches!(leaf.kind.leaf_type(), T::Intent | T::Request | T::SessionOpen | T::Refusals);
        let mut inner = self.lock();
        match inner.storage {
            Storage::Failed => return Err(LedgerError::Failed),
            Storage::Full if leaves.iter().any(asks) => {
                inner.chunks.extend(chunks);
                return Err(LedgerError::Full);
            }
            Storage::Full | Storage::Fine => {}
        }
        inner.journal.extend(leaves.iter().map(brief));
        inner.chunks.extend(chunks);
        inner.leaves.extend(leaves);
        Ok(Position(inner.leaves.len() as u64))
    }

    fn synced(&self, position: Position) -> Pin<Box<dyn Future<Output = Result<(), LedgerError>> + Send>> {
        let ledger = self.clone();
        Box::pin(poll_fn(move |cx| {
            let mut inner = ledger.lock();
            if inner.storage == Storage::Failed {
                return Poll::Ready(Err(LedgerError::Failed));
            }
            if !inner.gated || inner.synced >= position.0 {
                return Poll::Ready(Ok(()));
            }
            inner.wakers.push(cx.waker().clone());
            Poll::Pending
        }))
    }

    fn record(&self, _: SessionId) -> Box<dyn SessionRecorder> {
        Box::new(PlainRecorder { chunk: 0, bytes: Vec::new() })
    }
}

/// A leaf on one line: its type, and what tests look at.
pub fn brief(leaf: &Leaf) -> String {
    let mut line = leaf.kind.leaf_type().as_str().to_owned();
    let written = match &leaf.kind {
        LeafKind::SessionOpen(open) => {
            write!(line, " {} for {} {}", open.chain.join(" for "), open.connection, decision(&open.decision))
        }
        LeafKind::SessionRefused(refused) => write!(line, " {}", refused.reason),
        LeafKind::Refusals(refusals) => write!(line, " {} {}", refusals.count, refusals.reason),
        LeafKind::SessionClose(close) => match &close.detail {
            Some(detail) => write!(line, " {} {detail}", close.reason.as_str()),
            None => write!(line, " {}", close.reason.as_str()),
        },
        LeafKind::Request(request) => write!(line, " {} {}", request.op, decision(&request.decision)),
        LeafKind::Intent(intent) => write!(line, " {}{}", intent.op, if intent.replaced { " replaced" } else { "" }),
        LeafKind::Outcome(outcome) => write!(line, " {} {}", outcome.op, outcome.status.as_str()),
        LeafKind::TxEnd(end) => write!(line, " {} {}", end.tx, end.result.as_str()),
        LeafKind::Approval(approval) => write!(line, " {} {}", approval.op, approval.event.as_str()),
        LeafKind::Access(access) => write!(line, " {}", access.event.as_str()),
        LeafKind::Boot(_) | LeafKind::Recovery(_) | LeafKind::Admin(_) | LeafKind::Gap(_) => Ok(()),
    };
    debug_assert!(written.is_ok(), "a string takes everything");
    line
}

fn decision(facts: &DecisionFacts) -> String {
    let mut words = vec![facts.verdict.as_str().to_owned()];
    words.extend(facts.would.map(|would| format!("would {}", would.as_str())));
    words.extend(facts.reason.as_ref().map(|reason| reason.to_string()));
    words.join(" ")
}

/// Writes a recording in plain text: for each piece the operation, `>` for a request or `<` for a response, and the bytes.
struct PlainRecorder {
    chunk: u64,
    bytes: Vec<u8>,
}

impl PlainRecorder {
    fn add(&mut self, op: OpId, mark: char, bytes: &[u8]) {
        self.bytes.extend_from_slice(format!("{op}{mark}").as_bytes());
        self.bytes.extend_from_slice(bytes);
    }
}

impl SessionRecorder for PlainRecorder {
    fn key_id(&self) -> &str {
        "plain"
    }

    fn request(&mut self, op: OpId, bytes: &[u8]) {
        self.add(op, '>', bytes);
    }

    fn response(&mut self, op: OpId, bytes: &[u8]) {
        self.add(op, '<', bytes);
    }

    fn pending(&self) -> usize {
        self.bytes.len()
    }

    fn seal(&mut self, _: bool) -> Option<(Vec<u8>, ChunkRef)> {
        if self.bytes.is_empty() {
            return None;
        }
        let place = ChunkRef { chunk: self.chunk, digest: [0; 32] };
        self.chunk += 1;
        Some((std::mem::take(&mut self.bytes), place))
    }
}
