//! Accepting clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use claviger_model::Network;
use claviger_protocols::{Auth, Limits, ProtocolOptions};
use claviger_session::{Arrival, Gateway, Pipeline, Route};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};

use crate::drive::Driver;
use crate::places::Places;
use crate::{Upstreams, Workers, leg, proxied};

/// How long to wait after the system refused to accept, as when it has no file descriptors left.
const BREATHER: Duration = Duration::from_millis(50);

/// One listener.
#[derive(Clone)]
pub struct ListenerSpec {
    /// Where to listen.
    pub address: SocketAddr,
    /// The protocol spoken.
    pub kind: &'static str,
    /// Where it leads.
    pub route: Route,
    /// The certificate; without one, no TLS is offered.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether a credential is taken outside TLS, as only a loopback listener may.
    pub plaintext: bool,
    /// By what clients may prove who they are.
    pub auth: Auth,
    /// The load balancers that are believed when they say, by the PROXY protocol, whose connection they pass on.
    pub balancers: Arc<[Network]>,
    /// The buffers of each session.
    pub limits: Limits,
}

/// What a listener is, for as long as it is not changed. A change is for the clients that come after it.
pub type SharedSpec = Arc<ArcSwap<ListenerSpec>>;

/// A bound listener.
pub struct Listener {
    spec: SharedSpec,
    socket: TcpListener,
    gateway: Arc<Gateway>,
    upstreams: Arc<Upstreams>,
    workers: Arc<Workers>,
    places: Arc<Places>,
}

impl Listener {
    /// Binds the address.
    pub async fn bind(
        spec: ListenerSpec,
        gateway: Arc<Gateway>,
        upstreams: Arc<Upstreams>,
        workers: Arc<Workers>,
        places: Arc<Places>,
    ) -> std::io::Result<Self> {
        let socket = TcpListener::bind(spec.address).await?;
        Ok(Self { spec: Arc::new(ArcSwap::from_pointee(spec)), socket, gateway, upstreams, workers, places })
    }

    /// What it is, to be changed while it runs.
    pub fn spec(&self) -> SharedSpec {
        Arc::clone(&self.spec)
    }

    /// The address that was bound.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts clients until it is dropped. Nothing but accepting happens here: one silent client delays no other.
    pub async fn run(self) {
        loop {
            match self.socket.accept().await {
                Ok((stream, client)) => self.welcome(stream, client),
                Err(error) => {
                    tracing::warn!(%error, "a client could not be accepted");
                    tokio::time::sleep(BREATHER).await;
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream, client: SocketAddr) {
        let place = self.places.take(client.ip());
        let spec = self.spec.load();
        let (tls, plaintext, auth) = (spec.tls.is_some(), spec.plaintext, spec.auth.clone());
        let shared = matches!(spec.route, Route::Shared(_));
        let (kind, options) = (spec.kind, ProtocolOptions { limits: spec.limits, tls, plaintext, auth, shared });
        let Some(stream) = leg::prepare(&stream).and_then(|()| stream.into_std()).ok() else { return };
        let mut arrival = Arrival { id: self.gateway.new_session(), route: spec.route.clone(), client, again: false };
        let is_balancer = spec.balancers.iter().any(|balancer| balancer.contains(client.ip()));
        let (gateway, tls, upstreams) = (Arc::clone(&self.gateway), spec.tls.clone(), Arc::clone(&self.upstreams));
        let sessions = Arc::clone(&self.gateway);
        let places = Arc::clone(&self.places);
        self.workers.spawn(move |desk| async move {
            let Ok(mut stream) = TcpStream::from_std(stream) else { return };
            let (since, mut place) = (Instant::now(), place);
            if is_balancer {
                arrival.client = match proxied::source(&mut stream, client).await {
                    Ok(source) => source,
                    Err(error) => return tracing::warn!(%client, %error, "a balancer does not say whose connection it passes on"),
                };
                place = places.take(arrival.client.ip());
            }
            let first = (arrival.clone(), since);
            let open = move |(arrival, since)| {
                let protocol = claviger_protocols::open(kind, options.clone())?;
                Some(Pipeline::new(Arc::clone(&gateway), Arc::clone(&desk), protocol, arrival, since))
            };
            let Some(pipeline) = open(first) else { return };
            let next = move || {
                let arrival = Arrival { id: sessions.new_session(), again: true, ..arrival.clone() };
                open((arrival, Instant::now()))
            };
            Driver::new(pipeline, stream, place, tls, upstreams, Box::new(next)).run().await;
        });
    }
}
