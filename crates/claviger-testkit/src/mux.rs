//! A small multiplexed protocol, whose operations run side by side and end in any order.
//!
//! It is spoken by nobody. It exists so that the contract and the pipeline are held against a protocol that is nothing like
//! PostgreSQL: no pipeline of answers in the order of questions, no session-wide error state, no transaction that outlives a
//! request. Each frame is `[length u32][stream u32][kind u8][payload]`, the length counting all that follows it:
//!
//! | kind | from | stream | payload |
//! |---|---|---|---|
//! | `L` | client, gateway | 0 | user, database, application, credential, each but the last ended by a zero byte |
//! | `K` | client, instead of `L` | 0 | process `i32`, secret: cancel what that session runs |
//! | `X` | client | 0 | goodbye |
//! | `Q` | client, gateway | any free one | a request's text, whose first word tells its access: `read`, `write`, others; `draft` is a write that a later `S` makes lasting |
//! | `S` | client, gateway | 0 | from the gateway: how many requests there were before it |
//! | `O` | upstream, gateway | 0 | process `i32`, secret: you are let in |
//! | `D` | upstream | of a request | a row |
//! | `C` | upstream | of a request | a completion tag |
//! | `E` | upstream, gateway | of a request; 0 ends the session | an error code, a space, a message |

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use claviger_model::{OpId, Refusal, RefusalKind, Secret, TxId};
use claviger_protocols::{
    Access, Admitted, BackendKey, Cancel, Closed, Commit, Credential, Event, Forward, Limits, Login, Operation, Outcome, Probe,
    ProbeId, Protocol, Recorded, Reply, Request, Side, StatementResult, Status, TransactionEnd, TransactionResult, Transmit,
    UpstreamLogin, UpstreamTls,
};

use crate::conformance::{Subject, Upstream};

/// Length of stream and kind.
const HEAD: usize = 5;
/// Streams from here on are the gateway's own.
const PROBES: u32 = 1 << 31;

/// One session of the multiplexed protocol.
pub struct Mux<A> {
    limits: Limits,
    stage: Stage,
    /// By stream.
    running: BTreeMap<u32, Running<A>>,
    probes: BTreeMap<u32, Probing>,
    operations: u64,
    /// Ends of groups that wait for leave.
    uncommitted: BTreeSet<u64>,
    /// Bytes of requests that wait for a decision.
    undecided: usize,
    /// Bytes of completions that wait for their release.
    unreleased: usize,
    downstream: Queue,
    upstream: Queue,
    events: VecDeque<Event<A>>,
    recorded: VecDeque<Recorded>,
}

enum Stage {
    AwaitingLogin,
    AwaitingVerdict,
    AwaitingTls(Box<UpstreamLogin>),
    AwaitingUpstream { cancel_secret: Bytes },
    AwaitingServe { process: i32, cancel_secret: Bytes },
    Serving,
    Closed,
}

struct Running<A> {
    op: OpId,
    state: State<A>,
    rows: u64,
    bytes: u64,
}

enum State<A> {
    Undecided(Bytes),
    Sent(A),
    Unreleased(Bytes),
}

struct Probing {
    id: ProbeId,
    rows: Vec<Vec<Option<Bytes>>>,
    bytes: usize,
}

/// One frame, and its bytes as they came.
struct Frame {
    stream: u32,
    kind: u8,
    payload: Bytes,
    bytes: Bytes,
}

