//! What the server answers in an open session (PostgreSQL manual, 55.2.2 to 55.2.7).

use bytes::{Buf, Bytes, BytesMut};
use claviger_model::OpId;

use super::answers::{columns, error_code, is_fatal, tag};
use super::expect::{Closing, Expect, Group, Probing};
use super::masked::Row;
use super::statements::Prepared;
use super::{FRAMES, Serving};
use crate::postgres::frame::{Header, Violation};
use crate::postgres::io::Io;
use crate::postgres::{Fault, write};
use crate::{Event, Probe, Recorded, Side, StatementResult, Status};

impl<A> Serving<A> {
    /// Rows pass in runs, as the bytes that came, in whole or in part, unless something in them is masked. Everything else is taken frame
    /// by frame.
    pub(in crate::postgres) fn handle_server(&mut self, input: &mut BytesMut, io: &mut Io<A>) -> Result<(), Fault> {
        let mut run = 0;
        let mut frames = 0;
        while frames < FRAMES {
            let streamed = self.server_streaming.min(input.len() - run);
            run += streamed;
            self.server_streaming -= streamed;
            if self.server_streaming > 0 {
                break;
            }
            let Some(header) = Header::peek(input.get(run..).unwrap_or_default()).map_err(Fault::Upstream)? else { break };
            if matches!(header.tag, b'D' | b'd') && !self.is_answering_a_probe() {
                match self.row(header.tag, header.len, input.get(run..run.saturating_add(header.len)))? {
                    Row::Passes => self.server_streaming = header.len,
                    Row::Waits => break,
                    // How rows look is said between any that pass and any that do not, so there is no run now.
                    Row::Rewritten => input.advance(header.len),
                }
                continue;
            }
            if header.len > self.limits.control {
                return Err(Fault::Upstream(Violation("a message is longer than this gateway keeps")));
            }
            if input.len() - run < header.len {
                break;
            }
            self.deliver_run(input, &mut run, io);
            frames += 1;
            let mut frame = input.split_to(header.len).freeze();
            if !self.is_answering_a_probe() || matches!(header.tag, b'A' | b'S') {
                frame = self.look_at(header.tag, frame)?;
            }
            self.server_frame(header.tag, frame, io).map_err(Fault::Upstream)?;
        }
        self.deliver_run(input, &mut run, io);
        self.deliver_notices(io);
        self.pump(io)
    }

    fn deliver_run(&mut self, input: &mut BytesMut, run: &mut usize, io: &mut Io<A>) {
        self.deliver_rewritten(io);
        let len = std::mem::take(run);
        if len > 0 {
            let bytes = input.split_to(len).freeze();
            self.deliver(bytes, self.answering(), io);
        }
    }

    /// Puts bytes in the client's queue, and lets the recording see what belongs to an operation.
    pub(super) fn deliver(&mut self, bytes: Bytes, op: Option<OpId>, io: &mut Io<A>) {
        self.deliver_held(op, io);
        self.note(&bytes, op, io);
        io.send_downstream(bytes);
    }

    fn note(&mut self, bytes: &Bytes, op: Option<OpId>, io: &mut Io<A>) {
        let Some(op) = op else { return };
        if let Some(active) = self.active.get_mut(&op) {
            active.bytes += bytes.len() as u64;
            io.recorded.push_back(Recorded { op, from: Side::Upstream, request: false, bytes: bytes.clone() });
        }
    }

    /// A batch's completion was not its last: it may go.
    fn deliver_held(&mut self, op: Option<OpId>, io: &mut Io<A>) {
        let Some(active) = op.and_then(|op| self.active.get_mut(&op)) else { return };
        for held in active.held.drain(..) {
            io.send_downstream(held);
        }
    }

    /// Messages that come at any time and answer nothing (PostgreSQL manual, 55.2.7). What comes behind a completion that is
    /// kept back is kept back with it.
    fn asynchronous(&mut self, tag: u8, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        if self.is_answering_a_probe() {
            if tag != b'N' {
                io.send_downstream(frame);
            }
            return Ok(());
        }
        let op = self.answering();
        let limit = self.limits.control;
        let Some(active) = op.and_then(|op| self.active.get_mut(&op)).filter(|active| !active.held.is_empty()) else {
            self.deliver(frame, op, io);
            return Ok(());
        };
        if active.held.iter().map(Bytes::len).sum::<usize>() + frame.len() > limit {
            return Err(Violation("too much comes between a completion and what follows it"));
        }
        active.held.push(frame.clone());
        self.note(&frame, op, io);
        Ok(())
    }

