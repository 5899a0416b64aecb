//! What goes over the API's wire. Times are RFC 3339 in UTC; principals are `subject@issuer`.

mod access;
mod approvals;
mod usage;

use std::fmt;

use claviger_model::{PrincipalKind, SessionId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use self::access::{Access, AccessQuery, NewAccess, RevokeQuery};
pub use self::approvals::{
    Approval, ApprovalNeed, ApprovalQuery, ApprovalVote, HeldLock, HeldLocks, PastOperation, PastRequest, Review, ReviewVerdict,
    RowCount,
};
pub use self::usage::Usage;
use crate::Act;

/// Which sessions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionQuery {
    /// Only running (`true`) or only ended (`false`) sessions; both if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// Only sessions in whose chain this principal stands, `subject@issuer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Only sessions on this connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// At most so many; 100 if absent, never more than 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl SessionQuery {
    /// The limit in force.
    pub fn effective_limit(&self) -> usize {
        self.limit.unwrap_or(100).min(1000)
    }
}

/// A session, running or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    #[schema(value_type = String, min_length = 32, max_length = 32)]
    pub id: SessionId,
    /// Whether it is running.
    pub live: bool,
    /// Who, actor first.
    pub chain: Vec<String>,
    /// The human end of the chain.
    pub sponsor: Option<String>,
    /// The connection.
    pub connection: String,
    /// The client's address and port.
    pub client: String,
    /// What the client calls itself.
    pub application: Option<String>,
    /// When it began.
    pub opened: String,
    /// When it ended.
    pub closed: Option<String>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Operations so far.
    pub operations: u64,
    /// When its token ends.
    pub expires: Option<String>,
}

/// One operation of a session, as its recording tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordingEntry {
    /// The operation; counts from 1.
    pub op: u64,
    /// The statements' text.
    pub statement: Option<String>,
    /// The parameters; `null` is SQL's null.
    pub parameters: Vec<Option<String>>,
    /// Completion tags, such as `INSERT 0 3`.
    pub tags: Vec<String>,
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Bytes of the response that the recording holds.
    pub response_bytes: u64,
}

/// Who is on a connection's upstream, and by which road.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Coverage {
    /// The connection.
    pub connection: String,
    /// Its upstream's host and port.
    pub upstream: String,
    /// The gateway's addresses, as the upstream sees them.
    pub gateway: Vec<String>,
    /// Sessions that came through this gateway, by whichever connection.
    pub through: u64,
    /// Sessions that did not.
    pub around: Vec<UpstreamSession>,
    /// Sessions of which the connection's role may not see whence they came.
    pub hidden: Vec<HiddenSession>,
    /// What would leave the gateway's road as the only one.
    pub rules: CoverageRules,
}

/// A session upstream that did not come through the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamSession {
    /// Its process.
    pub process: i32,
    /// Its user.
    pub user: Option<String>,
    /// Its database.
    pub database: Option<String>,
    /// The client's address; none on the server's own machine, by a Unix socket.
    pub address: Option<String>,
    /// The client's port.
    pub port: Option<i32>,
    /// What the client calls itself.
    pub application: Option<String>,
    /// Since when.
    pub since: Option<String>,
}

/// A session upstream that the connection's role may not see in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HiddenSession {
    /// Its process.
    pub process: i32,
    /// Its user.
    pub user: Option<String>,
    /// Its database.
    pub database: Option<String>,
}

/// Rules that close every other road to an upstream, with its own addresses and names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CoverageRules {
    /// For nftables on the upstream's machine.
    pub nftables: String,
    /// For the upstream's `pg_hba.conf`.
    pub pg_hba: String,
    /// For a cloud's security group, in words.
    pub security_group: String,
}

/// Why a session is to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KillQuery {
    /// A sentence that the client will see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether an open transaction may end first, for which it has the time that draining gives.
    #[serde(default)]
    pub drain: bool,
}

/// Human or machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A human being.
    User,
    /// A service account, CI job or AI agent.
    Workload,
}

impl From<PrincipalKind> for Kind {
    fn from(kind: PrincipalKind) -> Self {
        match kind {
            PrincipalKind::User => Self::User,
            PrincipalKind::Workload => Self::Workload,
        }
    }
}

