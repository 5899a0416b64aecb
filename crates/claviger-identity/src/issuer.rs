//! Whom the gateway trusts to say who somebody is, and how far.

use std::str::FromStr;
use std::sync::Arc;

use claviger_model::PrincipalKind;

use crate::{ClaimPath, Requirement, SubjectTemplate};

/// The trust placed in one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// The name under which policies, the directory and the log know it, such as `github`. Must be unique, must not contain
    /// `/`, and must never be given to another issuer, because it is half of a principal's key.
    pub name: Arc<str>,
    /// The exact `iss`. That of a SPIFFE trust domain is `spiffe://` and its name, because JWT-SVIDs need have no `iss`.
    pub issuer: Arc<str>,
    /// What must stand in `aud`.
    pub audience: Arc<str>,
    /// The signature algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The most seconds from `iat` to `exp`.
    pub max_lifetime: u32,
    /// By how many seconds the issuer's clock may differ from ours.
    pub clock_skew: u32,
    /// How the subject is made from claims.
    pub subject: SubjectTemplate,
    /// What its principals are. Those of the local issuer are what they are registered as.
    pub kind: PrincipalKind,
    /// What claims must say, besides, for a token to be accepted.
    pub require: Vec<Requirement>,
    /// The claims that list groups.
    pub groups: Vec<ClaimPath>,
    /// Whether groups that a token does not list are asked of the issuer's userinfo endpoint.
    pub userinfo: bool,
    /// Whether its `act` claims (RFC 8693) are believed. If not, a token with `act` is refused.
    pub act_believed: bool,
}

impl TrustedIssuer {
    /// The least trust: users, named by `sub`, of tokens that last a day at most, without groups, who act for nobody.
    pub fn new(name: impl Into<Arc<str>>, issuer: impl Into<Arc<str>>, audience: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            issuer: issuer.into(),
            audience: audience.into(),
            algorithms: Algorithm::ALL.to_vec(),
            max_lifetime: 24 * 3600,
            clock_skew: 60,
            subject: SubjectTemplate::default(),
            kind: PrincipalKind::User,
            require: Vec::new(),
            groups: Vec::new(),
            userinfo: false,
            act_believed: false,
        }
    }

    /// Whether it is a SPIFFE trust domain, whose principals are named by SPIFFE ids below its own.
    pub(crate) fn is_trust_domain(&self) -> bool {
        self.issuer.starts_with(SPIFFE)
    }
}

/// How SPIFFE ids begin.
pub(crate) const SPIFFE: &str = "spiffe://";

/// A signature algorithm of RFC 7518 or RFC 8037. There is no `none` and no HMAC here, so neither can be allowed by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// A name that is not one of an asymmetric signature algorithm known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA")]
pub struct UnknownAlgorithm(String);

impl Algorithm {
    /// Every one of them.
    pub const ALL: [Self; 9] =
        [Self::RS256, Self::RS384, Self::RS512, Self::PS256, Self::PS384, Self::PS512, Self::ES256, Self::ES384, Self::EdDSA];

    /// The name in a token's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        // RFC 9864 section 2.2.
        let text = if text == "Ed25519" { "EdDSA" } else { text };
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        known.ok_or_else(|| UnknownAlgorithm(text.chars().take(80).collect()))
    }
}
