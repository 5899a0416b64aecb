//! The client's frames: taken, put in order, and planned.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use claviger_model::{OpId, Refusal, RefusalKind, TxId};

use super::access::{self, Control, Nature};
use super::expect::Expect;
use super::forward::{Form, Item, Verdict};
use super::frame::header;
use super::message::{self, RESERVED};
use super::refuse::Fault;
use super::registry::{Found, Statement};
use super::{FRAME_COST, Op, Postgres, too_many};
use crate::{Event, Operation, Request};

/// What the client sent, in order.
pub(super) enum Raw {
    /// A whole frame.
    Message { kind: u8, bytes: Bytes },
    /// CopyData, of any number of frames and in any parts.
    Copy { bytes: Bytes, begins: bool, ends: bool },
}

/// What is foreseen while answers are out.
#[derive(Default)]
pub(super) struct Ahead {
    /// Counts groups, which end at Sync and Query.
    group: u64,
    /// The transaction that the next operation joins; none: a new one.
    tx: Option<TxId>,
    explicit: bool,
    /// This group begins or ends a transaction.
    control: bool,
    /// Nothing can be foreseen before all answers are in.
    fog: bool,
    /// The portals bound in this group and not executed yet.
    bound: HashMap<Bytes, (OpId, Nature)>,
}

/// Whether a frame could be planned.
enum Plan {
    Done,
    /// Not before all answers are in.
    Wait,
}

impl<A> Postgres<A> {
    /// Takes whole frames, and any part of CopyData.
    pub(super) fn take_client_frames(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        while !input.is_empty() {
            if self.down_stream > 0 || input.first() == Some(&b'd') {
                if !self.take_copy_data(input)? {
                    return Ok(());
                }
                continue;
            }
            let Some(header) = header(input)? else { return Ok(()) };
            match header.kind {
                b'Q' | b'P' | b'B' | b'E' | b'C' | b'D' | b'F' | b'f' if header.len > self.limits.statement => {
                    return Err(Fault::TooLarge { len: header.len, limit: self.limits.statement });
                }
                b'Q' | b'P' | b'B' | b'E' | b'C' | b'D' | b'F' | b'f' => {}
                b'S' | b'H' | b'c' | b'X' if header.len == 5 => {}
                b'S' | b'H' | b'c' | b'X' => return Err(Fault::Client("malformed message")),
                _ => return Err(Fault::Client("unknown message")),
            }
            if input.len() < header.len {
                return Ok(());
            }
            let bytes = input.split_to(header.len).freeze();
            self.inbox_bytes += bytes.len() + FRAME_COST;
            self.inbox.push_back(Raw::Message { kind: header.kind, bytes });
        }
        Ok(())
    }

    /// Takes a run of CopyData frames, the last of them perhaps in part. Says whether it took any.
    fn take_copy_data(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        let begins = self.down_stream == 0;
        let mut run = self.down_stream.min(input.len());
        self.down_stream -= run;
        while begins && self.down_stream == 0 {
            let rest = input.get(run..).unwrap_or_default();
            let Some(header) = header(rest)?.filter(|header| header.kind == b'd') else { break };
            let taken = header.len.min(rest.len());
            run += taken;
            self.down_stream = header.len - taken;
        }
        if run == 0 {
            return Ok(false);
        }
        let bytes = input.split_to(run).freeze();
        self.inbox_bytes += bytes.len() + FRAME_COST;
        self.inbox.push_back(Raw::Copy { bytes, begins, ends: self.down_stream == 0 });
        Ok(true)
    }

