//! One request that has been admitted, and its response.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::{OpId, Refusal, RefusalKind, TxId};

use super::body::{Body, Chunk, LAST_CHUNK, chunk};
use super::coding::Decoder;
use super::head::{self, RequestHead, ResponseHead};
use super::origin::Origin;
use super::scrub::{Needles, Scrub};
use super::wrong::Wrong;
use super::{Io, write};
use crate::{Admitted, Event, Limits, Outcome, Recorded, Side, StatementResult, Status, TransactionEnd, TransactionResult};

/// The most responses before the one that counts (RFC 9110, section 15.2).
const MOST_INTERIM: u32 = 32;

/// So much of packed content is unpacked before it is looked whether there is room for more.
const PACKED: usize = 4 * 1024;

/// A request that has been admitted.
pub(super) struct Exchange<A> {
    pub(super) op: OpId,
    pub(super) method: &'static str,
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
    /// Whether the upstream closes after this.
    pub(super) is_last: bool,
    /// Given back with the outcome.
    admission: Option<A>,
    is_chunked: bool,
    /// Whether the client knows no chunks.
    is_old: bool,
    response: Response,
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
    /// Its content comes, and is framed for the client as chunks or passes as it is.
    Streaming {
        body: Body,
        chunks: bool,
    },
    Ended,
}

impl<A> Exchange<A> {
    pub(super) fn new(op: OpId, admission: A, head: &RequestHead, needles: Needles, origin: Arc<Origin>) -> Self {
        Self {
            op,
            method: head.method,
            content: head.body,
            ahead: false,
            closes: head.is_last,
            out: Vec::new(),
            begun: false,
            is_last: false,
            admission: Some(admission),
            is_chunked: matches!(head.body, Body::Chunked(_)),
            is_old: head.is_old,
            response: Response::Awaited,
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

    /// Whether all of the response is here.
    pub(super) fn is_answered(&self) -> bool {
        self.response == Response::Ended
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

    /// Takes what the upstream answers. It passes at once, but for what came together with the end.
    pub(super) fn answer(&mut self, input: &mut BytesMut, limits: &Limits, io: &mut Io<A>) -> Result<(), Wrong> {
        loop {
            match self.response {
                Response::Awaited => {
                    let Some(length) = head::find(input, limits.control, &mut self.seen)? else { break };
                    let head = ResponseHead::read(&input.split_to(length), self.method)?;
                    self.begin(&head, io)?;
                }
                Response::Streaming { mut body, chunks } => {
                    let room = |out: &[Bytes]| out.iter().map(Bytes::len).sum::<usize>() < limits.response;
                    while (self.decoder.is_none() || room(&self.out))
                        && let Some(piece) = self.take(&mut body, input)?
                    {
                        let piece = self.scrub.take(piece);
                        self.deliver(piece, chunks, io);
                    }
                    self.response = Response::Streaming { body, chunks };
                    if !body.is_ended() {
                        break;
                    }
                    self.finish(chunks, io)?;
                }
                Response::Ended => break,
            }
        }
        if !self.is_answered() {
            self.begun |= !self.out.is_empty();
            self.out.drain(..).for_each(|piece| io.downstream.push(piece));
        }
        Ok(())
    }

    /// The next piece of the response's content, unpacked.
    fn take(&mut self, body: &mut Body, input: &mut BytesMut) -> Result<Option<Bytes>, Wrong> {
        let Some(decoder) = &mut self.decoder else { return body.take(input) };
        body.take_some(input, PACKED)?.map(|packed| decoder.push(&packed)).transpose()
    }

    /// The upstream has closed. False if something was still to come.
    pub(super) fn upstream_gone(&mut self, io: &mut Io<A>) -> bool {
        match self.response {
            Response::Ended => true,
            Response::Streaming { body: Body::UntilClose, chunks } => self.finish(chunks, io).is_ok(),
            Response::Awaited | Response::Streaming { .. } => false,
        }
    }

    /// Whether content has begun that only the connection's end ends.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self.response, Response::Streaming { body: Body::UntilClose, .. })
    }

    fn begin(&mut self, head: &ResponseHead, io: &mut Io<A>) -> Result<(), Wrong> {
        match head.status {
            101 => return Err(Wrong::request("it changes to another protocol unasked")),
            100..200 => {
                self.interim += 1;
                let many = self.interim > MOST_INTERIM;
                return if many { Err(Wrong::request("it answers with nothing but interim responses")) } else { Ok(()) };
            }
            _ => {}
        }
        (self.status, self.is_last) = (head.status, head.is_last);
        // What it says then is about a credential that is not the client's, and may quote it.
        if matches!(head.status, 401 | 407) {
            self.is_last = true;
            let refusal = Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream does not accept the gateway's credential");
            let response = write::refusal(&refusal, None, self.method == "HEAD", self.closes);
            self.record(Side::Upstream, &response, io);
            self.out.push(response);
            self.end(io);
            return Ok(());
        }
        self.decoder = head.decoder()?;
        // How long it is unpacked is known at its end.
        let framed = match head.body {
            Body::Length(_) if self.decoder.is_none() => head.body,
            Body::Ended => Body::Ended,
            Body::Length(_) | Body::Chunked(_) | Body::UntilClose if self.is_old => Body::UntilClose,
            Body::Length(_) | Body::Chunked(_) | Body::UntilClose => Body::Chunked(Chunk::Size),
        };
        let bytes = self.needles.scrub(head.write(framed, self.closes, &self.origin).into());
        self.record(Side::Upstream, &bytes, io);
        self.out.push(bytes);
        self.response = Response::Streaming { body: head.body, chunks: matches!(framed, Body::Chunked(_)) };
        Ok(())
    }

    /// Passes content of the response on.
    fn deliver(&mut self, piece: Bytes, chunks: bool, io: &mut Io<A>) {
        if piece.is_empty() {
            return;
        }
        self.record(Side::Upstream, &piece, io);
        self.bytes += piece.len() as u64;
        if chunks { self.out.extend(chunk(&piece)) } else { self.out.push(piece) }
    }

    /// There is no more content.
    fn finish(&mut self, chunks: bool, io: &mut Io<A>) -> Result<(), Wrong> {
        self.decoder.as_ref().map_or(Ok(()), Decoder::finish)?;
        let rest = self.scrub.rest();
        self.deliver(rest, chunks, io);
        self.out.extend(chunks.then_some(LAST_CHUNK));
        self.end(io);
        Ok(())
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
        let outcome = Outcome { op: self.op, status, results, rows: 0, bytes: self.bytes, code, masked: None };
        io.events.push_back(Event::Outcome(outcome, Admitted(admission)));
        io.events.push_back(Event::TransactionEnd(TransactionEnd { tx: TxId(self.op.0), result }));
    }

    /// Content is recorded without what frames it.
    fn record(&self, from: Side, bytes: &Bytes, io: &mut Io<A>) {
        io.recorded.push_back(Recorded { op: self.op, from, request: false, bytes: bytes.clone() });
    }
}
