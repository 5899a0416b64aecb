//! Opening: from what is on disk back to the tree and to what is open.
//!
//! Only the end of the last file may be torn. Anything else that does not fit is tampering or data loss, and then the log
//! stays shut: signing on would sign a fork.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};

use claviger_audit::checkpoint::{Checkpoint, VerifierKey};
use claviger_audit::merkle::{Frontier, leaf_hash};
use claviger_audit::recording::{FrameHeader, HEADER};
use claviger_audit::{
    CloseReason, GapLeaf, Leaf, LeafKind, Line, MAX_LEAF, OutcomeLeaf, OutcomeStatus, RecoveryLeaf, SessionCloseLeaf,
};
use claviger_model::{BootId, OpId, SessionId, Timestamp};

use super::open_set::OpenSet;
use super::segment::{Segment, file_path, numbers};
use super::state::{self, Place};
use super::{Dirs, OpenError};

pub(super) const LOG: &str = "jsonl";
pub(super) const RECORDING: &str = "rec";

/// What replaying gives.
pub(super) struct Replayed {
    pub(super) tree: Frontier,
    pub(super) open: OpenSet,
    pub(super) log: Segment,
    pub(super) recording: Segment,
    last_boot: Option<BootId>,
    log_bytes_cut: u64,
    recording_bytes_cut: u64,
    lost: Vec<GapLeaf>,
}

/// For each session, from which chunk to which.
type Chunks = BTreeMap<SessionId, (u64, u64)>;

/// Reads the log from the last state that a checkpoint vouches for, or from the beginning.
pub(super) fn replay(dirs: &Dirs, key: &VerifierKey, signed: Option<Checkpoint>) -> Result<Replayed, OpenError> {
    let state = state::read(&dirs.audit, key)
        .filter(|state| file_path(&dirs.log, state.log.file, LOG).metadata().is_ok_and(|meta| meta.len() >= state.log.offset));
    let signed_leaves = signed.map_or(0, |signed| signed.size);
    let mut replay = Replay {
        tree: Frontier::default(),
        open: OpenSet::default(),
        last_boot: None,
        signed,
        chunks: Chunks::new(),
        signed_leaves,
    };
    let (mut place, mut recording_place) = (Place::default(), Place::default());
    if let Some(state) = state {
        (place, recording_place) = (state.log, state.recording);
        replay.signed = signed.filter(|signed| signed.size >= state.tree.size());
        (replay.tree, replay.open, replay.last_boot) = (state.tree, state.open, Some(state.boot));
    }
    let (log, log_bytes_cut) = replay.files(dirs, place)?;
    replay.check_signed()?;
    if let Some(signed) = replay.signed {
        return Err(OpenError::Short { found: replay.tree.size(), signed: signed.size });
    }
    let mut found = Chunks::new();
    let (recording, recording_bytes_cut) = recordings(dirs, recording_place, &mut found)?;
    let Replay { tree, open, last_boot, chunks, .. } = replay;
    let mut lost = lost_chunks(&chunks, &found);
    if !lost.is_empty() {
        // A leaf may refer to a chunk from before the state. This is rare enough to look at everything.
        recordings(dirs, Place::default(), &mut found)?;
        lost = lost_chunks(&chunks, &found);
    }
    Ok(Replayed { tree, open, log, recording, last_boot, log_bytes_cut, recording_bytes_cut, lost })
}

impl Replayed {
    /// What an earlier run left behind, as leaves: nothing, or `RECOVERY` and an end for everything open.
    pub(super) fn left_behind(&self) -> impl FnOnce(Timestamp) -> Vec<Leaf> + use<> {
        let mut operations: Vec<_> = self.open.operations.iter().copied().collect();
        let mut sessions: Vec<_> = self.open.sessions.iter().copied().collect();
        operations.sort_unstable();
        sessions.sort_unstable();
        let recovery = RecoveryLeaf {
            of_boot: self.last_boot.map(|boot| boot.to_string().into()),
            log_bytes_cut: self.log_bytes_cut,
            recording_bytes_cut: self.recording_bytes_cut,
            operations_unknown: operations.len() as u64,
        };
        let lost = self.lost.clone();
        let clean =
            self.log_bytes_cut + self.recording_bytes_cut == 0 && sessions.is_empty() && operations.is_empty() && lost.is_empty();
        move |time| {
            if clean {
                return Vec::new();
            }
            let kinds = std::iter::once(LeafKind::Recovery(recovery))
                .chain(lost.into_iter().map(LeafKind::Gap))
                .chain(operations.into_iter().map(|(session, op)| LeafKind::Outcome(unknown_outcome(session, op))))
                .chain(sessions.into_iter().map(|session| LeafKind::SessionClose(crash(session))));
            kinds.map(|kind| Leaf { time, kind }).collect()
        }
    }
}

/// The chunks to which leaves refer and which are not there. Only a power failure can do this to leaves that nobody waited
/// for: their file was written out and the recording's was not.
fn lost_chunks(referred: &Chunks, found: &Chunks) -> Vec<GapLeaf> {
    let lost = referred.iter().filter_map(|(session, (first, last))| {
        let chunk = found.get(session).map_or(*first, |(_, found)| (found + 1).max(*first));
        (chunk <= *last).then(|| GapLeaf { session: *session, chunk, chunks: last - chunk + 1 })
    });
    lost.collect()
}

fn widen(chunks: &mut Chunks, session: SessionId, chunk: u64) {
    let (first, last) = chunks.entry(session).or_insert((chunk, chunk));
    (*first, *last) = (chunk.min(*first), chunk.max(*last));
}

