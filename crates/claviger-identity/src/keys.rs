//! The public keys of an issuer.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

use crate::Algorithm;

/// The public keys that an issuer publishes, as a JWK set (RFC 7517).
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

/// A document that is not a JWK set.
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
        Ok(Self(keys))
    }

    /// Whether no key in it can verify a signature. Its issuer may have withdrawn them all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    /// The only algorithm for which the issuer means it, if it says so.
    algorithm: Option<Algorithm>,
    public: PublicKey,
}

#[derive(Clone, Debug)]
enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        n: Arc<[u8]>,
        e: Arc<[u8]>,
    },
    /// An uncompressed point (SEC 1 section 2.3.3).
    P256(Arc<[u8]>),
    P384(Arc<[u8]>),
    Ed25519(Arc<[u8]>),
}

/// How an algorithm verifies: by RSA, or by another kind of key.
enum Verification {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

impl Key {
    /// Whether this key is of the type that an algorithm takes, and meant for it.
    pub(crate) fn takes(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let fits = match self.public {
            PublicKey::Rsa { .. } => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            PublicKey::P256(_) => algorithm == ES256,
            PublicKey::P384(_) => algorithm == ES384,
            PublicKey::Ed25519(_) => algorithm == EdDSA,
        };
        fits && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature, still in base64url, is this key's over the message.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        let Some(signature) = decode(signature) else { return false };
        let verified = match (&self.public, verification(algorithm)) {
            (PublicKey::Rsa { n, e }, Verification::Rsa(parameters)) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, &signature)
            }
            (PublicKey::P256(key) | PublicKey::P384(key) | PublicKey::Ed25519(key), Verification::Other(with)) => {
                UnparsedPublicKey::new(with, key).verify(message, &signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }

    fn from_json(json: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        // SPIFFE bundles mark the keys of JWT-SVIDs so (SPIFFE Trust Domain and Bundle section 4.2.2).
        if jwk.usage.is_some_and(|usage| usage != "sig" && usage != "jwt-svid") {
            return None;
        }
        if jwk.key_ops.is_some_and(|ops| ops.iter().all(|op| op != "verify")) {
            return None;
        }
        let algorithm = jwk.alg.map(|alg| alg.parse()).transpose().ok()?;
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => rsa_key(&jwk.n?, &jwk.e?)?,
            ("EC", Some("P-256")) => PublicKey::P256(point(&jwk.x?, &jwk.y?, 32)?),
            ("EC", Some("P-384")) => PublicKey::P384(point(&jwk.x?, &jwk.y?, 48)?),
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519(decode(&jwk.x?).filter(|x| x.len() == 32)?.into()),
            _ => return None,
        };
        Some(Self { kid: jwk.kid.map(Into::into), algorithm, public })
    }
}

fn verification(algorithm: Algorithm) -> Verification {
    match algorithm {
        Algorithm::RS256 => Verification::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Verification::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Verification::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Verification::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Verification::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Verification::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Verification::Other(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Verification::Other(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Verification::Other(&signature::ED25519),
    }
}

fn rsa_key(n: &str, e: &str) -> Option<PublicKey> {
    let (n, e) = (decode(n)?, decode(e)?);
    let significant = |bytes: Vec<u8>| -> Option<Arc<[u8]>> {
        let start = bytes.iter().position(|byte| *byte != 0)?;
        bytes.get(start..).map(Into::into)
    };
    let (n, e) = (significant(n)?, significant(e)?);
    let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let acceptable = (2048..=4096).contains(&bits) && e.len() <= 8 && odd(&n) && odd(&e) && *e != [1];
    acceptable.then_some(PublicKey::Rsa { n, e })
}

/// A point from its coordinates. Whether it lies on the curve is checked with each signature.
fn point(x: &str, y: &str, coordinate: usize) -> Option<Arc<[u8]>> {
    let (x, y) = (decode(x)?, decode(y)?);
    let point = [&[4][..], &x, &y].concat();
    (x.len() == coordinate && y.len() == coordinate).then(|| point.into())
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
