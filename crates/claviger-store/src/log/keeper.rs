//! What goes on beside appending: flushing for everybody who waits, and signing checkpoints.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use claviger_audit::checkpoint::{Checkpoint, CheckpointSigner, VerifierKey};
use claviger_audit::{Batch, Leaf, LedgerError, Position};
use claviger_model::{BootId, Timestamp};
use tokio::sync::{broadcast, watch};

use super::health::Lag;
use super::notes::Notes;
use super::state::{self, Place, State};
use super::writer::Writer;
use super::{Dirs, Options};

/// A new state is written after so many leaves: opening reads no more than these again.
const STATE_EVERY: u64 = 16 * 1024;

/// What the log's owner and its threads share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) dirs: Dirs,
    boot: BootId,
    signer: CheckpointSigner,
    writer: Mutex<Writer>,
    tail: broadcast::Sender<Arc<str>>,
    /// Whether something was appended since the last flush began.
    dirty: AtomicBool,
    orders: Mutex<Orders>,
    /// Tells the flusher.
    ordered: Condvar,
    /// Tells the signer.
    stopped: Condvar,
    /// Flushes go one after the other, so that the one to finish last has the last word.
    flushing: Mutex<()>,
    flushed: watch::Sender<Flushed>,
    signing: Mutex<Signing>,
    pub(super) lag: Lag,
}

/// What is asked of the threads.
#[derive(Default)]
struct Orders {
    /// Somebody waits for leaves up to here.
    wanted: u64,
    stop: bool,
}

/// How far the log is on stable storage.
#[derive(Clone, Copy, Default)]
struct Flushed {
    leaves: u64,
    failed: bool,
}

struct Signing {
    notes: Notes,
    /// Leaves under the last checkpoint of this run.
    signed: Option<u64>,
    /// Leaves in the state on disk.
    stated: u64,
}

/// Starts the two threads.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let (flusher, signer) = (shared.clone(), shared.clone());
    Ok(vec![
        thread::Builder::new().name("audit-flush".into()).spawn(move || flusher.keep_flushed())?,
        thread::Builder::new().name("audit-sign".into()).spawn(move || signer.keep_signed())?,
    ])
}

impl Shared {
    pub(super) fn new(writer: Writer, notes: Notes, signer: CheckpointSigner, dirs: Dirs, options: Options) -> Self {
        Self {
            options,
            dirs,
            boot: writer.boot,
            signer,
            tail: writer.tail.clone(),
            writer: Mutex::new(writer),
            dirty: AtomicBool::new(false),
            orders: Mutex::default(),
            ordered: Condvar::new(),
            stopped: Condvar::new(),
            flushing: Mutex::new(()),
            flushed: watch::Sender::new(Flushed::default()),
            signing: Mutex::new(Signing { notes, signed: None, stated: 0 }),
            lag: Lag::new(),
        }
    }

    pub(super) fn boot(&self) -> BootId {
        self.boot
    }

