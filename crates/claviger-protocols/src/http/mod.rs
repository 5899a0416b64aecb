//! HTTP/1.1 (RFC 9110 and 9112), both sides of it.
//!
//! A connection is a sequence of requests, each of which is an operation. Its first head brings the token that opens the session, and
//! names the connection where clients do that. A head with another token, of another program, or for another connection is not for this session: what runs is
//! ended, and the client's socket is left to the next session, with that head still in its input ([`Protocol::leaves_client`]).
//! So it is when the upstream closes, as it may whenever nothing runs.
//!
//! One parse, one meaning: a head is read once and strictly (`head`, `fields`, `path`), and what leaves is written anew from what was
//! read. Content streams as it comes, framed anew (`body`). Requests that a client sends ahead wait in the driver's input until
//! it is their turn.

mod body;
mod coding;
mod credential;
mod exchange;
mod fields;
mod head;
mod origin;
mod outward;
mod path;
mod scrub;
mod serving;
mod streams;
#[cfg(test)]
mod tests;
mod write;
mod wrong;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind};

use self::credential::Presented;
pub use self::fields::may_carry_credential;
pub use self::head::METHODS;
use self::head::RequestHead;
pub use self::outward::{Requests, Sent, SentHead, response_head};
use self::serving::{Serving, Turn};
pub use self::streams::{Answer, Asked, Kin, NotOne, Part, StreamHead};
use self::wrong::Wrong;
use crate::{
    Awaited, Closed, Credential, Event, Login, Protocol, ProtocolEntry, ProtocolOptions, Recorded, Reply, Side, Transmit,
    UpstreamLogin, UpstreamTls,
};

/// This protocol's line in the list.
pub const ENTRY: ProtocolEntry =
    ProtocolEntry { kind: "http", title: "HTTP", default_port: 443, alpn: "http/1.1", multiplexed: Some("h2") };

/// One proxied HTTP connection.
pub struct Http<A> {
    options: ProtocolOptions,
    phase: Phase<A>,
    io: Io<A>,
    /// How much of the input has been looked at for the end of a head.
    seen: usize,
    /// Whether the client's socket outlives the session,
    leaves: bool,
    /// and whether the upstream's does.
    spares: bool,
    /// Whether the client has gone, of which the pipeline hears when what the upstream has said already is taken.
    gone: bool,
}

/// How far a connection has come.
enum Phase<A> {
    /// TLS starts on the client's leg.
    Securing,
    /// The first head is awaited.
    Arriving,
    /// The pipeline looks at the token that it brings.
    Presented(Box<RequestHead>),
    /// TLS starts on the upstream's leg.
    SecuringUpstream(Box<RequestHead>, Box<UpstreamLogin>),
    /// The session is being recorded as open.
    Entered(Box<RequestHead>, Box<Serving<A>>),
    Serving(Box<Serving<A>>),
    Closed,
}

/// What is on its way out of the protocol.
struct Io<A> {
    downstream: Queue,
    upstream: Queue,
    events: VecDeque<Event<A>>,
    recorded: VecDeque<Recorded>,
}

/// Bytes on their way to one side.
#[derive(Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

/// Why the session must end, and so what the client is told.
enum Fault {
    /// The client broke the protocol or a limit.
    Client(Wrong),
    /// The upstream broke the protocol.
    Upstream(Wrong),
    /// Something else is refused, and the session with it.
    Refused(Refusal),
}

/// Whose requests a session carries, from which program, and where they go: a head that says otherwise is for another session.
#[derive(Clone, PartialEq)]
struct Bound {
    presented: Option<Presented>,
    connection: Option<String>,
    application: Option<String>,
}

impl Bound {
    fn of(head: &RequestHead) -> Self {
        let (presented, connection) = (head.presented.clone(), head.target.connection.clone());
        Self { presented, connection, application: head.application.clone() }
    }
}

impl<A> Http<A> {
    /// A connection that a client has just opened, or on which it goes on after a session has ended.
    pub fn new(options: ProtocolOptions) -> Self {
        let io =
            Io { downstream: Queue::default(), upstream: Queue::default(), events: VecDeque::new(), recorded: VecDeque::new() };
        let mut http = Self { options, phase: Phase::Arriving, io, seen: 0, leaves: false, spares: false, gone: false };
        if http.options.tls && !http.options.plaintext {
            http.io.events.push_back(Event::StartTls(Side::Downstream));
            http.phase = Phase::Securing;
        }
        http
    }

