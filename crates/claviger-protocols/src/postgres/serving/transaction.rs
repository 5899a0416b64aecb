//! Transactions: as they can be foreseen when a client asks, and as the server says they are.

use claviger_model::TxId;

use crate::postgres::access::transaction_verb;
use crate::{TransactionEnd, TransactionResult};

/// The transaction that the next request will run in, as far as its predecessors' texts tell. Only the record depends on it.
pub(super) struct Foreseen {
    tx: u64,
    open: bool,
    /// Whether anything has been asked in this transaction.
    used: bool,
}

impl Default for Foreseen {
    fn default() -> Self {
        Self { tx: 1, open: false, used: false }
    }
}

impl Foreseen {
    pub(super) fn tx(&self) -> TxId {
        TxId(self.tx)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// A request joins the transaction.
    pub(super) fn join(&mut self) -> TxId {
        self.used = true;
        self.tx()
    }

    /// A statement with this text runs.
    pub(super) fn run(&mut self, text: &[u8]) {
        if let Some(open) = transaction_verb(text) {
            self.open = open;
        }
    }

    /// A simple query or a Sync ends what was not opened explicitly.
    pub(super) fn boundary(&mut self) {
        if !self.open && std::mem::take(&mut self.used) {
            self.tx += 1;
        }
    }

    /// The server has said how it is and nothing is under way: what was foreseen wrongly is put right.
    fn correct(&mut self, open: bool) {
        self.open = open;
        self.boundary();
    }
}

/// The server's transaction, as its answers tell.
pub(super) struct Transactions {
    /// Transactions in which something has left and that have not ended, ascending.
    open: Vec<TxId>,
    status: u8,
    failed: bool,
    last_verb: Option<Verb>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Commit,
    Rollback,
    Prepare,
}

impl Default for Transactions {
    fn default() -> Self {
        Self { open: Vec::new(), status: b'I', failed: false, last_verb: None }
    }
}

impl Transactions {
    /// Something of this transaction has left.
    pub(super) fn touch(&mut self, tx: TxId) {
        if self.open.last().is_none_or(|last| *last < tx) {
            self.open.push(tx);
        }
    }

    /// A statement completed with this tag.
    pub(super) fn completed(&mut self, tag: &str) {
        self.last_verb = match tag {
            "COMMIT" => Some(Verb::Commit),
            "ROLLBACK" => Some(Verb::Rollback),
            "PREPARE TRANSACTION" => Some(Verb::Prepare),
            // What runs after a COMMIT in the same batch is a transaction of its own; one record cannot tell them apart.
            _ => return,
        };
    }

    pub(super) fn statement_failed(&mut self) {
        self.failed = true;
    }

    /// The server says so apart from any group.
    pub(super) fn is_now(&mut self, status: Option<u8>) {
        self.status = status.unwrap_or(self.status);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.status == b'E'
    }

    /// ReadyForQuery with this status, which answers the group of this transaction: the transactions that have ended.
    pub(super) fn ready(&mut self, status: u8, group: Option<TxId>) -> Vec<TransactionEnd> {
        let failed = std::mem::take(&mut self.failed);
        self.status = status;
        if status != b'I' {
            // The failure stays with the open transaction, whose end says how it ended.
            return Vec::new();
        }
        let result = match (self.last_verb.take(), failed) {
            (Some(Verb::Commit), false) | (None, false) => TransactionResult::Commit,
            (Some(Verb::Rollback), _) | (None, true) => TransactionResult::Rollback,
            (Some(Verb::Commit), true) | (Some(Verb::Prepare), _) => TransactionResult::Unknown,
        };
        let ended = self.open.iter().take_while(|tx| group.is_none_or(|group| **tx <= group)).count();
        self.open.drain(..ended).map(|tx| TransactionEnd { tx, result }).collect()
    }

    /// Puts right what was foreseen, when nothing is under way.
    pub(super) fn correct(&self, foreseen: &mut Foreseen) {
        foreseen.correct(self.status != b'I');
    }
}
