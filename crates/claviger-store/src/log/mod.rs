//! The audit log in files.
//!
//! Under `<data>/audit`: `log/<first leaf>.jsonl`, the leaves; `recordings/<n>.rec`, the sealed chunks of all sessions, one
//! after the other; `checkpoints` and `checkpoint`, the signed tree heads; `log.vkey`, the key that verifies them; `state`, a
//! shortcut for opening; `recordings/keys`, wrapped data keys. Private keys are apart from it, under `<data>/keys`, so that
//! the audit directory can be copied to whoever is to verify it.
//!
//! An append is one write of chunks and one of leaves, in that order, so that a leaf never refers to a chunk that a killed
//! process did not write. One thread flushes for everybody who waits, one signs checkpoints, and only over what is flushed: a
//! signed leaf cannot be lost.

mod health;
mod keeper;
mod keys;
mod notes;
mod open_set;
mod read;
mod replay;
mod segment;
mod state;
mod writer;

use std::fs::File;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use claviger_audit::checkpoint::{Checkpoint, Origin, VerifierKey};
use claviger_audit::recording::Recorder;
use claviger_audit::{Batch, Ledger, LedgerError, Position, SessionRecorder};
use claviger_model::{BootId, SessionId, Timestamp};
use tokio::sync::broadcast;

pub use health::LogHealth;
use keeper::Shared;
use keys::{CurrentKey, Keys};
pub use read::{MAX_SESSION, ReadError, SessionRecord, read_session, verify_dir};
pub use writer::{CLOSING_ROOM, OPERATION_ROOM, SESSION_ROOM};

/// How many leaves a subscriber may lag behind before it misses some.
pub const TAIL_LEAVES: usize = 4096;

