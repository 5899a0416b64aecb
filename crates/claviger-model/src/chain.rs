//! Who asks: principals, and chains of principals that act for one another.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What identifies a principal: the issuer that vouches for it, and the subject that the issuer calls it.
///
/// Two issuers may use the same subject for different people, so neither half means anything alone. Nothing is ever joined
/// on an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PrincipalKey {
    /// The configured name of the issuer, local or external, which stands for one exact `iss` and is never reused.
    pub issuer: Arc<str>,
    /// The subject within that issuer.
    pub subject: Arc<str>,
}

impl PrincipalKey {
    /// A key from its two halves.
    pub fn new(issuer: impl Into<Arc<str>>, subject: impl Into<Arc<str>>) -> Self {
        Self { issuer: issuer.into(), subject: subject.into() }
    }
}

/// Written `subject@issuer`, as in the audit log and in messages.
impl fmt::Display for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.subject, self.issuer)
    }
}

/// Whether a principal is a human or a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A human being.
    User,
    /// A service account, CI job or AI agent.
    Workload,
}

impl PrincipalKind {
    /// The lower-case word for this kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Workload => "workload",
        }
    }
}

/// One link of a chain: a principal as it was known when it authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Who it is.
    pub key: PrincipalKey,
    /// Human or machine.
    pub kind: PrincipalKind,
    /// The groups it belongs to, sorted and without duplicates.
    pub groups: Vec<Arc<str>>,
    /// The human who answers for a workload, if one is registered.
    pub sponsor: Option<PrincipalKey>,
}

/// A principal, and those it acts for.
///
/// The first link is the *actor*, the party that holds the connection; each next link is the one that the previous link acts
/// for. Rights are the intersection of all links, and the chain dies with any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    links: Vec<Principal>,
}

/// A chain must have at least one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chain needs at least one principal")]
pub struct EmptyChain;

impl Chain {
    /// A chain of one: the principal acts for itself.
    pub fn of(principal: Principal) -> Self {
        Self { links: vec![principal] }
    }

    /// A chain from its links, actor first.
    pub fn from_links(links: Vec<Principal>) -> Result<Self, EmptyChain> {
        if links.is_empty() { Err(EmptyChain) } else { Ok(Self { links }) }
    }

    /// The links, actor first.
    pub fn links(&self) -> &[Principal] {
        &self.links
    }

    /// The party that holds the connection.
    pub fn actor(&self) -> &Principal {
        // INVARIANT: both constructors refuse an empty list.
        #[allow(clippy::indexing_slicing)]
        &self.links[0]
    }

    /// The human end of the chain: the last link if it is a user, else the sponsor of the last link.
    pub fn sponsor(&self) -> Option<&PrincipalKey> {
        let last = self.links.last()?;
        match last.kind {
            PrincipalKind::User => Some(&last.key),
            PrincipalKind::Workload => last.sponsor.as_ref(),
        }
    }

    /// Every principal whose end ends this chain: all links and all their sponsors.
    pub fn dependencies(&self) -> impl Iterator<Item = &PrincipalKey> {
        self.links.iter().flat_map(|link| std::iter::once(&link.key).chain(link.sponsor.as_ref()))
    }
}

/// Written `agent@issuer for alice@issuer`.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, link) in self.links.iter().enumerate() {
            if i > 0 {
                f.write_str(" for ")?;
            }
            link.key.fmt(f)?;
        }
        Ok(())
    }
}
