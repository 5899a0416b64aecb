//! Who may decide a request, and under which rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use claviger_model::{ApprovalId, Chain, PrincipalKey, PrincipalKind};

use super::{Approval, ConsentsFailed, Need, Standing, Vote};

/// The rules for approvals, in force until the next reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewing {
    /// What is said of groups; one that nothing is said of needs one of its members, who need not say why.
    pub groups: BTreeMap<Arc<str>, ReviewGroup>,
    /// Principals who are the same person, beside those with the same subject.
    pub same_person: Vec<BTreeSet<PrincipalKey>>,
    /// How long a client waits in its session.
    pub wait: Duration,
    /// The same in an open transaction.
    pub wait_in_transaction: Duration,
    /// How long a request can be decided and a consent spent.
    pub ttl: Duration,
    /// The most requests of one actor that can be decided at the same time.
    pub most_each: usize,
    /// The same of everybody.
    pub most: usize,
    /// How many requests one actor may make within a minute.
    pub per_minute: u32,
    /// Where a request can be looked at, with `{id}` in place of its id.
    pub link: Option<Arc<str>>,
}

/// What is asked of a group that approves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewGroup {
    /// How many of its members must approve.
    pub quorum: usize,
    /// Whether they must say why.
    pub reasons: bool,
}

impl Default for Reviewing {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            same_person: Vec::new(),
            wait: Duration::from_secs(300),
            wait_in_transaction: Duration::from_secs(60),
            ttl: Duration::from_secs(3600),
            most_each: 20,
            most: 10_000,
            per_minute: 60,
            link: None,
        }
    }
}

impl Reviewing {
    /// Where a request can be looked at.
    pub fn link_to(&self, id: ApprovalId) -> Option<String> {
        self.link.as_ref().map(|link| link.replace("{id}", &id.to_string()))
    }

    /// Who must approve where policy wants these groups.
    pub(crate) fn needs(&self, groups: &[Arc<str>]) -> Vec<Need> {
        let need = |group: &Arc<str>| {
            let (quorum, reasons) = self.wants(group);
            Need { group: Arc::clone(group), quorum, reasons }
        };
        groups.iter().map(need).collect()
    }

    /// How many of a group must approve, and whether they must say why.
    pub(super) fn wants(&self, group: &str) -> (usize, bool) {
        self.groups.get(group).map_or((1, false), |said| (said.quorum.max(1), said.reasons))
    }

    /// Whether two principals are or may be one person.
    pub(crate) fn is_same_person(&self, a: &PrincipalKey, b: &PrincipalKey) -> bool {
        // The same name with two issuers is most likely one human being; who is not asks somebody else.
        a.subject == b.subject || self.same_person.iter().any(|person| person.contains(a) && person.contains(b))
    }
}

/// What a reviewer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It may run.
    Approve,
    /// This text may run in its place.
    Edit(Arc<str>),
    /// It may not run.
    Deny,
}

/// Why a review does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// There is no such request.
    #[error("there is no such request for approval")]
    Unknown,
    /// It is over.
    #[error("the request is {}", .0.as_str())]
    Over(Standing),
    /// Only a human being, acting for nobody, reviews.
    #[error("only a person who acts for nobody else can review")]
    NotAPerson,
    /// Whoever asked, or answers for who asked, decides nothing about it.
    #[error("nobody reviews a request of his own, or of an agent that acts or answers for him")]
    OwnRequest,
    /// The reviewer belongs to none of the groups that are wanted.
    #[error("none of your groups is asked to approve this")]
    NotAsked,
    /// The reviewer has had his say.
    #[error("you have reviewed this already")]
    Twice,
    /// It must be said why.
    #[error("a reason is required")]
    NoReason,
    /// No other text can take the place of what was asked for.
    #[error("this cannot be edited: {0}")]
    NotEditable(&'static str),
    /// Two reviewers have approved different texts.
    #[error("another reviewer has approved another text")]
    OtherText,
    /// The consent could not be kept.
    #[error(transparent)]
    NotKept(#[from] ConsentsFailed),
    /// It has been approved, and is not permitted any more.
    #[error("it is not given: {0}")]
    NotPermitted(Arc<str>),
    /// The record could not be written.
    #[error("it could not be recorded")]
    NotRecorded,
    /// What others are to be told could not be written.
    #[error("what others are to be told of it could not be kept")]
    NotTold,
}

/// A person who reviews: whom the token proves, and the groups that policies would find him in.
pub(crate) struct Reviewer<'a> {
    pub(crate) key: &'a PrincipalKey,
    groups: BTreeSet<String>,
    /// Those who ask, and who answer for them now.
    askers: Vec<PrincipalKey>,
}

