//! PostgreSQL, frontend/backend protocol 3.0 (PostgreSQL manual, chapter 55).
//!
//! A session has two halves that share one state. [`login`] lets the client in and logs in to the upstream. From then on:
//!
//! - [`downstream`] takes the client's frames and *plans* them in order: an operation is announced at once and waits in a queue
//!   for its decision, with everything behind it. A frame whose meaning depends on answers that are still out (a statement
//!   name that may change, a portal that may be suspended) is not planned before they are in.
//! - [`forward`] sends the decided head of the queue and notes in a FIFO what the server will answer.
//! - [`upstream`] holds each answer against that FIFO. Rows pass as the original bytes, unread and uncopied. Completions stand
//!   behind a barrier until their outcome is recorded; all that follows waits behind it, in order.
//!
//! A refusal is a *poison*: a statement that the server must reject takes the refused one's place, and its error is replaced by
//! ours. So the server itself computes the state of the transaction and what is skipped up to the next Sync.
//!
//! A simple Query is one operation. The completions of its statements but the last flow before the outcome is recorded, since
//! keeping them would keep the rows between them; the last one and ReadyForQuery wait. An explicit COMMIT inside a batch may
//! thus be acknowledged before the batch's outcome is recorded.
//!
//! What this codec cannot see: a function or DO block that deallocates a prepared statement and makes another of the same name
//! by a text that it composes itself.

mod access;
mod describe;
mod downstream;
mod expect;
mod forward;
mod frame;
mod login;
mod md5;
mod message;
mod outbox;
mod refuse;
mod registry;
mod scram;
mod startup;
#[cfg(test)]
mod tests;
mod transaction;
mod upstream;

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use claviger_model::{OpId, Refusal, RefusalKind, TxId};

pub use describe::{Described, describe};
pub use message::{SSL_REQUEST, cancel_request};
pub use scram::ScramKeys;

use crate::{
    Admitted, Closed, Event, Forward, Limits, Outcome, ProbeId, Protocol, ProtocolOptions, Reply, Response, Side,
    StatementResult, Status, Transmit,
};
use downstream::{Ahead, Raw};
use expect::{Expect, Running};
use forward::{Item, Verdict};
use login::{Login, Phase};
use outbox::Outbox;
use refuse::Fault;
use registry::Registry;
use transaction::Transaction;

/// This protocol's line in the list.
pub const ENTRY: crate::ProtocolEntry = crate::ProtocolEntry { kind: "postgres", title: "PostgreSQL", default_port: 5432 };

/// So many requests may be unanswered; more are not read.
const MAX_UNANSWERED: usize = 16 * 1024;

/// What a waiting frame costs beside its bytes, counted against [`Limits::pending`].
const FRAME_COST: usize = 64;

/// One proxied PostgreSQL connection.
pub struct Postgres<A> {
    limits: Limits,
    login: Login,
    phase: Phase,
    events: VecDeque<Event<A>>,
    responses: VecDeque<Response>,
    /// To the client.
    down: Outbox,
    /// To the upstream.
    up: Outbox,

    /// The client's frames, not yet planned.
    inbox: VecDeque<Raw>,
    inbox_bytes: usize,
    /// What of a streamed client frame is still to come.
    down_stream: usize,
    /// Planned, not yet sent.
    queue: VecDeque<Item>,
    queue_bytes: usize,
    /// Sent, not yet answered.
    expects: VecDeque<Expect>,
    /// What of a streamed server frame is still to come.
    up_stream: usize,
    running: Running,
    ahead: Ahead,
    registry: Registry,
    ops: HashMap<OpId, Op<A>>,
    last_op: u64,
    last_tx: u64,
    tx: Transaction,
    copy: Copy,
    /// The server passes over everything up to the next Sync.
    skipping: bool,
    /// An extended-protocol message went out since the last Sync.
    mid_group: bool,
    /// Nothing that the server may hold back unflushed went out since the last Sync, Query or Flush.
    flushed: bool,
    probes: VecDeque<(ProbeId, String)>,
    /// The client is gone; what it sent before is still being answered.
    leaving: bool,
}

