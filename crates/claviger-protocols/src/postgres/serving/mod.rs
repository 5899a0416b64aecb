//! The open session.
//!
//! Two queues keep the order. What the client sent waits in [`Item`]s: an operation's frames wait for their decision, and
//! whatever follows waits behind them. What has left waits in [`Expect`]ations: the server answers strictly in order, so the
//! front of that queue says to which operation an answer belongs.

mod answers;
mod client;
mod copying;
mod expect;
mod masked;
mod masking;
mod server;
mod statements;
mod transaction;

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use claviger_model::{OpId, Refusal, TxId};

pub(super) use self::answers::{columns, error_code, field};
pub(super) use self::client::Bind;
use self::copying::CopyIn;
use self::expect::{Expect, Group, Probing};
use self::masking::Masking;
use self::statements::{Prepared, Statements};
use self::transaction::{Foreseen, Transactions};
use super::Fault;
use super::io::Io;
use super::write;
use crate::{
    Admitted, Event, Forward, Limits, Masker, Outcome, Probe, ProbeId, Question, Recorded, Reply, Side, StatementResult, Status,
    Types,
};

/// What an upstream must answer with a syntax error, in whatever state it is.
const POISON: &[u8] = b"!claviger: refused";
/// The name of a prepared statement that is never made: its text is the poison.
const POISON_NAME: &[u8] = b"claviger:refused";

/// What a server answers to nearly everything in a transaction that has failed (PostgreSQL manual, appendix A).
const FAILED_TRANSACTION: &str = "25P02";

/// How many frames are taken at a time, those of rows apart: after so many, other sessions have their turn.
const FRAMES: usize = 256;
/// So much may wait to be decided or answered before more is taken of the client: each of it takes memory, however short its frame.
/// The server writes its answers when it has eight kibibytes of them (its pqcomm.c), and none is shorter than five bytes: with half
/// as many it could wait for a Sync that is never read.
const UNANSWERED: usize = 4096;

/// An open session.
pub(in crate::postgres) struct Serving<A> {
    limits: Limits,
    last_op: u64,
    /// What was bound last, as long as it is not executed and nothing else was asked for.
    bound: Option<OpId>,

    // What the client has said.
    queue: VecDeque<Item<A>>,
    queued_bytes: usize,
    /// What is still to come of a client frame that passes in pieces.
    client_streaming: usize,
    copy_in: CopyIn,
    statements: Statements,
    foreseen: Foreseen,
    /// The group that the client is in; counts its Syncs and simple queries.
    group: u64,
    /// Whether something in that group may have changed what the group's end makes lasting.
    has_written: bool,
    /// The statement that the client's last message prepared.
    parsed: Option<Bytes>,
    /// A frame waits for the server's answer to what came before it.
    stalled: bool,
    /// Extended-protocol frames have left and no Sync after them.
    in_group: bool,
    /// The client has said goodbye; nothing that follows counts.
    leaving: bool,
    /// The goodbye has been passed on.
    left: bool,

    // What the server has still to say.
    expected: VecDeque<Expect>,
    active: HashMap<OpId, Active<A>>,
    /// The server passes over everything up to the next Sync.
    skipping: bool,
    /// The server takes rows and ignores Sync.
    copying_in: bool,
    /// Syncs taken to be ignored; the server may yet answer them if the COPY failed before it read anything.
    ignored_syncs: usize,
    /// What is still to come of a server frame that passes in pieces.
    server_streaming: usize,
    transactions: Transactions,
    heard_the_last: bool,
    probes: VecDeque<(ProbeId, Question)>,
    /// What the client is to be told when it is at a frame's end.
    notices: VecDeque<Bytes>,

    // How what it says is rewritten.
    /// Rewrites what belongs to no operation.
    masker: Option<Box<dyn Masker>>,
    /// Rows that were rewritten and are not in the client's queue yet.
    rewritten: BytesMut,
    /// The transaction in which something ran of whose values an error may tell, also when it commits.
    told: Option<TxId>,
    /// Whether dates in text are as ISO 8601 writes them.
    iso_dates: bool,
}

