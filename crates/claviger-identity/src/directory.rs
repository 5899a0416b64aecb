//! What the gateway itself knows of principals: a snapshot that never changes once built.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use claviger_model::{PrincipalKey, PrincipalKind};

/// What is registered of one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Human or machine. Counts for the local issuer only: what foreign principals are, their issuer's trust record says.
    pub kind: PrincipalKind,
    /// The groups it belongs to, named within its issuer.
    pub groups: Vec<Arc<str>>,
    /// The human who answers for it.
    pub sponsor: Option<PrincipalKey>,
    /// Whether it has been disabled.
    pub disabled: bool,
}

/// Registered principals, delegations and revoked tokens, as they stood at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    local_issuer: Arc<str>,
    principals: HashMap<PrincipalKey, Registered>,
    delegations: HashSet<(PrincipalKey, PrincipalKey)>,
    revoked: HashSet<(Arc<str>, Arc<str>)>,
}

impl Directory {
    /// An empty directory. The name is that of the local issuer, whose principals must be registered.
    pub fn new(local_issuer: impl Into<Arc<str>>) -> Self {
        Self {
            local_issuer: local_issuer.into(),
            principals: HashMap::new(),
            delegations: HashSet::new(),
            revoked: HashSet::new(),
        }
    }

    /// With this principal. One of an external issuer is registered to give it a sponsor or further groups, or to disable it.
    #[must_use]
    pub fn with_principal(mut self, key: PrincipalKey, registered: Registered) -> Self {
        self.principals.insert(key, registered);
        self
    }

    /// With the right of this actor to act for this subject.
    #[must_use]
    pub fn with_delegation(mut self, actor: PrincipalKey, subject: PrincipalKey) -> Self {
        self.delegations.insert((actor, subject));
        self
    }

    /// With this token, named by its issuer's name and its id, revoked.
    #[must_use]
    pub fn with_revoked(mut self, issuer: impl Into<Arc<str>>, token: impl Into<Arc<str>>) -> Self {
        self.revoked.insert((issuer.into(), token.into()));
        self
    }

    /// The name of the local issuer.
    pub fn local_issuer(&self) -> &Arc<str> {
        &self.local_issuer
    }

    /// What is registered of a principal.
    pub fn principal(&self, key: &PrincipalKey) -> Option<&Registered> {
        self.principals.get(key)
    }

    /// Whether an actor may act for a subject.
    pub fn may_act(&self, actor: &PrincipalKey, subject: &PrincipalKey) -> bool {
        self.delegations.contains(&(actor.clone(), subject.clone()))
    }

    /// Whether a token, named by its issuer's name and its id, has been revoked.
    pub fn is_revoked(&self, issuer: &Arc<str>, token: &Arc<str>) -> bool {
        self.revoked.contains(&(issuer.clone(), token.clone()))
    }

    /// Whether the principals of this issuer are those registered here, and no others.
    pub(crate) fn is_local(&self, issuer: &str) -> bool {
        *self.local_issuer == *issuer
    }
}
