//! Sending what is in the outbox: one webhook's messages one after the other, each webhook by itself.
//!
//! A message is sent until its receiver takes it (2xx), so it may arrive twice; its id tells. What is about one request comes in order; what a
//! receiver refuses keeps back only what is about the same request. A receiver that does not answer is left alone for a while, with
//! everything that is meant for it, and gets all of it when it answers again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use claviger_audit::{ApprovalEvent, ApprovalLeaf};
use claviger_model::{Secret, Timestamp};
use claviger_session::Gateway;
use claviger_store::{MessageApproval, MessageSubject, StoreError, StoredMessage};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::backoff::{self, MOST_ATTEMPTS};
use super::{Current, Webhook, Webhooks, body, signature};
use crate::config::{Config, WebhookConfig};
use crate::http::Http;
use crate::serve::now;

/// The most messages that wait for one webhook; of what is beyond, the oldest is given up.
const MOST_WAITING: u64 = 10_000;
/// How long until the outbox is looked at again, at the latest.
const LOOK: Duration = Duration::from_secs(60);
/// How long a receiver that does not answer is left alone, at most, where something else is to be told: in microseconds.
const LONGEST_REST: i64 = 60_000_000;
/// How long until the store is tried again when it fails.
const STORE_FAILED: Duration = Duration::from_secs(5);

/// The tasks that send.
pub(crate) struct Deliveries {
    webhooks: Arc<Webhooks>,
    gateway: Arc<Gateway>,
    running: Vec<(Arc<Webhook>, JoinHandle<()>)>,
}

impl Deliveries {
    /// Begins to send what is and what comes into the outbox.
    pub(crate) fn start(webhooks: Arc<Webhooks>, gateway: Arc<Gateway>) -> Self {
        let mut deliveries = Self { webhooks, gateway, running: Vec::new() };
        deliveries.run();
        deliveries
    }

    /// Tells these webhooks instead. One that stays as it was goes on with what it was about.
    pub(crate) fn replace(&mut self, config: &Arc<Config>) {
        let before = self.webhooks.current.load_full();
        let webhook = |config: &WebhookConfig| {
            let same = before.webhooks.iter().find(|webhook| webhook.config == *config);
            // One whose receiver wanted to hear no more is tried again.
            let same = same.filter(|webhook| !webhook.stopped.load(Ordering::Relaxed));
            same.map_or_else(|| Arc::new(Webhook::new(config.clone())), Arc::clone)
        };
        let webhooks = config.webhooks.iter().map(webhook).collect();
        self.webhooks.current.store(Arc::new(Current { webhooks, config: Arc::clone(config) }));
        self.run();
    }

    fn run(&mut self) {
        let current = self.webhooks.current.load_full();
        let stays = |webhook: &Arc<Webhook>| current.webhooks.iter().any(|other| Arc::ptr_eq(webhook, other));
        self.running.extract_if(.., |(webhook, _)| !stays(webhook)).for_each(|(_, task)| task.abort());
        for webhook in &current.webhooks {
            if !self.running.iter().any(|(running, _)| Arc::ptr_eq(running, webhook)) {
                let sender = Sender {
                    webhook: Arc::clone(webhook),
                    webhooks: Arc::clone(&self.webhooks),
                    gateway: Arc::clone(&self.gateway),
                };
                self.running.push((Arc::clone(webhook), tokio::spawn(sender.run())));
            }
        }
        let (webhooks, gateway) = (Arc::clone(&self.webhooks), Arc::clone(&self.gateway));
        tokio::task::spawn_blocking(move || clear(&webhooks, &gateway));
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.running.iter().for_each(|(_, task)| task.abort());
    }
}

/// Gives up what is for webhooks that are gone.
fn clear(webhooks: &Webhooks, gateway: &Gateway) {
    let is_known = |name: &str| webhooks.current.load().webhooks.iter().any(|webhook| *webhook.config.name == *name);
    for gone in webhooks.store.messages_waiting().unwrap_or_default() {
        while !is_known(&gone.webhook)
            && let Ok(Some(stored)) = webhooks.store.message_overdue(&gone.webhook, now(), 0)
            && end(webhooks, gateway, &stored, Some("there is no such webhook any more")).is_ok()
        {}
    }
}