/// Client frames, in order.
enum Item<A> {
    /// Passes as soon as everything before it has.
    Pass { bytes: Bytes, expect: Option<Expect> },
    /// A part of a frame with rows of a COPY, and how much of the frame follows.
    Rows { op: OpId, bytes: Bytes, after: usize },
    /// Waits for a decision.
    Ask { op: OpId, tx: TxId, bytes: Bytes, asked: Asked, drops: Option<Bytes>, answer: Option<Answer<A>> },
    /// Waits for leave to go on with an operation that was decided before.
    Resume { op: OpId, bytes: Bytes, answer: Option<Result<(), Refusal>> },
    /// A Sync that waits for leave to make lasting what its group has changed.
    Commit { group: Group, bytes: Bytes, may_leave: bool },
    /// The client says goodbye.
    Leave { bytes: Bytes },
}

/// What an operation asks for.
enum Asked {
    Batch {
        group: u64,
    },
    Parse {
        name: Bytes,
        text: Bytes,
        types: Types,
        group: u64,
    },
    /// A statement that is kept already is described.
    Describe,
    /// A portal, which lives until it has run; this one takes the place of another.
    Bind {
        replaces: Option<OpId>,
    },
    /// A portal that was not made by a Bind that we saw, or that has run before.
    Execute,
}

enum Answer<A> {
    Admitted(A, Forward, Option<Box<dyn Masker>>),
    Refused(Refusal),
}

/// An operation that has left.
struct Active<A> {
    admission: A,
    /// The prepared statement that this plainly drops.
    drops: Option<Bytes>,
    results: Vec<StatementResult>,
    rows: u64,
    bytes: u64,
    code: Option<String>,
    /// A portal whose Bind has succeeded.
    bound: bool,
    /// How the answer is rewritten, if it is.
    masking: Option<Box<Masking>>,
    /// A completion that may turn out to be a batch's last, and what came with it: kept back until it is known.
    held: Vec<Bytes>,
}

impl<A> Serving<A> {
    /// Whether as much waits as may.
    pub(in crate::postgres) fn is_full(&self) -> bool {
        self.queue.len() + self.expected.len() >= UNANSWERED
    }

    pub(in crate::postgres) fn new(limits: Limits) -> Self {
        Self {
            limits,
            last_op: 0,
            bound: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            client_streaming: 0,
            copy_in: CopyIn::default(),
            statements: Statements::new(limits.statements),
            foreseen: Foreseen::default(),
            group: 0,
            has_written: false,
            parsed: None,
            stalled: false,
            in_group: false,
            leaving: false,
            left: false,
            expected: VecDeque::new(),
            active: HashMap::new(),
            skipping: false,
            copying_in: false,
            ignored_syncs: 0,
            server_streaming: 0,
            transactions: Transactions::default(),
            heard_the_last: false,
            probes: VecDeque::new(),
            notices: VecDeque::new(),
            masker: None,
            rewritten: BytesMut::new(),
            told: None,
            iso_dates: true,
        }
    }

    /// Whether the next frame waits for the server.
    pub(in crate::postgres) fn is_stalled(&self) -> bool {
        // A server that takes rows answers nothing that could be waited for.
        self.stalled && !self.copying_in
    }

    pub(in crate::postgres) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether the client is at a frame's end, so that an error of ours can follow.
    pub(in crate::postgres) fn takes_an_error(&self) -> bool {
        self.server_streaming == 0
    }

    /// Tells the client what it is to be told, if it is at a frame's end.
    fn deliver_notices(&mut self, io: &mut Io<A>) {
        if self.takes_an_error() {
            self.notices.drain(..).for_each(|notice| io.send_downstream(notice));
        }
    }

    /// Whether the upstream is at a frame's end, so that a message of ours can follow.
    pub(in crate::postgres) fn takes_a_goodbye(&self) -> bool {
        self.client_streaming == 0
    }

    /// Whether the client has said goodbye and the upstream is to close when it has done what was asked.
    pub(in crate::postgres) fn client_has_left(&self) -> bool {
        self.left
    }

    /// Whether nothing is left to wait for after the client's goodbye.
    pub(in crate::postgres) fn is_done(&self) -> bool {
        self.left && self.expected.is_empty()
    }

    /// Whether the upstream has sent a fatal error, after which it closes.
    pub(in crate::postgres) fn has_heard_the_last(&self) -> bool {
        self.heard_the_last
    }

