//! Whether the leaves of each session make sense together.

use std::collections::{BTreeMap, HashMap};

use claviger_model::{BootId, OpId, SessionId};

use super::Report;
use crate::leaf::LeafType;
use crate::line::Line;

/// The sessions that are open.
#[derive(Default)]
pub(super) struct Sessions(HashMap<SessionId, Session>);

struct Session {
    boot: BootId,
    operations: BTreeMap<OpId, Stage>,
}

/// How far an operation without an outcome has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Permitted,
    Intended,
}

impl Sessions {
    pub(super) fn leaf(&mut self, seq: u64, line: &Line, report: &mut Report) {
        use LeafType as T;
        let Some(id) = line.session else { return };
        match (line.kind, self.0.get_mut(&id)) {
            // A gap may come to light after its session.
            (T::SessionRefused | T::Gap, _) => {}
            (T::SessionOpen, None) => {
                report.sessions += 1;
                self.0.insert(id, Session { boot: line.boot, operations: BTreeMap::new() });
            }
            (T::SessionOpen, Some(_)) => report.problem(seq, "session.twice", format!("session {id} opens a second time")),
            (_, None) => report.problem(seq, "session.unknown", format!("session {id} is not open")),
            (T::SessionClose, Some(session)) => {
                session.close(seq, id, report);
                self.0.remove(&id);
            }
            (_, Some(session)) => session.leaf(seq, id, line, report),
        }
    }

    /// At the end of the log, only the last run may have operations without outcome.
    pub(super) fn finish(self, last_boot: Option<BootId>, report: &mut Report) {
        for (id, session) in self.0 {
            let intended = session.intended();
            if Some(session.boot) == last_boot {
                report.open_operations += intended.count() as u64;
            } else {
                report.problem(None, "session.never_closed", format!("session {id} of an earlier run was never closed"));
                for op in intended {
                    report.problem(None, "operation.no_outcome", format!("operation {op} of session {id} has no OUTCOME"));
                }
            }
        }
    }
}

impl Session {
    fn leaf(&mut self, seq: u64, id: SessionId, line: &Line, report: &mut Report) {
        let Some(op) = line.op else { return };
        let stage = self.operations.get(&op).copied();
        match (line.kind, stage) {
            (LeafType::Request, None) if line.permitted() => _ = self.operations.insert(op, Stage::Permitted),
            (LeafType::Request, None) => {}
            (LeafType::Intent, Some(Stage::Permitted)) => {
                report.operations += 1;
                self.operations.insert(op, Stage::Intended);
            }
            (LeafType::Outcome, Some(Stage::Intended)) => _ = self.operations.remove(&op),
            (LeafType::Request, Some(_)) => {
                report.problem(seq, "operation.twice", format!("operation {op} of session {id} has a second REQUEST"));
            }
            (LeafType::Intent, _) => {
                let detail = format!("operation {op} of session {id} has an INTENT and no permitted REQUEST");
                report.problem(seq, "operation.no_request", detail);
            }
            (LeafType::Outcome, _) => {
                report.problem(
                    seq,
                    "operation.no_intent",
                    format!("operation {op} of session {id} has an OUTCOME and no INTENT"),
                );
            }
            _ => {}
        }
    }

    fn close(&self, seq: u64, id: SessionId, report: &mut Report) {
        for op in self.intended() {
            report.problem(seq, "operation.no_outcome", format!("operation {op} of session {id} has no OUTCOME"));
        }
    }

    fn intended(&self) -> impl Iterator<Item = OpId> {
        self.operations.iter().filter(|(_, stage)| **stage == Stage::Intended).map(|(op, _)| *op)
    }
}
