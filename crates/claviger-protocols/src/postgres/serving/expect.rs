//! What the server has still to answer, in order.

use bytes::Bytes;
use claviger_model::{OpId, Refusal, TxId};

use super::Serving;
use super::statements::Prepared;
use crate::postgres::io::Io;
use crate::{ProbeId, Status};

/// One thing that the server will answer, or pass over.
pub(super) enum Expect {
    /// A simple query, up to its ReadyForQuery.
    Batch {
        op: OpId,
        group: Group,
    },
    Parse {
        op: OpId,
        name: Bytes,
        prepared: Prepared,
    },
    Bind {
        op: OpId,
        replaces: Option<OpId>,
    },
    /// `own`: the client has not asked for it, and does not hear the answer.
    Describe {
        /// Whose rows it describes, if it is known.
        op: Option<OpId>,
        own: bool,
    },
    /// A statement that is kept is described, which is an operation of its own.
    Look {
        op: OpId,
    },
    Execute {
        op: OpId,
    },
    Close {
        closed: Closing,
    },
    Sync {
        group: Group,
    },
    /// CopyDone or CopyFail: not answered, but it ends a COPY.
    CopyEnd,
    /// `answered`: the server has rejected it.
    PoisonedBatch {
        refusal: Refusal,
        group: Group,
        answered: bool,
    },
    /// `unnamed`: the unnamed statement goes with it, as with any Parse of it that fails.
    PoisonedParse {
        refusal: Refusal,
        unnamed: bool,
    },
    /// A question of ours.
    Probe(Probing),
}

/// What one ReadyForQuery answers: a simple query, or the steps of the extended protocol up to a Sync.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// Counts from 0.
    pub(super) number: u64,
    pub(super) tx: TxId,
}

/// What a Close closes.
pub(super) enum Closing {
    Statement(Bytes),
    Portal(Option<OpId>),
}

/// A question of ours, and what has been answered of it.
pub(super) struct Probing {
    pub(super) id: ProbeId,
    pub(super) rows: Vec<Vec<Option<Bytes>>>,
    pub(super) bytes: usize,
    pub(super) code: Option<String>,
    /// All rows have come.
    pub(super) completed: bool,
}

impl Probing {
    /// The most that the answer to a question of ours may take, in bytes.
    pub(super) const MOST: usize = 128 << 20;

    pub(super) fn new(id: ProbeId) -> Self {
        Self { id, rows: Vec::new(), bytes: 0, code: None, completed: false }
    }
}

impl<A> Serving<A> {
    /// Notes what the server will answer. While it takes rows it ignores Sync and Flush (PostgreSQL manual, 55.2.6).
    pub(super) fn expect(&mut self, expect: Expect, io: &mut Io<A>) {
        match expect {
            Expect::Sync { .. } => self.in_group = false,
            Expect::CopyEnd | Expect::Batch { .. } | Expect::PoisonedBatch { .. } | Expect::Probe(_) => {}
            _ => self.in_group = true,
        }
        match expect {
            Expect::Sync { .. } if self.copying_in => self.ignored_syncs += 1,
            Expect::CopyEnd if self.copying_in => self.copying_in = false,
            // Answers nothing and, where no COPY can be on, means nothing.
            Expect::CopyEnd if self.expected.is_empty() => {}
            // The server passes over it. Nothing is kept: a client may send any amount of this before its Sync.
            expect if self.skipping && self.expected.is_empty() && !matches!(expect, Expect::Sync { .. }) => {
                self.skip(&expect, io);
            }
            expect => self.expected.push_back(expect),
        }
    }

    /// The operation that the server is answering now.
    pub(super) fn answering(&self) -> Option<OpId> {
        match self.expected.front()? {
            Expect::Batch { op, .. } | Expect::Parse { op, .. } | Expect::Bind { op, .. } => Some(*op),
            Expect::Look { op } | Expect::Execute { op } => Some(*op),
            _ => None,
        }
    }

    /// The server takes rows from here on: of what has left already, it ignores every Sync before the rows' end.
    pub(super) fn begin_copy_in(&mut self) {
        self.copying_in = true;
        while let Some(next) = self.expected.get(1) {
            match next {
                Expect::Sync { .. } => self.ignored_syncs += 1,
                Expect::CopyEnd => self.copying_in = false,
                _ => return,
            }
            self.expected.remove(1);
            if !self.copying_in {
                return;
            }
        }
    }

    /// Takes out what the server passes over; what is sent later is passed over too, up to the Sync.
    pub(super) fn skip_group(&mut self, io: &mut Io<A>) {
        while let Some(skipped) = self.expected.pop_front_if(|next| !matches!(next, Expect::Sync { .. } | Expect::Probe(_))) {
            self.skip(&skipped, io);
        }
    }

    fn skip(&mut self, skipped: &Expect, io: &mut Io<A>) {
        if let Expect::Parse { op, .. }
        | Expect::Look { op }
        | Expect::Bind { op, .. }
        | Expect::Execute { op }
        | Expect::Batch { op, .. } = skipped
        {
            // After a COPY that failed, an earlier Sync may have ended the skipping.
            let status = if self.ignored_syncs > 0 { Status::Unknown } else { Status::Skipped };
            self.finish(*op, status, io);
        }
    }

    /// Ends of COPYs that were never on.
    pub(super) fn skip_copy_ends(&mut self) {
        while let Some(Expect::CopyEnd) = self.expected.front() {
            self.expected.pop_front();
        }
    }
}
