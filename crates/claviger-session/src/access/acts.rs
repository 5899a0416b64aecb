//! Reviewing access, and ending it. What takes something away takes effect at once, whatever becomes of the record.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use claviger_audit::{AccessEvent, AccessLeaf, Position};
use claviger_identity::Identity;
use claviger_model::{ApprovalId, PrincipalKey, Timestamp};

use super::keeping::leaf;
use super::{AccessError, Grant, GrantStanding, Revoked};
use crate::approvals::{Ballot, Reviewer, cut};
use crate::{ConsentsFailed, Gateway, ReviewError, Said, Standing, Vote};

/// Who ends what can go on no longer, in the record.
pub(super) const GATEWAY: &str = "gateway";
/// The stable code for that.
const DISABLED: &str = "principal.disabled";

impl Gateway {
    /// A reviewer looks at a request. May block, as it is recorded.
    pub fn look_at_access(&self, id: ApprovalId, reviewer: &Identity) -> Result<Grant, ReviewError> {
        let grant = self.access.get(id).ok_or(ReviewError::Unknown)?;
        self.note_access(&reviewed(reviewer, leaf(&grant, AccessEvent::Seen), None)).map_err(review_error)?;
        Ok(grant)
    }

    /// A reviewer decides a request, takes back what was given, or looks into what was taken in an emergency. May block.
    pub fn review_access(
        &self,
        id: ApprovalId,
        reviewer: &Identity,
        said: &Said,
        reason: Option<&str>,
        synced: impl Fn(Position) -> Result<(), ReviewError>,
    ) -> Result<Grant, ReviewError> {
        if matches!(said, Said::Edit(_)) {
            return Err(ReviewError::NotEditable("it is no statement"));
        }
        let reason: Option<Arc<str>> = reason.map(|reason| cut(reason).into());
        if *said == Said::Deny {
            return self.deny_access(id, reviewer, reason);
        }
        // Taking away does not wait for this.
        let _giving = self.access.giving.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = self.access.get(id).ok_or(ReviewError::Unknown)?;
        let vote = self.vote(&grant, reviewer, said, reason.clone())?;
        let event = if grant.scope.break_glass { AccessEvent::Reviewed } else { AccessEvent::Approved };
        let note = |leaf| self.note_access(&leaf).and_then(|at| synced(at).map_err(|_| AccessError::NotRecorded));
        let counts = AccessLeaf { groups: [Arc::clone(&vote.group)].into(), ..reviewed(reviewer, leaf(&grant, event), reason) };
        note(counts).map_err(review_error)?;
        let latest = self.access.time.latest(self.now());
        let after = self.change_grant(id, ReviewError::Unknown, |grant| {
            takes_back(grant, said, latest)?;
            grant.votes.push(vote);
            Ok(())
        })?;
        self.access.keep(id).map_err(|error| review_error(error.into()))?;
        if after.standing != GrantStanding::Pending || !after.is_decided() {
            return Ok(after);
        }
        if let Err(error) = self.may_be_given(&after) {
            _ = self.end_access(id, GATEWAY, None, Some(error.to_string().into()));
            return Err(ReviewError::NotPermitted(error.to_string().into()));
        }
        self.give(id, note).map_err(review_error)
    }

    /// Ends a grant, or withdraws the request for it. It is over when this returns, also if that could not be recorded or kept.
    pub fn revoke_access(
        &self,
        id: ApprovalId,
        by: &str,
        token: Option<Arc<str>>,
        reason: Option<&str>,
    ) -> Result<Grant, AccessError> {
        let reason: Option<Arc<str>> = reason.map(|reason| cut(reason).into());
        match self.end_access(id, by, token, reason) {
            // What was over before may still have to be kept.
            Err(AccessError::Over(_)) if !self.access.is_kept(id) => {
                self.access.keep(id)?;
                self.access.get(id).ok_or(AccessError::Unknown)
            }
            ended => ended,
        }
    }

    /// Ends what had its time, and what belongs to somebody who is not there any more. To be called now and then; may block.
    pub fn expire_access(&self) {
        let authenticator = &self.services.authenticator;
        let latest = self.access.time.latest(self.now());
        let ended = {
            let mut book = self.access.book();
            let parties = |grant: &Grant| -> Vec<PrincipalKey> { self.parties(grant) };
            let ended = book.end_due(latest, |grant| parties(grant).iter().all(|key| authenticator.stands(key)));
            if !ended.is_empty() {
                self.access.in_force.store(Arc::new(book.in_force()));
            }
            ended
        };
        for grant in ended {
            self.look_at_grants(&grant);
            let (event, who, reason) = match grant.standing {
                GrantStanding::Expired => (AccessEvent::Expired, None, None),
                GrantStanding::Ended => (AccessEvent::Ended, None, None),
                _ => (AccessEvent::Revoked, Some(GATEWAY), Some(DISABLED.into())),
            };
            let usual = leaf(&grant, event);
            let ended = AccessLeaf { who: who.map_or_else(|| Arc::clone(&usual.who), Into::into), reason, ..usual };
            _ = self.access.keep(grant.id);
            _ = self.note_access(&ended);
        }
        self.access.keep_the_rest();
        self.access.keep_time();
    }

