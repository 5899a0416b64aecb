//! Opening the upstream's leg.

use std::collections::{HashMap, HashSet, VecDeque};
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
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{Identity, TlsError};
use crate::{credential, tls};

/// How long opening one upstream socket may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a socket is remembered after it has closed.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How many are.
const MOST_REMEMBERED: usize = 4096;

/// The way to the upstreams, with the TLS settings that were already built.
#[derive(Default)]
pub struct Upstreams {
    tls: Mutex<HashMap<TlsKey, Built>>,
    sockets: Arc<Mutex<Sockets>>,
}

/// The gateway's ends of its sockets to upstreams.
#[derive(Default)]
struct Sockets {
    open: HashSet<SocketAddr>,
    /// Those that closed lately, and when.
    closed: VecDeque<(Instant, SocketAddr)>,
}

/// Keeps a socket among those that are open.
pub(crate) struct Registered {
    sockets: Arc<Mutex<Sockets>>,
    local: SocketAddr,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.open.remove(&self.local);
        sockets.forget();
        sockets.closed.push_back((Instant::now(), self.local));
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
type TlsKey = (u8, Option<PathBuf>, Option<TlsIdentity>, &'static str);

/// Settings, and the certificate and key that they were built with.
struct Built {
    config: Arc<ClientConfig>,
    identity: Option<Identity>,
}

impl Upstreams {
    /// Forgets the TLS settings, so that changed files are read again.
    pub fn reload(&self) {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The gateway's ends of sockets to upstreams: those that are open, and those that closed a moment ago, whose end an
    /// upstream may not have seen.
    pub fn sockets(&self) -> HashSet<SocketAddr> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.forget();
        sockets.open.iter().copied().chain(sockets.closed.iter().map(|(_, local)| *local)).collect()
    }

    pub(crate) async fn open(&self, connection: &Connection) -> Result<(TcpStream, Registered), Refusal> {
        let opening = TcpStream::connect((connection.host.as_str(), connection.port));
        let stream = match timeout(CONNECT, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unavailable(connection, &error)),
            Err(elapsed) => return Err(unavailable(connection, &elapsed)),
        };
        crate::leg::prepare(&stream).map_err(|error| unavailable(connection, &error))?;
        let local = stream.local_addr().map_err(|error| unavailable(connection, &error))?;
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).open.insert(local);
        Ok((stream, Registered { sockets: Arc::clone(&self.sockets), local }))
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
        let alpn = PROTOCOLS.iter().find(|entry| entry.kind == connection.kind).map_or("", |entry| entry.alpn);
        let key = (connection.tls as u8, connection.tls_ca.clone(), connection.tls_identity.clone(), alpn);
        let mut built = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = built.get(&key).filter(|built| built.identity == identity) {
            return Ok(Arc::clone(&built.config));
        }
        let config = tls::client(connection.tls, key.1.as_deref(), identity.as_ref(), alpn)?;
        built.insert(key, Built { config: Arc::clone(&config), identity });
        Ok(config)
    }
}

/// The log says what happened; the client only that the upstream is not to be had.
fn unavailable(connection: &Connection, error: &dyn std::fmt::Display) -> Refusal {
    tracing::warn!(connection = %connection.name, %error, "the upstream cannot be reached");
    Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream cannot be reached")
}
