//! The upstream's frames: each is held against what is expected, and passed, held or replaced.

use bytes::{Bytes, BytesMut};
use claviger_model::OpId;

use super::expect::{Expect, Running};
use super::frame::{Reader, body, header};
use super::refuse::{self, Fault};
use super::registry::Portal;
use super::{Postgres, access, message};
use crate::{Closed, Event, Probe, StatementResult, Status};

/// What a probe may bring.
const PROBE_LIMIT: usize = 1 << 20;

const UNEXPECTED: Fault = Fault::Upstream("the upstream sent an unexpected message");

impl<A> Postgres<A> {
    /// Takes whole frames, and any part of DataRow and CopyData, which pass in runs as they are.
    pub(super) fn take_server_frames(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        let mut run = 0;
        while self.phase == super::Phase::Serving {
            let rest = input.get(run..).unwrap_or_default();
            if self.up_stream > 0 {
                let taken = self.up_stream.min(rest.len());
                run += taken;
                self.up_stream -= taken;
                if self.up_stream > 0 {
                    break;
                }
                continue;
            }
            let Some(header) = header(rest).map_err(|_| UNEXPECTED)? else { break };
            if let Some(op) = self.streams(header.kind)? {
                if header.kind == b'D'
                    && let Some(op) = self.ops.get_mut(&op)
                {
                    op.rows += 1;
                }
                self.flush_tail(Some(op));
                self.up_stream = header.len;
                continue;
            }
            // Everything else is needed whole. A run belongs to one operation, and ends here.
            self.deliver_run(input, &mut run);
            if header.len > self.limits.control {
                return Err(Fault::Upstream("the upstream sent a message that is too long"));
            }
            if input.len() < header.len {
                break;
            }
            let frame = input.split_to(header.len).freeze();
            self.server_message(header.kind, frame)?;
            // What waited for this answer is planned before the next is read, however the input is cut.
            if !self.inbox.is_empty() {
                self.pump();
            }
        }
        self.deliver_run(input, &mut run);
        Ok(())
    }

    fn deliver_run(&mut self, input: &mut BytesMut, run: &mut usize) {
        if *run > 0 {
            let bytes = input.split_to(*run).freeze();
            *run = 0;
            self.deliver(self.head_op(), bytes);
        }
    }

    /// The operation whose rows these are, if frames of this kind pass unread.
    fn streams(&self, kind: u8) -> Result<Option<OpId>, Fault> {
        match (kind, self.expects.front()) {
            (b'D' | b'd', Some(Expect::Batch { op } | Expect::Execute { op, .. })) if !self.running.failed => Ok(Some(*op)),
            (b'D', Some(Expect::Probe { .. })) => Ok(None),
            (b'D' | b'd', _) => Err(UNEXPECTED),
            _ => Ok(None),
        }
    }

    fn head_op(&self) -> Option<OpId> {
        match self.expects.front()? {
            Expect::Batch { op } | Expect::Parse { op, .. } | Expect::Bind { op, .. } | Expect::Execute { op, .. } => Some(*op),
            _ => None,
        }
    }

    fn server_message(&mut self, kind: u8, frame: Bytes) -> Result<(), Fault> {
        match kind {
            b'S' | b'A' | b'N' => self.on_asynchronous(kind, frame),
            b'E' => return self.on_error(frame),
            b'Z' => return self.on_ready(frame),
            _ if matches!(self.expects.front(), Some(Expect::Probe { .. })) => return self.on_probe(kind, &frame),
            b'1' => return self.on_parsed(frame),
            b'2' => return self.on_bound(frame),
            b'3' => return self.on_closed(frame),
            b't' if matches!(self.expects.front(), Some(Expect::Describe)) => self.deliver(None, frame),
            b'T' | b'n' if matches!(self.expects.front(), Some(Expect::Describe)) => {
                self.pop();
                self.deliver(None, frame);
            }
            b'T' | b'H' | b'G' | b'c' => return self.on_data_header(kind, frame),
            b'C' | b'I' => return self.on_completed(kind, frame),
            b's' => return self.on_suspended(frame),
            _ => return Err(UNEXPECTED),
        }
        Ok(())
    }