    fn deny_access(&self, id: ApprovalId, reviewer: &Identity, reason: Option<Arc<str>>) -> Result<Grant, ReviewError> {
        let latest = self.access.time.latest(self.now());
        let known = self.access.get(id).ok_or(ReviewError::Unknown)?;
        let vote = self.vote(&known, reviewer, &Said::Deny, reason.clone())?;
        let event = if known.scope.break_glass { AccessEvent::Reviewed } else { AccessEvent::Denied };
        let groups = [Arc::clone(&vote.group)].into();
        let after = self.change_grant(id, ReviewError::Unknown, |grant| {
            takes_back(grant, &Said::Deny, latest)?;
            grant.revoked = Some(Revoked { by: reviewer.chain.to_string().into(), reason: reason.clone() });
            grant.standing = match grant.standing {
                GrantStanding::Pending => GrantStanding::Denied,
                GrantStanding::Active => GrantStanding::Revoked,
                over => over,
            };
            grant.votes.push(vote);
            Ok(())
        })?;
        let kept = self.access.keep(id);
        let denied = AccessLeaf { groups, ..reviewed(reviewer, leaf(&after, event), reason) };
        self.note_access(&denied).map_err(review_error)?;
        kept.map_err(|error| review_error(error.into()))?;
        Ok(after)
    }

    pub(super) fn end_access(
        &self,
        id: ApprovalId,
        by: &str,
        token: Option<Arc<str>>,
        reason: Option<Arc<str>>,
    ) -> Result<Grant, AccessError> {
        let after = self.change_grant(id, AccessError::Unknown, |grant| {
            if !grant.standing.is_open() {
                return Err(AccessError::Over(grant.standing));
            }
            grant.standing = GrantStanding::Revoked;
            grant.revoked = Some(Revoked { by: by.into(), reason: reason.clone() });
            Ok(())
        })?;
        let kept = self.access.keep(id);
        self.note_access(&AccessLeaf { who: by.into(), token, reason, ..leaf(&after, AccessEvent::Revoked) })?;
        kept?;
        Ok(after)
    }

    /// A review of a grant, if it counts.
    fn vote(&self, grant: &Grant, reviewer: &Identity, said: &Said, reason: Option<Arc<str>>) -> Result<Vote, ReviewError> {
        let rules = self.rules();
        let chain = self.services.authenticator.current_chain(reviewer);
        let person = Reviewer::of(&chain, rules.policy.groups_of(chain.actor()))?;
        let takes_back = takes_back(grant, said, self.access.time.latest(self.now()))?;
        let parties = self.parties(grant);
        let ballot = Ballot { askers: parties.iter().collect(), needs: &grant.needs, votes: &grant.votes };
        let need = person.counts_for(&ballot, said, takes_back, &rules.reviewing)?;
        if need.reasons && reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(ReviewError::NoReason);
        }
        let (who, approves, at) = (person.key.clone(), *said == Said::Approve, self.access.time.now());
        Ok(Vote { who, group: need.group, approves, edited: None, reason, at })
    }

    /// All who ask by a grant, and who answer or answered for them: today it may be others than when they asked.
    fn parties(&self, grant: &Grant) -> Vec<PrincipalKey> {
        let today = grant.who().filter_map(|key| self.services.authenticator.sponsor_of(key));
        grant.chain.dependencies().cloned().chain(today).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Whether a review takes back what was given, or an error if there is nothing to review.
fn takes_back(grant: &Grant, said: &Said, latest: Timestamp) -> Result<bool, ReviewError> {
    match grant.standing {
        GrantStanding::Pending if latest < grant.decide_by => Ok(false),
        _ if grant.is_unreviewed() => Ok(false),
        GrantStanding::Active if *said == Said::Deny => Ok(true),
        GrantStanding::Active => Err(ReviewError::Over(Standing::Granted)),
        GrantStanding::Denied => Err(ReviewError::Over(Standing::Denied)),
        GrantStanding::Pending | GrantStanding::Expired | GrantStanding::Ended => Err(ReviewError::Over(Standing::Expired)),
        GrantStanding::Revoked => Err(ReviewError::Over(Standing::Withdrawn)),
    }
}

fn reviewed(reviewer: &Identity, leaf: AccessLeaf, reason: Option<Arc<str>>) -> AccessLeaf {
    AccessLeaf { who: reviewer.chain.to_string().into(), token: Some(Arc::clone(&reviewer.token)), reason, ..leaf }
}

fn review_error(error: AccessError) -> ReviewError {
    match error {
        AccessError::NotTold => ReviewError::NotTold,
        AccessError::NotKept(error) => ReviewError::NotKept(ConsentsFailed(error.to_string().into())),
        AccessError::Over(_) => ReviewError::Over(Standing::Withdrawn),
        _ => ReviewError::NotRecorded,
    }
}
