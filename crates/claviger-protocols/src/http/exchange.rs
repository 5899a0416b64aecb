//! One request that has been admitted, and its response.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::{Masked, OpId, Refusal, RefusalKind, TxId};

use super::body::{Body, Chunk, LAST_CHUNK, chunk};
use super::coding::Decoder;
use super::head::{self, RequestHead, ResponseHead};
use super::origin::Origin;
use super::scrub::{Needles, Scrub};
use super::write::Manner;
use super::wrong::Wrong;
use super::{Fault, Io, write};
use crate::{
    Access, Admitted, Commit, Content, Event, Limits, Notice, Operation, Outcome, Recorded, Request, Said, Side, StatementResult,
    Status, TransactionEnd, TransactionResult,
};

/// The most responses before the one that counts (RFC 9110, section 15.2).
const MOST_INTERIM: u32 = 32;

/// So much of packed content is unpacked before it is looked whether there is room for more.
const PACKED: usize = 4 * 1024;

/// A request that has been admitted.
pub(super) struct Exchange<A> {
    pub(super) op: OpId,
    method: &'static str,
    /// How whoever asks is told what is refused.
    pub(super) manner: Manner,
    /// What of the request's content is still to come.
    pub(super) content: Body,
    /// Whether the client has sent more than this request.
    pub(super) ahead: bool,
    /// Whether the client's connection is to be closed after this.
    pub(super) closes: bool,
    /// What of the response is not on its way to the client: all of what came last, if it has ended.
    pub(super) out: Vec<Bytes>,
    /// Whether something of the response is.
    pub(super) begun: bool,
    /// Whether nothing more can be asked of the upstream after this.
    pub(super) is_last: bool,
    /// A call of a tool in the response, that is being decided.
    pub(super) call: Option<OpId>,
    /// Given back with the outcome.
    admission: Option<A>,
    is_chunked: bool,
    /// Whether the client knows no chunks.
    is_old: bool,
    response: Response,
    /// Whether the response is framed for the client as chunks.
    chunks: bool,
    /// The head of a response that waits for its content.
    head: Option<Box<ResponseHead>>,
    /// What was masked, if it is not with the reader any more.
    masked: Option<Masked>,
    /// What reads and rewrites the content, if it is not passed as it is.
    reader: Option<Box<dyn Content>>,
    /// What that has said, from a call that is not decided on.
    said: VecDeque<Said>,
    needles: Needles,
    origin: Arc<Origin>,
    scrub: Scrub,
    /// Unpacks the response's content, if that comes packed.
    decoder: Option<Decoder>,
    /// How much of the upstream's input has been looked at for the end of a head.
    seen: usize,
    interim: u32,
    status: u16,
    bytes: u64,
}

/// How far a response has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Response {
    Awaited,
    /// Its content comes.
    Streaming(Body),
    /// All of its content is here, and some waits for a decision.
    Complete,
    Ended,
}

impl<A> Exchange<A> {
    pub(super) fn new(op: OpId, admission: A, head: &RequestHead, needles: Needles, origin: Arc<Origin>) -> Self {
        Self {
            op,
            method: head.method,
            manner: head.manner(),
            content: head.body,
            ahead: false,
            closes: head.is_last,
            out: Vec::new(),
            begun: false,
            is_last: false,
            call: None,
            admission: Some(admission),
            is_chunked: matches!(head.body, Body::Chunked(_)),
            is_old: head.is_old,
            response: Response::Awaited,
            chunks: false,
            head: None,
            reader: None,
            masked: None,
            said: VecDeque::new(),
            scrub: Scrub::new(needles.clone()),
            needles,
            origin,
            decoder: None,
            seen: 0,
            interim: 0,
            status: 0,
            bytes: 0,
        }
    }

    /// The content of the response is read and rewritten by this.
    pub(super) fn read_by(self, reader: Option<Box<dyn Content>>) -> Self {
        Self { reader, ..self }
    }

    /// Whether all of the response is here, and nothing of it waits for a decision.
    pub(super) fn is_answered(&self) -> bool {
        self.response == Response::Ended
    }

    /// Whether more of the response is wanted.
    pub(super) fn wants_more(&self) -> bool {
        self.call.is_none()
    }

