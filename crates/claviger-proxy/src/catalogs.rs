//! Keeping the upstreams' catalogs fresh.
//!
//! For each upstream that is asked of, one task has an upstream session of its own. While there is traffic it asks, about once in the
//! time that a snapshot may grow old, whether anything has changed, and reads the whole catalog only if so. Whoever decides looks at
//! the last snapshot and waits only if it has grown too old, or is known to be out of date. With nobody looking the task lets its
//! session go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use claviger_model::Refusal;
use claviger_session::{CatalogKeeper, Catalogs, Connection, Fit, FreshSnapshot, Gateway, Rules, Snapshot, fits};
use claviger_sql::{Binding, Catalog, Classification, FINGERPRINT, QUESTION, QUESTION_AGAIN, SNAPSHOT};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::Upstreams;
use crate::ask::{Asking, login_of, refused, unavailable};

/// How long one look at an upstream's catalog may take.
const LOOK: Duration = Duration::from_secs(10);
/// After nobody has looked for so long, the session is let go.
const IDLE: Duration = Duration::from_secs(30);
/// A look that failed stands for so long, so that an upstream that is down is not asked by every statement.
const FAILURE: Duration = Duration::from_millis(250);
/// Settings of such a session. To compile its questions would take longer than to answer them. What is locked is not asked for, so a lock is
/// waited for only if somebody took it just after that was looked up: then it is looked up again, before the server thinks of a deadlock.
const SETTINGS: &str = "select pg_catalog.set_config('jit', 'off', false), pg_catalog.set_config('lock_timeout', '250ms', false), \
    pg_catalog.set_config('statement_timeout', '9s', false)";
/// The SQLSTATEs of a lock that was not to be had in time, or not without a deadlock.
const LOCKED: [&str; 2] = ["55P03", "40P01"];
/// How often the catalog is asked for before somebody's locks are too quick.
const TRIES: usize = 12;
/// Which database this is, whatever it is called.
const DATABASE: &str =
    "select d.oid from pg_catalog.pg_database d where d.datname operator(pg_catalog.=) pg_catalog.current_database()";
/// Keepers of upstreams that no connection leads to any more are forgotten when there are more than so many.
const MOST: usize = 1000;

/// Remembers what the names of labels have stood for, so that what is renamed while no gateway runs keeps its labels. May block.
pub trait Bindings: Send + Sync + 'static {
    /// What is known of a database.
    fn load(&self, database: &str) -> Result<Vec<Binding>, String>;
    /// Keeps what is known of it now.
    fn keep(&self, database: &str, bindings: &[Binding]) -> Result<(), String>;
}

/// The keepers of all upstreams.
pub struct KeptCatalogs {
    runtime: Handle,
    upstreams: Arc<Upstreams>,
    bindings: Arc<dyn Bindings>,
    gateway: OnceLock<Weak<Gateway>>,
    keepers: Mutex<Vec<(Arc<Connection>, Arc<Keeper>)>>,
}

impl KeptCatalogs {
    /// Keeps catalogs by tasks of the runtime that this is called in. They ask nothing before [`serve`](Self::serve).
    pub fn new(upstreams: Arc<Upstreams>, bindings: Arc<dyn Bindings>) -> Self {
        Self { runtime: Handle::current(), upstreams, bindings, gateway: OnceLock::new(), keepers: Mutex::default() }
    }

    /// The gateway that asks.
    pub fn serve(&self, gateway: &Arc<Gateway>) {
        _ = self.gateway.set(Arc::downgrade(gateway));
    }
}

impl Catalogs for KeptCatalogs {
    fn of(&self, connection: &Arc<Connection>) -> Arc<dyn CatalogKeeper> {
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keeper)) = keepers.iter().find(|(known, _)| is_same_catalog(known, connection)) {
            return Arc::clone(keeper) as Arc<dyn CatalogKeeper>;
        }
        if keepers.len() >= MOST {
            // Its task ends with the last session that looks at it.
            keepers.remove(0);
        }
        let keeper = Arc::new(Keeper::new(connection.catalog_max_age));
        let task = Task {
            keeper: Arc::downgrade(&keeper),
            wanted: Arc::clone(&keeper.wanted),
            connection: Arc::clone(connection),
            upstreams: Arc::clone(&self.upstreams),
            gateway: self.gateway.get().cloned().unwrap_or_default(),
            memory: Memory { bindings: Arc::clone(&self.bindings), database: None, kept: Vec::new() },
            asking: None,
            misfits: Vec::new(),
            judged: None,
            quiet_since: None,
        };
        self.runtime.spawn(task.run());
        keepers.push((Arc::clone(connection), Arc::clone(&keeper)));
        keeper
    }
}

