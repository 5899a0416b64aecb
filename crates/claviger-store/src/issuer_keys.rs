//! The local issuer's signing keys: which there are is in the database, the keys themselves are files for the owner only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use claviger_identity::SigningKey;
use claviger_model::{Secret, Timestamp};
use ring::rand::SystemRandom;
use rusqlite::params;

use crate::{Store, StoreError};

/// What is known of a signing key without its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerKey {
    /// Its id.
    pub kid: Arc<str>,
    /// When it was made.
    pub created: Timestamp,
    /// Since when it verifies nothing any more.
    pub retired: Option<Timestamp>,
}

impl Store {
    /// Every signing key that there ever was, the newest first.
    pub fn issuer_keys(&self) -> Result<Vec<IssuerKey>, StoreError> {
        let db = self.db();
        let mut statement = db.prepare_cached("SELECT kid, created, retired FROM issuer_keys ORDER BY seq DESC")?;
        let rows = statement.query_map([], |row| {
            Ok(IssuerKey {
                kid: row.get(0)?,
                created: Timestamp::from_micros(row.get(1)?),
                retired: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_micros),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The keys that are not retired, the current one first, as a [`LocalIssuer`](claviger_identity::LocalIssuer) takes them.
    pub fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let live = self.issuer_keys()?.into_iter().filter(|key| key.retired.is_none());
        live.map(|key| self.read_key(&key.kid)).collect()
    }

    /// Makes a new key the current one; gives its id. Older ones verify until they are retired.
    pub fn rotate_issuer_key(&self, now: Timestamp) -> Result<Arc<str>, StoreError> {
        let (key, pem) = SigningKey::generate(&SystemRandom::new())?;
        // The file comes first: a row without its file would leave the issuer unable to start.
        self.write_key(key.kid(), &pem)?;
        self.db().execute("INSERT INTO issuer_keys (kid, created) VALUES (?1, ?2)", params![key.kid(), now.as_micros()])?;
        self.changed();
        Ok(key.kid().clone())
    }

    /// Retires an older key and destroys it. The current one must be rotated first.
    pub fn retire_issuer_key(&self, kid: &str, now: Timestamp) -> Result<(), StoreError> {
        let retired = self.db().execute(
            "UPDATE issuer_keys SET retired = ?2
             WHERE kid = ?1 AND retired IS NULL AND seq < (SELECT max(seq) FROM issuer_keys)",
            params![kid, now.as_micros()],
        )?;
        if retired == 0 {
            return Err(StoreError::NotAnOlderKey(kid.chars().take(80).collect()));
        }
        self.changed();
        let path = self.key_path(kid);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(StoreError::File { path, source }),
            _ => Ok(()),
        }
    }

    fn key_path(&self, kid: &str) -> PathBuf {
        self.shared.data.join("keys").join(format!("issuer-{kid}.pem"))
    }

    fn read_key(&self, kid: &str) -> Result<SigningKey, StoreError> {
        let path = self.key_path(kid);
        let pem = std::fs::read(&path).map_err(|source| StoreError::File { path, source })?;
        Ok(SigningKey::from_pkcs8(&Secret::new(pem))?)
    }

    fn write_key(&self, kid: &str, pem: &Secret) -> Result<(), StoreError> {
        let path = self.key_path(kid);
        let directory = self.shared.data.join("keys");
        let written = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(pem.expose())?;
            file.sync_all()?;
            File::open(&directory)?.sync_all()
        };
        written().map_err(|source| StoreError::File { path: path.clone(), source })
    }
}
