//! How the gateway is, for whoever watches over it: whether it is alive, whether it takes clients, and its metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use claviger_api::{Check, Health, Status};
use claviger_model::Timestamp;
use claviger_proxy::Places;
use claviger_session::Gateway;
use claviger_store::log::AuditLog;

use super::now;
use crate::webhooks::Webhooks;

/// What is known of the running gateway as a whole.
pub(super) struct Condition {
    pub(super) gateway: Arc<Gateway>,
    pub(super) log: Arc<AuditLog>,
    pub(super) places: Arc<Places>,
    pub(super) webhooks: Arc<Webhooks>,
    pub(super) started: Timestamp,
    /// Every listener is bound, and a policy is in force.
    serving: AtomicBool,
    /// Changes in the store are seen.
    following: AtomicBool,
    draining: AtomicBool,
    /// When the configuration in force was taken up, in seconds.
    pub(super) loaded: AtomicI64,
    pub(super) reloads: AtomicU64,
    pub(super) reloads_refused: AtomicU64,
}

impl Condition {
    pub(super) fn new(gateway: Arc<Gateway>, log: Arc<AuditLog>, places: Arc<Places>, webhooks: Arc<Webhooks>) -> Self {
        let started = now();
        Self {
            gateway,
            log,
            places,
            webhooks,
            started,
            serving: AtomicBool::new(false),
            following: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            loaded: AtomicI64::new(started.as_secs()),
            reloads: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
        }
    }

    /// Clients are accepted from now on.
    pub(super) fn serves(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// Clients are accepted no more.
    pub(super) fn drains(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Changes in the store are seen no more, so that nobody could be shut out.
    pub(super) fn is_blind(&self) {
        self.following.store(false, Ordering::Relaxed);
    }

    /// A changed configuration was taken up, or not.
    pub(super) fn reloaded(&self, taken_up: bool) {
        if taken_up {
            self.loaded.store(now().as_secs(), Ordering::Relaxed);
        }
        let counter = if taken_up { &self.reloads } else { &self.reloads_refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn record(&self) -> Check {
        let ok = self.log.admits();
        required("record", ok, (!ok).then_some("nothing new can be recorded: the storage is full or has failed"))
    }

    /// Old keys go on verifying, so an issuer that cannot be reached keeps nobody out but whose key is new.
    fn issuers(&self) -> impl Iterator<Item = Check> {
        self.gateway.meters.issuers().into_iter().map(|(issuer, keys)| {
            let detail = match keys.fetched {
                Some(at) if keys.failing => format!("the last try to fetch its keys failed; those at hand are of {at}"),
                Some(at) => format!("keys fetched at {at}"),
                None => "its keys could not be fetched yet".to_owned(),
            };
            Check { name: format!("issuer.{issuer}"), ok: !keys.failing, required: false, detail: Some(detail) }
        })
    }
}

impl Status for Condition {
    fn metrics(&self) -> String {
        super::metrics::render(self)
    }

    fn health(&self) -> Health {
        Health::of(vec![required("process", true, None), self.record()])
    }

    fn readiness(&self) -> Health {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let (serving, following, draining) = (is(&self.serving), is(&self.following), is(&self.draining));
        let mut checks = vec![
            required("listeners", serving, (!serving).then_some("not all listeners are bound yet")),
            required("policy", serving, None),
            self.record(),
            required("store", following, (!following).then_some("changes in the store are not seen any more")),
            required("open", !draining, draining.then_some("the gateway is stopping")),
        ];
        checks.extend(self.issuers());
        Health::of(checks)
    }
}

fn required(name: &str, ok: bool, detail: Option<&str>) -> Check {
    Check { name: name.to_owned(), ok, required: true, detail: detail.map(str::to_owned) }
}
