//! The listeners that are bound, and how a changed configuration changes them.
//!
//! A change has two halves. What needs a new socket is bound first, so that it can fail before anything is different; then
//! all of it is put in force. A listener whose address stays keeps its socket and its clients, whatever else of it changes.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use claviger_protocols::PROTOCOLS;
use claviger_proxy::{Listener, ListenerSpec, Places, SharedSpec, Upstreams, Workers};
use claviger_session::{Gateway, Route};
use tokio::task::JoinHandle;

use super::server_tls;
use crate::config::{Config, ListenerConfig};

/// What every listener needs.
pub(super) struct Listeners {
    gateway: Arc<Gateway>,
    upstreams: Arc<Upstreams>,
    workers: Arc<Workers>,
    places: Arc<Places>,
    bound: Vec<Bound>,
}

/// A listener that accepts clients until this is dropped.
struct Bound {
    config: ListenerConfig,
    spec: SharedSpec,
    accepting: JoinHandle<()>,
}

/// A change that can no longer fail.
pub(super) struct Change(Vec<Next>);

enum Next {
    /// The listener that was configured so stays, and is this from now on.
    Stays(ListenerConfig, Box<ListenerSpec>, ListenerConfig),
    New(ListenerConfig, Box<Listener>),
}

impl Listeners {
    pub(super) fn new(gateway: Arc<Gateway>, upstreams: Arc<Upstreams>, workers: Arc<Workers>, places: Arc<Places>) -> Self {
        Self { gateway, upstreams, workers, places, bound: Vec::new() }
    }

    /// Binds what this configuration has and is not bound yet. A gateway that cannot have all its addresses changes nothing.
    pub(super) async fn prepare(&self, config: &Config) -> Result<Change> {
        let mut change = Vec::new();
        for listener in &config.listeners {
            let entry = PROTOCOLS.iter().find(|entry| entry.kind == listener.kind);
            let alpn: Vec<_> = entry.iter().flat_map(|entry| entry.multiplexed.into_iter().chain([entry.alpn])).collect();
            let spec = ListenerSpec {
                address: listener.addr,
                kind: listener.kind,
                route: listener.connection.clone().map_or(Route::Shared(listener.kind), Route::Connection),
                tls: server_tls(config, &alpn, listener.auth.certificate)?,
                plaintext: listener.plaintext,
                auth: listener.auth.clone(),
                balancers: listener.balancers.as_slice().into(),
                limits: config.limits.session,
            };
            change.push(match self.bound.iter().find(|bound| is_same_door(&bound.config, listener)) {
                Some(bound) => Next::Stays(listener.clone(), Box::new(spec), bound.config.clone()),
                None => {
                    let (gateway, upstreams) = (Arc::clone(&self.gateway), Arc::clone(&self.upstreams));
                    let (workers, places) = (Arc::clone(&self.workers), Arc::clone(&self.places));
                    let bound = Listener::bind(spec, gateway, upstreams, workers, places).await;
                    Next::New(listener.clone(), Box::new(bound.with_context(|| cannot_listen(listener.addr))?))
                }
            });
        }
        Ok(Change(change))
    }

    /// Puts a change in force. Sockets that it does not have are closed; the sessions that came by them go on.
    pub(super) fn apply(&mut self, Change(change): Change) {
        let mut before = std::mem::take(&mut self.bound);
        for next in change {
            match next {
                Next::New(config, listener) => {
                    let (spec, accepting) = (listener.spec(), tokio::spawn(listener.run()));
                    self.bound.push(Bound { config, spec, accepting });
                }
                Next::Stays(config, spec, old) => {
                    let Some(index) = before.iter().position(|bound| bound.config == old) else { continue };
                    let mut bound = before.swap_remove(index);
                    bound.config = config;
                    bound.spec.store(Arc::new(*spec));
                    self.bound.push(bound);
                }
            }
        }
    }

    /// Accepts nobody any more.
    pub(super) fn close(&mut self) {
        self.bound.clear();
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Port 0 is whichever port is free, so there only the connection tells one from another.
fn is_same_door(one: &ListenerConfig, other: &ListenerConfig) -> bool {
    one.addr == other.addr && (one.addr.port() != 0 || one.connection == other.connection)
}

pub(super) fn cannot_listen(address: SocketAddr) -> String {
    format!("{address}: cannot listen")
}
