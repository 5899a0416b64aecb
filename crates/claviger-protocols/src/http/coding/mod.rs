//! Content codings (RFC 9110, section 8.4.1): what comes packed is unpacked, so that it can be looked through.
//!
//! One coding is taken, gzip, deflate, br or zstd. Content in a coding that is not known, or in several, is refused, and so is content that
//! grows out of proportion, ends early, or goes on after its end. Windows are as large as the codings' own specifications let them be: 8 MiB
//! for zstd (RFC 9659), 16 MiB for br (RFC 7932, section 9.1), 32 KiB for the others.

mod gzip;
#[cfg(test)]
mod tests;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Operation as _};
use zstd::stream::raw::{Decoder as Zstd, InBuffer, OutBuffer};

use self::gzip::Gzip;
use super::wrong::Wrong;

/// So many times as long as it came content may become,
const RATIO: usize = 100;
/// beside so many bytes, whatever came.
const FREE: usize = 1 << 20;
/// What has grown less may grow more later, but not by more than so many bytes, which are in memory at once.
const MOST_SPARED: usize = 4 << 20;

/// So much is unpacked at once.
const PIECE: usize = 4 * 1024;
/// So much of it is taken at once.
const STEP: usize = 16 * 1024;

/// The largest window of zstd, as a power of two.
const ZSTD_WINDOW: u32 = 23;

/// Unpacks the content of one message, as it comes.
pub(super) struct Decoder {
    coding: Coding,
    /// How many bytes more may come of what has come.
    spared: usize,
    /// Whether anything has come. Some say how nothing is packed.
    begun: bool,
}

enum Coding {
    Gzip(Gzip),
    Deflate(Deflate),
    Brotli(Box<Brotli>),
    Zstd(Frames),
}

/// What came of a step.
struct Step {
    /// Bytes of the input that were taken,
    taken: usize,
    /// and bytes that came of them and of what was taken before.
    given: usize,
}

impl Decoder {
    /// What unpacks content with this `Content-Encoding`, its words separated by commas; nothing if it is not packed.
    pub(super) fn new(codings: &[u8]) -> Result<Option<Self>, Wrong> {
        const UNKNOWN: Wrong = Wrong::new(415, "the content is in a coding that is not known, or in several");
        let mut words = words(codings);
        let (first, second) = (words.next(), words.next());
        let Some(word) = first else { return Ok(None) };
        let coding = match (word.to_ascii_lowercase().as_slice(), second) {
            (b"gzip" | b"x-gzip", None) => Coding::Gzip(Gzip::default()),
            (b"deflate", None) => Coding::Deflate(Deflate::Begins(None)),
            (b"br", None) => Coding::Brotli(Box::new(Brotli::new())),
            (b"zstd", None) => Coding::Zstd(Frames::new()?),
            _ => return Err(UNKNOWN),
        };
        Ok(Some(Self { coding, spared: FREE, begun: false }))
    }

    /// All that comes of the next piece of content, which is at most [`MOST_SPARED`] and [`RATIO`] times the piece.
    pub(super) fn push(&mut self, input: &[u8]) -> Result<Bytes, Wrong> {
        let mut out = BytesMut::new();
        self.begun |= !input.is_empty();
        for piece in input.chunks(PIECE) {
            self.spared = self.spared.saturating_add(piece.len().saturating_mul(RATIO)).min(MOST_SPARED);
            self.unpack(piece, &mut out)?;
        }
        Ok(out.freeze())
    }

    /// There is no more content. An error if more should have come.
    pub(super) fn finish(&self) -> Result<(), Wrong> {
        let ended = match &self.coding {
            Coding::Gzip(gzip) => gzip.is_ended(),
            Coding::Deflate(deflate) => matches!(deflate, Deflate::Ended),
            Coding::Brotli(brotli) => brotli.ended,
            Coding::Zstd(frames) => frames.ended,
        };
        if ended || !self.begun { Ok(()) } else { Err(Wrong::request("the packed content ends early")) }
    }

    fn unpack(&mut self, mut piece: &[u8], out: &mut BytesMut) -> Result<(), Wrong> {
        let mut step = [0; STEP];
        loop {
            let Step { taken, given } = match &mut self.coding {
                Coding::Gzip(gzip) => gzip.step(piece, &mut step)?,
                Coding::Deflate(deflate) => deflate.step(piece, &mut step)?,
                Coding::Brotli(brotli) => brotli.step(piece, &mut step)?,
                Coding::Zstd(frames) => frames.step(piece, &mut step)?,
            };
            piece = piece.get(taken..).unwrap_or_default();
            self.spared = self.spared.checked_sub(given).ok_or(Wrong::new(413, "the packed content grows out of proportion"))?;
            out.extend_from_slice(step.get(..given).unwrap_or_default());
            match (taken, given) {
                (0, 0) if piece.is_empty() => return Ok(()),
                (0, 0) => return Err(BROKEN),
                _ => {}
            }
        }
    }
}

