//! From the first byte to the open session.

use bytes::{BufMut, Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind, Secret};

use super::frame::{Header, Reader, Violation};
use super::scram::{AwaitingProof, MECHANISM, Scram, md5_password};
use super::serving::Serving;
use super::startup::{NotTaken, Packet, SSL_REQUEST, Startup, negotiate, negotiated, packet_len, secret, startup};
use super::{Fault, Postgres, write};
use crate::{BackendKey, Closed, Event, Login, Reply, Side, UpstreamLogin, UpstreamTls};

/// The most that an upstream may say before it is ready, in bytes.
const GREETING: usize = 256 * 1024;

/// How far a connection has come.
pub(super) enum Phase<A> {
    /// Start-up packets are awaited.
    Arriving { secured: bool },
    /// TLS starts on the client's leg.
    Securing,
    /// The password is awaited.
    Challenged(Startup),
    /// The pipeline looks at the password.
    Presented(Startup),
    /// The upstream is asked whether it speaks TLS.
    AskingTls(Box<Entry>),
    /// TLS starts on the upstream's leg.
    SecuringUpstream(Box<Entry>),
    /// The upstream asks who we are.
    LoggingIn(Box<Entry>, Proof),
    /// The upstream has let us in and says how it is set up.
    Settling(Box<Entry>),
    /// The pipeline records the session.
    Settled(Box<Entry>),
    /// Operations come and go.
    Serving(Box<Serving<A>>),
    /// Over.
    Closed,
}

/// A login upstream.
pub(super) struct Entry {
    startup: Startup,
    login: UpstreamLogin,
    secured: bool,
    /// What the upstream said of itself, to be told to the client.
    greeting: BytesMut,
    key: BackendKey,
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

impl<A> Phase<A> {
    pub(super) fn awaits_client(&self) -> bool {
        matches!(self, Self::Arriving { .. } | Self::Challenged(_))
    }

    pub(super) fn awaits_upstream(&self) -> bool {
        matches!(self, Self::AskingTls(_) | Self::LoggingIn(..) | Self::Settling(_))
    }

    /// Whether the client is where it understands an ErrorResponse.
    pub(super) fn takes_an_error(&self) -> bool {
        match self {
            Self::Closed | Self::Securing => false,
            Self::Serving(serving) => serving.takes_an_error(),
            _ => true,
        }
    }

    /// Whether the upstream is where it understands a Terminate.
    pub(super) fn is_known_upstream(&self) -> bool {
        match self {
            Self::Serving(serving) => serving.takes_a_goodbye(),
            _ => matches!(self, Self::LoggingIn(..) | Self::Settling(_) | Self::Settled(_)),
        }
    }
}

impl<A> Postgres<A> {
    pub(super) fn handle_arrival(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        match &self.phase {
            Phase::Arriving { secured } => {
                let secured = *secured;
                let Some(len) = packet_len(input, self.options.limits.login).map_err(by_client)? else { return Ok(()) };
                if input.len() < len {
                    return Ok(());
                }
                let packet = input.split_to(len).freeze();
                self.arrive(packet, secured, input.is_empty())
            }
            Phase::Challenged(_) => self.take_password(input),
            _ => Ok(()),
        }
    }

    /// `alone`: nothing came along after the packet.
    fn arrive(&mut self, packet: Bytes, secured: bool, alone: bool) -> Result<(), Fault> {
        let packet = match Packet::read(packet) {
            Ok(packet) => packet,
            Err(NotTaken::Violation(violation)) => return Err(by_client(violation)),
            Err(NotTaken::Refused(refusal)) => return Err(Fault::Client(refusal)),
        };
        match packet {
            Packet::Ssl if self.options.tls && !secured => {
                // Bytes sent in plain text after the request must not pass for bytes sent inside TLS (CVE-2021-23222).
                if !alone {
                    return Err(by_client(Violation("bytes follow the request for TLS")));
                }
                self.io.send_downstream(Bytes::from_static(b"S"));
                self.io.events.push_back(Event::StartTls(Side::Downstream));
                self.phase = Phase::Securing;
            }
            Packet::Ssl | Packet::Gss => self.io.send_downstream(Bytes::from_static(b"N")),
            Packet::Cancel(cancel) => {
                self.io.events.push_back(Event::Cancel(cancel));
                self.close(Closed::ByClient);
            }
            Packet::Startup(startup) => {
                if !secured && !self.options.plaintext {
                    return Err(Fault::Client(Refusal::new(
                        RefusalKind::Unauthenticated,
                        "a token is taken only inside TLS; connect with sslmode=require or stricter",
                    )));
                }
                if let Some(unknown) = &startup.negotiate {
                    self.io.send_downstream(negotiate(startup.version, unknown));
                }
                self.io.send_downstream(write::frame(b'R', |out| out.put_u32(3)));
                self.phase = Phase::Challenged(startup);
            }
        }
        Ok(())
    }

