//! The one writer: gives leaves their place, and keeps room for the outcomes of everything in flight.
//!
//! Room is promised by the file system before it is needed. When it promises no more, nothing new is admitted, and what is in
//! flight is recorded into the room reserved for it. Its content may then be lost: a gap stands in the recording for each lost
//! chunk, and a `GAP` leaf says so in the log, without which a verifier takes a gap for tampering.

use std::io;
use std::sync::Arc;

use claviger_audit::merkle::{Frontier, leaf_hash};
use claviger_audit::recording::{Frame, GAP_FRAME, gap_frame};
use claviger_audit::{Batch, GapLeaf, Leaf, LeafKind, LedgerError, MAX_CLOSING_LEAF, MAX_OUTCOME_LEAF};
use claviger_model::{BootId, Timestamp};
use tokio::sync::broadcast;

use super::open_set::OpenSet;
use super::replay::{LOG, RECORDING, Replayed};
use super::segment::{Segment, is_full};
use super::{Dirs, Options, TAIL_LEAVES};

/// Room in the log for each operation in flight: its `OUTCOME`, its `TX_END` and a `GAP`.
pub const OPERATION_ROOM: usize = MAX_OUTCOME_LEAF + 2 * MAX_CLOSING_LEAF;
/// Room in the log for each open session: its `SESSION_CLOSE` and a `GAP`.
pub const SESSION_ROOM: usize = 2 * MAX_CLOSING_LEAF;
/// Room in the log for what comes on top: administrators' acts, gaps in the middle of long responses.
pub const CLOSING_ROOM: usize = 128 * 1024;
/// Room for a small request, in either file.
const REQUEST_ROOM: u64 = 4096;
/// Room in the recording for the gaps of one operation or session.
const GAP_ROOM: usize = 4 * GAP_FRAME;

/// Appends to both files.
pub(super) struct Writer {
    pub(super) boot: BootId,
    pub(super) log: Segment,
    pub(super) recording: Segment,
    pub(super) tree: Frontier,
    pub(super) open: OpenSet,
    pub(super) tail: broadcast::Sender<Arc<str>>,
    /// After a failure that is not a want of room nothing is written any more.
    failed: bool,
    lines: Lines,
    dirs: Dirs,
    options: Options,
}

impl Writer {
    pub(super) fn new(boot: BootId, replayed: Replayed, dirs: &Dirs, options: &Options) -> Self {
        Self {
            boot,
            log: replayed.log,
            recording: replayed.recording,
            tree: replayed.tree,
            open: replayed.open,
            tail: broadcast::Sender::new(TAIL_LEAVES),
            failed: false,
            lines: Lines::default(),
            dirs: dirs.clone(),
            options: options.clone(),
        }
    }

    /// Appends batches: all of them, or nothing.
    pub(super) fn append(&mut self, batches: &[Batch]) -> Result<u64, LedgerError> {
        if self.failed {
            return Err(LedgerError::Failed);
        }
        self.try_append(batches).map_err(|error| {
            if is_full(&error) {
                return LedgerError::Full;
            }
            tracing::error!(%error, "the audit storage failed");
            self.failed = true;
            LedgerError::Failed
        })
    }

    /// Whether one more operation, of a small request, could be recorded. Takes the room for it, which is used sooner or later.
    pub(super) fn admits(&mut self) -> bool {
        let one = Effect { admits: true, operations: 1, sessions: 0 };
        let (operations, sessions) = (self.operations(&one), self.sessions(&one));
        let gaps = (operations + sessions) * GAP_ROOM as u64;
        let closings = operations * OPERATION_ROOM as u64 + sessions * SESSION_ROOM as u64;
        let on_top = REQUEST_ROOM + CLOSING_ROOM as u64;
        !self.failed && self.recording.reserve(gaps + on_top).is_ok() && self.log.reserve(closings + on_top).is_ok()
    }

    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    fn try_append(&mut self, batches: &[Batch]) -> io::Result<u64> {
        let effect = Effect::of(batches);
        let chunks = || batches.iter().flat_map(|batch| &batch.chunks);
        let joined;
        let (content, gaps) = match self.room_for_chunks(chunks().map(Vec::len).sum(), &effect) {
            // The usual large chunk comes alone, and needs no copy.
            Ok(()) => match batches {
                [Batch { chunks, .. }] if chunks.len() == 1 => {
                    (chunks.first().map(Vec::as_slice).unwrap_or_default(), Vec::new())
                }
                _ => {
                    joined = chunks().map(Vec::as_slice).collect::<Vec<_>>().concat();
                    (joined.as_slice(), Vec::new())
                }
            },
            Err(error) if is_full(&error) && !effect.admits => {
                let (frames, gaps) = as_gaps(chunks(), (self.options.now)());
                joined = frames;
                (joined.as_slice(), gaps)
            }
            Err(error) => return Err(error),
        };
        let leaves = || batches.iter().flat_map(|batch| &batch.leaves);
        self.lines.compose(self.tree.size(), self.boot, gaps.iter().chain(leaves()));
        self.room_for_lines(&effect)?;

        let recorded = self.recording.length();
        if !content.is_empty() {
            self.recording.append(content)?;
        }
        if let Err(error) = self.log.append(&self.lines.text) {
            self.recording.cut(recorded)?;
            return Err(error);
        }
        self.take_in(leaves());
        Ok(self.tree.size())
    }