/// Whether two connections lead to the same catalog, seen by the same role, with the same labels on it.
fn is_same_catalog(a: &Connection, b: &Connection) -> bool {
    let numbers = |one: &Connection| (one.port, one.tls, one.channel_binding, one.max_protocol_version, one.catalog_max_age);
    numbers(a) == numbers(b)
        && (&a.host, &a.database, &a.user) == (&b.host, &b.database, &b.user)
        && (&a.password, &a.tls_ca, &a.tls_identity) == (&b.password, &b.tls_ca, &b.tls_identity)
        && a.classification == b.classification
}

/// The catalog of one upstream.
struct Keeper {
    began: Instant,
    max_age: Duration,
    state: ArcSwap<State>,
    /// What was asked before this, in microseconds since the keeper began, is out of date.
    valid_from: AtomicU64,
    wanted: Arc<Notify>,
    looked: watch::Sender<u64>,
}

/// What came of the last look.
struct State {
    snapshot: Option<Snapshot>,
    /// When the question was put that said so.
    asked: Instant,
    failed: Option<Arc<str>>,
}

impl Keeper {
    fn new(max_age: Duration) -> Self {
        let began = Instant::now();
        Self {
            began,
            max_age,
            state: ArcSwap::from_pointee(State { snapshot: None, asked: began, failed: None }),
            valid_from: AtomicU64::new(0),
            wanted: Arc::default(),
            looked: watch::Sender::new(0),
        }
    }

    fn since_beginning(&self, when: Instant) -> u64 {
        u64::try_from(when.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether nothing is known to have changed since this was asked.
    fn is_up_to_date(&self, state: &State) -> bool {
        self.since_beginning(state.asked) >= self.valid_from.load(Ordering::Acquire)
    }

    /// Whether it is also young enough.
    fn is_valid(&self, state: &State, now: Instant) -> bool {
        self.is_up_to_date(state) && now.saturating_duration_since(state.asked) <= self.max_age
    }

    fn found(&self, asked: Instant, snapshot: Option<Snapshot>, failed: Option<Arc<str>>) {
        self.state.store(Arc::new(State { snapshot, asked, failed }));
        self.looked.send_modify(|count| *count += 1);
    }
}

impl CatalogKeeper for Keeper {
    fn current(&self, now: Instant) -> Option<Snapshot> {
        let state = self.state.load();
        let valid = self.is_valid(&state, now);
        if !valid || now.saturating_duration_since(state.asked) * 4 > self.max_age * 3 {
            self.wanted.notify_one();
        }
        state.snapshot.clone().filter(|_| valid && state.failed.is_none())
    }

    fn fresh(self: Arc<Self>) -> FreshSnapshot {
        let (state, now) = (self.state.load_full(), Instant::now());
        if let Some(why) = state.failed.clone().filter(|_| now.saturating_duration_since(state.asked) < FAILURE) {
            return Box::pin(std::future::ready(Err(why)));
        }
        Box::pin(async move {
            let mut looked = self.looked.subscribe();
            let waiting = timeout(LOOK * 2, async {
                loop {
                    let state = self.state.load_full();
                    let began_since = state.asked >= now && self.is_up_to_date(&state);
                    match (&state.snapshot, &state.failed) {
                        (Some(snapshot), None) if began_since || self.is_valid(&state, Instant::now()) => {
                            return Ok(snapshot.clone());
                        }
                        (_, Some(why)) if state.asked >= now => return Err(Arc::clone(why)),
                        _ => {}
                    }
                    self.wanted.notify_one();
                    // A look that is under way may have begun too early; then another follows.
                    if looked.changed().await.is_err() {
                        return Err("the gateway is stopping".into());
                    }
                }
            });
            waiting.await.unwrap_or_else(|_| Err("the upstream's catalog takes too long to be read".into()))
        })
    }

    fn invalidate(&self) {
        let now = self.since_beginning(Instant::now());
        self.valid_from.fetch_max(now + 1, Ordering::AcqRel);
    }
}

/// What looks at one upstream, when it is wanted to.
struct Task {
    keeper: Weak<Keeper>,
    wanted: Arc<Notify>,
    connection: Arc<Connection>,
    upstreams: Arc<Upstreams>,
    gateway: Weak<Gateway>,
    memory: Memory,
    asking: Option<Asking>,
    /// Columns whose methods do not fit them, as was said last, and the catalog and rules that it was said of.
    misfits: Vec<String>,
    judged: Option<(Arc<Catalog>, Arc<Rules>)>,
    /// The server's snapshot in which the catalog was last seen to be the one that is known, on the same session.
    quiet_since: Option<Bytes>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let wanted = timeout(IDLE, self.wanted.notified()).await;
            let (Some(keeper), Some(gateway)) = (self.keeper.upgrade(), self.gateway.upgrade()) else { break };
            match wanted {
                Ok(()) => self.look(&keeper, &gateway).await,
                Err(_) => self.let_go().await,
            }
        }
        self.let_go().await;
    }

