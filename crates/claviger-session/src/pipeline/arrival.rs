//! From the first byte to the open session: who is it, may it connect, does the upstream let us in.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use claviger_audit::{Batch, DecisionFacts, Leaf, LeafKind, SessionOpenLeaf, SessionRefusedLeaf};
use claviger_identity::{Denied, Identity};
use claviger_model::{Chain, Refusal, RefusalKind, Secret, Timestamp};
use claviger_protocols::{BackendKey, Cancel, Closed, Credential, Login, Reply};

use super::serving::{End, Opening, Serving};
use super::{Pipeline, Stage, Step};
use crate::budget::Ticket;
use crate::decide;
use crate::gateway::Epochs;
use crate::meters::Meter;
use crate::record::SessionRecord;
use crate::registry::Live;
use crate::seats::NoSeat;
use crate::{Bounds, Connection, Gateway};

/// A client whose token needs something of its issuer that is being fetched.
pub(super) struct Identifying {
    login: Login,
    identity: Pin<Box<dyn Future<Output = Result<Identity, Denied>> + Send>>,
}

/// A client that may connect, on its way in.
pub(super) struct Entrant {
    identity: Identity,
    connection: Arc<Connection>,
    application: Option<Arc<str>>,
    decision: DecisionFacts,
    proof: &'static str,
    settings: Vec<(String, Bytes)>,
    cancel_secret: Bytes,
    /// As of which changes it was decided.
    epochs: Epochs,
}

/// A client that may connect, in the queue for an upstream.
pub(super) struct Waiting {
    pub(super) entrant: Entrant,
    ticket: Ticket,
    since: Instant,
    /// What is left of the time for the login, in which the wait is not counted.
    left: Duration,
}

impl Pipeline {
    /// Learns who the client is, at once if all that it takes is at hand.
    pub(super) fn authenticate(&mut self, login: Login, now: Instant) {
        let (authenticator, time) = (&self.gateway.services.authenticator, self.gateway.now());
        let (verified, token) = match &login.credential {
            Credential::Password(token) | Credential::Bearer(token) | Credential::Header(token, _) => {
                (authenticator.verify(token, time), Some(token))
            }
            Credential::Certificate => (authenticator.verify_certificates(&self.certificates, time), None),
        };
        match (verified, token) {
            (Ok(identity), _) => self.admit_client(&login, identity, now),
            (Err(denied), Some(token)) if denied.may_be_helped() => {
                let (gateway, token) = (Arc::clone(&self.gateway), token.clone());
                let identity = Box::pin(async move { gateway.identify(&token).await });
                self.stage = Stage::Identifying(Identifying { login, identity });
            }
            (Err(denied), _) => self.refuse_identity(&denied, now),
        }
    }

    pub(super) fn poll_identity(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Stage::Identifying(identifying) = &mut self.stage else { return false };
        let Poll::Ready(identity) = identifying.identity.as_mut().poll(cx) else { return false };
        let Stage::Identifying(Identifying { login, .. }) = std::mem::replace(&mut self.stage, Stage::Arriving) else {
            return false;
        };
        match identity {
            Ok(identity) => self.admit_client(&login, identity, now),
            Err(denied) => self.refuse_identity(&denied, now),
        }
        true
    }

