//! Where what comes of an answer goes.

use bytes::{Bytes, BytesMut};

use super::Event;
use crate::json::{Edits, Value};
use crate::texts::hush;
use crate::{Call, NotRead, Piece, Texts, Usage};

/// How events are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    #[default]
    Events,
    Lines,
}

/// What is remembered from one piece of content to the next.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    pub(super) framing: Framing,
    /// Whether a text has been changed.
    changed: bool,
    /// How long the texts have been, in bytes.
    pub(super) heard: u64,
    /// What waits for calls that are not yet complete, and those that are.
    held: Option<BytesMut>,
    calls: Vec<Call>,
}

/// One piece of content, being looked into.
pub(super) struct Turn<'t> {
    pub(super) texts: &'t mut dyn Texts,
    pub(super) usage: &'t mut Usage,
    /// How much may be kept.
    pub(super) longest: usize,
    outlet: &'t mut Outlet,
    pieces: &'t mut Vec<Piece>,
    ready: BytesMut,
    /// How much has left or waits to, in bytes.
    pub(super) written: usize,
}

impl<'t> Turn<'t> {
    pub(super) fn new(
        texts: &'t mut dyn Texts,
        pieces: &'t mut Vec<Piece>,
        outlet: &'t mut Outlet,
        usage: &'t mut Usage,
        longest: usize,
    ) -> Self {
        Self { texts, usage, longest, outlet, pieces, ready: BytesMut::new(), written: 0 }
    }

    /// Text has come.
    pub(super) fn hear(&mut self, length: usize) {
        self.outlet.heard = self.outlet.heard.saturating_add(length as u64);
    }

    /// Content passes that is not looked into.
    pub(super) fn pass(&mut self, content: Bytes) {
        self.flush();
        self.pieces.push(Piece::Bytes(content));
    }

    /// Something leaves as it is.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.written += bytes.len();
        self.outlet.held.as_mut().unwrap_or(&mut self.ready).extend_from_slice(bytes);
    }

    /// An event of a stream leaves with its texts rewritten, and without tokens from the first on that has been.
    pub(super) fn settle(&mut self, event: &Event<'_>, root: Value<'_>, mut edits: Edits) {
        self.outlet.changed |= edits.len() > 0;
        if self.outlet.changed {
            hush(root, &mut edits);
        }
        self.put(event, edits.apply(event.data));
    }

    /// An event leaves, with other data if there is any.
    pub(super) fn put(&mut self, event: &Event<'_>, data: Option<String>) {
        let Some(data) = data else { return self.raw(event.raw) };
        if self.outlet.framing == Framing::Lines {
            return self.line(&data);
        }
        let mut written = false;
        let mut rest = event.raw;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
            let next = if rest.get(end..).is_some_and(|end| end.starts_with(b"\r\n")) { end + 2 } else { end + 1 };
            let (line, after) = rest.split_at(next.min(rest.len()));
            rest = after;
            let name = line.get(..end).unwrap_or_default().split(|byte| *byte == b':').next().unwrap_or_default();
            if name.strip_prefix("\u{feff}".as_bytes()).unwrap_or(name) != b"data" {
                self.raw(line);
            } else if !written {
                written = true;
                self.data(&data, line.get(end..).unwrap_or_default());
            }
        }
    }

    /// An event that the service has not sent.
    pub(super) fn more(&mut self, name: Option<&str>, data: &str) {
        if self.outlet.framing == Framing::Lines {
            return self.line(data);
        }
        if let Some(name) = name {
            self.raw(format!("event: {name}\n").as_bytes());
        }
        self.data(data, b"\n");
        self.raw(b"\n");
    }

    /// Nothing can leave of an event, but the client hears that there is somebody.
    pub(super) fn beat(&mut self) {
        if self.outlet.framing == Framing::Events {
            self.ready.extend_from_slice(b":\n\n");
        }
    }

    fn data(&mut self, data: &str, end: &[u8]) {
        for line in data.split('\n') {
            self.raw(b"data: ");
            self.raw(line.as_bytes());
            self.raw(end);
        }
    }

    fn line(&mut self, data: &str) {
        // A line break in it can only stand between values.
        self.raw(data.replace(['\n', '\r'], " ").as_bytes());
        self.raw(b"\n");
    }

    /// A call is complete. What follows tells the client of it.
    pub(super) fn call(&mut self, call: Call) {
        if self.outlet.held.is_some() {
            self.outlet.calls.push(call);
        } else {
            self.flush();
            self.pieces.push(Piece::Call(call));
        }
    }

    /// What follows waits until it is released.
    pub(super) fn hold(&mut self) {
        self.outlet.held.get_or_insert_default();
    }

    /// What has waited leaves, behind the calls that it tells of.
    pub(super) fn release(&mut self) {
        let Some(held) = self.outlet.held.take() else { return };
        self.flush();
        self.pieces.extend(self.outlet.calls.drain(..).map(Piece::Call));
        self.ready.extend_from_slice(&held);
    }

    /// Whether the last that has left, or waits to, is a carriage return.
    pub(super) fn ends_with_return(&self) -> bool {
        self.outlet.held.as_ref().unwrap_or(&self.ready).last() == Some(&b'\r')
    }

    fn flush(&mut self) {
        if !self.ready.is_empty() {
            self.pieces.push(Piece::Bytes(self.ready.split().freeze()));
        }
    }

    /// The piece has been looked into.
    pub(super) fn end(mut self) -> Result<(), NotRead> {
        self.flush();
        let held = self.outlet.held.as_ref().map_or(0, BytesMut::len);
        let calls: usize = self.outlet.calls.iter().map(|call| call.arguments.len()).sum();
        if held + calls > self.longest { Err(NotRead::TooLong) } else { Ok(()) }
    }
}
