//! A bench on which one session of a protocol runs between a client's transcript and a scripted upstream.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use claviger_model::{OpId, Refusal, RefusalKind};
use claviger_protocols::{
    Closed, Event, Forward, Limits, Operation, Outcome, Probe, Protocol, Reply, Side, UpstreamLogin, UpstreamTls,
};

use super::{Subject, Upstream};

/// Limits so small that a test can reach them.
pub const LIMITS: Limits =
    Limits { statement: 4096, login: 2048, pending: 8192, control: 4096, response: 8192, row: 8192, statements: 64 };

/// How the bytes of both sides are cut before they are handed over.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// As much as there is.
    Whole,
    /// Once, at this byte of each side's whole stream.
    At(usize),
    /// Into pieces of this size.
    Every(usize),
    /// Into pieces of random size.
    Random(u64),
}

/// What the bench answers when an operation is asked for.
pub enum Verdict {
    /// It goes ahead.
    Admit,
    /// It goes ahead with this text.
    Replace(Bytes),
    /// It does not.
    Refuse,
    /// Nothing, for now.
    Withhold,
}

/// One session. A test sends bytes as its client, and looks at what comes of them.
pub struct Bench {
    /// The protocol.
    pub protocol: Box<dyn Protocol<OpId>>,
    /// What becomes of operations.
    pub decide: Box<dyn Fn(&Operation) -> Verdict>,
    /// Whether outcomes are released.
    pub release: bool,
    /// Whether the client reads what it is sent.
    pub reading: bool,
    /// All that has left for the upstream.
    pub asked: Vec<u8>,
    /// All that has reached the client.
    pub received: Vec<u8>,
    /// What the client caused, in order.
    pub client_events: Vec<String>,
    /// What the upstream caused, in order.
    pub upstream_events: Vec<String>,
    /// Operations asked for.
    pub operations: Vec<Operation>,
    /// Operations that wait, because the verdict was to withhold it.
    pub withheld: Vec<OpId>,
    /// Operations ended.
    pub outcomes: Vec<Outcome>,
    /// Answers to probes.
    pub probes: Vec<Probe>,
    /// Ends of the session; there must never be two.
    pub closed: Vec<Closed>,
    upstream: Box<dyn Upstream>,
    cut: Cut,
    random: u64,
    downstream_wire: Wire,
    upstream_wire: Wire,
    unanswered: Vec<u8>,
    ended: HashSet<OpId>,
}

/// Bytes under way to the protocol.
#[derive(Default)]
struct Wire {
    sent: BytesMut,
    /// What was handed over and not taken.
    input: BytesMut,
    /// How many bytes have been handed over.
    offset: usize,
    /// How many of them the protocol has taken.
    taken: usize,
}

impl Bench {
    /// A session that has not begun.
    pub fn new(subject: &dyn Subject, cut: Cut) -> Self {
        Self {
            protocol: subject.open(LIMITS),
            decide: Box::new(|_| Verdict::Admit),
            release: true,
            reading: true,
            asked: Vec::new(),
            received: Vec::new(),
            client_events: Vec::new(),
            upstream_events: Vec::new(),
            operations: Vec::new(),
            withheld: Vec::new(),
            outcomes: Vec::new(),
            probes: Vec::new(),
            closed: Vec::new(),
            upstream: subject.upstream(),
            cut,
            random: if let Cut::Random(seed) = cut { seed } else { 0 },
            downstream_wire: Wire::default(),
            upstream_wire: Wire::default(),
            unanswered: Vec::new(),
            ended: HashSet::new(),
        }
    }

    /// A session that serves its client.
    pub fn serving(subject: &dyn Subject, cut: Cut) -> Self {
        let mut bench = Self::new(subject, cut);
        for step in subject.login() {
            bench.send(&step);
        }
        assert!(bench.closed.is_empty(), "the login fails: {:?} {:?}", bench.closed, bench.received.escape_ascii().to_string());
        bench
    }

