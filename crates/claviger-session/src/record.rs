//! What one session writes into the record, gathered over a turn and appended at its end.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use claviger_audit::{
    ApprovalLeaf, Batch, ChunkRef, CloseReason, DecisionFacts, IntentLeaf, Leaf, LeafKind, LedgerError, OutcomeLeaf,
    OutcomeStatus, RequestLeaf, SessionCloseLeaf, SessionRecorder, TokenFacts, TxEndLeaf, TxResult, Verdict,
};
use claviger_model::{OpId, ResponseRecording, SessionId, Timestamp, TxId};
use claviger_protocols::{Access, Operation, Outcome, Recorded, Request, Side, Status, TransactionEnd, TransactionResult};

use crate::desk::{Desk, Ticket};
use crate::history::{self, Past, Ring};

/// A chunk of the recording is sealed and handed over when it holds so many bytes, so that a large response streams.
const CHUNK: usize = 64 * 1024;

/// The record of one session.
///
/// *Asking* leaves (`REQUEST`, `INTENT`) precede what they announce and may find no room; *settling* leaves (`OUTCOME`,
/// `TX_END`, `SESSION_CLOSE`) say what has happened and have room kept for them. They are appended apart, so that a full disk
/// stops the first and not the second.
pub(crate) struct SessionRecord {
    desk: Arc<Desk>,
    recorder: Box<dyn SessionRecorder>,
    session: SessionId,
    who: Arc<str>,
    connection: Arc<str>,
    purpose: Option<Arc<str>>,
    keep: ResponseRecording,
    asking: Vec<Leaf>,
    settling: Vec<Leaf>,
    /// What its principal has done lately.
    history: Ring,
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
    /// Whether it changes something, as far as it is understood, so that others may wait for its transaction.
    pub(crate) changes: bool,
    /// The grants without which it would not have been permitted, by their ids.
    pub(crate) grants: Arc<[Arc<str>]>,
    /// The model that it asks, if it does.
    pub(crate) model: Option<Arc<str>>,
    /// Whether it draws upon budgets.
    pub(crate) counts: bool,
    /// When the first byte of its answer came.
    pub(crate) first: Option<Instant>,
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
        let (grants, model, counts, first, asked, sent, recorded, unrecorded) = Default::default();
        let changes = lasting;
        Self { op, tx, since: now, synced, lasting, changes, grants, model, counts, first, asked, sent, recorded, unrecorded }
    }
}

impl Open {
    /// Bytes that it has carried, either way.
    pub(crate) fn carried(&self) -> u64 {
        self.unrecorded.saturating_add(self.recorded as u64)
    }
}

impl SessionRecord {
    pub(crate) fn new(
        desk: Arc<Desk>,
        recorder: Box<dyn SessionRecorder>,
        session: SessionId,
        who: Arc<str>,
        connection: Arc<str>,
        purpose: Option<Arc<str>>,
        keep: ResponseRecording,
    ) -> Self {
        let (asking, settling, place, history) = Default::default();
        Self { desk, recorder, session, who, connection, purpose, keep, asking, settling, place, history }
    }

    /// The same, noting here too what is asked for.
    pub(crate) fn with_history(self, history: Ring) -> Self {
        Self { history, ..self }
    }

    /// Keeps so much of each response from now on.
    pub(crate) fn keep(&mut self, keep: ResponseRecording) {
        self.keep = keep;
    }