    /// Plans as many frames as can be; says whether it planned any.
    pub(super) fn plan(&mut self) -> bool {
        let mut any = false;
        while let Some(raw) = self.inbox.pop_front() {
            if self.is_quiescent() {
                self.look_afresh();
            }
            let cost = FRAME_COST
                + match &raw {
                    Raw::Message { bytes, .. } | Raw::Copy { bytes, .. } => bytes.len(),
                };
            let plan = match &raw {
                Raw::Copy { bytes, begins, ends } => Ok(self.plan_copy_data(bytes, *begins, *ends)),
                Raw::Message { kind, bytes } if self.copy.open => self.plan_in_copy(*kind, bytes),
                Raw::Message { kind, bytes } => self.plan_message(*kind, bytes),
            };
            match plan {
                Ok(Plan::Done) => {
                    self.inbox_bytes = self.inbox_bytes.saturating_sub(cost);
                    any = true;
                }
                Ok(Plan::Wait) => {
                    self.inbox.push_front(raw);
                    break;
                }
                Err(fault) => self.terminate(fault.into()),
            }
        }
        any
    }

    /// Everything is answered: what the server said is what holds.
    fn look_afresh(&mut self) {
        self.ahead.fog = false;
        self.ahead.explicit = self.tx.explicit;
        if self.tx.active {
            self.ahead.tx = Some(self.tx.id);
        } else if !self.mid_group {
            self.ahead.tx = None;
        }
    }

    /// CopyData passes while the server reads it, and is dropped where the server would drop it.
    fn plan_copy_data(&mut self, bytes: &Bytes, begins: bool, ends: bool) -> Plan {
        if begins {
            if !self.copy.open && self.may_open_copy() {
                return self.wait();
            }
            self.copy.passes = self.copy.open;
        }
        if self.copy.passes {
            self.up.push(bytes.clone());
            self.copy.partial = !ends;
        }
        Plan::Done
    }

    /// Whether something that was asked for may still turn out to be a COPY.
    fn may_open_copy(&self) -> bool {
        !self.queue.is_empty()
            || self.expects.iter().enumerate().any(|(at, expect)| match expect {
                Expect::Batch { .. } => at > 0 || !self.running.failed,
                Expect::Execute { .. } => true,
                _ => false,
            })
    }

    /// In copy-in mode the server ignores Sync and Flush; anything but the end of the copy is an error (manual, 55.2.6).
    fn plan_in_copy(&mut self, kind: u8, bytes: &Bytes) -> Result<Plan, Fault> {
        match kind {
            b'c' | b'f' => self.copy.open = false,
            b'S' => self.copy.absorbed += 1,
            b'H' => {}
            b'X' => {
                self.leave();
                return Ok(Plan::Done);
            }
            _ => return Err(Fault::Client("message during COPY")),
        }
        self.up.push(bytes.clone());
        // The server flushes when the copy ends in a batch; in the extended protocol it waits for the next Sync.
        self.flushed = false;
        Ok(Plan::Done)
    }

    fn plan_message(&mut self, kind: u8, bytes: &Bytes) -> Result<Plan, Fault> {
        if self.skipping && self.is_quiescent() && !matches!(kind, b'S' | b'X') {
            // The server would pass over it.
            return Ok(Plan::Done);
        }
        Ok(match kind {
            b'Q' | b'P' | b'B' if self.ahead.fog => self.wait(),
            b'Q' => self.plan_query(bytes)?,
            b'P' => self.plan_parse(bytes)?,
            b'B' => self.plan_bind(bytes)?,
            b'E' => self.plan_execute(bytes)?,
            b'D' => {
                self.own_name(message::target(bytes)?.1)?;
                self.pass(bytes, Some(Expect::Describe))
            }
            b'C' => self.plan_close(bytes)?,
            b'S' => {
                self.end_group();
                self.pass(bytes, Some(Expect::Sync))
            }
            b'H' => self.pass(bytes, None),
            b'F' => {
                let refusal = Refusal::new(RefusalKind::Unsupported, "function calls by number are not supported");
                self.push(Item::Ask {
                    op: OpId(0),
                    bytes: bytes.clone(),
                    form: Form::Query,
                    verdict: Some(Verdict::Refused(refusal)),
                });
                Plan::Done
            }
            b'c' | b'f' if self.may_open_copy() => self.wait(),
            b'c' | b'f' => Plan::Done,
            b'X' if !self.queue.is_empty() => Plan::Wait,
            b'X' => {
                self.leave();
                Plan::Done
            }
            _ => return Err(Fault::Client("unknown message")),
        })
    }

