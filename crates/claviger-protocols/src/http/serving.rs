//! The open session: one request after the other.

use std::sync::Arc;

use bytes::BytesMut;
use claviger_model::{OpId, Refusal, RefusalKind, TxId};

use super::body::Body;
use super::credential::Shows;
use super::exchange::Exchange;
use super::head::RequestHead;
use super::origin::Origin;
use super::wrong::Wrong;
use super::{Bound, Fault, Io, Queue, write};
use crate::{Access, Closed, Event, Forward, Limits, Operation, Reply, Request, Shown, UpstreamLogin};

/// An open session.
pub(super) struct Serving<A> {
    pub(super) bound: Bound,
    pub(super) turn: Turn<A>,
    /// Whether nothing more can be asked of the upstream.
    pub(super) upstream_closes: bool,
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
    /// A request is being decided.
    Undecided(OpId, Box<RequestHead>),
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
        Ok(Self { bound, turn: Turn::Idle, upstream_closes: false, upstream, limits, operations: 0 })
    }

    /// Asks for a request to be decided. It is recorded as it would leave, without the credential.
    pub(super) fn ask(&mut self, head: Box<RequestHead>, io: &mut Io<A>) {
        self.operations += 1;
        let id = OpId(self.operations);
        let access = match head.method {
            "GET" | "HEAD" | "OPTIONS" => Access::Read,
            _ => Access::Barrier,
        };
        io.events.push_back(Event::Operation(Operation {
            id,
            tx: TxId(id.0),
            in_transaction: false,
            group: id.0,
            request: Request::Exchange { method: head.method, path: head.path().clone() },
            access,
            bytes: head.write(&self.upstream.host, b"", self.upstream.field.as_deref()).into(),
        }));
        self.turn = Turn::Undecided(id, head);
    }

    pub(super) fn resume(&mut self, reply: Reply<A>, io: &mut Io<A>) {
        let turn = std::mem::replace(&mut self.turn, Turn::Idle);
        self.turn = match (reply, turn) {
            (Reply::Admit { op, admission, forward: Forward::Original, masker: None }, Turn::Undecided(asked, head))
                if op == asked =>
            {
                Turn::Running(Box::new(self.begin(op, admission, &head, io)))
            }
            // Neither another text nor a mask is for requests.
            (Reply::Admit { op, .. }, Turn::Undecided(asked, head)) if op == asked => {
                let refusal = Refusal::new(RefusalKind::Internal, "the request cannot be changed as it was decided");
                io.downstream.push(write::refusal(&refusal, None, head.method == "HEAD", true));
                Turn::Over(Closed::ByGateway(refusal))
            }
            (Reply::Refuse { op, refusal }, Turn::Undecided(asked, head)) if op == asked => self.refuse(&refusal, &head, io),
            (Reply::Release(op), Turn::Running(exchange)) if exchange.op == op && exchange.is_answered() => {
                self.release(*exchange, io)
            }
            (_, turn) => turn,
        };
    }

    fn begin(&mut self, op: OpId, admission: A, head: &RequestHead, io: &mut Io<A>) -> Exchange<A> {
        let Destination { host, shows, field, origin } = &self.upstream;
        io.upstream.push(head.write(host, shows.line.expose(), field.as_deref()).into());
        if head.expects {
            io.downstream.push(write::CONTINUE);
        }
        Exchange::new(op, admission, head, shows.needles.clone(), Arc::clone(origin))
    }

    /// Answers a request that does not leave. Whether a client that waits to be told to send its content will do so is not known.
    fn refuse(&self, refusal: &Refusal, head: &RequestHead, io: &mut Io<A>) -> Turn<A> {
        let closes = head.is_last || head.expects;
        io.downstream.push(write::refusal(refusal, None, head.method == "HEAD", closes));
        match (closes, head.body) {
            (true, _) => Turn::Over(Closed::ByClient),
            (false, Body::Ended) => Turn::Idle,
            (false, content) => Turn::Skipping { content, left: self.limits.statement },
        }
    }

    /// The outcome is recorded: the client gets the end of its response.
    fn release(&mut self, exchange: Exchange<A>, io: &mut Io<A>) -> Turn<A> {
        exchange.out.into_iter().for_each(|piece| io.downstream.push(piece));
        if exchange.closes {
            return Turn::Over(Closed::ByClient);
        }
        if exchange.content.is_ended() {
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

    /// Takes what the upstream answers.
    pub(super) fn answer(&mut self, input: &mut BytesMut, io: &mut Io<A>) -> Result<(), Wrong> {
        match &mut self.turn {
            Turn::Running(exchange) => {
                exchange.answer(input, &self.limits, io)?;
                // What comes after a response was not asked for, so nothing that follows can be believed.
                self.upstream_closes |= exchange.is_last || (exchange.is_answered() && !input.is_empty());
                Ok(())
            }
            Turn::Undecided(..) if !input.is_empty() => Err(Wrong::request("it answers before it is asked")),
            Turn::Idle | Turn::Undecided(..) | Turn::Skipping { .. } | Turn::Over(_) => {
                self.upstream_closes |= !input.is_empty();
                Ok(())
            }
        }
    }

    /// The upstream has closed. False if something was still to come.
    pub(super) fn upstream_gone(&mut self, io: &mut Io<A>) -> bool {
        self.upstream_closes = true;
        match &mut self.turn {
            Turn::Running(exchange) => exchange.upstream_gone(io),
            Turn::Undecided(..) => false,
            Turn::Idle | Turn::Skipping { .. } | Turn::Over(_) => true,
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
            Turn::Idle | Turn::Skipping { .. } => true,
            // What comes after the answer leaves no more, and is nobody's until the answer is released.
            Turn::Running(exchange) if exchange.is_answered() => false,
            Turn::Running(exchange) if exchange.content.is_ended() => !exchange.ahead,
            Turn::Running(_) => io.upstream.bytes < self.limits.pending,
            Turn::Undecided(..) | Turn::Over(_) => false,
        }
    }

    pub(super) fn wants_upstream(&self, io: &Io<A>) -> bool {
        let is_over = match &self.turn {
            Turn::Running(exchange) => exchange.is_answered() && self.upstream_closes,
            Turn::Over(_) => true,
            Turn::Idle | Turn::Undecided(..) | Turn::Skipping { .. } => self.upstream_closes,
        };
        !is_over && io.downstream.bytes < self.limits.response
    }

    /// Whether there is a request that the client can be told something of, and whether without content. What is wrong with the next
    /// request it is told when there is none.
    pub(super) fn tellable(&self, is_wrong: bool) -> Option<bool> {
        match &self.turn {
            Turn::Idle => is_wrong.then_some(false),
            Turn::Undecided(_, head) => Some(head.method == "HEAD"),
            Turn::Running(exchange) => (!exchange.begun).then_some(exchange.method == "HEAD"),
            Turn::Skipping { .. } | Turn::Over(_) => None,
        }
    }
}