    /// Decides whether this chain may connect to what it means.
    fn admit_client(&mut self, login: &Login, identity: Identity, now: Instant) {
        let application = login.application.as_deref().map(Arc::from);
        // Read first: what changes from here on is noticed at the first operation.
        let epochs = self.gateway.epochs();
        let rules = Arc::clone(&self.gateway.rules());
        let connection = match self.arrival.route.select(login, &rules.connections) {
            Ok(connection) => connection,
            Err(refusal) => {
                self.record_refusal(Some(&identity.chain), None, "connection.unknown", None);
                return self.end(refusal, "connection.unknown", now);
            }
        };
        if !identity.origin.reaches(connection.name.as_str()) {
            self.record_refusal(Some(&identity.chain), Some(&connection), "token.scope", None);
            let refusal = Refusal::new(RefusalKind::NotPermitted, "the token is for other connections");
            return self.end(refusal, "token.scope", now);
        }
        let tls = self.tls.downstream.is_some();
        let (address, application_name) = (self.arrival.client.ip(), login.application.as_deref());
        let grants = self.gateway.in_force(&identity, &connection);
        let (decision, verdict) = decide::connect(&rules.policy, &identity, &connection, address, tls, application_name, &grants);
        if let Err(refusal) = verdict {
            self.record_refusal(Some(&identity.chain), Some(&connection), "policy.deny", Some(decision));
            let way = self
                .gateway
                .could_ask(&identity, &connection, address)
                .then(|| format!("access can be asked for: claviger access request {} --for 1h --reason '...'", connection.name));
            return self.end(Refusal { detail: way, ..refusal }, "policy.deny", now);
        }
        let (proof, cancel_secret) = (login.credential.method(), self.gateway.secret(login.cancel_secret));
        self.certificates = Vec::new();
        let settings = login.settings.clone();
        let entrant = Entrant { identity, connection, application, decision, proof, settings, cancel_secret, epochs };
        if let Err((refusal, code)) = self.queue(entrant, &rules.bounds, now) {
            self.end(refusal, code, now);
        }
    }

    /// Gives the client its seat and its place in the queue for the upstream.
    fn queue(&mut self, entrant: Entrant, bounds: &Bounds, now: Instant) -> Result<(), End> {
        let gateway = Arc::clone(&self.gateway);
        let actor = &entrant.identity.chain.actor().key;
        let budget = gateway.budgets.of(&entrant.connection.name);
        let placed = if gateway.is_draining() {
            Err(stopping())
        } else {
            let seat = gateway.seats.take(actor, bounds.sessions, bounds.sessions_each).map_err(no_seat);
            seat.and_then(|seat| budget.ask(actor, bounds.upstream_queue).map(|ticket| (seat, ticket)).map_err(|_| queue_full()))
        };
        match placed {
            Ok((seat, ticket)) => {
                self.seat = Some(seat);
                let left = self.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
                self.deadline = now.checked_add(gateway.rules().deadlines.upstream_wait);
                self.stage = Stage::Waiting(Box::new(Waiting { entrant, ticket, since: now, left }));
                Ok(())
            }
            Err((refusal, code)) => {
                let chain = &entrant.identity.chain;
                self.record_refusal(Some(chain), Some(&entrant.connection), code, Some(entrant.decision.clone()));
                Err((refusal, code))
            }
        }
    }

    /// When it is the client's turn, the upstream is opened, unless the client would not be let in any more.
    pub(super) fn poll_wait(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Stage::Waiting(waiting) = &mut self.stage else { return false };
        if self.ending.is_some() {
            return false;
        }
        let Poll::Ready(called) = Pin::new(&mut waiting.ticket).poll(cx) else { return false };
        let Ok(slot) = called else {
            let (refusal, code) = queue_full();
            self.refuse_entry(refusal, code, now);
            return true;
        };
        if let Err((refusal, code)) = is_open(&self.gateway, &waiting.entrant.connection) {
            self.refuse_entry(refusal, code, now);
            return true;
        }
        let Stage::Waiting(waiting) = std::mem::replace(&mut self.stage, Stage::Arriving) else { return false };
        let Waiting { entrant, since, left, .. } = *waiting;
        self.slot = Some(slot);
        self.gateway.meters.connection(&entrant.connection.name).waited(now.saturating_duration_since(since));
        self.deadline = now.checked_add(left);
        self.steps.push_back(Step::Connect(Arc::clone(&entrant.connection)));
        self.stage = Stage::Entering(Box::new(entrant));
        true
    }

    pub(super) fn log_in_upstream(&mut self, password: Option<Secret>) {
        let Stage::Entering(entrant) = &self.stage else { return };
        let application = upstream_name(&entrant.identity, &self.arrival.id.to_string());
        let login = self.gateway.upstream_login(&entrant.connection, password, application, entrant.cancel_secret.clone());
        self.protocol.resume(Reply::Authenticated(Box::new(login)));
    }

