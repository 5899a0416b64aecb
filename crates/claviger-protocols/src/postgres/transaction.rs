//! Which transaction the server is in, by its own word: ReadyForQuery's status and completion tags.

use claviger_model::TxId;

use super::Postgres;
use super::access::Control;
use crate::{Event, StatementResult, Status, TransactionEnd, TransactionResult};

/// The server's transaction, as of the last answer.
pub(super) struct Transaction {
    /// The transaction that the last operation ran in.
    pub(super) id: TxId,
    /// An operation has run in it.
    pub(super) active: bool,
    /// The client has opened it.
    pub(super) explicit: bool,
    /// The server takes nothing but its end.
    pub(super) aborted: bool,
    /// An error has come since the last ReadyForQuery.
    pub(super) failed: bool,
}

impl Default for Transaction {
    fn default() -> Self {
        Self { id: TxId(0), active: false, explicit: false, aborted: false, failed: false }
    }
}

impl<A> Postgres<A> {
    /// An operation runs in this transaction.
    pub(super) fn touch(&mut self, tx: TxId) {
        self.tx.id = tx;
        self.tx.active = true;
    }

    /// An Execute has completed: BEGIN, COMMIT and ROLLBACK take effect at once.
    pub(super) fn completed(&mut self, control: Control, tag: &str) {
        match control {
            Control::Begin => self.tx.explicit = true,
            Control::End => self.end_transaction(by_tag(tag)),
            Control::None | Control::Unclear => {}
        }
    }

    /// ReadyForQuery without a batch: a group's end.
    pub(super) fn settle_group(&mut self, status: u8) {
        let rolled_back = self.tx.failed || self.tx.explicit;
        let result = if rolled_back { TransactionResult::Rollback } else { TransactionResult::Commit };
        self.settle((status == b'I').then_some(result), status);
    }

    /// ReadyForQuery after a batch.
    pub(super) fn settle_batch(&mut self, control: Control, results: &[StatementResult], status: u8) {
        let result = match (control, results) {
            (Control::End, [only]) => Some(by_tag(&only.tag)),
            (Control::Begin | Control::None, _) | (Control::End, []) => {
                return self.settle_group(status);
            }
            _ => self.several(results, status),
        };
        self.settle(result, status);
    }

    fn settle(&mut self, result: Option<TransactionResult>, status: u8) {
        if let Some(result) = result {
            self.end_transaction(result);
        }
        self.tx.explicit = status != b'I';
        self.tx.aborted = status == b'E';
        self.tx.failed = false;
    }

    /// How a batch of several statements ended its transactions. All go by the number that the batch has, so only what holds
    /// for all of them is said.
    fn several(&self, results: &[StatementResult], status: u8) -> Option<TransactionResult> {
        let count = |tag: &str| results.iter().filter(|result| result.tag == tag).count();
        let (commits, rollbacks) = (count("COMMIT"), count("ROLLBACK"));
        let prepared = count("PREPARE TRANSACTION");
        let begun = count("BEGIN") + count("START TRANSACTION");
        if status != b'I' {
            // A ROLLBACK that leaves a transaction open went to a savepoint, unless another was begun.
            return (commits + prepared > 0 || (rollbacks > 0 && begun > 0)).then_some(TransactionResult::Unknown);
        }
        let last_rolled_back = results.last().is_some_and(|result| result.tag == "ROLLBACK");
        Some(match (commits, rollbacks) {
            _ if prepared > 0 => TransactionResult::Unknown,
            (0, 0) if self.tx.failed || self.tx.explicit => TransactionResult::Rollback,
            (_, 0) if !self.tx.failed => TransactionResult::Commit,
            (0, _) if self.tx.failed || last_rolled_back => TransactionResult::Rollback,
            _ => TransactionResult::Unknown,
        })
    }

    /// The portals go with the transaction; then its end is told, if anything ran in it.
    fn end_transaction(&mut self, result: TransactionResult) {
        self.drop_portals();
        if self.tx.active {
            self.events.push_back(Event::TransactionEnd(TransactionEnd { tx: self.tx.id, result }));
        }
        self.tx.active = false;
        self.tx.explicit = false;
        self.tx.failed = false;
    }

    /// All portals are gone: operations that were never run to their end have ended.
    pub(super) fn drop_portals(&mut self) {
        let mut open: Vec<_> =
            self.registry.portals.drain().filter(|(_, portal)| !portal.done).map(|(_, portal)| portal.op).collect();
        open.sort_unstable();
        for op in open {
            self.finish(op, Status::Completed);
        }
    }
}

fn by_tag(tag: &str) -> TransactionResult {
    match tag {
        "COMMIT" => TransactionResult::Commit,
        "ROLLBACK" => TransactionResult::Rollback,
        // Neither yet: the other half is a COMMIT PREPARED, by whomever.
        _ => TransactionResult::Unknown,
    }
}
