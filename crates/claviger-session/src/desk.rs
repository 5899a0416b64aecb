//! Where the sessions of one thread hand in what they append to the record.
//!
//! A write to the log costs the same for one leaf and for many. So what the sessions that are ready at the same time hand in is
//! gathered, and appended in one write before any of them goes on. Where sessions have lately come one at a time there is nothing to
//! gather, and waiting for it would only delay: then what is handed in first is appended at once.

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
    /// Batches handed in since the thread last had nothing to do, and the last time that there were any.
    handed_in: usize,
    before: usize,
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

    /// The thread of the sessions has nothing more to do: what is handed in from now on is ready at another time.
    pub fn rest(&self) {
        let mut tray = self.tray();
        if tray.handed_in > 0 {
            tray.before = std::mem::take(&mut tray.handed_in);
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
        tray.handed_in += 1;
        let ticket = Ticket(tray.next + tray.waiting.len() as u64 - 1);
        let is_alone = tray.handed_in == 1 && tray.before == 1;
        if !self.gathers || is_alone || tray.bytes > MOST {
            self.append(tray);
        } else if let Some(gatherer) = tray.gatherer.take() {
            drop(tray);
            gatherer.wake();
        }
        ticket
    }

    /// Whether a batch has been appended, which after a panic of the ledger none has: then a place in the log after it.
    pub(crate) fn poll(&self, ticket: Ticket) -> Poll<Result<Position, LedgerError>> {
        if self.tray.is_poisoned() {
            return Poll::Ready(Err(LedgerError::Failed));
        }
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

    /// A poisoned tray may have lost what was in it, so nothing passes any more: every ticket has failed.
    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tray {
    fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            next: 0,
            position: Position(0),
            handed_in: 0,
            before: 0,
            failed: HashMap::new(),
            gatherer: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::panic::AssertUnwindSafe;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use claviger_audit::{Leaf, LeafKind, SessionRecorder, TxEndLeaf, TxResult};
    use claviger_model::{SessionId, Timestamp, TxId};
    use claviger_testkit::ledger::{MemoryLedger, Storage};

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Owner(AtomicUsize);

    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn leaf(tx: u64) -> Batch {
        let session = SessionId::from_bytes([1; 16]);
        let kind = LeafKind::TxEnd(TxEndLeaf { session, tx: TxId(tx), result: TxResult::Commit });
        Batch::of(Leaf { time: Timestamp::from_secs(0), kind })
    }

    fn appended(ledger: &MemoryLedger) -> Vec<u64> {
        let tx = |leaf: &Leaf| if let LeafKind::TxEnd(end) = &leaf.kind { end.tx.0 } else { 0 };
        ledger.leaves().iter().map(tx).collect()
    }

    #[test]
    fn what_is_handed_in_is_appended_in_order_and_its_owners_hear_of_it() {
        let ledger = MemoryLedger::default();
        let desk = Desk::gathering(Arc::new(ledger.clone()));
        let owner = Arc::new(Owner::default());
        let waker = Waker::from(Arc::clone(&owner));
        let gatherer = Arc::new(Owner::default());
        let gatherer_waker = Waker::from(Arc::clone(&gatherer));
        assert!(desk.poll_waiting(&mut Context::from_waker(&gatherer_waker)).is_pending());

        let tickets = [7, 8, 9].map(|tx| desk.hand_in(leaf(tx), &waker));
        assert_eq!(gatherer.0.load(Ordering::Relaxed), 1, "it is told once that there is something");
        assert!(tickets.iter().all(|ticket| desk.poll(*ticket).is_pending()), "nothing is appended yet");
        assert!(appended(&ledger).is_empty());
        assert!(desk.poll_waiting(&mut Context::from_waker(&gatherer_waker)).is_ready());

        desk.flush();
        assert_eq!(appended(&ledger), [7, 8, 9]);
        assert_eq!(owner.0.load(Ordering::Relaxed), 3);
        for ticket in tickets {
            assert!(matches!(desk.poll(ticket), Poll::Ready(Ok(position)) if position >= Position(1)));
        }
    }

    #[test]
    fn who_comes_alone_does_not_wait_and_who_comes_with_others_does() {
        let ledger = MemoryLedger::default();
        let desk = Desk::gathering(Arc::new(ledger.clone()));
        let round = |leaves: &[u64]| {
            let done: Vec<bool> = leaves.iter().map(|tx| desk.poll(desk.hand_in(leaf(*tx), Waker::noop())).is_ready()).collect();
            desk.flush();
            desk.rest();
            desk.rest();
            done
        };
        assert_eq!(round(&[1]), [false], "it is not known yet that nobody else comes");
        assert_eq!(round(&[2]), [true]);
        assert_eq!(round(&[3, 4, 5]), [true, false, false]);
        assert_eq!(round(&[6, 7]), [false, false], "there was a crowd a moment ago");
        assert_eq!(round(&[8]), [false]);
        assert_eq!(round(&[9]), [true]);
        assert_eq!(appended(&ledger), [1, 2, 3, 4, 5, 6, 7, 8, 9], "in the order in which they came");
    }

    #[test]
    fn a_failure_is_heard_of_by_whose_it_is() {
        let ledger = MemoryLedger::default();
        let desk = Desk::direct(Arc::new(ledger.clone()));
        let good = desk.hand_in(leaf(1), Waker::noop());
        ledger.set_storage(Storage::Failed);
        let bad = desk.hand_in(leaf(2), Waker::noop());
        assert!(matches!(desk.poll(bad), Poll::Ready(Err(LedgerError::Failed))));
        assert!(matches!(desk.poll(good), Poll::Ready(Ok(_))));
        assert_eq!(appended(&ledger), [1]);
    }

    #[test]
    fn after_a_panic_of_the_ledger_nothing_counts_as_appended() {
        struct Broken;
        impl Ledger for Broken {
            fn append(&self, _: Batch) -> Result<Position, LedgerError> {
                std::panic::resume_unwind(Box::new("broken"))
            }
            fn synced(&self, _: Position) -> Pin<Box<dyn Future<Output = Result<(), LedgerError>> + Send>> {
                Box::pin(std::future::pending())
            }
            fn record(&self, _: SessionId) -> Box<dyn SessionRecorder> {
                std::panic::resume_unwind(Box::new("broken"))
            }
        }
        let desk = Desk::gathering(Arc::new(Broken));
        let lost = desk.hand_in(leaf(1), Waker::noop());
        assert!(std::panic::catch_unwind(AssertUnwindSafe(|| desk.flush())).is_err());
        let next = desk.hand_in(leaf(2), Waker::noop());
        for ticket in [lost, next] {
            assert!(matches!(desk.poll(ticket), Poll::Ready(Err(LedgerError::Failed))));
        }
    }

    #[test]
    fn more_than_is_gathered_is_appended_at_once() {
        let ledger = MemoryLedger::default();
        let desk = Desk::gathering(Arc::new(ledger.clone()));
        let small = desk.hand_in(leaf(1), Waker::noop());
        let large = Batch { chunks: vec![vec![0; MOST + 1]], ..leaf(2) };
        let large = desk.hand_in(large, Waker::noop());
        assert!([small, large].iter().all(|ticket| desk.poll(*ticket).is_ready()));
        assert_eq!(appended(&ledger), [1, 2], "what came before is before it");
    }
}
