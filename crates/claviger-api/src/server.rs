//! Listeners of HTTP: TLS, limits, and an orderly end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, rustls};
use tracing::debug;

use crate::extract::Peer;
use crate::patient::Patient;

/// Connections served at the same time; more wait.
const MAX_CONNECTIONS: usize = 512;

/// How long a TLS handshake, and then the head of each request, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a peer may take nothing of a response. The kernel says that there is room only when a good part of its buffer is free,
/// so a peer that reads slowly needs a while to be seen reading.
const READING: Duration = Duration::from_secs(30);

/// How long a peer may say nothing until it is asked whether it is still there, and how long each of its answers may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));

/// The longest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How long requests under way may go on after the gateway begins to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Gives the TLS settings of this moment, so that a renewed certificate is used at once. Without any, nobody is served.
pub type Certificate = Arc<dyn Fn() -> Option<Arc<rustls::ServerConfig>> + Send + Sync>;

/// Serves these routes on a listener until `shutdown` resolves; without a certificate, in plain text.
pub async fn serve(
    listener: TcpListener,
    certificate: Option<Certificate>,
    routes: axum::Router,
    shutdown: impl Future<Output = ()>,
) {
    let service = TowerToHyperService::new(routes);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stopping, stop) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((socket, peer, place)) = accepted else { continue };
        let acceptor = certificate.as_ref().map(|certificate| certificate().map(TlsAcceptor::from));
        let (service, stop) = (service.clone(), stop.clone());
        connections.spawn(async move {
            match acceptor {
                None => connection(Patient::new(socket, READING), peer, service, stop).await,
                Some(None) => {}
                Some(Some(acceptor)) => {
                    if let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(socket)).await {
                        connection(Patient::new(stream, READING), peer, service, stop).await;
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    drop(stopping);
    let _late = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

/// The next connection, with its place. A failure to accept (no descriptors left) is waited out, not spun on.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => {
            let (idle, answer) = KEEPALIVE;
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(answer);
            SockRef::from(&socket).set_tcp_keepalive(&keepalive).ok()?;
            Some((socket, Peer(peer.ip()), place))
        }
        Err(error) => {
            debug!(%error, "cannot accept");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn connection(
    stream: Patient<impl AsyncRead + AsyncWrite + Unpin + Send>,
    peer: Peer,
    service: TowerToHyperService<axum::Router>,
    mut stop: watch::Receiver<()>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        service.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(MAX_HEAD);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ended = &mut serving => return,
        _stopping = stop.changed() => serving.as_mut().graceful_shutdown(),
    }
    let _ended = serving.await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::routing::get;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Room for one response and a bit in the connection between, none for all.
    const ROOM: usize = 1024;

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_left() {
        let (mut peer, ours) = tokio::io::duplex(ROOM);
        let routes = axum::Router::new().route("/", get(async || "x".repeat(64 * ROOM)));
        let (_stopping, stop) = watch::channel(());
        let from = Peer([127, 0, 0, 1].into());
        let serving = connection(Patient::new(ours, Duration::from_millis(50)), from, TowerToHyperService::new(routes), stop);
        peer.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        // It ends by itself, while the peer is still there.
        timeout(PATIENCE, serving).await.unwrap();
        drop(peer);
    }

    #[tokio::test]
    async fn a_peer_that_vanished_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, ..) = accept(&listener, &Arc::new(Semaphore::new(1))).await.unwrap();
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().unwrap());
        assert_eq!((socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()), KEEPALIVE);
    }
}
