//! Sockets and TLS: the driver of sessions.
//!
//! One task drives one session. In one loop it reads both sockets, lets the [`Pipeline`](claviger_session::Pipeline) take its
//! turn, and writes both sockets; it never waits for one of them alone, so that a client that leaves, a cancel or an order to
//! end is noticed while anything else is pending. Nothing here knows a protocol, an identity or a policy; of HTTP/2 it knows that its
//! streams are sockets inside a socket.

mod aside;
mod ask;
mod cancel;
mod catalogs;
mod credential;
mod drive;
mod kept;
mod leg;
mod listen;
mod multiplexed;
mod places;
mod proxied;
pub mod tls;
mod upstream;
mod workers;

pub use aside::AskedAside;
pub use ask::{Answer, Asking, OWN_APPLICATION};
pub use catalogs::{Bindings, KeptCatalogs};
pub use credential::get as find_secret;
pub use listen::{Listener, ListenerSpec, SharedSpec};
pub use places::{ArrivalLimits, Places};
pub use upstream::Upstreams;
pub use workers::Workers;
