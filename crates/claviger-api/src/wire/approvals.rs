//! Requests for approval.

use claviger_model::{ApprovalId, SessionId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which requests for approval to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApprovalQuery {
    /// Also those that are over.
    #[serde(default)]
    pub all: bool,
}

/// A request for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// Its id.
    #[schema(value_type = String, min_length = 32, max_length = 32)]
    pub id: ApprovalId,
    /// The short code that the client sees too.
    pub code: String,
    /// `pending`, `granted`, `denied`, `spent`, `expired` or `withdrawn`.
    pub standing: String,
    /// When it was made.
    pub asked: String,
    /// Until when it can be decided, and the consent used.
    pub until: String,
    /// Who asks, actor first.
    pub chain: Vec<String>,
    /// What it is for, as far as that was stated.
    pub purpose: Option<String>,
    /// The connection.
    pub connection: String,
    /// The client's address and port; empty after a restart of the gateway.
    pub client: String,
    /// What the client calls itself.
    pub application: Option<String>,
    /// The session.
    #[schema(value_type = String, min_length = 32, max_length = 32)]
    pub session: SessionId,
    /// The operation in the session.
    pub op: u64,
    /// Why policy wants it approved.
    pub reason: Option<String>,
    /// The policies that want it.
    pub policies: Vec<String>,
    /// What is asked for, as it was sent; in a list, its beginning. Empty once the request is over.
    pub statement: String,
    /// The same, laid out for people, with hidden characters shown by their numbers. None in a list, once the request is over, and where it cannot be
    /// told what is a text in it and what is not.
    pub formatted: Option<String>,
    /// What in the statement is not what it looks like: hidden characters, and names that mix letters of several scripts.
    pub deceptive: Vec<String>,
    /// The values of its parameters; `null` is SQL's null. None in a list.
    pub parameters: Vec<Option<String>>,
    /// What its statements do: `delete table public.payments`.
    pub effects: Vec<String>,
    /// What is dangerous about it.
    pub hazards: Vec<String>,
    /// How much is at stake, 0 to 100.
    pub risk: Option<u8>,
    /// Whether it is asked for in an open transaction.
    pub in_transaction: bool,
    /// Whether that transaction has changed something, so that others may wait for it.
    pub has_written: bool,
    /// Whether the client waits in its session.
    pub waits: bool,
    /// Whether another text may be approved in its place.
    pub editable: bool,
    /// How many rows it shows or changes, as the upstream's planner expects, or as it says itself. None while that is being asked, and in a list.
    pub estimate: Option<RowCount>,
    /// The same, as a reviewer has had it counted last.
    pub count: Option<RowCount>,
    /// What the transaction that waits holds, as of now when one request is shown.
    pub locks: Option<HeldLocks>,
    /// What whoever asks has done lately through this gateway, newest first, since it was started. None in a list.
    pub history: Vec<PastOperation>,
    /// What else was asked for lately by the same principal, newest first. None in a list.
    pub requests: Vec<PastRequest>,
    /// Who must approve.
    pub needs: Vec<ApprovalNeed>,
    /// Who has said what.
    pub votes: Vec<ApprovalVote>,
}

/// A number of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RowCount {
    /// How many; none if that is not known.
    pub rows: Option<u64>,
    /// Why not.
    pub unknown: Option<String>,
    /// What else is to be known about the number.
    pub notes: Vec<String>,
    /// When it was asked.
    pub at: String,
}

/// What a transaction holds upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldLocks {
    /// The tables.
    pub held: Vec<HeldLock>,
    /// Whether there are more than these.
    pub more: bool,
    /// How many sessions wait for what it holds.
    pub waiting: u64,
    /// Why this is not known, if it is not.
    pub unknown: Option<String>,
    /// When it was asked.
    pub at: String,
}

/// Something that a principal has done, or was not let do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastOperation {
    /// When.
    pub at: String,
    /// On which connection.
    pub connection: String,
    /// In which session.
    pub session: String,
    /// Which of its operations.
    pub op: u64,
    /// What kinds of statements it is of: `SELECT`.
    pub classes: Vec<String>,
    /// What it does to what, at most ten of these.
    pub effects: Vec<String>,
    /// `permit`, `deny` or `hold`.
    pub verdict: String,
    /// How it has ended, if it has: `completed`, `error`, `skipped`, `not_sent` or `unknown`.
    pub outcome: Option<String>,
    /// Completion tags, such as `DELETE 5`.
    pub tags: Vec<String>,
}

/// Another request for approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastRequest {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub asked: String,
    /// On which connection.
    pub connection: String,
    /// How it stands.
    pub standing: String,
    /// Why policy wanted it approved.
    pub reason: Option<String>,
}

/// A table that is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldLock {
    /// The table.
    pub table: String,
    /// How, in the upstream's own words: `RowExclusiveLock`.
    pub modes: String,
}

/// A group that must approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalNeed {
    /// The group, as policies call it.
    pub group: String,
    /// How many of its members must approve.
    pub quorum: u64,
    /// How many have.
    pub approved: u64,
    /// Whether they must say why.
    pub reasons: bool,
}

/// What a reviewer has said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalVote {
    /// Who.
    pub who: String,
    /// For which group.
    pub group: String,
    /// `approve` or `deny`.
    pub verdict: String,
    /// The text in place of what was asked for.
    pub statement: Option<String>,
    /// What is another in it, line by line: `-` and `+` before what is in one text alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: String,
}

/// A reviewer's decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// For it or against it.
    pub verdict: ReviewVerdict,
    /// The text that may run in place of what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// Why; whoever asked will see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// For or against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReviewVerdict {
    /// For it.
    Approve,
    /// Against it.
    Deny,
}