    fn arrive(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        if self.options.multiplexes {
            match streams::begins(input) {
                Some(true) => {
                    self.io.events.push_back(Event::Multiplex);
                    self.phase = Phase::Closed;
                    return Ok(());
                }
                Some(false) => self.options.multiplexes = false,
                None => return Ok(()),
            }
        }
        let Some(length) = self.find_head(input)? else { return Ok(()) };
        let head = input.split_to(length);
        let head = RequestHead::read(&head, self.options.shared).map_err(Fault::Client)?;
        let Some(Presented { token, place }) = head.presented.clone() else {
            let why = "a token is needed: as a bearer token, as `x-api-key`, or as a password";
            let refusal = Refusal::new(RefusalKind::Unauthenticated, why);
            self.phase = Phase::Presented(Box::new(head));
            return Err(Fault::Refused(refusal));
        };
        self.io.events.push_back(Event::Login(Login {
            user: None,
            database: head.target.connection.clone(),
            credential: Credential::Header(token, place),
            application: head.application.clone(),
            settings: Vec::new(),
            cancel_secret: 0,
        }));
        self.phase = Phase::Presented(Box::new(head));
        Ok(())
    }

    fn find_head(&mut self, input: &BytesMut) -> Result<Option<usize>, Fault> {
        head::find(input, self.options.limits.login, &mut self.seen).map_err(Fault::Client)
    }

    /// The upstream can be spoken to.
    fn enter(&mut self, head: Box<RequestHead>, login: &UpstreamLogin) -> Result<(), Fault> {
        let serving = Serving::new(Bound::of(&head), login, self.options.limits);
        match serving {
            Ok(serving) => {
                self.phase = Phase::Entered(head, Box::new(serving));
                self.io.events.push_back(Event::Ready(None));
                Ok(())
            }
            Err(refusal) => {
                // Put back first, so that it can be told.
                self.phase = Phase::Presented(head);
                Err(Fault::Refused(refusal))
            }
        }
    }

    /// Takes requests and their content off the client's input.
    fn handle_client(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        while !input.is_empty() && self.wants_downstream() {
            let Phase::Serving(serving) = &mut self.phase else {
                self.arrive(input)?;
                if matches!(self.phase, Phase::Arriving) {
                    return Ok(());
                }
                continue;
            };
            if !matches!(serving.turn, Turn::Idle) {
                if !serving.take_content(input, &mut self.io)? {
                    return Ok(());
                }
                self.go_on();
                continue;
            }
            let Some(length) = self.find_head(input)? else { return Ok(()) };
            let Phase::Serving(serving) = &mut self.phase else { return Ok(()) };
            let head = RequestHead::read(input.get(..length).unwrap_or_default(), self.options.shared).map_err(Fault::Client)?;
            if Bound::of(&head) != serving.bound {
                self.leave(Closed::ByClient);
                return Ok(());
            }
            drop(input.split_to(length));
            serving.ask(Box::new(head), &mut self.io);
        }
        Ok(())
    }

    /// Looks whether the session is over with the turn that has ended.
    fn go_on(&mut self) {
        let Phase::Serving(serving) = &self.phase else { return };
        match &serving.turn {
            Turn::Over(closed) => {
                let closed = closed.clone();
                self.close(closed);
            }
            Turn::Idle if serving.upstream_closes => self.leave(Closed::ByUpstream),
            _ => {}
        }
    }

    fn settle(&mut self, result: Result<(), Fault>) {
        match result {
            Ok(()) => {}
            Err(Fault::Client(wrong)) => self.fail(wrong.refusal(), Some(wrong.status)),
            Err(Fault::Upstream(wrong)) => {
                let why = format!("the upstream broke its protocol: {}", wrong.why);
                self.fail(Refusal::new(RefusalKind::UpstreamUnavailable, why), None);
            }
            Err(Fault::Refused(refusal)) => self.fail(refusal, None),
        }
    }

    /// Ends the session with an error for the client.
    fn fail(&mut self, refusal: Refusal, status: Option<u16>) {
        self.tell(&refusal, status);
        self.close(Closed::ByGateway(refusal));
    }

    /// Tells the client what is wrong, if there is a request that this can answer.
    fn tell(&mut self, refusal: &Refusal, status: Option<u16>) {
        let told = match &self.phase {
            Phase::Closed => return,
            Phase::Securing => None,
            // A client that has asked for nothing is not surprised to find its connection closed.
            Phase::Arriving if refusal.kind == RefusalKind::Idle => None,
            Phase::Arriving => Some(write::Manner::default()),
            Phase::Presented(head) | Phase::SecuringUpstream(head, _) | Phase::Entered(head, _) => Some(head.manner()),
            Phase::Serving(serving) => serving.tellable(status.is_some() || refusal.kind == RefusalKind::TimedOut),
        };
        if let Some(manner) = told {
            self.io.downstream.push(write::refusal(refusal, status, manner, true));
        }
    }

    fn close(&mut self, closed: Closed) {
        self.spares |= matches!(&self.phase, Phase::Serving(serving) if serving.spares_upstream(&self.io));
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => return,
            Phase::Serving(mut serving) => serving.abandon(&mut self.io),
            _ => {}
        }
        // What has not left belongs to something that has ended.
        self.io.upstream = Queue::default();
        self.io.events.push_back(Event::Closed(closed));
    }

    /// Ends the session, and leaves the client's socket to the next.
    fn leave(&mut self, closed: Closed) {
        self.leaves = true;
        self.close(closed);
    }

    fn wants_downstream(&self) -> bool {
        match &self.phase {
            _ if self.gone => false,
            Phase::Arriving => true,
            Phase::Serving(serving) => serving.wants_downstream(&self.io),
            _ => false,
        }
    }
}