/// A COPY FROM STDIN, as the client's frames see it (manual, 55.2.6).
#[derive(Default)]
struct Copy {
    /// The server reads CopyData, and ignores Sync and Flush.
    open: bool,
    /// Whether the copy frame that is being streamed passes.
    passes: bool,
    /// The last CopyData went out in part.
    partial: bool,
    /// Syncs that the server is thought to have ignored. If the COPY failed before it read them, it answers them after all.
    absorbed: usize,
}

/// An operation between its announcement and its outcome.
struct Op<A> {
    admission: Option<A>,
    tx: TxId,
    nature: access::Nature,
    /// The name in a plain DEALLOCATE.
    deallocated: Option<Vec<u8>>,
    results: Vec<StatementResult>,
    rows: u64,
    bytes: u64,
    code: Option<String>,
}

impl<A> Postgres<A> {
    /// A connection that has just been accepted.
    pub fn new(options: ProtocolOptions) -> Self {
        Self {
            limits: options.limits,
            login: Login::new(options),
            phase: Phase::Greeting,
            events: VecDeque::new(),
            responses: VecDeque::new(),
            down: Outbox::default(),
            up: Outbox::default(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            down_stream: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            expects: VecDeque::new(),
            up_stream: 0,
            running: Running::default(),
            ahead: Ahead::default(),
            registry: Registry::default(),
            ops: HashMap::new(),
            last_op: 0,
            last_tx: 0,
            tx: Transaction::default(),
            copy: Copy::default(),
            skipping: false,
            mid_group: false,
            flushed: true,
            probes: VecDeque::new(),
            leaving: false,
        }
    }

    /// Ends the session with an error, at a frame boundary of each side if there is one.
    fn terminate(&mut self, refusal: Refusal) {
        if self.phase == Phase::Closed {
            return;
        }
        let whole = self.down.cut() || self.up_stream == 0;
        if whole && self.phase != Phase::StartingClientTls {
            self.down.push(refuse::fatal(&refusal, self.phase == Phase::Serving));
        }
        if matches!(self.phase, Phase::Settling | Phase::LoggedIn | Phase::Serving) && !self.copy.partial {
            self.up.push(message::write_bare(b'X'));
        }
        self.close(Closed::ByGateway(refusal));
    }

    fn close(&mut self, how: Closed) {
        self.phase = Phase::Closed;
        self.inbox.clear();
        self.queue.clear();
        self.expects.clear();
        self.events.push_back(Event::Closed(how));
    }

    /// The client is gone. What was sent for it is still answered and recorded.
    fn leave(&mut self) {
        if self.leaving {
            return;
        }
        if self.phase != Phase::Serving {
            return self.close(Closed::ByClient);
        }
        self.leaving = true;
        self.inbox.clear();
        self.queue.clear();
        self.down = Outbox::default();
        if self.copy.partial {
            return self.close(Closed::ByClient);
        }
        self.up.push(message::write_bare(b'X'));
        self.left();
    }

    /// Closes once nothing that was sent is unanswered. A last group without a Sync is never answered.
    fn left(&mut self) {
        let answerable = self.expects.iter().any(|expect| matches!(expect, Expect::Batch { .. } | Expect::Sync));
        if self.leaving && self.phase == Phase::Serving && !answerable {
            self.close(Closed::ByClient);
        }
    }

    /// Hands part of an operation's response to the client and to the recording.
    fn deliver(&mut self, op: Option<OpId>, bytes: Bytes) {
        if let Some((id, op)) = op.and_then(|id| self.ops.get_mut(&id).map(|op| (id, op))) {
            op.bytes += bytes.len() as u64;
            self.responses.push_back(Response { op: id, bytes: bytes.clone() });
        }
        if !self.leaving {
            self.down.push(bytes);
        }
    }

    /// Reports an operation's end. What is delivered from here on waits for its release.
    fn finish(&mut self, id: OpId, status: Status) {
        let Some(op) = self.ops.remove(&id) else { return };
        let Some(admission) = op.admission else { return };
        let outcome = Outcome { op: id, status, results: op.results, rows: op.rows, bytes: op.bytes, code: op.code };
        self.events.push_back(Event::Outcome(outcome, Admitted(admission)));
        if !self.leaving {
            self.down.barrier(id);
        }
    }

    fn judge(&mut self, id: OpId, verdict: Verdict, admission: Option<A>) {
        let Some(item) = self.queue.iter_mut().find(|item| item.awaits(id)) else { return };
        item.decide(verdict);
        if let (Some(admission), Some(op)) = (admission, self.ops.get_mut(&id)) {
            op.admission = Some(admission);
        }
        self.pump();
    }

    /// Whether everything that was sent has been answered and nothing waits to be sent.
    fn is_quiescent(&self) -> bool {
        self.queue.is_empty() && self.expects.is_empty()
    }

    /// Goes on as far as possible.
    fn pump(&mut self) {
        while self.phase == Phase::Serving && !self.leaving {
            let planned = self.plan();
            let sent = self.forward();
            if !planned && !sent {
                break;
            }
        }
    }
}

impl<A: Send> Protocol<A> for Postgres<A> {
    fn handle_input(&mut self, from: Side, input: &mut BytesMut) {
        if self.phase == Phase::Closed {
            return input.clear();
        }
        let result = match (self.phase, from) {
            (Phase::Serving, Side::Downstream) if self.wants_input(from) => self.take_client_frames(input),
            (Phase::Serving, Side::Upstream) if self.wants_input(from) => self.take_server_frames(input),
            (Phase::Serving, _) => Ok(()),
            _ => self.login_input(from, input),
        };
        // What came before a fault is told before it, however the input was cut.
        self.pump();
        if let Err(fault) = result {
            self.terminate(fault.into());
        }
        self.left();
    }