/// How a log is kept.
#[derive(Clone)]
pub struct Options {
    /// The log's name in its checkpoints; it never changes.
    pub origin: Origin,
    /// How often new leaves are signed.
    pub checkpoint_interval: Duration,
    /// How often a checkpoint is signed when there are no new leaves: proof that nothing happened.
    pub idle_interval: Duration,
    /// How long a leaf may stay unflushed when nobody waits for it.
    pub flush_delay: Duration,
    /// How long a file of the log grows, in bytes.
    pub log_file: u64,
    /// How long a file of recordings grows, in bytes.
    pub recording_file: u64,
    /// The clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Options {
    /// The defaults, for a log of this name.
    pub fn new(origin: Origin, now: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Self {
        Self {
            origin,
            checkpoint_interval: Duration::from_secs(1),
            idle_interval: Duration::from_secs(60),
            flush_delay: Duration::from_millis(50),
            log_file: 64 * 1024 * 1024,
            recording_file: 256 * 1024 * 1024,
            now,
        }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the audit log is in use by another process")]
    InUse,
    /// It has fewer leaves than were signed.
    #[error("the audit log has {found} leaves and its last checkpoint is over {signed}: it was cut back or lost data")]
    Short {
        /// Leaves in the log.
        found: u64,
        /// Leaves signed.
        signed: u64,
    },
    /// It has other leaves than were signed.
    #[error("the first {signed} leaves of the audit log are not those that its checkpoint signed: it was changed")]
    Changed {
        /// Leaves signed.
        signed: u64,
    },
    /// A leaf is not one.
    #[error("leaf {leaf} of the audit log is damaged: {detail}")]
    Damaged {
        /// Which leaf.
        leaf: u64,
        /// In what way.
        detail: String,
    },
    /// A recording is damaged otherwise than at its end.
    #[error("the recording `{path}` is damaged at byte {at}")]
    DamagedRecording {
        /// Which file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
    /// The checkpoints on disk are not this log's.
    #[error("the checkpoints on disk are damaged, or not signed by this log's key under this origin")]
    Checkpoints,
    /// The log has checkpoints and its key is gone.
    #[error("the key `{path}` is missing, and the audit log has leaves: a new key would begin another log")]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A key file is not what it should be.
    #[error("the key `{path}` is malformed")]
    KeyMalformed {
        /// Where it is.
        path: PathBuf,
    },
    /// Others may read a private key.
    #[error("the key `{path}` can be read by others: its mode must be 0600")]
    KeyExposed {
        /// Where it is.
        path: PathBuf,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// What an earlier run left behind could not be recorded.
    #[error("what an earlier run left behind cannot be recorded: {0}")]
    Recovery(LedgerError),
    /// A file could not be read or written.
    #[error("the audit storage failed: {0}")]
    Io(#[from] io::Error),
}

/// The directories of a log.
#[derive(Clone)]
struct Dirs {
    audit: PathBuf,
    log: PathBuf,
    recordings: PathBuf,
    wrapped: PathBuf,
    private: PathBuf,
}

impl Dirs {
    fn of(data: &Path) -> Self {
        let audit = data.join("audit");
        Self {
            log: audit.join("log"),
            recordings: audit.join("recordings"),
            wrapped: audit.join("recordings/keys"),
            private: data.join("keys"),
            audit,
        }
    }

    fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        [&self.log, &self.wrapped, &self.private].into_iter().try_for_each(|dir| builder.create(dir))
    }
}

/// The audit log of this gateway. Dropping it flushes, signs a last checkpoint and lets go of the files.
pub struct AuditLog {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    keys: Keys,
    current_key: Mutex<CurrentKey>,
    /// Held, not read: the lock ends with it.
    _lock: File,
}

impl AuditLog {
    /// Opens the log under a data directory, or begins one. Mends what a crash left behind and records that; the caller's
    /// first leaf is `BOOT`.
    pub fn open(data: &Path, options: Options) -> Result<Self, OpenError> {
        let dirs = Dirs::of(data);
        dirs.create()?;
        let lock = File::create(dirs.audit.join("lock"))?;
        lock.try_lock().map_err(|_| OpenError::InUse)?;

        let keys = Keys::new(dirs.private.clone(), dirs.wrapped.clone());
        let begun = segment::numbers(&dirs.log, replay::LOG)?.into_iter().next().is_some();
        let signer = keys.signer(options.origin.clone(), !begun)?;
        publish_key(&dirs.audit, signer.verifier())?;
        let (notes, signed) = notes::Notes::open(&dirs.audit, signer.verifier())?;
        let boot = BootId::new(keys::random()?);
        let current_key = keys.new_data_key(boot, (options.now)())?;

        let replayed = replay::replay(&dirs, signer.verifier(), signed)?;
        let left_behind = replayed.left_behind();
        let writer = writer::Writer::new(boot, replayed, &dirs, &options);
        let shared = Arc::new(Shared::new(writer, notes, signer, dirs, options));
        shared.recover(left_behind).map_err(OpenError::Recovery)?;
        let threads = keeper::start(&shared)?;
        Ok(Self { shared, threads, keys, current_key: Mutex::new(current_key), _lock: lock })
    }

    /// This run.
    pub fn boot(&self) -> BootId {
        self.shared.boot()
    }

    /// The key that verifies this log's checkpoints.
    pub fn verifier(&self) -> &VerifierKey {
        self.shared.verifier()
    }

    /// Leaves in the log.
    pub fn size(&self) -> Position {
        self.shared.size()
    }

    /// Whether something new could be recorded now, and so admitted.
    pub fn admits(&self) -> bool {
        self.shared.admits()
    }

    /// Leaves as they are appended, each a canonical line without its end. A subscriber that lags misses some.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<str>> {
        self.shared.subscribe()
    }

    /// Flushes, and signs and publishes a checkpoint over everything appended so far. Blocks.
    pub fn checkpoint_now(&self) -> Result<Checkpoint, LedgerError> {
        self.shared.checkpoint(true)
    }

    /// The leaves of a session, and what its recording says. Blocks, and reads the whole log and all recordings.
    pub fn read_session(&self, session: SessionId) -> Result<SessionRecord, ReadError> {
        read::session_from(&self.shared.dirs, &self.keys, self.verifier().origin(), session)
    }
}

impl Ledger for AuditLog {
    fn append(&self, batch: Batch) -> Result<Position, LedgerError> {
        self.shared.append(&batch)
    }

    fn append_all(&self, batches: Vec<Batch>) -> Vec<Result<Position, LedgerError>> {
        self.shared.append_all(&batches)
    }

    fn synced(&self, position: Position) -> Pin<Box<dyn Future<Output = Result<(), LedgerError>> + Send>> {
        Box::pin(self.shared.synced(position))
    }

    fn record(&self, session: SessionId) -> Box<dyn SessionRecorder> {
        let origin = self.verifier().origin().clone();
        let now = (self.shared.options.now)();
        // A poisoned key is still a key.
        let mut current = self.current_key.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if current.period != keys::period(now) {
            match self.keys.new_data_key(self.boot(), now) {
                Ok(key) => *current = key,
                Err(error) => tracing::error!(%error, "no recording key for the new period: the old one stays in use"),
            }
        }
        Box::new(Recorder::new(origin, current.id.clone(), &current.key, session, self.boot()))
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the audit log panicked");
            }
        }
        if self.shared.checkpoint(true).is_err() {
            tracing::error!("the audit log could not be closed with a checkpoint");
        }
    }
}

/// Writes `log.vkey`. One that is there already must be the same: whoever verifies has a copy.
fn publish_key(dir: &Path, key: &VerifierKey) -> Result<(), OpenError> {
    let path = dir.join("log.vkey");
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim_end() == key.to_string() => Ok(()),
        Ok(_) => Err(OpenError::Checkpoints),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(notes::replace(&path, format!("{key}\n").as_bytes())?),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
