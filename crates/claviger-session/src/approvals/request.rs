//! What is known of a request for approval.

use std::net::SocketAddr;
use std::sync::Arc;

use claviger_audit::DecisionFacts;
use claviger_model::{ApprovalId, Chain, ConnectionName, OpId, Principal, PrincipalKey, PrincipalKind, SessionId, Timestamp};

use super::{Consent, Digest, View};

/// A request for approval, as reviewers see it.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Who asks, and from where.
    pub asker: Asker,
    /// What is asked for, as it was sent. Forgotten once the request has ended.
    pub statement: Arc<str>,
    /// The values of its parameters, as far as they are text; `None` is NULL.
    pub parameters: Arc<[Option<Arc<str>>]>,
    /// What it does, and what policy says of it.
    pub facts: DecisionFacts,
    /// Why policy wants it approved, in the policy's words.
    pub reason: Option<Arc<str>>,
    /// Whether it was asked for in a transaction that is open.
    pub in_transaction: bool,
    /// Whether that transaction has changed something, so that it holds locks.
    pub has_written: bool,
    /// What consent is bound to.
    pub digest: Digest,
    /// Who must approve.
    pub needs: Vec<Need>,
    /// Who has said what.
    pub votes: Vec<Vote>,
    /// When it was made.
    pub asked: Timestamp,
    /// Until when it can be decided, and the consent spent.
    pub until: Timestamp,
    /// How it stands.
    pub standing: Standing,
    /// Whether a client waits for it in a live session.
    pub waits: bool,
    /// Whether another text can take its place: only where the client has not been told what it gives.
    pub is_editable: bool,
    /// What has been found out about it.
    pub view: View,
}

/// Who asks for an approval.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The session.
    pub session: SessionId,
    /// The operation.
    pub op: OpId,
    /// Who.
    pub chain: Chain,
    /// What it is for, as far as it was stated.
    pub purpose: Option<Arc<str>>,
    /// Where it is to run.
    pub connection: ConnectionName,
    /// From where; not known after a restart of the gateway.
    pub client: Option<SocketAddr>,
    /// What the client calls itself.
    pub application: Option<Arc<str>>,
}

/// A group that must approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The group, as policies call it.
    pub group: Arc<str>,
    /// How many of its members.
    pub quorum: usize,
    /// Whether they must say why.
    pub reasons: bool,
}

/// What a reviewer has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub who: PrincipalKey,
    /// For which group.
    pub group: Arc<str>,
    /// Whether for it or against it.
    pub approves: bool,
    /// With which text in place of what was asked for.
    pub edited: Option<Arc<str>>,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// When.
    pub at: Timestamp,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can be decided.
    Pending,
    /// All have approved who must; the operation may be repeated.
    Granted,
    /// Somebody was against it.
    Denied,
    /// The consent was used.
    Spent,
    /// Nobody decided, or used the consent, in time.
    Expired,
    /// Whoever asked does not any more.
    Withdrawn,
}

impl Standing {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Spent => "spent",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl Approval {
    /// What is known after a restart of a request that was granted; nothing if its chain cannot be read.
    pub(super) fn of_consent(consent: &Consent) -> Option<Self> {
        let need = |group: &Arc<str>| Need { group: Arc::clone(group), quorum: 0, reasons: false };
        Some(Self {
            id: consent.id,
            asker: Asker {
                session: consent.session,
                op: consent.op,
                chain: chain_of(&consent.who)?,
                purpose: None,
                connection: consent.connection.parse().ok()?,
                client: None,
                application: None,
            },
            statement: "".into(),
            parameters: Arc::default(),
            facts: DecisionFacts::default(),
            reason: None,
            in_transaction: false,
            has_written: false,
            digest: consent.digest,
            needs: consent.groups.iter().map(need).collect(),
            votes: Vec::new(),
            asked: consent.id.time(),
            until: consent.until,
            standing: Standing::Granted,
            waits: false,
            is_editable: false,
            view: View::default(),
        })
    }

    /// Whether its groups have all approved.
    pub(super) fn is_granted(&self) -> bool {
        self.needs.iter().all(|need| self.approvers(&need.group) >= need.quorum)
    }

    /// How many have approved for a group.
    pub(super) fn approvers(&self, group: &str) -> usize {
        self.votes.iter().filter(|vote| vote.approves && *vote.group == *group).count()
    }

    /// What comes of it when it is granted.
    pub(super) fn consent(&self, edited: Option<Arc<str>>) -> Consent {
        let asker = &self.asker;
        Consent {
            id: self.id,
            digest: self.digest,
            groups: self.needs.iter().map(|need| Arc::clone(&need.group)).collect(),
            who: asker.chain.to_string().into(),
            connection: asker.connection.as_str().into(),
            session: asker.session,
            op: asker.op,
            until: self.until,
            edited,
        }
    }

    /// How much memory it takes, roughly, in bytes.
    pub(super) fn size(&self) -> usize {
        let parameters = self.parameters.iter().flatten().map(|value| value.len()).sum::<usize>();
        let edits = self.votes.iter().filter_map(|vote| vote.edited.as_ref()).map(|text| text.len()).sum::<usize>();
        self.statement.len() + parameters + edits + self.view.size()
    }
}

/// A chain by its text. Who its principals are, beyond their names, the directory may say.
fn chain_of(text: &str) -> Option<Chain> {
    let link = |text: &str| {
        let (subject, issuer) = text.rsplit_once('@')?;
        let key = PrincipalKey::new(issuer, subject);
        Some(Principal { key, kind: PrincipalKind::Workload, groups: Vec::new(), sponsor: None })
    };
    Chain::from_links(text.split(" for ").map(link).collect::<Option<_>>()?).ok()
}
