//! Questions of the gateway's own, on an upstream session that no client has part in.
//!
//! It is the same login by the same code as for a client. The protocol is given an admission that cannot exist, so whatever an
//! upstream says, nothing but the question can leave.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind, Secret};
use claviger_protocols::{Closed, Event, Limits, Probe, ProbeId, Protocol, Question, Reply, Side, UpstreamLogin};
use claviger_session::{Connection, Gateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::leg::Socket;
use crate::upstream::{Registered, ends};
use crate::{Upstreams, credential};

/// The answer to a question.
pub struct Answer {
    /// Its rows, of columns as text.
    pub rows: Vec<Vec<Option<Bytes>>>,
    /// The gateway's end of the session.
    pub local: SocketAddr,
    /// The upstream's.
    pub peer: SocketAddr,
}

/// What the upstream's administrator sees of such a session.
pub const OWN_APPLICATION: &str = "claviger:gateway";

impl Upstreams {
    /// Asks a connection's upstream, with its own credential, within the time that a login has.
    pub async fn ask(&self, gateway: &Gateway, connection: &Connection, question: &str) -> Result<Answer, Refusal> {
        let asking = timeout(gateway.rules().deadlines.login, async {
            let _turn = self.questions.acquire().await;
            let mut asking = Asking::open(self, connection, login_of(gateway, connection)).await?;
            let rows = asking.ask(question).await?;
            let (local, peer) = asking.ends;
            asking.close().await;
            Ok(Answer { rows, local, peer })
        });
        asking.await.unwrap_or_else(|_| Err(unavailable("the upstream took too long")))
    }
}

/// A login of the gateway's own.
pub(crate) fn login_of(gateway: &Gateway, connection: &Connection) -> impl FnOnce(Option<Secret>) -> UpstreamLogin {
    |password| gateway.upstream_login(connection, password, OWN_APPLICATION.to_owned(), Bytes::from_static(&[0; 4]))
}

/// An upstream session of the gateway's own. Dropping it closes it.
pub struct Asking {
    protocol: Box<dyn Protocol<Infallible>>,
    socket: Option<Socket>,
    input: BytesMut,
    /// The gateway's end, and the upstream's.
    ends: (SocketAddr, SocketAddr),
    asked: u64,
    _registered: Registered,
}

impl Asking {
    /// Logs in. What it takes too long for is the caller's affair.
    pub async fn open(
        upstreams: &Upstreams,
        connection: &Connection,
        login: impl FnOnce(Option<Secret>) -> UpstreamLogin,
    ) -> Result<Self, Refusal> {
        let password = credential::find(connection).await?;
        let (stream, registered) = upstreams.open(connection).await?;
        let ends = ends(&stream).map_err(|_| unavailable("the upstream has gone"))?;
        let protocol = claviger_protocols::open_own::<Infallible>(connection.kind, Limits::default());
        let mut asking = Self {
            protocol: protocol.ok_or_else(|| unavailable("the upstream speaks another protocol"))?,
            socket: Some(Socket::Plain(stream)),
            input: BytesMut::new(),
            ends,
            asked: 0,
            _registered: registered,
        };
        asking.protocol.resume(Reply::Authenticated(Box::new(login(password))));
        loop {
            match asking.next().await? {
                Event::StartTls(Side::Upstream) => asking.start_tls(upstreams, connection).await?,
                Event::Ready(_) => {
                    asking.protocol.resume(Reply::Serve);
                    return Ok(asking);
                }
                _ => {}
            }
        }
    }

    /// Asks one question. An error is the end of the asking.
    pub async fn ask(&mut self, question: &str) -> Result<Vec<Vec<Option<Bytes>>>, Refusal> {
        let put = self.put(question.into()).await?;
        put.map_err(|code| refused(&code))
    }

    /// Puts one question: its rows, or the code with which the upstream refused it.
    pub(crate) async fn put(&mut self, question: Question) -> Result<Result<Vec<Vec<Option<Bytes>>>, String>, Refusal> {
        self.asked += 1;
        self.protocol.resume(Reply::Probe(ProbeId(self.asked), question));
        loop {
            match self.next().await? {
                Event::Probe(ProbeId(id), found) if id == self.asked => {
                    return match found {
                        Probe::Rows(rows) => Ok(Ok(rows)),
                        Probe::TooLate => Err(unavailable("the upstream is not asked")),
                        Probe::Failed(code) => Ok(Err(code)),
                    };
                }
                _ => {}
            }
        }
    }

    /// Says goodbye, as a client that is not there would.
    pub async fn close(mut self) {
        self.protocol.handle_eof(Side::Downstream);
        self.write().await;
    }

    /// The next thing that the upstream brings about; its end is an error.
    async fn next(&mut self) -> Result<Event<Infallible>, Refusal> {
        loop {
            match self.protocol.poll_event() {
                Some(Event::Closed(closed)) => {
                    self.write().await;
                    return Err(match closed {
                        Closed::ByGateway(refusal) => refusal,
                        _ => unavailable("the upstream closed the connection"),
                    });
                }
                Some(event) => return Ok(event),
                None => {}
            }
            self.write().await;
            if !self.protocol.wants_input(Side::Upstream) {
                return Err(unavailable("the upstream's protocol does not go on"));
            }
            // What was read and not taken goes first: a protocol takes so much at a time.
            let before = self.input.len();
            if before > 0 {
                self.protocol.handle_input(Side::Upstream, &mut self.input);
                if self.input.len() < before {
                    continue;
                }
            }
            if self.read().await == 0 {
                self.protocol.handle_eof(Side::Upstream);
            } else {
                self.protocol.handle_input(Side::Upstream, &mut self.input);
            }
        }
    }

    /// Writes what is for the upstream. What a client would be told is told to nobody.
    async fn write(&mut self) {
        while self.protocol.poll_transmit(Side::Downstream).is_some() {}
        while let (Some(transmit), Some(socket)) = (self.protocol.poll_transmit(Side::Upstream), &mut self.socket) {
            if socket.write_all(&transmit.bytes).await.and(socket.flush().await).is_err() {
                return self.protocol.handle_eof(Side::Upstream);
            }
        }
    }

    async fn read(&mut self) -> usize {
        match &mut self.socket {
            Some(socket) => socket.read_buf(&mut self.input).await.unwrap_or(0),
            None => pending().await,
        }
    }

    async fn start_tls(&mut self, upstreams: &Upstreams, connection: &Connection) -> Result<(), Refusal> {
        self.write().await;
        let Some(Socket::Plain(stream)) = self.socket.take() else { return Err(unavailable("TLS was asked for twice")) };
        let stream = upstreams.start_tls(connection, stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|shown| shown.first());
        let shown = shown.map(|certificate| Bytes::copy_from_slice(certificate));
        self.socket = Some(Socket::Opened(Box::new(stream)));
        self.protocol.resume(Reply::TlsStarted(Side::Upstream, shown));
        Ok(())
    }
}

/// The upstream does not answer a question of the gateway's own.
pub(crate) fn refused(code: &str) -> Refusal {
    unavailable(&format!("the upstream does not answer: SQLSTATE {code}"))
}

pub(crate) fn unavailable(why: &str) -> Refusal {
    Refusal::new(RefusalKind::UpstreamUnavailable, why)
}
