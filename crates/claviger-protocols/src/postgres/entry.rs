//! How the gateway gets in upstream.

use bytes::{BufMut, Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind};

use super::frame::{Header, Reader, Violation};
use super::login::Phase;
use super::scram::{AwaitingProof, Binding, MECHANISM, PLUS, Scram, md5_password};
use super::startup::{Startup, negotiated, secret, startup};
use super::{Fault, Postgres, write};
use crate::{BackendKey, ChannelBinding, Event, Side, UpstreamLogin, UpstreamTls};

/// The most that an upstream may say before it is ready, in bytes.
const GREETING: usize = 256 * 1024;

/// A login upstream.
pub(super) struct Entry {
    pub(super) startup: Startup,
    pub(super) login: UpstreamLogin,
    /// Whether its leg is inside TLS, and what a login there can be bound to.
    pub(super) secured: bool,
    pub(super) end_point: Option<Vec<u8>>,
    /// What the upstream said of itself, to be told to the client.
    pub(super) greeting: BytesMut,
    pub(super) key: BackendKey,
}

/// How far proving who we are has come.
pub(super) enum Proof {
    Unasked,
    /// As before, but the version has been settled.
    Negotiated,
    Sent,
    Challenged(Scram),
    Answered(AwaitingProof),
    /// The upstream has proved itself too.
    Mutual,
}

impl<A> Postgres<A> {
    pub(super) fn introduce(&mut self, entry: Box<Entry>) -> Phase<A> {
        let login = &entry.login;
        self.io.send_upstream(startup(login.version, &login.user, &login.database, &login.application, &entry.startup.settings));
        Phase::LoggingIn(entry, Proof::Unasked)
    }

    pub(super) fn handle_entry(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        if let Phase::AskingTls(_) = &self.phase {
            return self.take_tls_answer(input);
        }
        let Some(header) = Header::peek(input).map_err(Fault::Upstream)? else { return Ok(()) };
        if header.len > GREETING {
            return Err(Fault::Upstream(Violation("a message before the session is too long")));
        }
        if input.len() < header.len {
            return Ok(());
        }
        let frame = input.split_to(header.len).freeze();
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::LoggingIn(entry, proof) => self.log_in(entry, proof, header.tag, &frame),
            Phase::Settling(entry) => self.settle_in(entry, header.tag, &frame),
            phase => {
                self.phase = phase;
                Ok(())
            }
        }
    }

    fn take_tls_answer(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        let Phase::AskingTls(entry) = std::mem::replace(&mut self.phase, Phase::Closed) else { return Ok(()) };
        // Put back first: whatever is wrong from here on is said to a client that waits for its login.
        let (answer, alone) = (input.split_to(1), input.is_empty());
        let required = entry.login.tls == UpstreamTls::Require;
        match answer.first() {
            // Plain bytes after the answer must not pass for bytes inside TLS.
            Some(b'S') if alone => {
                self.io.events.push_back(Event::StartTls(Side::Upstream));
                self.phase = Phase::SecuringUpstream(entry);
                Ok(())
            }
            Some(b'N') if alone && !required => {
                self.phase = self.introduce(entry);
                Ok(())
            }
            Some(b'N') if alone => {
                self.phase = Phase::AskingTls(entry);
                Err(Fault::Entry(Refusal::new(
                    RefusalKind::UpstreamUnavailable,
                    "the upstream does not offer the TLS it must have",
                )))
            }
            _ => {
                self.phase = Phase::AskingTls(entry);
                Err(Fault::Upstream(Violation("the answer to the request for TLS is not one")))
            }
        }
    }

    fn log_in(&mut self, entry: Box<Entry>, proof: Proof, tag: u8, frame: &Bytes) -> Result<(), Fault> {
        let result = match tag {
            b'R' => self.prove(&entry, proof, frame),
            b'E' => Err(refused(frame)),
            // An older server than the version that it was asked for says so, before anything else.
            b'v' if matches!(proof, Proof::Unasked) => {
                negotiated(entry.login.version, frame).map_err(Fault::Upstream).map(|()| Some(Proof::Negotiated))
            }
            b'N' => Ok(Some(proof)),
            _ => Err(Fault::Upstream(Violation("an unexpected message during login"))),
        };
        // The phase comes back even on failure, so that both sides are told in their own way.
        let (next, result) = match result {
            Ok(Some(proof)) => (Phase::LoggingIn(entry, proof), Ok(())),
            Ok(None) => (Phase::Settling(entry), Ok(())),
            Err(fault) => (Phase::LoggingIn(entry, Proof::Unasked), Err(fault)),
        };
        self.phase = next;
        result
    }

    /// Answers one authentication request (PostgreSQL manual, 55.2.1). `None`: the upstream is satisfied, and so are we.
    fn prove(&mut self, entry: &Entry, proof: Proof, frame: &Bytes) -> Result<Option<Proof>, Fault> {
        let login = &entry.login;
        let mut request = Reader::of(frame);
        let kind = request.i32().map_err(Fault::Upstream)?;
        let is_bound = matches!(proof, Proof::Challenged(_) | Proof::Answered(_) | Proof::Mutual) || kind == 10;
        if login.channel_binding == ChannelBinding::Require && !is_bound {
            return Err(unbound());
        }
        let password = || login.password.clone().ok_or_else(no_password);
        Ok(Some(match (kind, proof) {
            (0, Proof::Unasked | Proof::Negotiated | Proof::Sent | Proof::Mutual) => return Ok(None),
            (3, Proof::Unasked | Proof::Negotiated) => {
                // In clear only if nobody listens, or somebody decided that nobody does.
                if !entry.secured && login.tls != UpstreamTls::Disable {
                    return Err(unsafe_password());
                }
                self.io.send_upstream(write::password(password()?.expose()));
                Proof::Sent
            }
            (5, Proof::Unasked | Proof::Negotiated) => {
                let salt = request.take(4).map_err(Fault::Upstream)?;
                self.io.send_upstream(write::password(&md5_password(&login.user, &password()?, &salt)));
                Proof::Sent
            }
            (10, Proof::Unasked | Proof::Negotiated) => {
                let (mechanism, binding) = choose(entry, request)?;
                let (scram, first) = Scram::begin(password()?, &login.nonce, binding);
                self.io.send_upstream(write::frame(b'p', |out| {
                    write::text(out, mechanism.as_bytes());
                    out.put_u32(u32::try_from(first.len()).unwrap_or(u32::MAX));
                    out.extend_from_slice(&first);
                }));
                Proof::Challenged(scram)
            }
            (11, Proof::Challenged(scram)) => {
                let (waiting, last) = scram.answer(&request.rest(), &login.scram_keys).map_err(Fault::Upstream)?;
                self.io.send_upstream(write::frame(b'p', |out| out.extend_from_slice(&last)));
                Proof::Answered(waiting)
            }
            (12, Proof::Answered(waiting)) => {
                waiting.check(&request.rest()).map_err(Fault::Upstream)?;
                Proof::Mutual
            }
            (0 | 3 | 5 | 10 | 11 | 12, _) => return Err(Fault::Upstream(Violation("an authentication request out of order"))),
            _ => return Err(unsupported()),
        }))
    }

    /// Gathers what the upstream says of itself until it is ready.
    fn settle_in(&mut self, mut entry: Box<Entry>, tag: u8, frame: &Bytes) -> Result<(), Fault> {
        let result = match tag {
            b'S' | b'N' if entry.greeting.len() + frame.len() <= GREETING => {
                entry.greeting.extend_from_slice(frame);
                Ok(false)
            }
            b'K' => {
                let mut reader = Reader::of(frame);
                let key = reader.i32().and_then(|process| Ok(BackendKey { process, secret: secret(reader.rest())? }));
                key.map_err(Fault::Upstream).map(|key| {
                    entry.key = key;
                    false
                })
            }
            b'E' => Err(refused(frame)),
            b'Z' => Ok(true),
            _ => Err(Fault::Upstream(Violation("an unexpected message before the session"))),
        };
        if let Ok(true) = result {
            self.io.events.push_back(Event::Ready(Some(entry.key.clone())));
            self.phase = Phase::Settled(entry);
            return Ok(());
        }
        self.phase = Phase::Settling(entry);
        result.map(|_| ())
    }
}

