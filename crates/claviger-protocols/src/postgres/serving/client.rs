//! What the client says in an open session (PostgreSQL manual, 55.7).

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use claviger_model::{OpId, Refusal, RefusalKind};

use super::expect::{Closing, Expect, Group};
use super::statements::{Meaning, Portal, Prepared, TooMany};
use super::{Answer, Asked, FRAMES, Item, Serving};
use crate::postgres::access::{access, deallocated, renames};
use crate::postgres::frame::{Header, Reader, Violation, kept_of};
use crate::postgres::io::Io;
use crate::postgres::login::by_client;
use crate::postgres::{Fault, write};
use crate::{Access, Commit, Event, Operation, Request, Types};

/// The kinds of message that belong in an open session.
const KINDS: &[u8] = b"QPBEDCSHFXdcf";
/// The longest frame of a kind that carries no statement and no data.
const SMALL: usize = 64 * 1024;

impl<A> Serving<A> {
    pub(in crate::postgres) fn handle_client(&mut self, input: &mut BytesMut, io: &mut Io<A>) -> Result<(), Fault> {
        self.stalled = false;
        for _ in 0..FRAMES {
            if self.queued_bytes >= self.limits.pending || self.is_full() {
                break;
            }
            if self.leaving {
                input.clear();
            }
            if self.client_streaming > 0 {
                let bytes = input.split_to(self.client_streaming.min(input.len())).freeze();
                if bytes.is_empty() {
                    return Ok(());
                }
                self.client_streaming -= bytes.len();
                // Rows follow the statement that takes them.
                let rows = Item::Rows { op: OpId(self.last_op), bytes, after: self.client_streaming };
                self.enqueue(rows, io)?;
                continue;
            }
            let Some(header) = Header::peek(input).map_err(by_client)? else { return Ok(()) };
            if !KINDS.contains(&header.tag) {
                return Err(by_client(Violation("a message of a kind that does not belong in an open session")));
            }
            if header.tag == b'd' {
                self.client_streaming = header.len;
                continue;
            }
            let limit = if matches!(header.tag, b'Q' | b'P' | b'B') { self.limits.statement } else { SMALL };
            if header.len > limit {
                return Err(too_large("a message is longer than this gateway takes"));
            }
            if input.len() < header.len {
                return Ok(());
            }
            if self.must_wait(header.tag, input.get(..header.len).unwrap_or_default()) {
                if self.copying_in {
                    return Err(by_client(Violation("a message that does not belong in a COPY")));
                }
                self.stalled = true;
                return Ok(());
            }
            let frame = input.split_to(header.len).freeze();
            self.client_frame(header.tag, frame, io)?;
        }
        Ok(())
    }

    /// Whether it is not known yet which text a Bind or an Execute would run, or which a Describe is about.
    fn must_wait(&self, tag: u8, frame: &[u8]) -> bool {
        let body = frame.get(Header::LEN..).unwrap_or_default();
        let mut names = body.split(|byte| *byte == 0).map(kept_of);
        let is_unsettled = |statement: &[u8]| matches!(self.statements.meaning(statement, self.group), Meaning::Unsettled);
        match (tag, body.first()) {
            (b'B', _) => is_unsettled(names.nth(1).unwrap_or_default()),
            (b'D', Some(b'S')) => {
                let name = body.split(|byte| *byte == 0).next().and_then(|name| name.get(1..)).map(kept_of).unwrap_or_default();
                self.parsed.as_deref() != Some(name) && is_unsettled(name)
            }
            (b'E', _) => self.statements.is_portal_unsettled(names.next().unwrap_or_default(), self.group),
            _ => false,
        }
    }

