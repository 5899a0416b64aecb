//! Where the sessions of one thread hand in what they append to the record.
//!
//! A write to the log costs the same for one leaf and for many. So what the sessions that are ready at the same time hand in is
//! gathered, and appended in one write before any of them goes on.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use claviger_audit::{Batch, Ledger, LedgerError, Position};

/// More than this is not gathered, in bytes of chunks: whoever hands in more appends it all himself.
const MOST: usize = 1024 * 1024;

/// The desk of one thread. What is handed in is appended in that order.
pub struct Desk {
    ledger: Arc<dyn Ledger>,
    tray: Mutex<Tray>,
    /// Whether somebody [gathers](Self::gather) what is handed in; else it is appended at once.
    gathers: bool,
}

/// A batch that was handed in: how many were before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

struct Tray {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The ticket of the next batch that is appended.
    next: u64,
    /// The log after the last batch that was appended.
    position: Position,
    /// Batches that could not be appended, and that their owners have not heard of.
    failed: HashMap<u64, LedgerError>,
    gatherer: Option<Waker>,
}

struct Waiting {
    batch: Batch,
    owner: Waker,
}

impl Desk {
    /// A desk for sessions that share no thread: everything is appended as it is handed in.
    pub fn direct(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger, tray: Mutex::new(Tray::new()), gathers: false }
    }

    /// A desk for the sessions of a thread that also runs [`gather`](Self::gather).
    pub fn gathering(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger, tray: Mutex::new(Tray::new()), gathers: true }
    }

    /// Appends what is handed in, for ever. On the thread of the sessions, whoever is ready has had its turn before this has.
    pub async fn gather(&self) {
        loop {
            poll_fn(|cx| self.poll_waiting(cx)).await;
            self.flush();
        }
    }

    /// The log that everything goes to.
    pub(crate) fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// Hands a batch in. Its owner is woken when it is appended.
    pub(crate) fn hand_in(&self, batch: Batch, owner: &Waker) -> Ticket {
        let mut tray = self.tray();
        tray.bytes += batch.chunks.iter().map(Vec::len).sum::<usize>();
        tray.waiting.push_back(Waiting { batch, owner: owner.clone() });
        let ticket = Ticket(tray.next + tray.waiting.len() as u64 - 1);
        if !self.gathers || tray.bytes > MOST {
            self.append(tray);
        } else if let Some(gatherer) = tray.gatherer.take() {
            drop(tray);
            gatherer.wake();
        }
        ticket
    }

    /// Whether a batch has been appended: then a place in the log after it.
    pub(crate) fn poll(&self, ticket: Ticket) -> Poll<Result<Position, LedgerError>> {
        let mut tray = self.tray();
        if ticket.0 >= tray.next {
            return Poll::Pending;
        }
        Poll::Ready(tray.failed.remove(&ticket.0).map_or(Ok(tray.position), Err))
    }

    /// Appends all that has been handed in, now.
    pub(crate) fn flush(&self) {
        self.append(self.tray());
    }

    fn append(&self, mut tray: MutexGuard<'_, Tray>) {
        if tray.waiting.is_empty() {
            return;
        }
        let (batches, owners): (Vec<_>, Vec<_>) = tray.waiting.drain(..).map(|waiting| (waiting.batch, waiting.owner)).unzip();
        tray.bytes = 0;
        for result in self.ledger.append_all(batches) {
            let ticket = tray.next;
            tray.next += 1;
            match result {
                Ok(position) => tray.position = position,
                Err(error) => _ = tray.failed.insert(ticket, error),
            }
        }
        drop(tray);
        owners.into_iter().for_each(Waker::wake);
    }

    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut tray = self.tray();
        if !tray.waiting.is_empty() {
            return Poll::Ready(());
        }
        tray.gatherer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A poisoned tray may have lost what was in it; whoever waits for that waits until his session ends.
    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tray {
    fn new() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, next: 0, position: Position(0), failed: HashMap::new(), gatherer: None }
    }
}