    pub(in crate::postgres) fn resume(&mut self, reply: Reply<A>, io: &mut Io<A>) -> Result<(), Fault> {
        match reply {
            Reply::Admit { op, admission, forward, masker, content: _ } => {
                self.answer(op, Answer::Admitted(admission, forward, masker));
            }
            Reply::Mask(masker) => self.masker = masker,
            Reply::Continue(wanted) => self.answer_resume(wanted, Ok(())),
            Reply::Commit(wanted) => self.let_commit(wanted),
            Reply::Refuse { op, refusal } => self.answer(op, Answer::Refused(refusal)),
            Reply::Release(op) => io.release(op),
            Reply::Probe(id, question) => self.probes.push_back((id, question)),
            Reply::Notice(notice) => {
                self.notices.push_back(write::notice(&notice));
                self.deliver_notices(io);
            }
            Reply::TlsStarted(..) | Reply::Gather(_) | Reply::Authenticated(_) | Reply::Serve | Reply::Terminate(_) => {}
        }
        self.pump(io)
    }

    fn answer(&mut self, wanted: OpId, given: Answer<A>) {
        for item in &mut self.queue {
            match item {
                Item::Ask { op, answer, .. } if *op == wanted => {
                    *answer = Some(given);
                    return;
                }
                _ => {}
            }
        }
        // Only a portal that is to go on can be left.
        if let Answer::Refused(refusal) = given {
            self.answer_resume(wanted, Err(refusal));
        }
    }

    fn answer_resume(&mut self, wanted: OpId, given: Result<(), Refusal>) {
        for item in &mut self.queue {
            match item {
                Item::Resume { op, answer, .. } if *op == wanted && answer.is_none() => {
                    *answer = Some(given);
                    return;
                }
                _ => {}
            }
        }
    }

    fn let_commit(&mut self, wanted: u64) {
        for item in &mut self.queue {
            match item {
                Item::Commit { group, may_leave, .. } if group.number == wanted => *may_leave = true,
                _ => {}
            }
        }
    }

    /// Sends what may leave, in order.
    fn pump(&mut self, io: &mut Io<A>) -> Result<(), Fault> {
        loop {
            if self.is_probing() {
                return Ok(());
            }
            if self.may_probe()
                && let Some((id, question)) = self.probes.pop_front()
            {
                if self.transactions.has_failed() {
                    io.events.push_back(Event::Probe(id, Probe::Failed(FAILED_TRANSACTION.to_owned())));
                    continue;
                }
                io.send_upstream(write::probe(&question));
                self.expected.push_back(Expect::Probe(Probing::new(id)));
                return Ok(());
            }
            match self.queue.front() {
                None | Some(Item::Commit { may_leave: false, .. }) => return Ok(()),
                Some(Item::Ask { answer: None, .. } | Item::Resume { answer: None, .. }) => {
                    // The end of the group that has begun waits behind what is to be decided.
                    if self.in_group {
                        io.events.extend(self.probes.drain(..).map(|(id, _)| Event::Probe(id, Probe::TooLate)));
                    }
                    return Ok(());
                }
                Some(_) => {}
            }
            let Some(item) = self.queue.pop_front() else { return Ok(()) };
            self.queued_bytes = self.queued_bytes.saturating_sub(item.len());
            self.send(item, io)?;
        }
    }

    fn send(&mut self, item: Item<A>, io: &mut Io<A>) -> Result<(), Fault> {
        match item {
            Item::Rows { op, bytes, after } => self.send_rows(op, bytes, after, io),
            Item::Pass { bytes, expect } => {
                self.ask_how_rows_look(expect.as_ref(), &bytes, io);
                io.send_upstream(bytes);
                if let Some(expect) = expect {
                    self.expect(expect, io);
                }
            }
            Item::Ask { op, tx, bytes, asked, drops, answer: Some(Answer::Admitted(admission, forward, masker)) } => {
                let (bytes, replacement) = match forward {
                    Forward::Original => (bytes, None),
                    Forward::Replace(text) => {
                        let replaced = client::with_text(&bytes, &text)?;
                        // The recording has the client's own words already; these run.
                        io.recorded.push_back(Recorded { op, from: Side::Downstream, request: true, bytes: replaced.clone() });
                        (replaced, Some(text))
                    }
                };
                self.decided(&asked, replacement.as_ref());
                let drops = drops.filter(|_| replacement.is_none());
                self.mask(op, tx, Active::new(admission, drops), masker);
                self.transactions.touch(tx);
                let expect = match asked {
                    Asked::Batch { group } => Expect::Batch { op, group: Group { number: group, tx } },
                    Asked::Parse { name, text, types, .. } => {
                        Expect::Parse { op, name, prepared: Prepared { text: replacement.unwrap_or(text), types } }
                    }
                    Asked::Bind { replaces } => Expect::Bind { op, replaces },
                    Asked::Describe => Expect::Look { op },
                    Asked::Execute => Expect::Execute { op },
                };
                self.ask_how_rows_look(Some(&expect), &bytes, io);
                if let Some(active) = self.active.get(&op) {
                    Self::forward(&active.admission, bytes, io);
                }
                self.expect(expect, io);
            }
            Item::Ask { tx, asked, answer: Some(Answer::Refused(refusal)), .. } => {
                self.decided(&asked, None);
                self.poison(&asked, tx, refusal, io);
            }
            Item::Resume { op, bytes, answer: Some(Ok(())) } => {
                let expect = Expect::Execute { op };
                self.ask_how_rows_look(Some(&expect), &bytes, io);
                io.send_upstream(bytes);
                self.expect(expect, io);
            }
            Item::Resume { answer: Some(Err(refusal)), .. } => {
                self.poison(&Asked::Execute, self.foreseen.tx(), refusal, io);
            }
            Item::Commit { group, bytes, .. } => {
                io.send_upstream(bytes);
                self.expect(Expect::Sync { group }, io);
            }
            Item::Leave { bytes } => {
                io.send_upstream(bytes);
                self.left = true;
            }
            Item::Ask { answer: None, .. } | Item::Resume { answer: None, .. } => {}
        }
        Ok(())
    }

