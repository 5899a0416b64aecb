//! What is said with the client, from its first byte to the open session.

use bytes::{BufMut, Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind, Secret};

use super::entry::{Entry, Proof};
use super::frame::{Header, Reader, Violation};
use super::oauth::{Said, client_message, initial_response};
use super::serving::Serving;
use super::startup::{NotTaken, Packet, SSL_REQUEST, Startup, negotiate, packet_len};
use super::{Fault, Postgres, binding, oauth, settings, write};
use crate::{Ask, BackendKey, Closed, Credential, Event, Login, Reply, Side, UpstreamTls};

/// The first byte of TLS (RFC 8446, section 5.1: a handshake's content type). No start-up packet may be so long that it begins so.
const HANDSHAKE: u8 = 0x16;
/// The longest packet before a login, as with a server (`MAX_STARTUP_PACKET_LENGTH`).
const LONGEST_PACKET: usize = 10_000;

/// How far a connection has come.
pub(super) enum Phase<A> {
    /// Start-up packets are awaited.
    Arriving { tls: Option<Secured> },
    /// TLS starts on the client's leg.
    Securing,
    /// The answer to this is awaited.
    Challenged(Startup, Challenge),
    /// The pipeline looks at what was presented.
    Presented(Startup, Challenge),
    /// The client has been told where to get a token, and is refused when it has understood.
    Declined(Refusal),
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

/// What is known of the TLS on the client's leg.
#[derive(Clone, Copy)]
pub(super) struct Secured {
    /// Whether the client has shown a certificate.
    certified: bool,
}

/// What a client was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Nothing: it has shown a certificate.
    Certificate,
    /// A password.
    Password,
    /// To choose a SASL mechanism.
    Sasl,
    /// Its first message in the mechanism that it chose.
    Bearer,
}