    fn client_frame(&mut self, tag: u8, frame: Bytes, io: &mut Io<A>) -> Result<(), Fault> {
        if matches!(tag, b'S' | b'H' | b'c' | b'X') {
            Reader::of(&frame).end().map_err(by_client)?;
        }
        let parsed = self.parsed.take();
        match tag {
            b'Q' => self.query(frame, io),
            b'P' => self.parse(frame, io),
            b'B' => self.bind(frame, io),
            b'E' => self.execute(frame, io),
            b'D' => {
                let (kind, name) = about(&frame)?;
                if kind == b'S' && parsed.as_ref() != Some(&name) {
                    return self.describe_again(frame, name, io);
                }
                self.parsed = parsed;
                let portal = if kind == b'P' { self.statements.portal(&name) } else { None };
                let op = portal.map(|portal| portal.op);
                self.pass(frame, Some(Expect::Describe { op, own: false }), io)
            }
            b'C' => {
                let (kind, name) = about(&frame)?;
                let closed = if kind == b'P' {
                    tell_of_portal(&name, io);
                    Closing::Portal(self.statements.close_portal(&name))
                } else {
                    self.statements.drop_statement(&name, self.group);
                    Closing::Statement(name)
                };
                self.pass(frame, Some(Expect::Close { closed }), io)
            }
            b'S' => {
                let (group, commits) = (self.end_group(), std::mem::take(&mut self.has_written));
                if !commits {
                    return self.pass(frame, Some(Expect::Sync { group }), io);
                }
                io.events.push_back(Event::Commit(group.number));
                self.enqueue(Item::Commit { group, bytes: frame, may_leave: false }, io)
            }
            b'H' => {
                self.parsed = parsed;
                self.pass(frame, None, io)
            }
            b'c' | b'f' => self.pass(frame, Some(Expect::CopyEnd), io),
            b'F' => self.call(&frame, io),
            b'X' => {
                self.leaving = true;
                self.enqueue(Item::Leave { bytes: frame }, io)
            }
            _ => Err(by_client(Violation("a message of a kind that does not belong in an open session"))),
        }
    }

