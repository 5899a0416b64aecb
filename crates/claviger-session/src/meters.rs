//! What is counted of sessions, for whoever watches over the gateway.
//!
//! Counting is on the path of every operation, so it takes no lock and allocates nothing: each session counts into one of a
//! few shards of its connection with relaxed additions. Names of connections and stable codes are the only labels; there is
//! no end to the names of principals, so they are none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use claviger_model::{ConnectionName, Histogram, SessionId, Tally, Timestamp};

/// Sessions of one connection share so many sets of counters.
const SHARDS: usize = 8;

/// All counters of a gateway.
#[derive(Default)]
pub struct Meters {
    connections: Mutex<BTreeMap<ConnectionName, Arc<ConnectionMeters>>>,
    refused: Mutex<BTreeMap<(Option<ConnectionName>, &'static str), u64>>,
    issuers: Mutex<BTreeMap<Arc<str>, IssuerKeys>>,
}

/// The counters of one connection.
#[derive(Default)]
pub struct ConnectionMeters {
    shards: [Shard; SHARDS],
    opened: AtomicU64,
    held: AtomicI64,
    upstream_failures: AtomicU64,
    upstream_wait: Histogram,
    closed: Mutex<BTreeMap<&'static str, u64>>,
}

/// Counters on cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    permitted: AtomicU64,
    denied: AtomicU64,
    put_off: AtomicU64,
    unrecorded: AtomicU64,
    request: Histogram,
    response: Histogram,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// What one connection's counters say.
#[derive(Clone, Debug, Default)]
pub struct ConnectionReading {
    /// Operations admitted.
    pub permitted: u64,
    /// Operations refused.
    pub denied: u64,
    /// Operations that were held; each is counted again as what became of it.
    pub put_off: u64,
    /// Operations that were to be admitted, and could not be recorded.
    pub unrecorded: u64,
    /// Operations held at this moment.
    pub held: u64,
    /// From an operation's arrival, or from the decision on one that was held, until it left for the upstream.
    pub request: Tally,
    /// From the arrival of an operation's completion until it left for the client.
    pub response: Tally,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Sessions begun.
    pub opened: u64,
    /// Sessions ended, by reason: `client`, `upstream`, or the gateway's stable code.
    pub closed: BTreeMap<&'static str, u64>,
    /// Logins that failed because the upstream could not be reached or refused the gateway.
    pub upstream_failures: u64,
    /// How long logins waited for the upstream's budget.
    pub upstream_wait: Tally,
}

/// What is known of one issuer's keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct IssuerKeys {
    /// When they were last fetched.
    pub fetched: Option<Timestamp>,
    /// How often they were fetched.
    pub fetches: u64,
    /// How often they could not be.
    pub failures: u64,
    /// Whether the last try failed.
    pub failing: bool,
}

impl Meters {
    /// The counters of a connection; they begin at zero, and stay when the connection is removed.
    pub fn connection(&self, name: &ConnectionName) -> Arc<ConnectionMeters> {
        Arc::clone(lock(&self.connections).entry(name.clone()).or_default())
    }

    /// What the counters of each connection say.
    pub fn connections(&self) -> Vec<(ConnectionName, ConnectionReading)> {
        lock(&self.connections).iter().map(|(name, meters)| (name.clone(), meters.read())).collect()
    }

    /// Sessions refused so far, by connection, where one was selected, and stable code.
    pub fn refused(&self) -> BTreeMap<(Option<ConnectionName>, &'static str), u64> {
        lock(&self.refused).clone()
    }

    /// What is known of the keys of each issuer, by its name.
    pub fn issuers(&self) -> BTreeMap<Arc<str>, IssuerKeys> {
        lock(&self.issuers).clone()
    }

    /// An issuer's keys have been fetched, or not.
    pub fn keys_fetched(&self, issuer: &Arc<str>, at: Timestamp, fetched: bool) {
        let mut issuers = lock(&self.issuers);
        let keys = issuers.entry(Arc::clone(issuer)).or_default();
        keys.failing = !fetched;
        if fetched {
            keys.fetched = Some(at);
            keys.fetches += 1;
        } else {
            keys.failures += 1;
        }
    }

    /// Forgets the keys of issuers that are gone.
    pub fn keep_issuers(&self, kept: impl Fn(&str) -> bool) {
        lock(&self.issuers).retain(|name, _| kept(name));
    }

    pub(crate) fn refuse(&self, connection: Option<&ConnectionName>, code: &'static str) {
        *lock(&self.refused).entry((connection.cloned(), code)).or_default() += 1;
    }
}

