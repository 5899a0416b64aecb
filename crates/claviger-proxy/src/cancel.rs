//! Cancelling what runs upstream, on a socket apart (PostgreSQL manual, 55.2.8).

use std::sync::Arc;
use std::time::Duration;

use claviger_protocols::postgres;
use claviger_session::{CancelTarget, UpstreamTlsPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::Upstreams;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the request, which has no answer, and waits until the upstream has closed, which it does when it has acted.
pub(crate) async fn send(target: CancelTarget, upstreams: Arc<Upstreams>) {
    if !matches!(timeout(PATIENCE, try_send(&target, &upstreams)).await, Ok(Ok(()))) {
        tracing::warn!(connection = %target.connection.name, "a cancel request could not be delivered");
    }
}

async fn try_send(target: &CancelTarget, upstreams: &Upstreams) -> std::io::Result<()> {
    let unavailable = |_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let request = postgres::cancel_request(&target.key);
    let (mut stream, _registered) = upstreams.open(&target.connection).await.map_err(unavailable)?;
    if target.connection.tls != UpstreamTlsPolicy::Disable {
        stream.write_all(&postgres::SSL_REQUEST).await?;
        let tls = stream.read_u8().await? == b'S';
        if tls {
            let mut stream = upstreams.start_tls(&target.connection, stream).await.map_err(unavailable)?;
            stream.write_all(&request).await?;
            return drain(&mut stream).await;
        }
        if target.connection.tls != UpstreamTlsPolicy::Prefer {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
    }
    stream.write_all(&request).await?;
    drain(&mut stream).await
}

/// The upstream closes when it has acted.
async fn drain(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<()> {
    let mut nothing = [0; 16];
    while stream.read(&mut nothing).await.unwrap_or(0) > 0 {}
    Ok(())
}