    pub(super) fn verifier(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<str>> {
        self.tail.subscribe()
    }

    pub(super) fn size(&self) -> Position {
        Position(lock(&self.writer).tree.size())
    }

    pub(super) fn flushed_leaves(&self) -> u64 {
        self.flushed.borrow().leaves
    }

    pub(super) fn signed_leaves(&self) -> u64 {
        lock(&self.signing).signed.unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    pub(super) fn append(&self, batch: &Batch) -> Result<Position, LedgerError> {
        let position = self.write(|writer| append_one(writer, batch))?;
        Ok(Position(position))
    }

    /// One write for all of them. Where that fails for want of room, one may still fit where all do not, so each has its own.
    pub(super) fn append_all(&self, batches: &[Batch]) -> Vec<Result<Position, LedgerError>> {
        let appended = self.write(|writer| match writer.append(batches) {
            Err(LedgerError::Full) => Ok(batches.iter().map(|batch| append_one(writer, batch)).collect()),
            // Whoever waits for the last leaf's sake waits long enough.
            result => result.map(|position| vec![Ok(position); batches.len()]),
        });
        let each = appended.unwrap_or_else(|error| vec![Err(error); batches.len()]);
        each.into_iter().map(|result| result.map(Position)).collect()
    }

    fn write<T>(&self, write: impl FnOnce(&mut Writer) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        // A writer that panicked may have written half of what it meant to.
        let written = write(&mut *self.writer.lock().map_err(|_| LedgerError::Failed)?)?;
        // Only the first append after a flush wakes the flusher.
        if !self.dirty.swap(true, Ordering::AcqRel) {
            self.lag.begins();
            drop(lock(&self.orders));
            self.ordered.notify_one();
        }
        Ok(written)
    }

    pub(super) fn admits(&self) -> bool {
        self.writer.lock().is_ok_and(|mut writer| writer.admits())
    }

    /// Records what an earlier run left behind, and makes that durable.
    pub(super) fn recover(&self, left_behind: impl FnOnce(Timestamp) -> Vec<Leaf>) -> Result<(), LedgerError> {
        let leaves = left_behind((self.options.now)());
        if !leaves.is_empty() {
            self.append(&Batch { chunks: Vec::new(), leaves })?;
        }
        self.flush(|_| ())
    }

    pub(super) fn synced(&self, position: Position) -> impl Future<Output = Result<(), LedgerError>> + Send + 'static {
        let mut flushed = self.flushed.subscribe();
        let now = *flushed.borrow();
        if now.leaves < position.0 && !now.failed {
            let mut orders = lock(&self.orders);
            orders.wanted = orders.wanted.max(position.0);
            drop(orders);
            self.ordered.notify_one();
        }
        async move {
            let reached = |flushed: &Flushed| flushed.failed || flushed.leaves >= position.0;
            match flushed.wait_for(reached).await {
                Ok(flushed) if flushed.leaves >= position.0 => Ok(()),
                _ => Err(LedgerError::Failed),
            }
        }
    }

    pub(super) fn stop(&self) {
        lock(&self.orders).stop = true;
        self.ordered.notify_all();
        self.stopped.notify_all();
    }

    /// Flushes at once while somebody waits, else when the oldest unflushed leaf is as old as it may become.
    fn keep_flushed(&self) {
        let mut orders = lock(&self.orders);
        let mut due: Option<Instant> = None;
        while !orders.stop {
            let now = Instant::now();
            let dirty = self.dirty.load(Ordering::Acquire);
            let deadline = *due.get_or_insert(now + self.options.flush_delay);
            if orders.wanted > self.flushed.borrow().leaves || (dirty && now >= deadline) {
                drop(orders);
                due = None;
                if self.flush(|_| ()).is_err() {
                    return;
                }
                orders = lock(&self.orders);
            } else if dirty {
                orders = wait_until(&self.ordered, orders, deadline);
            } else {
                due = None;
                orders = self.ordered.wait(orders).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Makes everything appended so far durable: the recording first, because leaves refer to it. Gives what `see` saw of the
    /// writer just then.
    fn flush<T>(&self, see: impl FnOnce(&Writer) -> T) -> Result<T, LedgerError> {
        let _turn = lock(&self.flushing);
        let began = self.lag.flush();
        self.dirty.store(false, Ordering::Release);
        let (seen, leaves, recording, log) = {
            let writer = lock(&self.writer);
            (see(&writer), writer.tree.size(), writer.recording.file().clone(), writer.log.file().clone())
        };
        let result = if self.flushed.borrow().failed {
            Err(LedgerError::Failed)
        } else {
            recording.sync_data().and_then(|()| log.sync_data()).map_err(|error| {
                // Whether the pages are still there to be written again is not known: never retried.
                tracing::error!(%error, "flushing the audit log failed");
                LedgerError::Failed
            })
        };
        self.flushed.send_modify(|flushed| match result {
            Ok(()) => flushed.leaves = leaves,
            Err(_) => flushed.failed = true,
        });
        match result {
            Ok(()) => self.lag.flushed(began),
            Err(_) => lock(&self.writer).fail(),
        }
        result.map(|()| seen)
    }

    /// Signs new leaves every interval, and the same ones again every idle interval.
    fn keep_signed(&self) {
        let mut last = Instant::now();
        let mut orders = lock(&self.orders);
        loop {
            let deadline = Instant::now() + self.options.checkpoint_interval;
            while !orders.stop && Instant::now() < deadline {
                orders = wait_until(&self.stopped, orders, deadline);
            }
            if orders.stop {
                return;
            }
            drop(orders);
            let idle = last.elapsed() >= self.options.idle_interval;
            if self.checkpoint(idle).is_ok() && idle {
                last = Instant::now();
            }
            orders = lock(&self.orders);
        }
    }

    /// Flushes and signs; unless forced, only if there is something new.
    pub(super) fn checkpoint(&self, forced: bool) -> Result<Checkpoint, LedgerError> {
        let mut signing = lock(&self.signing);
        let unchanged = signing.signed == Some(lock(&self.writer).tree.size());
        let state = self.flush(snapshot)?;
        let checkpoint = state.checkpoint();
        if unchanged && !forced {
            return Ok(checkpoint);
        }
        let note = self.signer.sign(&checkpoint);
        signing.notes.append(&note).map_err(|error| {
            // The leaves are there; they are signed when there is room again.
            tracing::error!(%error, "a checkpoint cannot be written");
            if super::segment::is_full(&error) {
                return LedgerError::Full;
            }
            lock(&self.writer).fail();
            LedgerError::Failed
        })?;
        signing.signed = Some(checkpoint.size);
        if checkpoint.size >= signing.stated + STATE_EVERY || lock(&self.orders).stop {
            signing.stated = checkpoint.size;
            if let Err(error) = state::write(&self.dirs.audit, &state, &note) {
                tracing::warn!(%error, "the audit log's state cannot be written: opening it will take longer");
            }
        }
        Ok(checkpoint)
    }
}

/// Where there is no room for the leaves, the chunks are appended by themselves, for the writer to keep or to note as lost.
fn append_one(writer: &mut Writer, batch: &Batch) -> Result<u64, LedgerError> {
    match writer.append(std::slice::from_ref(batch)) {
        Err(LedgerError::Full) if !batch.chunks.is_empty() => {
            writer.append(&[Batch { chunks: batch.chunks.clone(), leaves: Vec::new() }])?;
            Err(LedgerError::Full)
        }
        result => result,
    }
}

fn snapshot(writer: &Writer) -> State {
    State {
        boot: writer.boot,
        tree: writer.tree.clone(),
        open: writer.open.clone(),
        log: Place { file: writer.log.number(), offset: writer.log.length() },
        recording: Place { file: writer.recording.number(), offset: writer.recording.length() },
    }
}

/// Locks whatever happened to others who held the lock: everything in here stays valid at every step, except the writer, whose
/// appends check.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_until<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>, deadline: Instant) -> MutexGuard<'a, T> {
    let left = deadline.saturating_duration_since(Instant::now());
    condition.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0
}
