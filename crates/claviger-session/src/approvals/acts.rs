//! What is done with requests, each recorded before it takes effect.

use std::sync::Arc;

use claviger_audit::{ApprovalEvent, ApprovalLeaf, Batch, Leaf, LeafKind, Position};
use claviger_identity::Identity;
use claviger_model::{ApprovalId, Chain, OpId, Refusal, RefusalKind, SessionId, Timestamp};

use super::book::{Asked, Kept, Voted};
use super::reviewing::Reviewer;
use super::waiting::Ear;
use super::{Approval, Approvals, Consent, ReviewError, Said, Told, Waiting};
use crate::Gateway;

/// The longest reason that is kept, in bytes.
const LONGEST_REASON: usize = 1000;

/// What came of asking for an approval.
pub(crate) enum Petition {
    /// The client waits, until this is decided.
    Waits(Waiting),
    /// The client cannot wait; it may repeat what it asked for once this is granted.
    Stands(ApprovalId),
    /// It had been granted before. The consent is this session's, to be spent.
    Granted(Consent),
}

impl Gateway {
    /// Asks for an approval. The client waits for it where `waits`.
    pub(crate) fn petition(&self, approval: Approval, waits: bool) -> Result<Petition, Refusal> {
        let leaf = leaf(&approval, ApprovalEvent::Requested);
        let ear = waits.then(Arc::<Ear>::default);
        let asked = self.approvals.book().ask(approval, ear.clone(), &self.rules().reviewing);
        let (asked, is_new) = match asked {
            Asked::Granted(consent) => return Ok(Petition::Granted(consent)),
            Asked::Pending(asked) => (asked, true),
            Asked::Again(asked) => (asked, false),
            Asked::TooMany => {
                let why = "this needs an approval, and too many are asked for already; wait until some are decided";
                return Err(Refusal::new(RefusalKind::NotPermitted, why));
            }
            Asked::TooOften(wait) => {
                let wait = wait.as_millis().div_ceil(1000).max(1);
                let why = format!("this needs an approval, and you have asked for too many of late; ask again in {wait} s");
                return Err(Refusal::new(RefusalKind::NotPermitted, why));
            }
        };
        // Whoever asks again for what was asked for before is on record as well, with where he stands now.
        let (leaf, now) = (ApprovalLeaf { approval: asked, ..leaf }, self.now());
        if self.note(now, leaf.clone()).is_err() {
            self.approvals.book().lose(asked);
            return Err(Refusal::new(RefusalKind::AuditUnavailable, "the request for approval could not be recorded"));
        }
        if is_new && !self.approvals.pass_on(&leaf, now, self.approvals.get(asked).as_ref()) {
            self.approvals.book().lose(asked);
            return Err(Refusal::new(RefusalKind::AuditUnavailable, "those who are to be told of the request cannot be"));
        }
        // Nobody has decided it before it was recorded, and is to be told.
        self.approvals.book().publish(asked);
        // Whoever repeats it does not have it found out again.
        if is_new {
            self.look_into(asked);
        }
        Ok(match ear {
            Some(ear) => Petition::Waits(Waiting::new(asked, Arc::clone(&self.approvals), ear)),
            None => Petition::Stands(asked),
        })
    }

    /// Whoever waits for this is gone.
    pub(crate) fn withdraw(&self, waiting: &Waiting) {
        let approval = self.approvals.get(waiting.id());
        if let Some(approval) = approval.filter(|_| waiting.withdraw()) {
            _ = self.note_and_tell(&leaf(&approval, ApprovalEvent::Withdrawn), &approval);
        }
    }

    /// A reviewer looks at a request. May block, as it is recorded.
    pub fn look_at(&self, id: ApprovalId, reviewer: &Identity) -> Result<Approval, ReviewError> {
        let approval = self.approvals.get(id).ok_or(ReviewError::Unknown)?;
        let leaf = ApprovalLeaf { groups: Arc::default(), ..by(reviewer, leaf(&approval, ApprovalEvent::Seen), None) };
        self.note(self.now(), leaf).map_err(|()| ReviewError::NotRecorded)?;
        Ok(approval)
    }