    fn take_password(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        let Some(header) = Header::peek(input).map_err(by_client)? else { return Ok(()) };
        if header.tag == b'X' {
            self.close(Closed::ByClient);
            return Ok(());
        }
        if header.tag != b'p' || header.len > self.options.limits.login {
            return Err(by_client(Violation("a password message was expected")));
        }
        if input.len() < header.len {
            return Ok(());
        }
        let frame = input.split_to(header.len);
        let text = frame.get(Header::LEN..).and_then(|body| body.strip_suffix(&[0])).filter(|text| !text.contains(&0));
        let credential = Secret::new(text.ok_or_else(|| by_client(Violation("the password message is malformed")))?);
        if let Phase::Challenged(startup) = std::mem::replace(&mut self.phase, Phase::Closed) {
            self.io.events.push_back(Event::Login(Login {
                user: startup.user.clone(),
                database: startup.database.clone(),
                credential,
                application: startup.application.clone(),
                cancel_secret: startup.version.secret(),
            }));
            self.phase = Phase::Presented(startup);
        }
        Ok(())
    }

    pub(super) fn resume_login(&mut self, reply: Reply<A>) -> Result<(), Fault> {
        self.phase = match (reply, std::mem::replace(&mut self.phase, Phase::Closed)) {
            (Reply::TlsStarted(Side::Downstream), Phase::Securing) => Phase::Arriving { secured: true },
            (Reply::Authenticated(login), Phase::Presented(startup)) => {
                let key = BackendKey { process: 0, secret: Bytes::new() };
                let entry = Box::new(Entry { startup, login: *login, secured: false, greeting: BytesMut::new(), key });
                if entry.login.tls == UpstreamTls::Disable {
                    self.introduce(entry)
                } else {
                    self.io.send_upstream(Bytes::from_static(&SSL_REQUEST));
                    Phase::AskingTls(entry)
                }
            }
            (Reply::TlsStarted(Side::Upstream), Phase::SecuringUpstream(mut entry)) => {
                entry.secured = true;
                self.introduce(entry)
            }
            (Reply::Serve, Phase::Settled(entry)) => self.serve(*entry),
            (_, phase) => phase,
        };
        Ok(())
    }

    fn introduce(&mut self, entry: Box<Entry>) -> Phase<A> {
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
                let mut offered = false;
                while !request.is_empty() {
                    offered |= request.text().map_err(Fault::Upstream)? == MECHANISM.as_bytes();
                }
                if !offered {
                    return Err(unsupported());
                }
                let (scram, first) = Scram::begin(password()?, &login.nonce);
                self.io.send_upstream(write::frame(b'p', |out| {
                    write::text(out, MECHANISM.as_bytes());
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
            self.io.events.push_back(Event::Ready(entry.key.clone()));
            self.phase = Phase::Settled(entry);
            return Ok(());
        }
        self.phase = Phase::Settling(entry);
        result.map(|_| ())
    }

    /// Tells the client that it is in. It gets the upstream's process id with a cancel secret of ours.
    fn serve(&mut self, entry: Entry) -> Phase<A> {
        self.io.send_downstream(write::frame(b'R', |out| out.put_u32(0)));
        self.io.send_downstream(entry.greeting.freeze());
        self.io.send_downstream(write::frame(b'K', |out| {
            out.put_i32(entry.key.process);
            out.extend_from_slice(&entry.login.cancel_secret);
        }));
        self.io.send_downstream(write::frame(b'Z', |out| out.put_u8(b'I')));
        Phase::Serving(Box::new(Serving::new(self.options.limits)))
    }
}

pub(super) fn by_client(violation: Violation) -> Fault {
    Fault::Client(Refusal::new(RefusalKind::ProtocolViolation, violation.to_string()))
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