impl<'a> Reviewer<'a> {
    /// Only a human being who acts for nobody.
    pub(crate) fn of(chain: &'a Chain, groups: BTreeSet<String>) -> Result<Self, ReviewError> {
        match chain.links() {
            [only] if only.kind == PrincipalKind::User => Ok(Self { key: &only.key, groups, askers: Vec::new() }),
            _ => Err(ReviewError::NotAPerson),
        }
    }

    /// The same, before a request of this chain as it is now: somebody may answer for its agents who did not when they asked.
    pub(crate) fn before(self, asker: &Chain) -> Self {
        Self { askers: asker.dependencies().cloned().collect(), ..self }
    }

    /// Whether the reviewer's word would count, or has counted, as long as something can be decided.
    pub(super) fn may_look_into(&self, approval: &Approval, rules: &Reviewing) -> Result<(), ReviewError> {
        if !matches!(approval.standing, Standing::Pending | Standing::Granted) {
            return Err(ReviewError::Over(approval.standing));
        }
        if self.has_part_in(approval, rules) {
            return Err(ReviewError::OwnRequest);
        }
        let is_asked = approval.needs.iter().any(|need| self.groups.contains(&*need.group));
        if is_asked { Ok(()) } else { Err(ReviewError::NotAsked) }
    }

    /// Whether the reviewer is of those who ask, or answers for one of them.
    fn has_part_in(&self, approval: &Approval, rules: &Reviewing) -> bool {
        approval.asker.chain.dependencies().chain(&self.askers).any(|asker| rules.is_same_person(asker, self.key))
    }

    /// For which group the reviewer's word counts.
    pub(super) fn stands_for(&self, approval: &Approval, said: &Said, rules: &Reviewing) -> Result<Need, ReviewError> {
        // What was granted can be taken back until it is used, by any of those who are asked.
        let takes_back = approval.standing == Standing::Granted && *said == Said::Deny;
        if approval.standing != Standing::Pending && !takes_back {
            return Err(ReviewError::Over(approval.standing));
        }
        let askers = approval.asker.chain.dependencies().collect();
        self.counts_for(&Ballot { askers, needs: &approval.needs, votes: &approval.votes }, said, takes_back, rules)
    }

    /// The same of whatever can be reviewed.
    pub(crate) fn counts_for(
        &self,
        ballot: &Ballot<'_>,
        said: &Said,
        takes_back: bool,
        rules: &Reviewing,
    ) -> Result<Need, ReviewError> {
        if ballot.askers.iter().copied().chain(&self.askers).any(|asker| rules.is_same_person(asker, self.key)) {
            return Err(ReviewError::OwnRequest);
        }
        if !takes_back && ballot.votes.iter().any(|vote| rules.is_same_person(&vote.who, self.key)) {
            return Err(ReviewError::Twice);
        }
        // One person counts for one group, so that where two are wanted there are two people.
        let approvers = |group: &str| ballot.votes.iter().filter(|vote| vote.approves && *vote.group == *group).count();
        let mine = || ballot.needs.iter().filter(|need| self.groups.contains(&*need.group));
        let unmet = mine().find(|need| approvers(&need.group) < need.quorum);
        let need = unmet.or_else(|| mine().next().filter(|_| *said == Said::Deny)).ok_or(ReviewError::NotAsked)?;
        Ok(need.clone())
    }
}

/// What is reviewed.
pub(crate) struct Ballot<'a> {
    /// Who asks, and who answers for them: they decide nothing about it.
    pub(crate) askers: Vec<&'a PrincipalKey>,
    /// Who must approve.
    pub(crate) needs: &'a [Need],
    /// Who has said what.
    pub(crate) votes: &'a [Vote],
}

/// For which group a review counts, as things stand.
pub(super) fn weigh(
    approval: &Approval,
    reviewer: &Reviewer<'_>,
    said: &Said,
    reason: Option<&str>,
    rules: &Reviewing,
) -> Result<Arc<str>, ReviewError> {
    let need = reviewer.stands_for(approval, said, rules)?;
    check_text(approval, said)?;
    if need.reasons && reason.is_none_or(|reason| reason.trim().is_empty()) {
        return Err(ReviewError::NoReason);
    }
    Ok(need.group)
}

/// Whether another text can take the place of what was asked for, and is the one that others have approved.
fn check_text(approval: &Approval, said: &Said) -> Result<(), ReviewError> {
    let text = match said {
        Said::Deny => return Ok(()),
        Said::Approve => None,
        Said::Edit(text) => Some(text),
    };
    if text.is_some() && !approval.waits {
        return Err(ReviewError::NotEditable("its client does not wait for it"));
    }
    if text.is_some() && !approval.is_editable {
        return Err(ReviewError::NotEditable("it has been prepared, so that its client knows what it gives"));
    }
    let differs = |vote: &&Vote| vote.approves && vote.edited.as_ref() != text;
    if approval.votes.iter().any(|vote| differs(&vote)) { Err(ReviewError::OtherText) } else { Ok(()) }
}