impl<A> Mux<A> {
    /// A session that waits for its client's login.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            stage: Stage::AwaitingLogin,
            running: BTreeMap::new(),
            probes: BTreeMap::new(),
            operations: 0,
            uncommitted: BTreeSet::new(),
            undecided: 0,
            unreleased: 0,
            downstream: Queue::default(),
            upstream: Queue::default(),
            events: VecDeque::new(),
            recorded: VecDeque::new(),
        }
    }

    fn handle_downstream(&mut self, frame: Frame) {
        match (&self.stage, frame.kind, frame.stream) {
            (Stage::AwaitingLogin, b'L', 0) => self.log_in(&frame.payload),
            (Stage::AwaitingLogin, b'K', 0) => self.cancel(frame.payload),
            (Stage::AwaitingLogin | Stage::Serving, b'X', 0) => self.close(Closed::ByClient),
            (Stage::Serving, b'S', 0) => {
                if self.uncommitted.insert(self.operations) {
                    self.events.push_back(Event::Commit(self.operations));
                }
            }
            (Stage::Serving, b'Q', 1..PROBES) if !self.running.contains_key(&frame.stream) => self.ask(frame),
            _ => self.fail(RefusalKind::ProtocolViolation, "the client sent a frame that has no place here"),
        }
    }

    fn handle_upstream(&mut self, frame: Frame) {
        match (&self.stage, frame.kind, frame.stream) {
            (Stage::AwaitingUpstream { cancel_secret }, b'O', 0) if frame.payload.len() >= 4 => {
                let mut secret = frame.payload;
                let process = secret.get_i32();
                self.stage = Stage::AwaitingServe { process, cancel_secret: cancel_secret.clone() };
                self.events.push_back(Event::Ready(Some(BackendKey { process, secret })));
            }
            (Stage::AwaitingUpstream { .. }, b'E', 0) => {
                self.fail(RefusalKind::UpstreamUnavailable, "the upstream does not let the gateway in");
            }
            (Stage::Serving, b'D' | b'C' | b'E', PROBES..) => self.answer_probe(frame),
            (Stage::Serving, b'D', _) => self.pass_row(frame),
            (Stage::Serving, b'C' | b'E', 1..) => self.complete(frame),
            _ => self.fail(RefusalKind::UpstreamUnavailable, "the upstream sent a frame that has no place here"),
        }
    }

    fn log_in(&mut self, payload: &Bytes) {
        let mut parts = payload.splitn(4, |byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let (user, database, application, credential) = (next(), next(), next(), next());
        let Some(credential) = credential.map(|token| Credential::Password(Secret::new(token))) else {
            return self.fail(RefusalKind::ProtocolViolation, "the login is incomplete");
        };
        self.stage = Stage::AwaitingVerdict;
        self.events.push_back(Event::Login(Login {
            user,
            database,
            credential,
            application,
            settings: Vec::new(),
            cancel_secret: 4,
        }));
    }

    fn cancel(&mut self, mut payload: Bytes) {
        if payload.len() >= 4 {
            self.events.push_back(Event::Cancel(Cancel { process: payload.get_i32(), secret: payload }));
        }
        self.close(Closed::ByClient);
    }

    fn log_in_upstream(&mut self, login: &UpstreamLogin) {
        let mut payload = BytesMut::new();
        for part in [&login.user, &login.database, &login.application] {
            payload.put_slice(part.as_bytes());
            payload.put_u8(0);
        }
        payload.put_slice(login.password.as_ref().map(Secret::expose).unwrap_or_default());
        self.upstream.push(frame(0, b'L', &payload));
        self.stage = Stage::AwaitingUpstream { cancel_secret: login.cancel_secret.clone() };
    }

    /// The client asks for an operation, which is a transaction of its own.
    fn ask(&mut self, frame: Frame) {
        self.operations += 1;
        let (id, tx) = (OpId(self.operations), TxId(self.operations));
        let (access, commit) = match frame.payload.split(|byte| *byte == b' ').next() {
            Some(b"read") => (Access::Read, Commit::Itself),
            Some(b"write") => (Access::Write, Commit::Itself),
            Some(b"draft") => (Access::Write, Commit::Group),
            _ => (Access::Barrier, Commit::Itself),
        };
        self.undecided += frame.bytes.len();
        let state = State::Undecided(frame.bytes.clone());
        self.running.insert(frame.stream, Running { op: id, state, rows: 0, bytes: 0 });
        let request = Request::Batch { text: frame.payload };
        let (group, bytes) = (self.operations, frame.bytes);
        self.events.push_back(Event::Operation(Operation { id, tx, commit, group, request, access, bytes }));
    }

    fn admit(&mut self, op: OpId, admission: A, forward: Forward) {
        let Some((stream, running)) = self.running.iter_mut().find(|(_, running)| running.op == op) else { return };
        let State::Undecided(original) = &running.state else { return };
        self.undecided -= original.len();
        self.upstream.push(match forward {
            Forward::Original => original.clone(),
            Forward::Replace(text) => frame(*stream, b'Q', &text),
        });
        running.state = State::Sent(admission);
    }

    fn commit(&mut self, group: u64) {
        if self.uncommitted.remove(&group) {
            self.upstream.push(frame(0, b'S', group.to_string().as_bytes()));
        }
    }

    /// An error on this stream; the others never hear of it.
    fn refuse(&mut self, op: OpId, refusal: &Refusal) {
        let Some((&stream, running)) = self.running.iter().find(|(_, running)| running.op == op) else { return };
        let State::Undecided(original) = &running.state else { return };
        self.undecided -= original.len();
        self.running.remove(&stream);
        self.downstream.push(error(stream, refusal));
    }

    fn pass_row(&mut self, frame: Frame) {
        let Some(running) = self.running.get_mut(&frame.stream).filter(|running| matches!(running.state, State::Sent(_))) else {
            return self.fail(RefusalKind::UpstreamUnavailable, "the upstream answered what it was not asked");
        };
        running.rows += 1;
        running.bytes += frame.bytes.len() as u64;
        self.recorded.push_back(Recorded { op: running.op, from: Side::Upstream, request: false, bytes: frame.bytes.clone() });
        self.downstream.push(frame.bytes);
    }

    fn complete(&mut self, frame: Frame) {
        let answered = self.running.get_mut(&frame.stream).and_then(|running| {
            match std::mem::replace(&mut running.state, State::Unreleased(frame.bytes.clone())) {
                State::Sent(admission) => Some((running, admission)),
                _ => None,
            }
        });
        let Some((running, admission)) = answered else {
            return self.fail(RefusalKind::UpstreamUnavailable, "the upstream answered what it was not asked");
        };
        self.unreleased += frame.bytes.len();
        running.bytes += frame.bytes.len() as u64;
        let op = running.op;
        self.recorded.push_back(Recorded { op, from: Side::Upstream, request: false, bytes: frame.bytes });
        let text = String::from_utf8_lossy(&frame.payload);
        let (status, results, code, result) = match frame.kind {
            b'C' => (Status::Completed, vec![StatementResult { tag: text.into_owned() }], None, TransactionResult::Commit),
            _ => (Status::Error, Vec::new(), text.split(' ').next().map(str::to_owned), TransactionResult::Rollback),
        };
        let outcome = Outcome { op, status, results, rows: running.rows, bytes: running.bytes, code, masked: None, tokens: None };
        self.events.push_back(Event::Outcome(outcome, Admitted(admission)));
        self.events.push_back(Event::TransactionEnd(TransactionEnd { tx: TxId(op.0), result }));
    }

    fn release(&mut self, op: OpId) {
        let Some((&stream, running)) = self.running.iter().find(|(_, running)| running.op == op) else { return };
        let State::Unreleased(completion) = &running.state else { return };
        self.unreleased -= completion.len();
        self.downstream.push(completion.clone());
        self.running.remove(&stream);
    }

    fn probe(&mut self, id: ProbeId, text: &str) {
        let Some(stream) = (PROBES..=u32::MAX).find(|stream| !self.probes.contains_key(stream)) else { return };
        self.probes.insert(stream, Probing { id, rows: Vec::new(), bytes: 0 });
        self.upstream.push(frame(stream, b'Q', text.as_bytes()));
    }

    fn answer_probe(&mut self, frame: Frame) {
        let Some(mut probing) = self.probes.remove(&frame.stream) else {
            return self.fail(RefusalKind::UpstreamUnavailable, "the upstream answered what it was not asked");
        };
        probing.bytes += frame.bytes.len();
        let probe = match frame.kind {
            _ if probing.bytes > self.limits.control => Probe::Failed("too-large".to_owned()),
            b'D' => {
                probing.rows.push(vec![Some(frame.payload)]);
                self.probes.insert(frame.stream, probing);
                return;
            }
            b'C' => Probe::Rows(probing.rows),
            _ => Probe::Failed(String::from_utf8_lossy(&frame.payload).split(' ').take(1).collect()),
        };
        self.events.push_back(Event::Probe(probing.id, probe));
    }

    fn fail(&mut self, kind: RefusalKind, message: &str) {
        self.end(Refusal::new(kind, message));
    }

    fn end(&mut self, refusal: Refusal) {
        if !matches!(self.stage, Stage::Closed) {
            self.downstream.push(error(0, &refusal));
            self.close(Closed::ByGateway(refusal));
        }
    }

    fn close(&mut self, closed: Closed) {
        self.stage = Stage::Closed;
        self.upstream = Queue::default();
        self.events.push_back(Event::Closed(closed));
    }

    /// The longest frame that this side may send now.
    fn longest(&self, from: Side) -> usize {
        match (from, &self.stage) {
            (Side::Upstream, _) => self.limits.control,
            (Side::Downstream, Stage::Serving) => self.limits.statement,
            (Side::Downstream, _) => self.limits.login,
        }
    }
}