    /// A reviewer wants to know how many rows it is about, exactly: whoever may decide it. It is recorded first, for a count is data.
    pub async fn count_rows(&self, id: ApprovalId, reviewer: &Identity) -> Result<Approval, ReviewError> {
        let approval = self.approvals.get(id).ok_or(ReviewError::Unknown)?;
        let chain = self.services.authenticator.current_chain(reviewer);
        self.reviewer(&chain, &approval)?.may_look_into(&approval, &self.rules().reviewing)?;
        let leaf = ApprovalLeaf { groups: Arc::default(), ..by(reviewer, leaf(&approval, ApprovalEvent::Counted), None) };
        self.note(self.now(), leaf).map_err(|()| ReviewError::NotRecorded)?;
        self.count(&approval).await;
        self.approvals.get(id).ok_or(ReviewError::Unknown)
    }

    /// A reviewer of a request, in the groups that policies would find him in.
    fn reviewer<'a>(&self, chain: &'a Chain, approval: &Approval) -> Result<Reviewer<'a>, ReviewError> {
        let groups = chain.links().first().map(|link| self.rules().policy.groups_of(link)).unwrap_or_default();
        Ok(Reviewer::of(chain, groups)?.before(&self.services.authenticator.current(&approval.asker.chain)))
    }

    /// A reviewer decides. May block: the review is on stable storage before it counts, and a consent that nobody waits for before it
    /// is good.
    pub fn review(
        &self,
        id: ApprovalId,
        reviewer: &Identity,
        said: &Said,
        reason: Option<&str>,
        synced: impl Fn(Position) -> Result<(), ReviewError>,
    ) -> Result<Approval, ReviewError> {
        let (now, rules) = (self.now(), self.rules());
        let chain = self.services.authenticator.current_chain(reviewer);
        let asked = self.approvals.get(id).ok_or(ReviewError::Unknown)?;
        let person = self.reviewer(&chain, &asked)?;
        let reason: Option<Arc<str>> = reason.map(|reason| cut(reason).into());
        let checked = self.approvals.book().check(id, &person, said, reason.as_deref(), &rules.reviewing, now);
        let (approval, group) = checked?;
        let event = match said {
            Said::Approve => ApprovalEvent::Approved,
            Said::Edit(_) => ApprovalEvent::Edited,
            Said::Deny => ApprovalEvent::Denied,
        };
        let leaf = ApprovalLeaf { groups: [Arc::clone(&group)].into(), ..by(reviewer, leaf(&approval, event), reason.clone()) };
        synced(self.note_and_tell(&leaf, &approval).map_err(|()| ReviewError::NotRecorded)?)?;
        // Whoever was to be told of the request will be, before anything comes of it; but what is wrong with a channel lets nothing run.
        if !self.approvals.is_told() && *said != Said::Deny {
            return Err(ReviewError::NotTold);
        }
        let voted = self.approvals.book().vote(id, &person, said, reason, &rules.reviewing, now)?;
        match voted {
            Voted::Counted => {}
            // If it was granted before: nobody must find it after a restart.
            Voted::Denied => self.approvals.consents().forget(id)?,
            Voted::Granted(consent, ear) => self.grant(&approval, consent, ear, synced)?,
        }
        self.approvals.get(id).ok_or(ReviewError::Unknown)
    }

    fn grant(
        &self,
        approval: &Approval,
        consent: Consent,
        ear: Option<Arc<Ear>>,
        synced: impl Fn(Position) -> Result<(), ReviewError>,
    ) -> Result<(), ReviewError> {
        let recorded =
            self.note_and_tell(&leaf(approval, ApprovalEvent::Granted), approval).map_err(|()| ReviewError::NotRecorded);
        let recorded =
            recorded.and_then(synced).and_then(|()| self.approvals.is_told().then_some(()).ok_or(ReviewError::NotTold));
        if let Some(ear) = ear {
            ear.tell(if recorded.is_ok() { Told::Granted(consent) } else { Told::Lost });
            return recorded;
        }
        let consents = self.approvals.consents();
        if let Err(error) = recorded.and_then(|()| Ok(consents.keep(&consent)?)) {
            self.approvals.book().lose(consent.id);
            return Err(error);
        }
        let kept = self.approvals.book().keep(consent.clone());
        if matches!(kept, Kept::Found) {
            return Ok(());
        }
        // It must not be found by anybody else, also after a restart.
        let forgotten = consents.forget(consent.id);
        if let Kept::Awaited(ear) = kept {
            ear.tell(if forgotten.is_ok() { Told::Granted(consent) } else { Told::Lost });
        }
        Ok(forgotten?)
    }

    /// Ends requests that had their time. To be called now and then.
    pub fn expire_approvals(&self) {
        let now = self.now();
        let (over, told) = self.approvals.book().expire(now);
        if let Some(Err(error)) = told.map(|told| self.approvals.consents().expire(told)) {
            tracing::error!(%error, "consents that had their time could not be forgotten");
        }
        for approval in over {
            if self.note_and_tell(&leaf(&approval, ApprovalEvent::Expired), &approval).is_err() {
                tracing::error!(approval = %approval.id, "the end of a request for approval could not be recorded");
            }
        }
    }

    /// What is recorded is told to whom it concerns.
    fn note_and_tell(&self, leaf: &ApprovalLeaf, approval: &Approval) -> Result<Position, ()> {
        let now = self.now();
        let position = self.note(now, leaf.clone())?;
        self.approvals.pass_on(leaf, now, Some(approval));
        Ok(position)
    }

    pub(super) fn note(&self, time: Timestamp, leaf: ApprovalLeaf) -> Result<Position, ()> {
        let leaf = Leaf { time, kind: LeafKind::Approval(leaf) };
        self.services.ledger.append(Batch::of(leaf)).map_err(|error| {
            tracing::error!(%error, "what happened to a request for approval could not be recorded");
        })
    }
}

