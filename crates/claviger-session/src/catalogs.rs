//! Snapshots of the upstreams' catalogs, as far as deciding needs them. Who reads them, and when, is the business of whoever has sockets.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use claviger_sql::Catalog;

use crate::Connection;

/// A catalog, with a number that no other has in this process.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What was read.
    pub catalog: Arc<Catalog>,
    pub(crate) id: u64,
}

impl Snapshot {
    /// A snapshot of what was just read.
    pub fn new(catalog: Catalog) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { catalog: Arc::new(catalog), id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

/// Keeps a snapshot of the catalog of each upstream that is asked of.
pub trait Catalogs: Send + Sync + 'static {
    /// The keeper of the catalog behind a connection, with the connection's labels on it.
    fn of(&self, connection: &Arc<Connection>) -> Arc<dyn CatalogKeeper>;
}

/// Keeps one catalog fresh for as long as somebody looks at it.
pub trait CatalogKeeper: Send + Sync {
    /// The snapshot, if it is fresh: not older than it may be, nor than the last [`invalidate`](Self::invalidate). Never waits; if it is
    /// about to grow too old, it is looked after meanwhile.
    fn current(&self, now: Instant) -> Option<Snapshot>;

    /// Resolves when there is a fresh snapshot, or to the reason why there is none.
    fn fresh(self: Arc<Self>) -> FreshSnapshot;

    /// The catalog has been changed: whatever was read before is stale.
    fn invalidate(&self);
}

/// A snapshot that is being seen to, or why there is none, in words that a client may see.
pub type FreshSnapshot = Pin<Box<dyn Future<Output = Result<Snapshot, Arc<str>>> + Send>>;