    /// The upstream is ready: records the session and lets the client in.
    pub(super) fn open(&mut self, key: Option<BackendKey>, now: Instant) {
        let Stage::Entering(entrant) = std::mem::replace(&mut self.stage, Stage::Arriving) else { return };
        let Entrant { identity, connection, application, decision, proof, settings, cancel_secret, epochs } = *entrant;
        let process = key.as_ref().map(|key| key.process);
        let cancel = key.map(|key| (Cancel { process: key.process, secret: cancel_secret }, key));
        let opened = self.gateway.now();
        let id = self.arrival.id;
        let client = self.arrival.client;
        let live = Live::new(id, identity, Arc::clone(&connection), client, application, opened, process);
        let live = Arc::new(live.with_settings(settings));
        let ledger = &self.gateway.services.ledger;
        let recorder = ledger.record(id);
        let leaf = self.open_leaf(&live, decision.clone(), proof, recorder.key_id());
        // Taken in first: what is recorded as open must be closed, and a session that is not taken in never is.
        if let Err(refusal) = self.gateway.registry.insert(Arc::clone(&live), cancel.clone()) {
            return self.end(refusal, "cancel_key.taken", now);
        }
        // A grant that let it in may have ended before it could be found.
        if !decision.grants.is_empty() {
            live.recheck();
        }
        // From here on a revocation or a reload finds the session; what either did while it was on its way in must not pass.
        if let Err((refusal, code)) = self.still_stands(&live, opened) {
            self.gateway.registry.remove(id, cancel.as_ref().map(|(cancel, _)| cancel), opened, code);
            self.record_refusal(Some(&live.identity.chain), Some(&connection), code, Some(decision));
            return self.end(refusal, code, now);
        }
        if let Err(error) = ledger.append(Batch::of(Leaf { time: opened, kind: LeafKind::SessionOpen(leaf) })) {
            self.gateway.registry.remove(id, cancel.as_ref().map(|(cancel, _)| cancel), opened, "audit.unavailable");
            return self.end_unrecorded(&error, now);
        }
        let record = SessionRecord::new(
            Arc::clone(&self.desk),
            recorder,
            id,
            live.identity.chain.to_string().into(),
            connection.name.as_str().into(),
            live.identity.purpose.clone(),
            connection.recording,
        );
        let record = record.with_history(self.gateway.history.begin(&live.identity.chain.actor().key));
        let meter = Meter::begin(self.gateway.meters.connection(&connection.name), id);
        let expires_in = live.identity.expires.as_micros().saturating_sub(opened.as_micros());
        let expires_in = Duration::from_micros(u64::try_from(expires_in).unwrap_or(0));
        let tls = self.tls.downstream.is_some();
        let opening = Opening { live, connect: decision, record, cancel, epochs, meter, tls, expires_in };
        self.stage = Stage::Serving(Box::new(Serving::new(&self.gateway, opening, now)));
        self.protocol.resume(Reply::Serve);
        self.look(now);
    }

    /// Whether nothing has changed, since the client was let in, that would have kept it out. Policy is asked again, if it has
    /// changed, at the first operation.
    fn still_stands(&self, live: &Live, time: Timestamp) -> Result<(), End> {
        if let Err(denied) = self.gateway.services.authenticator.recheck(&live.identity, time) {
            return Err((Refusal::new(RefusalKind::Unauthenticated, denied.to_string()), denied.code()));
        }
        is_open(&self.gateway, &live.connection)
    }

    fn open_leaf(&self, live: &Live, decision: DecisionFacts, proof: &'static str, recording_key: &str) -> SessionOpenLeaf {
        let chain = &live.identity.chain;
        SessionOpenLeaf {
            session: live.id,
            chain: chain.links().iter().map(|link| link.key.to_string().into()).collect(),
            sponsor: chain.sponsor().map(|key| key.to_string().into()),
            token: Some(Arc::clone(&live.identity.token)),
            proof,
            connection: live.connection.name.as_str().into(),
            protocol: live.connection.kind.into(),
            mode: live.connection.mode,
            client: live.client.to_string().into(),
            application: live.application.clone(),
            tls: self.tls.downstream.clone(),
            upstream_tls: self.tls.upstream.clone(),
            upstream_process: live.process.map(i64::from),
            recording_key: Some(recording_key.into()),
            decision,
        }
    }

