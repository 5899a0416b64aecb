//! Opening the upstream's leg.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

/// The way to the upstreams, with the TLS settings that were already built.
#[derive(Default)]
pub struct Upstreams {
    tls: Mutex<HashMap<TlsKey, Built>>,
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

    pub(crate) async fn open(&self, connection: &Connection) -> Result<TcpStream, Refusal> {
        let opening = TcpStream::connect((connection.host.as_str(), connection.port));
        let stream = match timeout(CONNECT, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unavailable(connection, &error)),
            Err(elapsed) => return Err(unavailable(connection, &elapsed)),
        };
        crate::leg::prepare(&stream).map_err(|error| unavailable(connection, &error))?;
        Ok(stream)
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
