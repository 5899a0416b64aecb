//! `claviger connect`: a local port that needs no token.
//!
//! Clients whose connection string is written once cannot present a token that changes every hour. This command listens on
//! a loopback address, takes any user and password there, and presents the current token to the gateway for them. Every byte
//! after the login passes as it is.

mod postgres;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use claviger_api::Management;
use claviger_api::wire::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Failure;
use super::gateway::ApiArgs;
use super::output::{Output, complain};

/// How long one login may take, from accepting the client to serving it.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  claviger connect bank --token-file /run/claviger/token --address gateway.internal:6400\n  \
    claviger login && claviger connect bank         # with the login, for as long as it can be refreshed\n  \
    claviger connect bank --listen 127.0.0.1:5432   # asks the API (CLAVIGER_API_URL) where the connection is\n\n\
    The local address goes to standard output when the port is open. Everybody on this machine can use it.")]
pub(super) struct Args {
    /// The connection
    name: String,
    /// The local address; loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The gateway's listener; asked of the API if absent
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Where the gateway is, and how to speak to it.
pub(super) struct Target {
    /// The connection, which goes to the gateway as the database's name.
    pub(super) connection: String,
    host: String,
    port: u16,
    tls: TlsConnector,
    api: ApiArgs,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::Usage(format!("{} is not a loopback address: everybody there could use the token", args.listen)));
    }
    let target = Arc::new(Target::find(args.name, args.address, args.api)?);
    target.api.token()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await.with_context(|| args.listen.to_string())?;
        output.line(format_args!("{}", listener.local_addr()?))?;
        tokio::select! {
            () = serve(&listener, &target) => Ok(()),
            _interrupted = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

async fn serve(listener: &TcpListener, target: &Arc<Target>) {
    loop {
        let client = match listener.accept().await {
            Ok((client, _peer)) => client,
            Err(error) => {
                // No descriptors left, most likely: that passes.
                complain(format_args!("cannot accept: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let target = target.clone();
        tokio::spawn(async move {
            if let Err(error) = postgres::relay(client, &target).await {
                complain(format_args!("{error:#}"));
            }
        });
    }
}

impl Target {
    fn find(connection: String, address: Option<String>, api: ApiArgs) -> Result<Self, Failure> {
        let address = match address {
            Some(address) => address,
            None => ask_for_address(&connection, &api)?,
        };
        let (host, port) = split(&address).ok_or_else(|| Failure::Usage(format!("`{address}` is not HOST:PORT")))?;
        let tls = TlsConnector::from(Arc::new(tls_config(&api)?));
        Ok(Self { connection, host, port, tls, api })
    }

    /// A connection to the gateway's listener.
    pub(super) async fn dial(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.with_context(|| format!("cannot reach the gateway at {}:{}", self.host, self.port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// TLS on a connection that agreed to it.
    pub(super) async fn encrypt(&self, stream: TcpStream) -> anyhow::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.host.clone()).context("the gateway's host is not a name that TLS can verify")?;
        self.tls.connect(name, stream).await.context("TLS with the gateway failed")
    }

    /// The token of this moment.
    pub(super) fn token(&self) -> anyhow::Result<claviger_model::Secret> {
        // It may have to be refreshed first.
        Ok(tokio::task::block_in_place(|| self.api.token())?)
    }
}

/// The connection's listener, as the API tells it: its own before a shared one.
fn ask_for_address(name: &str, api: &ApiArgs) -> Result<String, Failure> {
    let connections = api.client()?.connections()?;
    let found = connections.iter().find(|connection| connection.name == name);
    let connection = found.ok_or_else(|| Failure::Usage(format!("the gateway has no connection `{name}`")))?;
    if connection.kind != claviger_protocols::postgres::ENTRY.kind {
        return Err(Failure::Usage(format!("`{name}` is no database: its clients bring their tokens themselves")));
    }
    let listener = connection.listeners.iter().min_by_key(|listener| listener.shared);
    let listener = listener.ok_or_else(|| Failure::Failed(anyhow::anyhow!("`{name}` has no listener")))?;
    Ok(reachable(listener, &api.url()?))
}

/// A listener on all of the gateway's addresses, or on this machine's own, is reached by the name under which the API is: that
/// name is in the gateway's certificate.
fn reachable(listener: &Listener, url: &str) -> String {
    let by_name = |address: &SocketAddr| address.ip().is_unspecified() || address.ip().is_loopback();
    let by_name = listener.address.parse::<SocketAddr>().ok().filter(by_name);
    let authority = url.trim_start_matches("https://").split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(authority, |(host, _)| host);
    by_name.map_or_else(|| listener.address.clone(), |address| format!("{host}:{}", address.port()))
}

fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty() && (!host.contains(':') || host.parse::<IpAddr>().is_ok())).then(|| (host.to_owned(), port))
}

/// Trusts the given certificates, or the system's.
fn tls_config(api: &ApiArgs) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &api.reach.ca {
        Some(file) => {
            for certificate in CertificateDer::pem_file_iter(file).with_context(|| file.display().to_string())? {
                roots.add(certificate.with_context(|| file.display().to_string())?)?;
            }
            if roots.is_empty() {
                bail!("{}: there is no certificate in it", file.display());
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}
