//! What is known of a grant, from the request for it to its end.

use std::sync::Arc;

use claviger_model::{ApprovalId, Chain, ConnectionName, PrincipalKey, Timestamp};
use claviger_policy::Scope;

use crate::{Need, Vote};

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct AccessAsk {
    /// To which connection.
    pub connection: ConnectionName,
    /// To do what there.
    pub scope: Scope,
    /// For how many seconds.
    pub seconds: u32,
    /// Why.
    pub reason: Arc<str>,
}

/// Access for a time: asked for, in force, or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id, which is that of the request for it.
    pub id: ApprovalId,
    /// Whose it is: the links of the chain that asked, the actor first. No other chain has it.
    pub who: Vec<PrincipalKey>,
    /// Who answered for them then.
    pub sponsors: Vec<PrincipalKey>,
    /// To which connection.
    pub connection: ConnectionName,
    /// What it is good for.
    pub scope: Arc<Scope>,
    /// For how many seconds.
    pub seconds: u32,
    /// Why it was asked for.
    pub reason: Arc<str>,
    /// From where.
    pub client: Arc<str>,
    /// The policies that wanted it approved, or permitted it.
    pub policies: Arc<[Arc<str>]>,
    /// Who must approve it; of what was taken in an emergency, who must review it afterwards.
    pub needs: Vec<Need>,
    /// Who has said what.
    pub votes: Vec<Vote>,
    /// When it was asked for.
    pub asked: Timestamp,
    /// Until when it could be decided.
    pub decide_by: Timestamp,
    /// How it stands.
    pub standing: GrantStanding,
    /// Until when it is good, once it is given.
    pub until: Option<Timestamp>,
    /// Who has taken it back, and why.
    pub revoked: Option<Revoked>,
}

/// Who took a grant back, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Who, as a chain text.
    pub by: Arc<str>,
    /// Why.
    pub reason: Option<Arc<str>>,
}

/// How a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantStanding {
    /// The request can be decided.
    Pending,
    /// It is in force.
    Active,
    /// A reviewer was against it.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// Its time is over.
    Ended,
    /// It was taken back, or given back.
    Revoked,
}

impl GrantStanding {
    /// Each of them.
    pub const ALL: [Self; 6] = [Self::Pending, Self::Active, Self::Denied, Self::Expired, Self::Ended, Self::Revoked];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
        }
    }
}

impl Grant {
    /// Whether it is this chain's.
    pub fn is_of(&self, chain: &Chain) -> bool {
        self.who.iter().eq(chain.links().iter().map(|link| &link.key))
    }

    /// Whose it is, as the record writes chains.
    pub fn chain(&self) -> String {
        self.who.iter().map(ToString::to_string).collect::<Vec<_>>().join(" for ")
    }

    /// Whether all have had their say who must.
    pub fn is_decided(&self) -> bool {
        let said = |need: &Need| self.votes.iter().filter(|vote| vote.approves && vote.group == need.group).count();
        self.needs.iter().all(|need| said(need) >= need.quorum)
    }

    /// Whether it was taken in an emergency and nobody has looked into that.
    pub fn is_unreviewed(&self) -> bool {
        self.scope.break_glass && !self.is_decided() && !self.votes.iter().any(|vote| !vote.approves)
    }

    pub(super) fn is_in_force(&self, now: Timestamp) -> bool {
        self.standing == GrantStanding::Active && self.until.is_some_and(|until| now < until)
    }

    /// All who ask by it, and who answer for them.
    pub(super) fn parties(&self) -> impl Iterator<Item = &PrincipalKey> {
        self.who.iter().chain(&self.sponsors)
    }
}
