//! Sealing: from bytes that pass by to frames.

use std::cell::RefCell;
use std::sync::Arc;

use claviger_model::{BootId, OpId, SessionId};
use ring::aead::{Aad, LessSafeKey, Nonce};
use zstd::bulk::Compressor;

use super::frame::{FrameHeader, HEADER, Packing, RunningDigest};
use super::opener::EntryKind;
use super::{DataKey, nonce, session_key};
use crate::checkpoint::Origin;
use crate::leaf::ChunkRef;
use crate::ledger::SessionRecorder;
use crate::merkle::sha256;

/// Entries of one chunk, in bytes, before compression. What is added beyond goes into further chunks.
pub const MAX_CHUNK: usize = 1024 * 1024;
/// Kind, operation, length.
pub(super) const ENTRY_HEADER: usize = 1 + 8 + 4;
/// The fastest ordinary level: text and rows shrink three- to fivefold for a few microseconds.
const LEVEL: i32 = 1;
/// For shorter chunks, Zstandard's tables of frequencies would take as long to make as everything else about a request. LZ4 says once what is
/// said more than once, as in JSON and rows, and has none.
const SHORT: usize = 4096;
/// Below this there is little to gain.
const MIN_COMPRESSED: usize = 512;

thread_local! {
    /// A compression context is large and slow to make, and a session is on one thread at a time. With room for what it makes.
    static COMPRESSOR: RefCell<Option<(Compressor<'static>, Vec<u8>)>> = const { RefCell::new(None) };
}

/// Seals one session's recording.
pub struct Recorder {
    key: LessSafeKey,
    key_id: Arc<str>,
    origin: Origin,
    session: SessionId,
    boot: BootId,
    running: RunningDigest,
    /// The chunk in progress: entries.
    entries: Vec<u8>,
    /// The entry in progress, to which bytes of the same kind and operation are added: where its length and bytes begin.
    open: Option<(EntryKind, OpId, usize)>,
    /// Frames of chunks that filled up before they were asked for, the last one's reference, and how many bytes they hold.
    full: Vec<u8>,
    full_ref: Option<ChunkRef>,
    full_bytes: usize,
}

impl Recorder {
    /// A recorder for a session of this run.
    pub fn new(origin: Origin, key_id: Arc<str>, key: &DataKey, session: SessionId, boot: BootId) -> Self {
        Self {
            key: session_key(key, session, boot),
            key_id,
            origin,
            session,
            boot,
            running: RunningDigest::new(session),
            entries: Vec::new(),
            open: None,
            full: Vec::new(),
            full_ref: None,
            full_bytes: 0,
        }
    }

    fn add(&mut self, kind: EntryKind, op: OpId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = MAX_CHUNK.saturating_sub(self.entries.len() + ENTRY_HEADER);
            if room == 0 {
                self.seal_chunk(false);
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.add_part(kind, op, now);
            bytes = later;
        }
    }

    /// Adds bytes for which there is room, to the entry in progress if it is the same one.
    fn add_part(&mut self, kind: EntryKind, op: OpId, bytes: &[u8]) {
        let start = match self.open {
            Some((open_kind, open_op, start)) if (open_kind, open_op) == (kind, op) => start,
            _ => {
                self.entries.push(kind.to_byte());
                self.entries.extend_from_slice(&op.0.to_be_bytes());
                let start = self.entries.len();
                self.entries.extend_from_slice(&[0; 4]);
                self.open = Some((kind, op, start));
                start
            }
        };
        self.entries.extend_from_slice(bytes);
        let length = self.entries.len() - start - 4;
        if let (Some(field), Ok(length)) = (self.entries.get_mut(start..start + 4), u32::try_from(length)) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Seals the chunk in progress into `full`.
    fn seal_chunk(&mut self, last: bool) {
        let chunk = self.running.chunks();
        let start = self.full.len();
        self.full.reserve(HEADER + self.entries.len().min(SHORT) + self.key.algorithm().tag_len());
        self.full.extend_from_slice(&[0; HEADER]);
        let packing = pack(&self.entries, &mut self.full);
        self.full_bytes += self.entries.len();
        self.entries.clear();
        self.open = None;

        let tag_length = self.key.algorithm().tag_len();
        let length = u32::try_from(self.full.len() - start - HEADER + tag_length).unwrap_or(u32::MAX);
        let header = FrameHeader { session: self.session, boot: self.boot, chunk, last, packing, gap: false, length };
        let header = header.to_bytes();
        let nonce = Nonce::assume_unique_for_key(nonce(self.session, chunk, last));
        let aad = Aad::from([self.origin.as_str().as_bytes(), &header].concat());
        let (_, frame) = self.full.split_at_mut(start);
        let (head, body) = frame.split_at_mut(HEADER);
        head.copy_from_slice(&header);
        // INVARIANT: AES-GCM refuses only more than 2^36 bytes, and a chunk has a limit.
        #[allow(clippy::expect_used)]
        let tag = self.key.seal_in_place_separate_tag(nonce, aad, body).expect("a chunk is not too long to be sealed");
        self.full.extend_from_slice(tag.as_ref());
        let (_, frame) = self.full.split_at(start);
        self.full_ref = Some(self.running.push(&sha256(&[frame])));
    }
}

impl SessionRecorder for Recorder {
    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn request(&mut self, op: OpId, bytes: &[u8]) {
        self.add(EntryKind::Request, op, bytes);
    }

    fn response(&mut self, op: OpId, bytes: &[u8]) {
        self.add(EntryKind::Response, op, bytes);
    }

    fn pending(&self) -> usize {
        self.full_bytes + self.entries.len()
    }

    fn seal(&mut self, last: bool) -> Option<(Vec<u8>, ChunkRef)> {
        if !self.entries.is_empty() {
            self.seal_chunk(last);
        }
        self.full_bytes = 0;
        let reference = self.full_ref.take()?;
        Some((std::mem::take(&mut self.full), reference))
    }
}

/// Appends the entries, compressed if that makes them smaller.
fn pack(entries: &[u8], out: &mut Vec<u8>) -> Packing {
    let before = out.len();
    let packing = match entries.len() {
        ..MIN_COMPRESSED => None,
        MIN_COMPRESSED..SHORT => lz4(entries, out).map(|()| Packing::Lz4),
        _ => zstd(entries, out).map(|()| Packing::Zstd),
    };
    packing.filter(|_| out.len() - before < entries.len()).unwrap_or_else(|| {
        out.truncate(before);
        out.extend_from_slice(entries);
        Packing::Plain
    })
}

fn lz4(entries: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&u32::try_from(entries.len()).ok()?.to_le_bytes());
    let start = out.len();
    out.resize(start + lz4_flex::block::get_maximum_output_size(entries.len()), 0);
    let length = lz4_flex::block::compress_into(entries, out.get_mut(start..)?).ok()?;
    out.truncate(start + length);
    Some(())
}

fn zstd(entries: &[u8], out: &mut Vec<u8>) -> Option<()> {
    COMPRESSOR.with_borrow_mut(|pooled| {
        if pooled.is_none() {
            *pooled = Compressor::new(LEVEL).ok().map(|compressor| (compressor, Vec::new()));
        }
        let (compressor, buffer) = pooled.as_mut()?;
        buffer.clear();
        buffer.reserve(zstd::zstd_safe::compress_bound(entries.len()));
        compressor.compress_to_buffer(entries, buffer).ok()?;
        out.extend_from_slice(buffer);
        Some(())
    })
}
