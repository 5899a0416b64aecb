//! Learning from a load balancer whose connection it passes on.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use claviger_protocols::proxied::{HEAD, Head};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a balancer may take to say it, which it does at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the header, and not a byte more. The client's address by it, or that of the balancer itself.
pub(crate) async fn source(stream: &mut TcpStream, balancer: SocketAddr) -> std::io::Result<SocketAddr> {
    let reading = async {
        let bad = |error| Error::new(ErrorKind::InvalidData, error);
        let mut head = [0; HEAD];
        stream.read_exact(&mut head).await?;
        let head = Head::read(&head).map_err(bad)?;
        let mut body = vec![0; head.body];
        stream.read_exact(&mut body).await?;
        head.source(&body).map_err(bad)
    };
    Ok(timeout(PATIENCE, reading).await??.unwrap_or(balancer))
}