    /// Sends as the client, and lets everything happen that follows.
    pub fn send(&mut self, bytes: &[u8]) {
        self.downstream_wire.sent.extend_from_slice(bytes);
        self.run();
    }

    /// Sends out of the script, as a broken peer would.
    pub fn inject(&mut self, from: Side, bytes: &[u8]) {
        self.wire(from).sent.extend_from_slice(bytes);
        self.run();
    }

    /// One side goes.
    pub fn eof(&mut self, from: Side) {
        self.protocol.handle_eof(from);
        self.drain();
        self.run();
    }

    /// The pipeline says something of its own accord.
    pub fn resume(&mut self, reply: Reply<OpId>) {
        self.protocol.resume(reply);
        self.drain();
        self.run();
    }

    /// Admits what was withheld, and what is withheld after it.
    pub fn admit_withheld(&mut self) {
        while let Some(op) = self.withheld.pop() {
            self.resume(Reply::Admit { op, admission: op, forward: Forward::Original, masker: None, content: None });
        }
    }

    /// Releases what has ended, and what ends after it.
    pub fn release_all(&mut self) {
        let mut next = 0;
        while let Some(outcome) = self.outcomes.get(next) {
            self.resume(Reply::Release(outcome.op));
            next += 1;
        }
    }

    /// How many bytes of this side were handed over and not taken.
    pub fn untaken(&mut self, from: Side) -> usize {
        self.wire(from).input.len()
    }

    /// How many bytes the protocol has taken from this side.
    pub fn taken(&mut self, from: Side) -> usize {
        self.wire(from).taken
    }

    /// First everything that the client sent, then everything that the upstream answers, until nothing moves. So the order of
    /// events does not depend on how the bytes are cut.
    fn run(&mut self) {
        loop {
            let mut moved = self.feed(Side::Downstream);
            let asked = std::mem::take(&mut self.unanswered);
            if !asked.is_empty() {
                let answer = self.upstream.receive(&asked);
                self.upstream_wire.sent.extend_from_slice(&answer);
            }
            moved |= self.feed(Side::Upstream);
            if !moved && self.unanswered.is_empty() {
                return;
            }
        }
    }

    fn feed(&mut self, from: Side) -> bool {
        let mut moved = self.hand_over(from);
        while self.protocol.wants_input(from) && !self.wire(from).sent.is_empty() {
            let size = self.next_piece(from);
            let wire = self.wire(from);
            let piece = wire.sent.split_to(size);
            wire.offset += size;
            wire.input.extend_from_slice(&piece);
            self.hand_over(from);
            moved = true;
        }
        moved
    }

    fn next_piece(&mut self, from: Side) -> usize {
        let (cut, offset, all) = (self.cut, self.wire(from).offset, self.wire(from).sent.len());
        let size = match cut {
            Cut::Whole => all,
            Cut::At(place) if offset < place => place - offset,
            Cut::At(_) => all,
            Cut::Every(size) => size,
            Cut::Random(_) => {
                self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(self.random >> 58).unwrap_or(0) + 1
            }
        };
        size.clamp(1, all)
    }

    /// Lets the protocol take what it can, and answers it.
    fn hand_over(&mut self, from: Side) -> bool {
        let mut moved = false;
        while self.protocol.wants_input(from) {
            let mut input = std::mem::take(&mut self.wire(from).input);
            let before = input.len();
            self.protocol.handle_input(from, &mut input);
            let taken = before - input.len();
            let wire = self.wire(from);
            wire.input = input;
            wire.taken += taken;
            moved |= taken > 0;
            if !self.drain() && taken == 0 {
                break;
            }
            moved = true;
        }
        moved
    }