impl<A: Send> Protocol<A> for Http<A> {
    fn handle_input(&mut self, from: Side, input: &mut BytesMut) {
        let result = match from {
            Side::Downstream => self.handle_client(input),
            Side::Upstream => match &mut self.phase {
                Phase::Serving(serving) => serving.answer(input, &mut self.io),
                _ => Ok(()),
            },
        };
        self.settle(result);
        self.go_on();
    }

    fn handle_eof(&mut self, from: Side) {
        match (from, &mut self.phase) {
            (_, Phase::Closed) => {}
            // Many close when they have read the last event of a stream, and its end is on its way.
            (Side::Downstream, Phase::Serving(serving)) if serving.awaits_the_end() => self.gone = true,
            (Side::Downstream, _) => self.close(Closed::ByClient),
            (Side::Upstream, Phase::Serving(serving)) => match serving.upstream_gone(&mut self.io) {
                Ok(true) => self.go_on(),
                Ok(false) => self.lose_upstream(),
                Err(fault) => self.settle(Err(fault)),
            },
            (Side::Upstream, _) => self.lose_upstream(),
        }
    }

    /// Content without a declared length ends with the connection, if that ends as it should.
    fn handle_loss(&mut self, from: Side) {
        match (from, &self.phase) {
            (Side::Upstream, Phase::Serving(serving)) if serving.is_cut() => self.lose_upstream(),
            _ => self.handle_eof(from),
        }
    }

    fn wants_input(&self, from: Side) -> bool {
        match (from, &self.phase) {
            (Side::Downstream, _) => self.wants_downstream(),
            (Side::Upstream, Phase::Serving(serving)) => serving.wants_upstream(&self.io),
            (Side::Upstream, _) => false,
        }
    }

    fn poll_event(&mut self) -> Option<Event<A>> {
        if self.gone && self.io.events.is_empty() {
            self.close(Closed::ByClient);
        }
        self.io.events.pop_front()
    }

    fn poll_recorded(&mut self) -> Option<Recorded> {
        self.io.recorded.pop_front()
    }

    fn resume(&mut self, reply: Reply<A>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Closed);
        let result = match (reply, phase) {
            (_, Phase::Closed) => Ok(()),
            (Reply::Terminate(refusal), phase) => {
                self.phase = phase;
                Err(Fault::Refused(refusal))
            }
            (Reply::TlsStarted(Side::Downstream, _), Phase::Securing) => {
                self.phase = Phase::Arriving;
                Ok(())
            }
            (Reply::Authenticated(login), Phase::Presented(head)) if login.tls == UpstreamTls::Disable => {
                self.enter(head, &login)
            }
            (Reply::Authenticated(login), Phase::Presented(head)) => {
                self.phase = Phase::SecuringUpstream(head, login);
                self.io.events.push_back(Event::StartTls(Side::Upstream));
                Ok(())
            }
            (Reply::TlsStarted(Side::Upstream, _), Phase::SecuringUpstream(head, login)) => self.enter(head, &login),
            (Reply::Serve, Phase::Entered(head, mut serving)) => {
                serving.ask(head, &mut self.io);
                self.phase = Phase::Serving(serving);
                Ok(())
            }
            (reply, Phase::Serving(mut serving)) => {
                let result = serving.resume(reply, &mut self.io);
                self.phase = Phase::Serving(serving);
                result
            }
            (_, phase) => {
                self.phase = phase;
                Ok(())
            }
        };
        self.settle(result);
        self.go_on();
    }

    fn poll_transmit(&mut self, to: Side) -> Option<Transmit> {
        let queue = match to {
            Side::Downstream => &mut self.io.downstream,
            Side::Upstream => &mut self.io.upstream,
        };
        queue.pop().map(|bytes| Transmit { bytes })
    }

    fn awaits(&self) -> Option<Awaited> {
        match &self.phase {
            Phase::Serving(serving) if !self.gone => serving.awaits(self.seen > 0, &self.io),
            _ => None,
        }
    }

    fn may_reopen(&self) -> bool {
        matches!(&self.phase, Phase::Serving(serving) if serving.may_reopen(&self.io))
    }

    fn leaves_upstream(&self) -> bool {
        self.spares
    }

    fn leaves_client(&self) -> bool {
        self.leaves
    }
}

impl<A> Http<A> {
    /// The upstream has gone while something was asked of it.
    fn lose_upstream(&mut self) {
        let refusal = Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream closed the connection");
        self.tell(&refusal, None);
        self.close(Closed::ByUpstream);
    }
}

impl Queue {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }
}
