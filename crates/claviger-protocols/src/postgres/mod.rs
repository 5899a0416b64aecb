//! PostgreSQL, frontend/backend protocol 3.0 and 3.2 (PostgreSQL manual, chapter 55), both sides of it.
//!
//! The path of a connection is the list of [`Phase`]s: the client arrives and asks for TLS, gives its start-up message and its
//! token; the gateway logs in upstream with a credential of its own; then the session serves. `login` holds what is said with the
//! client before the last phase, `entry` what is said upstream, `serving` the last.
//!
//! Frames are split off before they are read, and pass as the original bytes. Rows are not read at all, unless
//! values in them are masked (`serving/masking`).

mod access;
pub mod activity;
mod binding;
mod describe;
mod entry;
mod frame;
mod io;
mod login;
mod oauth;
mod scram;
mod serving;
mod settings;
mod startup;
#[cfg(test)]
mod tests;
mod write;

use bytes::BytesMut;
use claviger_model::{Refusal, RefusalKind};

pub use self::describe::{Described, describe};
use self::frame::Violation;
use self::io::Io;
use self::login::{Challenge, Phase};
pub use self::scram::ScramKeys;
use self::startup::Startup;
pub use self::startup::{SSL_REQUEST, Version, cancel_request};
use crate::{Auth, Closed, Event, Limits, Protocol, ProtocolEntry, ProtocolOptions, Recorded, Reply, Side, Transmit};

/// This protocol's line in the list.
pub const ENTRY: ProtocolEntry =
    ProtocolEntry { kind: "postgres", title: "PostgreSQL", default_port: 5432, alpn: "postgresql", multiplexed: None };

/// One proxied PostgreSQL connection.
pub struct Postgres<A> {
    options: ProtocolOptions,
    io: Io<A>,
    phase: Phase<A>,
    /// What the client has asked for before its start-up message: each at most once, as with a server.
    asked_for: Encryption,
}

/// Kinds of encryption.
#[derive(Default)]
struct Encryption {
    tls: bool,
    gss: bool,
}

/// Why the session must end, and so what both sides are told.
enum Fault {
    /// The client broke the protocol or a limit.
    Client(Refusal),
    /// The upstream broke the protocol.
    Upstream(Violation),
    /// The upstream does not let us in.
    Entry(Refusal),
}

impl<A> Postgres<A> {
    /// A connection that a client has just opened.
    pub fn new(options: ProtocolOptions) -> Self {
        Self { options, io: Io::new(), phase: Phase::Arriving { tls: None }, asked_for: Encryption::default() }
    }

    /// A connection that no client has opened.
    pub fn without_client(limits: Limits) -> Self {
        let options =
            ProtocolOptions { limits, tls: false, plaintext: false, auth: Auth::PASSWORD, shared: false, multiplexes: false };
        Self {
            options,
            io: Io::new(),
            phase: Phase::Presented(Startup::default(), Challenge::Password),
            asked_for: Encryption::default(),
        }
    }

    fn settle(&mut self, result: Result<(), Fault>) {
        match result {
            Ok(()) => {}
            Err(Fault::Client(refusal) | Fault::Entry(refusal)) => self.fail(refusal),
            Err(Fault::Upstream(violation)) => {
                self.fail(Refusal::new(
                    RefusalKind::UpstreamUnavailable,
                    format!("the upstream broke its protocol: {violation}"),
                ));
            }
        }
    }

    /// Ends the session with an error for the client, if the client is where an error can be understood.
    fn fail(&mut self, refusal: Refusal) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.io.drop_held();
        if self.phase.takes_an_error() {
            self.io.send_downstream(write::error("FATAL", &refusal));
        }
        if self.phase.is_known_upstream() {
            self.io.send_upstream(write::terminate());
        }
        self.phase = Phase::Closed;
        self.io.close(Closed::ByGateway(refusal));
    }

    /// After the client's goodbye the session is over when all is answered.
    fn leave_if_done(&mut self) {
        if let Phase::Serving(serving) = &self.phase
            && serving.is_done()
        {
            self.close(Closed::ByClient);
        }
    }

    fn close(&mut self, closed: Closed) {
        self.phase = Phase::Closed;
        self.io.close(closed);
    }
}