    fn refuse_identity(&mut self, denied: &Denied, now: Instant) {
        self.record_refusal(denied.chain(), None, denied.code(), None);
        self.end(Refusal::new(RefusalKind::Unauthenticated, denied.to_string()), denied.code(), now);
    }

    /// Ends a session that has not begun.
    pub(super) fn refuse_entry(&mut self, refusal: Refusal, code: &'static str, now: Instant) {
        match &self.stage {
            Stage::Entering(entrant) => self.record_no_entrance(entrant, code),
            Stage::Waiting(waiting) => self.record_no_entrance(&waiting.entrant, code),
            _ => self.record_refusal(None, None, code, None),
        }
        self.end(refusal, code, now);
    }

    /// A session that ended on its way in, by the upstream's doing or the client's.
    pub(super) fn record_no_entry(&self, entrant: &Entrant, closed: &Closed) {
        let code = match closed {
            Closed::ByClient => "client.left",
            // Not the upstream's failure.
            Closed::ByGateway(refusal) if refusal.kind == RefusalKind::InvalidSetting => "client.setting",
            Closed::ByGateway(_) | Closed::ByUpstream => "upstream.refused",
        };
        self.record_no_entrance(entrant, code);
    }

    fn record_no_entrance(&self, entrant: &Entrant, code: &'static str) {
        let decision = entrant.decision.clone();
        self.record_refusal(Some(&entrant.identity.chain), Some(&entrant.connection), code, Some(decision));
    }

    fn record_refusal(
        &self,
        chain: Option<&Chain>,
        connection: Option<&Connection>,
        code: &'static str,
        decision: Option<DecisionFacts>,
    ) {
        self.gateway.meters.refuse(connection.map(|connection| &connection.name), code);
        if matches!(code, "upstream.unavailable" | "upstream.refused")
            && let Some(connection) = connection
        {
            self.gateway.meters.connection(&connection.name).upstream_failed();
        }
        let chain: Vec<Arc<str>> =
            chain.map(Chain::links).unwrap_or_default().iter().map(|link| link.key.to_string().into()).collect();
        let connection: Option<Arc<str>> = connection.map(|connection| connection.name.as_str().into());
        self.gateway.note_refusal(chain.first(), connection.as_ref(), code, self.arrival.client, || SessionRefusedLeaf {
            session: self.arrival.id,
            chain: chain.clone(),
            connection: connection.clone(),
            client: self.arrival.client.to_string().into(),
            reason: code.into(),
            decision,
        });
    }
}

/// Whether sessions may begin on this connection.
fn is_open(gateway: &Gateway, connection: &Connection) -> Result<(), End> {
    if gateway.is_draining() {
        return Err(stopping());
    }
    if gateway.rules().connections.get(&connection.name).is_none() {
        return Err((Refusal::new(RefusalKind::Terminated, "the connection was removed"), "connection.removed"));
    }
    Ok(())
}

fn stopping() -> End {
    (Refusal::new(RefusalKind::Terminated, "the gateway is stopping"), "gateway.stop")
}

fn no_seat(why: NoSeat) -> End {
    match why {
        NoSeat::Full => (Refusal::new(RefusalKind::TooMany, "too many connections"), "limit.connections"),
        NoSeat::OfPrincipal => (Refusal::new(RefusalKind::TooMany, "too many connections of this principal"), "limit.principal"),
    }
}

fn queue_full() -> End {
    let refusal = Refusal::new(RefusalKind::TooMany, "too many wait for the upstream already; try again later");
    (refusal, "limit.upstream_queue")
}

/// What the upstream's administrator sees: `claviger:<principal>:<session>`, within PostgreSQL's 63 bytes for a name.
fn upstream_name(identity: &Identity, session: &str) -> String {
    const LONGEST: usize = 63;
    let room = LONGEST.saturating_sub("claviger::".len() + session.len());
    let plain = |c: char| if c.is_ascii_graphic() && c != ':' { c } else { '?' };
    let principal: String = identity.chain.actor().key.subject.chars().take(room).map(plain).collect();
    format!("claviger:{principal}:{session}")
}
