//! What all sessions share.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use claviger_audit::Ledger;
use claviger_identity::{Authenticator, Denied, Errand, Identity};
use claviger_model::{ConnectionName, Secret, SessionId, Timestamp};
use claviger_policy::PolicySet;
use claviger_protocols::postgres::ScramKeys;

use crate::{Connection, Decider, Desk, Meters, Registry, decide};

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
    /// From accepting a client to serving it.
    pub login: Duration,
    /// What an open transaction gets when its token expires.
    pub expiry_grace: Duration,
    /// What a client gets to read its last words.
    pub linger: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { login: Duration::from_secs(10), expiry_grace: Duration::from_secs(60), linger: Duration::from_secs(5) }
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
    /// Keeps the record.
    pub ledger: Arc<dyn Ledger>,
    /// The time of day.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Randomness.
    pub random: Random,
    /// How long to wait.
    pub deadlines: Deadlines,
    /// What counts sessions, operations and keys.
    pub meters: Arc<Meters>,
}

/// What all sessions share: the services, and the state that a reload replaces.
pub struct Gateway {
    pub(crate) services: Services,
    /// The policy in force.
    pub policy: ArcSwap<PolicySet>,
    /// The connections in force.
    pub connections: ArcSwap<Connections>,
    /// The live sessions.
    pub registry: Registry,
    /// What is counted.
    pub meters: Arc<Meters>,
    pub(crate) scram_keys: Arc<ScramKeys>,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(services: Services, policy: PolicySet, connections: Connections) -> Self {
        Self {
            meters: Arc::clone(&services.meters),
            services,
            policy: ArcSwap::from_pointee(policy),
            connections: ArcSwap::from_pointee(connections),
            registry: Registry::default(),
            scram_keys: Arc::default(),
        }
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
        let policy = self.policy.load();
        let may = |connection: &&Arc<Connection>| {
            identity.origin.reaches(connection.name.as_str())
                && decide::connect(&policy, identity, connection, address, true, None).1.is_ok()
        };
        self.connections.load().iter().filter(may).cloned().collect()
    }

    /// A fresh id for the session that a new client may become.
    pub fn new_session(&self) -> SessionId {
        SessionId::new(self.now(), self.random())
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

    /// Ends every session whose chain is no longer what it was: a revoked token, a disabled principal or sponsor.
    /// Returns how many it ended.
    pub fn end_revoked(&self) -> usize {
        let now = self.now();
        // Expiry is the session's own affair: an open transaction gets its grace, in which everything else counts still.
        let unexpired = |identity: &Identity| now.min(identity.expires.plus_secs(-1));
        self.registry.end_where(|identity| self.services.authenticator.recheck(identity, unexpired(identity)).err())
    }
}
