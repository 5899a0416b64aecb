//! The open session: one request after the other.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::{OpId, Refusal, RefusalKind, TxId};

use super::body::Body;
use super::coding::Decoder;
use super::credential::Shows;
use super::exchange::Exchange;
use super::head::RequestHead;
use super::origin::Origin;
use super::write::Manner;
use super::wrong::Wrong;
use super::{Bound, Fault, Io, Queue, write};
use crate::{
    Access, Awaited, Closed, Commit, Event, Exchange as Asked, Forward, Limits, Operation, Recorded, Reply, Request, Shown, Side,
    UpstreamLogin,
};

/// So much of a request's content is unpacked before it is looked how long that is.
const PIECE: usize = 16 * 1024;

/// An open session.
pub(super) struct Serving<A> {
    pub(super) bound: Bound,
    pub(super) turn: Turn<A>,
    /// Whether nothing more can be asked of the upstream.
    pub(super) upstream_closes: bool,
    /// Whether the upstream has answered all that it was asked.
    is_settled: bool,
    upstream: Destination,
    limits: Limits,
    operations: u64,
}

/// What a head says of where it goes.
struct Destination {
    host: String,
    shows: Shows,
    /// The field that the credential is in.
    field: Option<String>,
    origin: Arc<Origin>,
}

/// What the session is about.
pub(super) enum Turn<A> {
    /// A request is awaited.
    Idle,
    /// A request is being decided, with its content if that is here.
    Undecided(OpId, Box<RequestHead>, Option<Bytes>),
    /// All of a request's content is awaited before it is decided: some is here, and of the body this is to come.
    Gathering(Box<Gathering>),
    /// It has left, and is answered.
    Running(Box<Exchange<A>>),
    /// It was answered, and the rest of its content is passed over.
    Skipping { content: Body, left: usize },
    /// The session is over.
    Over(Closed),
}

impl<A> Serving<A> {
    pub(super) fn new(bound: Bound, login: &UpstreamLogin, limits: Limits) -> Result<Self, Refusal> {
        let field = match &login.shown {
            Shown::Header(name) => Some(name.clone()),
            Shown::Password | Shown::Bearer | Shown::Basic => None,
        };
        let origin = Arc::new(Origin { host: login.host.clone(), connection: bound.connection.clone() });
        let upstream = Destination { host: login.host.clone(), shows: Shows::new(login)?, field, origin };
        Ok(Self { bound, turn: Turn::Idle, upstream_closes: false, is_settled: true, upstream, limits, operations: 0 })
    }

    /// Asks for a request to be decided. It is recorded as it would leave, without the credential.
    pub(super) fn ask(&mut self, head: Box<RequestHead>, io: &mut Io<A>) {
        self.operations += 1;
        let content = head.body.is_ended().then(Bytes::new);
        self.ask_with(OpId(self.operations), head, content, io);
    }

    fn ask_with(&mut self, id: OpId, head: Box<RequestHead>, content: Option<Bytes>, io: &mut Io<A>) {
        let access = match head.method {
            "GET" | "HEAD" | "OPTIONS" => Access::Read,
            _ => Access::Barrier,
        };
        let mut bytes = self.head(&head, b"");
        bytes.extend_from_slice(content.as_deref().unwrap_or_default());
        io.events.push_back(Event::Operation(Operation {
            id,
            tx: TxId(id.0),
            commit: Commit::Itself,
            group: id.0,
            request: Request::Exchange(Box::new(Asked {
                method: head.method,
                path: Arc::clone(&head.target.path),
                sent: head.target.respelled().map(Arc::from),
                query: head.target.query.as_deref().map(Arc::from),
                content_type: head.text("content-type"),
                prompt: head.text("x-claviger-prompt"),
                content: content.clone(),
            })),
            access,
            bytes: bytes.into(),
        }));
        self.turn = Turn::Undecided(id, head, content);
    }

    /// The head that leaves, with this line of the credential.
    fn head(&self, head: &RequestHead, credential: &[u8]) -> Vec<u8> {
        head.write(&self.upstream.host, credential, self.upstream.field.as_deref())
    }

