//! Letting the client in, and logging in to the upstream (manual, 55.2.1).

use bytes::{BufMut, Bytes, BytesMut};
use claviger_model::Secret;

use super::frame::{Reader, body, frame, header};
use super::refuse::Fault;
use super::scram::{ClientFirst, ServerSignature};
use super::startup::{self, Packet, Startup};
use super::upstream::authentication;
use super::{Postgres, md5, message};
use crate::{BackendKey, Cancel, Closed, Event, Login as Credential, ProtocolOptions, Side, UpstreamLogin, UpstreamTls};

/// How far the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client may ask for encryption, cancel, or start.
    Greeting,
    /// The driver starts TLS with the client.
    StartingClientTls,
    AwaitingPassword,
    /// The pipeline looks at the credential, and the driver connects.
    Deciding,
    /// The upstream answers in one byte whether it speaks TLS.
    AskingTls,
    StartingUpstreamTls,
    Authenticating,
    /// Logged in; the upstream tells its settings.
    Settling,
    /// The pipeline records the session's beginning.
    LoggedIn,
    Serving,
    Closed,
}

/// What the login gathers.
pub(super) struct Login {
    options: ProtocolOptions,
    client_encrypted: bool,
    upstream_encrypted: bool,
    startup: Startup,
    upstream: Option<Box<UpstreamLogin>>,
    exchange: Exchange,
    /// The upstream's settings, for the client.
    settings: BytesMut,
    key: Option<BackendKey>,
}

/// How far the authentication is.
enum Exchange {
    Start,
    PasswordSent,
    ScramFirst(ClientFirst),
    ScramFinal(ServerSignature),
    ScramVerified,
}

const UNEXPECTED: Fault = Fault::Upstream("the upstream sent an unexpected message");
const SCRAM_FAILED: Fault = Fault::Upstream("the upstream failed the SCRAM exchange");
const NOT_SUPPORTED: Fault = Fault::Upstream("the upstream asks for an authentication that is not supported");

impl Login {
    pub(super) fn new(options: ProtocolOptions) -> Self {
        Self {
            options,
            client_encrypted: false,
            upstream_encrypted: false,
            startup: Startup::default(),
            upstream: None,
            exchange: Exchange::Start,
            settings: BytesMut::new(),
            key: None,
        }
    }
}

impl<A> Postgres<A> {
    /// Takes input before the session is served.
    pub(super) fn login_input(&mut self, from: Side, input: &mut BytesMut) -> Result<(), Fault> {
        loop {
            let more = match (self.phase, from) {
                (Phase::Greeting, Side::Downstream) => self.on_greeting(input)?,
                // Bytes in the clear behind a request for TLS were injected (CVE-2021-23222).
                (Phase::StartingClientTls, Side::Downstream) if !input.is_empty() => {
                    return Err(Fault::Client("unencrypted data after a request for TLS"));
                }
                (Phase::AwaitingPassword, Side::Downstream) => self.on_password(input)?,
                (Phase::AskingTls, Side::Upstream) => self.on_tls_answer(input)?,
                (Phase::StartingUpstreamTls, Side::Upstream) if !input.is_empty() => {
                    return Err(Fault::Upstream("the upstream sent unencrypted data after its consent to TLS"));
                }
                (Phase::Authenticating | Phase::Settling, Side::Upstream) => self.on_login_message(input)?,
                _ => false,
            };
            if !more {
                return Ok(());
            }
        }
    }

    fn on_greeting(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        let Some(packet) = startup::take(input, self.limits.login)? else { return Ok(false) };
        match packet {
            Packet::Ssl if self.login.options.tls && !self.login.client_encrypted => {
                self.down.push(Bytes::from_static(b"S"));
                self.phase = Phase::StartingClientTls;
                self.events.push_back(Event::StartTls(Side::Downstream));
            }
            Packet::Ssl | Packet::GssEncryption => self.down.push(Bytes::from_static(b"N")),
            Packet::Cancel { process, secret } => {
                self.events.push_back(Event::Cancel(Cancel { process, secret }));
                self.close(Closed::ByClient);
            }
            Packet::Startup(_) if !self.login.options.plaintext && !self.login.client_encrypted => {
                return Err(Fault::Unauthenticated("TLS is required: connect with sslmode=require or better"));
            }
            Packet::Startup(mut startup) => {
                if let Some(negotiation) = startup.negotiation.take() {
                    self.down.push(negotiation);
                }
                self.login.startup = startup;
                // AuthenticationCleartextPassword: the password is a token, which cannot be hashed.
                self.down.push(frame(b'R', &[&3i32.to_be_bytes()]));
                self.phase = Phase::AwaitingPassword;
            }
        }
        Ok(true)
    }