/// A message is over: its receiver has it, or it is given up for this reason. It is recorded before it is forgotten.
fn end(webhooks: &Webhooks, gateway: &Gateway, stored: &StoredMessage, given_up: Option<&str>) -> Result<(), StoreError> {
    let message = &stored.message;
    if let Some(why) = given_up {
        let (webhook, event, id) = (&message.webhook, &message.event, &message.id);
        tracing::error!(%webhook, %event, %id, attempts = stored.attempts, why, "a message to a webhook is given up");
    }
    let of: Arc<str> = given_up.map_or_else(|| Arc::clone(&message.event), |why| format!("{}: {why}", message.event).into());
    let (told, channel) = (given_up.is_none(), format!("webhook:{}", message.webhook).into());
    match &message.about {
        Some(MessageSubject::Approval(about)) => gateway.notified(told, channel, of, request(about)),
        Some(MessageSubject::Access(grant)) => gateway.notified_access(told, channel, of, *grant),
        None => {}
    }
    webhooks.store.take_message(stored.place)
}

/// What the record says of the request that a message is about.
fn request(about: &MessageApproval) -> ApprovalLeaf {
    ApprovalLeaf {
        approval: about.approval,
        event: ApprovalEvent::Notified,
        who: "".into(),
        connection: Arc::clone(&about.connection),
        session: about.session,
        op: about.op,
        groups: about.groups.iter().map(Arc::clone).collect(),
        digest: about.digest,
        token: None,
        reason: None,
    }
}

/// What sends one webhook's messages.
struct Sender {
    webhook: Arc<Webhook>,
    webhooks: Arc<Webhooks>,
    gateway: Arc<Gateway>,
}

/// What is to be done next.
enum Next {
    /// Another message may be due.
    Again,
    /// Nothing, for so long or until something is posted.
    Wait(Duration),
}

/// What a receiver made of a message.
#[derive(Debug)]
enum Answer {
    Taken,
    /// It wants to hear nothing any more (410).
    Gone,
    /// Not this one, or not now.
    Refused(String),
    /// It cannot be reached, or is too busy for anything.
    Silent(String),
}

impl Sender {
    async fn run(self) {
        let mut posted = self.webhooks.store.posted();
        let sender = Arc::new(self);
        let mut rests: Option<Timestamp> = None;
        loop {
            posted.mark_unchanged();
            let secrets = secrets(&sender.webhook.config).await;
            let turn = Arc::clone(&sender);
            let done = tokio::task::spawn_blocking(move || turn.turn(secrets, rests)).await;
            let (next, rest) = match done {
                Ok(Ok(done)) => done,
                Ok(Err(error)) => {
                    tracing::error!(webhook = %sender.webhook.config.name, %error, "the outbox cannot be read");
                    (Next::Wait(STORE_FAILED), rests)
                }
                Err(_) => (Next::Wait(STORE_FAILED), rests),
            };
            rests = rest;
            if let Next::Wait(wait) = next {
                // Ends with the store, and then nothing can be posted.
                if let Ok(Err(_)) = timeout(wait, posted.changed()).await {
                    return;
                }
            }
        }
    }

    /// Deals with one message; until when the receiver is left alone is handed on.
    fn turn(
        &self,
        secrets: Result<Vec<Secret>, String>,
        rests: Option<Timestamp>,
    ) -> Result<(Next, Option<Timestamp>), StoreError> {
        let (store, config, now) = (&self.webhooks.store, &self.webhook.config, now());
        let give_up = i64::try_from(config.give_up.as_secs()).unwrap_or(i64::MAX);
        let stopped = self.webhook.stopped.load(Ordering::Relaxed);
        let (before, most, why) = if stopped {
            (now, 0, "its receiver wants to hear no more")
        } else {
            (now.plus_secs(-give_up), MOST_WAITING, "it has waited too long")
        };
        if let Some(stored) = store.message_overdue(&config.name, before, most)? {
            self.give_up(&stored, why)?;
            return Ok((Next::Again, rests));
        }
        if let Some(until) = rests.filter(|until| now < *until) {
            return Ok((Next::Wait(now.age(until).min(LOOK)), rests));
        }
        let Some(stored) = store.message_due(&config.name, now)? else {
            let next = store.next_message(&config.name)?.map_or(LOOK, |next| now.age(next).clamp(Duration::from_millis(1), LOOK));
            return Ok((Next::Wait(next), None));
        };
        let attempts = stored.attempts.saturating_add(1);
        let wait = i64::try_from(backoff::wait(attempts, self.chance()).as_micros()).unwrap_or(i64::MAX);
        let later = Timestamp::from_micros(now.as_micros().saturating_add(wait));
        match self.send(&stored, secrets) {
            Answer::Taken => {
                self.webhook.delivered.fetch_add(1, Ordering::Relaxed);
                end(&self.webhooks, &self.gateway, &stored, None)?;
                if rests.is_some() {
                    store.messages_due_now(&config.name, now)?;
                }
                Ok((Next::Again, None))
            }
            Answer::Gone => {
                self.webhook.stopped.store(true, Ordering::Relaxed);
                Ok((Next::Again, None))
            }
            answer @ (Answer::Refused(_) | Answer::Silent(_)) => {
                self.webhook.failed.fetch_add(1, Ordering::Relaxed);
                let (Answer::Refused(why) | Answer::Silent(why)) = &answer else { return Ok((Next::Again, None)) };
                tracing::warn!(webhook = %config.name, id = %stored.message.id, attempts, why, "a message to a webhook was not taken");
                if attempts >= MOST_ATTEMPTS {
                    self.give_up(&stored, "it was tried too often")?;
                } else {
                    store.put_off_message(stored.place, later)?;
                }
                let rest = Timestamp::from_micros(now.as_micros().saturating_add(wait.min(LONGEST_REST)));
                Ok((Next::Again, matches!(answer, Answer::Silent(_)).then_some(rest)))
            }
        }
    }