    /// These may come at any time (manual, 55.2.7). A notice that comes with an operation's answer is part of its response.
    fn on_asynchronous(&mut self, kind: u8, frame: Bytes) {
        match self.expects.front() {
            Some(Expect::Probe { .. }) if kind == b'N' => {}
            Some(Expect::Batch { .. }) if !self.running.tail.is_empty() => self.running.tail.push(frame),
            _ => self.deliver(self.head_op().filter(|_| kind == b'N'), frame),
        }
    }

    fn on_parsed(&mut self, frame: Bytes) -> Result<(), Fault> {
        let Some(Expect::Parse { op, name, serial, statement }) = self.pop() else { return Err(UNEXPECTED) };
        self.registry.settle(&name, serial);
        self.registry.confirm(name, statement);
        self.complete(op, Status::Completed, frame);
        Ok(())
    }

    fn on_bound(&mut self, frame: Bytes) -> Result<(), Fault> {
        let Some(Expect::Bind { op, portal, bind, statement }) = self.pop() else { return Err(UNEXPECTED) };
        if let Some(tx) = self.ops.get(&op).map(|op| op.tx) {
            self.touch(tx);
        }
        let replaced = self.registry.portals.insert(portal, Portal { op, bind, statement, done: false });
        self.end_portal(replaced);
        self.deliver(Some(op), frame);
        Ok(())
    }

    fn on_closed(&mut self, frame: Bytes) -> Result<(), Fault> {
        let Some(Expect::Close { portal, name, serial }) = self.pop() else { return Err(UNEXPECTED) };
        if portal {
            let closed = self.registry.portals.remove(&name);
            self.end_portal(closed);
        } else {
            self.registry.settle(&name, serial);
            self.registry.remove(&name);
        }
        self.deliver(None, frame);
        Ok(())
    }

    fn end_portal(&mut self, portal: Option<Portal>) {
        if let Some(portal) = portal.filter(|portal| !portal.done) {
            self.finish(portal.op, Status::Completed);
        }
    }

    fn on_data_header(&mut self, kind: u8, frame: Bytes) -> Result<(), Fault> {
        let op = match self.expects.front() {
            Some(Expect::Batch { op }) if !self.running.failed => *op,
            Some(Expect::Execute { op, .. }) if kind != b'T' => *op,
            _ => return Err(UNEXPECTED),
        };
        self.flush_tail(Some(op));
        self.deliver(Some(op), frame);
        if kind == b'G' { self.open_copy() } else { Ok(()) }
    }

    /// From here on the server ignores Sync and Flush, those too that are already on their way (manual, 55.2.6).
    fn open_copy(&mut self) -> Result<(), Fault> {
        let behind = self.expects.iter().skip(1);
        if !self.queue.is_empty() || behind.clone().any(|expect| !matches!(expect, Expect::Sync)) {
            return Err(Fault::Client("message during COPY"));
        }
        self.copy.absorbed += behind.count();
        self.expects.truncate(1);
        self.copy.open = true;
        self.mid_group = true;
        Ok(())
    }

    fn on_completed(&mut self, kind: u8, frame: Bytes) -> Result<(), Fault> {
        let tag = match kind {
            b'C' => Some(String::from_utf8_lossy(message::text(&frame).map_err(|_| UNEXPECTED)?).into_owned()),
            _ => None,
        };
        let (op, portal) = match self.expects.front() {
            Some(Expect::Batch { op }) if !self.running.failed => (*op, None),
            Some(Expect::Execute { op, portal }) => (*op, Some(portal.clone())),
            _ => return Err(UNEXPECTED),
        };
        if tag.as_ref().is_some_and(|tag| tag.starts_with("COPY")) {
            self.copy.open = false;
            self.copy.absorbed = 0;
        }
        self.note_tag(op, tag.as_deref());
        let Some(portal) = portal else {
            self.flush_tail(Some(op));
            self.running.tail.push(frame);
            self.running.answered = true;
            return Ok(());
        };
        self.pop();
        if let Some(portal) = self.registry.portals.get_mut(&portal) {
            portal.done = true;
        }
        let control = self.ops.get(&op).map(|op| (op.tx, op.nature.control));
        if let Some((tx, _)) = control {
            self.touch(tx);
        }
        self.complete(op, Status::Completed, frame);
        if let (Some((_, control)), Some(tag)) = (control, tag.as_deref()) {
            self.completed(control, tag);
        }
        self.forget_portals(tag.as_deref());
        Ok(())
    }

