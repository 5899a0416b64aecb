//! How chunks lie on disk, and the running digest over them.

use claviger_model::{BootId, SessionId};

use crate::leaf::ChunkRef;
use crate::merkle::{Hash, sha256};

/// The length of a frame's header.
pub const HEADER: usize = 41;
/// No frame's body is longer than this: a full chunk of incompressible bytes, its framing and its tag.
pub const MAX_BODY: usize = super::MAX_CHUNK + 64 * 1024;
/// The length of the frame that stands for a lost chunk.
pub const GAP_FRAME: usize = HEADER + 32;

const MAGIC: [u8; 4] = *b"CLV1";
const LAST: u8 = 1;
const ZSTD: u8 = 2;
const GAP: u8 = 4;
const LZ4: u8 = 8;

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It does not begin as a frame.
    #[error("the recording has no frame here")]
    NotAFrame,
    /// It is longer than any frame.
    #[error("the recording's frame is too long")]
    TooLong,
}

/// How the entries of a chunk are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// As a frame of Zstandard (RFC 8878).
    Zstd,
    /// As a block of LZ4, after its length when unpacked: four bytes, the least significant first.
    Lz4,
}

impl Packing {
    fn flags(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Zstd => ZSTD,
            Self::Lz4 => LZ4,
        }
    }

    fn of(flags: u8) -> Option<Self> {
        [Self::Plain, Self::Zstd, Self::Lz4].into_iter().find(|packing| packing.flags() == flags & (ZSTD | LZ4))
    }
}

/// What stands before a chunk's body, in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The session.
    pub session: SessionId,
    /// The run of the gateway that sealed it.
    pub boot: BootId,
    /// The chunk's number in its session, from 0.
    pub chunk: u64,
    /// Whether it is the session's last.
    pub last: bool,
    /// How the entries are compressed.
    pub packing: Packing,
    /// Whether the chunk itself was lost: the body is then the SHA-256 of the frame that it would have been.
    pub gap: bool,
    /// The body's length.
    pub length: u32,
}

impl FrameHeader {
    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let flags = [(self.last, LAST), (self.gap, GAP)];
        let flags = flags.iter().fold(self.packing.flags(), |all, (set, flag)| if *set { all | flag } else { all });
        let mut bytes = [0; HEADER];
        let fields: [&[u8]; 6] = [
            &MAGIC,
            &self.session.to_bytes(),
            &self.boot.to_bytes(),
            &self.chunk.to_be_bytes(),
            &[flags],
            &self.length.to_be_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            let Some(place) = bytes.get_mut(at..at + field.len()) else { break };
            place.copy_from_slice(field);
            at += field.len();
        }
        bytes
    }

    /// Reads a header.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, FrameError> {
        Self::fields(bytes)
            .ok_or(FrameError::NotAFrame)
            .and_then(|header| if u64::from(header.length) > MAX_BODY as u64 { Err(FrameError::TooLong) } else { Ok(header) })
    }

    fn fields(bytes: &[u8; HEADER]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (session, rest) = rest.split_first_chunk::<16>()?;
        let (boot, rest) = rest.split_first_chunk::<8>()?;
        let (chunk, rest) = rest.split_first_chunk::<8>()?;
        let ([flags], rest) = rest.split_first_chunk::<1>()?;
        let (length, _) = rest.split_first_chunk::<4>()?;
        let header = Self {
            session: SessionId::from_bytes(*session),
            boot: BootId::new(*boot),
            chunk: u64::from_be_bytes(*chunk),
            last: flags & LAST != 0,
            packing: Packing::of(*flags)?,
            gap: flags & GAP != 0,
            length: u32::from_be_bytes(*length),
        };
        let known = *magic == MAGIC && flags & !(LAST | ZSTD | LZ4 | GAP) == 0 && (!header.gap || header.length == 32);
        known.then_some(header)
    }
}

/// One chunk as it lies on disk.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: FrameHeader,
    /// Its ciphertext, or the digest of the lost frame.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Splits the first frame off; `None` if there are not enough bytes for a whole one.
    pub fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, FrameError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
        let header = FrameHeader::parse(header)?;
        let length = usize::try_from(header.length).map_err(|_| FrameError::TooLong)?;
        Ok(rest.split_at_checked(length).map(|(body, rest)| (Self { header, body }, rest)))
    }

    /// The digest by which the frame enters the session's running digest. A lost chunk's is the digest of what it was.
    pub fn digest(&self) -> Hash {
        match <&Hash>::try_from(self.body) {
            Ok(lost) if self.header.gap => *lost,
            _ => sha256(&[&self.header.to_bytes(), self.body]),
        }
    }
}

/// The frame that stands for a chunk for which there was no room.
pub fn gap_frame(lost: &Frame<'_>) -> [u8; GAP_FRAME] {
    let header = FrameHeader { gap: true, packing: Packing::Plain, length: 32, ..lost.header };
    let mut frame = [0; GAP_FRAME];
    for (to, from) in frame.iter_mut().zip(header.to_bytes().into_iter().chain(lost.digest())) {
        *to = from;
    }
    frame
}

/// A commitment to all frames of a session so far: see [`ChunkRef`].
#[derive(Clone, Debug)]
pub struct RunningDigest {
    session: SessionId,
    chunks: u64,
    digest: Hash,
}

impl RunningDigest {
    /// Before the session's first chunk.
    pub fn new(session: SessionId) -> Self {
        Self { session, chunks: 0, digest: [0; 32] }
    }

    /// The number of the chunk to come.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Takes in the next chunk's frame, by its digest.
    pub fn push(&mut self, frame: &Hash) -> ChunkRef {
        self.digest = match self.chunks {
            0 => sha256(&[&self.session.to_bytes(), frame]),
            _ => sha256(&[&self.digest, frame]),
        };
        self.chunks += 1;
        ChunkRef { chunk: self.chunks - 1, digest: self.digest }
    }
}
