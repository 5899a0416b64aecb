//! Opening: from frames back to what was said.

use claviger_model::{BootId, OpId, SessionId};
use ring::aead::{Aad, LessSafeKey, Nonce};
use zstd::bulk::Decompressor;

use super::frame::{Frame, Packing};
use super::recorder::MAX_CHUNK;
use super::{DataKey, nonce, session_key};
use crate::checkpoint::Origin;

/// Whose bytes an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The client's.
    Request,
    /// The upstream's, as delivered to the client.
    Response,
}

impl EntryKind {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Request, Self::Response].into_iter().find(|kind| kind.to_byte() == byte)
    }
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// By whom.
    pub kind: EntryKind,
    /// In which operation.
    pub op: OpId,
    /// What.
    pub bytes: Vec<u8>,
}

/// Why a chunk cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is of another session, or stands for a chunk that was lost.
    #[error("the chunk is not one of this session's")]
    NotOurs,
    /// Key, header or ciphertext do not belong together.
    #[error("the chunk does not decrypt")]
    Sealed,
    /// It decrypts to something that is not entries, or to too much.
    #[error("the chunk's content is malformed")]
    Malformed,
}

/// Opens one session's chunks.
pub struct Opener {
    key: LessSafeKey,
    origin: Origin,
    session: SessionId,
    boot: BootId,
}

impl Opener {
    /// An opener for a session of one run.
    pub fn new(origin: Origin, key: &DataKey, session: SessionId, boot: BootId) -> Self {
        Self { key: session_key(key, session, boot), origin, session, boot }
    }

    /// The entries of a chunk. What a chunk expands to is bounded by [`MAX_CHUNK`], whatever its ciphertext says.
    pub fn open(&self, frame: &Frame<'_>) -> Result<Vec<Entry>, OpenError> {
        let header = frame.header;
        if header.session != self.session || header.boot != self.boot || header.gap {
            return Err(OpenError::NotOurs);
        }
        let nonce = Nonce::assume_unique_for_key(nonce(self.session, header.chunk, header.last));
        let aad = Aad::from([self.origin.as_str().as_bytes(), &header.to_bytes()].concat());
        let mut body = frame.body.to_vec();
        let plain = self.key.open_in_place(nonce, aad, &mut body).map_err(|_| OpenError::Sealed)?;
        let entries = match header.packing {
            Packing::Plain => split_entries(plain),
            Packing::Zstd => unzstd(plain).and_then(|plain| split_entries(&plain)),
            Packing::Lz4 => unlz4(plain).and_then(|plain| split_entries(&plain)),
        };
        entries.ok_or(OpenError::Malformed)
    }
}

fn unzstd(packed: &[u8]) -> Option<Vec<u8>> {
    Decompressor::new().and_then(|mut zstd| zstd.decompress(packed, MAX_CHUNK)).ok()
}

fn unlz4(packed: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = lz4_flex::block::uncompressed_size(packed).ok().filter(|(length, _)| *length <= MAX_CHUNK)?;
    lz4_flex::block::decompress(block, length).ok()
}

fn split_entries(mut plain: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while let Some((kind, rest)) = plain.split_first() {
        let (op, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        entries.push(Entry { kind: EntryKind::from_byte(*kind)?, op: OpId(u64::from_be_bytes(*op)), bytes: bytes.to_vec() });
        plain = rest;
    }
    Some(entries)
}