    /// After the write: the lines are leaves of the tree now.
    fn take_in<'l>(&mut self, leaves: impl Iterator<Item = &'l Leaf>) {
        let watched = self.tail.receiver_count() > 0;
        for line in self.lines.iter() {
            self.tree.push(leaf_hash(line));
            if watched {
                // Nobody listening any more is no error.
                _ = self.tail.send(String::from_utf8_lossy(line).into());
            }
        }
        leaves.for_each(|leaf| self.open.apply(leaf));
    }

    fn room_for_chunks(&mut self, bytes: usize, effect: &Effect) -> io::Result<()> {
        if bytes == 0 && !effect.admits {
            return Ok(());
        }
        let (bytes, reserve) = (bytes as u64, (self.operations(effect) + self.sessions(effect)) * GAP_ROOM as u64);
        if self.recording.length() > 0 && self.recording.length() + bytes > self.options.recording_file {
            let number = self.recording.number() + 1;
            rotate(&mut self.recording, &self.dirs.recordings, number, RECORDING, reserve)?;
        }
        self.recording.reserve(bytes + reserve + CLOSING_ROOM as u64)
    }

    fn room_for_lines(&mut self, effect: &Effect) -> io::Result<()> {
        let bytes = self.lines.text.len() as u64;
        let reserve =
            self.operations(effect) * OPERATION_ROOM as u64 + self.sessions(effect) * SESSION_ROOM as u64 + CLOSING_ROOM as u64;
        if self.log.length() > 0 && self.log.length() + bytes > self.options.log_file {
            rotate(&mut self.log, &self.dirs.log, self.tree.size(), LOG, reserve)?;
        }
        match self.log.reserve(bytes + reserve) {
            // What is in flight uses the reserve up.
            Err(error) if is_full(&error) && !effect.admits => self.log.reserve(bytes),
            other => other,
        }
    }

    /// Operations in flight after what is appended. One that it ends is counted still, which is on the safe side.
    fn operations(&self, effect: &Effect) -> u64 {
        self.open.operations.len() as u64 + effect.operations
    }

    fn sessions(&self, effect: &Effect) -> u64 {
        self.open.sessions.len() as u64 + effect.sessions
    }
}

/// What appending some leaves does to the reserve.
#[derive(Default)]
struct Effect {
    /// Whether one of them is written only where there is room beside the reserve.
    admits: bool,
    /// Operations that begin.
    operations: u64,
    /// Sessions that begin.
    sessions: u64,
}

impl Effect {
    fn of(batches: &[Batch]) -> Self {
        let mut effect = Self::default();
        for leaf in batches.iter().flat_map(|batch| &batch.leaves) {
            effect.admits |= is_admitting(leaf);
            effect.operations += u64::from(matches!(leaf.kind, LeafKind::Intent(_)));
            effect.sessions += u64::from(matches!(leaf.kind, LeafKind::SessionOpen(_)));
        }
        effect
    }
}

/// Lines being composed, in memory that is used again.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    /// Where each line ends, without its line end.
    ends: Vec<usize>,
}

impl Lines {
    fn compose<'l>(&mut self, first: u64, boot: BootId, leaves: impl Iterator<Item = &'l Leaf>) {
        self.text.clear();
        self.ends.clear();
        for (seq, leaf) in (first..).zip(leaves) {
            leaf.write_canonical(seq, boot, &mut self.text);
            self.ends.push(self.text.len());
            self.text.push(b'\n');
        }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end + 1));
        starts.zip(&self.ends).map(|(start, end)| self.text.get(start..*end).unwrap_or_default())
    }
}

/// Whether a leaf is written only where there is room beside the reserve. Refusals are among them: whoever has no token can cause
/// any number.
fn is_admitting(leaf: &Leaf) -> bool {
    use LeafKind as K;
    matches!(leaf.kind, K::Intent(_) | K::Request(_) | K::SessionOpen(_) | K::SessionRefused(_) | K::Refusals(_))
}

/// Goes on in a new file, once that has the room which the old one had reserved. If there is no room, goes on in the old one.
fn rotate(segment: &mut Segment, dir: &std::path::Path, number: u64, extension: &str, reserve: u64) -> io::Result<()> {
    let next =
        Segment::create(dir, number, extension).and_then(|mut next| next.reserve(reserve + CLOSING_ROOM as u64).map(|()| next));
    match next {
        Ok(next) => {
            // Before the new file has anything, so that a power failure cannot tear the middle of the log.
            segment.finish()?;
            *segment = next;
            Ok(())
        }
        Err(error) if is_full(&error) => {
            _ = std::fs::remove_file(super::segment::file_path(dir, number, extension));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The frames and leaves that stand for chunks for which there is no room.
fn as_gaps<'c>(chunks: impl Iterator<Item = &'c Vec<u8>>, now: Timestamp) -> (Vec<u8>, Vec<Leaf>) {
    let (mut frames, mut leaves) = (Vec::new(), Vec::new());
    for mut chunk in chunks.map(Vec::as_slice) {
        // One sealed whole may be several frames, all of one session and in a row.
        let mut gap: Option<GapLeaf> = None;
        while let Ok(Some((frame, rest))) = Frame::split(chunk) {
            frames.extend_from_slice(&gap_frame(&frame));
            let first = GapLeaf { session: frame.header.session, chunk: frame.header.chunk, chunks: 0 };
            gap.get_or_insert(first).chunks += 1;
            chunk = rest;
        }
        leaves.extend(gap.map(|gap| Leaf { time: now, kind: LeafKind::Gap(gap) }));
    }
    (frames, leaves)
}