    async fn let_go(&mut self) {
        if let Some(asking) = self.asking.take() {
            // However it ends, the socket is closed.
            _ = timeout(LOOK, asking.close()).await;
        }
    }

    async fn look(&mut self, keeper: &Keeper, gateway: &Gateway) {
        let (asked, last) = (Instant::now(), keeper.state.load_full());
        let known = Last { snapshot: last.snapshot.as_ref(), is_over: !keeper.is_up_to_date(&last), is_new: false };
        let looking = timeout(LOOK, self.look_again(gateway, known));
        let found = looking.await.unwrap_or_else(|_| Err(unavailable("the upstream took too long")));
        let name = &self.connection.name;
        match found {
            Ok(None) => keeper.found(asked, last.snapshot.clone(), None),
            Ok(Some(catalog)) => {
                let known = last.snapshot.as_ref().map(|snapshot| snapshot.catalog.unmatched());
                if !catalog.unmatched().is_empty() && known != Some(catalog.unmatched()) {
                    let names = catalog.unmatched().join(", ");
                    tracing::warn!(connection = %name, names, "labels are given to what is not in the catalog");
                }
                keeper.found(asked, Some(Snapshot::new(catalog)), None);
            }
            Err(refusal) => {
                self.asking = None;
                if last.failed.is_none() {
                    tracing::error!(connection = %name, reason = %refusal, "the catalog cannot be read: statements are refused");
                }
                keeper.found(asked, last.snapshot.clone(), Some(refusal.message.into()));
                return;
            }
        }
        if last.failed.is_some() {
            tracing::info!(connection = %name, "the catalog can be read again");
        }
        // What could not be read has whatever labels there are.
        if let Some(snapshot) = keeper.state.load().snapshot.as_ref().filter(|snapshot| !snapshot.catalog.is_partial()) {
            self.complain_of_misfits(&snapshot.catalog, &gateway.rules());
        }
    }

    /// Says once which columns cannot be masked as they should, so that nobody has to ask for them to find out.
    fn complain_of_misfits(&mut self, catalog: &Arc<Catalog>, rules: &Arc<Rules>) {
        let same = |(known, by): &(Arc<Catalog>, Arc<Rules>)| Arc::ptr_eq(known, catalog) && Arc::ptr_eq(by, rules);
        if self.judged.as_ref().is_some_and(same) {
            return;
        }
        self.judged = Some((Arc::clone(catalog), Arc::clone(rules)));
        let misfits: Vec<String> = fits(rules.masks.methods(), catalog).iter().filter_map(Fit::complaint).collect();
        for reason in misfits.iter().filter(|reason| !self.misfits.contains(reason)) {
            tracing::error!(connection = %self.connection.name, reason, "statements that would show a column are refused");
        }
        self.misfits = misfits;
    }

    /// The catalog, if it is another than the last. A session that was kept may have been closed meanwhile, so that is tried twice.
    async fn look_again(&mut self, gateway: &Gateway, last: Last<'_>) -> Result<Option<Catalog>, Refusal> {
        if let Some(asking) = &mut self.asking
            && let Ok(found) = ask(asking, &self.connection, last, &mut self.quiet_since, &mut self.memory).await
        {
            return Ok(found);
        }
        (self.asking, self.quiet_since) = (None, None);
        let mut asking = Asking::open(&self.upstreams, &self.connection, login_of(gateway, &self.connection)).await?;
        asking.ask(SETTINGS).await?;
        // It may be another server by now, whose own things are others.
        let last = Last { is_new: true, ..last };
        let found = ask(&mut asking, &self.connection, last, &mut self.quiet_since, &mut self.memory).await?;
        self.asking = Some(asking);
        Ok(found)
    }
}

/// What is known when a look begins.
#[derive(Clone, Copy)]
struct Last<'s> {
    snapshot: Option<&'s Snapshot>,
    /// Whether it is known that something has changed since.
    is_over: bool,
    /// Whether the session that asks has asked nothing before.
    is_new: bool,
}