    /// Not before all answers are in. The server may be keeping them for a Sync that stands behind.
    fn wait(&mut self) -> Plan {
        if self.queue.is_empty() && !self.flushed && !self.copy.open {
            self.up.push(message::write_bare(b'H'));
            self.flushed = true;
        }
        Plan::Wait
    }

    fn plan_query(&mut self, bytes: &Bytes) -> Result<Plan, Fault> {
        let text = bytes.slice_ref(message::text(bytes)?);
        let nature = Nature::of(&text);
        let op = self.announce(bytes, Request::Batch { text: text.clone() }, &text, nature);
        self.push(Item::Ask { op, bytes: bytes.clone(), form: Form::Query, verdict: None });
        self.ahead.control |= nature.control != Control::None;
        self.ahead.fog |= nature.renames;
        self.end_group();
        Ok(Plan::Done)
    }

    fn plan_parse(&mut self, bytes: &Bytes) -> Result<Plan, Fault> {
        let parse = message::parse(bytes)?;
        self.own_name(parse.name)?;
        let (name, text) = (bytes.slice_ref(parse.name), bytes.slice_ref(parse.text));
        let nature = Nature::of(&text);
        let full = self.registry.len() >= self.limits.statements;
        let statement = Statement { text: text.clone(), nature };
        let serial = self.registry.change(name.clone(), self.ahead.group, Some(statement.clone()));
        let form = Form::Parse { name: name.clone(), serial, statement };
        let (op, verdict) = match full {
            true => (OpId(0), Some(Verdict::Refused(too_many()))),
            false => (self.announce(bytes, Request::Prepare { name, text: text.clone() }, &text, nature), None),
        };
        self.push(Item::Ask { op, bytes: bytes.clone(), form, verdict });
        Ok(Plan::Done)
    }

    fn plan_bind(&mut self, bytes: &Bytes) -> Result<Plan, Fault> {
        let bind = message::bind(bytes)?;
        self.own_name(bind.portal)?;
        self.own_name(bind.statement)?;
        let statement = match self.registry.find(bind.statement, self.ahead.group) {
            Found::NotYet if !self.is_quiescent() => return Ok(self.wait()),
            Found::Statement(statement) => statement,
            Found::Unknown | Found::NotYet => Statement::unknown(),
        };
        let portal = bytes.slice_ref(bind.portal);
        let parameters = bind.parameters.iter().map(|value| value.map(|value| bytes.slice_ref(value))).collect();
        let full = self.registry.len() + self.ahead.bound.len() >= self.limits.statements;
        let (op, verdict) = match full {
            true => (OpId(0), Some(Verdict::Refused(too_many()))),
            false => {
                let request = Request::Execute { text: statement.text.clone(), parameters };
                (self.announce(bytes, request, &statement.text, statement.nature), None)
            }
        };
        self.ahead.bound.insert(portal.clone(), (op, statement.nature));
        self.push(Item::Ask { op, bytes: bytes.clone(), form: Form::Bind { portal, statement }, verdict });
        Ok(Plan::Done)
    }

