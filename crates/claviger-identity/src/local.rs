//! The gateway's own issuer: short-lived Ed25519 tokens for principals that are registered here.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use claviger_model::{Secret, Timestamp};
use ring::digest;
use ring::rand::SecureRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Map, Value, json};

use crate::{Exchanged, InvalidKeySet, KeySet};

/// Issues tokens that say who a registered principal is.
pub struct LocalIssuer {
    name: Arc<str>,
    issuer: Arc<str>,
    audience: Arc<str>,
    /// The current one first.
    keys: Vec<SigningKey>,
}

/// An issuer without a key cannot issue anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the local issuer needs at least one signing key")]
pub struct NoSigningKey;

/// What a token shall say.
#[derive(Clone, Debug)]
pub struct TokenRequest<'a> {
    /// The subject: who the token is about, or on whose behalf the actors act.
    pub subject: &'a str,
    /// The local principals who act for the subject, the current one first (RFC 8693 section 4.1).
    pub actors: &'a [&'a str],
    /// What the token is for.
    pub purpose: Option<&'a str>,
    /// For how many seconds it is valid.
    pub lifetime: u32,
}

/// A token, and what the store keeps of it.
pub struct IssuedToken {
    /// The token itself; the only copy.
    pub token: Secret,
    /// Its id, 32 hexadecimal digits.
    pub id: Arc<str>,
    /// SHA-256 of the token's text.
    pub sha256: [u8; 32],
    /// When it was issued.
    pub issued: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
}

impl LocalIssuer {
    /// An issuer with its name, its `iss`, the `aud` of its tokens and its keys, of which the first signs and all verify.
    pub fn new(
        name: impl Into<Arc<str>>,
        issuer: impl Into<Arc<str>>,
        audience: impl Into<Arc<str>>,
        keys: Vec<SigningKey>,
    ) -> Result<Self, NoSigningKey> {
        if keys.is_empty() {
            return Err(NoSigningKey);
        }
        Ok(Self { name: name.into(), issuer: issuer.into(), audience: audience.into(), keys })
    }

    /// Issues a token. Its id is made from the random bytes.
    pub fn issue(&self, request: &TokenRequest<'_>, random: [u8; 16], now: Timestamp) -> Result<IssuedToken, NoSigningKey> {
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), request.subject.into());
        claims.extend(act(request.actors).map(|act| ("act".to_owned(), act)));
        claims.extend(request.purpose.map(|purpose| ("purpose".to_owned(), purpose.into())));
        let expires = Timestamp::from_secs(now.as_secs().saturating_add(i64::from(request.lifetime)));
        self.sign(claims, expires, random, now)
    }

    /// Issues the token that came of an exchange. It ends after this many seconds, or before, with the tokens that it is made from.
    pub fn issue_exchanged(
        &self,
        exchanged: &Exchanged,
        lifetime: u32,
        random: [u8; 16],
        now: Timestamp,
    ) -> Result<IssuedToken, NoSigningKey> {
        let longest = Timestamp::from_secs(now.as_secs().saturating_add(i64::from(lifetime)));
        self.sign(exchanged.claims.clone(), longest.min(exchanged.expires), random, now)
    }

    /// Signs these claims, with those that every token has.
    fn sign(
        &self,
        mut claims: Map<String, Value>,
        expires: Timestamp,
        random: [u8; 16],
        now: Timestamp,
    ) -> Result<IssuedToken, NoSigningKey> {
        let key = self.keys.first().ok_or(NoSigningKey)?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let (issued, expires) = (now.as_secs(), expires.as_secs());
        let always =
            json!({ "iss": *self.issuer, "aud": *self.audience, "iat": issued, "nbf": issued, "exp": expires, "jti": id });
        if let Value::Object(always) = always {
            claims.extend(always);
        }
        let claims = Value::Object(claims);
        // RFC 9068 section 2.1 for the type.
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": *key.kid });
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let token = Secret::new(format!("{message}.{}", encode(key.pair.sign(message.as_bytes()))));
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest::digest(&digest::SHA256, token.expose()).as_ref());
        let (issued, expires) = (Timestamp::from_secs(issued), Timestamp::from_secs(expires));
        Ok(IssuedToken { token, id: id.into(), sha256, issued, expires })
    }

    /// The public keys as a JWK set.
    pub fn jwks(&self) -> String {
        json!({ "keys": self.keys.iter().map(SigningKey::jwk).collect::<Vec<_>>() }).to_string()
    }

    /// The public keys for an [`Authenticator`](crate::Authenticator).
    pub fn key_set(&self) -> Result<KeySet, InvalidKeySet> {
        KeySet::parse_jwks(self.jwks().as_bytes())
    }

    /// The name under which the directory and policies know this issuer.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

