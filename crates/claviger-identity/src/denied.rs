//! Why somebody was not believed.

use std::fmt;
use std::sync::Arc;

use claviger_model::Chain;

/// A proof of identity that was not accepted. Says which kind of problem it is and never carries any part of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Denied {
    reason: Reason,
    wanted: Option<Wanted>,
    chain: Option<Box<Chain>>,
}

impl Denied {
    /// The stable code of the reason, for the audit log and for programs.
    pub fn code(&self) -> &'static str {
        self.reason.facts().0
    }

    /// Who it was, where the token itself was good and the principals are what it failed on.
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_deref()
    }

    pub(crate) fn of_chain(reason: Reason, chain: Chain) -> Self {
        Self { reason, wanted: None, chain: Some(Box::new(chain)) }
    }

    /// Whether something that can be fetched may make the same proof acceptable.
    pub fn may_be_helped(&self) -> bool {
        self.wanted.is_some()
    }

    pub(crate) fn for_want_of(reason: Reason, wanted: Wanted) -> Self {
        Self { reason, wanted: Some(wanted), chain: None }
    }

    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }
}

impl From<Reason> for Denied {
    fn from(reason: Reason) -> Self {
        Self { reason, wanted: None, chain: None }
    }
}

/// What is not at hand.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A key of this issuer, with the key's id if the token names one.
    Key { issuer: Arc<str>, kid: Option<Arc<str>> },
    /// The groups of whoever holds the token, which this issuer knows.
    Groups { issuer: Arc<str> },
}

/// The key id is the client's text, so it stays out.
impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, issuer) = match self {
            Self::Key { issuer, .. } => ("Key", issuer),
            Self::Groups { issuer } => ("Groups", issuer),
        };
        f.debug_struct(what).field("issuer", issuer).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Malformed,
    ClaimMissing,
    Type,
    UnknownIssuer,
    Algorithm,
    KeysUnavailable,
    UnknownKey,
    Signature,
    Expired,
    NotYetValid,
    Lifetime,
    Audience,
    Groups,
    GroupsUnavailable,
    Requirement,
    TrustDomain,
    Revoked,
    PrincipalUnknown,
    PrincipalDisabled,
    SponsorDisabled,
    DelegationUntrusted,
    DelegationUnregistered,
    DelegationDepth,
    CertificateMalformed,
    CertificateUntrusted,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateLifetime,
    CertificateSubject,
    ExchangeDepth,
    ExchangePurpose,
}

impl Reason {
    fn facts(self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed => ("token.malformed", "the token is not a well-formed JWT"),
            Self::ClaimMissing => ("token.claim_missing", "the token lacks a required claim"),
            Self::Type => ("token.type", "the token is of a type that does not prove an identity"),
            Self::UnknownIssuer => ("token.unknown_issuer", "the token's issuer is not trusted here"),
            Self::Algorithm => ("token.algorithm", "the token is signed with an algorithm that is not accepted from its issuer"),
            Self::KeysUnavailable => ("keys.unavailable", "the keys of the token's issuer are not available at the moment"),
            Self::UnknownKey => ("token.unknown_key", "the token is signed with a key that its issuer does not publish"),
            Self::Signature => ("token.signature", "the token's signature is not valid"),
            Self::Expired => ("token.expired", "the token has expired"),
            Self::NotYetValid => ("token.not_yet_valid", "the token is not valid yet"),
            Self::Lifetime => ("token.lifetime", "the token is valid for longer than is accepted from its issuer"),
            Self::Audience => ("token.audience", "the token is meant for another audience"),
            Self::Groups => ("token.groups", "the token does not carry the principal's groups in full"),
            Self::GroupsUnavailable => {
                ("groups.unavailable", "the principal's groups could not be learnt from the token's issuer at the moment")
            }
            Self::Requirement => ("token.requirement", "the token does not say what is required of its issuer's tokens"),
            Self::TrustDomain => ("token.trust_domain", "the token names somebody outside its issuer's trust domain"),
            Self::Revoked => ("token.revoked", "the token has been revoked"),
            Self::PrincipalUnknown => ("principal.unknown", "the principal is not registered here"),
            Self::PrincipalDisabled => ("principal.disabled", "the principal is disabled"),
            Self::SponsorDisabled => ("sponsor.disabled", "the principal's sponsor is disabled"),
            Self::DelegationUntrusted => ("delegation.untrusted", "the token's issuer is not trusted to delegate"),
            Self::DelegationUnregistered => ("delegation.unregistered", "the actor is not registered to act for this subject"),
            Self::ExchangeDepth => ("exchange.depth", "the token was exchanged too many times"),
            Self::ExchangePurpose => ("exchange.purpose", "the tokens are for different purposes"),
            Self::DelegationDepth => ("delegation.depth", "the token delegates through too many principals"),
            Self::CertificateMalformed => ("certificate.malformed", "the client certificate is malformed"),
            Self::CertificateUntrusted => {
                ("certificate.untrusted", "the client certificate is not from an authority that is trusted here")
            }
            Self::CertificateExpired => ("certificate.expired", "the client certificate has expired"),
            Self::CertificateNotYetValid => ("certificate.not_yet_valid", "the client certificate is not valid yet"),
            Self::CertificateLifetime => {
                ("certificate.lifetime", "the client certificate is valid for longer than is accepted from its authority")
            }
            Self::CertificateSubject => {
                ("certificate.subject", "the client certificate does not name its holder as its authority's ought to")
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().1)
    }
}
