//! The live sessions: to list them, to end them, and to find the one that a cancel request means.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use claviger_identity::{Denied, Identity};
use claviger_model::{Chain, ConnectionName, Refusal, RefusalKind, SessionId, Timestamp};
use claviger_protocols::{BackendKey, Cancel};

use crate::Connection;

/// The live sessions.
#[derive(Default)]
pub struct Registry {
    sessions: Mutex<HashMap<SessionId, Arc<Live>>>,
    cancels: Mutex<HashMap<Cancel, (Arc<Live>, BackendKey)>>,
    observer: OnceLock<Arc<dyn SessionObserver>>,
}

/// Hears of sessions as they begin and end, as an index of them does. Must not block.
pub trait SessionObserver: Send + Sync + 'static {
    /// A session has begun.
    fn opened(&self, session: &SessionInfo);
    /// A session has ended, for this reason: `client`, `upstream`, or the gateway's stable code.
    fn closed(&self, session: &SessionInfo, at: Timestamp, reason: &str);
}

/// What is known of a live session.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// Who.
    pub chain: Chain,
    /// To what.
    pub connection: ConnectionName,
    /// From where.
    pub client: SocketAddr,
    /// What the client calls itself.
    pub application: Option<Arc<str>>,
    /// Since when.
    pub opened: Timestamp,
    /// Operations so far.
    pub operations: u64,
    /// When its token expires.
    pub expires: Timestamp,
    /// The process that serves it upstream, where that has a number.
    pub process: Option<i32>,
}

/// A live session, as the registry and its own pipeline share it.
pub(crate) struct Live {
    pub(crate) id: SessionId,
    pub(crate) identity: Identity,
    pub(crate) connection: Arc<Connection>,
    pub(crate) client: SocketAddr,
    pub(crate) application: Option<Arc<str>>,
    pub(crate) opened: Timestamp,
    pub(crate) operations: AtomicU64,
    /// The process that serves the session upstream, where that has a number.
    pub(crate) process: Option<i32>,
    /// What the client has set at once.
    pub(crate) settings: Vec<(String, Bytes)>,
    orders: Mutex<Orders>,
}

