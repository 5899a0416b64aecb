//! Access that is given for a time.

use claviger_model::ApprovalId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ApprovalNeed, ApprovalVote};

/// Access that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccess {
    /// To which connection.
    pub connection: String,
    /// What is to be done there, in the words of policies: `read`, `write`, `update`. Whatever policies permit, if there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// To which tables: `schema.table`, or `schema.*`. To all, if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// For how many seconds.
    pub seconds: u32,
    /// Why.
    pub reason: String,
    /// At once, in an emergency: without anybody's approval, to be reviewed afterwards.
    #[serde(default)]
    pub break_glass: bool,
}

/// Which grants and requests to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccessQuery {
    /// Also those that are over.
    #[serde(default)]
    pub all: bool,
}

/// Why something is taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevokeQuery {
    /// Why; whoever had it will see it.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Access for a time: asked for, in force, or over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Access {
    /// Its id.
    #[schema(value_type = String, min_length = 32, max_length = 32)]
    pub id: ApprovalId,
    /// Its short code.
    pub code: String,
    /// `pending`, `active`, `denied`, `expired`, `ended` or `revoked`.
    pub standing: String,
    /// Whose it is, actor first.
    pub chain: Vec<String>,
    /// What it is for, as far as that was stated.
    pub purpose: Option<String>,
    /// The connection.
    pub connection: String,
    /// What may be done with it; whatever policies permit, if there is nothing.
    pub actions: Vec<String>,
    /// To which tables; to all, if there is none.
    pub tables: Vec<String>,
    /// For how many seconds.
    pub seconds: u32,
    /// Why it was asked for.
    pub reason: String,
    /// From which address.
    pub client: String,
    /// Whether it was taken in an emergency, without anybody's approval.
    pub break_glass: bool,
    /// Whether that is to be reviewed still.
    pub unreviewed: bool,
    /// The policies that want it approved, or permit it.
    pub policies: Vec<String>,
    /// When it was asked for.
    pub asked: String,
    /// Until when it can be decided.
    pub decide_by: String,
    /// Until when it is good, once it is given.
    pub until: Option<String>,
    /// Who must approve it, or review it afterwards.
    pub needs: Vec<ApprovalNeed>,
    /// Who has said what.
    pub votes: Vec<ApprovalVote>,
    /// Who has taken it back.
    pub revoked_by: Option<String>,
    /// Why.
    pub revoked_because: Option<String>,
}
