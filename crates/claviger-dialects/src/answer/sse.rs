//! Events as servers send them (WHATWG, HTML Living Standard, section 9.2).

use bytes::{Buf, BytesMut};

use super::turn::Turn;
use super::{Event, Stream, take};
use crate::NotRead;
use crate::texts::rewrite_text;

/// Finds events in content that is cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Sse {
    /// The event that has begun.
    kept: BytesMut,
    /// Up to where its lines are known, and where the last of them begins.
    known: usize,
    line: usize,
    /// The last byte was a carriage return that ended an event, or a line: a line feed that follows belongs to it.
    returned: Option<Returned>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returned {
    /// In the middle of an event.
    Line,
    /// At the end of one that left.
    Left,
    /// At the end of one that did not.
    Kept,
}

impl Sse {
    pub(super) fn push(&mut self, content: &[u8], stream: &mut dyn Stream, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        self.kept.extend_from_slice(content);
        loop {
            self.rejoin(turn);
            let rest = self.kept.get(self.known..).unwrap_or_default();
            let Some(found) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { break };
            let end = self.known + found;
            let carriage = rest.get(found) == Some(&b'\r');
            let both = carriage && rest.get(found + 1) == Some(&b'\n');
            let next = end + 1 + usize::from(both);
            let empty = self.is_empty_line(end);
            (self.known, self.line) = (next, next);
            let cut = carriage && next == self.kept.len() && !both;
            if empty {
                let before = turn.written;
                self.dispatch(stream, turn)?;
                self.returned =
                    cut.then_some(if turn.written > before && turn.ends_with_return() { Returned::Left } else { Returned::Kept });
            } else if cut {
                self.returned = Some(Returned::Line);
            }
        }
        self.known = self.kept.len();
        if self.kept.len() > turn.longest { Err(NotRead::TooLong) } else { Ok(()) }
    }

    /// There is no more. A server that forgets the last empty line means the event all the same.
    pub(super) fn finish(&mut self, stream: &mut dyn Stream, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        self.rejoin(turn);
        self.known = self.kept.len();
        if self.kept.is_empty() {
            return Ok(());
        }
        if !matches!(self.kept.last(), Some(b'\r' | b'\n')) {
            self.kept.extend_from_slice(b"\n");
        }
        self.kept.extend_from_slice(b"\n");
        self.known = self.kept.len();
        self.dispatch(stream, turn)
    }

    /// Takes the line feed that belongs to the last carriage return.
    fn rejoin(&mut self, turn: &mut Turn<'_>) {
        let at = if self.returned == Some(Returned::Line) { self.known } else { 0 };
        let Some(next) = self.kept.get(at) else { return };
        let feed = *next == b'\n';
        match self.returned.take() {
            Some(Returned::Line) if feed => (self.known, self.line) = (at + 1, at + 1),
            Some(Returned::Left) if feed => {
                turn.raw(b"\n");
                self.kept.advance(1);
            }
            Some(Returned::Kept) if feed => self.kept.advance(1),
            _ => {}
        }
    }

    /// Whether the last line is empty. The very first may begin with a byte order mark.
    fn is_empty_line(&self, end: usize) -> bool {
        self.kept.get(self.line..end).is_some_and(<[u8]>::is_empty)
    }

    /// An event is complete.
    fn dispatch(&mut self, stream: &mut dyn Stream, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        let raw = self.kept.split_to(self.known);
        (self.known, self.line) = (0, 0);
        let said = Said::read(&raw);
        let Some(data) = &said.data else {
            // Nobody hears of it, unless it is no event at all.
            let text = String::from_utf8_lossy(&raw);
            let put = if text.trim_matches([':', '\r', '\n']).is_empty() { None } else { rewrite_text(&text, "", turn.texts) };
            turn.raw(put.as_ref().map_or(&raw[..], |put| put.as_bytes()));
            return Ok(());
        };
        take(&Event { raw: &raw, name: said.name.as_deref(), data }, stream, turn)
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    name: Option<String>,
    data: Option<String>,
}

impl Said {
    fn read(raw: &[u8]) -> Self {
        let text = String::from_utf8_lossy(raw);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut said = Self::default();
        for line in text.split(['\r', '\n']) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match (name, &mut said.data) {
                ("event", _) => said.name = Some(value.to_owned()),
                ("data", Some(data)) => {
                    data.push('\n');
                    data.push_str(value);
                }
                ("data", None) => said.data = Some(value.to_owned()),
                _ => {}
            }
        }
        said
    }
}
