//! A gateway without sockets, clock or files, and sessions in it that a test drives by hand.
//!
//! The principals are `ana@local`, an engineer; `bot@local`, a workload that she sponsors; `eve@local`, who is in no group; and
//! `dana@local`, who approves.
//! The connections are `bank` and `shop`, both of the multiplexed protocol.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use claviger_audit::{DecisionFacts, Verdict};
use claviger_identity::{
    Authenticator, Directory, Errand, IssuedToken, KeySet, LocalIssuer, Registered, SigningKey, TokenRequest, TrustedIssuer,
};
use claviger_model::{
    ApprovalId, Durability, Mode, PrincipalKey, PrincipalKind, Refusal, RefusalKind, ResponseRecording, Secret, SessionId,
    Timestamp,
};
use claviger_policy::PolicySet;
use claviger_protocols::{Forward, Limits, Protocol, Request, Side};
use claviger_session::{
    Access, Admission, Approvals, Arrival, Bounds, CancelTarget, Case, Connection, Connections, Consent, Consents,
    ConsentsFailed, ContentRules, Deadlines, Decider, Decision, Gateway, Grant, Grants, GrantsFailed, Hold, Pipeline, Providers,
    ReviewError, Route, Rules, Said, Services, Standing, Steady, Step, TlsFacts, UpstreamTlsPolicy,
};

use crate::ledger::MemoryLedger;
use crate::mux::{self, Mux};

/// Engineers may connect to everything.
pub const ENGINEERS: &str =
    r#"@id("engineers") permit (principal in Group::"engineers", action == Action::"connect", resource);"#;

const ISSUER: &str = "https://claviger.test";
const AUDIENCE: &str = "claviger";

/// What a world is made of.
pub struct Setup {
    /// The policies.
    pub policy: &'static str,
    /// The mode of all connections.
    pub mode: Mode,
    /// The durability of all connections.
    pub durability: Durability,
    /// How much of each response is recorded.
    pub recording: ResponseRecording,
    /// Who decides operations.
    pub decider: Arc<dyn Decider>,
    /// How long the gateway waits.
    pub deadlines: Deadlines,
    /// How many there may be.
    pub bounds: Bounds,
    /// The most sessions that each upstream bears.
    pub upstream_connections: Option<usize>,
    /// Whether the issuer's keys must be fetched first.
    pub keys_late: bool,
    /// The sessions' protocol.
    pub protocol: fn() -> Box<dyn Protocol<Admission>>,
    /// What keeps grants.
    pub grants: Arc<dyn Grants>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: ENGINEERS,
            mode: Mode::Enforce,
            durability: Durability::Ordered,
            recording: ResponseRecording::Full,
            decider: Arc::new(Referee),
            deadlines: Deadlines::default(),
            bounds: Bounds::default(),
            upstream_connections: None,
            keys_late: false,
            protocol: || Box::new(Mux::new(Limits::default())),
            grants: Arc::<MemoryConsents>::default(),
        }
    }
}

/// A gateway, and what surrounds it.
pub struct World {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Its log.
    pub ledger: MemoryLedger,
    /// Its authenticator.
    pub authenticator: Arc<Authenticator>,
    clock: Clock,
    issuer: LocalIssuer,
    disabled: Mutex<HashSet<String>>,
    groupless: Mutex<HashSet<String>>,
    revoked: Mutex<Vec<Arc<str>>>,
    tokens: AtomicU64,
    protocol: fn() -> Box<dyn Protocol<Admission>>,
}

/// One clock for the time of day and for deadlines.
#[derive(Clone)]
struct Clock {
    start: Instant,
    micros: Arc<AtomicI64>,
    /// By how much it was set.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    const START: i64 = 1_795_230_245_000_000;

    fn time(&self) -> Timestamp {
        Timestamp::from_micros(Self::START + self.micros.load(Ordering::Relaxed) + self.ahead.load(Ordering::Relaxed))
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.micros.load(Ordering::Relaxed).unsigned_abs())
    }
}

