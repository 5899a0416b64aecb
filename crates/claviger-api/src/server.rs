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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, rustls};
use tracing::debug;

use crate::extract::Peer;

/// Connections served at the same time; more wait.
const MAX_CONNECTIONS: usize = 512;

/// How long a TLS handshake, and then the head of each request, may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
                None => connection(socket, peer, service, stop).await,
                Some(None) => {}
                Some(Some(acceptor)) => {
                    if let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(socket)).await {
                        connection(stream, peer, service, stop).await;
                    }
                }
            }
            drop(place);
        });
    }
    drop(stopping);
    let _late = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

/// The next connection, with its place. A failure to accept (no descriptors left) is waited out, not spun on.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => Some((socket, Peer(peer.ip()), place)),
        Err(error) => {
            debug!(%error, "cannot accept");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
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