impl<A: Send> Protocol<A> for Mux<A> {
    fn handle_input(&mut self, from: Side, input: &mut BytesMut) {
        while self.wants_input(from) {
            match (take_frame(input, self.longest(from)), from) {
                (Ok(Some(frame)), Side::Downstream) => self.handle_downstream(frame),
                (Ok(Some(frame)), Side::Upstream) => self.handle_upstream(frame),
                (Ok(None), _) => return,
                (Err(BadLength), Side::Downstream) => {
                    self.fail(RefusalKind::TooLarge, "the client sent a frame of a length not allowed")
                }
                (Err(BadLength), Side::Upstream) => {
                    self.fail(RefusalKind::UpstreamUnavailable, "the upstream sent a frame of a length not allowed");
                }
            }
        }
    }

    fn handle_eof(&mut self, from: Side) {
        match (from, &self.stage) {
            (_, Stage::Closed) => {}
            (Side::Downstream, _) => self.close(Closed::ByClient),
            (Side::Upstream, _) => {
                self.downstream.push(error(0, &Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream has gone")));
                self.close(Closed::ByUpstream);
            }
        }
    }

    fn wants_input(&self, from: Side) -> bool {
        match (from, &self.stage) {
            (_, Stage::Closed) => false,
            (Side::Downstream, _) => {
                self.undecided + self.upstream.bytes < self.limits.pending && self.running.len() < self.limits.statements
            }
            (Side::Upstream, Stage::AwaitingTls(_) | Stage::AwaitingServe { .. }) => false,
            (Side::Upstream, _) => self.unreleased + self.downstream.bytes < self.limits.response,
        }
    }

    fn poll_event(&mut self) -> Option<Event<A>> {
        self.events.pop_front()
    }

    fn poll_recorded(&mut self) -> Option<Recorded> {
        self.recorded.pop_front()
    }

    fn resume(&mut self, reply: Reply<A>) {
        match (reply, &self.stage) {
            (Reply::Terminate(refusal), _) => self.end(refusal),
            (Reply::Authenticated(login), Stage::AwaitingVerdict) if login.tls == UpstreamTls::Disable => {
                self.log_in_upstream(&login)
            }
            (Reply::Authenticated(login), Stage::AwaitingVerdict) => {
                self.stage = Stage::AwaitingTls(login);
                self.events.push_back(Event::StartTls(Side::Upstream));
            }
            (Reply::TlsStarted(Side::Upstream, _), Stage::AwaitingTls(_)) => {
                if let Stage::AwaitingTls(login) = std::mem::replace(&mut self.stage, Stage::AwaitingVerdict) {
                    self.log_in_upstream(&login);
                }
            }
            (Reply::Serve, Stage::AwaitingServe { process, cancel_secret }) => {
                let key = [&process.to_be_bytes()[..], cancel_secret].concat();
                self.downstream.push(frame(0, b'O', &key));
                self.stage = Stage::Serving;
            }
            (Reply::Admit { op, admission, forward, .. }, Stage::Serving) => self.admit(op, admission, forward),
            (Reply::Commit(group), Stage::Serving) => self.commit(group),
            (Reply::Refuse { op, refusal }, Stage::Serving) => self.refuse(op, &refusal),
            (Reply::Release(op), Stage::Serving) => self.release(op),
            (Reply::Probe(id, question), Stage::Serving) => self.probe(id, &question.text),
            _ => {}
        }
    }

    fn poll_transmit(&mut self, to: Side) -> Option<Transmit> {
        let queue = match to {
            Side::Downstream => &mut self.downstream,
            Side::Upstream => &mut self.upstream,
        };
        queue.pop().map(|bytes| Transmit { bytes })
    }
}

/// Frames on their way out.
#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

/// A frame says that it is shorter than its head, or longer than is taken.
struct BadLength;

/// The first frame, if all of it is there. Its length is judged before anything is kept.
fn take_frame(input: &mut BytesMut, longest: usize) -> Result<Option<Frame>, BadLength> {
    let Some(length) = input.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length < HEAD || length > longest {
        return Err(BadLength);
    }
    if input.len() < 4 + length {
        return Ok(None);
    }
    let bytes = input.split_to(4 + length).freeze();
    let mut payload = bytes.slice(4..);
    Ok(Some(Frame { stream: payload.get_u32(), kind: payload.get_u8(), payload, bytes }))
}

/// The bytes of a frame.
pub fn frame(stream: u32, kind: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(4 + HEAD + payload.len());
    bytes.put_u32(u32::try_from(HEAD + payload.len()).unwrap_or(u32::MAX));
    bytes.put_u32(stream);
    bytes.put_u8(kind);
    bytes.put_slice(payload);
    bytes.freeze()
}

fn error(stream: u32, refusal: &Refusal) -> Bytes {
    let code = match refusal.kind {
        RefusalKind::Unauthenticated => "unauthenticated",
        RefusalKind::NotPermitted => "not-permitted",
        RefusalKind::NotUnderstood | RefusalKind::Encoding => "not-understood",
        RefusalKind::UndefinedTable
        | RefusalKind::UndefinedColumn
        | RefusalKind::UndefinedSchema
        | RefusalKind::UndefinedStatement
        | RefusalKind::PlanChanged
        | RefusalKind::UndefinedCursor => "undefined",
        RefusalKind::TransactionFailed => "transaction-failed",
        RefusalKind::Undecidable => "undecidable",
        RefusalKind::UnknownConnection => "unknown-connection",
        RefusalKind::Unsupported => "unsupported",
        RefusalKind::ProtocolViolation => "protocol-violation",
        RefusalKind::InvalidSetting => "invalid-setting",
        RefusalKind::TooLarge => "too-large",
        RefusalKind::TimedOut => "timed-out",
        RefusalKind::UpstreamUnavailable | RefusalKind::UpstreamTimedOut => "upstream-unavailable",
        RefusalKind::AuditUnavailable => "audit-unavailable",
        RefusalKind::Terminated => "terminated",
        RefusalKind::TooMany => "too-many",
        RefusalKind::Idle => "idle",
        RefusalKind::IdleInTransaction => "idle-in-transaction",
        RefusalKind::Internal => "internal",
    };
    frame(stream, b'E', format!("{code} {}", refusal.message).as_bytes())
}

/// What an upstream of this protocol says, by the text that it is asked: a text with `!` in it is an error; a number at its end
/// is how many rows it returns. Of the requests that it hears together, it answers the last first.
#[derive(Debug, Default)]
pub struct MuxUpstream {
    input: BytesMut,
}

impl Upstream for MuxUpstream {
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let mut answers = Vec::new();
        while let Ok(Some(frame)) = take_frame(&mut self.input, usize::MAX) {
            answers.push(match frame.kind {
                b'S' => continue,
                b'L' => self::frame(0, b'O', b"\0\0\0\x2asecret").to_vec(),
                _ => answer(frame.stream, &String::from_utf8_lossy(&frame.payload)),
            });
        }
        answers.reverse();
        answers.concat()
    }
}

/// The whole answer to one request.
pub fn answer(stream: u32, text: &str) -> Vec<u8> {
    if text.contains('!') {
        return frame(stream, b'E', b"syntax-error not understood").to_vec();
    }
    let rows = text.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0u64);
    let mut bytes: Vec<u8> = (1..=rows).flat_map(|row| frame(stream, b'D', format!("row {row}").as_bytes())).collect();
    let tag = text.split(' ').next().unwrap_or_default().to_uppercase();
    bytes.extend_from_slice(&frame(stream, b'C', tag.as_bytes()));
    bytes
}

