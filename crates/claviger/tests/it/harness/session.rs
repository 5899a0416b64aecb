//! A client that speaks PostgreSQL well: tokio-postgres, over a stream that is already TLS where it is to be.

use std::future::poll_fn;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, SimpleQueryMessage};
use tokio_rustls::TlsConnector;

/// A session. Dropping it says goodbye.
pub(crate) struct Session {
    client: Client,
    /// Notices and notifications.
    pub(crate) messages: mpsc::Receiver<AsyncMessage>,
    /// Ends with the connection: with the error that the server said goodbye with, if it did.
    pub(crate) ended: JoinHandle<Result<(), Error>>,
    port: u16,
    trusted: Option<PathBuf>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Session {
    /// Logs in over TLS, with the server's certificate verified.
    pub(crate) async fn open_tls(port: u16, trusted: &Path, config: Config) -> Result<Self, Error> {
        Self::open(port, Some(trusted), config).await
    }

    /// Logs in without TLS.
    pub(crate) async fn open_plain(port: u16, config: Config) -> Result<Self, Error> {
        Self::open(port, None, config).await
    }

    async fn open(port: u16, trusted: Option<&Path>, config: Config) -> Result<Self, Error> {
        let (client, mut connection) = config.connect_raw(stream(port, trusted).await, NoTls).await?;
        let (sender, messages) = mpsc::channel(1000);
        let ended = tokio::spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                // A test that does not look at its messages loses those beyond the first thousand.
                let _ = sender.try_send(message?);
            }
            Ok(())
        });
        Ok(Self { client, messages, ended, port, trusted: trusted.map(Path::to_owned) })
    }

    /// The rows of a query in the simple protocol: columns as text.
    pub(crate) async fn rows(&self, query: &str) -> Vec<Vec<Option<String>>> {
        self.try_rows(query).await.unwrap_or_else(|error| panic!("{query}: {}", text(&error)))
    }

    pub(crate) async fn try_rows(&self, query: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let messages = self.client.simple_query(query).await?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
                _ => None,
            })
            .collect())
    }

    /// The only value that a query finds.
    pub(crate) async fn value(&self, query: &str) -> String {
        self.rows(query).await[0][0].clone().unwrap_or_default()
    }

    /// Asks that what runs be cancelled, on a connection apart.
    pub(crate) async fn cancel(&self) {
        let stream = stream(self.port, self.trusted.as_deref()).await;
        self.client.cancel_token().cancel_query_raw(stream, NoTls).await.unwrap();
    }

    /// Waits until the other side has ended the session, and gives the error that it said goodbye with.
    pub(crate) async fn goodbye(&mut self, within: Duration) -> Option<Error> {
        let ended = tokio::time::timeout(within, &mut self.ended).await;
        ended.unwrap_or_else(|_| panic!("the session was not ended within {within:?}")).unwrap().err()
    }
}

/// The SQLSTATE of an error that the server, or the gateway in its place, answered with.
pub(crate) fn sqlstate(error: &Error) -> &str {
    error.code().unwrap_or_else(|| panic!("not an answer of the server: {error}")).code()
}

/// All that an error says.
pub(crate) fn text(error: &Error) -> String {
    match error.as_db_error() {
        Some(error) => [Some(error.message()), error.detail(), error.hint()].into_iter().flatten().collect::<Vec<_>>().join("; "),
        None => format!("{error:?}"),
    }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens a stream; with certificates to trust, asks for TLS and insists on it.
pub(crate) async fn stream(port: u16, trusted: Option<&Path>) -> Box<dyn Stream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the port is open");
    let Some(trusted) = trusted else { return Box::new(stream) };
    stream.write_all(&super::raw::SSL_REQUEST).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'S', "TLS is offered");
    let connector = TlsConnector::from(client_config(trusted));
    let name = ServerName::try_from("localhost").unwrap();
    Box::new(connector.connect(name, stream).await.expect("the certificate is good"))
}

/// TLS settings that trust this authority.
pub(crate) fn client_config(trusted: &Path) -> Arc<ClientConfig> {
    client_config_of(trusted, None, &[])
}

/// The same, with a certificate and key (PEM) to show, and the protocols to name (ALPN).
pub(crate) fn client_config_of(trusted: &Path, identity: Option<&(String, String)>, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}
