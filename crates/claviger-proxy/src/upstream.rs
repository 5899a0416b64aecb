//! Opening the upstream's leg.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claviger_model::{Refusal, RefusalKind};
use claviger_session::{Connection, UpstreamTlsPolicy};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long opening one upstream socket may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The way to the upstreams, with the TLS settings that were already built.
#[derive(Default)]
pub struct Upstreams {
    tls: Mutex<HashMap<TlsKey, Arc<ClientConfig>>>,
}

type TlsKey = (u8, Option<PathBuf>);

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
        let config = self.config(connection.tls, connection.tls_ca.clone()).map_err(|error| unavailable(connection, &error))?;
        let name = ServerName::try_from(connection.host.clone()).map_err(|error| unavailable(connection, &error))?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| unavailable(connection, &error))
    }

    fn config(&self, policy: UpstreamTlsPolicy, trusted: Option<PathBuf>) -> Result<Arc<ClientConfig>, crate::tls::TlsError> {
        let mut built = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (policy as u8, trusted);
        if let Some(config) = built.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = crate::tls::client(policy, key.1.as_deref())?;
        built.insert(key, Arc::clone(&config));
        Ok(config)
    }
}

/// The log says what happened; the client only that the upstream is not to be had.
fn unavailable(connection: &Connection, error: &dyn std::fmt::Display) -> Refusal {
    tracing::warn!(connection = %connection.name, %error, "the upstream cannot be reached");
    Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream cannot be reached")
}
