//! Accepting clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use claviger_model::Network;
use claviger_protocols::{Auth, Limits, ProtocolOptions};
use claviger_session::{Arrival, Desk, Gateway, Pipeline, Route};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};

use crate::drive::Driver;
use crate::leg::Socket;
use crate::places::{Place, Places};
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
        let Some(stream) = leg::prepare(&stream).and_then(|()| stream.into_std()).ok() else { return };
        let spec = self.spec.load();
        let is_balancer = spec.balancers.iter().any(|balancer| balancer.contains(client.ip()));
        let (kind, spec) = (spec.kind, Arc::clone(&self.spec));
        let (gateway, upstreams, places) = (Arc::clone(&self.gateway), Arc::clone(&self.upstreams), Arc::clone(&self.places));
        self.workers.spawn(move |desk| async move {
            let Ok(mut stream) = TcpStream::from_std(stream) else { return };
            let mut door = Door { spec, kind, gateway, desk, upstreams, places, client };
            let (since, mut place) = (Instant::now(), place);
            if is_balancer {
                door.client = match proxied::source(&mut stream, client).await {
                    Ok(source) => source,
                    Err(error) => return tracing::warn!(%client, %error, "a balancer does not say whose connection it passes on"),
                };
                place = door.place();
            }
            let Some(pipeline) = door.first(since) else { return };
            let driver = Driver::new(pipeline, Socket::Plain(stream), None, place, Arc::new(door));
            if let Some(carrier) = driver.run().await {
                carrier.serve().await;
            }
        });
    }
}

/// Where a client has come in, through which all sessions of its socket come.
pub(crate) struct Door {
    spec: SharedSpec,
    /// What the client has begun to speak.
    kind: &'static str,
    pub(crate) gateway: Arc<Gateway>,
    desk: Arc<Desk>,
    pub(crate) upstreams: Arc<Upstreams>,
    places: Arc<Places>,
    client: SocketAddr,
}

impl Door {
    /// The pipeline of the first session of a new socket.
    fn first(&self, since: Instant) -> Option<Pipeline> {
        self.open(since, false, true)
    }

    /// The pipeline of a further session of a socket, by what the listener is now. `None` if it is not for such sockets any more, or its
    /// protocol is not known.
    pub(crate) fn next(&self, is_secured: bool) -> Option<Pipeline> {
        self.takes(is_secured).then(|| self.open(Instant::now(), true, false))?
    }

    /// The pipeline of the first session of a stream inside a socket; otherwise as [`next`](Self::next).
    pub(crate) fn stream(&self, is_secured: bool) -> Option<Pipeline> {
        self.takes(is_secured).then(|| self.open(Instant::now(), false, false))?
    }

    /// A place for a client that is not known yet.
    pub(crate) fn place(&self) -> Place {
        self.places.take(self.client.ip())
    }

    /// The settings for TLS with the client.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.spec.load().tls.clone()
    }

    /// The buffers of each session.
    pub(crate) fn limits(&self) -> Limits {
        self.spec.load().limits
    }

    fn takes(&self, is_secured: bool) -> bool {
        let spec = self.spec.load();
        spec.kind == self.kind && (is_secured || spec.plaintext)
    }

    fn open(&self, since: Instant, again: bool, multiplexes: bool) -> Option<Pipeline> {
        let spec = self.spec.load();
        let (tls, plaintext, auth) = (spec.tls.is_some(), spec.plaintext, spec.auth.clone());
        let shared = matches!(spec.route, Route::Shared(_));
        let multiplexes = multiplexes && plaintext;
        let options = ProtocolOptions { limits: spec.limits, tls, plaintext, auth, shared, multiplexes };
        let arrival = Arrival { id: self.gateway.new_session(), route: spec.route.clone(), client: self.client, again };
        let protocol = claviger_protocols::open(spec.kind, options)?;
        Some(Pipeline::new(Arc::clone(&self.gateway), Arc::clone(&self.desk), protocol, arrival, since))
    }
}
