//! Grants and requests for them, in memory: what state each is in.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_model::{ApprovalId, Chain, PrincipalKey, Timestamp};

use super::{Grant, GrantStanding};
use crate::Reviewing;

/// The most that are remembered after their end; those that are to be reviewed are remembered until they are.
const MOST_OVER: usize = 1000;

/// Grants and requests for them.
#[derive(Default)]
pub(super) struct Book(BTreeMap<ApprovalId, Grant>);

impl Book {
    pub(super) fn of(kept: impl IntoIterator<Item = Grant>) -> Self {
        Self(kept.into_iter().map(|grant| (grant.id, grant)).collect())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Grant> {
        self.0.values()
    }

    pub(super) fn get(&self, id: ApprovalId) -> Option<&Grant> {
        self.0.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ApprovalId) -> Option<&mut Grant> {
        self.0.get_mut(&id)
    }

    /// Those that are in force, but for those whose time is over and that nobody has found so yet.
    pub(super) fn in_force(&self) -> Vec<Arc<Grant>> {
        self.0.values().filter(|grant| grant.standing == GrantStanding::Active).cloned().map(Arc::new).collect()
    }

    /// How many are open, and how many of these have to do with one who has to do with this chain.
    pub(super) fn open(&self, chain: &Chain, rules: &Reviewing) -> (usize, usize) {
        let open = || self.0.values().filter(|grant| grant.standing.is_open());
        (open().count(), open().filter(|grant| are_related(&grant.chain, chain, rules)).count())
    }

    /// How many that were taken in emergencies wait for a review, of those who have to do with one who has to do with this chain.
    pub(super) fn unreviewed(&self, chain: &Chain, rules: &Reviewing) -> usize {
        self.0.values().filter(|grant| grant.is_unreviewed() && are_related(&grant.chain, chain, rules)).count()
    }

    /// Ends what is open and whose time is over, or that has lost somebody; gives it.
    pub(super) fn end_due(&mut self, now: Timestamp, stands: impl Fn(&Grant) -> bool) -> Vec<Grant> {
        let open = self.0.values_mut().filter(|grant| grant.standing.is_open());
        let ended = open.filter_map(|grant| {
            let over = match grant.standing {
                GrantStanding::Pending => (grant.decide_by <= now).then_some(GrantStanding::Expired),
                _ => grant.until.is_none_or(|until| until <= now).then_some(GrantStanding::Ended),
            };
            grant.standing = over.or_else(|| (!stands(grant)).then_some(GrantStanding::Revoked))?;
            Some(grant.clone())
        });
        ended.collect()
    }

    /// Takes a request in; gives what need not be remembered any more.
    pub(super) fn insert(&mut self, grant: Grant) -> Option<ApprovalId> {
        self.0.insert(grant.id, grant);
        self.surplus()
    }

    /// The oldest that is over, if there are too many: ids begin with their time.
    pub(super) fn surplus(&mut self) -> Option<ApprovalId> {
        if self.0.len() <= MOST_OVER || self.0.values().filter(|grant| grant.is_over()).count() <= MOST_OVER {
            return None;
        }
        let oldest = self.0.values().find(|grant| grant.is_over()).map(|grant| grant.id)?;
        self.0.remove(&oldest).map(|grant| grant.id)
    }
}

/// Whether one of those who ask in the one chain, or who answers for them, may be one of the other.
fn are_related(one: &Chain, other: &Chain, rules: &Reviewing) -> bool {
    let related = |a: &PrincipalKey| other.dependencies().any(|b| rules.is_same_person(a, b));
    one.dependencies().any(related)
}