    pub(crate) fn request(&mut self, time: Timestamp, operation: &Operation, decision: DecisionFacts) {
        self.recorder.request(operation.id, &operation.bytes);
        // What is prepared will be asked for once more, to be run.
        if decision.verdict != Verdict::Permit || !matches!(operation.request, Request::Prepare { .. }) {
            let (connection, statements) = (Arc::clone(&self.connection), Arc::clone(&decision.statements));
            let (session, op, verdict) = (self.session, operation.id, decision.verdict);
            history::note(&self.history, Past { at: time, connection, session, op, statements, verdict, outcome: None });
        }
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

    /// What happened to a request for approval, before what it allows.
    pub(crate) fn approval(&mut self, time: Timestamp, leaf: ApprovalLeaf) {
        self.asking.push(Leaf { time, kind: LeafKind::Approval(leaf) });
    }

    pub(crate) fn intent(&mut self, time: Timestamp, op: OpId, replaced: bool) {
        let leaf = IntentLeaf { session: self.session, op, replaced };
        self.asking.push(Leaf { time, kind: LeafKind::Intent(leaf) });
    }

    /// Keeps as much of what an operation carries, either way, as the connection's setting says, and counts the rest.
    pub(crate) fn carried(&mut self, open: &mut Open, carried: &Recorded) {
        let room = match self.keep {
            _ if carried.request => usize::MAX,
            ResponseRecording::Full => usize::MAX,
            ResponseRecording::First(most) => most.saturating_sub(open.recorded),
            ResponseRecording::None => 0,
        };
        let (kept, left_out) = carried.bytes.split_at(room.min(carried.bytes.len()));
        open.recorded = open.recorded.saturating_add(if carried.request { 0 } else { kept.len() });
        open.unrecorded = open.unrecorded.saturating_add(left_out.len() as u64);
        if kept.is_empty() {
            return;
        }
        match carried.from {
            Side::Downstream => self.recorder.request(carried.op, kept),
            Side::Upstream => self.recorder.response(carried.op, kept),
        }
    }

    pub(crate) fn outcome(&mut self, time: Timestamp, open: &Open, outcome: Outcome, cost: u64, now: Instant) {
        let mut tags: Vec<String> = outcome.results.into_iter().map(|result| result.tag).collect();
        tags.truncate(OutcomeLeaf::MAX_TAGS);
        history::note_end(&self.history, self.session, open.op, status(outcome.status), &tags);
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
                masked: outcome.masked,
                tokens: outcome.tokens.map(|tokens| TokenFacts { tokens, cost_micros: cost, first_us: first(open) }),
                rec: None,
            }),
        });
    }

    /// The outcome of an operation that the session's end overtook.
    pub(crate) fn overtaken(&mut self, time: Timestamp, open: &Open, now: Instant) {
        let status = if open.sent { Status::Unknown } else { Status::NotSent };
        let outcome =
            Outcome { op: open.op, status, results: Vec::new(), rows: 0, bytes: 0, code: None, masked: None, tokens: None };
        self.outcome(time, open, outcome, 0, now);
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

    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Hands in what has happened, if anything has.
    pub(crate) fn hand_in_settling(&mut self, owner: &Waker) -> Option<Ticket> {
        let leaves = std::mem::take(&mut self.settling);
        self.hand_in(leaves, owner)
    }

    /// Hands in what is about to happen, if anything is.
    pub(crate) fn hand_in_asking(&mut self, owner: &Waker) -> Option<Ticket> {
        let leaves = std::mem::take(&mut self.asking);
        self.hand_in(leaves, owner)
    }

    /// Hands in the content that has come together, once it is enough for a chunk.
    pub(crate) fn hand_in_content(&mut self, owner: &Waker) -> Option<Ticket> {
        if self.recorder.pending() < CHUNK {
            return None;
        }
        let batch = self.batch(Vec::new(), false);
        Some(self.desk.hand_in(batch, owner))
    }

    fn hand_in(&mut self, leaves: Vec<Leaf>, owner: &Waker) -> Option<Ticket> {
        if leaves.is_empty() {
            return None;
        }
        let batch = self.batch(leaves, false);
        Some(self.desk.hand_in(batch, owner))
    }

    /// Appends at once what was handed in, and what is about to happen.
    pub(crate) fn append_asking(&mut self) -> Result<(), LedgerError> {
        let leaves = std::mem::take(&mut self.asking);
        self.append(leaves, false)
    }

    /// Appends the last of it, with the recording's final chunk.
    pub(crate) fn append_last(&mut self) -> Result<(), LedgerError> {
        let leaves = std::mem::take(&mut self.settling);
        self.append(leaves, true)
    }

    fn append(&mut self, leaves: Vec<Leaf>, last: bool) -> Result<(), LedgerError> {
        self.desk.flush();
        if leaves.is_empty() {
            return Ok(());
        }
        let batch = self.batch(leaves, last);
        self.desk.ledger().append(batch).map(drop)
    }

    fn batch(&mut self, mut leaves: Vec<Leaf>, last: bool) -> Batch {
        let chunks = self.seal(last);
        if let Some(place) = self.place {
            leaves.iter_mut().for_each(|leaf| refer(leaf, place));
        }
        Batch { chunks, leaves }
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

/// How long the answer to an operation took until its first byte, in microseconds.
fn first(open: &Open) -> Option<u64> {
    let first = open.first?.saturating_duration_since(open.since);
    Some(u64::try_from(first.as_micros()).unwrap_or(u64::MAX))
}