impl World {
    /// A world of this setup.
    pub fn new(setup: &Setup) -> Self {
        let ledger = MemoryLedger::default();
        let clock = Clock { start: Instant::now(), micros: Arc::default(), ahead: Arc::default() };
        let issuer = LocalIssuer::new("local", ISSUER, AUDIENCE, vec![signing_key()]).unwrap();
        let authenticator = Arc::new(Authenticator::new(vec![trusted()], directory(&HashSet::new(), &HashSet::new(), &[])));
        if !setup.keys_late {
            authenticator.set_keys("local", issuer.key_set().unwrap());
        }
        let (time, counter) = (clock.clone(), AtomicU64::new(1));
        let (beginning, running) = (clock.start, clock.clone());
        let steady = Steady::new(clock.time(), move || running.now().duration_since(beginning));
        let services = Services {
            authenticator: Arc::clone(&authenticator),
            providers: Arc::new(LateKeys { authenticator: Arc::clone(&authenticator), jwks: issuer.jwks() }),
            decider: Arc::clone(&setup.decider),
            catalogs: None,
            ledger: Arc::new(ledger.clone()),
            clock: Arc::new(move || time.time()),
            random: Arc::new(move |bytes| fill(bytes, counter.fetch_add(1, Ordering::Relaxed))),
            meters: Arc::default(),
            asides: None,
            approvals: Arc::new(Approvals::new(Secret::new([7; 32]), Arc::<MemoryConsents>::default())),
            access: Arc::new(Access::new(Arc::clone(&setup.grants), Vec::new(), steady)),
        };
        let connections: Connections = ["bank", "shop"].iter().map(|name| Arc::new(connection(name, setup))).collect();
        let rules = Rules {
            policy: Arc::new(policy(setup.policy)),
            connections,
            deadlines: setup.deadlines,
            bounds: setup.bounds,
            masks: Arc::default(),
            usage: Arc::default(),
            release: claviger_session::Release::default(),
            reviewing: Arc::default(),
            access: Arc::default(),
        };
        let gateway = Arc::new(Gateway::new(services, rules));
        let (disabled, groupless, revoked, tokens) = Default::default();
        Self { gateway, ledger, authenticator, clock, issuer, disabled, groupless, revoked, tokens, protocol: setup.protocol }
    }

    /// A token for this principal, valid for an hour.
    pub fn token(&self, subject: &str) -> IssuedToken {
        self.token_for(subject, &[], 3600)
    }

    /// A token for this principal with these actors, valid for so many seconds.
    pub fn token_for(&self, subject: &str, actors: &[&str], lifetime: u32) -> IssuedToken {
        let mut random = [0; 16];
        fill(&mut random, self.tokens.fetch_add(1, Ordering::Relaxed));
        self.issuer.issue(&TokenRequest { subject, actors, purpose: None, lifetime }, random, self.clock.time()).unwrap()
    }

    /// Disables a principal. Sessions hear of it at their next operation, or by [`Gateway::end_revoked`].
    pub fn disable(&self, subject: &str) {
        self.disabled.lock().unwrap().insert(subject.to_owned());
        self.renew_directory();
    }

    /// Takes a principal out of all its groups.
    pub fn leave_groups(&self, subject: &str) {
        self.groupless.lock().unwrap().insert(subject.to_owned());
        self.renew_directory();
    }

    /// Revokes a token.
    pub fn revoke(&self, token: &IssuedToken) {
        self.revoked.lock().unwrap().push(Arc::clone(&token.id));
        self.renew_directory();
    }

    /// Puts other policies in force.
    pub fn set_policy(&self, text: &str) {
        self.change(|rules| rules.policy = Arc::new(policy(text)));
    }

    /// Puts changed rules in force.
    pub fn change(&self, change: impl FnOnce(&mut Rules)) {
        let mut rules = Rules::clone(&self.gateway.rules());
        change(&mut rules);
        self.gateway.replace(rules);
    }

