//! The open session: operations come, are decided, recorded, forwarded, ended.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use claviger_audit::{CloseReason, DecisionFacts, LedgerError, Position, SessionCloseLeaf, Verdict};
use claviger_model::{Durability, OpId, Refusal, RefusalKind, Tokens, TxId};
use claviger_protocols::{
    BackendKey, Cancel, Closed, Content, Event, Forward, Masker, Notice, Outcome, Protocol, Recorded, Reply, Side, Status,
    TransactionEnd, TransactionResult,
};

use super::deciding::{Asked, Deciding};
use super::holding::Held;
use super::lifetime::{Activity, Lifetime};
use super::open::OpenOperations;
use super::{CancelTarget, Traffic};
use crate::desk::Ticket;
use crate::gateway::Epochs;
use crate::meters::{Meter, Way};
use crate::record::{Open, SessionRecord, close_reason};
use crate::registry::Live;
use crate::usage::{self, Ended, Used};
use crate::{Admission, Connection, Deadlines, Gateway};

/// An open session.
pub(super) struct Serving {
    pub(super) live: Arc<Live>,
    pub(super) connect: DecisionFacts,
    pub(super) record: SessionRecord,
    /// What the client cancels by, and what the upstream does.
    cancel: Option<(Cancel, BackendKey)>,
    /// The connection as the rules in force have it; what is open stays as it was opened.
    pub(super) connection: Arc<Connection>,
    pub(super) tls: bool,
    /// Whether the protocol is still to be told how what belongs to no operation is masked.
    pub(super) masks_aside: bool,
    /// As of which changes the session was last found good.
    pub(super) epochs: Epochs,
    pub(super) lifetime: Lifetime,
    pub(super) open: OpenOperations,
    /// What waits for an approval.
    pub(super) held: Vec<Held>,
    /// What the client is to be told about that.
    pub(super) notices: Vec<Notice>,
    /// Whether there is something new to be looked at in time.
    pub(super) rearm: bool,
    /// What was asked for and is not decided, and what that hangs on.
    pub(super) deciding: Deciding,
    /// Transactions that have begun and not ended: at most one, unless the protocol runs operations side by side.
    pub(super) transactions: Vec<Transaction>,
    /// What this turn does once its leaves are appended.
    pub(super) after_asking: Vec<After>,
    after_settling: Vec<After>,
    pub(super) refusals: Vec<(OpId, Refusal)>,
    /// What was handed in for the record, in that order, and what this allows once it is appended.
    handed_in: VecDeque<(Ticket, HandedIn)>,
    /// The log after the last of what was asked.
    asked_up_to: Position,
    /// What waits for stable storage, in the order of the log.
    waiting: VecDeque<(Position, After)>,
    held_transmits: usize,
    sync: Option<Flush>,
    pub(super) meter: Meter,
}

/// Resolves when the log is on stable storage up to some place.
type Flush = Pin<Box<dyn Future<Output = Result<(), LedgerError>> + Send>>;

pub(super) struct Transaction {
    pub(super) tx: TxId,
    /// Whether what it did must be on stable storage when it ends.
    lasting: bool,
    /// Whether it has changed something.
    pub(super) changed: bool,
    /// Whether it is not known how something of it has ended.
    unknown: bool,
}

/// Leaves that were handed in for the record.
enum HandedIn {
    /// Content of the recording only.
    Content,
    /// What has ended, of which the client may then hear.
    Settling(Vec<After>),
    /// What is about to happen. Without room for it, the operations are refused and the session lives on.
    Asking(Vec<After>, Vec<(OpId, Refusal)>),
}

/// What follows an append.
pub(super) enum After {
    Admit {
        op: OpId,
        forward: Forward,
        masker: Option<Box<dyn Masker>>,
        content: Option<Box<dyn Content>>,
        synced: bool,
    },
    Continue(OpId),
    /// An operation of which more was asked for does not go on.
    Stop(OpId, Refusal),
    /// A group's end may leave when all that was asked before it is on stable storage.
    Commit(u64),
    Release {
        op: OpId,
        synced: bool,
        /// When its completion arrived.
        since: Instant,
    },
    /// What tells the client that its transaction has ended may leave.
    Transmit,
    /// Others are to be told of what is on record now.
    Tell(Box<dyn FnOnce() + Send>),
}