    /// Passes content of the request on.
    pub(super) fn pass_content(&mut self, input: &mut BytesMut, io: &mut Io<A>) -> Result<(), Wrong> {
        while let Some(piece) = self.content.take(input)? {
            self.record(Side::Downstream, &piece, io);
            if self.is_chunked {
                chunk(&piece).into_iter().for_each(|part| io.upstream.push(part));
            } else {
                io.upstream.push(piece);
            }
        }
        if self.content.is_ended() && self.is_chunked {
            io.upstream.push(LAST_CHUNK);
        }
        Ok(())
    }

    /// Takes what the upstream answers. It passes at once, but for what came together with the end. Operations of its own count on from
    /// these.
    pub(super) fn answer(
        &mut self,
        input: &mut BytesMut,
        limits: &Limits,
        operations: &mut u64,
        io: &mut Io<A>,
    ) -> Result<(), Fault> {
        while self.wants_more() && self.has_room(limits) {
            match self.response {
                Response::Awaited => {
                    let found = head::find(input, limits.control, &mut self.seen).map_err(Fault::Upstream)?;
                    let Some(length) = found else { break };
                    let head = ResponseHead::read(&input.split_to(length), self.method).map_err(Fault::Upstream)?;
                    self.begin(head, io)?;
                }
                Response::Streaming(mut body) => {
                    let piece = self.take(&mut body, input).map_err(Fault::Upstream)?;
                    self.response = Response::Streaming(body);
                    match piece {
                        Some(piece) => {
                            let piece = self.scrub.take(piece);
                            self.read(piece)?;
                        }
                        None if body.is_ended() => self.complete()?,
                        None => break,
                    }
                    self.let_go(operations, io);
                }
                Response::Complete | Response::Ended => break,
            }
        }
        self.pass(io);
        Ok(())
    }

    /// The next piece of the response's content, unpacked.
    fn take(&mut self, body: &mut Body, input: &mut BytesMut) -> Result<Option<Bytes>, Wrong> {
        let Some(decoder) = &mut self.decoder else { return body.take(input) };
        body.take_some(input, PACKED)?.map(|packed| decoder.push(&packed)).transpose()
    }

    /// Whether more may be unpacked: what is kept until the end has a limit of its own.
    fn has_room(&self, limits: &Limits) -> bool {
        let waiting = || self.out.iter().map(Bytes::len).sum::<usize>();
        self.decoder.is_none() || self.head.is_some() || waiting() < limits.response
    }

    /// A call of a tool is permitted: what tells the client of it goes on.
    pub(super) fn call_admitted(&mut self, admission: A, operations: &mut u64, io: &mut Io<A>) -> Result<(), Fault> {
        let Some(op) = self.call.take() else { return Ok(()) };
        let (status, results) = (Status::Completed, Vec::new());
        let outcome = Outcome { op, status, results, rows: 0, bytes: 0, code: None, masked: None, tokens: None };
        io.events.push_back(Event::Outcome(outcome, Admitted(admission)));
        self.let_go(operations, io);
        if matches!(self.response, Response::Streaming(body) if body.is_ended()) && self.call.is_none() {
            self.complete()?;
            self.let_go(operations, io);
        }
        self.pass(io);
        Ok(())
    }

    /// A call of a tool waits for people: a client that has heard something of the response hears why it hears no more.
    pub(super) fn call_waits(&mut self, notice: &Notice, io: &mut Io<A>) {
        if self.call.is_none() || !self.begun {
            return;
        }
        let words = format!("{} ({})", notice.message, notice.detail);
        if let Some(remark) = self.reader.as_ref().and_then(|reader| reader.remark(&words)) {
            self.deliver(remark, io);
            self.pass(io);
        }
    }

    /// A call of a tool is refused. What has not left does not: another answer takes its place, or an end that says why.
    pub(super) fn call_refused(&mut self, refusal: &Refusal, io: &mut Io<A>) {
        self.call = None;
        self.said.clear();
        self.is_last |= matches!(self.response, Response::Streaming(_));
        if !self.begun {
            return self.answer_with(refusal, None, io);
        }
        let end = self.reader.as_mut().and_then(|reader| reader.refused(refusal));
        match end {
            Some(end) => {
                self.deliver(end, io);
                self.finish(io);
            }
            // Nothing can be said any more: the response is cut.
            None => {
                self.closes = true;
                self.chunks = false;
                self.finish(io);
            }
        }
    }