    fn query(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Fault> {
        let mut reader = Reader::of(&frame);
        let text = reader.text().map_err(by_client)?;
        reader.end().map_err(by_client)?;
        let mut access = access(&text);
        if std::mem::take(&mut self.has_written) && access == Access::Read {
            // It makes lasting what the steps before it have changed.
            access = Access::Write;
        }
        self.statements.drop_statement(&Bytes::new(), self.group);
        let asked = Asked::Batch { group: self.group };
        let ask = Ask { bytes: frame, asked, access, runs: text.clone(), request: Request::Batch { text } };
        self.ask(ask, io)?;
        self.end_group();
        Ok(())
    }

    /// The client ends a group: what it sends from here on is another.
    fn end_group(&mut self) -> Group {
        let group = Group { number: self.group, tx: self.foreseen.tx() };
        self.group += 1;
        if !self.foreseen.is_open() {
            self.statements.end_transaction();
        }
        self.foreseen.boundary();
        group
    }

    fn parse(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Fault> {
        let mut reader = Reader::of(&frame);
        let (name, text) = (reader.name().map_err(by_client)?, reader.text().map_err(by_client)?);
        let types = reader.count(4).map_err(by_client)?;
        let types = reader.take(types * 4).map_err(by_client)?;
        reader.end().map_err(by_client)?;
        let types: Types = types.as_chunks().0.iter().map(|oid| u32::from_be_bytes(*oid)).collect();
        self.statements.prepare(&name, &text, &types, self.group).map_err(too_many)?;
        // Parsing has no lasting effect, whatever the text is.
        let asked = Asked::Parse { name: name.clone(), text: text.clone(), types: Arc::clone(&types), group: self.group };
        self.parsed = Some(name.clone());
        let request = Request::Prepare { name, text, types, again: false };
        self.ask(Ask { bytes: frame, asked, access: Access::Read, runs: Bytes::new(), request }, io)
    }

    /// To describe a statement that it has kept, the server looks up what names in it stand for by now.
    fn describe_again(&mut self, frame: Bytes, name: Bytes, io: &mut Io<A>) -> Result<(), Fault> {
        let (text, types) = match self.statements.meaning(&name, self.group) {
            // Without a statement in it; that there is no text means something else.
            Meaning::Prepared(Prepared { text, types }) if text.is_empty() => (Bytes::from_static(b";"), types),
            Meaning::Prepared(Prepared { text, types }) => (text, types),
            Meaning::Unseen => Default::default(),
            Meaning::Unsettled => return Err(unsettled()),
        };
        let request = Request::Prepare { name, text, types, again: true };
        self.ask(Ask { bytes: frame, asked: Asked::Describe, access: Access::Read, runs: Bytes::new(), request }, io)
    }

    fn bind(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Fault> {
        let bind = Bind::read(&frame).map_err(by_client)?;
        let binary = bind.binary();
        let Bind { portal, statement, parameters, .. } = bind;
        let (text, types) = match self.statements.meaning(&statement, self.group) {
            Meaning::Prepared(Prepared { text, types }) => (Some(text), types),
            Meaning::Unseen => (None, Arc::default()),
            Meaning::Unsettled => return Err(unsettled()),
        };
        // A copy: a slice would keep the whole read buffer alive for as long as the portal.
        let name = if statement.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&statement) };
        let made = Portal {
            op: OpId(self.last_op + 1),
            statement: name.clone(),
            text: text.clone(),
            parameters: parameters.clone(),
            binary: binary.clone(),
            types: Arc::clone(&types),
            group: self.group,
            bound: false,
            executed: false,
            ended: false,
        };
        let replaces = self.statements.bind(&portal, made).map_err(too_many)?;
        tell_of_portal(&portal, io);
        let runs = text.clone().unwrap_or_default();
        let request = Request::Execute { name, text, parameters, binary, types };
        self.ask(Ask { bytes: frame, asked: Asked::Bind { replaces }, access: access(&runs), runs, request }, io)?;
        self.bound = Some(OpId(self.last_op));
        Ok(())
    }

    /// The first Execute of a portal belongs to its Bind. A later one goes on with the same operation, or, if that has ended,
    /// is one of its own.
    fn execute(&mut self, frame: Bytes, io: &mut Io<A>) -> Result<(), Fault> {
        let mut reader = Reader::of(&frame);
        let name = reader.name().map_err(by_client)?;
        reader.i32().map_err(by_client)?;
        reader.end().map_err(by_client)?;
        let next = OpId(self.last_op + 1);
        let Some(portal) = self.statements.portal(&name) else {
            let request = Request::Portal { name };
            return self
                .ask(Ask { bytes: frame, asked: Asked::Execute, access: Access::Barrier, runs: Bytes::new(), request }, io);
        };
        // In the Bind's own group an operation that has ended was passed over, and so is its Execute.
        let first = !std::mem::replace(&mut portal.executed, true) && (!portal.ended || portal.group == self.group);
        if first {
            let (op, text) = (portal.op, portal.text.clone());
            self.bound = self.bound.filter(|bound| *bound != op);
            self.foreseen.run(&text.unwrap_or_default());
            if op.0 != self.last_op {
                // What came between may have changed what it does.
                io.events.push_back(Event::Continue(op));
                return self.enqueue(Item::Resume { op, bytes: frame, answer: None }, io);
            }
            return self.pass(frame, Some(Expect::Execute { op }), io);
        }
        if !portal.ended {
            let op = portal.op;
            io.events.push_back(Event::Continue(op));
            return self.enqueue(Item::Resume { op, bytes: frame, answer: None }, io);
        }
        (portal.op, portal.ended) = (next, false);
        let (name, text) = (portal.statement.clone(), portal.text.clone());
        let (parameters, binary, types) = (portal.parameters.clone(), portal.binary.clone(), Arc::clone(&portal.types));
        let runs = text.clone().unwrap_or_default();
        let request = Request::Execute { name, text, parameters, binary, types };
        self.ask(Ask { bytes: frame, asked: Asked::Execute, access: access(&runs), runs, request }, io)
    }

    /// FunctionCall reaches any function by number; it is refused as if the server did not know it.
    fn call(&mut self, frame: &Bytes, io: &mut Io<A>) -> Result<(), Fault> {
        Reader::of(frame).i32().map_err(by_client)?;
        let refusal = Refusal::new(RefusalKind::Unsupported, "function calls by number do not pass this gateway");
        let (op, tx, asked) = (self.next_op(), self.foreseen.join(), Asked::Batch { group: self.group });
        self.end_group();
        // As any error does, this undoes what the steps before it have changed.
        self.has_written = false;
        self.enqueue(Item::Ask { op, tx, bytes: Bytes::new(), asked, drops: None, answer: Some(Answer::Refused(refusal)) }, io)
    }

    fn ask(&mut self, ask: Ask, io: &mut Io<A>) -> Result<(), Fault> {
        let Ask { bytes, asked, access, runs, request } = ask;
        let commit = match asked {
            _ if self.foreseen.is_open() => Commit::Transaction,
            Asked::Batch { .. } => Commit::Itself,
            Asked::Parse { .. } | Asked::Describe | Asked::Bind { .. } | Asked::Execute => Commit::Group,
        };
        self.has_written |= commit == Commit::Group && access == Access::Write;
        io.events.extend(self.bound.take().map(Event::PutOff));
        let (id, tx) = (self.next_op(), self.foreseen.join());
        // What is bound runs when it is executed, if it is.
        if !matches!(asked, Asked::Bind { .. }) {
            self.foreseen.run(&runs);
        }
        if renames(&runs) {
            self.statements.may_rename(self.group);
        }
        let (group, own) = (self.group, bytes.clone());
        io.events.push_back(Event::Operation(Operation { id, tx, commit, group, request, access, bytes: own }));
        self.enqueue(Item::Ask { op: id, tx, bytes, asked, drops: deallocated(&runs), answer: None }, io)
    }

    fn next_op(&mut self) -> OpId {
        self.last_op += 1;
        OpId(self.last_op)
    }

    fn pass(&mut self, bytes: Bytes, expect: Option<Expect>, io: &mut Io<A>) -> Result<(), Fault> {
        self.enqueue(Item::Pass { bytes, expect }, io)
    }

    fn enqueue(&mut self, item: Item<A>, io: &mut Io<A>) -> Result<(), Fault> {
        self.queued_bytes += item.len();
        self.queue.push_back(item);
        self.pump(io)
    }
}

/// A request in the making.
struct Ask {
    bytes: Bytes,
    asked: Asked,
    access: Access,
    /// The text that runs, if one does.
    runs: Bytes,
    request: Request,
}

/// A Bind message.
pub(in crate::postgres) struct Bind {
    pub(in crate::postgres) portal: Bytes,
    pub(in crate::postgres) statement: Bytes,
    /// Format codes of two bytes each: none if all are text, one for all, or one for each parameter.
    pub(in crate::postgres) formats: Bytes,
    pub(in crate::postgres) parameters: Vec<Option<Bytes>>,
}

impl Bind {
    /// Which parameters are in their types' binary form; empty if none is.
    fn binary(&self) -> Vec<bool> {
        let all = 0..self.parameters.len();
        if all.clone().any(|index| self.is_binary(index)) { all.map(|index| self.is_binary(index)).collect() } else { Vec::new() }
    }