    pub(super) fn resume(&mut self, reply: Reply<A>, io: &mut Io<A>) -> Result<(), Fault> {
        let turn = std::mem::replace(&mut self.turn, Turn::Idle);
        self.turn = match (reply, turn) {
            (Reply::Gather(op), Turn::Undecided(asked, head, None)) if op == asked => {
                Turn::Gathering(Box::new(Gathering::begin(op, head, io)?))
            }
            (
                Reply::Admit { op, admission, forward, masker: None, content: reader },
                Turn::Undecided(asked, mut head, content),
            ) if op == asked && (content.is_some() || forward == Forward::Original) => {
                let exchange = match content {
                    None => self.begin(op, admission, &head, io),
                    Some(content) => self.begin_with(op, admission, &mut head, (content, forward), io),
                };
                Turn::Running(Box::new(exchange.read_by(reader)))
            }
            // Neither a mask of rows is for requests, nor another content for one that has not come.
            (Reply::Admit { op, .. }, Turn::Undecided(asked, head, _)) if op == asked => {
                let refusal = Refusal::new(RefusalKind::Internal, "the request cannot be changed as it was decided");
                io.downstream.push(write::refusal(&refusal, None, head.manner(), true));
                Turn::Over(Closed::ByGateway(refusal))
            }
            (Reply::Refuse { op, refusal }, Turn::Undecided(asked, head, content)) if op == asked => {
                self.refuse(&refusal, &head, content.is_some(), io)
            }
            (Reply::Admit { op, admission, .. }, Turn::Running(mut exchange)) if exchange.call == Some(op) => {
                exchange.call_admitted(admission, &mut self.operations, io)?;
                Turn::Running(exchange)
            }
            (Reply::Refuse { op, refusal }, Turn::Running(mut exchange)) if exchange.call == Some(op) => {
                exchange.call_refused(&refusal, io);
                self.upstream_closes |= exchange.is_last;
                Turn::Running(exchange)
            }
            (Reply::Notice(notice), Turn::Running(mut exchange)) => {
                exchange.call_waits(&notice, io);
                Turn::Running(exchange)
            }
            (Reply::Release(op), Turn::Running(exchange)) if exchange.op == op && exchange.is_answered() => {
                self.release(*exchange, io)
            }
            (_, turn) => turn,
        };
        Ok(())
    }

    fn begin(&mut self, op: OpId, admission: A, head: &RequestHead, io: &mut Io<A>) -> Exchange<A> {
        io.upstream.push(self.head(head, self.upstream.shows.line.expose()).into());
        if head.expects {
            io.downstream.push(write::CONTINUE);
        }
        self.exchange(op, admission, head)
    }

    /// A request leaves with all of its content, or with another.
    fn begin_with(
        &mut self,
        op: OpId,
        admission: A,
        head: &mut RequestHead,
        (content, forward): (Bytes, Forward),
        io: &mut Io<A>,
    ) -> Exchange<A> {
        let content = match forward {
            Forward::Original => content,
            Forward::Replace(content) => {
                // The recording has the client's own content already; this leaves.
                io.recorded.push_back(Recorded { op, from: Side::Downstream, request: true, bytes: content.clone() });
                head.is_rewritten = true;
                content
            }
        };
        head.body = Body::of_length(content.len() as u64);
        io.upstream.push(self.head(head, self.upstream.shows.line.expose()).into());
        if !content.is_empty() {
            io.upstream.push(content);
        }
        head.body = Body::Ended;
        self.exchange(op, admission, head)
    }

    fn exchange(&mut self, op: OpId, admission: A, head: &RequestHead) -> Exchange<A> {
        self.is_settled = false;
        Exchange::new(op, admission, head, self.upstream.shows.needles.clone(), Arc::clone(&self.upstream.origin))
    }

    /// Answers a request that does not leave. Whether a client that waits to be told to send its content will do so is not known.
    fn refuse(&self, refusal: &Refusal, head: &RequestHead, is_here: bool, io: &mut Io<A>) -> Turn<A> {
        let closes = head.is_last || head.expects;
        io.downstream.push(write::refusal(refusal, None, head.manner(), closes));
        match (closes, head.body) {
            (true, _) => Turn::Over(Closed::ByClient),
            (false, Body::Ended) => Turn::Idle,
            (false, _) if is_here => Turn::Idle,
            (false, content) => Turn::Skipping { content, left: self.limits.statement },
        }
    }

