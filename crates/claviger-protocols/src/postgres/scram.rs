//! SCRAM-SHA-256 as a client (RFC 5802, RFC 7677), and the older ways of presenting a password.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger_model::Secret;
use md5::{Digest, Md5};
use ring::{digest, hmac, pbkdf2};

use super::frame::Violation;

/// More iterations than any server asks for; a hostile one could otherwise keep us busy.
const MAX_ITERATIONS: u32 = 1_000_000;
/// Keys that are kept; beyond that all are forgotten and derived anew.
const MAX_CACHED: usize = 1024;
/// The mechanism's name, and that of its form that is bound to the TLS channel.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";
pub(super) const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// What an exchange is bound to (RFC 5802, section 6).
pub(super) enum Binding {
    /// Nothing: there is nothing to bind to, or it is not wished.
    None,
    /// Nothing, because the server does not offer it.
    NotOffered,
    /// The server's certificate: `tls-server-end-point`.
    EndPoint(Vec<u8>),
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Self::None => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    /// `cbind-input`: the header and the channel's data.
    fn input(&self) -> Vec<u8> {
        let data = if let Self::EndPoint(data) = self { data.as_slice() } else { &[] };
        [self.header().as_bytes(), data].concat()
    }
}

/// Keys of earlier logins. Deriving them is slow on purpose; one upstream user needs it once, not at every session.
#[derive(Default)]
pub struct ScramKeys(Mutex<HashMap<CacheKey, Keys>>);

type CacheKey = ([u8; 32], Vec<u8>, u32);

#[derive(Clone)]
struct Keys {
    client: hmac::Tag,
    server: hmac::Tag,
}

/// The client's side of one exchange, after its first message.
pub(super) struct Scram {
    password: Secret,
    nonce: String,
    binding: Binding,
}

/// The client's side, waiting for the server's proof.
pub(super) struct AwaitingProof {
    key: hmac::Key,
    signed: String,
}

impl Scram {
    /// Begins an exchange: the client's first message.
    pub(super) fn begin(password: Secret, nonce: &[u8; 18], binding: Binding) -> (Self, Vec<u8>) {
        let nonce = STANDARD.encode(nonce);
        let first = format!("{}n=,r={nonce}", binding.header()).into_bytes();
        (Self { password, nonce, binding }, first)
    }

    /// Answers the server's challenge with the proof that we know the password.
    pub(super) fn answer(self, challenge: &[u8], cache: &ScramKeys) -> Result<(AwaitingProof, Vec<u8>), Violation> {
        let challenge = std::str::from_utf8(challenge).map_err(|_| MALFORMED)?;
        let mut parts = challenge.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(MALFORMED);
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Violation("the upstream's SCRAM nonce does not extend ours"));
        }
        let salt = STANDARD.decode(salt).map_err(|_| MALFORMED)?;
        let iterations = iterations.parse::<u32>().ok().filter(|count| *count <= MAX_ITERATIONS).and_then(NonZeroU32::new);
        let keys = cache.derive(&self.password, &salt, iterations.ok_or(MALFORMED)?);

        let unproved = format!("c={},r={nonce}", STANDARD.encode(self.binding.input()));
        let signed = format!("n=,r={},{challenge},{unproved}", self.nonce);
        let stored = digest::digest(&digest::SHA256, keys.client.as_ref());
        let signature = sign(stored.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = keys.client.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign).collect();
        let last = format!("{unproved},p={}", STANDARD.encode(proof)).into_bytes();
        let key = hmac::Key::new(hmac::HMAC_SHA256, keys.server.as_ref());
        Ok((AwaitingProof { key, signed }, last))
    }
}

impl AwaitingProof {
    /// Checks that the server knows the password too.
    pub(super) fn check(&self, last: &[u8]) -> Result<(), Violation> {
        let proof = last.strip_prefix(b"v=").and_then(|proof| STANDARD.decode(proof).ok()).ok_or(MALFORMED)?;
        hmac::verify(&self.key, self.signed.as_bytes(), &proof).map_err(|_| Violation("the upstream's SCRAM signature is wrong"))
    }
}

impl ScramKeys {
    fn derive(&self, password: &Secret, salt: &[u8], iterations: NonZeroU32) -> Keys {
        let hashed = digest::digest(&digest::SHA256, password.expose());
        let mut name = [0; 32];
        name.copy_from_slice(hashed.as_ref());
        let name = (name, salt.to_vec(), iterations.get());
        if let Some(keys) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return keys.clone();
        }
        // Outside the lock: this takes a millisecond or more.
        let prepared = prepare(password);
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, prepared.expose(), &mut salted);
        let keys = Keys { client: sign(&salted, b"Client Key"), server: sign(&salted, b"Server Key") };
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= MAX_CACHED {
            cached.clear();
        }
        cached.insert(name, keys.clone());
        keys
    }
}

/// The password as PostgreSQL prepares it: SASLprep (RFC 4013), or as it is if that does not apply.
fn prepare(password: &Secret) -> Secret {
    match password.expose_str().map(stringprep::saslprep) {
        Some(Ok(prepared)) => Secret::new(prepared.as_bytes()),
        _ => password.clone(),
    }
}

fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

/// `md5(md5(password + user) + salt)` with its prefix (PostgreSQL manual, 55.2.1).
pub(super) fn md5_password(user: &str, password: &Secret, salt: &[u8]) -> Vec<u8> {
    let inner = hex(&Md5::new().chain_update(password.expose()).chain_update(user).finalize());
    let outer = hex(&Md5::new().chain_update(inner).chain_update(salt).finalize());
    format!("md5{outer}").into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

const MALFORMED: Violation = Violation("the upstream's SCRAM message is malformed");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The exchange of RFC 7677, section 3, with its user name left out as PostgreSQL's clients do: so its proof differs, but
    /// the keys that it derives are the RFC's.
    #[test]
    fn derives_the_keys_of_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::default().derive(&Secret::new("pencil"), &salt, NonZeroU32::new(4096).unwrap());
        let signed = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                      s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server = sign(keys.server.as_ref(), signed.as_bytes());
        assert_eq!(STANDARD.encode(server), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn hashes_an_md5_password() {
        // select 'md5' || md5(md5('secret' || 'alice') || E'\x01020304'::bytea)
        let hashed = md5_password("alice", &Secret::new("secret"), &[1, 2, 3, 4]);
        assert_eq!(hashed.len(), 35);
        assert!(hashed.starts_with(b"md5"));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let (scram, _) = Scram::begin(Secret::new("pencil"), &[7; 18], Binding::None);
        let nonce = STANDARD.encode([7; 18]);
        let challenge = format!("r={nonce}abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let (waiting, last) = scram.answer(challenge.as_bytes(), &ScramKeys::default()).unwrap();
        assert!(last.starts_with(b"c=biws,r="));
        assert!(waiting.check(b"v=AAAA").is_err());
        assert!(waiting.check(b"e=other-error").is_err());
    }

    #[test]
    fn a_challenge_that_is_not_ours_is_refused() {
        for challenge in ["r=other,s=AAAA,i=4096", "r=,s=AAAA,i=1", "i=1", "", "r=\u{0},s=!,i=0"] {
            let (scram, _) = Scram::begin(Secret::new("pencil"), &[7; 18], Binding::None);
            assert!(scram.answer(challenge.as_bytes(), &ScramKeys::default()).is_err(), "{challenge}");
        }
    }
}