    /// Keeps a tag for the outcome, and follows what it says of names.
    fn note_tag(&mut self, op: OpId, tag: Option<&str>) {
        let Some(tag) = tag else { return };
        let plain = self.ops.get_mut(&op).and_then(|op| {
            op.results.push(StatementResult { tag: tag.to_owned() });
            op.deallocated.take()
        });
        match (tag, plain) {
            ("DEALLOCATE", Some(name)) => self.registry.remove(&name),
            ("DEALLOCATE" | "DEALLOCATE ALL" | "DISCARD ALL", _) => self.registry.forget_named(),
            _ => {}
        }
    }

    /// After CLOSE by statement, the named portals stand for nothing that is known any more.
    fn forget_portals(&mut self, tag: Option<&str>) {
        if tag.is_some_and(|tag| tag.starts_with("CLOSE CURSOR") || tag == "DISCARD ALL") {
            self.drop_portals();
        }
    }

    fn on_suspended(&mut self, frame: Bytes) -> Result<(), Fault> {
        let Some(Expect::Execute { op, .. }) = self.pop() else { return Err(UNEXPECTED) };
        self.deliver(Some(op), frame);
        Ok(())
    }

    fn on_error(&mut self, frame: Bytes) -> Result<(), Fault> {
        if message::is_fatal(&frame) {
            self.deliver(None, frame);
            self.close(Closed::ByUpstream);
            return Ok(());
        }
        self.tx.failed = true;
        self.copy.open = false;
        let code = message::sqlstate(&frame);
        match self.expects.front_mut() {
            Some(Expect::Batch { op }) if !self.running.failed => {
                let op = *op;
                self.fail(op, code);
                self.flush_tail(Some(op));
                self.running.tail.push(frame);
                self.running.answered = true;
                self.running.failed = true;
            }
            Some(Expect::Poison { refusal, batch, answered, .. }) if !*answered => {
                let (replaced, batch) = (refuse::error(refusal), *batch);
                *answered = true;
                self.deliver(None, replaced);
                if !batch {
                    self.skip_to_sync();
                }
            }
            Some(Expect::Probe { code: found, .. }) => {
                self.tx.failed = false;
                *found = Some(code);
            }
            // A deferred constraint, at the commit that Sync brings.
            Some(Expect::Sync) => self.deliver(None, frame),
            Some(
                Expect::Parse { .. } | Expect::Bind { .. } | Expect::Execute { .. } | Expect::Describe | Expect::Close { .. },
            ) => {
                self.fail_extended(code, frame);
            }
            _ => return Err(UNEXPECTED),
        }
        Ok(())
    }

    fn fail(&mut self, op: OpId, code: String) {
        let Some(op) = self.ops.get_mut(&op) else { return };
        op.code = Some(code);
        let tx = op.tx;
        self.touch(tx);
    }

    fn fail_extended(&mut self, code: String, frame: Bytes) {
        let op = self.head_op();
        match self.pop() {
            Some(Expect::Parse { name, serial, .. }) => self.registry.settle(&name, serial),
            Some(Expect::Execute { portal, .. }) => {
                self.registry.portals.remove(&portal);
            }
            Some(Expect::Close { portal: false, name, serial }) => self.registry.settle(&name, serial),
            _ => {}
        }
        match op {
            Some(op) => {
                self.fail(op, code);
                self.complete(op, Status::Error, frame);
            }
            None => self.deliver(None, frame),
        }
        self.skip_to_sync();
    }

    /// The end of an operation: recorded as part of its response, and held until its outcome is.
    fn complete(&mut self, op: OpId, status: Status, frame: Bytes) {
        if let Some(own) = self.ops.get_mut(&op) {
            own.bytes += frame.len() as u64;
            self.responses.push_back(crate::Response { op, bytes: frame.clone() });
        }
        self.finish(op, status);
        self.deliver(None, frame);
    }

