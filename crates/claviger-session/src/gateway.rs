//! What all sessions share.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use claviger_audit::{Batch, Leaf, LeafKind, Ledger, SessionRefusedLeaf};
use claviger_identity::{Authenticator, Denied, Errand, Identity};
use claviger_mask::methods::Masks;
use claviger_model::{ConnectionName, Refusal, RefusalKind, Secret, SessionId, Timestamp};
use claviger_policy::PolicySet;
use claviger_protocols::UpstreamLogin;
use claviger_protocols::postgres::ScramKeys;

use crate::budget::{BudgetReading, Budgets};
use crate::history::History;
use crate::refusals::Refusals;
use crate::release::{Release, Spent};
use crate::seats::Seats;
use crate::seen::Seen;
use crate::understanding::{States, Texts};
use crate::usage::Usage;
use crate::{
    Access, AccessRules, Approvals, Asides, Catalogs, Connection, Decider, Desk, InForce, Meters, Registry, Reviewing, UsageRow,
    UsageRules, decide,
};

/// The registered connections, by name; replaced whole when the configuration changes.
#[derive(Clone, Debug, Default)]
pub struct Connections(BTreeMap<ConnectionName, Arc<Connection>>);

impl Connections {
    /// The connection of this name.
    pub fn get(&self, name: &ConnectionName) -> Option<Arc<Connection>> {
        self.0.get(name).cloned()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.0.values()
    }
}

impl FromIterator<Arc<Connection>> for Connections {
    fn from_iter<I: IntoIterator<Item = Arc<Connection>>>(connections: I) -> Self {
        Self(connections.into_iter().map(|connection| (connection.name.clone(), connection)).collect())
    }
}

/// Fills a buffer with bytes that nobody can predict.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Asks identity providers for what a token needs and is not at hand.
pub trait Providers: Send + Sync + 'static {
    /// Resolves when the errand is done and what it brought is with the authenticator, or when it cannot be done.
    fn run(&self, errand: Errand, token: Secret) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The most errands for one token: its issuer's keys, its holder's groups, and one more for what changes meanwhile.
const MAX_ERRANDS: usize = 3;

/// How long the gateway waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From accepting a client to serving it; the wait for the upstream's budget is not counted.
    pub login: Duration,
    /// What a login may wait for the upstream's budget.
    pub upstream_wait: Duration,
    /// What an open transaction gets when its token expires.
    pub expiry_grace: Duration,
    /// What an open transaction gets when its session is to end for another reason that can wait.
    pub drain: Duration,
    /// What a client gets to read its last words.
    pub linger: Duration,
    /// How long a client may take, where its protocol has requests, for the rest of a head, or for more of the content that is to follow.
    pub request: Option<Duration>,
    /// How long an upstream may take there for more of its answer, and a client to take more of it.
    pub response: Option<Duration>,
    /// How long a session may do nothing.
    pub idle: Option<Duration>,
    /// How long a session may do nothing in an open transaction.
    pub idle_in_transaction: Option<Duration>,
    /// How long a session may last.
    pub max_age: Option<Duration>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(10),
            upstream_wait: Duration::from_secs(10),
            expiry_grace: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            linger: Duration::from_secs(5),
            request: Some(Duration::from_secs(60)),
            response: Some(Duration::from_secs(600)),
            idle: None,
            idle_in_transaction: None,
            max_age: None,
        }
    }
}

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Clients that have proved who they are, at the same time.
    pub sessions: usize,
    /// Those of one principal, which is the actor of their chains.
    pub sessions_each: usize,
    /// Logins that wait for one upstream's budget.
    pub upstream_queue: usize,
    /// Refusals a second, of one principal or of all strangers, that get a leaf each.
    pub refusals: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { sessions: 10_000, sessions_each: 5000, upstream_queue: 1000, refusals: 10 }
    }
}

/// The parts that a gateway is composed of.
pub struct Services {
    /// Says who a token proves.
    pub authenticator: Arc<Authenticator>,
    /// Asks identity providers.
    pub providers: Arc<dyn Providers>,
    /// Decides operations.
    pub decider: Arc<dyn Decider>,
    /// Keeps the upstreams' catalogs; without it nothing is understood.
    pub catalogs: Option<Arc<dyn Catalogs>>,
    /// Asks upstreams what reviewers want to know; without it they are told nothing of it.
    pub asides: Option<Arc<dyn Asides>>,
    /// Keeps the record.
    pub ledger: Arc<dyn Ledger>,
    /// The time of day.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Randomness.
    pub random: Random,
    /// What counts sessions, operations and keys.
    pub meters: Arc<Meters>,
    /// Requests for approval.
    pub approvals: Arc<Approvals>,
    /// Access that is given for a time.
    pub access: Arc<Access>,
}