/// Whether this `Content-Encoding` names a coding.
pub(super) fn is_packed(codings: &[u8]) -> bool {
    words(codings).next().is_some()
}

fn words(codings: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = codings.split(|c| *c == b',').map(<[u8]>::trim_ascii);
    words.filter(|word| !word.is_empty() && !word.eq_ignore_ascii_case(b"identity"))
}

const BROKEN: Wrong = Wrong::request("the packed content is not in its coding");
const GOES_ON: Wrong = Wrong::request("the packed content goes on after its end");

/// Deflate in the form of zlib (RFC 1950), or bare (RFC 1951): many send the latter, and all take it.
enum Deflate {
    /// Its first byte.
    Begins(Option<u8>),
    Goes(Box<Decompress>),
    Ended,
}

impl Deflate {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Wrong> {
        match self {
            Self::Begins(_) if input.is_empty() => Ok(Step { taken: 0, given: 0 }),
            Self::Begins(None) => {
                *self = Self::Begins(input.first().copied());
                Ok(Step { taken: 1, given: 0 })
            }
            Self::Begins(Some(first)) => {
                let (first, second) = (*first, input.first().copied().unwrap_or_default());
                // Eight for deflate, a window of at most 32 KiB, and a checksum (RFC 1950, section 2.2).
                let is_zlib = first & 0x8f == 0x08 && u16::from_be_bytes([first, second]).is_multiple_of(31);
                let mut inflate = Box::new(Decompress::new(is_zlib));
                let Inflated { given, .. } = inflated(&mut inflate, &[first], out)?;
                *self = Self::Goes(inflate);
                // Nothing can come of one byte, nor be ended by it.
                Ok(Step { taken: 0, given }).and_then(|step| self.go_on(input, out, step))
            }
            Self::Goes(_) => self.go_on(input, out, Step { taken: 0, given: 0 }),
            Self::Ended if input.is_empty() => Ok(Step { taken: 0, given: 0 }),
            Self::Ended => Err(GOES_ON),
        }
    }

    fn go_on(&mut self, input: &[u8], out: &mut [u8], before: Step) -> Result<Step, Wrong> {
        let Self::Goes(inflate) = self else { return Ok(before) };
        let Inflated { taken, given, ended } = inflated(inflate, input, out.get_mut(before.given..).unwrap_or_default())?;
        if ended {
            *self = Self::Ended;
        }
        Ok(Step { taken, given: before.given + given })
    }
}

/// What came of a step, and whether the stream has ended with it.
struct Inflated {
    taken: usize,
    given: usize,
    ended: bool,
}

fn inflated(inflate: &mut Decompress, input: &[u8], out: &mut [u8]) -> Result<Inflated, Wrong> {
    let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, out, FlushDecompress::None).map_err(|_| BROKEN)?;
    let since = |now: u64, before: u64| usize::try_from(now.saturating_sub(before)).unwrap_or(usize::MAX);
    let (taken, given) = (since(inflate.total_in(), before_in), since(inflate.total_out(), before_out));
    Ok(Inflated { taken, given, ended: status == Status::StreamEnd })
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    ended: bool,
}

impl Brotli {
    fn new() -> Self {
        let [a, b, c] = [StandardAlloc::default(), StandardAlloc::default(), StandardAlloc::default()];
        Self { state: BrotliState::new_strict(a, b, c), ended: false }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Wrong> {
        if self.ended {
            return if input.is_empty() { Ok(Step { taken: 0, given: 0 }) } else { Err(GOES_ON) };
        }
        let (mut left, mut taken, mut room, mut given, mut total) = (input.len(), 0, out.len(), 0, 0);
        let state = &mut self.state;
        match BrotliDecompressStream(&mut left, &mut taken, input, &mut room, &mut given, out, &mut total, state) {
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(BROKEN),
        }
        Ok(Step { taken, given })
    }
}

/// Frames of zstd, one after the other (RFC 8878, section 3).
struct Frames {
    zstd: Zstd<'static>,
    /// Whether a frame has ended and no other begun.
    ended: bool,
}

impl Frames {
    fn new() -> Result<Self, Wrong> {
        const FAILED: Wrong = Wrong::new(500, "the content cannot be unpacked");
        let mut zstd = Zstd::new().map_err(|_| FAILED)?;
        zstd.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW)).map_err(|_| FAILED)?;
        Ok(Self { zstd, ended: false })
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Wrong> {
        if self.ended && input.is_empty() {
            return Ok(Step { taken: 0, given: 0 });
        }
        let (mut input, mut out) = (InBuffer::around(input), OutBuffer::around(out));
        self.ended = self.zstd.run(&mut input, &mut out).map_err(|_| BROKEN)? == 0;
        Ok(Step { taken: input.pos(), given: out.pos() })
    }
}
