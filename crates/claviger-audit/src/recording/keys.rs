//! Data keys, and the keys under which they lie on disk.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger_model::Secret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

const FORMAT: &str = "claviger data key v1";

/// From which the keys of sessions are made.
pub struct DataKey(Secret);

impl DataKey {
    /// A key of 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(Secret::new(random))
    }

    pub(super) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Why a wrapped data key cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrappedKeyError {
    /// The text is not a wrapped key.
    #[error("the wrapped data key is malformed")]
    Malformed,
    /// It is another key, or wrapped under another key, or changed.
    #[error("the wrapped data key does not unwrap")]
    Sealed,
}

/// A key-encryption key: wraps the data keys of one period. Destroying it ends what it covers.
pub struct Kek {
    period: Arc<str>,
    key: LessSafeKey,
}

impl Kek {
    /// The key of a period, such as `2026-11`, from 32 bytes; `None` if they are not 32.
    pub fn new(period: impl Into<Arc<str>>, key: &Secret) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).ok()?;
        Some(Self { period: period.into(), key: LessSafeKey::new(key) })
    }

    /// The period.
    pub fn period(&self) -> &str {
        &self.period
    }

    /// The text form of a data key under its id, with a random nonce; `None` never happens to a key of 32 bytes.
    pub fn wrap(&self, id: &str, key: &DataKey, random: [u8; NONCE_LEN]) -> Option<String> {
        let mut sealed = key.expose().to_vec();
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(random), Aad::from(id.as_bytes()), &mut sealed).ok()?;
        let sealed = STANDARD.encode([random.as_slice(), &sealed].concat());
        Some(format!("{FORMAT}\nid {id}\nkek {}\nsealed {sealed}\n", self.period))
    }

    /// The data key with this id, from its text form.
    pub fn unwrap_key(&self, id: &str, text: &str) -> Result<DataKey, WrappedKeyError> {
        let (_, sealed) = fields(text).ok_or(WrappedKeyError::Malformed)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(WrappedKeyError::Malformed)?;
        let mut sealed = sealed.to_vec();
        let key = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(id.as_bytes()), &mut sealed)
            .map_err(|_| WrappedKeyError::Sealed)?;
        <[u8; 32]>::try_from(&*key).map(DataKey::new).map_err(|_| WrappedKeyError::Malformed)
    }
}

/// The period whose key wraps this data key.
pub fn wrapped_key_period(text: &str) -> Option<&str> {
    fields(text).map(|(period, _)| period)
}

fn fields(text: &str) -> Option<(&str, Vec<u8>)> {
    let mut lines = text.lines();
    if lines.next()? != FORMAT {
        return None;
    }
    let _id = lines.next()?.strip_prefix("id ")?;
    let period = lines.next()?.strip_prefix("kek ")?;
    let sealed = STANDARD.decode(lines.next()?.strip_prefix("sealed ")?).ok()?;
    lines.next().is_none().then_some((period, sealed))
}
