//! The queue between the client and the upstream: nothing leaves it undecided, nothing overtakes.

use bytes::Bytes;
use claviger_model::{OpId, Refusal, RefusalKind};

use super::expect::Expect;
use super::message::{self, POISON, RESERVED};
use super::registry::Statement;
use super::{FRAME_COST, Postgres};
use crate::{Forward, Status};

/// A planned frame.
pub(super) enum Item {
    /// Needs no decision of its own.
    Pass { bytes: Bytes, expect: Option<Expect> },
    /// Waits for the decision on an operation.
    Ask { op: OpId, bytes: Bytes, form: Form, verdict: Option<Verdict> },
}

/// What kind of frame waits.
pub(super) enum Form {
    Query,
    Parse { name: Bytes, serial: u64, statement: Statement },
    Bind { portal: Bytes, statement: Statement },
    Execute { portal: Bytes },
}

/// What was decided.
pub(super) enum Verdict {
    Go(Forward),
    Refused(Refusal),
}

impl Item {
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Pass { bytes, .. } | Self::Ask { bytes, .. } => bytes.len() + FRAME_COST,
        }
    }

    /// Whether it waits for the decision on this operation.
    pub(super) fn awaits(&self, id: OpId) -> bool {
        matches!(self, Self::Ask { op, verdict: None, .. } if *op == id)
    }

    pub(super) fn decide(&mut self, decided: Verdict) {
        if let Self::Ask { verdict, .. } = self {
            *verdict = Some(decided);
        }
    }
}

impl<A> Postgres<A> {
    /// Sends the decided head of the queue; says whether it sent any.
    pub(super) fn forward(&mut self) -> bool {
        let mut any = false;
        while !matches!(self.expects.back(), Some(Expect::Probe { .. })) {
            let Some(item) = self.queue.pop_front() else { break };
            let cost = item.cost();
            match item {
                Item::Ask { verdict: None, .. } => {
                    self.queue.push_front(item);
                    break;
                }
                Item::Pass { bytes, expect } => self.send_passing(bytes, expect),
                Item::Ask { op, bytes, form, verdict: Some(Verdict::Go(forward)) } => {
                    self.send_admitted(op, bytes, form, forward)
                }
                Item::Ask { op, form, verdict: Some(Verdict::Refused(refusal)), .. } => {
                    if !matches!(form, Form::Execute { .. }) {
                        self.ops.remove(&op);
                    }
                    self.send_poison(form, refusal);
                }
            }
            self.queue_bytes = self.queue_bytes.saturating_sub(cost);
            any = true;
        }
        self.probe();
        any
    }

    fn send_passing(&mut self, bytes: Bytes, expect: Option<Expect>) {
        match &expect {
            Some(Expect::Sync) => {
                self.mid_group = false;
                self.flushed = true;
            }
            Some(_) => self.sent_extended(),
            None => self.flushed = true,
        }
        self.up.push(bytes);
        if let Some(expect) = expect {
            self.expect(expect);
        }
    }

    fn send_admitted(&mut self, op: OpId, bytes: Bytes, form: Form, forward: Forward) {
        let text = match forward {
            Forward::Original => None,
            Forward::Replace(text) if matches!(form, Form::Query | Form::Parse { .. }) && !text.contains(&0) => Some(text),
            Forward::Replace(_) => {
                // Only a statement's text can be replaced, and only by a text.
                self.finish(op, Status::NotSent);
                let refusal = Refusal::new(RefusalKind::Internal, "the statement could not be rewritten");
                return self.send_poison(form, refusal);
            }
        };
        match form {
            Form::Query => {
                self.up.push(text.map_or(bytes, |text| message::write_query(&text)));
                self.sent_query();
                self.expect(Expect::Batch { op });
            }
            Form::Parse { name, serial, mut statement } => {
                let rewritten = text.zip(message::parse(&bytes).ok()).map(|(text, parse)| {
                    statement = Statement { nature: super::access::Nature::of(&text), text };
                    message::write_parse(parse.name, &statement.text, parse.types)
                });
                self.up.push(rewritten.unwrap_or(bytes));
                self.sent_extended();
                self.expect(Expect::Parse { op, name, serial, statement });
            }
            Form::Bind { portal, statement } => {
                self.up.push(bytes.clone());
                self.sent_extended();
                self.expect(Expect::Bind { op, portal, bind: bytes, statement });
            }
            Form::Execute { portal } => {
                self.up.push(bytes);
                self.sent_extended();
                self.expect(Expect::Execute { op, portal });
            }
        }
    }

    /// Sends what the server must reject in place of what was refused. An extended message becomes a Parse under the reserved
    /// name, so that the client's own statements and portals stay.
    fn send_poison(&mut self, form: Form, refusal: Refusal) {
        let batch = matches!(form, Form::Query);
        if batch {
            self.up.push(message::write_query(POISON));
            self.sent_query();
        } else {
            self.up.push(message::write_parse(RESERVED, POISON, &[0, 0]));
            self.sent_extended();
        }
        let change = if let Form::Parse { name, serial, .. } = form { Some((name, serial)) } else { None };
        self.expect(Expect::Poison { refusal, batch, answered: false, change });
    }

    fn sent_query(&mut self) {
        self.mid_group = false;
        self.flushed = true;
    }

    fn sent_extended(&mut self) {
        self.mid_group = true;
        self.flushed = false;
    }

    /// Runs a query of the gateway's own where neither the client nor the server can notice.
    fn probe(&mut self) {
        if !self.is_quiescent() || self.mid_group || self.skipping || self.copy.open || self.tx.aborted {
            return;
        }
        if let Some((id, text)) = self.probes.pop_front() {
            self.up.push(message::write_probe(&text));
            self.expects.push_back(Expect::Probe { id, rows: Vec::new(), bytes: 0, code: None });
        }
    }
}
