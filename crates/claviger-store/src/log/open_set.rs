//! What is open: sessions without a close, operations with an intent and without an outcome.

use std::collections::HashSet;

use claviger_audit::{Leaf, LeafKind, LeafType, Line};
use claviger_model::{OpId, SessionId};

/// What is open in the log, for the reserve and for recovery.
#[derive(Clone, Default)]
pub(super) struct OpenSet {
    pub(super) sessions: HashSet<SessionId>,
    pub(super) operations: HashSet<(SessionId, OpId)>,
}

impl OpenSet {
    pub(super) fn apply(&mut self, leaf: &Leaf) {
        match &leaf.kind {
            LeafKind::SessionOpen(leaf) => _ = self.sessions.insert(leaf.session),
            LeafKind::SessionClose(leaf) => _ = self.sessions.remove(&leaf.session),
            LeafKind::Intent(leaf) => _ = self.operations.insert((leaf.session, leaf.op)),
            LeafKind::Outcome(leaf) => _ = self.operations.remove(&(leaf.session, leaf.op)),
            _ => {}
        }
    }

    pub(super) fn apply_line(&mut self, line: &Line) {
        match (line.kind, line.session, line.op) {
            (LeafType::SessionOpen, Some(session), _) => _ = self.sessions.insert(session),
            (LeafType::SessionClose, Some(session), _) => _ = self.sessions.remove(&session),
            (LeafType::Intent, Some(session), Some(op)) => _ = self.operations.insert((session, op)),
            (LeafType::Outcome, Some(session), Some(op)) => _ = self.operations.remove(&(session, op)),
            _ => {}
        }
    }
}
