//! What one session writes into the record, gathered over a turn and appended at its end.

use std::sync::Arc;
use std::time::Instant;

use claviger_audit::{
    ChunkRef, CloseReason, DecisionFacts, IntentLeaf, Leaf, LeafKind, Ledger, LedgerError, OutcomeLeaf, OutcomeStatus, Position,
    RequestLeaf, SessionCloseLeaf, SessionRecorder, TxEndLeaf, TxResult,
};
use claviger_model::{OpId, ResponseRecording, SessionId, Timestamp, TxId};
use claviger_protocols::{Access, Operation, Outcome, Recorded, Side, Status, TransactionEnd, TransactionResult};

/// A chunk of the recording is sealed and handed over when it holds so many bytes, so that a large response streams.
const CHUNK: usize = 64 * 1024;

/// The record of one session.
///
/// *Asking* leaves (`REQUEST`, `INTENT`) precede what they announce and may find no room; *settling* leaves (`OUTCOME`,
/// `TX_END`, `SESSION_CLOSE`) say what has happened and have room kept for them. They are appended apart, so that a full disk
/// stops the first and not the second.
pub(crate) struct SessionRecord {
    ledger: Arc<dyn Ledger>,
    recorder: Box<dyn SessionRecorder>,
    session: SessionId,
    who: Arc<str>,
    connection: Arc<str>,
    purpose: Option<Arc<str>>,
    keep: ResponseRecording,
    asking: Vec<Leaf>,
    settling: Vec<Leaf>,
    /// The last sealed chunk: what a leaf speaks of is in it or in an earlier one.
    place: Option<ChunkRef>,
}

/// What the record keeps count of while an operation is open.
pub(crate) struct Open {
    pub(crate) op: OpId,
    pub(crate) tx: TxId,
    pub(crate) since: Instant,
    /// Whether its outcome must be on stable storage before the client hears of it.
    pub(crate) synced: bool,
    /// Whether it may have a lasting effect, so that its transaction's end must be on stable storage too.
    pub(crate) lasting: bool,
    /// Whether its request and intent are in the log.
    pub(crate) asked: bool,
    /// Whether its bytes may have left.
    pub(crate) sent: bool,
    recorded: usize,
    unrecorded: u64,
}

impl Open {
    pub(crate) fn new(operation: &Operation, now: Instant, synced: bool) -> Self {
        let lasting = synced || operation.access != Access::Read;
        let (op, tx) = (operation.id, operation.tx);
        Self { op, tx, since: now, synced, lasting, asked: false, sent: false, recorded: 0, unrecorded: 0 }
    }
}

