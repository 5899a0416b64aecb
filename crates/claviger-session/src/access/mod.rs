//! Access for a time: *grants*.
//!
//! Whoever lacks access to a connection asks for it ([`Gateway::ask_access`](crate::Gateway::ask_access)), for so long and for a reason.
//! Policy says whether it may be had, and which groups must approve it first; reviewers are those of approvals, by the same rules. While
//! a grant is in force, policy is asked with `granted` in its context about whatever the grant covers. So a grant permits nothing by
//! itself, and is never wider than what policies permit to whoever has one.
//!
//! In an emergency access can be taken at once, *break-glass*, where policy permits that: it is to be reviewed afterwards, and who has
//! such reviews outstanding cannot do it again.
//!
//! Every change is recorded and kept by the store ([`Grants`]) before it takes effect.

mod acts;
mod book;
mod grant;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use claviger_model::{ApprovalId, Chain, ConnectionName, Timestamp};
use claviger_policy::Scope;

pub use self::acts::AccessError;
use self::book::Book;
pub use self::grant::{AccessAsk, Grant, GrantStanding, Revoked};

/// Access that was asked for and given.
pub struct Access {
    book: Mutex<Book>,
    /// What is in force, which every operation looks at.
    in_force: ArcSwap<Vec<Arc<Grant>>>,
    /// The latest time that was heard of, in microseconds: a clock that is set back prolongs nothing.
    latest: AtomicI64,
    grants: Arc<dyn Grants>,
}

/// Keeps grants, and the requests for them.
pub trait Grants: Send + Sync + 'static {
    /// Keeps this, in place of what was kept of it before. On return it is on stable storage. May block.
    fn keep(&self, grant: &Grant) -> Result<(), GrantsFailed>;
}

/// Grants could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("grants cannot be kept: {0}")]
pub struct GrantsFailed(pub Arc<str>);

/// How access is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// How long a request can be decided.
    pub ttl: Duration,
    /// The longest that a grant may last, whatever policy says.
    pub longest: Duration,
    /// The same of one that is taken in an emergency.
    pub longest_break_glass: Duration,
    /// The groups that review what was taken in an emergency, where policy names none for the same request without one.
    pub reviewers: Vec<Arc<str>>,
    /// How many of one actor may wait for that review before no more can be taken.
    pub most_unreviewed: usize,
}

impl Default for AccessRules {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(24 * 3600),
            longest: Duration::from_secs(12 * 3600),
            longest_break_glass: Duration::from_secs(3600),
            reviewers: Vec::new(),
            most_unreviewed: 2,
        }
    }
}

/// The grants in force for one session, as its policy is asked about them.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    grants: Vec<Arc<Grant>>,
    scopes: Vec<Arc<Scope>>,
    confined: bool,
}

impl InForce {
    /// What policy is told of them.
    pub fn told(&self) -> claviger_policy::Grants<'_> {
        claviger_policy::Grants { scopes: &self.scopes, confined: self.confined }
    }

    /// Their ids, for the record.
    pub(crate) fn ids(&self) -> Arc<[Arc<str>]> {
        self.grants.iter().map(|grant| grant.id.to_string().into()).collect()
    }

    /// Whether the session has a grant's own token, and the grant is over.
    pub(crate) fn is_over(&self) -> bool {
        self.confined && self.grants.is_empty()
    }

    /// Whether the session has a grant's own token.
    pub(crate) fn is_confined(&self) -> bool {
        self.confined
    }
}

impl Access {
    /// With what an earlier run has kept.
    pub fn new(grants: Arc<dyn Grants>, kept: impl IntoIterator<Item = Grant>) -> Self {
        let book = Book::of(kept);
        let in_force = ArcSwap::from_pointee(book.in_force());
        Self { book: Mutex::new(book), in_force, latest: AtomicI64::new(i64::MIN), grants }
    }

    /// Everything that is known, oldest first.
    pub fn list(&self) -> Vec<Grant> {
        self.book().list()
    }

    /// One grant, or the request for it.
    pub fn get(&self, id: ApprovalId) -> Option<Grant> {
        self.book().get(id)
    }

    /// How many are in force.
    pub fn in_force(&self) -> usize {
        self.in_force.load().len()
    }

    /// What this chain has at a connection: its grants, or the one that its token is good for alone.
    pub(crate) fn of(&self, chain: &Chain, connection: &ConnectionName, only: Option<ApprovalId>, now: Timestamp) -> InForce {
        let in_force = self.in_force.load();
        if in_force.is_empty() {
            return InForce { confined: only.is_some(), ..InForce::default() };
        }
        let now = self.advance(now);
        let counts = |grant: &&Arc<Grant>| {
            only.is_none_or(|only| grant.id == only)
                && grant.is_in_force(now)
                && grant.connection == *connection
                && grant.is_of(chain)
        };
        let grants: Vec<_> = in_force.iter().filter(counts).cloned().collect();
        InForce { scopes: grants.iter().map(|grant| Arc::clone(&grant.scope)).collect(), grants, confined: only.is_some() }
    }

    /// The time now, which never goes back.
    fn advance(&self, now: Timestamp) -> Timestamp {
        let before = self.latest.fetch_max(now.as_micros(), Ordering::AcqRel);
        Timestamp::from_micros(before.max(now.as_micros()))
    }

    /// A panic elsewhere leaves a book that is whole: each change of it is one.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