/// What a reload replaces, all of it at once.
#[derive(Clone)]
pub struct Rules {
    /// The policies.
    pub policy: Arc<PolicySet>,
    /// The connections.
    pub connections: Connections,
    /// How long to wait.
    pub deadlines: Deadlines,
    /// How many there may be.
    pub bounds: Bounds,
    /// How the values of labels are masked.
    pub masks: Arc<Masks>,
    /// What may be told of masked values all the same.
    pub release: Release,
    /// How approvals are given.
    pub reviewing: Arc<Reviewing>,
    /// How access is given for a time.
    pub access: Arc<AccessRules>,
    /// How much may be used, and what it costs.
    pub usage: Arc<UsageRules>,
}

/// What all sessions share: the services, and the rules that a reload replaces.
pub struct Gateway {
    pub(crate) services: Services,
    rules: ArcSwap<Rules>,
    /// Grows with every change of the rules.
    epoch: AtomicU64,
    draining: AtomicBool,
    /// The live sessions.
    pub registry: Registry,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// Requests for approval.
    pub approvals: Arc<Approvals>,
    /// Access that is given for a time.
    pub access: Arc<Access>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) budgets: Budgets,
    refusals: Refusals,
    pub(crate) scram_keys: Arc<ScramKeys>,
    /// Texts that were understood, and the states that they were understood in.
    pub(crate) texts: Texts,
    pub(crate) states: States,
    /// What has been spent of what may be told.
    pub(crate) spent: Spent,
    /// What principals have done lately.
    pub(crate) history: History,
    /// Which classified values they have seen.
    pub(crate) seen: Seen,
    /// What has been used.
    pub(crate) usage: Usage,
}

impl Gateway {
    /// A gateway of these parts, under these rules.
    pub fn new(services: Services, rules: Rules) -> Self {
        let gateway = Self {
            meters: Arc::clone(&services.meters),
            approvals: Arc::clone(&services.approvals),
            access: Arc::clone(&services.access),
            services,
            rules: ArcSwap::from_pointee(rules),
            epoch: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            registry: Registry::default(),
            seats: Arc::default(),
            budgets: Budgets::default(),
            refusals: Refusals::default(),
            scram_keys: Arc::default(),
            texts: Texts::default(),
            states: States::default(),
            spent: Spent::default(),
            history: History::default(),
            seen: Seen::default(),
            usage: Usage::default(),
        };
        gateway.set_budgets();
        gateway
    }

    /// The rules in force.
    pub fn rules(&self) -> Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// Puts other rules in force. Each running session obeys them from its next operation on, whose `connect` is then decided
    /// again; sessions of connections that are gone end at once.
    pub fn replace(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.set_budgets();
        let rules = self.rules.load();
        self.approvals.ask_more(&rules.reviewing);
        for session in self.registry.list() {
            if rules.connections.get(&session.connection).is_none() {
                let refusal = Refusal::new(RefusalKind::Terminated, "the connection was removed");
                self.registry.kill(session.id, refusal, "connection.removed");
            }
        }
        // Their deadlines may have changed.
        self.registry.rearm_all();
    }

    /// The grants in force for whoever this is, at a connection.
    pub(crate) fn in_force(&self, identity: &Identity, connection: &Connection) -> InForce {
        self.access.of(&identity.chain, connection, identity.origin.grant, self.now())
    }

    fn set_budgets(&self) {
        let rules = self.rules.load();
        for connection in rules.connections.iter() {
            self.budgets.of(&connection.name).set_limit(connection.upstream_connections);
        }
        self.budgets.keep(|name| rules.connections.get(name).is_some());
    }

    /// What says who a token proves.
    pub fn authenticator(&self) -> &Arc<Authenticator> {
        &self.services.authenticator
    }

    /// Who holds this token. What its issuer must be asked for, it is asked for.
    pub async fn identify(&self, token: &Secret) -> Result<Identity, Denied> {
        let authenticator = &self.services.authenticator;
        let mut verified = authenticator.verify(token, self.now());
        for _ in 0..MAX_ERRANDS {
            let errand = verified.as_ref().err().and_then(|denied| authenticator.errand(denied, self.now()));
            let Some(errand) = errand else { break };
            self.services.providers.run(errand, token.clone()).await;
            verified = authenticator.verify(token, self.now());
        }
        verified
    }

