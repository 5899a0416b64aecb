//! Keys of the gateway's own that are not for signing: of masks that stand for values, where the configuration names none, and of the
//! digests that consents are bound to. Each is a file for the owner only, beside the other keys.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use claviger_model::Secret;
use ring::rand::{SecureRandom, SystemRandom};

use crate::{Store, StoreError};

/// Their length, in bytes.
const LENGTH: usize = 32;

impl Store {
    /// The key of masks; made if there is none yet.
    pub fn mask_key(&self) -> Result<Secret, StoreError> {
        self.secret_key("mask")
    }

    /// The key of what consents are bound to; made if there is none yet.
    pub fn consent_key(&self) -> Result<Secret, StoreError> {
        self.secret_key("consent")
    }

    fn secret_key(&self, name: &str) -> Result<Secret, StoreError> {
        let directory = self.shared.data.join("keys");
        let path = directory.join(name);
        key(&directory, &path).map_err(|source| StoreError::File { path, source })
    }
}

fn key(directory: &Path, path: &Path) -> std::io::Result<Secret> {
    match File::open(path) {
        Ok(file) => read(file),
        Err(error) if error.kind() == ErrorKind::NotFound => make(directory, path),
        Err(error) => Err(error),
    }
}

fn read(file: File) -> std::io::Result<Secret> {
    let mut bytes = Vec::with_capacity(LENGTH + 1);
    file.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    let secret = Secret::new(bytes);
    if secret.expose().len() == LENGTH { Ok(secret) } else { Err(std::io::Error::other("it is not a key")) }
}

/// Written whole under another name first: a file that was cut off would be another key.
fn make(directory: &Path, path: &Path) -> std::io::Result<Secret> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| std::io::Error::other("there is no randomness"))?;
    let secret = Secret::new(bytes);
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(secret.expose())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(directory)?.sync_all()?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_stays_the_same_and_is_the_owners() {
        let data = tempfile::tempdir().unwrap();
        let (directory, path) = (data.path().join("keys"), data.path().join("keys/mask"));
        let made = key(&directory, &path).unwrap();
        assert_eq!(made.expose(), key(&directory, &path).unwrap().expose());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, b"short").unwrap();
        assert!(key(&directory, &path).is_err(), "what is damaged is not replaced");
    }
}
