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
mod giving;
mod grant;
mod keeping;
mod steady;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use claviger_model::{ApprovalId, Chain, Timestamp};
use claviger_policy::Scope;

use self::book::Book;
pub use self::giving::AccessError;
pub use self::grant::{AccessAsk, Grant, GrantStanding, Revoked};
pub use self::steady::Steady;
use crate::Connection;
use crate::approvals::Pace;

/// Access that was asked for and given.
pub struct Access {
    book: Mutex<Book>,
    /// What is in force, which every operation looks at.
    in_force: ArcSwap<Vec<Arc<Grant>>>,
    time: Steady,
    /// How far it had gone on when that was last kept, in microseconds.
    noted: AtomicI64,
    /// How often each actor asks.
    pace: Mutex<Pace>,
    /// What is given is given one after the other: it is looked at, recorded and kept.
    giving: Mutex<()>,
    /// What is kept is kept one after the other; and what could not be kept as it is.
    keeping: Mutex<BTreeSet<ApprovalId>>,
    grants: Arc<dyn Grants>,
}

/// Keeps grants, and the requests for them.
pub trait Grants: Send + Sync + 'static {
    /// Keeps this, in place of what was kept of it before. On return it is on stable storage. May block.
    fn keep(&self, grant: &Grant) -> Result<(), GrantsFailed>;
    /// Keeps nothing of this any more. May block.
    fn forget(&self, id: ApprovalId) -> Result<(), GrantsFailed>;
    /// Keeps how far time has gone on, so that a restart does not begin before that. May block.
    fn note_time(&self, at: Timestamp) -> Result<(), GrantsFailed>;
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

    /// The ids of those at these places.
    pub(crate) fn ids_at(&self, places: &[usize]) -> Arc<[Arc<str>]> {
        let at = places.iter().filter_map(|place| self.grants.get(*place));
        at.map(|grant| grant.id.to_string().into()).collect()
    }

    /// Whether all of these ids are among them.
    pub(crate) fn hold(&self, ids: &[Arc<str>]) -> bool {
        ids.iter().all(|id| self.grants.iter().any(|grant| grant.id.to_string() == **id))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.grants.is_empty()
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
    /// With what an earlier run has kept. The time goes on from the latest that is known from that.
    pub fn new(grants: Arc<dyn Grants>, kept: Vec<Grant>, time: Steady) -> Self {
        let known = kept.iter().map(Grant::known).max();
        let time = known.into_iter().fold(time, Steady::not_before);
        let book = Book::of(kept);
        let in_force = ArcSwap::from_pointee(book.in_force());
        let (pace, giving, keeping, noted) = Default::default();
        Self { book: Mutex::new(book), in_force, time, noted, pace, giving, keeping, grants }
    }

    /// What is known and fits, oldest first.
    pub fn list(&self, fits: impl Fn(&Grant) -> bool) -> Vec<Grant> {
        self.book().all().filter(|grant| fits(grant)).cloned().collect()
    }

    /// How many fit.
    pub fn count(&self, fits: impl Fn(&Grant) -> bool) -> usize {
        self.book().all().filter(|grant| fits(grant)).count()
    }

    /// One grant, or the request for it.
    pub fn get(&self, id: ApprovalId) -> Option<Grant> {
        self.book().get(id).cloned()
    }

    /// What this chain has at a connection: its grants, or the one that its token is good for alone.
    pub(crate) fn of(&self, chain: &Chain, connection: &Connection, only: Option<ApprovalId>, clock: Timestamp) -> InForce {
        let in_force = self.in_force.load();
        if in_force.is_empty() {
            return InForce { confined: only.is_some(), ..InForce::default() };
        }
        let latest = self.time.latest(clock);
        let counts = |grant: &&Arc<Grant>| {
            only.is_none_or(|only| grant.id == only)
                && grant.is_in_force(latest)
                && grant.is_for(connection)
                && grant.is_of(chain)
        };
        let grants: Vec<_> = in_force.iter().filter(counts).cloned().collect();
        InForce { scopes: grants.iter().map(|grant| Arc::clone(&grant.scope)).collect(), grants, confined: only.is_some() }
    }

    /// A panic elsewhere leaves a book that is whole: each change of it is one.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