/// What somebody outside wants of a session.
pub(crate) enum Order {
    /// It is to end at once.
    End(Refusal, &'static str),
    /// It is to end when nothing is under way.
    WindUp(Refusal, &'static str),
    /// It is to look at its deadlines again.
    Rearm,
}

/// The order in place, and who must hear of it.
#[derive(Default)]
struct Orders {
    order: Option<Order>,
    /// What is asked for and has not left is to be given up.
    cancel: bool,
    /// It is to look whether it may go on.
    recheck: bool,
    waker: Option<Waker>,
}

impl Registry {
    /// Names who is to hear of sessions. Only the first call counts.
    pub fn observe(&self, observer: Arc<dyn SessionObserver>) {
        let _ = self.observer.set(observer);
    }

    /// Every live session, oldest first.
    pub fn list(&self) -> Vec<SessionInfo> {
        let mut all: Vec<_> = lock(&self.sessions).values().map(|live| live.info()).collect();
        all.sort_by_key(|info| info.id);
        all
    }

    /// One live session.
    pub fn get(&self, id: SessionId) -> Option<SessionInfo> {
        lock(&self.sessions).get(&id).map(|live| live.info())
    }

    /// How many sessions are live.
    pub fn len(&self) -> usize {
        lock(&self.sessions).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The processes that serve live sessions on an upstream.
    pub fn processes(&self, host: &str, port: u16) -> HashSet<i32> {
        let here = |live: &&Arc<Live>| live.connection.host == host && live.connection.port == port;
        lock(&self.sessions).values().filter(here).filter_map(|live| live.process).collect()
    }

    /// Ends a session: its client gets the refusal, its record the code. False if there is no such session.
    pub fn kill(&self, id: SessionId, refusal: Refusal, code: &'static str) -> bool {
        self.order(id, Order::End(refusal, code))
    }

    /// Ends a session in the same way, but not before what is under way has ended, for which it has the time that draining
    /// gives. False if there is no such session.
    pub fn wind_up(&self, id: SessionId, refusal: Refusal, code: &'static str) -> bool {
        self.order(id, Order::WindUp(refusal, code))
    }

    fn order(&self, id: SessionId, order: Order) -> bool {
        let live = lock(&self.sessions).get(&id).cloned();
        live.is_some_and(|live| {
            live.order(order);
            true
        })
    }

    /// Ends every session with this refusal, as when the gateway stops.
    pub fn kill_all(&self, refusal: &Refusal, code: &'static str) {
        for live in self.snapshot() {
            live.order(Order::End(refusal.clone(), code));
        }
    }

    pub(crate) fn wind_up_all(&self, refusal: &Refusal, code: &'static str) {
        for live in self.snapshot() {
            live.order(Order::WindUp(refusal.clone(), code));
        }
    }

    /// Every session that fits looks at once whether it may go on.
    pub(crate) fn recheck_where(&self, fits: impl Fn(&Live) -> bool) {
        self.snapshot().iter().filter(|live| fits(live)).for_each(|live| live.recheck());
    }

    pub(crate) fn rearm_all(&self) {
        for live in self.snapshot() {
            live.order(Order::Rearm);
        }
    }

    /// Ends every session of whose identity the test finds a reason to; returns how many.
    pub(crate) fn end_where(&self, reason: impl Fn(&Identity) -> Option<Denied>) -> usize {
        let mut ended = 0;
        for live in self.snapshot() {
            if let Some(denied) = reason(&live.identity) {
                live.order(Order::End(Refusal::new(RefusalKind::Unauthenticated, denied.to_string()), denied.code()));
                ended += 1;
            }
        }
        ended
    }

    /// Takes a session in. Fails if another session has the same cancel key, which only a repeated random secret can cause.
    pub(crate) fn insert(&self, live: Arc<Live>, cancel: Option<(Cancel, BackendKey)>) -> Result<(), Refusal> {
        if let Some((cancel, backend)) = cancel {
            let mut cancels = lock(&self.cancels);
            if cancels.contains_key(&cancel) {
                return Err(Refusal::new(RefusalKind::Internal, "the cancel key is taken; connect again"));
            }
            cancels.insert(cancel, (Arc::clone(&live), backend));
        }
        if let Some(observer) = self.observer.get() {
            observer.opened(&live.info());
        }
        lock(&self.sessions).insert(live.id, live);
        Ok(())
    }

    pub(crate) fn remove(&self, id: SessionId, cancel: Option<&Cancel>, at: Timestamp, reason: &str) {
        let live = lock(&self.sessions).remove(&id);
        cancel.map(|cancel| lock(&self.cancels).remove(cancel));
        if let (Some(live), Some(observer)) = (live, self.observer.get()) {
            observer.closed(&live.info(), at, reason);
        }
    }

    /// The upstream session that a cancel request means, if its secret is right.
    pub(crate) fn cancel(&self, cancel: &Cancel) -> Option<(Arc<Connection>, BackendKey)> {
        let (live, backend) = lock(&self.cancels).get(cancel).cloned()?;
        live.cancel();
        Some((Arc::clone(&live.connection), backend))
    }

    fn snapshot(&self) -> Vec<Arc<Live>> {
        lock(&self.sessions).values().cloned().collect()
    }
}

impl Live {
    pub(crate) fn new(
        id: SessionId,
        identity: Identity,
        connection: Arc<Connection>,
        client: SocketAddr,
        application: Option<Arc<str>>,
        opened: Timestamp,
        process: Option<i32>,
    ) -> Self {
        let (operations, orders) = (AtomicU64::new(0), Mutex::default());
        Self { id, identity, connection, client, application, opened, operations, process, settings: Vec::new(), orders }
    }

    /// The same, of a client that has set this at once.
    pub(crate) fn with_settings(self, settings: Vec<(String, Bytes)>) -> Self {
        Self { settings, ..self }
    }

    /// The order, once; until then the waker is kept.
    pub(crate) fn poll_order(&self, waker: &Waker) -> Option<Order> {
        let mut orders = lock(&self.orders);
        let order = orders.order.take();
        if order.is_none() && !orders.waker.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            orders.waker = Some(waker.clone());
        }
        order
    }

    /// Whether what has not left is to be given up, once.
    pub(crate) fn take_cancel(&self) -> bool {
        std::mem::take(&mut lock(&self.orders).cancel)
    }

    /// Whether it is to look whether it may go on, once.
    pub(crate) fn take_recheck(&self) -> bool {
        std::mem::take(&mut lock(&self.orders).recheck)
    }

    fn cancel(&self) {
        self.stir(|orders| orders.cancel = true);
    }

    pub(crate) fn recheck(&self) {
        self.stir(|orders| orders.recheck = true);
    }

    fn stir(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = lock(&self.orders);
        change(&mut orders);
        if let Some(waker) = orders.waker.take() {
            waker.wake();
        }
    }

    /// Gives an order, unless a stronger one is in place.
    fn order(&self, order: Order) {
        self.stir(|orders| match (&orders.order, &order) {
            (Some(Order::End(..)), Order::WindUp(..) | Order::Rearm) | (Some(Order::WindUp(..)), Order::Rearm) => {}
            _ => orders.order = Some(order),
        });
    }

    fn info(&self) -> SessionInfo {
        SessionInfo {
            id: self.id,
            chain: self.identity.chain.clone(),
            connection: self.connection.name.clone(),
            client: self.client,
            application: self.application.clone(),
            opened: self.opened,
            operations: self.operations.load(Ordering::Relaxed),
            expires: self.identity.expires,
            process: self.process,
        }
    }
}

/// A poisoned lock guards a map that is whole after every statement, so it can be used.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