    /// Another statement follows in the batch, so that what was held was not the last.
    fn flush_tail(&mut self, op: Option<OpId>) {
        for frame in std::mem::take(&mut self.running.tail) {
            self.deliver(op, frame);
        }
    }

    fn on_ready(&mut self, frame: Bytes) -> Result<(), Fault> {
        let status = match *body(&frame) {
            [status @ (b'I' | b'T' | b'E')] => status,
            _ => return Err(UNEXPECTED),
        };
        match self.expects.front() {
            Some(Expect::Batch { op }) if self.running.answered => {
                let op = *op;
                return self.end_batch(op, status, frame);
            }
            Some(Expect::Sync) => {
                self.pop();
                self.settle_group(status);
            }
            Some(Expect::Poison { batch: true, answered: true, .. }) => {
                self.pop();
                self.settle_group(status);
            }
            Some(Expect::Probe { .. }) => {
                self.end_probe();
                return Ok(());
            }
            // The COPY failed before the server had read these, so it did not ignore them.
            _ if self.copy.absorbed > 0 => {
                self.copy.absorbed -= 1;
                self.skipping = false;
                self.settle_group(status);
            }
            _ => return Err(UNEXPECTED),
        }
        self.deliver(None, frame);
        Ok(())
    }

    fn end_batch(&mut self, id: OpId, status: u8, frame: Bytes) -> Result<(), Fault> {
        let running = std::mem::take(&mut self.running);
        self.expects.pop_front();
        let (tx, control, results) = match self.ops.get(&id) {
            Some(op) => (op.tx, op.nature.control, op.results.clone()),
            None => (self.tx.id, access::Control::Unclear, Vec::new()),
        };
        self.touch(tx);
        for part in running.tail.iter().chain([&frame]) {
            if let Some(op) = self.ops.get_mut(&id) {
                op.bytes += part.len() as u64;
                self.responses.push_back(crate::Response { op: id, bytes: part.clone() });
            }
        }
        self.finish(id, if running.failed { Status::Error } else { Status::Completed });
        for result in &results {
            self.forget_portals(Some(&result.tag));
        }
        let unnamed = self.registry.portals.remove(&b""[..]);
        self.end_portal(unnamed);
        self.settle_batch(control, &results, status);
        for part in running.tail.into_iter().chain([frame]) {
            self.deliver(None, part);
        }
        Ok(())
    }

    fn on_probe(&mut self, kind: u8, frame: &Bytes) -> Result<(), Fault> {
        let Some(Expect::Probe { rows, bytes, code, .. }) = self.expects.front_mut() else { return Err(UNEXPECTED) };
        match kind {
            b'1' | b'2' | b'3' | b'C' | b'I' => {}
            b'D' if *bytes + frame.len() > PROBE_LIMIT => *code = Some("54000".to_owned()),
            b'D' => {
                *bytes += frame.len();
                let row = message::row(frame).map_err(|_| UNEXPECTED)?;
                // Copied, so that a small answer does not keep a large buffer.
                rows.push(row.into_iter().map(|value| value.map(Bytes::copy_from_slice)).collect());
            }
            _ => return Err(UNEXPECTED),
        }
        Ok(())
    }

    fn end_probe(&mut self) {
        if let Some(Expect::Probe { id, rows, code, .. }) = self.pop() {
            let probe = code.map_or(Probe::Rows(rows), Probe::Failed);
            self.events.push_back(Event::Probe(id, probe));
        }
    }

    fn pop(&mut self) -> Option<Expect> {
        self.running = Running::default();
        self.expects.pop_front()
    }
}

/// Reads the parts of an Authentication message: its number, and the rest.
pub(super) fn authentication(frame: &[u8]) -> Result<(i32, Reader<'_>), Fault> {
    let mut reader = Reader::new(body(frame));
    let number = reader.i32().map_err(|_| UNEXPECTED)?;
    Ok((number, reader))
}
