//! Where it happens: a server, a gateway, and somebody who only wants to work.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{descriptors, figure};
use crate::harness::{CONTROL, Conn, Gateway, KEEPER_PASSWORD, PERMIT_ALL, Raw, Server, eventually, startup_packet, text_value};
use crate::hostile::resident;

/// How long each phase lasts in which the bystander is watched, at the least.
const WATCH: Duration = Duration::from_secs(3);

/// A gateway with plain listeners on both sides, so that thousands of clients cost their test little; `bank` speaks TLS.
pub(super) struct Ground {
    /// First, so that it ends before the gateway that it asks.
    bystander: Bystander,
    pub(super) gateway: Gateway,
    pub(super) token: String,
    before: Latency,
    /// KiB, at the beginning.
    memory: u64,
    descriptors: usize,
}

impl Ground {
    /// With these connections besides, and more of `claviger.toml`.
    pub(super) async fn of(server: &Server, conns: &[Conn], more: &str) -> Self {
        Self::prepared(server, conns, more, |_| ()).await
    }

    /// The same, with more done before the gateway starts.
    pub(super) async fn prepared(server: &Server, conns: &[Conn], more: &str, prepare: impl FnOnce(&Gateway)) -> Self {
        let open = Conn::to("open", server).tls("disable", None).plaintext();
        let conns = [&[Conn::to("bank", server), open], conns].concat();
        let mut gateway = Gateway::configure(&conns, PERMIT_ALL, more);
        // Whoever holds up his thread is to be seen holding up the bystander.
        let file = gateway.path("claviger.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("threads = 1\n{config}")).unwrap();
        prepare(&gateway);
        gateway.add(&["user", "alice"]);
        gateway.add(&["user", "bob"]);
        gateway.start();
        let mut raw = Raw::plain(gateway.port("open"));
        raw.login("bob", "open", &gateway.token(&["bob"])).unwrap();
        let bystander = Bystander::start(raw);
        tokio::time::sleep(WATCH).await;
        let before = bystander.take();
        let token = gateway.token(&["alice"]);
        let (memory, descriptors) = (resident(&gateway), descriptors(&gateway));
        Self { bystander, gateway, token, before, memory, descriptors }
    }

    /// What the bystander has seen since this was last asked.
    pub(super) fn seen(&self) -> Latency {
        self.bystander.take()
    }

    /// KiB that the gateway has more than at the beginning.
    pub(super) fn grown(&self) -> u64 {
        resident(&self.gateway).saturating_sub(self.memory)
    }

    /// Descriptors that the gateway has more than at the beginning.
    pub(super) fn opened(&self) -> usize {
        descriptors(&self.gateway).saturating_sub(self.descriptors)
    }

    /// Everything is as before: descriptors, and what the bystander sees, which is said beside what it saw meanwhile.
    pub(super) async fn recovers(&self, what: &str, during: &Latency) {
        eventually("descriptors are given back", Duration::from_secs(30), async || self.opened() <= 4).await;
        self.bystander.take();
        tokio::time::sleep(WATCH).await;
        let after = self.seen();
        figure(&format!("{what}: bystander's p50/p99/max before {}, during {during}, after {after}", self.before));
        // The machine does whatever the clients do, too.
        let bound = self.before.p99 * 10 + Duration::from_millis(50);
        assert!(during.p99 < bound, "others are held up by {what}: {during}");
        assert!(after.p99 < bound, "others are held up after {what}: {after}");
    }
}

/// Keeps the highest memory that a gateway has had.
pub(super) struct Peak {
    kib: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    first: u64,
}

impl Peak {
    pub(super) fn of(gateway: &Gateway) -> Self {
        let first = resident(gateway);
        let (kib, stop) = (Arc::new(AtomicU64::new(first)), Arc::new(AtomicBool::new(false)));
        let (peak, stopped, process) = (kib.clone(), stop.clone(), gateway.process_id());
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                peak.fetch_max(crate::hostile::resident_of(process).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { kib, stop, first }
    }

    /// How much more it was than at first, in KiB.
    pub(super) fn growth(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.kib.load(Ordering::Relaxed) - self.first
    }
}

/// Somebody who asks for 1 again and again, and must always be told.
pub(super) struct Bystander {
    seen: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bystander {
    /// One who asks the server itself: what he sees, the gateway's thread is no part of.
    pub(super) fn direct(server: &Server) -> Self {
        let mut raw = Raw::plain(server.port);
        let startup = startup_packet(&[("user", "keeper_plain"), ("database", "bank"), ("application_name", CONTROL)]);
        raw.enter(&startup, KEEPER_PASSWORD).unwrap();
        Self::start(raw)
    }

    /// A thread of its own, so that whatever else the test does is not measured.
    fn start(mut raw: Raw) -> Self {
        let (seen, stop) = (Arc::<Mutex<Vec<Duration>>>::default(), Arc::<AtomicBool>::default());
        let (samples, stopped) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let answer = raw.query("select 1");
                samples.lock().unwrap().push(asked.elapsed());
                assert_eq!(text_value(&answer), "1");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// Who has seen nothing yet still waits for his first answer.
    pub(super) fn take(&self) -> Latency {
        loop {
            assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "the bystander's session is broken");
            let seen = std::mem::take(&mut *self.seen.lock().unwrap());
            if !seen.is_empty() {
                return Latency::of(seen);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the bystander's session is broken");
        }
    }
}

/// How long something took, many times.
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Latency {
    pub(super) fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        assert!(!samples.is_empty(), "nothing was measured");
        let at = |percent: usize| samples[(samples.len() * percent / 100).min(samples.len() - 1)];
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:.2}/{:.2}/{:.0} ms", ms(self.p50), ms(self.p99), ms(self.max))
    }
}