    /// The upstream has closed. False if something was still to come.
    pub(super) fn upstream_gone(&mut self, operations: &mut u64, io: &mut Io<A>) -> Result<bool, Fault> {
        match self.response {
            Response::Complete | Response::Ended => Ok(true),
            Response::Streaming(Body::UntilClose) => {
                self.complete()?;
                self.let_go(operations, io);
                Ok(true)
            }
            Response::Awaited | Response::Streaming(_) => Ok(false),
        }
    }

    /// Whether content has begun that only the connection's end ends.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self.response, Response::Streaming(Body::UntilClose))
    }

    fn begin(&mut self, head: ResponseHead, io: &mut Io<A>) -> Result<(), Fault> {
        match head.status {
            101 => return Err(Fault::Upstream(Wrong::request("it changes to another protocol unasked"))),
            100..200 => {
                self.interim += 1;
                let many = self.interim > MOST_INTERIM;
                let wrong = Fault::Upstream(Wrong::request("it answers with nothing but interim responses"));
                return if many { Err(wrong) } else { Ok(()) };
            }
            _ => {}
        }
        (self.status, self.is_last) = (head.status, head.is_last);
        // What it says then is about a credential that is not the client's, and may quote it.
        if matches!(head.status, 401 | 407) {
            self.is_last = true;
            let refusal = Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream does not accept the gateway's credential");
            self.answer_with(&refusal, Some(head.status), io);
            return Ok(());
        }
        self.decoder = head.decoder().map_err(Fault::Upstream)?;
        self.response = Response::Streaming(head.body);
        if head.body.is_ended() {
            // There is nothing to be read, and what was masked in the request is told all the same.
            self.masked = self.reader.take().and_then(|mut reader| reader.masked());
        }
        let waits = self.reader.as_mut().is_some_and(|reader| reader.begin(head.status, head.content_type()));
        if waits {
            self.head = Some(Box::new(head));
            return Ok(());
        }
        let framed = match head.body {
            Body::Ended => Body::Ended,
            // How long it is unpacked, or rewritten, is known at its end.
            Body::Length(length) if self.reader.is_none() && self.decoder.is_none() => Body::Length(length),
            _ if self.is_old => Body::UntilClose,
            _ => Body::Chunked(Chunk::Size),
        };
        self.chunks = matches!(framed, Body::Chunked(_));
        self.put_head(&head, framed, io);
        Ok(())
    }

    fn put_head(&mut self, head: &ResponseHead, framed: Body, io: &mut Io<A>) {
        let head = head.write(framed, self.closes, &self.origin, self.reader.is_some());
        let bytes = self.needles.scrub(head.into());
        self.record(Side::Upstream, &bytes, io);
        self.out.push(bytes);
    }

    /// Takes content that has come.
    fn read(&mut self, piece: Bytes) -> Result<(), Fault> {
        if piece.is_empty() {
            return Ok(());
        }
        let Some(reader) = &mut self.reader else {
            self.said.push_back(Said::Bytes(piece));
            return Ok(());
        };
        let mut said = Vec::new();
        reader.push(piece, &mut said).map_err(Fault::Refused)?;
        self.said.extend(said);
        Ok(())
    }

    /// There is no more content.
    fn complete(&mut self) -> Result<(), Fault> {
        self.decoder.as_ref().map_or(Ok(()), Decoder::finish).map_err(Fault::Upstream)?;
        let rest = self.scrub.rest();
        self.read(rest)?;
        if let Some(reader) = &mut self.reader {
            let mut said = Vec::new();
            reader.finish(&mut said).map_err(Fault::Refused)?;
            self.said.extend(said);
        }
        self.response = Response::Complete;
        Ok(())
    }

    /// Passes on what may be, up to a call that is to be decided.
    fn let_go(&mut self, operations: &mut u64, io: &mut Io<A>) {
        if self.head.is_some() && self.response != Response::Complete {
            return;
        }
        while self.call.is_none()
            && let Some(said) = self.said.pop_front()
        {
            match said {
                Said::Bytes(piece) => self.deliver(piece, io),
                Said::Call { tool, arguments } => {
                    *operations += 1;
                    let id = OpId(*operations);
                    self.call = Some(id);
                    io.events.push_back(Event::Operation(Operation {
                        id,
                        tx: TxId(self.op.0),
                        commit: Commit::Itself,
                        group: id.0,
                        bytes: format!("{tool} {arguments}").into(),
                        request: Request::Tool { tool, arguments },
                        access: Access::Read,
                    }));
                }
            }
        }
        if self.call.is_none() && self.response == Response::Complete {
            self.finish(io);
        }
    }

    /// Passes content of the response on.
    fn deliver(&mut self, piece: Bytes, io: &mut Io<A>) {
        if piece.is_empty() {
            return;
        }
        self.bytes += piece.len() as u64;
        if self.head.is_none() {
            self.record(Side::Upstream, &piece, io);
        }
        if self.chunks { self.out.extend(chunk(&piece)) } else { self.out.push(piece) }
    }

    /// Puts what may leave on its way, unless the end is in it.
    fn pass(&mut self, io: &mut Io<A>) {
        if !self.is_answered() && self.head.is_none() {
            self.begun |= !self.out.is_empty();
            self.out.drain(..).for_each(|piece| io.downstream.push(piece));
        }
    }

    /// There is no more content, and none waits.
    fn finish(&mut self, io: &mut Io<A>) {
        if let Some(head) = self.head.take() {
            let content = std::mem::take(&mut self.out);
            self.put_head(&head, Body::of_length(self.bytes), io);
            content.iter().for_each(|piece| self.record(Side::Upstream, piece, io));
            self.out.extend(content);
        }
        self.out.extend(self.chunks.then_some(LAST_CHUNK));
        self.end(io);
    }

    /// Answers with a refusal in place of what the upstream says.
    fn answer_with(&mut self, refusal: &Refusal, status: Option<u16>, io: &mut Io<A>) {
        let response = write::refusal(refusal, None, self.manner, self.closes);
        self.record(Side::Upstream, &response, io);
        self.head = None;
        self.status = status.unwrap_or(self.status);
        self.out = vec![response];
        self.end(io);
    }

    /// The session ends before the response does: what of it was delivered is told, and what it has used.
    pub(super) fn abandon(&mut self, io: &mut Io<A>) {
        let Some(admission) = self.admission.take() else { return };
        let masked = self.reader.as_mut().and_then(|reader| reader.masked()).map(Box::new);
        let tokens = self.reader.as_ref().and_then(|reader| reader.tokens());
        let (status, results) = (Status::Unknown, Vec::new());
        let outcome = Outcome { op: self.op, status, results, rows: 0, bytes: self.bytes, code: None, masked, tokens };
        io.events.push_back(Event::Outcome(outcome, Admitted(admission)));
    }

    /// The response is all here.
    fn end(&mut self, io: &mut Io<A>) {
        self.response = Response::Ended;
        let Some(admission) = self.admission.take() else { return };
        let (status, code) = match self.status {
            400.. => (Status::Error, Some(self.status.to_string())),
            _ => (Status::Completed, None),
        };
        // Whether something has come of what failed, only the upstream knows.
        let result = match self.status {
            500.. => TransactionResult::Unknown,
            400.. => TransactionResult::Rollback,
            _ => TransactionResult::Commit,
        };
        let results = vec![StatementResult { tag: self.status.to_string() }];
        let masked = self.masked.take().or_else(|| self.reader.as_mut()?.masked()).map(Box::new);
        let tokens = self.reader.as_ref().and_then(|reader| reader.tokens());
        let outcome = Outcome { op: self.op, status, results, rows: 0, bytes: self.bytes, code, masked, tokens };
        io.events.push_back(Event::Outcome(outcome, Admitted(admission)));
        io.events.push_back(Event::TransactionEnd(TransactionEnd { tx: TxId(self.op.0), result }));
    }

    /// Content is recorded without what frames it.
    fn record(&self, from: Side, bytes: &Bytes, io: &mut Io<A>) {
        io.recorded.push_back(Recorded { op: self.op, from, request: false, bytes: bytes.clone() });
    }
}
