//! What is known of a grant, from the request for it to its end.

use std::net::IpAddr;
use std::sync::Arc;

use claviger_model::{ApprovalId, Chain, ConnectionName, PrincipalKey, Timestamp};
use claviger_policy::Scope;

use crate::{Connection, Need, Vote};

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
    /// Whose it is: the chain that asked, as it was then. No other chain has it.
    pub chain: Chain,
    /// What the asking token was for.
    pub purpose: Option<Arc<str>>,
    /// To which connection.
    pub connection: ConnectionName,
    /// Where that led: [`target`].
    pub target: Arc<str>,
    /// What it is good for.
    pub scope: Arc<Scope>,
    /// For how many seconds.
    pub seconds: u32,
    /// Why it was asked for.
    pub reason: Arc<str>,
    /// From where.
    pub client: IpAddr,
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

    /// Whether it can be decided, or is in force.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Active)
    }
}

impl Grant {
    /// Whether it is this chain's.
    pub fn is_of(&self, chain: &Chain) -> bool {
        self.who().eq(chain.links().iter().map(|link| &link.key))
    }

    /// The links of its chain, the actor first.
    pub fn who(&self) -> impl Iterator<Item = &PrincipalKey> {
        self.chain.links().iter().map(|link| &link.key)
    }

    /// Whether all have had their say who must.
    pub fn is_decided(&self) -> bool {
        let said = |need: &Need| self.votes.iter().filter(|vote| vote.approves && vote.group == need.group).count();
        self.needs.iter().all(|need| said(need) >= need.quorum)
    }

    /// Whether it was taken in an emergency and nobody has looked into that.
    pub fn is_unreviewed(&self) -> bool {
        let was_taken = self.scope.break_glass && self.until.is_some();
        was_taken && !self.is_decided() && !self.votes.iter().any(|vote| !vote.approves)
    }

    /// Whether nobody need remember it.
    pub fn is_over(&self) -> bool {
        !self.standing.is_open() && !self.is_unreviewed()
    }

    pub(super) fn is_in_force(&self, latest: Timestamp) -> bool {
        self.standing == GrantStanding::Active && self.until.is_some_and(|until| latest < until)
    }

    pub(super) fn is_for(&self, connection: &Connection) -> bool {
        self.connection == connection.name && self.target == target(connection)
    }

    /// The latest time that is known from it.
    pub(super) fn known(&self) -> Timestamp {
        let given = self.until.map(|until| until.plus_secs(-i64::from(self.seconds)));
        self.votes.iter().map(|vote| vote.at).chain(given).fold(self.asked, Timestamp::max)
    }
}

/// Where a connection leads. A grant is for that, whatever becomes of the name.
pub(super) fn target(connection: &Connection) -> Arc<str> {
    format!("{}:{}/{}", connection.host, connection.port, connection.database).into()
}
