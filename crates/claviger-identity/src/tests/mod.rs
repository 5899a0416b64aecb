#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::needless_pass_by_value)]

mod certificates;
mod chains;
mod exchange;
mod groups;
mod keys;
mod local;
mod metadata;
mod shapes;
mod tokens;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_model::{PrincipalKey, PrincipalKind, Secret, Timestamp};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::{Algorithm, Authenticator, Directory, KeySet, Registered, TrustedIssuer};

const NOW_SECS: i64 = 1_800_000_000;
const NOW: Timestamp = Timestamp::from_secs(NOW_SECS);

/// An issuer's key pair. Tokens are signed by another implementation than the one that verifies them.
enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Pair {
    /// A key of 2048 bits that signs nothing but what these tests make.
    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_der(include_bytes!("rsa.der")).unwrap())
    }

    fn ec(curve: &'static str) -> Self {
        let random = SystemRandom::new();
        let kind = if curve == "P-256" { &ECDSA_P256_SHA256_FIXED_SIGNING } else { &ECDSA_P384_SHA384_FIXED_SIGNING };
        let der = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(kind, der.as_ref(), &random).unwrap(), curve)
    }

    fn ed() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap())
    }

    /// A key for others to sign with, and the same for us.
    fn pkcs8(algorithm: &str) -> (Vec<u8>, Self) {
        let random = SystemRandom::new();
        if algorithm == "EdDSA" {
            let der = Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref().to_vec();
            let pair = Ed25519KeyPair::from_pkcs8(&der).unwrap();
            return (der, Self::Ed(pair));
        }
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap().as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(kind, &der, &random).unwrap();
        (der, Self::Ec(pair, "P-256"))
    }

    fn for_algorithm(algorithm: &str) -> Self {
        match algorithm {
            "ES256" => Self::ec("P-256"),
            "ES384" => Self::ec("P-384"),
            "EdDSA" => Self::ed(),
            _ => Self::rsa(),
        }
    }

    /// The public half as a JWK.
    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "kid": kid, "n": encode(public.n), "e": encode(public.e) })
            }
            Self::Ec(pair, curve) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(if *curve == "P-256" { 32 } else { 48 });
                json!({ "kty": "EC", "crv": curve, "kid": kid, "x": encode(x), "y": encode(y) })
            }
            Self::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode(pair.public_key()) }),
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let padding: &dyn ring::signature::RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims, in whatever text they are.
    fn token_of(&self, header: &str, claims: &str) -> Secret {
        let algorithm = serde_json::from_str::<Value>(header).ok().and_then(|header| Some(header["alg"].as_str()?.to_owned()));
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.sign(algorithm.as_deref().unwrap_or("EdDSA"), message.as_bytes());
        Secret::new(format!("{message}.{}", encode(signature)))
    }

    fn token(&self, claims: &Value) -> Secret {
        self.token_of(&json!({ "alg": "EdDSA", "typ": "JWT", "kid": "k" }).to_string(), &claims.to_string())
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwks(keys: &[Value]) -> KeySet {
    KeySet::parse_jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// The external issuer `okta`, whose `iss` is a URL.
fn okta() -> TrustedIssuer {
    TrustedIssuer {
        max_lifetime: 3600,
        groups: vec!["groups".parse().unwrap()],
        ..TrustedIssuer::new("okta", "https://okta.example", "claviger")
    }
}

/// The local issuer.
fn local() -> TrustedIssuer {
    let local = TrustedIssuer::new("local", "https://gateway.example", "claviger");
    TrustedIssuer { max_lifetime: 3600, clock_skew: 0, act_believed: true, ..local }
}

/// Claims of a good token of `okta`, with changes; `null` removes one.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://okta.example", "sub": "alice", "aud": "claviger",
        "iat": NOW_SECS, "exp": NOW_SECS + 600, "jti": "t1",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn key(text: &str) -> PrincipalKey {
    let (subject, issuer) = text.split_once('@').unwrap_or((text, "local"));
    PrincipalKey::new(issuer, subject)
}

fn registered(kind: PrincipalKind, groups: &[&str], sponsor: Option<&str>) -> Registered {
    let groups = groups.iter().map(|group| Arc::from(*group)).collect();
    Registered { kind, groups, sponsor: sponsor.map(key), disabled: false }
}

/// Trusts `okta` and the local issuer, both with this pair's key under the id `k`.
fn authenticator(pair: &Pair, directory: Directory) -> Authenticator {
    let authenticator = Authenticator::new(vec![okta(), local()], directory);
    for issuer in ["okta", "local"] {
        authenticator.set_keys(issuer, jwks(&[pair.jwk("k")]));
    }
    authenticator
}

fn code(authenticator: &Authenticator, token: &Secret) -> &'static str {
    authenticator.verify(token, NOW).map_or_else(|denied| denied.code(), |_| "ok")
}
