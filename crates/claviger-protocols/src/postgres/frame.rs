//! Frames: one byte of type and four of length (PostgreSQL manual, 55.7), split off before their bodies are read.

use bytes::{Buf, Bytes};

/// What a peer did that the protocol does not allow. The text is for the log and the peer; it never quotes the peer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Violation(pub(super) &'static str);

/// The type and whole length of the frame at the front of some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tag: u8,
    /// Of the frame with its header, in bytes.
    pub(super) len: usize,
}

impl Header {
    pub(super) const LEN: usize = 5;

    /// Reads the header at the front, if all of it has arrived.
    pub(super) fn peek(input: &[u8]) -> Result<Option<Self>, Violation> {
        let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<5>() else { return Ok(None) };
        let len = u32::from_be_bytes([a, b, c, d]);
        // The highest bit would make it negative for a server.
        if !(4..=i32::MAX as u32).contains(&len) {
            return Err(Violation("a message has an invalid length"));
        }
        Ok(Some(Self { tag, len: len as usize + 1 }))
    }
}

/// Reads a frame's body. Every read is checked; [`end`](Self::end) refuses leftovers.
pub(super) struct Reader(Bytes);

impl Reader {
    /// The body of a whole frame.
    pub(super) fn of(frame: &Bytes) -> Self {
        Self(frame.slice(Header::LEN.min(frame.len())..))
    }

    pub(super) fn new(body: Bytes) -> Self {
        Self(body)
    }

    /// Bytes up to the next zero, which is consumed too.
    pub(super) fn text(&mut self) -> Result<Bytes, Violation> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Violation("a text in a message has no end"))?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        Ok(text)
    }

    /// The name of a statement or a portal, as far as a server keeps it.
    pub(super) fn name(&mut self) -> Result<Bytes, Violation> {
        let mut name = self.text()?;
        name.truncate(kept_of(&name).len());
        Ok(name)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Violation> {
        self.0.try_get_u8().map_err(|_| SHORT)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Violation> {
        self.0.try_get_i16().map_err(|_| SHORT)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Violation> {
        self.0.try_get_i32().map_err(|_| SHORT)
    }

    /// A count of things that take at least `each` bytes; more than could follow is a lie.
    pub(super) fn count(&mut self, each: usize) -> Result<usize, Violation> {
        let count = usize::try_from(self.i16()?).map_err(|_| Violation("a count in a message is negative"))?;
        if count * each > self.0.len() { Err(SHORT) } else { Ok(count) }
    }

    /// A value with its length before it; -1 is NULL.
    pub(super) fn value(&mut self) -> Result<Option<Bytes>, Violation> {
        match self.i32()? {
            -1 => Ok(None),
            len => self.take(usize::try_from(len).map_err(|_| Violation("a length in a message is negative"))?).map(Some),
        }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, Violation> {
        if len > self.0.len() { Err(SHORT) } else { Ok(self.0.split_to(len)) }
    }

    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn end(self) -> Result<(), Violation> {
        if self.0.is_empty() { Ok(()) } else { Err(Violation("a message is longer than its content")) }
    }
}

/// The most bytes of a name that a server keeps (PostgreSQL manual, 4.1.1): two that begin alike are one.
const NAME: usize = 63;

/// What a server keeps of the name of a statement or a portal.
pub(super) fn kept_of(name: &[u8]) -> &[u8] {
    name.get(..NAME).unwrap_or(name)
}

const SHORT: Violation = Violation("a message is shorter than its content");
