use std::sync::Arc;

use claviger_model::{ApprovalId, Timestamp};

/// `ACCESS`: something happened to access that is asked for, or given, for a time.
#[derive(Clone, Debug)]
pub struct AccessLeaf {
    /// The request, and the grant that came of it.
    pub grant: ApprovalId,
    /// What happened.
    pub event: AccessEvent,
    /// Who did it: the chain that asks, the reviewer, who takes it back, or the channel.
    pub who: Arc<str>,
    /// To what.
    pub connection: Arc<str>,
    /// What may be done with it, sorted; whatever policies permit, if there is nothing.
    pub actions: Arc<[Arc<str>]>,
    /// To which tables, sorted; to all, if there is none.
    pub tables: Arc<[Arc<str>]>,
    /// For how long, in seconds.
    pub seconds: u32,
    /// Whether it was taken in an emergency, without anybody's approval.
    pub break_glass: bool,
    /// The groups that are to approve or review it, or that the reviewer stands for, sorted.
    pub groups: Arc<[Arc<str>]>,
    /// The policies that wanted it approved, or permitted it, sorted.
    pub policies: Arc<[Arc<str>]>,
    /// The address that it is asked for from.
    pub client: Option<Arc<str>>,
    /// Until when it is good, once it is given.
    pub until: Option<Timestamp>,
    /// The id of the token by which whoever acts has proved who he is, or of the token that was minted.
    pub token: Option<Arc<str>>,
    /// Why, in the words of who did it; or the stable code of the reason.
    pub reason: Option<Arc<str>>,
}

/// What happens to access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessEvent {
    /// It was asked for.
    Requested,
    /// Policy does not permit it.
    Refused,
    /// A reviewer has looked at the request.
    Seen,
    /// A reviewer is for it.
    Approved,
    /// A reviewer is against it.
    Denied,
    /// It is given, from now on.
    Granted,
    /// A token was made that is good for it alone.
    Token,
    /// Its time is over.
    Ended,
    /// It was taken back, or given back.
    Revoked,
    /// What was taken in an emergency was looked into afterwards.
    Reviewed,
    /// Nobody decided in time.
    Expired,
    /// A channel has told of it.
    Notified,
    /// A channel has given up telling of it.
    NotNotified,
}

impl AccessEvent {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Refused => "refused",
            Self::Seen => "seen",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Granted => "granted",
            Self::Token => "token",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
            Self::Reviewed => "reviewed",
            Self::Expired => "expired",
            Self::Notified => "notified",
            Self::NotNotified => "not_notified",
        }
    }
}