fn unknown_outcome(session: SessionId, op: OpId) -> OutcomeLeaf {
    OutcomeLeaf {
        session,
        op,
        status: OutcomeStatus::Unknown,
        tags: Vec::new(),
        code: None,
        rows: 0,
        bytes: 0,
        bytes_unrecorded: 0,
        duration_us: 0,
        masked: None,
        tokens: None,
        rec: None,
    }
}

fn crash(session: SessionId) -> SessionCloseLeaf {
    SessionCloseLeaf {
        session,
        reason: CloseReason::Gateway,
        detail: Some("crash".into()),
        operations: 0,
        bytes_in: 0,
        bytes_out: 0,
        duration_us: 0,
    }
}

struct Replay {
    tree: Frontier,
    open: OpenSet,
    last_boot: Option<BootId>,
    /// The last checkpoint, until the tree has reached it.
    signed: Option<Checkpoint>,
    /// The chunks to which leaves refer that were not signed: before signing, chunks are made durable.
    chunks: Chunks,
    signed_leaves: u64,
}

impl Replay {
    /// Replays every file from `place` on; gives the last one, cut after its last whole line, and how much that cut off.
    fn files(&mut self, dirs: &Dirs, place: Place) -> Result<(Segment, u64), OpenError> {
        let files: Vec<u64> = numbers(&dirs.log, LOG)?.into_iter().filter(|file| *file >= place.file).collect();
        let Some(last) = files.last().copied() else {
            self.check_signed()?;
            if let Some(signed) = self.signed {
                return Err(OpenError::Short { found: 0, signed: signed.size });
            }
            return Ok((Segment::create(&dirs.log, 0, LOG)?, 0));
        };
        let mut end = (0, 0);
        for file in files {
            let offset = if file == place.file { place.offset } else { 0 };
            if offset == 0 && file != self.tree.size() {
                return Err(self.damaged(format!("the file that begins with leaf {file} stands where it should not")));
            }
            end = self.file(dirs, file, offset)?;
            if file != last && end.1 > 0 {
                return Err(self.damaged("its line is not complete".to_owned()));
            }
        }
        Ok((Segment::open(&dirs.log, last, LOG, end.0)?, end.1))
    }

    /// Replays one file: how long its whole lines are, and how long what follows them.
    fn file(&mut self, dirs: &Dirs, number: u64, offset: u64) -> Result<(u64, u64), OpenError> {
        let mut file = File::open(file_path(&dirs.log, number, LOG))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut lines = BufReader::with_capacity(256 * 1024, file);
        let (mut whole, mut line) = (offset, Vec::new());
        loop {
            line.clear();
            lines.by_ref().take(MAX_LEAF as u64 + 2).read_until(b'\n', &mut line)?;
            let Some(leaf) = line.strip_suffix(b"\n") else { break };
            self.line(leaf)?;
            whole += line.len() as u64;
        }
        if line.len() > MAX_LEAF {
            return Err(self.damaged("its line is too long".to_owned()));
        }
        Ok((whole, line.len() as u64))
    }

    fn line(&mut self, leaf: &[u8]) -> Result<(), OpenError> {
        let line = Line::parse(leaf).map_err(|error| self.damaged(error.to_string()))?;
        if line.seq != self.tree.size() {
            return Err(self.damaged(format!("it calls itself number {}", line.seq)));
        }
        self.check_signed()?;
        self.tree.push(leaf_hash(leaf));
        self.open.apply_line(&line);
        if let (Some(session), Some(rec)) = (line.session, line.rec)
            && line.seq >= self.signed_leaves
        {
            widen(&mut self.chunks, session, rec.chunk);
        }
        self.last_boot = Some(line.boot);
        Ok(())
    }

    /// Compares the tree with the last checkpoint, when it is of that size.
    fn check_signed(&mut self) -> Result<(), OpenError> {
        match self.signed {
            Some(signed) if signed.size == self.tree.size() => {
                self.signed = None;
                if signed.root == self.tree.root() { Ok(()) } else { Err(OpenError::Changed { signed: signed.size }) }
            }
            _ => Ok(()),
        }
    }

    fn damaged(&self, detail: String) -> OpenError {
        OpenError::Damaged { leaf: self.tree.size(), detail }
    }
}

/// Finds the end of the last whole frame; gives the last file, cut there, and how much that cut off.
fn recordings(dirs: &Dirs, place: Place, found: &mut Chunks) -> Result<(Segment, u64), OpenError> {
    let files: Vec<u64> = numbers(&dirs.recordings, RECORDING)?.into_iter().filter(|file| *file >= place.file).collect();
    let Some(last) = files.last().copied() else { return Ok((Segment::create(&dirs.recordings, place.file, RECORDING)?, 0)) };
    let mut end = (0, 0);
    for file in files {
        let path = file_path(&dirs.recordings, file, RECORDING);
        let offset = if file == place.file { place.offset } else { 0 };
        end = whole_frames(&path, offset, found)?;
        if file != last && end.1 > 0 {
            return Err(OpenError::DamagedRecording { path, at: end.0 });
        }
    }
    Ok((Segment::open(&dirs.recordings, last, RECORDING, end.0)?, end.1))
}

fn whole_frames(path: &std::path::Path, offset: u64, found: &mut Chunks) -> Result<(u64, u64), OpenError> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let offset = offset.min(length);
    file.seek(SeekFrom::Start(offset))?;
    let mut frames = BufReader::with_capacity(256 * 1024, file);
    let (mut whole, mut header) = (offset, [0; HEADER]);
    loop {
        match frames.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        }
        let header = FrameHeader::parse(&header).map_err(|_| OpenError::DamagedRecording { path: path.to_owned(), at: whole })?;
        let end = whole + HEADER as u64 + u64::from(header.length);
        if end > length {
            break;
        }
        frames.seek_relative(i64::from(header.length))?;
        widen(found, header.session, header.chunk);
        whole = end;
    }
    Ok((whole, length - whole))
}