async fn ask(
    asking: &mut Asking,
    connection: &Connection,
    last: Last<'_>,
    quiet_since: &mut Option<Bytes>,
    memory: &mut Memory,
) -> Result<Option<Catalog>, Refusal> {
    let Last { snapshot: last, is_over, is_new } = last;
    // What could not be read may be there to be read now, whatever has changed.
    if let Some(last) = last.filter(|last| !is_over && !last.catalog.is_partial()) {
        // Where nobody writes, nothing can have changed.
        if quiet_since.is_some() && *quiet_since == value(asking.ask(SNAPSHOT).await?, 0) {
            return Ok(None);
        }
        let answer = asking.ask(&format!("select ({FINGERPRINT}), ({SNAPSHOT})")).await?;
        *quiet_since = value(answer.clone(), 1);
        if value(answer, 0).as_deref() == Some(last.catalog.fingerprint().as_bytes()) {
            return Ok(None);
        }
    }
    *quiet_since = None;
    let rows = if last.is_some() && !is_new { whole(asking, &QUESTION_AGAIN).await? } else { whole(asking, QUESTION).await? };
    // What was classified stays so, whatever it is called now.
    let classification = match last {
        Some(last) => Arc::new(connection.classification.bound_by(&last.catalog)),
        None if connection.classification.is_empty() => Arc::clone(&connection.classification),
        None => {
            Arc::new(Classification::clone(&connection.classification).with_bindings(memory.recall(asking, connection).await?))
        }
    };
    let before = last.map(|last| Arc::clone(&last.catalog));
    let read = tokio::task::spawn_blocking(move || Catalog::read(&rows, &classification, before.as_deref())).await;
    let read = read.map_err(|_| unavailable("the upstream's catalog could not be read"))?;
    let catalog = read.map_err(|error| unavailable(&error.to_string()))?;
    memory.note(catalog.bindings()).await;
    Ok(Some(catalog))
}

/// The whole catalog, but for what others keep locked.
async fn whole(asking: &mut Asking, question: &'static str) -> Result<Vec<Vec<Option<Bytes>>>, Refusal> {
    for _ in 1..TRIES {
        match asking.put(question.into()).await? {
            Err(code) if LOCKED.contains(&&*code) => {}
            Ok(rows) => return Ok(rows),
            Err(code) => return Err(refused(&code)),
        }
    }
    asking.ask(question).await
}

/// What the names of labels have stood for in one database.
struct Memory {
    bindings: Arc<dyn Bindings>,
    /// The database, once it is known: where it is, and its OID there, so that another of the same name is another.
    database: Option<Arc<str>>,
    /// What is kept of it.
    kept: Vec<Binding>,
}

impl Memory {
    async fn recall(&mut self, asking: &mut Asking, connection: &Connection) -> Result<Vec<Binding>, Refusal> {
        let oid = value(asking.ask(DATABASE).await?, 0).ok_or_else(|| unavailable("the upstream has no such database"))?;
        let (Connection { host, port, database, .. }, oid) = (connection, String::from_utf8_lossy(&oid));
        let database: Arc<str> = format!("{host}:{port}/{database}/{oid}").into();
        let (bindings, of) = (Arc::clone(&self.bindings), Arc::clone(&database));
        let loaded = tokio::task::spawn_blocking(move || bindings.load(&of)).await;
        let loaded = loaded.unwrap_or_else(|_| Err("the store failed".to_owned()));
        self.kept = loaded.map_err(|error| unavailable(&format!("what labels stand for cannot be read: {error}")))?;
        self.database = Some(database);
        Ok(self.kept.clone())
    }

    /// Keeps what is known now. What cannot be kept is known as long as the gateway runs.
    async fn note(&mut self, now: Vec<Binding>) {
        let Some(database) = self.database.clone().filter(|_| now != self.kept) else { return };
        self.kept.clone_from(&now);
        let bindings = Arc::clone(&self.bindings);
        let kept = tokio::task::spawn_blocking(move || bindings.keep(&database, &now)).await;
        if let Err(error) = kept.unwrap_or_else(|_| Err("the store failed".to_owned())) {
            tracing::error!(error, "what labels stand for cannot be kept: what is renamed while no gateway runs loses them");
        }
    }
}

/// One value of the first row.
fn value(rows: Vec<Vec<Option<Bytes>>>, column: usize) -> Option<Bytes> {
    rows.into_iter().next()?.into_iter().nth(column)?
}
