//! Rows that somebody hands over and does not wait for: a thread writes them, many in one transaction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use claviger_model::SessionId;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::database::Writer;
use crate::outbox::{self, NewMessage};
use crate::sessions::{self, SessionEnd, StoredSession};
use crate::{Store, StoreError};

/// The most rows that wait to be written.
const QUEUE: usize = 8192;
/// The most rows written in one transaction.
const BATCH: usize = 512;
/// How long until rows that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) enum Entry {
    Opened(StoredSession),
    Closed(SessionId, SessionEnd),
    Posted(NewMessage),
    /// Asks whether all before it is written.
    Flush(SyncSender<bool>),
}

/// The way to a thread that writes, which starts with the first entry and ends with the store.
pub(crate) struct Queue {
    name: &'static str,
    sender: OnceLock<Option<SyncSender<Entry>>>,
    dropped: Arc<AtomicU64>,
    /// Changes when something was written.
    written: Arc<watch::Sender<()>>,
}

impl Queue {
    /// The thread's name says what it writes.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, sender: OnceLock::new(), dropped: Arc::default(), written: Arc::new(watch::Sender::new(())) }
    }

    /// Hands an entry over: whether it was taken. What is not taken is counted.
    pub(crate) fn enqueue(&self, store: &Store, entry: Entry) -> bool {
        let queued = self.sender(&store.shared.writer).is_some_and(|sender| sender.try_send(entry).is_ok());
        if !queued {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// Waits until all that was handed over so far is on stable storage: whether it is.
    pub(crate) fn flush(&self, store: &Store) -> bool {
        let (done, wait) = sync_channel(1);
        // Fails when the thread is gone, and then nothing is written any more.
        self.sender(&store.shared.writer).is_some_and(|sender| sender.send(Entry::Flush(done)).is_ok()) && wait.recv() == Ok(true)
    }

    /// How many rows were dropped because the queue was full or the database failed for long.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn written(&self) -> watch::Receiver<()> {
        self.written.subscribe()
    }

    fn sender(&self, writer: &Arc<Writer>) -> Option<&SyncSender<Entry>> {
        let start = || {
            let (sender, receiver) = sync_channel(QUEUE);
            let (writer, dropped, written) = (Arc::clone(writer), Arc::clone(&self.dropped), Arc::clone(&self.written));
            let thread = std::thread::Builder::new().name(self.name.into());
            thread.spawn(move || write_all(&receiver, &writer, &dropped, &written)).ok().map(|_| sender)
        };
        self.sender.get_or_init(start).as_ref()
    }
}

/// Rows that cannot be written, as when the disk is full, are kept and tried again, as many as the queue holds.
fn write_all(entries: &Receiver<Entry>, writer: &Writer, dropped: &AtomicU64, told: &watch::Sender<()>) {
    let mut batch = Vec::new();
    loop {
        let first = if batch.is_empty() { entries.recv().map_err(Into::into) } else { entries.recv_timeout(RETRY) };
        match first {
            Ok(first) => batch.extend(std::iter::once(first).chain(entries.try_iter().take(BATCH - 1))),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let written = write_batch(&mut writer.lock(), &batch);
        if written.is_ok() {
            told.send_replace(());
        }
        batch.retain(|entry| match entry {
            Entry::Flush(done) => {
                let _ = done.send(written.is_ok());
                false
            }
            Entry::Opened(_) | Entry::Closed(..) | Entry::Posted(_) => written.is_err(),
        });
        if let Err(error) = written {
            tracing::error!(%error, "rows could not be written to the store");
            if batch.len() > QUEUE {
                dropped.fetch_add(u64::try_from(batch.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
                batch.clear();
            }
        }
    }
}

fn write_batch(db: &mut Connection, batch: &[Entry]) -> Result<(), StoreError> {
    let transaction = db.transaction()?;
    for entry in batch {
        match entry {
            Entry::Opened(session) => sessions::insert(&transaction, session)?,
            Entry::Closed(id, end) => sessions::close(&transaction, *id, end)?,
            Entry::Posted(message) => outbox::insert(&transaction, message)?,
            Entry::Flush(_) => {}
        }
    }
    Ok(transaction.commit()?)
}
