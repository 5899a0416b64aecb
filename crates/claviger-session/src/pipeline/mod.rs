//! One session's pipeline: see the crate's essay for the path of an operation.
//!
//! [`Pipeline::poll`] is the turn: it hears what the protocol has to say, decides, and hands in for the record what it has
//! gathered. When that is appended, and only then, the protocol may act on it, and what has ended may be told to the client: the
//! record is always ahead of both parties.

mod arrival;
mod deciding;
mod holding;
mod lifetime;
mod open;
mod patience;
mod serving;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind, Secret, SessionId};
use claviger_protocols::{BackendKey, Closed, Event, Protocol, Reply, Side};

use self::arrival::{Entrant, Identifying, Waiting};
use self::patience::Patience;
use self::serving::{Serving, unrecorded};
use crate::budget::Slot;
use crate::registry::Order;
use crate::seats::Seat;
use crate::{Admission, Connection, Desk, Gateway, Route};

/// One session, from the first byte to the last.
pub struct Pipeline {
    gateway: Arc<Gateway>,
    desk: Arc<Desk>,
    protocol: Box<dyn Protocol<Admission>>,
    arrival: Arrival,
    stage: Stage,
    deadline: Option<Instant>,
    steps: VecDeque<Step>,
    /// The stable code of why the gateway is ending the session.
    ending: Option<&'static str>,
    /// Whether what is left for the client says what is not on record: then it hears nothing more.
    withholds: bool,
    tls: Legs,
    /// Those that the client has shown, until it is known who it is.
    certificates: Vec<Bytes>,
    traffic: Traffic,
    /// Held until both sockets are closed.
    seat: Option<Seat>,
    /// Held until the upstream's is.
    slot: Option<Slot>,
    /// Bytes to the client when it was last seen not to read, in a session that is to end.
    stalled: Option<u64>,
    patience: Patience,
}

/// What is known of a client when it arrives.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The session that it may become.
    pub id: SessionId,
    /// Where the listener leads.
    pub route: Route,
    /// Where the client is.
    pub client: SocketAddr,
    /// Whether its socket has carried a session before, so that it may be silent without being a stranger.
    pub again: bool,
}

/// What the driver must do for the session.
#[derive(Debug)]
pub enum Step {
    /// Write what there is to transmit to this side, then start TLS on it, then call [`Pipeline::tls_started`].
    StartTls(Side),
    /// As [`StartTls`](Self::StartTls) for the client's side, which has begun by itself: what was read of it and not taken is part of
    /// TLS. Without the protocol's name in it (ALPN), the connection is to be closed.
    DirectTls,
    /// Take the client's socket for one that carries many streams, and give each of them pipelines of its own. This one is of no use any more.
    Multiplex,
    /// Open a socket to the connection's upstream and find its credential, then call [`Pipeline::connected`].
    Connect(Arc<Connection>),
    /// Ask an upstream to cancel what one of its sessions runs, on a socket apart. There is no answer.
    Cancel(CancelTarget),
    /// Write what there is to transmit, as far as it can be done before the deadline, and close both sockets.
    Close,
}

/// What came of starting TLS.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// Its version, for the record.
    pub version: Arc<str>,
    /// The peer's certificates (DER), its own first, whose key it has proved to hold. Nothing else is said of them.
    pub certificates: Vec<Bytes>,
}

/// The upstream session in which something is to be cancelled.
#[derive(Clone, Debug)]
pub struct CancelTarget {
    /// Where.
    pub connection: Arc<Connection>,
    /// Which.
    pub key: BackendKey,
}

/// How far the session has come.
enum Stage {
    /// The client has not said who it is.
    Arriving,
    /// The client's token needs something of its issuer that is being fetched.
    Identifying(Identifying),
    /// The client may connect; the upstream bears no more sessions for the moment.
    Waiting(Box<Waiting>),
    /// The client may connect; the upstream is not ready.
    Entering(Box<Entrant>),
    /// Operations come and go.
    Serving(Box<Serving>),
    /// All is said; last bytes may be under way.
    Closed,
}

/// The TLS version on each leg; `None` is plain text.
#[derive(Default)]
struct Legs {
    downstream: Option<Arc<str>>,
    upstream: Option<Arc<str>>,
}

