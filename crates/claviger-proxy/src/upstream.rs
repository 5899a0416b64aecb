//! Opening the upstream's leg.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claviger_model::{Refusal, RefusalKind};
use claviger_protocols::PROTOCOLS;
use claviger_session::{Connection, TlsIdentity};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::drive::facts;
use crate::kept::{Keeper, Kept};
use crate::leg::Socket;
use crate::multiplexed::Shared;
use crate::tls::{Identity, TlsError};
use crate::{credential, tls};

/// How long opening one upstream socket may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a socket is remembered after it has closed.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How many are.
const MOST_REMEMBERED: usize = 4096;

/// Questions that are asked at the same time; more wait.
const MOST_QUESTIONS: usize = 4;

/// The way to the upstreams, with the TLS settings that were already built.
pub struct Upstreams {
    tls: Mutex<HashMap<TlsKey, Built>>,
    sockets: Arc<Mutex<Sockets>>,
    /// Sockets that sessions have left.
    pub(crate) kept: Keeper,
    /// Those that all sessions of a thread share.
    pub(crate) shared: Shared,
    /// Whoever asks an upstream something has a session there that is no session of a client, and in no budget.
    pub(crate) questions: Semaphore,
}

impl Default for Upstreams {
    fn default() -> Self {
        Self {
            tls: Mutex::default(),
            sockets: Arc::default(),
            kept: Keeper::default(),
            shared: Shared::default(),
            questions: Semaphore::new(MOST_QUESTIONS),
        }
    }
}

/// A socket to an upstream: the gateway's end, and the upstream's. Sockets to different upstreams may have the same end here.
type Ends = (SocketAddr, SocketAddr);

/// The gateway's sockets to upstreams.
#[derive(Default)]
struct Sockets {
    open: HashSet<Ends>,
    /// Those that closed lately, and when.
    closed: VecDeque<(Instant, Ends)>,
}

/// Keeps a socket among those that are open.
pub(crate) struct Registered {
    sockets: Arc<Mutex<Sockets>>,
    ends: Ends,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.open.remove(&self.ends);
        sockets.forget();
        sockets.closed.push_back((Instant::now(), self.ends));
    }
}

impl Sockets {
    /// Forgets what closed long ago, or what is too much to remember.
    fn forget(&mut self) {
        while self.closed.front().is_some_and(|(when, _)| when.elapsed() > REMEMBERED || self.closed.len() >= MOST_REMEMBERED) {
            self.closed.pop_front();
        }
    }
}

/// What settings depend on.
type TlsKey = (u8, Option<PathBuf>, Option<TlsIdentity>, Vec<&'static str>);

/// Settings, and the certificate and key that they were built with.
struct Built {
    config: Arc<ClientConfig>,
    identity: Option<Identity>,
}

impl Upstreams {
    /// Forgets the TLS settings, so that changed files are read again, and the sockets that were opened with them.
    pub fn reload(&self) {
        self.kept.clear();
        self.shared.clear();
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The gateway's ends of sockets to these addresses of an upstream: those that are open, and those that closed a moment ago,
    /// whose end the upstream may not have seen.
    pub fn sockets(&self, upstream: &[SocketAddr]) -> HashSet<SocketAddr> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.forget();
        let all = sockets.open.iter().chain(sockets.closed.iter().map(|(_, ends)| ends));
        all.filter(|(_, peer)| upstream.contains(peer)).map(|(local, _)| *local).collect()
    }

    pub(crate) async fn open(&self, connection: &Connection) -> Result<(TcpStream, Registered), Refusal> {
        let opening = TcpStream::connect((connection.host.as_str(), connection.port));
        let stream = match timeout(CONNECT, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unavailable(connection, &error)),
            Err(elapsed) => return Err(unavailable(connection, &elapsed)),
        };
        crate::leg::prepare(&stream).map_err(|error| unavailable(connection, &error))?;
        let ends = ends(&stream).map_err(|error| unavailable(connection, &error))?;
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).open.insert(ends);
        Ok((stream, Registered { sockets: Arc::clone(&self.sockets), ends }))
    }

    /// A socket that is ready to be used, inside TLS or not.
    pub(crate) async fn open_ready(&self, connection: &Connection, inside_tls: bool) -> Result<Kept, Refusal> {
        let (stream, registered) = self.open(connection).await?;
        let registered = Some(registered);
        if !inside_tls {
            return Ok(Kept { socket: Socket::Plain(stream), registered, secured: None });
        }
        match timeout(CONNECT, self.start_tls(connection, stream)).await {
            Ok(stream) => {
                let stream = Box::new(stream?);
                let secured = Some(facts(stream.get_ref().1));
                Ok(Kept { socket: Socket::Opened(stream), registered, secured })
            }
            Err(elapsed) => Err(unavailable(connection, &elapsed)),
        }
    }

    pub(crate) async fn start_tls(&self, connection: &Connection, stream: TcpStream) -> Result<TlsStream<TcpStream>, Refusal> {
        let identity = credential::find_identity(connection).await?;
        let config = self.config(connection, identity).map_err(|error| unavailable(connection, &error))?;
        let name = ServerName::try_from(connection.host.clone()).map_err(|error| unavailable(connection, &error))?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| unavailable(connection, &error))
    }

    /// The settings for a connection. Built once, and again when the certificate or key to prove ourselves with has changed, so that
    /// a renewed one is used at once.
    fn config(&self, connection: &Connection, identity: Option<Identity>) -> Result<Arc<ClientConfig>, TlsError> {
        let entry = PROTOCOLS.iter().find(|entry| entry.kind == connection.kind);
        let multiplexed = entry.and_then(|entry| entry.multiplexed).filter(|_| connection.http2);
        let alpn: Vec<_> = multiplexed.into_iter().chain(entry.map(|entry| entry.alpn)).collect();
        let key = (connection.tls as u8, connection.tls_ca.clone(), connection.tls_identity.clone(), alpn);
        let mut built = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = built.get(&key).filter(|built| built.identity == identity) {
            return Ok(Arc::clone(&built.config));
        }
        let config = tls::client(connection.tls, key.1.as_deref(), identity.as_ref(), &key.3)?;
        built.insert(key, Built { config: Arc::clone(&config), identity });
        Ok(config)
    }
}

/// The addresses of a socket's two ends, ours first.
pub(crate) fn ends(stream: &TcpStream) -> io::Result<Ends> {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Ok((plain(stream.local_addr()?), plain(stream.peer_addr()?)))
}

/// The log says what happened; the client only that the upstream is not to be had.
pub(crate) fn unavailable(connection: &Connection, error: &dyn std::fmt::Display) -> Refusal {
    tracing::warn!(connection = %connection.name, %error, "the upstream cannot be reached");
    Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream cannot be reached")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_end_here_may_be_that_of_a_socket_to_another_upstream() {
        let upstreams = Upstreams::default();
        let [local, here, there] = [4001, 5432, 5433].map(|port| SocketAddr::from(([10, 0, 0, 7], port)));
        let open = || {
            upstreams.sockets.lock().unwrap_or_else(PoisonError::into_inner).open.insert((local, there));
            Registered { sockets: Arc::clone(&upstreams.sockets), ends: (local, there) }
        };
        let registered = open();
        assert!(upstreams.sockets(&[here]).is_empty());
        assert_eq!(upstreams.sockets(&[here, there]), HashSet::from([local]));
        drop(registered);
        assert!(upstreams.sockets(&[here]).is_empty());
        assert_eq!(upstreams.sockets(&[there]), HashSet::from([local]), "its end may not have been seen there");
    }
}
