//! The listeners that speak HTTP: the API, and metrics with health.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwapOption;
use claviger_api::{Backend, Certificate, Status};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;

use super::listeners::cannot_listen;
use super::status::Condition;
use crate::admin::Admin;
use crate::config::Config;

/// The TLS settings of this moment; `None` while no certificate is configured.
pub(super) type CurrentTls = Arc<ArcSwapOption<ServerConfig>>;

/// What serves HTTP.
pub(super) struct Web {
    pub(super) tls: CurrentTls,
    admin: Arc<Admin>,
    condition: Arc<Condition>,
    api: Option<Served>,
    metrics: Option<Served>,
}

/// A listener that accepts until this is dropped. Requests that are under way then are still answered, if that does not take long.
struct Served {
    address: SocketAddr,
    /// Dropped to stop it.
    _stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// A change that can no longer fail: for each listener nothing, or what takes its place.
pub(super) struct Change {
    api: Option<Option<(SocketAddr, TcpListener)>>,
    metrics: Option<Option<(SocketAddr, TcpListener)>>,
}

impl Web {
    pub(super) fn new(tls: CurrentTls, admin: Arc<Admin>, condition: Arc<Condition>) -> Self {
        Self { tls, admin, condition, api: None, metrics: None }
    }

    /// Binds what this configuration has and is not bound yet.
    pub(super) async fn prepare(&self, config: &Config) -> Result<Change> {
        let api = config.api.as_ref().map(|api| api.listen);
        let metrics = config.metrics.as_ref().map(|metrics| metrics.listen);
        Ok(Change { api: bind(self.api.as_ref(), api).await?, metrics: bind(self.metrics.as_ref(), metrics).await? })
    }

    /// Puts a change in force.
    pub(super) fn apply(&mut self, change: Change) {
        if let Some(api) = change.api {
            let routes = claviger_api::router(Arc::clone(&self.admin) as Arc<dyn Backend>);
            self.api = api.map(|(address, socket)| Served::start(address, socket, Some(self.certificate()), routes));
        }
        if let Some(metrics) = change.metrics {
            let routes = claviger_api::status_router(Arc::clone(&self.condition) as Arc<dyn Status>);
            self.metrics = metrics.map(|(address, socket)| {
                // In plain text for this machine, inside TLS for others.
                let certificate = (!address.ip().is_loopback()).then(|| self.certificate());
                Served::start(address, socket, certificate, routes)
            });
        }
    }

    /// Closes both listeners, and waits for the requests that are under way.
    pub(super) async fn close(&mut self) {
        let served = [self.api.take(), self.metrics.take()].into_iter().flatten();
        // Both stop before either is waited for.
        let serving: Vec<_> = served.map(|Served { serving, .. }| serving).collect();
        for serving in serving {
            if serving.await.is_err() {
                tracing::error!("a listener of HTTP has panicked");
            }
        }
    }

    fn certificate(&self) -> Certificate {
        let tls = Arc::clone(&self.tls);
        Arc::new(move || tls.load_full())
    }
}

/// Nothing if it is as it was; else what takes its place.
async fn bind(now: Option<&Served>, wanted: Option<SocketAddr>) -> Result<Option<Option<(SocketAddr, TcpListener)>>> {
    if now.map(|served| served.address) == wanted {
        return Ok(None);
    }
    let Some(address) = wanted else { return Ok(Some(None)) };
    let socket = TcpListener::bind(address).await.with_context(|| cannot_listen(address))?;
    Ok(Some(Some((address, socket))))
}

impl Served {
    fn start(address: SocketAddr, socket: TcpListener, certificate: Option<Certificate>, routes: claviger_api::Routes) -> Self {
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(claviger_api::serve(socket, certificate, routes, async { _ = stopped.await }));
        Self { address, _stop: stop, serving }
    }
}