    fn give_up(&self, stored: &StoredMessage, why: &str) -> Result<(), StoreError> {
        self.webhook.given_up.fetch_add(1, Ordering::Relaxed);
        end(&self.webhooks, &self.gateway, stored, Some(why))
    }

    fn send(&self, stored: &StoredMessage, secrets: Result<Vec<Secret>, String>) -> Answer {
        let message = &stored.message;
        // Only while the request is open is its statement known, and it is in memory.
        let approval = match &message.about {
            Some(MessageSubject::Approval(about)) if self.webhook.config.statement => Some(about.approval),
            _ => None,
        };
        let statement = approval.and_then(|id| self.gateway.approvals.get(id)).map(|request| request.statement);
        let full = statement.filter(|text| !text.is_empty()).and_then(|text| body::with_statement(&message.body, &text));
        let http = match self.webhook.http() {
            Ok(http) => http,
            Err(why) => return Answer::Silent(why),
        };
        let answer = send(&self.webhook.config, &http, secrets, &message.id, full.as_deref().unwrap_or(&message.body));
        if matches!(answer, Answer::Silent(_)) {
            self.webhook.forget_http();
        }
        answer
    }

    fn chance(&self) -> u16 {
        let mut bytes = [0; 2];
        (self.webhooks.random)(&mut bytes);
        u16::from_ne_bytes(bytes)
    }
}

impl Webhook {
    /// What speaks to the receiver: connections are used again, and the authorities are read again when one fails.
    fn http(&self) -> Result<Arc<Http>, String> {
        let mut known = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = &*known {
            return Ok(Arc::clone(http));
        }
        let http = http(&self.config)?;
        *known = Some(Arc::clone(&http));
        Ok(http)
    }

    fn forget_http(&self) {
        *self.http.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Sends a message of no consequence: what the receiver made of it. Blocks.
pub(crate) fn try_out(config: &WebhookConfig, id: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let secrets = runtime.block_on(secrets(config));
    let body = json!({ "type": "webhook.test", "timestamp": now().to_string(), "data": { "webhook": &*config.name } });
    match send(config, &*http(config)?, secrets, id, &body.to_string()) {
        Answer::Taken => Ok(()),
        Answer::Gone => Err("it answered 410: it wants to hear no more".to_owned()),
        Answer::Refused(why) | Answer::Silent(why) => Err(why),
    }
}

fn http(config: &WebhookConfig) -> Result<Arc<Http>, String> {
    Http::within(config.tls_ca.as_deref(), config.timeout).map(Arc::new).map_err(|error| format!("{error:#}"))
}

/// Found anew for each message, so that a changed one is used at once.
async fn secrets(config: &WebhookConfig) -> Result<Vec<Secret>, String> {
    let mut secrets = Vec::with_capacity(config.secrets.len());
    for reference in &config.secrets {
        secrets.push(claviger_proxy::find_secret(reference).await?);
    }
    Ok(secrets)
}

fn send(config: &WebhookConfig, http: &Http, secrets: Result<Vec<Secret>, String>, id: &str, body: &str) -> Answer {
    let at = now().as_secs();
    let signed = secrets.and_then(|secrets| signature::sign(&secrets, id, at, body).map_err(str::to_owned));
    let signature = match signed {
        Ok(signature) => signature,
        Err(why) => return Answer::Silent(why),
    };
    let at = at.to_string();
    let headers = [("webhook-id", id), ("webhook-timestamp", &at), ("webhook-signature", &signature)];
    match http.tell(&config.url, &headers, body) {
        Ok(200..=299) => Answer::Taken,
        Ok(410) => Answer::Gone,
        Ok(status @ (429 | 502..=504)) => Answer::Silent(format!("it answered {status}")),
        Ok(status) => Answer::Refused(format!("it answered {status}")),
        Err(why) => Answer::Silent(why),
    }
}