    /// Whether this parameter is in its type's binary form.
    pub(in crate::postgres) fn is_binary(&self, index: usize) -> bool {
        let code = if self.formats.len() == 2 { 0 } else { index * 2 };
        self.formats.get(code..code + 2) == Some(&[0, 1])
    }

    pub(in crate::postgres) fn read(frame: &Bytes) -> Result<Self, Violation> {
        let mut reader = Reader::of(frame);
        let (portal, statement) = (reader.name()?, reader.name()?);
        let formats = reader.count(2)?;
        let formats = reader.take(formats * 2)?;
        let count = reader.count(4)?;
        let parameters = (0..count).map(|_| reader.value()).collect::<Result<_, _>>()?;
        let results = reader.count(2)?;
        reader.take(results * 2)?;
        reader.end()?;
        Ok(Self { portal, statement, formats, parameters })
    }
}

/// What a Describe or Close is about: `S` or `P`, and its name.
fn about(frame: &Bytes) -> Result<(u8, Bytes), Fault> {
    let mut reader = Reader::of(frame);
    let kind = reader.byte().map_err(by_client)?;
    if !matches!(kind, b'S' | b'P') {
        return Err(by_client(Violation("a message is about neither a statement nor a portal")));
    }
    let name = reader.name().map_err(by_client)?;
    reader.end().map_err(by_client)?;
    Ok((kind, name))
}

/// A Query or Parse frame with another text; whatever else it carries stays.
pub(super) fn with_text(frame: &Bytes, text: &[u8]) -> Result<Bytes, Fault> {
    match frame.first() {
        Some(b'P') => {
            let mut reader = Reader::of(frame);
            let name = reader.text().map_err(by_client)?;
            reader.text().map_err(by_client)?;
            let types = reader.rest();
            Ok(write::frame(b'P', |out| {
                write::text(out, &name);
                write::text(out, text);
                out.extend_from_slice(types.chunk());
            }))
        }
        Some(b'Q') => Ok(write::query(text)),
        _ => Err(Fault::Client(Refusal::new(RefusalKind::Internal, "only a statement's text can be replaced"))),
    }
}

/// Cursors of SQL have names, and share them with portals.
fn tell_of_portal<A>(name: &Bytes, io: &mut Io<A>) {
    if !name.is_empty() {
        io.events.push_back(Event::Portal(Bytes::copy_from_slice(name)));
    }
}

fn unsettled() -> Fault {
    Fault::Client(Refusal::new(RefusalKind::Internal, "a statement's text is not settled"))
}

fn too_many(_: TooMany) -> Fault {
    too_large("the session keeps more in prepared statements and portals than this gateway allows")
}

fn too_large(message: &str) -> Fault {
    Fault::Client(Refusal::new(RefusalKind::TooLarge, message))
}