    /// The one way for an operation's bytes into the upstream's queue: with the proof that it was admitted.
    fn forward(_proof: &A, bytes: Bytes, io: &mut Io<A>) {
        io.send_upstream(bytes);
    }

    /// What waits for the decision of a Parse can go on.
    fn decided(&mut self, asked: &Asked, replacement: Option<&Bytes>) {
        if let Asked::Parse { name, group, .. } = asked {
            self.statements.decided(name, *group, replacement);
            self.stalled = false;
        }
    }

    /// Sends something that the server must refuse, so that the server itself says what becomes of the transaction and of the
    /// rest of the pipeline.
    fn poison(&mut self, asked: &Asked, tx: TxId, refusal: Refusal, io: &mut Io<A>) {
        if let Asked::Batch { group } = asked {
            io.send_upstream(write::query(POISON));
            let group = Group { number: *group, tx };
            self.expect(Expect::PoisonedBatch { refusal, group, answered: false }, io);
            return;
        }
        // A Parse of the unnamed statement that fails drops it; any other refusal leaves it alone.
        let unnamed = matches!(asked, Asked::Parse { name, .. } if name.is_empty());
        io.send_upstream(write::parse(if unnamed { b"" } else { POISON_NAME }, POISON));
        self.expect(Expect::PoisonedParse { refusal, unnamed }, io);
    }

    fn is_probing(&self) -> bool {
        matches!(self.expected.front(), Some(Expect::Probe(_)))
    }

    /// A moment at which the server waits for a new request and a question of ours disturbs nothing.
    fn may_probe(&self) -> bool {
        self.expected.is_empty()
            && !self.in_group
            && !self.skipping
            && !self.copying_in
            && self.client_streaming == 0
            && !self.left
    }

    /// Ends an operation: its outcome is told, and what follows in the client's queue waits for its release.
    fn finish(&mut self, op: OpId, status: Status, io: &mut Io<A>) {
        let Some(active) = self.active.remove(&op) else { return };
        self.statements.operation_ended(op);
        let Active { admission, results, rows, bytes, code, masking, .. } = active;
        let masked = masking.and_then(|mut masking| masking.masked());
        let outcome = Outcome { op, status, results, rows, bytes, code, masked, tokens: None };
        io.events.push_back(Event::Outcome(outcome, Admitted(admission)));
        io.hold(op);
    }
}

impl<A> Active<A> {
    fn new(admission: A, drops: Option<Bytes>) -> Self {
        Self {
            admission,
            drops,
            results: Vec::new(),
            rows: 0,
            bytes: 0,
            code: None,
            bound: false,
            masking: None,
            held: Vec::new(),
        }
    }
}

impl<A> Item<A> {
    fn len(&self) -> usize {
        match self {
            Self::Pass { bytes, .. }
            | Self::Rows { bytes, .. }
            | Self::Ask { bytes, .. }
            | Self::Resume { bytes, .. }
            | Self::Commit { bytes, .. }
            | Self::Leave { bytes } => bytes.len(),
        }
    }
}