    fn server_frame(&mut self, tag: u8, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        if matches!(tag, b'N' | b'A' | b'S') {
            return self.asynchronous(tag, frame, io);
        }
        self.skip_copy_ends();
        if self.is_answering_a_probe() {
            return self.probe_frame(tag, &frame, io);
        }
        match tag {
            b'1' => self.parsed(frame, io),
            b'2' => self.bound(frame, io),
            b'3' => self.closed(frame, io),
            b'T' | b'n' | b't' | b'H' | b'c' | b'G' => self.heading(tag, frame, io),
            b'C' | b'I' => self.completed(tag, frame, io),
            b's' => self.suspended(frame, io),
            b'E' => self.failed(frame, io),
            b'Z' => self.ready(frame, io),
            _ => Err(Violation("a message of a kind that does not belong in an open session")),
        }
    }

    /// What says how rows will look, or that a COPY begins or ends.
    fn heading(&mut self, tag: u8, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        match (tag, self.expected.front()) {
            (b't', Some(Expect::Describe { own: false, .. } | Expect::Look { .. })) | (b'T', Some(Expect::Batch { .. })) => {}
            (b'T' | b'n', Some(Expect::Look { op })) => {
                let op = *op;
                self.expected.pop_front();
                self.end(op, Status::Completed, frame, io);
                return Ok(());
            }
            (b'T' | b'n', Some(Expect::Describe { own, .. })) => {
                if !own {
                    self.deliver(frame, None, io);
                }
                self.expected.pop_front();
                return Ok(());
            }
            (b'H' | b'c', Some(Expect::Batch { .. } | Expect::Execute { .. })) => {}
            (b'G', Some(Expect::Batch { .. } | Expect::Execute { .. })) => self.begin_copy_in(),
            _ => return Err(Violation("a description of rows that nobody asked for")),
        }
        self.deliver(frame, self.answering(), io);
        Ok(())
    }

    fn parsed(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        match self.expected.pop_front() {
            Some(Expect::Parse { op, name, prepared: Prepared { text, types } }) => {
                self.statements.accepted(&name, Some(Prepared { text: Bytes::copy_from_slice(&text), types }));
                self.end(op, Status::Completed, frame, io);
                Ok(())
            }
            _ => Err(Violation("a ParseComplete that nobody asked for")),
        }
    }

    fn bound(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        let Some(Expect::Bind { op, replaces }) = self.expected.pop_front() else {
            return Err(Violation("a BindComplete that nobody asked for"));
        };
        if let Some(active) = self.active.get_mut(&op) {
            active.bound = true;
        }
        self.statements.bound(op);
        if let Some(replaced) = replaces.filter(|replaced| *replaced != op) {
            self.finish(replaced, Status::Completed, io);
        }
        self.deliver(frame, Some(op), io);
        Ok(())
    }

    fn closed(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        match self.expected.pop_front() {
            Some(Expect::Close { closed: Closing::Statement(name) }) => {
                self.statements.accepted(&name, None);
                io.events.push_back(Event::Unprepared(name));
            }
            Some(Expect::Close { closed: Closing::Portal(Some(op)) }) => self.finish(op, Status::Completed, io),
            Some(Expect::Close { .. }) => {}
            _ => return Err(Violation("a CloseComplete that nobody asked for")),
        }
        self.deliver(frame, None, io);
        Ok(())
    }

    fn completed(&mut self, kind: u8, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        self.copying_in = false;
        self.ignored_syncs = 0;
        let tag = if kind == b'C' { tag(&frame)? } else { String::new() };
        self.transactions.completed(&tag);
        self.follow_names(&tag, io);
        match self.expected.front() {
            Some(Expect::Batch { op, .. }) if self.active.get(op).is_some_and(|active| active.code.is_none()) => {
                let op = *op;
                if kind == b'C' {
                    self.complete_statement(op, tag);
                }
                self.keep_back(op, frame, io);
                Ok(())
            }
            Some(Expect::Execute { op }) => {
                let op = *op;
                self.expected.pop_front();
                self.complete_statement(op, tag);
                self.end(op, Status::Completed, frame, io);
                Ok(())
            }
            _ => Err(Violation("a completion that nobody asked for")),
        }
    }