    /// The outcome is recorded: the client gets the end of its response.
    fn release(&mut self, exchange: Exchange<A>, io: &mut Io<A>) -> Turn<A> {
        exchange.out.into_iter().for_each(|piece| io.downstream.push(piece));
        self.is_settled = exchange.content.is_ended();
        if exchange.closes {
            return Turn::Over(Closed::ByClient);
        }
        if self.is_settled {
            return Turn::Idle;
        }
        // The upstream did not want the rest, nor does it know where that ends.
        self.upstream_closes = true;
        io.upstream = Queue::default();
        Turn::Skipping { content: exchange.content, left: self.limits.statement }
    }

    /// Takes content of the request that is under way. False if there is nothing to be taken yet.
    pub(super) fn take_content(&mut self, input: &mut BytesMut, io: &mut Io<A>) -> Result<bool, Fault> {
        let before = input.len();
        match &mut self.turn {
            Turn::Running(exchange) if exchange.is_answered() => {}
            Turn::Gathering(gathering) => {
                if gathering.take(input, self.limits.statement).map_err(Fault::Client)? {
                    self.gathered(io);
                }
            }
            Turn::Running(exchange) if exchange.content.is_ended() => exchange.ahead = !input.is_empty(),
            Turn::Running(exchange) => {
                exchange.pass_content(input, io).map_err(Fault::Client)?;
            }
            Turn::Skipping { content, left } => {
                while let Some(piece) = content.take(input).map_err(Fault::Client)? {
                    *left = left.saturating_sub(piece.len());
                }
                if content.is_ended() {
                    self.turn = Turn::Idle;
                } else if *left == 0 {
                    let refusal = Refusal::new(RefusalKind::TooLarge, "the content of a refused request is too long");
                    self.turn = Turn::Over(Closed::ByGateway(refusal));
                }
            }
            Turn::Idle | Turn::Undecided(..) | Turn::Over(_) => {}
        }
        Ok(input.len() != before)
    }

    /// A request is all here, and is asked for once more.
    fn gathered(&mut self, io: &mut Io<A>) {
        match std::mem::replace(&mut self.turn, Turn::Idle) {
            Turn::Gathering(gathering) => {
                let Gathering { op, head, content, .. } = *gathering;
                self.ask_with(op, head, Some(content.freeze()), io);
            }
            turn => self.turn = turn,
        }
    }

    /// Takes what the upstream answers.
    pub(super) fn answer(&mut self, input: &mut BytesMut, io: &mut Io<A>) -> Result<(), Fault> {
        match &mut self.turn {
            Turn::Running(exchange) => {
                exchange.answer(input, &self.limits, &mut self.operations, io)?;
                // What comes after a response was not asked for, so nothing that follows can be believed.
                self.upstream_closes |= exchange.is_last || (exchange.is_answered() && !input.is_empty());
                Ok(())
            }
            Turn::Undecided(..) | Turn::Gathering(..) if !input.is_empty() => {
                Err(Fault::Upstream(Wrong::request("it answers before it is asked")))
            }
            Turn::Idle | Turn::Undecided(..) | Turn::Gathering(..) | Turn::Skipping { .. } | Turn::Over(_) => {
                self.upstream_closes |= !input.is_empty();
                Ok(())
            }
        }
    }

    /// The upstream has closed. False if something was still to come.
    pub(super) fn upstream_gone(&mut self, io: &mut Io<A>) -> Result<bool, Fault> {
        self.upstream_closes = true;
        match &mut self.turn {
            Turn::Running(exchange) => exchange.upstream_gone(&mut self.operations, io),
            Turn::Undecided(..) | Turn::Gathering(..) => Ok(false),
            Turn::Idle | Turn::Skipping { .. } | Turn::Over(_) => Ok(true),
        }
    }

    /// Whether a response has begun that only the connection's end ends.
    pub(super) fn is_cut(&self) -> bool {
        matches!(&self.turn, Turn::Running(exchange) if exchange.is_cut())
    }

    /// Whether all that is still to come is the rest of a response.
    pub(super) fn awaits_the_end(&self) -> bool {
        matches!(&self.turn, Turn::Running(exchange) if exchange.begun && exchange.content.is_ended())
    }

    pub(super) fn wants_downstream(&self, io: &Io<A>) -> bool {
        match &self.turn {
            Turn::Idle | Turn::Gathering(..) | Turn::Skipping { .. } => true,
            // What comes after the answer leaves no more, and is nobody's until the answer is released.
            Turn::Running(exchange) if exchange.is_answered() => false,
            Turn::Running(exchange) if exchange.content.is_ended() => !exchange.ahead,
            Turn::Running(_) => io.upstream.bytes < self.limits.pending,
            Turn::Undecided(..) | Turn::Over(_) => false,
        }
    }

