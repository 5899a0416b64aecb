//! Webhooks: receivers outside that are told of what happens to requests for approval, and to access for a time.
//!
//! A message is put into the store's outbox for each webhook that wants it ([`Webhooks::post`]), signed as Standard Webhooks 1.0 says
//! ([`signature`]) and sent until its receiver has taken it ([`delivery`]). What a receiver answers beyond that decides nothing and is not
//! read. Messages hold facts: no statement, unless a webhook is to have it, and no value; the statement is added when a message leaves and is
//! on no disk.

mod backoff;
mod body;
mod delivery;
mod signature;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use claviger_audit::{AccessLeaf, ApprovalEvent, ApprovalLeaf};
use claviger_model::Timestamp;
use claviger_session::{Approval, Channel, Random};
use claviger_store::{MessageApproval, MessageSubject, NewMessage, Store};
use serde_json::{Value, json};

pub(crate) use self::delivery::{Deliveries, try_out};
use crate::config::{Config, WebhookConfig};
use crate::http::Http;

/// What webhooks can be told of.
pub(crate) const EVENTS: [&str; 18] = [
    "approval.requested",
    "approval.approved",
    "approval.edited",
    "approval.denied",
    "approval.granted",
    "approval.spent",
    "approval.expired",
    "approval.withdrawn",
    "access.requested",
    "access.refused",
    "access.approved",
    "access.denied",
    "access.granted",
    "access.token",
    "access.ended",
    "access.revoked",
    "access.reviewed",
    "access.expired",
];

/// The webhooks of the configuration in force.
pub(crate) struct Webhooks {
    store: Arc<Store>,
    random: Random,
    current: ArcSwap<Current>,
}

struct Current {
    webhooks: Vec<Arc<Webhook>>,
    config: Arc<Config>,
}

/// A webhook, and how it fares.
pub(crate) struct Webhook {
    config: WebhookConfig,
    delivered: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    /// Its receiver wants to hear nothing any more.
    stopped: AtomicBool,
    /// What speaks to its receiver, while that works.
    http: Mutex<Option<Arc<Http>>>,
}

/// What is counted of a webhook.
pub(crate) struct Reading {
    pub(crate) webhook: Arc<str>,
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) given_up: u64,
    pub(crate) stopped: bool,
    /// Messages in the outbox.
    pub(crate) waiting: u64,
}

impl Webhooks {
    pub(crate) fn new(config: &Arc<Config>, store: Arc<Store>, random: Random) -> Self {
        let webhooks = config.webhooks.iter().map(|config| Arc::new(Webhook::new(config.clone()))).collect();
        Self { store, random, current: ArcSwap::from_pointee(Current { webhooks, config: Arc::clone(config) }) }
    }

    /// Puts a message into the outbox for each webhook that wants it. The event is one of [`EVENTS`]; the data is an object of facts. That a
    /// message about something was delivered, or given up, is recorded. Returns at once: whether all
    /// of them were taken.
    pub(crate) fn post(&self, event: &str, data: &Value, about: Option<&MessageSubject>, at: Timestamp) -> bool {
        let current = self.current.load();
        let mut wanted = current.webhooks.iter().filter(|webhook| webhook.config.events.contains(&event)).peekable();
        if wanted.peek().is_none() {
            return true;
        }
        let body: Arc<str> = json!({ "type": event, "timestamp": at.to_string(), "data": data }).to_string().into();
        let (event, id): (Arc<str>, Arc<str>) = (event.into(), self.message_id().into());
        // Each is posted, whether or not the ones before it were.
        wanted.fold(true, |taken, webhook| {
            let message = NewMessage {
                webhook: Arc::clone(&webhook.config.name),
                id: Arc::clone(&id),
                event: Arc::clone(&event),
                body: Arc::clone(&body),
                about: about.cloned(),
                made: at,
            };
            self.store.post(message) && taken
        })
    }

    /// What is counted of each. Reads the store, so it may block.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        let waiting = self.store.messages_waiting().unwrap_or_default();
        let of = |name: &str| waiting.iter().find(|waiting| *waiting.webhook == *name).map_or(0, |waiting| waiting.messages);
        let current = self.current.load();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let reading = |webhook: &Arc<Webhook>| Reading {
            webhook: Arc::clone(&webhook.config.name),
            delivered: count(&webhook.delivered),
            failed: count(&webhook.failed),
            given_up: count(&webhook.given_up),
            stopped: webhook.stopped.load(Ordering::Relaxed),
            waiting: of(&webhook.config.name),
        };
        current.webhooks.iter().map(reading).collect()
    }

    /// Messages that were lost because they could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.store.messages_dropped()
    }

    fn message_id(&self) -> String {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        bytes.iter().fold("msg_".to_owned(), |id, byte| id + &format!("{byte:02x}"))
    }
}

impl Webhook {
    fn new(config: WebhookConfig) -> Self {
        Self {
            config,
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            http: Mutex::default(),
        }
    }
}

impl Channel for Webhooks {
    fn tell(&self, happened: &ApprovalLeaf, at: Timestamp, request: Option<&Approval>) -> bool {
        let event = match happened.event {
            ApprovalEvent::Requested => "approval.requested",
            ApprovalEvent::Approved => "approval.approved",
            ApprovalEvent::Edited => "approval.edited",
            ApprovalEvent::Denied => "approval.denied",
            ApprovalEvent::Granted => "approval.granted",
            ApprovalEvent::Spent => "approval.spent",
            ApprovalEvent::Expired => "approval.expired",
            ApprovalEvent::Withdrawn => "approval.withdrawn",
            ApprovalEvent::Seen | ApprovalEvent::Counted | ApprovalEvent::Notified | ApprovalEvent::NotNotified => return true,
        };
        let current = self.current.load();
        // Nobody wants to know in most gateways.
        if current.webhooks.is_empty() {
            return true;
        }
        self.post(event, &body::of_request(happened, request, &current.config.reviewing), Some(&subject(happened)), at)
    }

    fn tell_access(&self, happened: &AccessLeaf, at: Timestamp) -> bool {
        let current = self.current.load();
        let event = format!("access.{}", happened.event.as_str());
        if current.webhooks.is_empty() || !EVENTS.contains(&event.as_str()) {
            return true;
        }
        let about = MessageSubject::Access(happened.grant);
        self.post(&event, &body::of_access(happened, &current.config.reviewing), Some(&about), at)
    }

    fn is_kept(&self) -> bool {
        self.current.load().webhooks.is_empty() || self.store.flush_outbox()
    }
}

fn subject(leaf: &ApprovalLeaf) -> MessageSubject {
    MessageSubject::Approval(MessageApproval {
        approval: leaf.approval,
        connection: Arc::clone(&leaf.connection),
        session: leaf.session,
        op: leaf.op,
        groups: leaf.groups.iter().map(Arc::clone).collect(),
        digest: leaf.digest,
    })
}