    /// Follows what SQL's own statements make of names. The unnamed statement and portal are out of their reach.
    fn follow_names(&mut self, tag: &str, io: &mut Io<A>) {
        let running = self.answering();
        let drops = running.and_then(|op| self.active.get_mut(&op)).and_then(|active| active.drops.take());
        match (tag, drops) {
            ("DEALLOCATE", Some(name)) => self.statements.accepted(&name, None),
            ("PREPARE" | "DEALLOCATE" | "DEALLOCATE ALL" | "DISCARD ALL", _) => self.statements.forget_texts(),
            _ => {}
        }
        if tag.starts_with("CLOSE CURSOR") || tag == "DISCARD ALL" {
            for op in self.statements.forget_named_portals(running) {
                self.finish(op, Status::Completed, io);
            }
        }
    }

    fn complete_statement(&mut self, op: OpId, tag: String) {
        if let Some(active) = self.active.get_mut(&op) {
            active.results.push(StatementResult { tag });
            active.masking.iter_mut().for_each(|masking| masking.completed());
        }
    }

    /// Keeps a batch's completion until it is known whether it is the last. Those before it are no acknowledgement: a batch
    /// commits at its end.
    fn keep_back(&mut self, op: OpId, frame: Bytes, io: &mut Io<A>) {
        self.deliver_held(Some(op), io);
        self.note(&frame, Some(op), io);
        if let Some(active) = self.active.get_mut(&op) {
            active.held.push(frame);
        }
    }

    fn suspended(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        let Some(Expect::Execute { op }) = self.expected.pop_front() else {
            return Err(Violation("a PortalSuspended that nobody asked for"));
        };
        self.deliver(frame, Some(op), io);
        Ok(())
    }

    fn failed(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        self.copying_in = false;
        self.heard_the_last |= is_fatal(&frame);
        self.transactions.statement_failed();
        // An error without a code that can be read is still an error.
        let code = Some(error_code(&frame).unwrap_or_else(|| "XX000".to_owned()));
        match self.expected.front_mut() {
            // Nothing follows it, not even ReadyForQuery.
            Some(Expect::Batch { op, .. }) if self.heard_the_last => {
                let op = *op;
                self.deliver_held(Some(op), io);
                self.fail_operation(op, code, frame, io);
            }
            Some(Expect::Batch { op, .. }) => {
                let op = *op;
                if let Some(active) = self.active.get_mut(&op) {
                    active.code = code;
                }
                self.keep_back(op, frame, io);
            }
            Some(Expect::PoisonedBatch { refusal, answered, .. }) if !self.heard_the_last => {
                if std::mem::replace(answered, true) {
                    return Err(Violation("a second error for one statement"));
                }
                io.send_downstream(write::error("ERROR", refusal));
            }
            Some(Expect::PoisonedBatch { .. }) => self.deliver(frame, None, io),
            // At a Sync it is the commit that failed; with nothing expected the server is about to go.
            Some(Expect::Sync { .. }) | None => self.deliver(frame, None, io),
            Some(_) => self.fail_group(code, frame, io),
        }
        Ok(())
    }

    /// A step of the extended protocol failed: the server passes over everything up to the next Sync.
    fn fail_group(&mut self, code: Option<String>, frame: Bytes, io: &mut Io<A>) {
        self.skipping = true;
        match self.expected.pop_front() {
            Some(Expect::PoisonedParse { refusal, unnamed }) => {
                if unnamed {
                    self.statements.accepted(b"", None);
                }
                io.send_downstream(write::error("ERROR", &refusal));
            }
            Some(Expect::Parse { op, name, .. }) => {
                if name.is_empty() {
                    self.statements.accepted(b"", None);
                }
                self.fail_operation(op, code, frame, io);
            }
            Some(Expect::Look { op } | Expect::Bind { op, .. } | Expect::Execute { op })
            | Some(Expect::Describe { op: Some(op), own: true }) => {
                self.fail_operation(op, code, frame, io);
            }
            _ => self.deliver(frame, None, io),
        }
        self.skip_group(io);
    }

    fn fail_operation(&mut self, op: OpId, code: Option<String>, frame: Bytes, io: &mut Io<A>) {
        if let Some(active) = self.active.get_mut(&op) {
            active.code = code;
        }
        self.end(op, Status::Error, frame, io);
    }

    /// Ends an operation with the frame that says so, behind the barrier.
    fn end(&mut self, op: OpId, status: Status, frame: Bytes, io: &mut Io<A>) {
        self.note(&frame, Some(op), io);
        self.finish(op, status, io);
        io.send_downstream(frame);
    }