/// Bytes from and to the client.
#[derive(Default)]
struct Traffic {
    bytes_in: u64,
    bytes_out: u64,
    /// What of it has been counted.
    counted: (u64, u64),
}

impl Traffic {
    /// Counting can wait until so many bytes have passed, or an operation has.
    const UNCOUNTED: u64 = 256 * 1024;

    fn uncounted(&self) -> (u64, u64) {
        (self.bytes_in - self.counted.0, self.bytes_out - self.counted.1)
    }
}

impl Pipeline {
    /// The pipeline of a client that has just been accepted.
    pub fn new(
        gateway: Arc<Gateway>,
        desk: Arc<Desk>,
        protocol: Box<dyn Protocol<Admission>>,
        arrival: Arrival,
        now: Instant,
    ) -> Self {
        let login = gateway.rules().deadlines.login;
        let deadline = now.checked_add(login);
        Self {
            gateway,
            desk,
            protocol,
            arrival,
            stage: Stage::Arriving,
            deadline,
            steps: VecDeque::new(),
            ending: None,
            withholds: false,
            tls: Legs::default(),
            certificates: Vec::new(),
            traffic: Traffic::default(),
            seat: None,
            slot: None,
            stalled: None,
            patience: Patience::new(now),
        }
    }

    /// Whether the client has proved who it is and has been let in as far as the upstream.
    pub fn is_known(&self) -> bool {
        self.seat.is_some()
    }

    /// Once it asked for [`Step::Close`]: whether the client's socket stays open and is for another session.
    pub fn leaves_client(&self) -> bool {
        self.protocol.leaves_client() && self.ending.is_none() && !self.withholds && !self.gateway.is_draining()
    }

    /// Whether what was asked has not left, so that another socket to the upstream does as well if this one is lost.
    pub fn may_reopen(&self) -> bool {
        self.ending.is_none() && self.protocol.may_reopen()
    }

    /// Once it asked for [`Step::Close`]: whether the upstream's socket is for whichever session comes next. Where the upstream bears so many
    /// and no more, none is kept in waiting.
    pub fn leaves_upstream(&self) -> bool {
        self.protocol.leaves_upstream() && !self.is_awaited() && !self.gateway.is_draining()
    }

