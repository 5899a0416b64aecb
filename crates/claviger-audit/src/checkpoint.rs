//! Signed tree heads: C2SP `tlog-checkpoint` inside C2SP `signed-note`, by Ed25519.
//!
//! A note is text, an empty line, and one signature line for each signer, `— <name> <base64 of key id and signature>`. Ours is
//! named after the log's origin. Signatures by others (witnesses) may stand beside it and are passed over here.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::hex;
use crate::merkle::{Hash, sha256};

/// No note is longer than this.
pub const MAX_NOTE: usize = 16 * 1024;
const MAX_ORIGIN: usize = 255;
/// C2SP signed-note: the type of an Ed25519 key.
const ED25519_TYPE: u8 = 1;
const SIGNATURE_PREFIX: &str = "— ";

/// What a log has committed to: its first `size` leaves and their root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many leaves.
    pub size: u64,
    /// Their root.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    fn text(&self, origin: &Origin) -> String {
        format!("{origin}\n{}\n{}\n", self.size, STANDARD.encode(self.root))
    }

    fn parse(text: &str, origin: &Origin) -> Result<Self, NoteError> {
        let mut lines = text.lines();
        if lines.next() != Some(origin.as_str()) {
            return Err(NoteError::OtherLog);
        }
        let size = lines.next().ok_or(NoteError::Malformed)?;
        let root = lines.next().and_then(|root| STANDARD.decode(root).ok()).ok_or(NoteError::Malformed)?;
        let checkpoint = Self {
            size: size.parse().map_err(|_| NoteError::Malformed)?,
            root: root.try_into().map_err(|_| NoteError::Malformed)?,
        };
        // One form for one checkpoint: no leading zero, no extension lines.
        if checkpoint.text(origin) == text { Ok(checkpoint) } else { Err(NoteError::Malformed) }
    }
}

/// A log's name, which is also its key's: no spaces and no plus sign, so that it fits both forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Arc<str>);

impl Origin {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let valid =
            (1..=MAX_ORIGIN).contains(&text.len()) && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+');
        if valid { Ok(Self(text.into())) } else { Err(InvalidOrigin) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot name a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a log's origin is 1 to 255 bytes without spaces, controls and `+`")]
pub struct InvalidOrigin;

/// What is wrong with a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not a note, or not a checkpoint.
    #[error("the checkpoint is malformed")]
    Malformed,
    /// It is about another log.
    #[error("the checkpoint is of another log")]
    OtherLog,
    /// The log's key did not sign it.
    #[error("the checkpoint is not signed by the log's key")]
    Unsigned,
    /// The log's signature does not verify.
    #[error("the checkpoint's signature is wrong")]
    BadSignature,
}

/// A key that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The private key is not PKCS #8 with an Ed25519 key.
    #[error("the checkpoint key is not an Ed25519 key in PKCS #8 form")]
    Private,
    /// The public key is not a verifier key.
    #[error("the verifier key is malformed: `name+hash+key` is expected, for Ed25519")]
    Public,
}

/// Signs checkpoints.
pub struct CheckpointSigner {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl CheckpointSigner {
    /// A signer for a log with this private key.
    pub fn from_pkcs8(origin: Origin, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| KeyError::Private)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Private)?;
        Ok(Self { pair, verifier: VerifierKey { origin, public } })
    }

    /// The key that verifies what this signs.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signed note.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let origin = &self.verifier.origin;
        let mut note = checkpoint.text(origin);
        let mut signature = self.verifier.id().to_vec();
        signature.extend_from_slice(self.pair.sign(note.as_bytes()).as_ref());
        note.push_str(&format!("\n{SIGNATURE_PREFIX}{origin} {}\n", STANDARD.encode(signature)));
        note
    }
}

/// The public half, as C2SP writes it: `name+hash+base64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    origin: Origin,
    public: [u8; 32],
}

impl VerifierKey {
    /// The log whose key this is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Reads a signed note: the checkpoint, if this log's key signed it.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        // The last empty line: the text may have such lines itself, signatures have none.
        let end = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, signatures) = note.split_at_checked(end + 1).ok_or(NoteError::Malformed)?;
        if note.len() > MAX_NOTE {
            return Err(NoteError::Malformed);
        }
        // Not `lines`, which takes a carriage return for part of a line's end: a note has one form.
        let signatures = signatures.strip_prefix('\n').and_then(|s| s.strip_suffix('\n')).ok_or(NoteError::Malformed)?;
        let mut signed = false;
        for line in signatures.split('\n') {
            let (name, signature) =
                line.strip_prefix(SIGNATURE_PREFIX).and_then(|line| line.split_once(' ')).ok_or(NoteError::Malformed)?;
            let signature = STANDARD.decode(signature).map_err(|_| NoteError::Malformed)?;
            let (id, signature) = signature.split_first_chunk::<4>().ok_or(NoteError::Malformed)?;
            if name != self.origin.as_str() || *id != self.id() {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(text.as_bytes(), signature)
                .map_err(|_| NoteError::BadSignature)?;
            signed = true;
        }
        let checkpoint = Checkpoint::parse(text, &self.origin)?;
        if signed { Ok(checkpoint) } else { Err(NoteError::Unsigned) }
    }

    /// C2SP signed-note: the first four bytes of the hash over name, key type and key.
    fn id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = sha256(&[self.origin.as_str().as_bytes(), b"\n", &[ED25519_TYPE], &self.public]);
        [a, b, c, d]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_TYPE];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.origin, hex::encode(&self.id()), STANDARD.encode(key))
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // Base64 has plus signs of its own, a name has none.
        let mut parts = text.trim_end().splitn(3, '+');
        let (Some(name), Some(_hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Public);
        };
        let key = STANDARD.decode(key).map_err(|_| KeyError::Public)?;
        let public = key.strip_prefix(&[ED25519_TYPE]).and_then(|key| key.try_into().ok()).ok_or(KeyError::Public)?;
        let key = Self { origin: name.parse().map_err(|_| KeyError::Public)?, public };
        if key.to_string() == text.trim_end() { Ok(key) } else { Err(KeyError::Public) }
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
pub(crate) mod tests;