    /// The oldest request for approval that can be decided, if there is one.
    pub fn pending(&self) -> Option<ApprovalId> {
        let all = self.gateway.approvals.list();
        all.iter().find(|approval| approval.standing == Standing::Pending).map(|approval| approval.id)
    }

    /// `dana` decides the oldest request for approval.
    pub fn review(&self, said: &Said) -> Result<(), ReviewError> {
        self.review_as("dana", self.pending().expect("an operation is held"), said)
    }

    /// Somebody decides a request for approval.
    pub fn review_as(&self, subject: &str, id: ApprovalId, said: &Said) -> Result<(), ReviewError> {
        let reviewer = self.authenticator.verify(&self.token(subject).token, self.clock.time()).unwrap();
        self.gateway.review(id, &reviewer, said, None, |_| Ok(())).map(drop)
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: i64) {
        self.clock.micros.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    /// Sets the clock by which everybody else goes, and lets no time pass.
    pub fn set_clock(&self, seconds: i64) {
        self.clock.ahead.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    /// Who that is, with a token of now.
    pub fn identity(&self, subject: &str) -> claviger_identity::Identity {
        self.authenticator.verify(&self.token(subject).token, self.clock.time()).unwrap()
    }

    /// A client that has just been accepted on a listener for `bank`.
    pub fn client(&self) -> Client {
        self.client_of(Route::Connection("bank".parse().unwrap()))
    }

    /// A client that has just been accepted on a listener with this route.
    pub fn client_of(&self, route: Route) -> Client {
        let id = self.gateway.new_session();
        let arrival = Arrival { id, route, client: SocketAddr::from(([127, 0, 0, 1], 50_000)), again: false };
        let desk = Arc::new(self.gateway.desk());
        let pipeline = Pipeline::new(Arc::clone(&self.gateway), Arc::clone(&desk), (self.protocol)(), arrival, self.clock.now());
        Client {
            id,
            pipeline: Some(pipeline),
            gathering: Box::pin(async move { desk.gather().await }),
            connecting: None,
            cancels: Vec::new(),
            closed: false,
            received: Vec::new(),
            asked: Vec::new(),
            hang: false,
            clock: self.clock.clone(),
            ledger: self.ledger.clone(),
            woken: Arc::default(),
            downstream: BytesMut::new(),
            upstream: BytesMut::new(),
        }
    }

    /// A session of `ana@local` on `bank` that is being served.
    pub fn serving(&self) -> Client {
        let token = self.token("ana");
        self.serving_with(&token.token)
    }

    /// A session on `bank` with this token that is being served. Its opening is taken out of the journal.
    pub fn serving_with(&self, token: &Secret) -> Client {
        let mut client = self.client();
        client.log_in("ana", "ignored", token);
        assert_eq!(client.connecting.as_ref().map(|connection| connection.name.as_str()), Some("bank"));
        client.connect();
        client.let_in();
        assert!(!client.closed);
        self.ledger.journal();
        client
    }

    fn renew_directory(&self) {
        let (disabled, groupless) = (self.disabled.lock().unwrap(), self.groupless.lock().unwrap());
        self.authenticator.set_directory(directory(&disabled, &groupless, &self.revoked.lock().unwrap()));
    }
}

/// One client's session, with both of its sockets in the test's hands.
pub struct Client {
    /// The session's id.
    pub id: SessionId,
    /// The connection whose upstream is to be opened.
    pub connecting: Option<Arc<Connection>>,
    /// Cancels that were asked for.
    pub cancels: Vec<CancelTarget>,
    /// Whether the driver was told to close.
    pub closed: bool,
    /// What reached the client and was not yet looked at.
    pub received: Vec<u8>,
    /// What reached the upstream and was not yet looked at.
    pub asked: Vec<u8>,
    /// Whether both sockets take nothing.
    pub hang: bool,
    pipeline: Option<Pipeline>,
    /// Appends what the session hands in.
    gathering: Pin<Box<dyn Future<Output = ()> + Send>>,
    clock: Clock,
    ledger: MemoryLedger,
    woken: Arc<Woken>,
    downstream: BytesMut,
    upstream: BytesMut,
}

impl Client {
    /// The client sends.
    pub fn send(&mut self, bytes: &[u8]) {
        self.downstream.extend_from_slice(bytes);
        self.input(Side::Downstream, bytes.len());
    }

    /// The upstream sends.
    pub fn answer(&mut self, bytes: &[u8]) {
        self.upstream.extend_from_slice(bytes);
        self.input(Side::Upstream, bytes.len());
    }

    /// One side goes.
    pub fn eof(&mut self, from: Side) {
        self.pipeline().handle_eof(from);
        self.turn();
    }

    /// The client sends a login of the multiplexed protocol.
    pub fn log_in(&mut self, user: &str, database: &str, token: &Secret) {
        self.send(&mux::login(user, database, "probe", token.expose()));
    }

    /// The upstream's socket opens.
    pub fn connect(&mut self) {
        let now = self.clock.now();
        self.pipeline().connected(Ok(Some(Secret::new("upstream-password"))), now);
        self.turn();
    }

    /// The upstream cannot be reached.
    pub fn fail_to_connect(&mut self) {
        let now = self.clock.now();
        self.pipeline().connected(Err(Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream cannot be reached")), now);
        self.turn();
    }

    /// The upstream lets the gateway in.
    pub fn let_in(&mut self) {
        self.answer(&mux::frame(0, b'O', b"\0\0\0\x2aupstream-secret"));
        self.asked.clear();
        self.received.clear();
    }

    /// The driver has closed the upstream's socket.
    pub fn leave_upstream(&mut self) {
        self.pipeline().left_upstream();
    }

    /// The driver takes turns until nothing moves, as it does when something wakes it.
    pub fn turn(&mut self) {
        self.woken.0.store(0, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut cx = Context::from_waker(&waker);
        loop {
            let now = self.clock.now();
            if self.pipeline().deadline().is_some_and(|deadline| deadline <= now) && !self.closed {
                self.pipeline().handle_timeout(now);
            }
            match self.pipeline().poll(&mut cx, now) {
                Poll::Ready(Step::StartTls(side)) => self.pipeline().tls_started(side, tls()),
                Poll::Ready(Step::DirectTls) => self.pipeline().tls_started(Side::Downstream, tls()),
                Poll::Ready(Step::Connect(connection)) => self.connecting = Some(connection),
                Poll::Ready(Step::Cancel(target)) => self.cancels.push(target),
                Poll::Ready(Step::Close | Step::Multiplex) => {
                    self.closed = true;
                    self.transmit();
                }
                Poll::Pending => {
                    self.transmit();
                    if !self.gather() {
                        return;
                    }
                }
            }
        }
    }

    /// As on a thread of sessions: what was handed in is appended after they have had their turn, and may give them another.
    fn gather(&mut self) -> bool {
        let before = self.woken.0.swap(0, Ordering::Relaxed);
        assert!(self.gathering.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        self.woken.0.swap(before, Ordering::Relaxed) > 0
    }

    /// Whether something has asked for another turn since the last one.
    pub fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed) > 0
    }

    /// The session's task is dropped where it stands.
    pub fn abandon(&mut self) {
        self.pipeline = None;
    }

    /// What reached the client: each frame as `stream kind payload`; takes it.
    pub fn heard(&mut self) -> Vec<String> {
        read(&std::mem::take(&mut self.received))
    }

    /// What reached the upstream, likewise.
    pub fn asked(&mut self) -> Vec<String> {
        read(&std::mem::take(&mut self.asked))
    }

    fn pipeline(&mut self) -> &mut Pipeline {
        self.pipeline.as_mut().expect("the session was not abandoned")
    }

    fn input(&mut self, from: Side, read: usize) {
        let pipeline = self.pipeline.as_mut().expect("the session was not abandoned");
        let input = if from == Side::Downstream { &mut self.downstream } else { &mut self.upstream };
        if pipeline.wants_input(from) {
            pipeline.handle_input(from, input, read);
        }
        self.turn();
    }

    fn transmit(&mut self) {
        if self.hang {
            return;
        }
        while let Some(bytes) = self.pipeline().poll_transmit(Side::Upstream) {
            self.ledger.note(format!("-> {}", read(&bytes).join(", ")));
            self.asked.extend_from_slice(&bytes);
        }
        while let Some(bytes) = self.pipeline().poll_transmit(Side::Downstream) {
            self.ledger.note(format!("<- {}", read(&bytes).join(", ")));
            self.received.extend_from_slice(&bytes);
        }
    }
}

/// Decides by the words of the request: `forbid` is refused, `edit` is replaced, `hold` needs the approval of `dbas`; all else goes.
#[derive(Clone, Copy, Default)]
pub struct Referee;

impl Decider for Referee {
    fn decide(&self, case: &Case<'_>) -> Decision {
        let Case { connect, operation, .. } = *case;
        let text = match &operation.request {
            Request::Batch { text } | Request::Prepare { text, .. } | Request::Execute { text: Some(text), .. } => {
                String::from_utf8_lossy(text).into_owned()
            }
            Request::Execute { text: None, .. } => String::new(),
            Request::Portal { name } => String::from_utf8_lossy(name).into_owned(),
            Request::Call { target } => target.clone(),
            Request::Exchange(exchange) => exchange.path.to_string(),
            Request::Tool { tool, .. } => tool.to_string(),
        };
        match () {
            () if text.contains("forbid") => refuse(connect),
            () if text.contains("edit") => {
                Decision::Admit { facts: connect.clone(), forward: Forward::Replace("read edited".into()), mask: None }
            }
            () if text.contains("hold") && !case.approvals.contains("dbas") => {
                let facts = DecisionFacts { verdict: Verdict::Hold, ..connect.clone() };
                Decision::Hold(Hold { facts, groups: Arc::new(["dbas".into()]), reason: Some("it is risky".into()) })
            }
            () => admit(connect),
        }
    }
}

/// It goes ahead.
pub fn admit(facts: &DecisionFacts) -> Decision {
    Decision::Admit { facts: facts.clone(), forward: Forward::Original, mask: None }
}

/// It does not.
pub fn refuse(facts: &DecisionFacts) -> Decision {
    Decision::Refuse {
        facts: DecisionFacts { verdict: Verdict::Deny, ..facts.clone() },
        refusal: Refusal::new(RefusalKind::NotPermitted, "policy says no"),
    }
}

/// Facts of a permit.
pub fn permitted() -> DecisionFacts {
    DecisionFacts {
        verdict: Verdict::Permit,
        would: None,
        policies: Arc::new([]),
        policy_hash: "0".into(),
        reason: None,
        ..DecisionFacts::default()
    }
}

/// Consents in memory.
#[derive(Default)]
struct MemoryConsents(Mutex<HashSet<ApprovalId>>);

impl Consents for MemoryConsents {
    fn keep(&self, consent: &Consent) -> Result<(), ConsentsFailed> {
        self.0.lock().unwrap().insert(consent.id);
        Ok(())
    }

    fn forget(&self, id: ApprovalId) -> Result<(), ConsentsFailed> {
        self.0.lock().unwrap().remove(&id);
        Ok(())
    }

    fn expire(&self, _: Timestamp) -> Result<(), ConsentsFailed> {
        Ok(())
    }

    fn spend(&self, id: ApprovalId) -> Pin<Box<dyn Future<Output = Result<bool, ConsentsFailed>> + Send>> {
        let spent = self.0.lock().unwrap().remove(&id);
        Box::pin(async move { Ok(spent) })
    }
}

impl Grants for MemoryConsents {
    fn keep(&self, grant: &Grant) -> Result<(), GrantsFailed> {
        self.0.lock().unwrap().insert(grant.id);
        Ok(())
    }

    fn note_time(&self, _: Timestamp) -> Result<(), GrantsFailed> {
        Ok(())
    }

    fn forget(&self, id: ApprovalId) -> Result<(), GrantsFailed> {
        self.0.lock().unwrap().remove(&id);
        Ok(())
    }
}

/// Counts wakes.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The issuer's keys, there for the asking.
struct LateKeys {
    authenticator: Arc<Authenticator>,
    jwks: String,
}

impl Providers for LateKeys {
    fn run(&self, errand: Errand, _: Secret) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (Errand::Keys { issuer, .. } | Errand::Groups { issuer }) = errand;
        let (authenticator, keys) = (Arc::clone(&self.authenticator), KeySet::parse_jwks(self.jwks.as_bytes()).unwrap());
        Box::pin(async move { authenticator.set_keys(&issuer, keys) })
    }
}

fn read(bytes: &[u8]) -> Vec<String> {
    let text = |(stream, kind, payload): (u32, u8, bytes::Bytes)| {
        format!("{stream} {} {}", char::from(kind), payload.escape_ascii()).trim_end().to_owned()
    };
    mux::frames(bytes).into_iter().map(text).collect()
}

fn policy(text: &str) -> PolicySet {
    PolicySet::load(&[("test.cedar".to_owned(), text.to_owned())], "local").unwrap_or_else(|errors| panic!("{errors}"))
}

fn connection(name: &str, setup: &Setup) -> Connection {
    Connection {
        name: name.parse().unwrap(),
        kind: "mux",
        host: "upstream.test".to_owned(),
        port: 1,
        database: name.to_owned(),
        user: "gateway".to_owned(),
        password: None,
        shown: claviger_protocols::Shown::Password,
        tls: UpstreamTlsPolicy::Disable,
        http2: false,
        tls_ca: None,
        max_protocol_version: claviger_protocols::postgres::Version::default(),
        channel_binding: claviger_protocols::ChannelBinding::default(),
        tls_identity: None,
        mode: setup.mode,
        labels: vec!["environment.production".into()],
        durability: setup.durability,
        recording: setup.recording,
        upstream_connections: setup.upstream_connections,
        classification: Arc::default(),
        waits_for_approval: true,
        catalog_max_age: Duration::from_secs(1),
        detect: None,
        contents: ContentRules::default(),
    }
}

fn directory(disabled: &HashSet<String>, groupless: &HashSet<String>, revoked: &[Arc<str>]) -> Directory {
    let local = |subject: &str| PrincipalKey::new("local", subject);
    let known = |subject: &str, kind, groups: &[&str], sponsor: Option<&str>| Registered {
        kind,
        groups: groups.iter().filter(|_| !groupless.contains(subject)).map(|group| Arc::from(*group)).collect(),
        sponsor: sponsor.map(local),
        disabled: disabled.contains(subject),
    };
    let directory = Directory::new("local")
        .with_principal(local("ana"), known("ana", PrincipalKind::User, &["engineers"], None))
        .with_principal(local("bot"), known("bot", PrincipalKind::Workload, &["engineers"], Some("ana")))
        .with_principal(local("eve"), known("eve", PrincipalKind::User, &[], None))
        .with_principal(local("dana"), known("dana", PrincipalKind::User, &["dbas"], None))
        .with_delegation(local("bot"), local("ana"));
    revoked.iter().fold(directory, |directory, token| directory.with_revoked("local", Arc::clone(token)))
}

fn trusted() -> TrustedIssuer {
    TrustedIssuer { clock_skew: 0, act_believed: true, ..TrustedIssuer::new("local", ISSUER, AUDIENCE) }
}

/// An Ed25519 key (RFC 8410 section 7) that is the same in every run.
fn signing_key() -> SigningKey {
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    SigningKey::from_pkcs8(&Secret::new([head.as_slice(), [42; 32].as_slice()].concat())).unwrap()
}

/// Bytes that are never the same twice, and the same in every run.
fn fill(bytes: &mut [u8], count: u64) {
    bytes.iter_mut().zip(count.to_be_bytes().into_iter().rev().cycle()).for_each(|(byte, value)| *byte = value);
}

/// What comes of starting TLS.
fn tls() -> TlsFacts {
    TlsFacts { version: "TLSv1.3".into(), certificates: Vec::new() }
}