    fn ready(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        let Some(status @ (b'I' | b'T' | b'E')) = frame.get(Header::LEN).copied().filter(|_| frame.len() == Header::LEN + 1)
        else {
            return Err(Violation("a ReadyForQuery without a status"));
        };
        if std::mem::take(&mut self.skipping) {
            self.skip_group(io);
        }
        let group = self.end_of_group(io)?;
        if status == b'I' {
            self.end_portals(io);
        }
        if let Some(group) = group {
            self.statements.settle(group.number);
            if status == b'I' {
                self.statements.forget_portals(group.number);
            }
        }
        self.stalled = false;
        for end in self.transactions.ready(status, group.map(|group| group.tx)) {
            self.told = self.told.filter(|told| *told > end.tx);
            io.events.push_back(Event::TransactionEnd(end));
        }
        if self.expected.is_empty() && self.queue.is_empty() {
            self.transactions.correct(&mut self.foreseen);
        }
        io.send_downstream(frame);
        self.skip_copy_ends();
        Ok(())
    }

    /// What the ReadyForQuery answers.
    fn end_of_group(&mut self, io: &mut Io<A>) -> Result<Option<Group>, Violation> {
        match self.expected.front() {
            Some(Expect::Batch { op, group }) => {
                let (op, group) = (*op, *group);
                self.expected.pop_front();
                self.statements.accepted(b"", None);
                let held = self.active.get_mut(&op).map(|active| std::mem::take(&mut active.held)).unwrap_or_default();
                if held.is_empty() {
                    return Err(Violation("a ReadyForQuery before the answer"));
                }
                let failed = self.active.get(&op).is_some_and(|active| active.code.is_some());
                self.finish(op, if failed { Status::Error } else { Status::Completed }, io);
                held.into_iter().for_each(|held| io.send_downstream(held));
                Ok(Some(group))
            }
            Some(Expect::PoisonedBatch { group, answered: true, .. }) => {
                let group = *group;
                self.expected.pop_front();
                self.statements.accepted(b"", None);
                Ok(Some(group))
            }
            Some(Expect::Sync { group }) => {
                let group = *group;
                self.expected.pop_front();
                Ok(Some(group))
            }
            // A COPY that failed before it read anything: the Sync that it was to ignore is answered after all.
            None if self.ignored_syncs > 0 => {
                self.ignored_syncs -= 1;
                Ok(None)
            }
            _ => Err(Violation("a ReadyForQuery that nobody asked for")),
        }
    }

    /// Portals end with their transaction; one that never ran, or not to its end, has completed without a result.
    fn end_portals(&mut self, io: &mut Io<A>) {
        let mut ended: Vec<OpId> = self.active.iter().filter(|(_, active)| active.bound).map(|(op, _)| *op).collect();
        ended.sort_unstable();
        for op in ended {
            self.finish(op, Status::Completed, io);
        }
    }

    fn is_answering_a_probe(&self) -> bool {
        matches!(self.expected.front(), Some(Expect::Probe(_)))
    }

    /// The answer to a question of ours, of which the client sees nothing.
    fn probe_frame(&mut self, tag: u8, frame: &Bytes, io: &mut Io<A>) -> Result<(), Violation> {
        let Some(Expect::Probe(probing)) = self.expected.front_mut() else { return Ok(()) };
        match tag {
            b'D' if !probing.completed => {
                probing.bytes += frame.len();
                if probing.bytes > Probing::MOST {
                    return Err(Violation("the answer to the gateway's own question is too long"));
                }
                probing.rows.push(columns(frame)?);
            }
            b'E' => probing.code = Some(error_code(frame).unwrap_or_default()),
            b'C' | b'I' => probing.completed = true,
            b'1' | b'2' | b'3' => {}
            b'Z' if probing.completed || probing.code.is_some() => {
                // A question that fails inside a transaction fails that too.
                self.transactions.is_now(frame.get(Header::LEN).copied());
                if let Some(Expect::Probe(Probing { id, rows, code, .. })) = self.expected.pop_front() {
                    let found = code.map_or(Probe::Rows(rows), Probe::Failed);
                    io.events.push_back(Event::Probe(id, found));
                }
            }
            _ => return Err(Violation("an answer to the gateway's own question that is none")),
        }
        Ok(())
    }
}