impl<A: Send> Protocol<A> for Postgres<A> {
    fn handle_input(&mut self, from: Side, input: &mut BytesMut) {
        while !input.is_empty() && self.wants_input(from) {
            let before = (input.len(), std::mem::discriminant(&self.phase));
            let result = match (from, &mut self.phase) {
                (Side::Downstream, Phase::Serving(serving)) => serving.handle_client(input, &mut self.io),
                (Side::Upstream, Phase::Serving(serving)) => serving.handle_server(input, &mut self.io),
                (Side::Downstream, _) => self.handle_arrival(input),
                (Side::Upstream, _) => self.handle_entry(input),
            };
            self.settle(result);
            self.leave_if_done();
            // An open session takes so much at a time.
            if matches!(self.phase, Phase::Serving(_)) && before.1 == std::mem::discriminant(&self.phase) {
                return;
            }
            if (input.len(), std::mem::discriminant(&self.phase)) == before {
                return;
            }
        }
    }

    fn handle_eof(&mut self, from: Side) {
        match (from, &mut self.phase) {
            (_, Phase::Closed) => {}
            (Side::Downstream, Phase::Serving(serving)) if serving.client_has_left() => {}
            (Side::Upstream, Phase::Serving(serving)) if serving.client_has_left() => self.close(Closed::ByClient),
            (Side::Downstream, phase) => {
                if phase.is_known_upstream() {
                    self.io.send_upstream(write::terminate());
                }
                self.close(Closed::ByClient);
            }
            (Side::Upstream, Phase::Serving(serving)) => {
                if serving.takes_an_error() && !serving.has_heard_the_last() {
                    let refusal = Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream closed the connection");
                    self.io.send_downstream(write::error("FATAL", &refusal));
                }
                self.close(Closed::ByUpstream);
            }
            (Side::Upstream, _) => {
                self.fail(Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream closed the connection"));
            }
        }
    }

    fn wants_input(&self, from: Side) -> bool {
        match (from, &self.phase) {
            (_, Phase::Closed) => false,
            (Side::Downstream, Phase::Serving(serving)) => {
                !serving.is_stalled()
                    && !serving.is_full()
                    && serving.queued_bytes() + self.io.upstream_bytes() < self.options.limits.pending
            }
            (Side::Upstream, Phase::Serving(_)) => self.io.downstream_bytes() < self.options.limits.response,
            (Side::Downstream, phase) => phase.awaits_client(),
            (Side::Upstream, phase) => phase.awaits_upstream(),
        }
    }

    fn poll_event(&mut self) -> Option<Event<A>> {
        self.io.events.pop_front()
    }

    fn poll_recorded(&mut self) -> Option<Recorded> {
        self.io.recorded.pop_front()
    }

    fn resume(&mut self, reply: Reply<A>) {
        let result = match (reply, &mut self.phase) {
            // The client still hears of what ended before its session did.
            (Reply::Release(op), Phase::Closed) => {
                self.io.release(op);
                Ok(())
            }
            (_, Phase::Closed) => Ok(()),
            (Reply::Terminate(refusal), Phase::Presented(_, Challenge::Bearer))
                if refusal.kind == RefusalKind::Unauthenticated =>
            {
                self.decline(refusal);
                Ok(())
            }
            (Reply::Terminate(refusal), _) => {
                self.fail(refusal);
                Ok(())
            }
            (reply, Phase::Serving(serving)) => serving.resume(reply, &mut self.io),
            (reply, _) => self.resume_login(reply),
        };
        self.settle(result);
        self.leave_if_done();
    }

    fn poll_transmit(&mut self, to: Side) -> Option<Transmit> {
        let bytes = match to {
            Side::Downstream => self.io.poll_downstream(),
            Side::Upstream => self.io.poll_upstream(),
        };
        bytes.map(|bytes| Transmit { bytes })
    }
}
