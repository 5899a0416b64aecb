//! What the tests stand on: a real server, a real gateway, and clients of three kinds.

mod api;
mod browser;
mod certificates;
mod drivers;
mod gateway;
mod oidc;
mod postgres;
mod raw;
mod receiver;
mod session;
mod tokens;
mod web;

use std::fs;
use std::fs::File;
use std::future::Future;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub(crate) use api::Api;
pub(crate) use browser::Browser;
pub(crate) use certificates::Authority;
pub(crate) use drivers::{driver, finish_driver, run_program, script, start_driver};
pub(crate) use gateway::{Conn, Gateway, PERMIT_ALL, binary};
pub(crate) use oidc::Provider;
pub(crate) use postgres::{CONTROL, KEEPER_PASSWORD, Major, Server, open_to_all};
pub(crate) use raw::{
    Message, Raw, SSL_REQUEST, cancel_key, cancel_request, error_field, frame, startup_of, startup_packet, terminated, text_value,
};
pub(crate) use receiver::{Receiver, WEBHOOK_SECRET};
pub(crate) use session::{Session, Stream, client_config, client_config_of, sqlstate, stream, text};
pub(crate) use tokens::{KeySetServer, SigningKey, forge, key_set, now, segments};
pub(crate) use web::{Asked, Web};

/// Makes a test for each major version of each function.
macro_rules! on_each_server {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        mod pg15 {
            $($(#[$attribute])* #[test] fn $name() { $crate::harness::run(super::$name($crate::harness::Major::V15)) })*
        }
        mod pg18 {
            $($(#[$attribute])* #[test] fn $name() { $crate::harness::run(super::$name($crate::harness::Major::V18)) })*
        }
    };
}

/// Starts a server, or leaves the test where there is none.
macro_rules! server {
    ($major:expr) => {
        server!($major, &[])
    };
    ($major:expr, $options:expr) => {
        match $crate::harness::Server::start($major, $options) {
            Some(server) => server,
            None => return,
        }
    };
}

/// Runs a test. Several threads, because tests call programs and wait for them while their clients live on.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

/// Says why a test, or a part of it, is not run.
pub(crate) fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// A free port below the range of outgoing connections, which could take one away. Nobody else is given it for as long as this
/// test runs, though nothing listens on it yet: a lock stands for it, which ends with the process.
pub(crate) fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let locks = std::env::temp_dir().join(format!("claviger-test-ports-{}", fs::metadata("/proc/self").unwrap().uid()));
    fs::create_dir_all(&locks).unwrap();
    let take = |port: &u16| {
        let lock = File::create(locks.join(port.to_string())).ok().filter(|lock| lock.try_lock().is_ok());
        match lock {
            Some(lock) if TcpListener::bind(("127.0.0.1", *port)).is_ok() => {
                TAKEN.lock().unwrap().push(lock);
                true
            }
            _ => false,
        }
    };
    (0..200)
        .map(|_| 20_000 + random::<2>().iter().fold(0, |n: u16, byte| n << 8 | u16::from(*byte)) % 12_000)
        .find(take)
        .expect("no free port")
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).unwrap();
    bytes
}

/// A text that occurs nowhere else.
pub(crate) fn unique(prefix: &str) -> String {
    let tail: String = random::<9>().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{tail}")
}

/// Waits until something holds, and fails if it does not within this time. Returns how long it took.
pub(crate) async fn eventually(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

/// Every file below a directory, by name.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Whether these bytes stand anywhere in those.
pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