    fn drain(&mut self) -> bool {
        let mut moved = false;
        // An answer may be followed by another event at once.
        loop {
            while let Some(recorded) = self.protocol.poll_recorded() {
                assert!(!self.ended.contains(&recorded.op), "something to record after its operation's outcome");
            }
            let events: Vec<_> = std::iter::from_fn(|| self.protocol.poll_event()).collect();
            if events.is_empty() {
                break;
            }
            moved = true;
            events.into_iter().for_each(|event| self.hear(event));
        }
        while let Some(transmit) = self.protocol.poll_transmit(Side::Upstream) {
            moved = true;
            self.asked.extend_from_slice(&transmit.bytes);
            self.unanswered.extend_from_slice(&transmit.bytes);
        }
        while self.reading
            && let Some(transmit) = self.protocol.poll_transmit(Side::Downstream)
        {
            moved = true;
            self.received.extend_from_slice(&transmit.bytes);
        }
        moved
    }

    fn hear(&mut self, event: Event<OpId>) {
        assert!(self.closed.is_empty(), "an event after the end: {event:?}");
        let text = format!("{event:?}");
        match &event {
            Event::DirectTls
            | Event::Multiplex
            | Event::Login(_)
            | Event::Cancel(_)
            | Event::Operation(_)
            | Event::Continue(_)
            | Event::Commit(_)
            | Event::StartTls(Side::Downstream) => {
                self.client_events.push(text);
            }
            _ => self.upstream_events.push(text),
        }
        match event {
            Event::StartTls(side) => self.protocol.resume(Reply::TlsStarted(side, None)),
            Event::DirectTls => self.protocol.resume(Reply::TlsStarted(Side::Downstream, None)),
            Event::Cancel(_)
            | Event::Multiplex
            | Event::TransactionEnd(_)
            | Event::Unprepared(_)
            | Event::Portal(_)
            | Event::PutOff(_) => {}
            Event::Login(_) => self.protocol.resume(Reply::Authenticated(Box::new(upstream_login()))),
            Event::Ready(_) => self.protocol.resume(Reply::Serve),
            Event::Operation(operation) => {
                let op = operation.id;
                let reply = match (self.decide)(&operation) {
                    Verdict::Admit => {
                        Some(Reply::Admit { op, admission: op, forward: Forward::Original, masker: None, content: None })
                    }
                    Verdict::Replace(text) => {
                        Some(Reply::Admit { op, admission: op, forward: Forward::Replace(text), masker: None, content: None })
                    }
                    Verdict::Refuse => Some(Reply::Refuse { op, refusal: refusal() }),
                    Verdict::Withhold => {
                        self.withheld.push(op);
                        None
                    }
                };
                self.operations.push(operation);
                reply.into_iter().for_each(|reply| self.protocol.resume(reply));
            }
            Event::Continue(op) => self.protocol.resume(Reply::Continue(op)),
            Event::Commit(group) => self.protocol.resume(Reply::Commit(group)),
            Event::Outcome(outcome, spent) => {
                assert_eq!(outcome.op, spent.0, "an outcome with another operation's admission");
                assert!(self.ended.insert(outcome.op), "two outcomes of one operation");
                if self.release {
                    self.protocol.resume(Reply::Release(outcome.op));
                }
                self.outcomes.push(outcome);
            }
            Event::Probe(_, probe) => self.probes.push(probe),
            Event::Closed(closed) => self.closed.push(closed),
        }
    }

    fn wire(&mut self, from: Side) -> &mut Wire {
        match from {
            Side::Downstream => &mut self.downstream_wire,
            Side::Upstream => &mut self.upstream_wire,
        }
    }
}

/// The refusal that the bench gives.
pub fn refusal() -> Refusal {
    Refusal::new(RefusalKind::NotPermitted, "policy says no")
}

fn upstream_login() -> UpstreamLogin {
    UpstreamLogin {
        tls: UpstreamTls::Disable,
        host: "upstream.test".to_owned(),
        shown: claviger_protocols::Shown::Password,
        user: "gateway".to_owned(),
        database: "bank".to_owned(),
        version: claviger_protocols::postgres::Version::default(),
        password: None,
        application: "claviger:bench".to_owned(),
        channel_binding: claviger_protocols::ChannelBinding::default(),
        nonce: [7; 18],
        cancel_secret: vec![1, 2, 3, 4].into(),
        scram_keys: std::sync::Arc::default(),
    }
}
