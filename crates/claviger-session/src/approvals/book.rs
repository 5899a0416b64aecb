//! The requests, in memory: what state each is in, and how that changes. Pure but for the ears that it tells.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use claviger_model::{ApprovalId, PrincipalKey, Timestamp};

use super::pace::Pace;
use super::reviewing::{Reviewer, weigh};
use super::waiting::{Ear, Told};
use super::{Approval, Consent, Digest, ReviewError, Reviewing, Said, Standing, View, Vote};

/// The most requests that are remembered after their end.
const MOST_ENDED: usize = 1000;
/// The most memory that statements and parameters may take, in bytes.
const MOST_BYTES: usize = 64 << 20;
/// A clock that is as much behind has been set back.
const SET_BACK: Duration = Duration::from_secs(1);
/// Those who keep consents hear of the time so often.
const TOLD: Duration = Duration::from_secs(10);

/// The requests.
#[derive(Default)]
pub(super) struct Book {
    entries: BTreeMap<ApprovalId, Entry>,
    /// Consents that nobody waits for.
    kept: HashMap<Digest, Vec<Consent>>,
    ended: VecDeque<ApprovalId>,
    bytes: usize,
    pace: Pace,
    /// The latest time, and how far it is ahead of the clock: one that is set back prolongs nothing.
    latest: Option<Timestamp>,
    ahead: Duration,
    /// The last time that was told to those who keep consents.
    told: Option<Timestamp>,
}

struct Entry {
    approval: Approval,
    /// Where the client waits, if it does.
    ear: Option<Arc<Ear>>,
    /// It is granted, and the consent is being written to stable storage.
    granting: bool,
    /// It is recorded, so that it can be seen and decided.
    is_public: bool,
}

/// What is to become of a consent that has been written.
pub(super) enum Kept {
    /// It can be found by what it is about.
    Found,
    /// Somebody has begun to wait for it meanwhile, and is to be told.
    Awaited(Arc<Ear>),
    /// It was taken back, or has expired.
    Void,
}

/// What came of asking.
pub(super) enum Asked {
    /// The request was made. Nobody sees it before [`Book::publish`].
    Pending(ApprovalId),
    /// It was there, and can be decided still.
    Again(ApprovalId),
    /// It had been granted before; the consent is in nobody else's hands.
    Granted(Consent),
    /// There are too many.
    TooMany,
    /// This actor has asked for too much of late; he may ask again after this time.
    TooOften(Duration),
}

/// What came of a vote that counts.
pub(super) enum Voted {
    /// Others must vote too.
    Counted,
    /// That was the end of it.
    Denied,
    /// All have approved who must. Whoever waits is to be told; if nobody does, the consent is to be written, then [`Book::keep`].
    Granted(Consent, Option<Arc<Ear>>),
}

impl Book {
    /// Asks for an approval, waiting for it if there is an ear.
    pub(super) fn ask(&mut self, approval: Approval, ear: Option<Arc<Ear>>, rules: &Reviewing) -> Asked {
        // By the time that never goes back, or it would have expired before anybody saw it.
        let now = self.advance(approval.asked);
        let lasts = approval.asked.age(approval.until);
        let until = now.plus(lasts);
        let approval = Approval { asked: now, until, ..approval };
        if let Some(consent) = self.take_kept(&approval.digest, now) {
            return Asked::Granted(consent);
        }
        let same = |entry: &&mut Entry| {
            let known = &entry.approval;
            let is_open = known.standing == Standing::Pending || entry.granting;
            is_open && entry.ear.is_none() && known.digest == approval.digest
        };
        if let Some(entry) = self.entries.values_mut().find(same) {
            let known = &mut entry.approval;
            if ear.is_some() {
                known.until = known.until.max(approval.until);
            }
            self.bytes = self.bytes.saturating_sub(known.view.size()) + approval.view.size();
            known.view.subject = approval.view.subject;
            (known.asker, known.in_transaction, known.has_written) =
                (approval.asker, approval.in_transaction, approval.has_written);
            known.waits = ear.is_some();
            entry.ear = ear;
            return Asked::Again(entry.approval.id);
        }
        let actor = approval.asker.chain.actor();
        let pending = || self.entries.values().filter(|entry| entry.approval.standing == Standing::Pending);
        let own = pending().filter(|entry| entry.approval.asker.chain.actor().key == actor.key).count();
        if own >= rules.most_each || pending().count() >= rules.most || self.bytes + approval.size() > MOST_BYTES {
            return Asked::TooMany;
        }
        if let Err(wait) = self.pace.take(&actor.key, rules.per_minute, now) {
            return Asked::TooOften(wait);
        }
        self.bytes += approval.size();
        let id = approval.id;
        let approval = Approval { waits: ear.is_some(), ..approval };
        self.entries.insert(id, Entry { approval, ear, granting: false, is_public: false });
        Asked::Pending(id)
    }

