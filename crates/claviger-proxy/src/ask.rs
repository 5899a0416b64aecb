//! Questions of the gateway's own, on an upstream session that no client has part in.
//!
//! It is the same login by the same code as for a client. The protocol is given an admission that cannot exist, so whatever an
//! upstream says, nothing but the question can leave.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind};
use claviger_protocols::{Closed, Event, Limits, Probe, ProbeId, Protocol, Reply, Side};
use claviger_session::{Connection, Gateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use crate::leg::Socket;
use crate::{Upstreams, credential};

/// The answer to a question.
pub struct Answer {
    /// Its rows, of columns as text.
    pub rows: Vec<Vec<Option<Bytes>>>,
    /// The gateway's end of the session.
    pub local: SocketAddr,
}

/// What the upstream's administrator sees of it.
const APPLICATION: &str = "claviger:gateway";

impl Upstreams {
    /// Asks a connection's upstream, with its own credential, within the time that a login has.
    pub async fn ask(&self, gateway: &Gateway, connection: &Connection, question: &str) -> Result<Answer, Refusal> {
        let deadline = Instant::now() + gateway.rules().deadlines.login;
        let asking = timeout_at(deadline, self.ask_patiently(gateway, connection, question));
        asking.await.unwrap_or_else(|_| Err(unavailable("the upstream took too long")))
    }

    async fn ask_patiently(&self, gateway: &Gateway, connection: &Connection, question: &str) -> Result<Answer, Refusal> {
        let password = credential::find(connection).await?;
        let (stream, _registered) = self.open(connection).await?;
        let local = stream.local_addr().map_err(|_| unavailable("the upstream has gone"))?;
        let protocol = claviger_protocols::open_own::<Infallible>(connection.kind, Limits::default());
        let mut asking = Asking {
            protocol: protocol.ok_or_else(|| unavailable("the upstream speaks another protocol"))?,
            socket: Some(Socket::Plain(stream)),
            input: BytesMut::new(),
        };
        let login = gateway.upstream_login(connection, password, APPLICATION.to_owned(), Bytes::from_static(&[0; 4]));
        asking.protocol.resume(Reply::Authenticated(Box::new(login)));
        let rows = asking.run(self, connection, question).await?;
        Ok(Answer { rows, local })
    }
}

struct Asking {
    protocol: Box<dyn Protocol<Infallible>>,
    socket: Option<Socket>,
    input: BytesMut,
}

impl Asking {
    async fn run(
        &mut self,
        upstreams: &Upstreams,
        connection: &Connection,
        question: &str,
    ) -> Result<Vec<Vec<Option<Bytes>>>, Refusal> {
        let mut answer = None;
        loop {
            let mut heard = false;
            while let Some(event) = self.protocol.poll_event() {
                heard = true;
                match event {
                    Event::StartTls(Side::Upstream) => self.start_tls(upstreams, connection).await?,
                    Event::Ready(_) => {
                        self.protocol.resume(Reply::Serve);
                        self.protocol.resume(Reply::Probe(ProbeId(0), question.to_owned()));
                    }
                    Event::Probe(_, found) => {
                        answer = Some(found);
                        // The goodbye of a client that is not there.
                        self.protocol.handle_eof(Side::Downstream);
                    }
                    Event::Closed(closed) => {
                        self.write().await;
                        return said(answer, closed);
                    }
                    _ => {}
                }
            }
            self.write().await;
            if heard {
                continue;
            }
            if !self.protocol.wants_input(Side::Upstream) {
                return Err(unavailable("the upstream's protocol does not go on"));
            }
            match self.read().await {
                0 => self.protocol.handle_eof(Side::Upstream),
                _ => self.protocol.handle_input(Side::Upstream, &mut self.input),
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

fn said(answer: Option<Probe>, closed: Closed) -> Result<Vec<Vec<Option<Bytes>>>, Refusal> {
    match (answer, closed) {
        (Some(Probe::Rows(rows)), _) => Ok(rows),
        (Some(Probe::Failed(code)), _) => Err(unavailable(&format!("the upstream does not answer: SQLSTATE {code}"))),
        (None, Closed::ByGateway(refusal)) => Err(refusal),
        (None, _) => Err(unavailable("the upstream closed the connection")),
    }
}

fn unavailable(why: &str) -> Refusal {
    Refusal::new(RefusalKind::UpstreamUnavailable, why)
}