/// Uses up a consent that nobody waited for: resolves to it, unless it was used up before. To be called once for each.
pub(crate) async fn spend(approvals: Arc<Approvals>, consent: Consent) -> Told {
    match approvals.consents().spend(consent.id).await {
        Ok(true) => {
            approvals.book().spent(consent.id);
            Told::Granted(consent)
        }
        Ok(false) => Told::Lost,
        Err(error) => {
            tracing::error!(%error, approval = %consent.id, "a consent could not be used up");
            Told::Lost
        }
    }
}

/// That a consent was used, by an operation of this session.
pub(crate) fn spent(consent: &Consent, session: SessionId, op: OpId) -> ApprovalLeaf {
    ApprovalLeaf {
        approval: consent.id,
        event: ApprovalEvent::Spent,
        who: Arc::clone(&consent.who),
        connection: Arc::clone(&consent.connection),
        session,
        op,
        groups: consent.groups.iter().map(Arc::clone).collect(),
        digest: consent.digest,
        token: None,
        reason: None,
    }
}

/// What the record says of a request, by whoever asked for it.
fn leaf(approval: &Approval, event: ApprovalEvent) -> ApprovalLeaf {
    let asker = &approval.asker;
    ApprovalLeaf {
        approval: approval.id,
        event,
        who: asker.chain.to_string().into(),
        connection: asker.connection.as_str().into(),
        session: asker.session,
        op: asker.op,
        groups: approval.needs.iter().map(|need| Arc::clone(&need.group)).collect(),
        digest: approval.digest,
        token: None,
        reason: None,
    }
}

fn by(reviewer: &Identity, leaf: ApprovalLeaf, reason: Option<Arc<str>>) -> ApprovalLeaf {
    ApprovalLeaf { who: reviewer.chain.to_string().into(), token: Some(Arc::clone(&reviewer.token)), reason, ..leaf }
}

/// No more of a reason than is kept.
pub(crate) fn cut(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(LONGEST_REASON)).unwrap_or_default()
}
