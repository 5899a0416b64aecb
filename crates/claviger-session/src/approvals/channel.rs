//! How people hear of requests who do not ask for them.
//!
//! A channel tells and never decides: whatever becomes of what it says, a request is as it was. What it is to tell is kept before the
//! request can be decided, and each review before it counts.

use std::sync::Arc;

use claviger_audit::{AccessLeaf, ApprovalEvent, ApprovalLeaf};
use claviger_model::Timestamp;

use super::{Approval, Approvals};
use crate::Gateway;

/// Tells people outside of what happens to requests.
pub trait Channel: Send + Sync + 'static {
    /// Takes what was recorded, with the request as far as it is known. Returns at once: whether it was taken.
    fn tell(&self, happened: &ApprovalLeaf, at: Timestamp, request: Option<&Approval>) -> bool;
    /// The same of access for a time.
    fn tell_access(&self, happened: &AccessLeaf, at: Timestamp) -> bool;
    /// Waits until all that was taken so far is on stable storage: whether it is. May block.
    fn is_kept(&self) -> bool;
}

impl Approvals {
    /// Whatever is recorded of requests is told to this channel.
    pub fn telling(self, channel: Arc<dyn Channel>) -> Self {
        Self { channel: Some(channel), ..self }
    }

    /// Whether everybody who is to be told of this will be.
    pub(crate) fn pass_on(&self, happened: &ApprovalLeaf, at: Timestamp, request: Option<&Approval>) -> bool {
        let told = self.channel.as_ref().is_none_or(|channel| channel.tell(happened, at, request));
        if !told {
            tracing::error!(approval = %happened.approval, event = happened.event.as_str(), "those who are to be told cannot be");
        }
        told
    }

    /// The same of access for a time; waits until it is kept, so it may block.
    pub(crate) fn pass_on_access(&self, happened: &AccessLeaf, at: Timestamp) -> bool {
        let told = self.channel.as_ref().is_none_or(|channel| channel.tell_access(happened, at) && channel.is_kept());
        if !told {
            tracing::error!(grant = %happened.grant, event = happened.event.as_str(), "those who are to be told cannot be");
        }
        told
    }

    /// Whether what was to be told so far survives this process.
    pub(super) fn is_told(&self) -> bool {
        self.channel.as_ref().is_none_or(|channel| channel.is_kept())
    }
}

impl Gateway {
    /// Records that a channel has told of a request, or has given up; with what it was to tell of.
    pub fn notified(&self, told: bool, channel: Arc<str>, of: Arc<str>, request: ApprovalLeaf) {
        let event = if told { ApprovalEvent::Notified } else { ApprovalEvent::NotNotified };
        // That it could not be recorded is in the log already, and what was told cannot be taken back.
        _ = self.note(self.now(), ApprovalLeaf { event, who: channel, reason: Some(of), ..request });
    }
}
