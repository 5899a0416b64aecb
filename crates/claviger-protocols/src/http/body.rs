//! Where a message's body ends, and what is in it (RFC 9112, sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};

use super::wrong::Wrong;

/// The longest line that says how long a chunk is, with its extensions, which are dropped.
const LONGEST_SIZE: usize = 256;
/// The most bytes of trailers, which are dropped.
const LONGEST_TRAILERS: usize = 8 * 1024;

/// How a body is framed, and how much of it is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing more.
    Ended,
    /// So many bytes.
    Length(u64),
    /// Chunks, of which this comes next.
    Chunked(Chunk),
    /// Whatever comes until the peer closes.
    UntilClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    /// The end of the line after a chunk.
    End,
    /// Trailers, of which so many bytes have come.
    Trailers(usize),
}

impl Body {
    pub(super) fn of_length(length: u64) -> Self {
        if length == 0 { Self::Ended } else { Self::Length(length) }
    }

    pub(super) fn is_ended(self) -> bool {
        self == Self::Ended
    }

    /// Takes the next piece of content off the input, never an empty one. `None` if the body has ended, or more input is needed.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Wrong> {
        self.take_some(input, usize::MAX)
    }

    /// As [`take`](Self::take), with no more than so many bytes.
    pub(super) fn take_some(&mut self, input: &mut BytesMut, most: usize) -> Result<Option<Bytes>, Wrong> {
        loop {
            match self {
                Self::Ended => return Ok(None),
                _ if input.is_empty() => return Ok(None),
                Self::UntilClose => return Ok(Some(input.split_to(most.min(input.len())).freeze())),
                Self::Length(left) => {
                    let piece = piece(input, left, most);
                    if *left == 0 {
                        *self = Self::Ended;
                    }
                    return Ok(Some(piece));
                }
                Self::Chunked(Chunk::Data(left)) => {
                    let piece = piece(input, left, most);
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::End);
                    }
                    return Ok(Some(piece));
                }
                Self::Chunked(chunk) => match chunk.step(input)? {
                    None => return Ok(None),
                    Some(next) => *self = next,
                },
            }
        }
    }
}

impl Chunk {
    /// Reads one line between contents. `None` if it is not all there.
    fn step(self, input: &mut BytesMut) -> Result<Option<Body>, Wrong> {
        match self {
            Self::Size | Self::Data(_) => {
                let Some(line) = line(input, LONGEST_SIZE)? else { return Ok(None) };
                Ok(Some(Body::Chunked(match size(&line)? {
                    0 => Self::Trailers(0),
                    size => Self::Data(size),
                })))
            }
            Self::End => match line(input, 0)? {
                None => Ok(None),
                Some(_) => Ok(Some(Body::Chunked(Self::Size))),
            },
            Self::Trailers(before) => {
                let Some(line) = line(input, LONGEST_TRAILERS.saturating_sub(before))? else { return Ok(None) };
                Ok(Some(if line.is_empty() { Body::Ended } else { Body::Chunked(Self::Trailers(before + line.len() + 2)) }))
            }
        }
    }
}

fn piece(input: &mut BytesMut, left: &mut u64, most: usize) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len()).min(most);
    *left -= length as u64;
    input.split_to(length).freeze()
}

/// A line of at most so many bytes, without its end, which is CR and LF and nothing else.
fn line(input: &mut BytesMut, longest: usize) -> Result<Option<Bytes>, Wrong> {
    let within = input.get(..input.len().min(longest + 2)).unwrap_or_default();
    let Some(end) = within.iter().position(|c| *c == b'\n') else {
        let over = input.len() >= longest + 2;
        let stray =
            within.iter().rev().skip(1).any(|c| *c == b'\r') || (longest == 0 && within.first().is_some_and(|c| *c != b'\r'));
        return if over || stray { Err(Wrong::request("a chunk is not framed as it must be")) } else { Ok(None) };
    };
    let line = input.split_to(end).freeze();
    input.advance(1);
    match line.split_last() {
        Some((b'\r', _)) => {
            let line = line.slice(..line.len() - 1);
            let plain = |c: &u8| *c == b'\t' || (*c >= 0x20 && *c != 0x7f);
            if line.iter().all(plain) { Ok(Some(line)) } else { Err(Wrong::request("a chunk's line holds control characters")) }
        }
        _ => Err(Wrong::request("a chunk's line does not end as it must")),
    }
}

/// A chunk's length: hexadecimal digits, then nothing or extensions.
fn size(line: &[u8]) -> Result<u64, Wrong> {
    /// More would not be a length.
    const MOST_DIGITS: usize = 15;
    let digits = line.iter().take_while(|c| c.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let size = std::str::from_utf8(size).ok().filter(|size| (1..=MOST_DIGITS).contains(&size.len()));
    let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
    size.filter(|_| rest.is_empty() || rest.starts_with(b";")).ok_or(Wrong::request("a chunk's length is not one"))
}

/// Frames content as a chunk.
pub(super) fn chunk(content: &Bytes) -> [Bytes; 3] {
    [format!("{:x}\r\n", content.len()).into(), content.clone(), Bytes::from_static(b"\r\n")]
}

/// The chunk that ends a body.
pub(super) const LAST_CHUNK: Bytes = Bytes::from_static(b"0\r\n\r\n");
