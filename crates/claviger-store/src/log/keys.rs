//! The audit's keys on disk: one that signs checkpoints, one for each period that wraps data keys, and the wrapped data keys.
//!
//! Private keys are under `keys/`, readable by the gateway's user only. The key of a period is in no backup: destroying it is
//! how recordings of that period end.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger_audit::checkpoint::{CheckpointSigner, Origin};
use claviger_audit::recording::{DataKey, Kek, wrapped_key_period};
use claviger_model::{BootId, Secret, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::Ed25519KeyPair;

use super::OpenError;
use super::segment::sync_dir;

const SIGNING_KEY: &str = "audit-checkpoint";
/// A key file is never longer.
const MAX_KEY_FILE: u64 = 4096;

/// The two directories in which keys are.
pub(super) struct Keys {
    private: PathBuf,
    wrapped: PathBuf,
}

impl Keys {
    pub(super) fn new(private: PathBuf, wrapped: PathBuf) -> Self {
        Self { private, wrapped }
    }

    /// The key that signs checkpoints. Only a log without one yet gets a new one.
    pub(super) fn signer(&self, origin: Origin, may_create: bool) -> Result<CheckpointSigner, OpenError> {
        let path = self.private.join(SIGNING_KEY);
        let pkcs8 = match read_private(&path)? {
            Some(pkcs8) => pkcs8,
            None if may_create => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| OpenError::Random)?;
                write_private(&path, pkcs8.as_ref())?;
                Secret::new(pkcs8.as_ref())
            }
            None => return Err(OpenError::KeyMissing { path }),
        };
        CheckpointSigner::from_pkcs8(origin, pkcs8.expose()).map_err(|_| OpenError::KeyMalformed { path })
    }

    /// A new data key for a run and the period of `now`, wrapped and on disk.
    pub(super) fn new_data_key(&self, boot: BootId, now: Timestamp) -> Result<CurrentKey, OpenError> {
        let period = period(now);
        let id: Arc<str> = format!("{period}-{boot}").into();
        let (key, nonce) = (random::<32>()?, random::<12>()?);
        let key = DataKey::new(key);
        let kek = self.kek(&period)?;
        let text = kek.wrap(&id, &key, nonce).ok_or(OpenError::Random)?;
        write_private(&self.wrapped.join(&*id), text.as_bytes())?;
        Ok(CurrentKey { id, period, key })
    }

    /// The data key with this id; `None` if it or the key that wraps it is not there any more.
    pub(super) fn data_key(&self, id: &str) -> Result<Option<DataKey>, OpenError> {
        // The id comes from a leaf, and is about to be a file's name.
        let path = self.wrapped.join(id);
        let malformed = || OpenError::KeyMalformed { path: path.clone() };
        if !id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
            return Err(malformed());
        }
        let Some(text) = read_private(&path)? else { return Ok(None) };
        let text = text.expose_str().ok_or_else(malformed)?;
        let period = wrapped_key_period(text).filter(|period| id.starts_with(period)).ok_or_else(malformed)?;
        let Some(kek) = read_private(&self.kek_path(period))? else { return Ok(None) };
        let kek = Kek::new(period, &kek).ok_or_else(malformed)?;
        kek.unwrap_key(id, text).map(Some).map_err(|_| malformed())
    }

    fn kek(&self, period: &str) -> Result<Kek, OpenError> {
        let path = self.kek_path(period);
        let key = match read_private(&path)? {
            Some(key) => key,
            None => {
                let key = Secret::new(random::<32>()?);
                write_private(&path, key.expose())?;
                key
            }
        };
        Kek::new(period, &key).ok_or(OpenError::KeyMalformed { path })
    }

    fn kek_path(&self, period: &str) -> PathBuf {
        self.private.join(format!("kek-{period}"))
    }
}

/// The data key in use.
pub(super) struct CurrentKey {
    pub(super) id: Arc<str>,
    pub(super) period: String,
    pub(super) key: DataKey,
}

/// A period is a month: `2026-11`.
pub(super) fn period(now: Timestamp) -> String {
    now.to_string().chars().take(7).collect()
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], OpenError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| OpenError::Random)?;
    Ok(bytes)
}

/// Reads a file that nobody else may read; `None` if there is none.
fn read_private(path: &Path) -> Result<Option<Secret>, OpenError> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::Io(error)),
    };
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(OpenError::KeyExposed { path: path.to_owned() });
    }
    if meta.len() > MAX_KEY_FILE {
        return Err(OpenError::KeyMalformed { path: path.to_owned() });
    }
    Ok(Some(Secret::new(fs::read(path)?)))
}

/// Writes a file that nobody else may read: whole and durable, or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension("new");
    // What a crash left behind.
    _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(dir)
}