    /// Whether it is the gateway that ends the session, in spite of the client.
    pub fn is_ended(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether others may wait for this session's upstream socket to close.
    pub fn is_awaited(&self) -> bool {
        self.slot.as_ref().is_some_and(Slot::is_limited)
    }

    /// The upstream's socket is closed: others may have theirs, however long the client takes for its farewell.
    pub fn left_upstream(&mut self) {
        self.slot = None;
    }

    /// Whether the driver should read from this side.
    pub fn wants_input(&self, from: Side) -> bool {
        !matches!(self.stage, Stage::Closed) && self.protocol.wants_input(from)
    }

    /// Whether something waits for people or for the upstream, so that it must be seen when the client goes, however much it has sent ahead.
    pub fn is_waiting(&self) -> bool {
        matches!(&self.stage, Stage::Serving(serving) if serving.is_holding() || self.patience.is_for_upstream())
    }

    /// Takes what it can of what was read; the rest stays in the buffer for the next call. `read` is how many bytes are new.
    pub fn handle_input(&mut self, from: Side, input: &mut BytesMut, read: usize) {
        if from == Side::Downstream {
            self.traffic.bytes_in += read as u64;
        }
        if read > 0 {
            self.patience.came(from);
        }
        self.protocol.handle_input(from, input);
    }

    /// This side sends no more.
    pub fn handle_eof(&mut self, from: Side) {
        self.protocol.handle_eof(from);
    }

    /// The connection to this side is lost.
    pub fn handle_loss(&mut self, from: Side) {
        self.protocol.handle_loss(from);
    }

    /// TLS has started on this side.
    pub fn tls_started(&mut self, side: Side, facts: TlsFacts) {
        let certificate = facts.certificates.first().cloned();
        match side {
            Side::Downstream => {
                self.tls.downstream = Some(facts.version);
                self.certificates = facts.certificates;
            }
            Side::Upstream => self.tls.upstream = Some(facts.version),
        }
        self.protocol.resume(Reply::TlsStarted(side, certificate));
    }

    /// The upstream's socket is open and its credential found, or not.
    pub fn connected(&mut self, result: Result<Option<Secret>, Refusal>, now: Instant) {
        match result {
            Ok(password) => self.log_in_upstream(password),
            Err(refusal) => self.refuse_entry(refusal, "upstream.unavailable", now),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ending.is_some() {
            // The linger is over.
            self.deadline = None;
            self.close(&Closed::ByClient, now);
            return;
        }
        match &mut self.stage {
            Stage::Serving(_) => self.look(now),
            Stage::Closed => self.deadline = None,
            Stage::Waiting(_) => {
                let refusal =
                    Refusal::new(RefusalKind::TooMany, "the upstream has all the sessions that it bears; try again later");
                self.refuse_entry(refusal, "limit.upstream_wait", now);
            }
            Stage::Arriving if self.arrival.again => {
                self.end(Refusal::new(RefusalKind::Idle, "nothing was asked for too long"), "session.idle", now);
            }
            Stage::Arriving | Stage::Identifying(_) | Stage::Entering(_) => {
                let refusal = Refusal::new(RefusalKind::TimedOut, "the login took too long");
                self.refuse_entry(refusal, "login.timeout", now);
            }
        }
    }

    /// The client, of whom nothing is known yet, must make way for another. One that has been refused already goes at once.
    pub fn evict(&mut self, code: &'static str, now: Instant) {
        if self.ending.is_some() {
            self.close(&Closed::ByClient, now);
        } else if !self.is_known() {
            self.refuse_entry(Refusal::new(RefusalKind::TooMany, "too many connections that have not logged in"), code, now);
        }
    }

    /// Takes a turn. The next thing that the driver must do, or pending: then whatever there is to transmit may leave.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Step> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Poll::Ready(step);
            }
            let mut progress = self.poll_identity(cx, now);
            progress |= self.poll_wait(cx, now);
            progress |= self.poll_orders(cx, now);
            progress |= self.hear(now);
            progress |= self.poll_serving(cx, now);
            if !progress && self.steps.is_empty() {
                self.watch(now);
                return Poll::Pending;
            }
        }
    }

    /// The next bytes to write to a side, once [`poll`](Self::poll) is pending or asks for TLS or the end.
    pub fn poll_transmit(&mut self, to: Side) -> Option<Bytes> {
        let withholds = match &self.stage {
            Stage::Serving(serving) => serving.holds_transmits(),
            _ => self.withholds,
        };
        if to == Side::Downstream && withholds {
            return None;
        }
        let transmit = self.protocol.poll_transmit(to)?;
        if to == Side::Downstream {
            self.traffic.bytes_out += transmit.bytes.len() as u64;
        }
        Some(transmit.bytes)
    }

    /// Whether [`written`](Self::written) is to be called after this turn's bytes were written.
    pub fn measures(&self) -> bool {
        let Stage::Serving(serving) = &self.stage else { return false };
        let (bytes_in, bytes_out) = self.traffic.uncounted();
        serving.meter.is_waiting() || bytes_in + bytes_out > Traffic::UNCOUNTED
    }

    /// What this turn had to transmit was handed to the sockets, as far as they took it.
    pub fn written(&mut self, now: Instant) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        serving.meter.left(now);
        serving.count(&mut self.traffic);
    }

    /// Hears all that the protocol has to say.
    fn hear(&mut self, now: Instant) -> bool {
        let mut heard = false;
        while let Some(recorded) = self.protocol.poll_recorded() {
            if let Stage::Serving(serving) = &mut self.stage {
                serving.record(&recorded, now);
            }
        }
        while let Some(event) = self.protocol.poll_event() {
            heard = true;
            self.handle_event(event, now);
        }
        heard
    }

    fn handle_event(&mut self, event: Event<Admission>, now: Instant) {
        match event {
            Event::StartTls(side) => self.steps.push_back(Step::StartTls(side)),
            Event::DirectTls => self.steps.push_back(Step::DirectTls),
            Event::Multiplex => self.steps.push_back(Step::Multiplex),
            Event::Login(login) => self.authenticate(login, now),
            Event::Cancel(cancel) => {
                let target = self.gateway.registry.cancel(&cancel);
                self.steps.extend(target.map(|(connection, key)| Step::Cancel(CancelTarget { connection, key })));
            }
            Event::Ready(key) => self.open(key, now),
            Event::Closed(closed) => self.close(&closed, now),
            event => {
                if let Stage::Serving(serving) = &mut self.stage {
                    serving.handle_event(&self.gateway, event, now);
                }
            }
        }
    }

    fn poll_serving(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Stage::Serving(serving) = &mut self.stage else { return false };
        let polled = serving.poll(cx, &self.gateway, self.protocol.as_mut(), now);
        let rearm = std::mem::take(&mut serving.rearm);
        match polled.and_then(|progress| serving.close_if_done().map(|()| progress)) {
            Ok(progress) => {
                if rearm {
                    self.look(now);
                }
                // What is new in waiting has not been asked yet, and so would wake nobody.
                progress || rearm
            }
            Err((refusal, code)) => {
                self.end(refusal, code, now);
                true
            }
        }
    }

    /// Obeys an order from outside.
    fn poll_orders(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Stage::Serving(serving) = &mut self.stage else { return false };
        let order = serving.live.poll_order(cx.waker());
        if serving.live.take_cancel() {
            serving.cancel_undecided(&self.gateway);
        }
        if serving.live.take_recheck()
            && let Err((refusal, code)) = serving.recheck_grants(&self.gateway)
        {
            self.end(refusal, code, now);
            return true;
        }
        let Some(order) = order else { return false };
        match order {
            Order::End(refusal, code) => self.end(refusal, code, now),
            Order::WindUp(refusal, code) => {
                serving.wind_up((refusal, code), now, self.gateway.rules().deadlines.drain);
                self.look(now);
            }
            Order::Rearm => self.look(now),
        }
        true
    }

    fn end_unrecorded(&mut self, error: &claviger_audit::LedgerError, now: Instant) {
        let (refusal, code) = unrecorded(error);
        self.end(refusal, code, now);
    }

    /// Ends the session with an error for the client. What still runs upstream is cancelled: closing the socket alone would
    /// let it run to its end.
    fn end(&mut self, refusal: Refusal, code: &'static str, now: Instant) {
        if self.ending.is_some() || matches!(self.stage, Stage::Closed) {
            return;
        }
        self.ending = Some(code);
        self.deadline = now.checked_add(self.gateway.rules().deadlines.linger);
        if let Stage::Serving(serving) = &self.stage
            && serving.has_sent()
        {
            self.steps.extend(serving.cancel_target().map(Step::Cancel));
        }
        self.protocol.resume(Reply::Terminate(refusal));
    }

    /// Writes the last leaves; nothing happens in the session after this.
    fn close(&mut self, closed: &Closed, now: Instant) {
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Serving(mut serving) => {
                // What ended before the session did is recorded, so the client may still hear of it; but not of the end of a
                // transaction that is not on record as it must be, nor of anything after that.
                let settled = serving.settle(Some(self.protocol.as_mut()));
                self.withholds = settled.is_err() || serving.holds_transmits();
                if let Err(error) = settled {
                    tracing::error!(session = %self.arrival.id, %error, "the outcomes of a session could not be recorded");
                }
                serving.close(&self.gateway, closed, self.ending, &mut self.traffic, now);
            }
            Stage::Entering(entrant) if self.ending.is_none() => self.record_no_entry(&entrant, closed),
            Stage::Waiting(waiting) if self.ending.is_none() => self.record_no_entry(&waiting.entrant, closed),
            _ => {}
        }
        self.deadline = now.checked_add(self.gateway.rules().deadlines.linger);
        self.steps.push_back(Step::Close);
    }
}

/// A session whose task ends without a word, as by a panic or a dropped runtime, still leaves its last leaves.
impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Stage::Serving(serving) = std::mem::replace(&mut self.stage, Stage::Closed) {
            let closed = Closed::ByGateway(Refusal::new(RefusalKind::Internal, "the session was abandoned"));
            let since = serving.since();
            serving.close(&self.gateway, &closed, Some("session.abandoned"), &mut self.traffic, since);
        }
    }
}
