//! The proof that an operation was decided and its intent recorded.

use claviger_model::OpId;

/// Says "admitted, and its intent recorded". Only the pipeline makes one, after [`Ledger::append`] has taken the intent; it can
/// be neither copied nor made up, and a protocol needs one to put an operation's bytes in the upstream's queue.
///
/// [`Ledger::append`]: claviger_audit::Ledger::append
#[derive(Debug)]
pub struct Admission {
    op: OpId,
}

impl Admission {
    pub(crate) fn mint(op: OpId) -> Self {
        Self { op }
    }

    /// The operation that it admits.
    pub fn op(&self) -> OpId {
        self.op
    }
}