impl ConnectionMeters {
    pub(crate) fn upstream_failed(&self) {
        self.upstream_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn waited(&self, wait: std::time::Duration) {
        self.upstream_wait.observe(wait);
    }

    fn read(&self) -> ConnectionReading {
        let mut reading = ConnectionReading {
            held: u64::try_from(self.held.load(Ordering::Relaxed)).unwrap_or(0),
            // Read before those that ended, so that there are never more of them.
            closed: lock(&self.closed).clone(),
            opened: self.opened.load(Ordering::Relaxed),
            upstream_failures: self.upstream_failures.load(Ordering::Relaxed),
            upstream_wait: self.upstream_wait.tally(),
            ..ConnectionReading::default()
        };
        for shard in &self.shards {
            for (sum, counter) in [
                (&mut reading.permitted, &shard.permitted),
                (&mut reading.denied, &shard.denied),
                (&mut reading.put_off, &shard.put_off),
                (&mut reading.unrecorded, &shard.unrecorded),
                (&mut reading.bytes_in, &shard.bytes_in),
                (&mut reading.bytes_out, &shard.bytes_out),
            ] {
                *sum += counter.load(Ordering::Relaxed);
            }
            reading.request.add(&shard.request.tally());
            reading.response.add(&shard.response.tally());
        }
        reading
    }
}

/// One session's way to the counters of its connection.
pub(crate) struct Meter {
    of: Arc<ConnectionMeters>,
    shard: usize,
    /// What is leaving in this turn, and since when it is here.
    leaving: Vec<(Way, Instant)>,
    held: i64,
}

/// Where something leaves for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Upstream,
    Downstream,
}

impl Meter {
    /// Counts a session that has begun.
    pub(crate) fn begin(of: Arc<ConnectionMeters>, session: SessionId) -> Self {
        of.opened.fetch_add(1, Ordering::Relaxed);
        let shard = usize::from(session.to_bytes().last().copied().unwrap_or_default()) % SHARDS;
        Self { of, shard, leaving: Vec::new(), held: 0 }
    }

    pub(crate) fn decided(&self, permitted: bool) {
        self.count(|shard| if permitted { &shard.permitted } else { &shard.denied }, 1);
    }

    pub(crate) fn unrecorded(&self) {
        self.count(|shard| &shard.unrecorded, 1);
    }

    /// One operation more is held, or one less.
    pub(crate) fn held(&mut self, change: i64) {
        if change > 0 {
            self.count(|shard| &shard.put_off, 1);
        }
        self.held += change;
        self.of.held.fetch_add(change, Ordering::Relaxed);
    }

    /// Something that has been here since then leaves in this turn.
    pub(crate) fn leaves(&mut self, way: Way, since: Instant) {
        self.leaving.push((way, since));
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// What was leaving has left.
    pub(crate) fn left(&mut self, now: Instant) {
        let Some(shard) = self.of.shards.get(self.shard) else { return };
        for (way, since) in self.leaving.drain(..) {
            let took = now.saturating_duration_since(since);
            match way {
                Way::Upstream => shard.request.observe(took),
                Way::Downstream => shard.response.observe(took),
            }
        }
    }

    /// So many more bytes came from the client, and went to it.
    pub(crate) fn carried(&self, bytes_in: u64, bytes_out: u64) {
        self.count(|shard| &shard.bytes_in, bytes_in);
        self.count(|shard| &shard.bytes_out, bytes_out);
    }

    /// The session has ended for this reason.
    pub(crate) fn end(mut self, reason: &'static str) {
        self.held(-self.held);
        *lock(&self.of.closed).entry(reason).or_default() += 1;
    }

    fn count(&self, counter: impl Fn(&Shard) -> &AtomicU64, more: u64) {
        if let Some(shard) = self.of.shards.get(self.shard) {
            counter(shard).fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// A poisoned lock guards a map that is whole after every statement, so it can be used.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    #[test]
    fn what_sessions_count_adds_up() {
        let meters = Meters::default();
        let bank: ConnectionName = "bank".parse().unwrap();
        let start = Instant::now();
        for random in 0..20 {
            let session = SessionId::new(Timestamp::from_secs(1), [random; 10]);
            let mut meter = Meter::begin(meters.connection(&bank), session);
            meter.decided(true);
            meter.leaves(Way::Upstream, start);
            meter.leaves(Way::Downstream, start);
            assert!(meter.is_waiting());
            meter.left(start + Duration::from_micros(30));
            assert!(!meter.is_waiting());
            meter.held(1);
            meter.carried(10, 20);
            if random % 2 == 0 {
                meter.end("client");
            }
        }
        let (_, reading) = meters.connections().pop().unwrap();
        assert_eq!((reading.permitted, reading.denied, reading.put_off, reading.held), (20, 0, 20, 10));
        assert_eq!((reading.request.count(), reading.response.count()), (20, 20));
        assert_eq!((reading.bytes_in, reading.bytes_out), (200, 400));
        assert_eq!((reading.opened, reading.closed.get("client")), (20, Some(&10)));
    }

    #[test]
    fn refusals_are_counted_by_connection_and_code() {
        let meters = Meters::default();
        let bank: ConnectionName = "bank".parse().unwrap();
        meters.refuse(None, "token.expired");
        meters.refuse(Some(&bank), "policy.deny");
        meters.refuse(Some(&bank), "policy.deny");
        assert_eq!(
            meters.refused().into_iter().collect::<Vec<_>>(),
            [((None, "token.expired"), 1), ((Some(bank), "policy.deny"), 2)]
        );
    }
}