    fn on_password(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        let Some(header) = header(input)? else { return Ok(false) };
        match header.kind {
            b'p' if header.len > self.limits.login => Err(Fault::TooLarge { len: header.len, limit: self.limits.login }),
            b'p' if input.len() < header.len => Ok(false),
            b'p' => {
                let password = input.split_to(header.len);
                let credential = Secret::new(message::text(&password)?);
                let startup = &self.login.startup;
                self.phase = Phase::Deciding;
                self.events.push_back(Event::Login(Credential {
                    user: startup.user.clone(),
                    database: startup.database.clone(),
                    credential,
                    application: startup.application.clone(),
                }));
                Ok(false)
            }
            b'X' if header.len == 5 => {
                self.close(Closed::ByClient);
                Ok(false)
            }
            _ => Err(Fault::Client("a password is expected")),
        }
    }

    pub(super) fn tls_started(&mut self, side: Side) {
        match (self.phase, side) {
            (Phase::StartingClientTls, Side::Downstream) => {
                self.login.client_encrypted = true;
                self.phase = Phase::Greeting;
            }
            (Phase::StartingUpstreamTls, Side::Upstream) => {
                self.login.upstream_encrypted = true;
                self.start_up();
            }
            _ => {}
        }
    }

    pub(super) fn authenticated(&mut self, upstream: Box<UpstreamLogin>) {
        if self.phase != Phase::Deciding {
            return;
        }
        let tls = upstream.tls;
        self.login.upstream = Some(upstream);
        if tls == UpstreamTls::Disable {
            return self.start_up();
        }
        self.up.push(Bytes::from_static(&message::SSL_REQUEST));
        self.phase = Phase::AskingTls;
    }

    fn on_tls_answer(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        let Some(answer) = input.first().copied() else { return Ok(false) };
        if input.len() > 1 && answer != b'E' {
            return Err(Fault::Upstream("the upstream sent unencrypted data after its consent to TLS"));
        }
        input.clear();
        let required = self.login.upstream.as_ref().is_none_or(|upstream| upstream.tls == UpstreamTls::Require);
        match answer {
            b'S' => {
                self.phase = Phase::StartingUpstreamTls;
                self.events.push_back(Event::StartTls(Side::Upstream));
            }
            b'N' if required => return Err(Fault::Upstream("the upstream does not offer TLS")),
            b'N' => self.start_up(),
            // An ErrorResponse: out of connections, or too old to know the request.
            _ => return Err(Fault::Upstream("the upstream refused the request for TLS")),
        }
        Ok(false)
    }

    fn start_up(&mut self) {
        let Some(upstream) = &self.login.upstream else { return };
        let own = [
            ("user", upstream.user.as_str()),
            ("database", upstream.database.as_str()),
            ("application_name", upstream.application.as_str()),
        ];
        let settings = self.login.startup.settings.iter().map(|(name, value)| (*name, value.as_str()));
        self.up.push(message::write_startup(own.into_iter().chain(settings)));
        self.phase = Phase::Authenticating;
    }

