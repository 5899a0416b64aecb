//! Recordings: what sessions said, sealed before it touches a disk.
//!
//! A recording is a sequence of frames, those of many sessions mixed. A frame is a header in the clear and a body: entries
//! (whose, which operation, bytes), compressed, then encrypted with AES-256-GCM under a key of that session alone. The nonce
//! carries the chunk's number and whether it is the last, the associated data is the log's origin and the header, so that a
//! frame opens only in its own log, session and place. Each frame also extends the session's running digest, to which leaves
//! commit; checking that needs no key.
//!
//! Keys: a *data key* for each run and period, from which HKDF makes the session's; it lies on disk wrapped under the period's
//! *key-encryption key*. Destroying that one key makes every recording of its period unreadable, and changes no digest.

mod frame;
mod keys;
mod opener;
mod recorder;

pub use frame::{Frame, FrameError, FrameHeader, GAP_FRAME, HEADER, MAX_BODY, Packing, RunningDigest, gap_frame};
pub use keys::{DataKey, Kek, WrappedKeyError, wrapped_key_period};
pub use opener::{Entry, EntryKind, OpenError, Opener};
pub use recorder::{MAX_CHUNK, Recorder};

use claviger_model::{BootId, SessionId};
use ring::aead::{AES_256_GCM, LessSafeKey, NONCE_LEN, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

/// The key of one session: HKDF-SHA256 (RFC 5869) of the data key, salted by the boot.
fn session_key(key: &DataKey, session: SessionId, boot: BootId) -> LessSafeKey {
    let info = [b"claviger recording v1".as_slice(), &session.to_bytes()];
    let okm = Salt::new(HKDF_SHA256, &boot.to_bytes()).extract(key.expose());
    // INVARIANT: RFC 5869 §2.3 refuses only lengths above 255 hashes; this key is one.
    #[allow(clippy::expect_used)]
    let key = okm.expand(&info, &AES_256_GCM).map(UnboundKey::from).expect("a key is no longer than HKDF gives");
    LessSafeKey::new(key)
}

/// STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): prefix, counter, whether it is the last. The key is the session's own,
/// so the counter alone keeps nonces apart, and with 64 bits it does not run out.
fn nonce(session: SessionId, chunk: u64, last: bool) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    let [.., a, b, c] = session.to_bytes();
    let [d, e, f, g, h, i, j, k] = chunk.to_be_bytes();
    nonce.copy_from_slice(&[a, b, c, d, e, f, g, h, i, j, k, u8::from(last)]);
    nonce
}

#[cfg(test)]
mod tests;
