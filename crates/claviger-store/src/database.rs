//! The database file: how it is opened, locked and brought to the present format.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;
use crate::queue::Queue;
use crate::watch::Watchers;

/// How long to wait for another process that is writing.
const BUSY: Duration = Duration::from_secs(5);

/// Each brings the database from the format of its index to the next.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
    include_str!("schema/9.sql"),
    include_str!("schema/10.sql"),
    include_str!("schema/11.sql"),
];

/// What the gateway keeps apart from its log: principals, delegations, tokens, signing keys and the index of sessions.
///
/// A clone is another handle on the same store. Calls block on the disk, so asynchronous callers put them on a thread for
/// blocking work; only [`Store::session_opened`], [`Store::session_closed`] and [`Store::post`] return at once.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) data: PathBuf,
    pub(crate) local_issuer: Arc<str>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) watchers: Watchers,
    pub(crate) index: Queue,
    pub(crate) outbox: Queue,
}

/// The one connection that writes in this process.
pub(crate) struct Writer(Mutex<Connection>);

impl Store {
    /// Opens `claviger.db` in the data directory, or creates both. The name is that of the local issuer.
    pub fn open(data: &Path, local_issuer: &str) -> Result<Self, StoreError> {
        let file = |path: &Path, source| StoreError::File { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|error| file(data, error))?;
        let path = data.join("claviger.db");
        // SQLite gives its journal files the mode of the database, so the database must have it first.
        let created = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        created.map_err(|error| file(&path, error))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(|error| file(&path, error))?;
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        migrate(&mut connection)?;
        Ok(Self {
            shared: Arc::new(Shared {
                data: data.to_owned(),
                local_issuer: local_issuer.into(),
                writer: Arc::new(Writer(Mutex::new(connection))),
                watchers: Watchers::default(),
                index: Queue::new("session-index"),
                outbox: Queue::new("outbox"),
            }),
        })
    }

    pub(crate) fn db(&self) -> MutexGuard<'_, Connection> {
        self.shared.writer.lock()
    }

    /// A connection of its own for a reader.
    pub(crate) fn reader(&self) -> Result<Connection, StoreError> {
        connect(&self.shared.data.join("claviger.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)
    }
}

impl Writer {
    /// A panic elsewhere leaves the connection usable: an open transaction was rolled back as it unwound.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A revocation that was acknowledged must survive a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    // Two processes may open a new store at once, so the version is read under the lock.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let pending = usize::try_from(version).ok().and_then(|done| MIGRATIONS.get(done..)).ok_or(StoreError::Newer(version))?;
    for migration in pending {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    Ok(transaction.commit()?)
}