/// `act`, the current actor outermost.
fn act(actors: &[&str]) -> Option<Value> {
    actors.iter().rev().fold(None, |inner, actor| match inner {
        None => Some(json!({ "sub": actor })),
        Some(inner) => Some(json!({ "sub": actor, "act": inner })),
    })
}

/// An Ed25519 key that signs tokens.
pub struct SigningKey {
    kid: Arc<str>,
    pair: Ed25519KeyPair,
}

/// What cannot be a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningKey {
    /// The text is not one.
    #[error("not an Ed25519 private key in PKCS#8, PEM or DER")]
    Malformed,
    /// None could be made.
    #[error("the system gave no randomness for a key")]
    NoRandomness,
}

impl SigningKey {
    /// A new key, and its PKCS#8 PEM (RFC 7468) for safe keeping.
    pub fn generate(random: &dyn SecureRandom) -> Result<(Self, Secret), InvalidSigningKey> {
        let der = Ed25519KeyPair::generate_pkcs8(random).map_err(|_| InvalidSigningKey::NoRandomness)?;
        let der = Secret::new(der.as_ref());
        let body = Secret::new(STANDARD.encode(der.expose()));
        // Enough room from the start, so that no half-written copy is left behind by growing.
        let mut pem = Vec::with_capacity(512);
        pem.extend_from_slice(PEM_BEGIN.as_bytes());
        for line in body.expose().chunks(64) {
            pem.extend_from_slice(line);
            pem.push(b'\n');
        }
        pem.extend_from_slice(PEM_END.as_bytes());
        Ok((Self::from_der(der.expose())?, Secret::new(pem)))
    }

    /// A key from PKCS#8, PEM or DER.
    pub fn from_pkcs8(key: &Secret) -> Result<Self, InvalidSigningKey> {
        let Some(text) = key.expose_str().map(str::trim).filter(|text| text.starts_with(PEM_BEGIN.trim())) else {
            return Self::from_der(key.expose());
        };
        let body = text.strip_prefix(PEM_BEGIN.trim()).and_then(|text| text.strip_suffix(PEM_END.trim()));
        let body: Vec<u8> = body.ok_or(InvalidSigningKey::Malformed)?.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
        let body = Secret::new(body);
        let der = Secret::new(STANDARD.decode(body.expose()).map_err(|_| InvalidSigningKey::Malformed)?);
        Self::from_der(der.expose())
    }

    /// The key's id: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &Arc<str> {
        &self.kid
    }

    fn from_der(der: &[u8]) -> Result<Self, InvalidSigningKey> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| InvalidSigningKey::Malformed)?;
        // RFC 8037 appendix A.3: the required members in lexicographic order, without white space.
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(pair.public_key()));
        let kid = encode(digest::digest(&digest::SHA256, members.as_bytes()));
        Ok(Self { kid: kid.into(), pair })
    }

    fn jwk(&self) -> Value {
        let x = encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": *self.kid, "x": x })
    }
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
const PEM_END: &str = "-----END PRIVATE KEY-----\n";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