    fn on_login_message(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        let Some(header) = header(input).map_err(|_| UNEXPECTED)? else { return Ok(false) };
        if header.len > self.limits.control {
            return Err(Fault::Upstream("the upstream sent a message that is too long"));
        }
        if input.len() < header.len {
            return Ok(false);
        }
        let frame = input.split_to(header.len).freeze();
        match (self.phase, header.kind) {
            (_, b'E') => return Err(Fault::LoginRefused(message::sqlstate(&frame))),
            // May name the upstream's user.
            (_, b'N') => {}
            (Phase::Authenticating, b'R') => self.on_authentication(&frame)?,
            (Phase::Settling, b'S') => {
                if self.login.settings.len() + frame.len() > self.limits.control {
                    return Err(Fault::Upstream("the upstream sent too many settings"));
                }
                self.login.settings.put_slice(&frame);
            }
            (Phase::Settling, b'K') => {
                let mut reader = Reader::new(body(&frame));
                let process = reader.i32().map_err(|_| UNEXPECTED)?;
                self.login.key = Some(BackendKey { process, secret: Bytes::copy_from_slice(reader.rest()) });
            }
            (Phase::Settling, b'Z') => {
                self.phase = Phase::LoggedIn;
                // A server without cancel keys cannot be asked to cancel.
                let key = self.login.key.get_or_insert(BackendKey { process: 0, secret: Bytes::new() });
                self.events.push_back(Event::Ready(key.clone()));
                return Ok(false);
            }
            _ => return Err(UNEXPECTED),
        }
        Ok(true)
    }

    fn on_authentication(&mut self, message: &[u8]) -> Result<(), Fault> {
        let (number, reader) = authentication(message)?;
        let Some(upstream) = &self.login.upstream else { return Err(UNEXPECTED) };
        let password = upstream.password.as_ref().ok_or(Fault::Upstream("the upstream asks for a password, and there is none"));
        let exchange = std::mem::replace(&mut self.login.exchange, Exchange::Start);
        let (next, answer) = match (number, exchange) {
            // A SCRAM exchange must have ended with the server's own proof.
            (0, Exchange::Start | Exchange::PasswordSent | Exchange::ScramVerified) => {
                self.phase = Phase::Settling;
                return Ok(());
            }
            (3, Exchange::Start) if self.login.upstream_encrypted || upstream.tls == UpstreamTls::Disable => {
                (Exchange::PasswordSent, Some(frame(b'p', &[password?.expose(), b"\0"])))
            }
            (3, Exchange::Start) => return Err(Fault::Upstream("the upstream asks for a cleartext password without TLS")),
            (5, Exchange::Start) => {
                let answer = md5::answer(upstream.user.as_bytes(), password?.expose(), reader.rest());
                (Exchange::PasswordSent, Some(frame(b'p', &[answer.as_bytes(), b"\0"])))
            }
            (10, Exchange::Start) => {
                if !reader.rest().split(|byte| *byte == 0).any(|mechanism| mechanism == b"SCRAM-SHA-256") {
                    return Err(NOT_SUPPORTED);
                }
                let first = ClientFirst::new("", &upstream.nonce);
                let message = first.message();
                let len = i32::try_from(message.len()).unwrap_or(i32::MAX).to_be_bytes();
                let answer = frame(b'p', &[b"SCRAM-SHA-256\0", &len, message.as_bytes()]);
                (Exchange::ScramFirst(first), Some(answer))
            }
            (11, Exchange::ScramFirst(first)) => {
                let (answer, expected) =
                    first.answer(reader.rest(), &upstream.user, password?, &upstream.scram_keys).map_err(|_| SCRAM_FAILED)?;
                (Exchange::ScramFinal(expected), Some(frame(b'p', &[answer.as_bytes()])))
            }
            (12, Exchange::ScramFinal(expected)) => {
                expected.verify(reader.rest()).map_err(|_| SCRAM_FAILED)?;
                (Exchange::ScramVerified, None)
            }
            (0, _) => return Err(SCRAM_FAILED),
            _ => return Err(NOT_SUPPORTED),
        };
        self.login.exchange = next;
        if let Some(answer) = answer {
            self.up.push(answer);
        }
        Ok(())
    }

    pub(super) fn serve(&mut self) {
        if self.phase != Phase::LoggedIn {
            return;
        }
        // The secrets have done their work.
        let Some((upstream, key)) = self.login.upstream.take().zip(self.login.key.take()) else { return };
        self.down.push(frame(b'R', &[&[0; 4]]));
        self.down.push(std::mem::take(&mut self.login.settings).freeze());
        self.down.push(frame(b'K', &[&key.process.to_be_bytes(), &upstream.cancel_secret]));
        self.down.push(frame(b'Z', &[b"I"]));
        self.phase = Phase::Serving;
    }
}