    /// A desk for the sessions of one thread, which must also [gather](Desk::gather) what they hand in.
    pub fn desk(&self) -> Desk {
        Desk::gathering(Arc::clone(&self.services.ledger))
    }

    /// The connections that a chain may open from this address, inside TLS, by the policy of this moment.
    pub fn open_to(&self, identity: &Identity, address: IpAddr) -> Vec<Arc<Connection>> {
        let rules = self.rules.load();
        let may = |connection: &&Arc<Connection>| {
            identity.origin.reaches(connection.name.as_str())
                && decide::connect(&rules.policy, identity, connection, address, true, None, &self.in_force(identity, connection))
                    .1
                    .is_ok()
        };
        rules.connections.iter().filter(may).cloned().collect()
    }

    /// A fresh id for the session that a new client may become.
    pub fn new_session(&self) -> SessionId {
        SessionId::new(self.now(), self.random())
    }

    /// How to log in to a connection's upstream with this password; the client gets this secret in place of the upstream's.
    pub fn upstream_login(
        &self,
        connection: &Connection,
        password: Option<Secret>,
        application: String,
        cancel_secret: Bytes,
    ) -> UpstreamLogin {
        connection.login(password, application, cancel_secret, self.random(), Arc::clone(&self.scram_keys))
    }

    /// Lets nobody in any more, and ends every session: at once where nothing is under way, else when that has ended, at the
    /// latest after the rules' time for it.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        let refusal = Refusal::new(RefusalKind::Terminated, "the gateway is stopping");
        self.registry.wind_up_all(&refusal, "gateway.stop");
    }

    /// Whether it lets nobody in any more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Clients that have proved who they are, until their last byte.
    pub fn clients(&self) -> usize {
        self.seats.taken()
    }

    /// What has been used since the gateway was started: by whom, where, and of which model.
    pub fn usage(&self) -> Vec<UsageRow> {
        self.usage.rows()
    }

    /// How the upstreams' budgets stand.
    pub fn budgets(&self) -> Vec<(ConnectionName, BudgetReading)> {
        self.budgets.readings()
    }

    /// Records a refusal, or counts it if there are too many. It is refused whether or not it can be recorded.
    pub(crate) fn note_refusal(
        &self,
        who: Option<&Arc<str>>,
        connection: Option<&Arc<str>>,
        code: &'static str,
        client: SocketAddr,
        leaf: impl FnOnce() -> SessionRefusedLeaf,
    ) {
        let (time, per_second) = (self.now(), self.rules.load().bounds.refusals);
        if self.refusals.note(who, connection, code, client.ip(), per_second, time) {
            let leaf = Leaf { time, kind: LeafKind::SessionRefused(leaf()) };
            if let Err(error) = self.services.ledger.append(Batch::of(leaf)) {
                tracing::error!(%client, code, %error, "a refusal could not be recorded");
            }
        }
    }

    /// Records what was counted of refusals: what is old enough, or all of it.
    pub fn record_refusals(&self, all: bool) {
        let append = |leaves| self.services.ledger.append(Batch::leaves(leaves)).map(drop);
        if let Err(error) = self.refusals.record(all, self.now(), append) {
            tracing::error!(%error, "refusals could not be recorded; they stay counted");
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.services.clock)()
    }

    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.services.random)(&mut bytes);
        bytes
    }

    /// So many bytes that nobody can predict.
    pub(crate) fn secret(&self, len: usize) -> Bytes {
        let mut bytes = vec![0; len];
        (self.services.random)(&mut bytes);
        bytes.into()
    }

    /// A pair of numbers that stays the same while neither the rules nor what the authenticator knows has changed.
    pub(crate) fn epochs(&self) -> Epochs {
        (self.services.authenticator.epoch(), self.epoch.load(Ordering::Acquire))
    }

    /// Ends every session whose chain is no longer what it was: a revoked token, a disabled principal or sponsor.
    /// Returns how many it ended.
    pub fn end_revoked(&self) -> usize {
        let now = self.now();
        // Expiry is the session's own affair: an open transaction gets its grace, in which everything else counts still.
        let unexpired = |identity: &Identity| now.min(identity.expires.plus_secs(-1));
        self.registry.end_where(|identity| self.services.authenticator.recheck(identity, unexpired(identity)).err())
    }
}

/// As of which changes something was found good.
pub(crate) type Epochs = (u64, u64);
