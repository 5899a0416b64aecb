//! Grants and requests for them, in memory: what state each is in.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_model::{ApprovalId, PrincipalKey, Timestamp};

use super::{Grant, GrantStanding};

/// The most that are remembered after their end; those that are to be reviewed are remembered until they are.
const MOST_OVER: usize = 1000;

/// Grants and requests for them.
#[derive(Default)]
pub(super) struct Book(BTreeMap<ApprovalId, Grant>);

impl Book {
    pub(super) fn of(kept: impl IntoIterator<Item = Grant>) -> Self {
        Self(kept.into_iter().map(|grant| (grant.id, grant)).collect())
    }

    pub(super) fn list(&self) -> Vec<Grant> {
        self.0.values().cloned().collect()
    }

    pub(super) fn get(&self, id: ApprovalId) -> Option<Grant> {
        self.0.get(&id).cloned()
    }

    /// What is in force, as far as it is known to be over.
    pub(super) fn in_force(&self) -> Vec<Arc<Grant>> {
        self.0.values().filter(|grant| grant.standing == GrantStanding::Active).cloned().map(Arc::new).collect()
    }

    /// How many can be decided or are in force, and how many of these are this actor's.
    pub(super) fn open(&self, actor: &PrincipalKey) -> (usize, usize) {
        let open = || self.0.values().filter(|grant| is_open(grant));
        (open().count(), open().filter(|grant| grant.who.first() == Some(actor)).count())
    }

    /// How many grants this actor has taken in emergencies that nobody has looked into.
    pub(super) fn unreviewed(&self, actor: &PrincipalKey) -> usize {
        self.0.values().filter(|grant| grant.is_unreviewed() && grant.who.first() == Some(actor)).count()
    }

    /// Those whose time is over: of requests, that to be decided in.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Grant> {
        let due = |grant: &&Grant| match grant.standing {
            GrantStanding::Pending => grant.decide_by <= now,
            GrantStanding::Active => grant.until.is_none_or(|until| until <= now),
            _ => false,
        };
        self.0.values().filter(due).cloned().collect()
    }

    /// Those that can still be used or decided, and that one of whose parties does not stand any more.
    pub(super) fn orphans(&self, stands: impl Fn(&PrincipalKey) -> bool) -> Vec<Grant> {
        self.0.values().filter(|grant| is_open(grant) && !grant.parties().all(&stands)).cloned().collect()
    }

    pub(super) fn put(&mut self, grant: Grant) {
        self.0.insert(grant.id, grant);
        let is_over =
            |grant: &&Grant| !matches!(grant.standing, GrantStanding::Pending | GrantStanding::Active) && !grant.is_unreviewed();
        if self.0.len() > MOST_OVER && self.0.values().filter(is_over).count() > MOST_OVER {
            // Ids begin with their time.
            let oldest = self.0.values().find(is_over).map(|grant| grant.id);
            oldest.map(|id| self.0.remove(&id));
        }
    }
}

fn is_open(grant: &Grant) -> bool {
    matches!(grant.standing, GrantStanding::Pending | GrantStanding::Active)
}
