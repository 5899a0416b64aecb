//! Seeing changes, whoever makes them: this process, or the command line beside a running gateway.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claviger_identity::{Directory, Registered};
use rusqlite::Connection;
use tokio::sync::watch;

use crate::principals::{read_delegations, read_principals};
use crate::tokens::read_revocations;
use crate::{Store, StoreError};

/// How often another process's changes are looked for. A revocation must take effect within two seconds.
const POLL: Duration = Duration::from_millis(200);

/// When all looks have failed for so long, what was seen before is too old to go by.
const BLIND: Duration = Duration::from_secs(2);

impl Store {
    /// What is known of principals, delegations and revoked tokens at this moment.
    pub fn directory(&self) -> Result<Directory, StoreError> {
        Ok(snapshot(&mut self.db(), &self.shared.local_issuer)?.1)
    }

    /// Yields the directory at this moment, and another whenever it or the set of signing keys has changed: at once after a
    /// change through this store, within a fifth of a second after one by another process. Ends with the store, or when it cannot
    /// be read for two seconds.
    pub fn watch(&self) -> Result<watch::Receiver<Arc<Directory>>, StoreError> {
        let mut db = self.reader()?;
        // Registered before the first look, so that no change falls between.
        let changes = self.shared.watchers.register();
        let mut seen = Seen { version: data_version(&db)?, epoch: 0 };
        let (epoch, directory) = snapshot(&mut db, &self.shared.local_issuer)?;
        seen.epoch = epoch;
        let (sender, receiver) = watch::channel(Arc::new(directory));
        let local_issuer = Arc::clone(&self.shared.local_issuer);
        let thread = std::thread::Builder::new().name("store-watch".into());
        let run = move || follow(&mut db, &local_issuer, seen, &changes, &sender);
        thread.spawn(run).map_err(|source| StoreError::File { path: self.shared.data.clone(), source })?;
        Ok(receiver)
    }

    /// Tells the watchers of this process.
    pub(crate) fn changed(&self) {
        self.shared.watchers.wake();
    }
}

/// Those who want to be woken by a change in this process.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<Vec<SyncSender<()>>>);

impl Watchers {
    fn register(&self) -> Receiver<()> {
        let (sender, receiver) = sync_channel(1);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    fn wake(&self) {
        // One that has not yet taken up the last call will see this change as well.
        let lives = |watcher: &SyncSender<()>| watcher.try_send(()) != Err(TrySendError::Disconnected(()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(lives);
    }
}

struct Seen {
    /// Changes with every commit of another connection, and costs nothing to ask.
    version: i64,
    /// Changes only with what matters here.
    epoch: i64,
}

fn follow(db: &mut Connection, local: &Arc<str>, mut seen: Seen, changes: &Receiver<()>, out: &watch::Sender<Arc<Directory>>) {
    let mut failing: Option<Instant> = None;
    while failing.is_none_or(|since| since.elapsed() < BLIND) {
        if changes.recv_timeout(POLL) == Err(RecvTimeoutError::Disconnected) || out.is_closed() {
            return;
        }
        match look(db, local, &mut seen) {
            Ok(changed) => {
                failing = None;
                if let Some(directory) = changed {
                    out.send_replace(Arc::new(directory));
                }
            }
            // What was seen stays as it was, so the next look tries again.
            Err(error) => {
                tracing::error!(%error, "changes of the store cannot be read");
                failing.get_or_insert_with(Instant::now);
            }
        }
    }
}

fn look(db: &mut Connection, local_issuer: &Arc<str>, seen: &mut Seen) -> Result<Option<Directory>, StoreError> {
    let version = data_version(db)?;
    if version == seen.version {
        return Ok(None);
    }
    let changed = if read_epoch(db)? == seen.epoch { None } else { Some(snapshot(db, local_issuer)?) };
    seen.version = version;
    Ok(changed.map(|(epoch, directory)| {
        seen.epoch = epoch;
        directory
    }))
}

/// The directory, and the epoch to which it belongs.
fn snapshot(db: &mut Connection, local_issuer: &Arc<str>) -> Result<(i64, Directory), StoreError> {
    let transaction = db.transaction()?;
    let epoch = read_epoch(&transaction)?;
    let mut directory = Directory::new(Arc::clone(local_issuer));
    for principal in read_principals(&transaction)? {
        let registered = Registered {
            kind: principal.kind,
            groups: principal.groups,
            sponsor: principal.sponsor,
            disabled: principal.disabled.is_some(),
        };
        directory = directory.with_principal(principal.key, registered);
    }
    for delegation in read_delegations(&transaction)? {
        directory = directory.with_delegation(delegation.actor, delegation.subject);
    }
    for (issuer, token) in read_revocations(&transaction)? {
        directory = directory.with_revoked(issuer, token);
    }
    Ok((epoch, directory))
}

fn read_epoch(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.query_row("SELECT epoch FROM change", [], |row| row.get(0))?)
}

fn data_version(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.pragma_query_value(None, "data_version", |row| row.get(0))?)
}