impl SessionRecord {
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        recorder: Box<dyn SessionRecorder>,
        session: SessionId,
        who: Arc<str>,
        connection: Arc<str>,
        purpose: Option<Arc<str>>,
        keep: ResponseRecording,
    ) -> Self {
        Self { ledger, recorder, session, who, connection, purpose, keep, asking: Vec::new(), settling: Vec::new(), place: None }
    }

    pub(crate) fn request(&mut self, time: Timestamp, operation: &Operation, decision: DecisionFacts) {
        self.recorder.request(operation.id, &operation.bytes);
        self.asking.push(Leaf {
            time,
            kind: LeafKind::Request(RequestLeaf {
                session: self.session,
                op: operation.id,
                tx: operation.tx,
                who: Arc::clone(&self.who),
                connection: Arc::clone(&self.connection),
                purpose: self.purpose.clone(),
                form: operation.request.form(),
                decision,
                rec: None,
            }),
        });
    }

    pub(crate) fn intent(&mut self, time: Timestamp, op: OpId, replaced: bool) {
        let leaf = IntentLeaf { session: self.session, op, replaced };
        self.asking.push(Leaf { time, kind: LeafKind::Intent(leaf) });
    }

    /// Keeps as much of what an operation carries, either way, as the connection's setting says, and counts the rest.
    pub(crate) fn carried(&mut self, open: &mut Open, carried: &Recorded) -> Result<(), LedgerError> {
        let room = match self.keep {
            ResponseRecording::Full => usize::MAX,
            ResponseRecording::First(most) => most.saturating_sub(open.recorded),
            ResponseRecording::None => 0,
        };
        let (kept, left_out) = carried.bytes.split_at(room.min(carried.bytes.len()));
        open.recorded = open.recorded.saturating_add(kept.len());
        open.unrecorded = open.unrecorded.saturating_add(left_out.len() as u64);
        for piece in kept.chunks(CHUNK) {
            match carried.from {
                Side::Downstream => self.recorder.request(carried.op, piece),
                Side::Upstream => self.recorder.response(carried.op, piece),
            }
            if self.recorder.pending() >= CHUNK {
                let chunks = self.seal(false);
                self.ledger.append(chunks, Vec::new())?;
            }
        }
        Ok(())
    }

    pub(crate) fn outcome(&mut self, time: Timestamp, open: &Open, outcome: Outcome, now: Instant) {
        let mut tags: Vec<String> = outcome.results.into_iter().map(|result| result.tag).collect();
        tags.truncate(OutcomeLeaf::MAX_TAGS);
        let duration = now.saturating_duration_since(open.since);
        self.settling.push(Leaf {
            time,
            kind: LeafKind::Outcome(OutcomeLeaf {
                session: self.session,
                op: open.op,
                status: status(outcome.status),
                tags,
                code: outcome.code,
                rows: outcome.rows,
                bytes: outcome.bytes,
                bytes_unrecorded: open.unrecorded,
                duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
                rec: None,
            }),
        });
    }

    /// The outcome of an operation that the session's end overtook.
    pub(crate) fn overtaken(&mut self, time: Timestamp, open: &Open, now: Instant) {
        let status = if open.sent { Status::Unknown } else { Status::NotSent };
        let outcome = Outcome { op: open.op, status, results: Vec::new(), rows: 0, bytes: 0, code: None };
        self.outcome(time, open, outcome, now);
    }

    pub(crate) fn transaction_end(&mut self, time: Timestamp, end: TransactionEnd) {
        let result = match end.result {
            TransactionResult::Commit => TxResult::Commit,
            TransactionResult::Rollback => TxResult::Rollback,
            TransactionResult::Unknown => TxResult::Unknown,
        };
        let leaf = TxEndLeaf { session: self.session, tx: end.tx, result };
        self.settling.push(Leaf { time, kind: LeafKind::TxEnd(leaf) });
    }

    pub(crate) fn close(&mut self, time: Timestamp, leaf: SessionCloseLeaf) {
        self.settling.push(Leaf { time, kind: LeafKind::SessionClose(leaf) });
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    pub(crate) fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// Appends what has happened. The place after it, or `None` if there was nothing.
    pub(crate) fn append_settling(&mut self) -> Result<Option<Position>, LedgerError> {
        let leaves = std::mem::take(&mut self.settling);
        self.append(leaves, false)
    }

    /// Appends what is about to happen. Where there is no room for that, the chunks are handed over by themselves, for the log to
    /// keep or to note as lost: the recording goes on after them.
    pub(crate) fn append_asking(&mut self) -> Result<Option<Position>, LedgerError> {
        let mut leaves = std::mem::take(&mut self.asking);
        if leaves.is_empty() {
            return Ok(None);
        }
        let chunks = self.seal(false);
        if let Some(place) = self.place {
            leaves.iter_mut().for_each(|leaf| refer(leaf, place));
        }
        match self.ledger.append(chunks.clone(), leaves) {
            Err(LedgerError::Full) if !chunks.is_empty() => {
                self.ledger.append(chunks, Vec::new())?;
                Err(LedgerError::Full)
            }
            result => result.map(Some),
        }
    }

    /// Appends the last of it, with the recording's final chunk.
    pub(crate) fn append_last(&mut self) -> Result<Option<Position>, LedgerError> {
        let leaves = std::mem::take(&mut self.settling);
        self.append(leaves, true)
    }

    fn append(&mut self, mut leaves: Vec<Leaf>, last: bool) -> Result<Option<Position>, LedgerError> {
        if leaves.is_empty() {
            return Ok(None);
        }
        let chunks = self.seal(last);
        if let Some(place) = self.place {
            leaves.iter_mut().for_each(|leaf| refer(leaf, place));
        }
        self.ledger.append(chunks, leaves).map(Some)
    }

    fn seal(&mut self, last: bool) -> Vec<Vec<u8>> {
        let sealed = self.recorder.seal(last);
        sealed
            .into_iter()
            .map(|(chunk, place)| {
                self.place = Some(place);
                chunk
            })
            .collect()
    }
}

/// Tells a leaf where in the recording its content is.
fn refer(leaf: &mut Leaf, place: ChunkRef) {
    match &mut leaf.kind {
        LeafKind::Request(request) => request.rec = Some(place),
        LeafKind::Outcome(outcome) => outcome.rec = Some(place),
        _ => {}
    }
}

fn status(status: Status) -> OutcomeStatus {
    match status {
        Status::Completed => OutcomeStatus::Completed,
        Status::Error => OutcomeStatus::Error,
        Status::Skipped => OutcomeStatus::Skipped,
        Status::NotSent => OutcomeStatus::NotSent,
        Status::Unknown => OutcomeStatus::Unknown,
    }
}

pub(crate) fn close_reason(closed: &claviger_protocols::Closed) -> CloseReason {
    match closed {
        claviger_protocols::Closed::ByClient => CloseReason::Client,
        claviger_protocols::Closed::ByUpstream => CloseReason::Upstream,
        claviger_protocols::Closed::ByGateway(_) => CloseReason::Gateway,
    }
}