/// The frames in these bytes: stream, kind, payload.
pub fn frames(bytes: &[u8]) -> Vec<(u32, u8, Bytes)> {
    let mut input = BytesMut::from(bytes);
    let next = || take_frame(&mut input, usize::MAX).ok().flatten();
    std::iter::from_fn(next).map(|frame| (frame.stream, frame.kind, frame.payload)).collect()
}

/// A login.
pub fn login(user: &str, database: &str, application: &str, credential: &[u8]) -> Bytes {
    let head = format!("{user}\0{database}\0{application}\0");
    frame(0, b'L', &[head.as_bytes(), credential].concat())
}

/// A request on this stream.
pub fn request(stream: u32, text: &str) -> Bytes {
    frame(stream, b'Q', text.as_bytes())
}

/// The multiplexed protocol under the conformance suite.
#[derive(Clone, Copy, Debug, Default)]
pub struct MuxSubject;

impl MuxSubject {
    /// A request on a stream that only its text has.
    fn ask(text: &str) -> Vec<u8> {
        let stream = text.bytes().fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
        request(1000 + stream % 1_000_000, text).to_vec()
    }
}

impl Subject for MuxSubject {
    fn kind(&self) -> &'static str {
        "mux"
    }

    fn open(&self, limits: Limits) -> Box<dyn Protocol<OpId>> {
        Box::new(Mux::new(limits))
    }

    fn upstream(&self) -> Box<dyn Upstream> {
        Box::new(MuxUpstream::default())
    }

    fn login(&self) -> Vec<Vec<u8>> {
        vec![login("ana", "bank", "bench", b"token").to_vec()]
    }

    fn operation(&self, word: &str) -> Vec<u8> {
        Self::ask(&format!("read {word} 2"))
    }

    fn replacement(&self, word: &str) -> Option<Vec<u8>> {
        Some(format!("read {word} 1").into_bytes())
    }

    fn failing(&self) -> Vec<u8> {
        Self::ask("read !")
    }

    fn several(&self, count: usize) -> Vec<u8> {
        (1..=count).flat_map(|number| request(u32::try_from(number).unwrap_or(0), "read 1")).collect()
    }

    fn large(&self, bytes: usize) -> Vec<u8> {
        Self::ask(&format!("read {}", bytes / 10))
    }

    fn probe(&self) -> Option<String> {
        Some("read 3".to_owned())
    }

    fn completions(&self, received: &[u8]) -> usize {
        frames(received).iter().filter(|(_, kind, _)| *kind == b'C').count()
    }

    fn errors(&self, received: &[u8]) -> usize {
        frames(received).iter().filter(|(_, kind, _)| *kind == b'E').count()
    }

    fn parts(&self, received: &[u8]) -> Vec<Vec<u8>> {
        let mut parts: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for (stream, kind, payload) in frames(received) {
            parts.entry(stream).or_default().extend_from_slice(&frame(stream, kind, &payload));
        }
        parts.into_values().collect()
    }
}