    fn handle_eof(&mut self, from: Side) {
        match from {
            _ if self.phase == Phase::Closed => {}
            Side::Downstream => self.leave(),
            Side::Upstream if self.leaving => self.close(Closed::ByClient),
            Side::Upstream => {
                if self.up_stream == 0 {
                    let refusal = Fault::Upstream("the upstream closed the connection").into();
                    self.down.push(refuse::fatal(&refusal, self.phase == Phase::Serving));
                }
                self.close(Closed::ByUpstream);
            }
        }
    }

    fn wants_input(&self, from: Side) -> bool {
        match (self.phase, from) {
            (Phase::Greeting | Phase::AwaitingPassword, Side::Downstream) => true,
            (Phase::AskingTls | Phase::Authenticating | Phase::Settling, Side::Upstream) => true,
            (Phase::Serving, Side::Downstream) => {
                let waiting = self.inbox_bytes + self.queue_bytes + self.up.len();
                !self.leaving && waiting <= self.limits.pending && self.expects.len() < MAX_UNANSWERED
            }
            (Phase::Serving, Side::Upstream) => self.down.len() <= self.limits.response,
            _ => false,
        }
    }

    fn poll_event(&mut self) -> Option<Event<A>> {
        self.events.pop_front()
    }

    fn poll_response(&mut self) -> Option<Response> {
        self.responses.pop_front()
    }

    fn resume(&mut self, reply: Reply<A>) {
        match reply {
            Reply::TlsStarted(side) => self.tls_started(side),
            Reply::Authenticated(upstream) => self.authenticated(upstream),
            Reply::Serve => self.serve(),
            Reply::Admit { op, admission, forward } => self.judge(op, Verdict::Go(forward), Some(admission)),
            Reply::Continue(op) => self.judge(op, Verdict::Go(Forward::Original), None),
            Reply::Refuse { op, refusal } => self.judge(op, Verdict::Refused(refusal), None),
            Reply::Release(op) => self.down.release(op),
            Reply::Probe(id, text) => {
                self.probes.push_back((id, text));
                self.pump();
            }
            Reply::Terminate(refusal) => self.terminate(refusal),
        }
    }

    fn poll_transmit(&mut self, to: Side) -> Option<Transmit> {
        let outbox = match to {
            Side::Downstream => &mut self.down,
            Side::Upstream => &mut self.up,
        };
        outbox.pop().map(|bytes| Transmit { bytes })
    }
}

/// The refusal of a session that asks for more statements or portals than it may keep.
fn too_many() -> Refusal {
    Refusal::new(RefusalKind::TooLarge, "too many prepared statements or portals")
}
