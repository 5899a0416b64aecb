//! What the server will answer, in order.

use bytes::Bytes;
use claviger_model::{OpId, Refusal};

use super::Postgres;
use super::registry::Statement;
use crate::{ProbeId, Status};

/// The answer to one message that was sent.
pub(super) enum Expect {
    /// To a Query, up to ReadyForQuery.
    Batch {
        op: OpId,
    },
    Parse {
        op: OpId,
        name: Bytes,
        serial: u64,
        statement: Statement,
    },
    Bind {
        op: OpId,
        portal: Bytes,
        bind: Bytes,
        statement: Statement,
    },
    Execute {
        op: OpId,
        portal: Bytes,
    },
    Describe,
    Close {
        portal: bool,
        name: Bytes,
        serial: u64,
    },
    Sync,
    /// To a poison: an error, which `refusal` replaces. `change` is what a refused Parse had announced.
    Poison {
        refusal: Refusal,
        batch: bool,
        answered: bool,
        change: Option<(Bytes, u64)>,
    },
    /// To a query of the gateway's own, up to ReadyForQuery.
    Probe {
        id: ProbeId,
        rows: Vec<Vec<Option<Bytes>>>,
        bytes: usize,
        code: Option<String>,
    },
}

/// What has come of the answer at the head.
#[derive(Default)]
pub(super) struct Running {
    /// The last completion of a batch, and what came with it: not delivered before it is known whether another follows.
    pub(super) tail: Vec<Bytes>,
    /// A completion has come.
    pub(super) answered: bool,
    /// An error has come.
    pub(super) failed: bool,
}

impl<A> Postgres<A> {
    /// Notes an answer to come; a server that skips up to Sync gives none.
    pub(super) fn expect(&mut self, expect: Expect) {
        if self.skipping && !matches!(expect, Expect::Sync) {
            return self.skip(expect);
        }
        self.skipping = false;
        self.expects.push_back(expect);
    }

    /// After an error in the extended protocol, the server passes over everything up to the next Sync (manual, 55.2.3).
    pub(super) fn skip_to_sync(&mut self) {
        while let Some(expect) = self.expects.pop_front() {
            if matches!(expect, Expect::Sync) {
                return self.expects.push_front(expect);
            }
            self.skip(expect);
        }
        self.skipping = true;
    }

    fn skip(&mut self, expect: Expect) {
        match expect {
            Expect::Parse { op, name, serial, .. } => {
                self.registry.settle(&name, serial);
                self.finish(op, Status::Skipped);
            }
            Expect::Execute { op, portal } => {
                // A portal that has given rows lives on until its transaction ends.
                if self.ops.get(&op).is_some_and(|op| op.rows == 0) {
                    self.registry.portals.remove(&portal);
                    self.finish(op, Status::Skipped);
                }
            }
            Expect::Batch { op } | Expect::Bind { op, .. } => self.finish(op, Status::Skipped),
            Expect::Close { name, serial, portal: false } => self.registry.settle(&name, serial),
            Expect::Poison { change: Some((name, serial)), .. } => self.registry.settle(&name, serial),
            Expect::Close { .. } | Expect::Poison { .. } | Expect::Describe | Expect::Sync | Expect::Probe { .. } => {}
        }
    }
}