    pub(super) fn wants_upstream(&self, io: &Io<A>) -> bool {
        let is_over = match &self.turn {
            Turn::Running(exchange) => !exchange.wants_more() || (exchange.is_answered() && self.upstream_closes),
            Turn::Over(_) => true,
            Turn::Idle | Turn::Undecided(..) | Turn::Gathering(..) | Turn::Skipping { .. } => self.upstream_closes,
        };
        !is_over && io.downstream.bytes < self.limits.response
    }

    /// Whether the upstream can be asked something by another session.
    pub(super) fn spares_upstream(&self, io: &Io<A>) -> bool {
        self.is_settled && !self.upstream_closes && io.upstream.bytes == 0
    }

    /// Whether there is a request that has not left.
    pub(super) fn may_reopen(&self, io: &Io<A>) -> bool {
        matches!(self.turn, Turn::Undecided(..) | Turn::Gathering(_)) && self.spares_upstream(io)
    }

    /// What is waited for; `begun` if a part of a head is here.
    pub(super) fn awaits(&self, begun: bool, io: &Io<A>) -> Option<Awaited> {
        match &self.turn {
            Turn::Running(exchange) if exchange.is_answered() || !exchange.wants_more() => None,
            Turn::Running(_) if io.downstream.bytes >= self.limits.response => Some(Awaited::Room),
            Turn::Running(exchange) if !exchange.content.is_ended() && io.upstream.bytes < self.limits.pending => {
                Some(Awaited::Content)
            }
            Turn::Running(_) => Some(Awaited::Answer),
            Turn::Gathering(_) | Turn::Skipping { .. } => Some(Awaited::Content),
            Turn::Idle if io.downstream.bytes > 0 => Some(Awaited::Room),
            Turn::Idle => begun.then_some(Awaited::Message),
            Turn::Undecided(..) | Turn::Over(_) => None,
        }
    }

    /// The session ends, whatever is under way.
    pub(super) fn abandon(&mut self, io: &mut Io<A>) {
        if let Turn::Running(exchange) = &mut self.turn {
            exchange.abandon(io);
        }
    }

    /// Whether there is a request that the client can be told something of, and how. What is wrong with the next request it is told when
    /// there is none.
    pub(super) fn tellable(&self, is_wrong: bool) -> Option<Manner> {
        match &self.turn {
            Turn::Idle => is_wrong.then(Manner::default),
            Turn::Undecided(_, head, _) => Some(head.manner()),
            Turn::Gathering(gathering) => Some(gathering.head.manner()),
            Turn::Running(exchange) => (!exchange.begun).then_some(exchange.manner),
            Turn::Skipping { .. } | Turn::Over(_) => None,
        }
    }
}

/// A request whose content is awaited.
pub(super) struct Gathering {
    op: OpId,
    head: Box<RequestHead>,
    /// What is here of it, unpacked.
    content: BytesMut,
    /// What of it is still to come.
    body: Body,
    decoder: Option<Decoder>,
}

impl Gathering {
    fn begin<A>(op: OpId, mut head: Box<RequestHead>, io: &mut Io<A>) -> Result<Self, Fault> {
        let decoder = head.decoder().map_err(Fault::Client)?;
        // It leaves as it is decided on.
        head.is_rewritten = decoder.is_some();
        if std::mem::take(&mut head.expects) {
            io.downstream.push(write::CONTINUE);
        }
        let body = head.body;
        Ok(Self { op, head, content: BytesMut::new(), body, decoder })
    }

    /// Takes what has come. Whether all of it is here.
    fn take(&mut self, input: &mut BytesMut, longest: usize) -> Result<bool, Wrong> {
        while let Some(piece) = self.body.take_some(input, PIECE)? {
            match &mut self.decoder {
                None => self.content.extend_from_slice(&piece),
                Some(decoder) => self.content.extend_from_slice(&decoder.push(&piece)?),
            }
            if self.content.len() > longest {
                return Err(Wrong::new(413, "the content is longer than what can be looked into"));
            }
        }
        if self.body.is_ended() {
            self.decoder.as_ref().map_or(Ok(()), Decoder::finish)?;
        }
        Ok(self.body.is_ended())
    }
}
