//! Telling systemd how it goes (`sd_notify(3)`): a datagram to the socket that it names. Elsewhere nothing is told to anybody.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one.
pub(super) struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that we live.
    pub(super) watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says.
    pub(super) fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name);
        let to = variable("NOTIFY_SOCKET").and_then(|socket| open(&socket));
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == *std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").and_then(|micros| micros.to_str()?.parse().ok());
        let watchdog = micros.filter(|micros| ours && *micros > 0).map(Duration::from_micros);
        Self { to, watchdog }
    }

    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    pub(super) fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    pub(super) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// A manager that cannot be told is no reason not to serve.
    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.to
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, "the service manager cannot be told how it goes");
        }
    }
}

/// A path, or after `@` a name in Linux' abstract namespace.
fn open(socket: &OsStr) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match socket.as_bytes().split_first()? {
        (b'@', name) => SocketAddr::from_abstract_name(name).ok()?,
        _ => SocketAddr::from_pathname(socket).ok()?,
    };
    Some((UnixDatagram::unbound().ok()?, address))
}