impl After {
    fn tell(self) {
        if let Self::Tell(tell) = self {
            tell();
        }
    }
}

/// Why a session must end: what the client is told, and the stable code.
pub(super) type End = (Refusal, &'static str);

/// What a session begins with.
pub(super) struct Opening {
    pub(super) live: Arc<Live>,
    /// How `connect` was decided.
    pub(super) connect: DecisionFacts,
    pub(super) record: SessionRecord,
    pub(super) cancel: Option<(Cancel, BackendKey)>,
    pub(super) epochs: Epochs,
    pub(super) meter: Meter,
    pub(super) tls: bool,
    pub(super) expires_in: Duration,
}

impl Serving {
    pub(super) fn new(gateway: &Gateway, opening: Opening, now: Instant) -> Self {
        let Opening { live, connect, record, cancel, epochs, meter, tls, expires_in } = opening;
        let deciding = Deciding::new(gateway, &live, &live.identity.chain, &live.connection, tls);
        Self {
            connection: Arc::clone(&live.connection),
            live,
            connect,
            record,
            cancel,
            tls,
            masks_aside: true,
            epochs,
            lifetime: Lifetime::new(now, expires_in),
            open: OpenOperations::default(),
            held: Vec::new(),
            notices: Vec::new(),
            rearm: false,
            deciding,
            transactions: Vec::new(),
            after_asking: Vec::new(),
            after_settling: Vec::new(),
            refusals: Vec::new(),
            handed_in: VecDeque::new(),
            asked_up_to: Position::default(),
            waiting: VecDeque::new(),
            held_transmits: 0,
            sync: None,
            meter,
        }
    }

    pub(super) fn handle_event(&mut self, gateway: &Gateway, event: Event<Admission>, now: Instant) {
        self.lifetime.stir(now);
        match event {
            Event::Operation(operation) => {
                // What is asked for once more, with its content, counts once.
                self.live.operations.fetch_max(operation.id.0, Ordering::Relaxed);
                self.deciding.ask(Asked::Operation(operation));
            }
            Event::Continue(op) => self.deciding.ask(Asked::Continue(op)),
            Event::PutOff(op) => self.deciding.ask(Asked::PutOff(op)),
            Event::Commit(group) => self.deciding.ask(Asked::Commit(group)),
            Event::Outcome(outcome, _spent) => {
                self.deciding.ended(gateway, &outcome);
                self.end_operation(gateway, outcome, now);
            }
            Event::TransactionEnd(end) => {
                self.deciding.transaction_ended(end.tx);
                self.end_transaction(gateway, end);
            }
            Event::Portal(name) => self.deciding.ask(Asked::Portal(name)),
            Event::Unprepared(name) => self.deciding.unprepared(&name),
            Event::Probe(id, probe) => self.deciding.answered(gateway, id, &probe, now),
            _ => {}
        }
    }

    pub(super) fn record(&mut self, recorded: &Recorded, now: Instant) {
        if let Some(open) = self.open.get_mut(recorded.op) {
            if recorded.from == Side::Upstream {
                open.first.get_or_insert(now);
            }
            self.record.carried(open, recorded);
        }
    }

    /// Ends the turn: appends what it gathered, lets the protocol act on it, and looks whether what waits can go on.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        gateway: &Gateway,
        protocol: &mut dyn Protocol<Admission>,
        now: Instant,
    ) -> Result<bool, End> {
        self.poll_held(cx, gateway, now)?;
        self.take_up(cx, gateway, protocol, now)?;
        self.append(cx, protocol).map_err(|error| unrecorded(&error))
    }

    /// Why the session must end now, or when to look again.
    pub(super) fn look(&mut self, deadlines: &Deadlines, now: Instant) -> Result<Instant, End> {
        self.lifetime.look(deadlines, self.activity(), now)
    }

    /// The session is to end when nothing is under way, at the latest after so long.
    pub(super) fn wind_up(&mut self, end: End, now: Instant, within: Duration) {
        self.lifetime.wind_up(end, now, within);
    }

    /// Why the session is to end as soon as nothing is under way, if it is.
    pub(super) fn winding_up(&self) -> Option<&End> {
        self.lifetime.closing().filter(|_| self.lifetime.is_eager())
    }

    /// Ends a session that was to end when nothing is under way, if nothing is.
    pub(super) fn close_if_done(&self) -> Result<(), End> {
        match self.winding_up() {
            Some(end) if self.activity() == Activity::Quiet => Err(end.clone()),
            _ => Ok(()),
        }
    }

    /// Whether anything waits until it is on record.
    pub(super) fn waits_for_the_record(&self) -> bool {
        !(self.waiting.is_empty() && self.handed_in.is_empty() && self.after_settling.is_empty())
    }

    pub(super) fn activity(&self) -> Activity {
        let nothing_under_way = self.open.is_empty() && self.held.is_empty() && self.deciding.is_empty();
        match (nothing_under_way && !self.waits_for_the_record(), self.transactions.is_empty()) {
            (false, _) => Activity::Busy,
            (true, false) => Activity::InTransaction,
            (true, true) => Activity::Quiet,
        }
    }

    /// Whether the client must wait because something has ended that is not yet on record, or a transaction that is not yet on
    /// stable storage.
    pub(super) fn holds_transmits(&self) -> bool {
        self.held_transmits > 0 || self.handed_in.iter().any(|(_, handed_in)| matches!(handed_in, HandedIn::Settling(_)))
    }

    /// Whether something waits for an approval.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether something may be running upstream.
    pub(super) fn has_sent(&self) -> bool {
        self.open.iter().any(|open| open.sent)
    }

    /// Where what runs can be cancelled, if it can other than by closing the socket.
    pub(super) fn cancel_target(&self) -> Option<CancelTarget> {
        let (_, key) = self.cancel.as_ref()?;
        Some(CancelTarget { connection: Arc::clone(&self.live.connection), key: key.clone() })
    }

    pub(super) fn since(&self) -> Instant {
        self.lifetime.since()
    }

    /// Records how everything that was under way ended, as far as it is known, and the session's own end.
    pub(super) fn close(
        mut self,
        gateway: &Gateway,
        closed: &Closed,
        code: Option<&'static str>,
        traffic: &mut Traffic,
        now: Instant,
    ) {
        let time = gateway.now();
        if let Err(error) = self.settle(None) {
            tracing::error!(session = %self.live.id, %error, "the outcomes of a session could not be recorded");
        }
        let held = self.take_held(gateway).into_iter().map(|operation| (operation, "approval.withdrawn"));
        let undecided = self.deciding.take_operations().into_iter().map(|operation| (operation, "operation.withdrawn"));
        for (operation, reason) in held.chain(undecided) {
            let withdrawn = DecisionFacts { verdict: Verdict::Deny, reason: Some(reason.into()), ..self.connect.clone() };
            self.record.request(time, &operation, withdrawn);
        }
        let in_flight: Vec<TxId> = self.open.iter().filter(|open| open.sent).map(|open| open.tx).collect();
        let asked = self.record.append_asking().is_ok();
        for open in std::mem::take(&mut self.open).into_iter().filter(|open| asked || open.asked) {
            self.note_overtaken(gateway, &open, now);
            self.record.overtaken(time, &open, now);
        }
        for Transaction { tx, unknown, .. } in std::mem::take(&mut self.transactions) {
            // A server rolls an open transaction back when its client goes; one with a statement under way may have committed.
            let result =
                if unknown || in_flight.contains(&tx) { TransactionResult::Unknown } else { TransactionResult::Rollback };
            self.record.transaction_end(time, TransactionEnd { tx, result });
        }
        let reason = if code.is_some() { CloseReason::Gateway } else { close_reason(closed) };
        let cancel = self.cancel.as_ref().map(|(cancel, _)| cancel);
        gateway.registry.remove(self.live.id, cancel, time, code.unwrap_or(reason.as_str()));
        let leaf = SessionCloseLeaf {
            session: self.record.session(),
            reason,
            detail: code.map(Into::into),
            operations: self.live.operations.load(Ordering::Relaxed),
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            duration_us: u64::try_from(now.saturating_duration_since(self.since()).as_micros()).unwrap_or(u64::MAX),
        };
        self.count(traffic);
        self.meter.end(code.unwrap_or(reason.as_str()));
        self.record.close(time, leaf);
        if let Err(error) = self.record.append_last() {
            tracing::error!(session = %self.live.id, %error, "the end of a session could not be recorded");
        }
    }

    /// Counts what has passed since it was last counted.
    pub(super) fn count(&self, traffic: &mut Traffic) {
        let (bytes_in, bytes_out) = traffic.uncounted();
        self.meter.carried(bytes_in, bytes_out);
        traffic.counted = (traffic.bytes_in, traffic.bytes_out);
    }

    fn end_operation(&mut self, gateway: &Gateway, outcome: Outcome, now: Instant) {
        let Some(open) = self.open.remove(outcome.op) else { return };
        if outcome.status == Status::Unknown {
            self.transactions.iter_mut().filter(|begun| begun.tx == open.tx).for_each(|begun| begun.unknown = true);
        }
        self.after_settling.push(After::Release { op: open.op, synced: open.synced, since: now });
        let cost = self.note_usage(gateway, &open, &outcome, now);
        self.record.outcome(gateway.now(), &open, outcome, cost, now);
    }

    /// Counts what an operation has used, and says what it cost.
    fn note_usage(&self, gateway: &Gateway, open: &Open, outcome: &Outcome, now: Instant) -> u64 {
        if !open.counts {
            return 0;
        }
        let (rules, model) = (gateway.rules(), open.model.as_deref());
        let (name, chain) = (&self.connection.name, self.deciding.chain());
        let tokens = outcome.tokens.unwrap_or_default();
        let cost = model.map_or(0, |model| usage::cost(&rules.usage.prices, name, model, tokens));
        let Tokens { input, output, .. } = tokens;
        let used = Used { requests: 1, input, output, cost, rows: outcome.rows, bytes: outcome.bytes };
        let since = |at: Instant| at.saturating_duration_since(open.since);
        let ended = Ended { model, used, first: open.first.map(since), all: since(now) };
        gateway.usage.note(&rules.usage, (chain, name), &ended, gateway.now());
        cost
    }

    /// Counts what an operation has used that the session's end has overtaken: of its rows nothing is known.
    fn note_overtaken(&self, gateway: &Gateway, open: &Open, now: Instant) {
        if open.counts && open.sent {
            let used = Used { requests: 1, bytes: open.carried(), ..Used::default() };
            let ended = Ended { model: open.model.as_deref(), used, first: None, all: now.saturating_duration_since(open.since) };
            let who = (self.deciding.chain(), &self.connection.name);
            gateway.usage.note(&gateway.rules().usage, who, &ended, gateway.now());
        }
    }

    fn end_transaction(&mut self, gateway: &Gateway, end: TransactionEnd) {
        self.record.transaction_end(gateway.now(), end);
        let begun = self.transactions.iter().position(|transaction| transaction.tx == end.tx);
        let lasting = begun.is_some_and(|index| self.transactions.remove(index).lasting);
        let committed = end.result != TransactionResult::Rollback;
        match self.connection.durability {
            Durability::Synced => self.after_settling.push(After::Transmit),
            Durability::Auto if lasting && committed => self.after_settling.push(After::Transmit),
            Durability::Auto | Durability::Ordered => {}
        }
    }

    /// Hands in what the turn gathered, and takes up what has been appended and what has reached stable storage.
    fn append(&mut self, cx: &mut Context<'_>, protocol: &mut dyn Protocol<Admission>) -> Result<bool, LedgerError> {
        if let Some(ticket) = self.record.hand_in_settling(cx.waker()) {
            self.handed_in.push_back((ticket, HandedIn::Settling(std::mem::take(&mut self.after_settling))));
        }
        let mut progress = false;
        if let Some(ticket) = self.record.hand_in_asking(cx.waker()) {
            let asking = HandedIn::Asking(std::mem::take(&mut self.after_asking), std::mem::take(&mut self.refusals));
            self.handed_in.push_back((ticket, asking));
        } else {
            // To go on with what is on record already needs no leaf.
            for after in std::mem::take(&mut self.after_asking) {
                progress = true;
                self.go_on(protocol, after);
            }
        }
        if let Some(ticket) = self.record.hand_in_content(cx.waker()) {
            self.handed_in.push_back((ticket, HandedIn::Content));
        }
        progress |= self.poll_appended(protocol)?;
        progress |= self.poll_synced(cx, protocol)?;
        Ok(progress)
    }

    /// What has no leaf of its own follows what was handed in before it.
    fn go_on(&mut self, protocol: &mut dyn Protocol<Admission>, after: After) {
        let before = self.handed_in.iter_mut().rev().find_map(|(_, handed_in)| match handed_in {
            HandedIn::Asking(afters, _) => Some(afters),
            _ => None,
        });
        match (after, before) {
            (After::Commit(group), Some(afters)) => afters.push(After::Commit(group)),
            (After::Commit(group), None) => self.wait_to_commit(protocol, group),
            (after, _) => self.act(protocol, after),
        }
    }

    /// Takes up what has been appended.
    fn poll_appended(&mut self, protocol: &mut dyn Protocol<Admission>) -> Result<bool, LedgerError> {
        let mut progress = false;
        while let Some((ticket, _)) = self.handed_in.front() {
            let Poll::Ready(result) = self.record.desk().poll(*ticket) else { break };
            let Some((_, handed_in)) = self.handed_in.pop_front() else { break };
            progress = true;
            match (handed_in, result) {
                (HandedIn::Content, result) => _ = result?,
                (HandedIn::Settling(afters), result) => self.settled(protocol, afters, result?),
                (HandedIn::Asking(afters, refusals), Ok(position)) => {
                    self.asked(protocol, afters, position);
                    refuse(protocol, refusals);
                }
                (HandedIn::Asking(afters, refusals), Err(LedgerError::Full)) => {
                    self.refuse_unrecorded(protocol, &afters);
                    refuse(protocol, refusals);
                }
                (HandedIn::Asking(..), Err(error)) => return Err(error),
            }
        }
        Ok(progress)
    }

    /// What has ended is on record: the client may hear of it, at once or when it is on stable storage.
    fn settled(&mut self, protocol: &mut dyn Protocol<Admission>, afters: Vec<After>, position: Position) {
        for after in afters {
            match after {
                After::Release { synced: false, op, since } => {
                    self.meter.leaves(Way::Downstream, since);
                    protocol.resume(Reply::Release(op));
                }
                After::Transmit => {
                    self.held_transmits += 1;
                    self.waiting.push_back((position, After::Transmit));
                }
                after => self.waiting.push_back((position, after)),
            }
        }
    }

    /// What is about to happen is on record: it may happen, at once or when that is on stable storage.
    fn asked(&mut self, protocol: &mut dyn Protocol<Admission>, afters: Vec<After>, position: Position) {
        self.note_asked(&afters);
        self.asked_up_to = position;
        for after in afters {
            match after {
                After::Admit { synced: true, .. } => self.waiting.push_back((position, after)),
                After::Commit(group) => self.wait_to_commit(protocol, group),
                after => self.act(protocol, after),
            }
        }
    }

    fn wait_to_commit(&mut self, protocol: &mut dyn Protocol<Admission>, group: u64) {
        match self.connection.durability {
            Durability::Ordered => self.act(protocol, After::Commit(group)),
            Durability::Auto | Durability::Synced => self.waiting.push_back((self.asked_up_to, After::Commit(group))),
        }
    }

    fn note_asked(&mut self, afters: &[After]) {
        for op in admitted(afters) {
            if let Some(open) = self.open.get_mut(op) {
                open.asked = true;
            }
        }
    }

    /// Appends at once what has ended, and lets the client hear of it if there still is one. Nothing more leaves.
    pub(super) fn settle(&mut self, mut protocol: Option<&mut dyn Protocol<Admission>>) -> Result<(), LedgerError> {
        if let Some(ticket) = self.record.hand_in_settling(Waker::noop()) {
            self.handed_in.push_back((ticket, HandedIn::Settling(std::mem::take(&mut self.after_settling))));
        }
        self.record.desk().flush();
        for (ticket, handed_in) in std::mem::take(&mut self.handed_in) {
            let Poll::Ready(result) = self.record.desk().poll(ticket) else { continue };
            match (handed_in, result, &mut protocol) {
                (HandedIn::Asking(afters, _), Ok(_), _) => {
                    self.note_asked(&afters);
                    afters.into_iter().for_each(After::tell);
                }
                (HandedIn::Asking(afters, _), Err(_), _) => self.forget(&afters),
                (HandedIn::Settling(afters), Ok(position), Some(protocol)) => self.settled(*protocol, afters, position),
                (_, result, _) => _ = result?,
            }
        }
        Ok(())
    }

    /// What could not be recorded as asked was never asked.
    fn forget(&mut self, afters: &[After]) {
        for op in admitted(afters) {
            self.open.remove(op);
        }
    }

    fn refuse_unrecorded(&mut self, protocol: &mut dyn Protocol<Admission>, afters: &[After]) {
        for after in afters {
            let op = match after {
                After::Admit { op, .. } => op,
                After::Continue(op) => {
                    protocol.resume(Reply::Continue(*op));
                    continue;
                }
                After::Stop(op, refusal) => {
                    protocol.resume(Reply::Refuse { op: *op, refusal: refusal.clone() });
                    continue;
                }
                After::Commit(group) => {
                    self.wait_to_commit(protocol, *group);
                    continue;
                }
                After::Release { .. } | After::Transmit | After::Tell(_) => continue,
            };
            self.meter.unrecorded();
            self.open.remove(*op);
            let refusal = Refusal::new(RefusalKind::AuditUnavailable, LedgerError::Full.to_string());
            protocol.resume(Reply::Refuse { op: *op, refusal });
        }
    }

    fn poll_synced(&mut self, cx: &mut Context<'_>, protocol: &mut dyn Protocol<Admission>) -> Result<bool, LedgerError> {
        let mut progress = false;
        while let Some((position, _)) = self.waiting.front() {
            let position = *position;
            let ledger = self.record.desk().ledger();
            let sync = self.sync.get_or_insert_with(|| ledger.synced(position));
            let Poll::Ready(result) = sync.as_mut().poll(cx) else { break };
            self.sync = None;
            result?;
            while let Some((_, after)) = self.waiting.pop_front_if(|(reached, _)| *reached <= position) {
                progress = true;
                self.act(protocol, after);
            }
        }
        Ok(progress)
    }

    fn act(&mut self, protocol: &mut dyn Protocol<Admission>, after: After) {
        match after {
            After::Admit { op, forward, masker, content, .. } => {
                let Some(open) = self.open.get_mut(op) else { return };
                open.sent = true;
                self.meter.leaves(Way::Upstream, open.since);
                // The newest is the likeliest.
                match self.transactions.iter_mut().rev().find(|transaction| transaction.tx == open.tx) {
                    Some(transaction) => {
                        transaction.lasting |= open.lasting;
                        transaction.changed |= open.changes;
                    }
                    None => {
                        let (tx, lasting, changed) = (open.tx, open.lasting, open.changes);
                        self.transactions.push(Transaction { tx, lasting, changed, unknown: false });
                    }
                }
                protocol.resume(Reply::Admit { op, admission: Admission::mint(op), forward, masker, content });
            }
            After::Continue(op) => protocol.resume(Reply::Continue(op)),
            After::Stop(op, refusal) => protocol.resume(Reply::Refuse { op, refusal }),
            After::Commit(group) => protocol.resume(Reply::Commit(group)),
            After::Release { op, since, .. } => {
                self.meter.leaves(Way::Downstream, since);
                protocol.resume(Reply::Release(op));
            }
            After::Transmit => self.held_transmits = self.held_transmits.saturating_sub(1),
            tell @ After::Tell(_) => tell.tell(),
        }
    }
}

pub(super) fn unrecorded(error: &LedgerError) -> End {
    (Refusal::new(RefusalKind::AuditUnavailable, error.to_string()), "audit.unavailable")
}

fn admitted(afters: &[After]) -> impl Iterator<Item = OpId> {
    afters.iter().filter_map(|after| match after {
        After::Admit { op, .. } => Some(*op),
        _ => None,
    })
}

fn refuse(protocol: &mut dyn Protocol<Admission>, refusals: Vec<(OpId, Refusal)>) {
    for (op, refusal) in refusals {
        protocol.resume(Reply::Refuse { op, refusal });
    }
}
