//! SCRAM-SHA-256, the client's half (RFC 5802, RFC 7677; manual, 55.3), without channel binding.
//!
//! Deriving the salted password costs thousands of hashes, so its two products are kept in [`ScramKeys`] and the next login
//! with the same user, salt, iterations and password costs a handful.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claviger_model::Secret;
use ring::{digest, hmac, pbkdf2};

/// More iterations than this would let an upstream keep the session's thread busy for seconds.
const MAX_ITERATIONS: u32 = 1_000_000;

/// So many logins are remembered; past that, all are forgotten and derived again.
const MAX_KEYS: usize = 1024;

/// An upstream that does not follow the exchange, or does not know the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream failed the SCRAM exchange")]
pub(super) struct ScramFailed;

/// Salted passwords of earlier logins, so that key derivation runs once per upstream user.
#[derive(Default)]
pub struct ScramKeys(Mutex<HashMap<Derivation, Keys>>);

#[derive(PartialEq, Eq, Hash)]
struct Derivation {
    user: String,
    salt: Vec<u8>,
    iterations: u32,
    password: [u8; 32],
}

#[derive(Clone)]
struct Keys {
    client: Secret,
    server: Secret,
}

impl ScramKeys {
    fn derive(&self, user: &str, salt: Vec<u8>, iterations: NonZeroU32, password: &[u8]) -> Keys {
        let derivation = Derivation { user: user.to_owned(), salt, iterations: iterations.get(), password: sha256(password) };
        if let Some(keys) = self.0.lock().ok().and_then(|known| known.get(&derivation).cloned()) {
            return keys;
        }
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &derivation.salt, password, &mut salted);
        let keys = Keys {
            client: Secret::new(hmac_sha256(&salted, b"Client Key").as_ref()),
            server: Secret::new(hmac_sha256(&salted, b"Server Key").as_ref()),
        };
        if let Ok(mut known) = self.0.lock() {
            if known.len() >= MAX_KEYS {
                known.clear();
            }
            known.insert(derivation, keys.clone());
        }
        keys
    }
}

/// The exchange after the first client message.
pub(super) struct ClientFirst {
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// The name that the mechanism carries is empty for PostgreSQL, which takes it from the startup message.
    pub(super) fn new(name: &str, nonce: &[u8; 18]) -> Self {
        Self::with_nonce(name, STANDARD.encode(nonce))
    }

    fn with_nonce(name: &str, nonce: String) -> Self {
        Self { bare: format!("n={name},r={nonce}"), nonce }
    }

    /// What is sent first.
    pub(super) fn message(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The answer to the server's first message.
    pub(super) fn answer(
        self,
        server_first: &[u8],
        user: &str,
        password: &Secret,
        known: &ScramKeys,
    ) -> Result<(String, ServerSignature), ScramFailed> {
        let server_first = std::str::from_utf8(server_first).map_err(|_| ScramFailed)?;
        let mut attributes = server_first.split(',');
        let mut attribute = |name: &str| attributes.next().and_then(|text| text.strip_prefix(name)).ok_or(ScramFailed);
        let (nonce, salt, iterations) = (attribute("r=")?, attribute("s=")?, attribute("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramFailed);
        }
        let salt = STANDARD.decode(salt).map_err(|_| ScramFailed)?;
        let iterations =
            iterations.parse::<NonZeroU32>().ok().filter(|count| count.get() <= MAX_ITERATIONS).ok_or(ScramFailed)?;

        let keys = known.derive(user, salt, iterations, prepared(password).expose());
        // "biws" is "n,,": no channel binding, no other identity.
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.bare);
        let signature = hmac_sha256(&sha256(keys.client.expose()), signed.as_bytes());
        let proof: Vec<u8> = keys.client.expose().iter().zip(signature.as_ref()).map(|(key, mask)| key ^ mask).collect();
        let expected = ServerSignature { key: keys.server, signed };
        Ok((format!("{without_proof},p={}", STANDARD.encode(proof)), expected))
    }
}

/// What the server must prove in turn.
pub(super) struct ServerSignature {
    key: Secret,
    signed: String,
}

impl ServerSignature {
    /// Checks the server's last message: an upstream that cannot sign does not know the password.
    pub(super) fn verify(&self, server_final: &[u8]) -> Result<(), ScramFailed> {
        let signature = server_final.strip_prefix(b"v=").ok_or(ScramFailed)?;
        let signature = STANDARD.decode(signature).map_err(|_| ScramFailed)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.expose());
        hmac::verify(&key, self.signed.as_bytes(), &signature).map_err(|_| ScramFailed)
    }
}

/// SASLprep where it applies; other passwords go as they are, as the server does it too (manual, 55.3.1).
fn prepared(password: &Secret) -> Secret {
    match password.expose_str().map(stringprep::saslprep) {
        Some(Ok(text)) => Secret::new(text.as_bytes()),
        _ => password.clone(),
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SERVER_FIRST: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn exchange(server_first: &[u8], known: &ScramKeys) -> Result<(String, ServerSignature), ScramFailed> {
        let first = ClientFirst::with_nonce("user", "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(first.message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        first.answer(server_first, "user", &Secret::new(*b"pencil"), known)
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn follows_the_standards_example() {
        let known = ScramKeys::default();
        for _ in 0..2 {
            let (answer, expected) = exchange(SERVER_FIRST, &known).unwrap();
            assert_eq!(
                answer,
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
            );
            assert_eq!(expected.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
            assert_eq!(expected.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="), Err(ScramFailed));
            assert_eq!(expected.verify(b"e=other-error"), Err(ScramFailed));
        }
        assert_eq!(known.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn refuses_a_dishonest_server() {
        for bad in [
            "",
            "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=*,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000001",
            "m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        ] {
            assert!(exchange(bad.as_bytes(), &ScramKeys::default()).is_err(), "{bad}");
        }
    }
}
