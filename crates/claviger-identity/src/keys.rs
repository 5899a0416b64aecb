//! The public keys of an issuer.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use crate::Algorithm;

/// The public keys that an issuer publishes, as a JWK set (RFC 7517).
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

/// A document that is not a usable JWK set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySet {
    /// It is longer than any honest one.
    #[error("the key set is longer than {} bytes", KeySet::MAX_BYTES)]
    TooLong,
    /// It holds more keys than any honest one.
    #[error("the key set holds more than {} keys", KeySet::MAX_KEYS)]
    TooMany,
    /// It is not a JWK set.
    #[error("the key set is not a JSON object with an array `keys`")]
    Malformed,
    /// It is one, and nothing in it can verify a signature.
    #[error("the key set holds no key that can verify a signature")]
    Empty,
}

impl KeySet {
    /// The longest document that is read.
    pub const MAX_BYTES: usize = 256 * 1024;
    /// The most keys in a document.
    pub const MAX_KEYS: usize = 100;

    /// Reads a JWK set. Keys that are not for signatures, of an unknown type or of an unacceptable size are passed over, as
    /// RFC 7517 section 5 asks for: RSA takes 2048 to 4096 bits, EC the curves P-256 and P-384, OKP Ed25519.
    pub fn parse_jwks(json: &[u8]) -> Result<Self, InvalidKeySet> {
        if json.len() > Self::MAX_BYTES {
            return Err(InvalidKeySet::TooLong);
        }
        let document: Document = serde_json::from_slice(json).map_err(|_| InvalidKeySet::Malformed)?;
        if document.keys.len() > Self::MAX_KEYS {
            return Err(InvalidKeySet::TooMany);
        }
        let keys: Vec<Key> = document.keys.into_iter().filter_map(Key::from_json).collect();
        if keys.is_empty() { Err(InvalidKeySet::Empty) } else { Ok(Self(keys)) }
    }

    /// The keys that a token could mean: those of the id it names; without one, the only key of the set.
    pub(crate) fn candidates<'a>(&'a self, kid: Option<&'a str>) -> Box<dyn Iterator<Item = &'a Key> + 'a> {
        match (kid, self.0.as_slice()) {
            (Some(kid), _) => Box::new(self.0.iter().filter(move |key| key.kid.as_deref() == Some(kid))),
            (None, [only]) => Box::new(std::iter::once(only)),
            (None, _) => Box::new(std::iter::empty()),
        }
    }
}

/// One key, and what it can verify.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    kid: Option<Arc<str>>,
    kind: KeyKind,
    /// The only algorithm for which the issuer means it, if it says so.
    algorithm: Option<Algorithm>,
    public: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Key {
    /// Whether this key is of the type that an algorithm takes, and meant for it.
    pub(crate) fn takes(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => KeyKind::Rsa,
            Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => KeyKind::Rsa,
            Algorithm::ES256 => KeyKind::P256,
            Algorithm::ES384 => KeyKind::P384,
            Algorithm::EdDSA => KeyKind::Ed25519,
        };
        self.kind == kind && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature, still in base64url, is this key's over the message.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        let algorithm = match algorithm {
            Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
            Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
            Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
            Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
            Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
            Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
            Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        };
        jsonwebtoken::crypto::verify(signature, message, &self.public, algorithm).unwrap_or(false)
    }

    fn from_json(json: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        if jwk.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        if jwk.key_ops.is_some_and(|ops| ops.iter().all(|op| op != "verify")) {
            return None;
        }
        let algorithm = jwk.alg.map(|alg| alg.parse()).transpose().ok()?;
        let (kind, public) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (KeyKind::Rsa, rsa_key(&jwk.n?, &jwk.e?)?),
            ("EC", Some("P-256")) => (KeyKind::P256, ec_key(&jwk.x?, &jwk.y?, 32)?),
            ("EC", Some("P-384")) => (KeyKind::P384, ec_key(&jwk.x?, &jwk.y?, 48)?),
            ("OKP", Some("Ed25519")) => (KeyKind::Ed25519, ed25519_key(&jwk.x?)?),
            _ => return None,
        };
        Some(Self { kid: jwk.kid.map(Into::into), kind, algorithm, public })
    }
}

fn rsa_key(n: &str, e: &str) -> Option<DecodingKey> {
    let (n, e) = (decode(n)?, decode(e)?);
    let modulus: &[u8] = n.iter().position(|byte| *byte != 0).and_then(|start| n.get(start..))?;
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let acceptable = (2048..=4096).contains(&bits) && e.len() <= 8 && odd(modulus) && odd(&e) && e != [1];
    acceptable.then(|| DecodingKey::from_rsa_raw_components(modulus, &e))
}

fn ec_key(x: &str, y: &str, coordinate: usize) -> Option<DecodingKey> {
    let (x, y) = (decode(x)?, decode(y)?);
    // The uncompressed point of SEC 1 section 2.3.3. Whether it lies on the curve is checked with the first signature.
    let point = [&[4][..], &x, &y].concat();
    (x.len() == coordinate && y.len() == coordinate).then(|| DecodingKey::from_ec_der(&point))
}

fn ed25519_key(x: &str) -> Option<DecodingKey> {
    let x = decode(x)?;
    (x.len() == 32).then(|| DecodingKey::from_ed_der(&x))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}