    /// A request is recorded, and can be decided from now on.
    pub(super) fn publish(&mut self, id: ApprovalId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.is_public = true;
        }
    }

    /// A consent that nobody waited for is on stable storage. If it is not [`Kept::Found`], it must not stay there.
    pub(super) fn keep(&mut self, consent: Consent) -> Kept {
        let Some(entry) = self.entries.get_mut(&consent.id) else { return Kept::Void };
        if !std::mem::take(&mut entry.granting) || entry.approval.standing != Standing::Granted {
            return Kept::Void;
        }
        if let Some(ear) = entry.ear.take() {
            self.end(consent.id, Standing::Spent);
            return Kept::Awaited(ear);
        }
        self.put(consent);
        Kept::Found
    }

    fn put(&mut self, consent: Consent) {
        self.kept.entry(consent.digest).or_default().push(consent);
    }

    /// A consent that an earlier run has kept. What it was asked with is forgotten.
    pub(super) fn restore(&mut self, consent: Consent, now: Timestamp) {
        self.advance(now);
        if let Some(approval) = Approval::of_consent(&consent) {
            self.entries.insert(consent.id, Entry { approval, ear: None, granting: false, is_public: true });
        }
        self.put(consent);
    }

    /// Groups may want more reviewers, or reasons, from now on; what has been granted stays so.
    pub(super) fn ask_more(&mut self, rules: &Reviewing) {
        for entry in self.entries.values_mut().filter(|entry| entry.approval.standing == Standing::Pending) {
            for need in &mut entry.approval.needs {
                let (quorum, reasons) = rules.wants(&need.group);
                (need.quorum, need.reasons) = (need.quorum.max(quorum), need.reasons || reasons);
            }
        }
    }

    /// Whoever listens here does not wait any more, but may come back.
    pub(super) fn leave(&mut self, id: ApprovalId, ear: &Arc<Ear>) {
        if let Some(entry) = self.waiting(id, ear) {
            (entry.ear, entry.approval.waits) = (None, false);
        }
    }

    /// Whoever listens here is gone: whether the request is over by that.
    pub(super) fn withdraw(&mut self, id: ApprovalId, ear: &Arc<Ear>) -> bool {
        let Some(entry) = self.waiting(id, ear) else { return false };
        (entry.ear, entry.approval.waits) = (None, false);
        let is_open = entry.approval.standing == Standing::Pending;
        if is_open {
            self.end(id, Standing::Withdrawn);
        }
        is_open
    }

    fn waiting(&mut self, id: ApprovalId, ear: &Arc<Ear>) -> Option<&mut Entry> {
        self.entries.get_mut(&id).filter(|entry| entry.ear.as_ref().is_some_and(|known| Arc::ptr_eq(known, ear)))
    }

    /// Whether a review would count, and for which group.
    pub(super) fn check(
        &mut self,
        id: ApprovalId,
        reviewer: &Reviewer<'_>,
        said: &Said,
        reason: Option<&str>,
        rules: &Reviewing,
        now: Timestamp,
    ) -> Result<(Approval, Arc<str>), ReviewError> {
        self.advance(now);
        let entry = self.entries.get(&id).filter(|entry| entry.is_public).ok_or(ReviewError::Unknown)?;
        let group = weigh(&entry.approval, reviewer, said, reason, rules)?;
        Ok((entry.approval.clone(), group))
    }

    /// Counts a review that was recorded. It is weighed once more: meanwhile others have reviewed, too.
    pub(super) fn vote(
        &mut self,
        id: ApprovalId,
        reviewer: &Reviewer<'_>,
        said: &Said,
        reason: Option<Arc<str>>,
        rules: &Reviewing,
        at: Timestamp,
    ) -> Result<Voted, ReviewError> {
        let entry = self.entries.get_mut(&id).ok_or(ReviewError::Unknown)?;
        let group = weigh(&entry.approval, reviewer, said, reason.as_deref(), rules)?;
        let edited = if let Said::Edit(text) = said { Some(Arc::clone(text)) } else { None };
        let who = reviewer.key.clone();
        let vote = Vote { who, group, approves: *said != Said::Deny, edited: edited.clone(), reason, at };
        if *said == Said::Deny {
            return self.deny(id, vote);
        }
        self.bytes += edited.as_ref().map_or(0, |text| text.len());
        entry.approval.votes.push(vote);
        if !entry.approval.is_granted() {
            return Ok(Voted::Counted);
        }
        let consent = entry.approval.consent(edited);
        let ear = entry.ear.take();
        if ear.is_some() {
            self.end(id, Standing::Spent);
        } else {
            (entry.approval.standing, entry.granting) = (Standing::Granted, true);
        }
        Ok(Voted::Granted(consent, ear))
    }

    /// Refuses what was asked for, or takes back what was granted, if nobody has it in hand.
    fn deny(&mut self, id: ApprovalId, vote: Vote) -> Result<Voted, ReviewError> {
        let entry = self.entries.get_mut(&id).ok_or(ReviewError::Unknown)?;
        let (digest, is_kept) = (entry.approval.digest, entry.approval.standing == Standing::Granted && !entry.granting);
        if is_kept && !self.drop_kept(&digest, id) {
            return Err(ReviewError::Over(Standing::Spent));
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            if let Some(ear) = entry.ear.take() {
                ear.tell(Told::Denied(vote.who.to_string().into(), vote.reason.clone()));
            }
            entry.approval.votes.push(vote);
        }
        self.end(id, Standing::Denied);
        Ok(Voted::Denied)
    }

    /// What was granted and found by its digest was spent.
    pub(super) fn spent(&mut self, id: ApprovalId) {
        if self.entries.get(&id).is_some_and(|entry| entry.approval.standing == Standing::Granted) {
            self.end(id, Standing::Spent);
        }
    }

    /// What could not be kept is over.
    pub(super) fn lose(&mut self, id: ApprovalId) {
        self.end(id, Standing::Withdrawn);
    }

    /// Ends what has had its time, and gives it; and the time, if consents that are kept should hear of it.
    pub(super) fn expire(&mut self, now: Timestamp) -> (Vec<Approval>, Option<Timestamp>) {
        let now = self.advance(now);
        let before = self.kept.len();
        self.kept.retain(|_, consents| {
            consents.retain(|consent| now < consent.until);
            !consents.is_empty()
        });
        let is_due = self.told.is_none_or(|told| told.age(now) >= TOLD);
        let told = Some(now).filter(|_| self.kept.len() < before || before > 0 && is_due);
        self.told = told.or(self.told);
        let over = |entry: &&Entry| {
            matches!(entry.approval.standing, Standing::Pending | Standing::Granted) && entry.approval.until <= now
        };
        let over: Vec<Approval> = self.entries.values().filter(over).map(|entry| entry.approval.clone()).collect();
        over.iter().for_each(|approval| self.end(approval.id, Standing::Expired));
        (over, told)
    }

    pub(super) fn list(&self) -> Vec<Approval> {
        self.entries.values().filter(|entry| entry.is_public).map(|entry| entry.approval.clone()).collect()
    }

    /// The last requests of an actor, newest first.
    pub(super) fn of(&self, actor: &PrincipalKey, most: usize) -> Vec<Approval> {
        let own = |entry: &&Entry| entry.is_public && entry.approval.asker.chain.actor().key == *actor;
        self.entries.values().rev().filter(own).take(most).map(|entry| entry.approval.clone()).collect()
    }

    pub(super) fn get(&self, id: ApprovalId) -> Option<Approval> {
        self.entries.get(&id).map(|entry| entry.approval.clone())
    }

    /// What has been found out about a request that is not over.
    pub(super) fn view(&mut self, id: ApprovalId) -> Option<&mut View> {
        let approval = &mut self.entries.get_mut(&id)?.approval;
        matches!(approval.standing, Standing::Pending | Standing::Granted).then_some(&mut approval.view)
    }

    pub(super) fn pending(&self) -> usize {
        self.entries.values().filter(|entry| entry.approval.standing == Standing::Pending).count()
    }

    fn take_kept(&mut self, digest: &Digest, now: Timestamp) -> Option<Consent> {
        let consents = self.kept.get_mut(digest)?;
        let found = consents.iter().position(|consent| now < consent.until).map(|at| consents.remove(at));
        if consents.is_empty() {
            self.kept.remove(digest);
        }
        found
    }

    /// Whether it was there.
    fn drop_kept(&mut self, digest: &Digest, id: ApprovalId) -> bool {
        let Some(consents) = self.kept.get_mut(digest) else { return false };
        let before = consents.len();
        consents.retain(|consent| consent.id != id);
        consents.len() < before
    }

    /// The time now, which never goes back, and goes on from where it is when the clock has been set back.
    fn advance(&mut self, clock: Timestamp) -> Timestamp {
        let now = clock.plus(self.ahead);
        let latest = self.latest.map_or(now, |latest| latest.max(now));
        let behind = now.age(latest);
        // Those who have read the clock come in any order.
        if behind > SET_BACK {
            self.ahead += behind;
        }
        self.latest = Some(latest);
        latest
    }

    /// What has ended is remembered for a while, without what was asked for: that is in the recording.
    fn end(&mut self, id: ApprovalId, standing: Standing) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !matches!(entry.approval.standing, Standing::Pending | Standing::Granted) {
            return;
        }
        self.bytes = self.bytes.saturating_sub(entry.approval.size());
        let approval = &mut entry.approval;
        (approval.standing, approval.waits, approval.statement, approval.parameters) =
            (standing, false, "".into(), Arc::default());
        (approval.facts.statements, approval.view) = Default::default();
        approval.votes.iter_mut().for_each(|vote| vote.edited = None);
        entry.granting = false;
        if let Some(ear) = entry.ear.take() {
            ear.tell(Told::Over(standing));
        }
        self.ended.push_back(id);
        if self.ended.len() > MOST_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