impl From<Kind> for PrincipalKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::User => Self::User,
            Kind::Workload => Self::Workload,
        }
    }
}

/// A registered principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Principal {
    /// Who: `subject@issuer`.
    pub principal: String,
    /// Human or machine.
    pub kind: Kind,
    /// A name for people to read.
    pub display: Option<String>,
    /// The groups that it was put into.
    pub groups: Vec<String>,
    /// The human who answers for a workload.
    pub sponsor: Option<String>,
    /// Whether it is shut out.
    pub disabled: bool,
    /// Whom it may act for.
    pub acts_for: Vec<String>,
}

/// A principal to register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPrincipal {
    /// `subject` of the local issuer, or `subject@issuer` with the name of another.
    pub subject: String,
    /// Human or machine.
    pub kind: Kind,
    /// A name for people to read.
    #[serde(default)]
    pub display: Option<String>,
    /// Groups to put it into.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The human who answers for a workload.
    #[serde(default)]
    pub sponsor: Option<String>,
}

/// What to change about a principal; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalPatch {
    /// Shuts it out, and ends its sessions, or lets it in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Its groups, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// The human who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sponsor: Option<String>,
}

impl PrincipalPatch {
    /// What the patch does; each is asked and recorded on its own. A patch of nothing is an update all the same.
    pub fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.groups.is_some() || self.sponsor.is_some() || self.disabled.is_none() {
            acts.push(Act::UpdatePrincipal);
        }
        match self.disabled {
            Some(true) => acts.push(Act::DisablePrincipal),
            Some(false) => acts.push(Act::EnablePrincipal),
            None => {}
        }
        acts
    }
}

/// That one principal may act for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delegation {
    /// Who acts.
    pub actor: String,
    /// For whom.
    pub subject: String,
}

/// Written `actor for subject`, as chains are.
impl fmt::Display for Delegation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.actor, self.subject)
    }
}

/// A token of the local issuer; the token itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id (`jti`).
    pub id: String,
    /// Whose it is.
    pub subject: String,
    /// Who acts for the subject with it.
    pub actor: Option<String>,
    /// What it was issued for.
    pub purpose: Option<String>,
    /// When it was issued.
    pub issued: String,
    /// When it ends.
    pub expires: String,
    /// Whether it has been revoked.
    pub revoked: bool,
}

/// A token to issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Whose it is to be: a registered principal of the local issuer.
    pub subject: String,
    /// Who is to act for the subject with it; the pair must be registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// How long it lasts, in seconds; 12 hours if absent, never more than the issuer allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// Whose token it is to be, `actor for subject` or `subject`.
impl fmt::Display for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.actor {
            Some(actor) => write!(f, "{actor} for {}", self.subject),
            None => f.write_str(&self.subject),
        }
    }
}

/// A token, once. Has no `Debug`, for the token is a secret.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct IssuedToken {
    /// Its id (`jti`).
    pub id: String,
    /// The token.
    pub token: String,
    /// When it ends.
    pub expires: String,
}

/// A registered connection, as clients need to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// The protocol's kind.
    pub kind: String,
    /// The upstream's address.
    pub address: String,
    /// The upstream's database.
    pub database: String,
    /// `record`, `observe` or `enforce`.
    pub mode: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Where clients reach it.
    pub listeners: Vec<Listener>,
}

/// An address at which clients reach a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    /// The address and port.
    pub address: String,
    /// Whether the listener serves several connections, told apart by the database's name.
    pub shared: bool,
}

/// The id of the local issuer's new signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotatedKey {
    /// The key's id (`kid`).
    pub key: String,
}

/// Where and how people log in, for `claviger login`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginProvider {
    /// The name of the issuer's trust record.
    pub name: String,
    /// Its address.
    pub issuer: String,
    /// As which client of it (RFC 6749 section 2.2).
    pub client_id: String,
    /// With which scopes.
    pub scopes: Vec<String>,
    /// For which resource (RFC 8707), if the issuer wants one named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// For which audience, if the issuer wants one named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Which of its tokens the gateway takes.
    pub token: TokenKind,
}

/// A token that a login yields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Says who logged in (OpenID Connect).
    #[default]
    IdToken,
    /// Opens what it was given for (OAuth), and is a JWT.
    AccessToken,
}
