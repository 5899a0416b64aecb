//! Whom the gateway trusts to say who somebody is, and how far.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use claviger_model::PrincipalKind;
use serde_json::{Map, Value};

/// The trust placed in one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// The name under which policies, the directory and the log know it, such as `github`. Must be unique, must not contain
    /// `/`, and must never be given to another issuer, because it is half of a principal's key.
    pub name: Arc<str>,
    /// The exact `iss`.
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
    /// The claim that lists the groups.
    pub groups_claim: Option<Arc<str>>,
    /// Whether its `act` claims (RFC 8693) are believed. If not, a token with `act` is refused.
    pub act_believed: bool,
}

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
    const ALL: [Self; 9] =
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
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        known.ok_or_else(|| UnknownAlgorithm(text.chars().take(80).collect()))
    }
}

/// How a subject is made from claims: text with claim names in braces, such as `{sub}` or `repository:{repository_id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Claim(String),
}

/// A text that is not a subject template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a subject template: it needs at least one claim name in braces, such as `{{sub}}`")]
pub struct InvalidTemplate(String);

impl SubjectTemplate {
    /// The subject that these claims make; `None` if a claim is missing or is neither text nor a whole number.
    pub(crate) fn fill(&self, claims: &Map<String, Value>) -> Option<String> {
        let mut subject = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => subject.push_str(text),
                Part::Claim(name) => match claims.get(name)? {
                    Value::String(text) if !text.is_empty() => subject.push_str(text),
                    Value::Number(number) if number.is_i64() || number.is_u64() => subject.push_str(&number.to_string()),
                    _ => return None,
                },
            }
        }
        Some(subject)
    }
}

impl Default for SubjectTemplate {
    fn default() -> Self {
        Self(vec![Part::Claim("sub".into())])
    }
}

impl FromStr for SubjectTemplate {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let invalid = || InvalidTemplate(text.chars().take(80).collect());
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (claim, after) = after.split_once('}').ok_or_else(invalid)?;
            if claim.is_empty() || claim.contains('{') || before.contains('}') {
                return Err(invalid());
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::Claim(claim.into()));
            rest = after;
        }
        if parts.is_empty() || rest.contains('}') {
            return Err(invalid());
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for SubjectTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Claim(name) => write!(f, "{{{name}}}"),
        })
    }
}