    /// The first Execute of a portal bound in the same group belongs to the Bind's operation. Any other waits until it is known
    /// whether the portal is suspended, done or gone.
    fn plan_execute(&mut self, bytes: &Bytes) -> Result<Plan, Fault> {
        let name = message::execute(bytes)?;
        self.own_name(name)?;
        let portal = bytes.slice_ref(name);
        if !self.ahead.fog
            && let Some((op, nature)) = self.ahead.bound.remove(name)
        {
            self.run_ahead(nature);
            return Ok(self.pass(bytes, Some(Expect::Execute { op, portal })));
        }
        if !self.is_quiescent() {
            return Ok(self.wait());
        }
        self.ahead.bound.remove(name);
        let known = self.registry.portals.get(name).cloned();
        let nature = known.as_ref().map_or(Nature::UNKNOWN, |known| known.statement.nature);
        match known {
            Some(known) if !known.done => {
                self.events.push_back(Event::Continue(known.op));
                self.push(Item::Ask { op: known.op, bytes: bytes.clone(), form: Form::Execute { portal }, verdict: None });
            }
            Some(known) => {
                let text = known.statement.text;
                let parameters = message::bind(&known.bind)?.parameters;
                let parameters = parameters.into_iter().map(|value| value.map(|value| known.bind.slice_ref(value))).collect();
                let op = self.announce(bytes, Request::Execute { text: text.clone(), parameters }, &text, nature);
                self.push(Item::Ask { op, bytes: bytes.clone(), form: Form::Execute { portal }, verdict: None });
            }
            None => {
                let target = format!("portal {}", String::from_utf8_lossy(name));
                let op = self.announce(bytes, Request::Call { target }, b"", nature);
                self.push(Item::Ask { op, bytes: bytes.clone(), form: Form::Execute { portal }, verdict: None });
            }
        }
        self.run_ahead(nature);
        Ok(Plan::Done)
    }

    fn plan_close(&mut self, bytes: &Bytes) -> Result<Plan, Fault> {
        let (kind, name) = message::target(bytes)?;
        self.own_name(name)?;
        let (portal, name) = (kind == b'P', bytes.slice_ref(name));
        let serial = if portal {
            self.ahead.bound.remove(&name);
            0
        } else {
            self.registry.change(name.clone(), self.ahead.group, None)
        };
        Ok(self.pass(bytes, Some(Expect::Close { portal, name, serial })))
    }

    /// What an Execute means for the frames behind it.
    fn run_ahead(&mut self, nature: Nature) {
        match nature.control {
            Control::None => {}
            Control::Begin => self.ahead.explicit = true,
            Control::End => {
                self.ahead.explicit = false;
                self.ahead.tx = None;
            }
            Control::Unclear => self.ahead.fog = true,
        }
        self.ahead.control |= nature.control != Control::None;
        self.ahead.fog |= nature.renames;
    }

    fn end_group(&mut self) {
        self.ahead.group += 1;
        self.ahead.bound.clear();
        self.ahead.fog |= std::mem::take(&mut self.ahead.control);
        if !self.ahead.explicit {
            self.ahead.tx = None;
        }
    }

    /// Tells the pipeline of an operation.
    fn announce(&mut self, bytes: &Bytes, request: Request, text: &[u8], nature: Nature) -> OpId {
        self.last_op += 1;
        let id = OpId(self.last_op);
        let tx = *self.ahead.tx.get_or_insert_with(|| {
            self.last_tx += 1;
            TxId(self.last_tx)
        });
        let in_transaction = self.ahead.explicit;
        let access = match &request {
            Request::Prepare { .. } => crate::Access::Read,
            _ => access::access(text, in_transaction),
        };
        let deallocated = if nature.renames { access::deallocated(text) } else { None };
        let op = Op { admission: None, tx, nature, deallocated, results: Vec::new(), rows: 0, bytes: 0, code: None };
        self.ops.insert(id, op);
        let operation = Operation { id, tx, in_transaction, request, access, bytes: bytes.clone() };
        self.events.push_back(Event::Operation(operation));
        id
    }

    fn pass(&mut self, bytes: &Bytes, expect: Option<Expect>) -> Plan {
        self.push(Item::Pass { bytes: bytes.clone(), expect });
        Plan::Done
    }

    fn push(&mut self, item: Item) {
        self.queue_bytes += item.cost();
        self.queue.push_back(item);
    }

    /// The gateway's own names are not for clients.
    fn own_name(&self, name: &[u8]) -> Result<(), Fault> {
        if name == RESERVED { Err(Fault::Client("a reserved name")) } else { Ok(()) }
    }
}
