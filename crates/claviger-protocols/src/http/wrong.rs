//! What is wrong with what a peer sends.

use claviger_model::{Refusal, RefusalKind};

/// Something that is not taken, with the status that says so (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) status: u16,
    pub(super) why: &'static str,
}

impl Wrong {
    pub(super) const fn new(status: u16, why: &'static str) -> Self {
        Self { status, why }
    }

    /// What breaks the protocol, or could be read in two ways.
    pub(super) const fn request(why: &'static str) -> Self {
        Self::new(400, why)
    }

    pub(super) fn refusal(self) -> Refusal {
        let kind = match self.status {
            401 => RefusalKind::Unauthenticated,
            405 | 415 | 417 | 501 | 505 => RefusalKind::Unsupported,
            500 => RefusalKind::Internal,
            413 | 414 | 431 => RefusalKind::TooLarge,
            _ => RefusalKind::ProtocolViolation,
        };
        Refusal::new(kind, self.why)
    }
}