/// Which of the mechanisms that the upstream offers is used, and what it is bound to, by libpq's rules.
fn choose(entry: &Entry, mut offered: Reader) -> Result<(&'static str, Binding), Fault> {
    let (mut plain, mut plus) = (false, false);
    while !offered.is_empty() {
        let mechanism = offered.text().map_err(Fault::Upstream)?;
        plain |= mechanism == MECHANISM.as_bytes();
        plus |= mechanism == PLUS.as_bytes();
    }
    match (entry.login.channel_binding, &entry.end_point) {
        (ChannelBinding::Prefer | ChannelBinding::Require, Some(data)) if plus => Ok((PLUS, Binding::EndPoint(data.clone()))),
        (ChannelBinding::Require, _) => Err(unbound()),
        _ if !plain => Err(unsupported()),
        // Says that we could have, so that an upstream whose offer somebody took out will notice.
        (ChannelBinding::Prefer, Some(_)) => Ok((MECHANISM, Binding::NotOffered)),
        _ => Ok((MECHANISM, Binding::None)),
    }
}

fn unbound() -> Fault {
    Fault::Entry(Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream does not bind its login to the channel as it must"))
}

/// The upstream's own words may name its user or address, so the client gets only the kind of problem.
fn refused(frame: &Bytes) -> Fault {
    let code = super::serving::error_code(frame).unwrap_or_default();
    // What is wrong with a setting that came from the client is his to know.
    if let ("22023" | "42704" | "55P02", Some(why)) = (code.as_str(), super::serving::field(frame, b'M')) {
        return Fault::Client(Refusal::new(RefusalKind::InvalidSetting, String::from_utf8_lossy(&why)));
    }
    let why = match code.as_str() {
        "3D000" => "the upstream's database does not exist",
        "53300" => "the upstream has no connection left",
        "57P03" => "the upstream is starting up or shutting down",
        _ => "the upstream refused the gateway's login",
    };
    Fault::Entry(Refusal::new(RefusalKind::UpstreamUnavailable, why))
}

fn no_password() -> Fault {
    Fault::Entry(Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream asks for a password and none is configured"))
}

fn unsafe_password() -> Fault {
    Fault::Entry(Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream asks for a password in clear outside TLS"))
}

fn unsupported() -> Fault {
    Fault::Entry(Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream asks for a kind of login that is not supported"))
}