impl<A> Phase<A> {
    pub(super) fn awaits_client(&self) -> bool {
        matches!(self, Self::Arriving { .. } | Self::Challenged(..) | Self::Declined(_))
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
            Phase::Arriving { tls: None } if self.options.tls && input.first() == Some(&HANDSHAKE) => {
                self.asked_for.tls = true;
                self.io.events.push_back(Event::DirectTls);
                self.phase = Phase::Securing;
                Ok(())
            }
            Phase::Arriving { tls } => {
                let tls = *tls;
                let Some(len) = packet_len(input, self.options.limits.login.min(LONGEST_PACKET)).map_err(by_client)? else {
                    return Ok(());
                };
                if input.len() < len {
                    return Ok(());
                }
                let packet = input.split_to(len).freeze();
                self.arrive(packet, tls, input.is_empty())
            }
            Phase::Challenged(..) | Phase::Declined(_) => self.take_answer(input),
            _ => Ok(()),
        }
    }

    /// `alone`: nothing came along after the packet.
    fn arrive(&mut self, packet: Bytes, tls: Option<Secured>, alone: bool) -> Result<(), Fault> {
        let packet = match Packet::read(packet) {
            Ok(packet) => packet,
            Err(NotTaken::Violation(violation)) => return Err(by_client(violation)),
            Err(NotTaken::Refused(refusal)) => return Err(Fault::Client(refusal)),
        };
        let repeated = match packet {
            Packet::Ssl => std::mem::replace(&mut self.asked_for.tls, true),
            Packet::Gss => std::mem::replace(&mut self.asked_for.gss, true),
            Packet::Cancel(_) | Packet::Startup(_) => false,
        };
        if repeated {
            return Err(by_client(Violation("encryption is asked for twice")));
        }
        match packet {
            Packet::Ssl if self.options.tls && tls.is_none() => {
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
                if let Some(unknown) = &startup.negotiate {
                    self.io.send_downstream(negotiate(startup.version, unknown));
                }
                self.challenge(startup, tls)?;
            }
        }
        Ok(())
    }

    /// Asks the client to prove who it is; one that has shown a certificate has done so.
    fn challenge(&mut self, startup: Startup, tls: Option<Secured>) -> Result<(), Fault> {
        let auth = &self.options.auth;
        let may_be_plain = self.options.plaintext && auth.ask == Ask::Password;
        match (&auth.ask, tls) {
            (_, None) if !may_be_plain => {
                return Err(unauthenticated("a login is taken only inside TLS; connect with sslmode=require or stricter"));
            }
            (_, Some(Secured { certified: true })) if auth.certificate => {
                self.present(startup, Challenge::Certificate, Credential::Certificate);
            }
            (Ask::Nothing, _) => return Err(unauthenticated("a client certificate is needed")),
            (Ask::Password, _) => {
                self.io.send_downstream(write::frame(b'R', |out| out.put_u32(3)));
                self.phase = Phase::Challenged(startup, Challenge::Password);
            }
            (Ask::Bearer { .. }, _) => {
                self.io.send_downstream(oauth::offer());
                self.phase = Phase::Challenged(startup, Challenge::Sasl);
            }
        }
        Ok(())
    }

    fn take_answer(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
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
        let frame = input.split_to(header.len).freeze();
        match std::mem::replace(&mut self.phase, Phase::Arriving { tls: None }) {
            Phase::Challenged(startup, Challenge::Password) => {
                let mut reader = Reader::of(&frame);
                let password = reader.text().map_err(by_client)?;
                reader.end().map_err(by_client)?;
                self.present(startup, Challenge::Password, Credential::Password(Secret::new(password)));
                Ok(())
            }
            Phase::Challenged(startup, Challenge::Sasl) => match initial_response(&frame)? {
                Some(message) => self.take_bearer(startup, &message),
                None => {
                    self.io.send_downstream(oauth::proceed(b""));
                    self.phase = Phase::Challenged(startup, Challenge::Bearer);
                    Ok(())
                }
            },
            Phase::Challenged(startup, _) => self.take_bearer(startup, &Reader::of(&frame).rest()),
            Phase::Declined(_) if Reader::of(&frame).rest()[..] != [oauth::SEPARATOR] => {
                Err(by_client(Violation("what was said of the token was not heard")))
            }
            Phase::Declined(refusal) => Err(Fault::Client(refusal)),
            phase => {
                self.phase = phase;
                Ok(())
            }
        }
    }

    /// A client without a token asks where to get one: nothing is presented, and nothing was tried.
    fn take_bearer(&mut self, startup: Startup, message: &[u8]) -> Result<(), Fault> {
        match client_message(message)? {
            Said::Token(token) => self.present(startup, Challenge::Bearer, Credential::Bearer(token)),
            Said::Nothing => self.decline(Refusal::new(RefusalKind::Unauthenticated, "a bearer token is needed")),
        }
        Ok(())
    }

    /// Tells the client where to get a token; it is refused when it has understood.
    pub(super) fn decline(&mut self, refusal: Refusal) {
        if let Ask::Bearer { discovery } = &self.options.auth.ask {
            self.io.send_downstream(oauth::proceed(discovery));
        }
        self.phase = Phase::Declined(refusal);
    }

    fn present(&mut self, startup: Startup, challenge: Challenge, credential: Credential) {
        self.io.events.push_back(Event::Login(Login {
            user: startup.user.clone(),
            database: startup.database.clone(),
            credential,
            application: startup.application.clone(),
            settings: settings::altering(&startup.settings),
            cancel_secret: startup.version.secret(),
        }));
        self.phase = Phase::Presented(startup, challenge);
    }

    pub(super) fn resume_login(&mut self, reply: Reply<A>) -> Result<(), Fault> {
        self.phase = match (reply, std::mem::replace(&mut self.phase, Phase::Closed)) {
            (Reply::TlsStarted(Side::Downstream, certificate), Phase::Securing) => {
                Phase::Arriving { tls: Some(Secured { certified: certificate.is_some() }) }
            }
            (Reply::Authenticated(login), Phase::Presented(startup, _)) => {
                let key = BackendKey { process: 0, secret: Bytes::new() };
                let (login, greeting) = (*login, BytesMut::new());
                let entry = Box::new(Entry { startup, login, secured: false, end_point: None, greeting, key });
                if entry.login.tls == UpstreamTls::Disable {
                    self.introduce(entry)
                } else {
                    self.io.send_upstream(Bytes::from_static(&SSL_REQUEST));
                    Phase::AskingTls(entry)
                }
            }
            (Reply::TlsStarted(Side::Upstream, certificate), Phase::SecuringUpstream(mut entry)) => {
                entry.secured = true;
                entry.end_point = certificate.and_then(|certificate| binding::end_point(&certificate));
                self.introduce(entry)
            }
            (Reply::Serve, Phase::Settled(entry)) => self.serve(*entry),
            (_, phase) => phase,
        };
        Ok(())
    }

    /// Tells the client that it is in. It gets the upstream's process id with a cancel secret of ours.
    fn serve(&mut self, entry: Entry) -> Phase<A> {
        self.io.send_downstream(write::frame(b'R', |out| out.put_u32(0)));
        let serving = Serving::new(self.options.limits).heard(&entry.greeting);
        self.io.send_downstream(entry.greeting.freeze());
        self.io.send_downstream(write::frame(b'K', |out| {
            out.put_i32(entry.key.process);
            out.extend_from_slice(&entry.login.cancel_secret);
        }));
        self.io.send_downstream(write::frame(b'Z', |out| out.put_u8(b'I')));
        Phase::Serving(Box::new(serving))
    }
}

fn unauthenticated(why: &str) -> Fault {
    Fault::Client(Refusal::new(RefusalKind::Unauthenticated, why))
}

pub(super) fn by_client(violation: Violation) -> Fault {
    Fault::Client(Refusal::new(RefusalKind::ProtocolViolation, violation.to_string()))
}
