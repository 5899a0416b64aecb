//! The offline verifier: whether a log is what its key signed, and whether it makes sense.
//!
//! It has no network, store or clock; it needs the log, its checkpoints and its public key, and for the digests of recordings
//! their ciphertext. It reads each once, from the beginning, and keeps only the sessions and operations that are open.
//!
//! What it cannot see: that the gateway lied before it hashed, and that log *and* checkpoints were cut back together to an
//! earlier state. For the latter, compare with a checkpoint kept elsewhere.

mod recordings;
mod sessions;

use std::io::{self, BufRead, Read};

use claviger_model::BootId;
use serde::Serialize;

use crate::canonical::MAX_LEAF;
use crate::checkpoint::{Checkpoint, MAX_NOTE, VerifierKey};
use crate::hex;
use crate::leaf::LeafType;
use crate::line::Line;
use crate::merkle::{Frontier, leaf_hash};
use recordings::Recordings;
use sessions::Sessions;

/// The report names no more problems than this; it counts the rest.
pub const MAX_PROBLEMS: usize = 1000;
/// A clock that is set back by more than this (5 s) is worth a remark.
const TIME_TOLERANCE_US: i64 = 5_000_000;

/// What the verifier found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The log's origin.
    pub origin: String,
    /// Leaves in the log.
    pub leaves: u64,
    /// Checkpoints that hold.
    pub checkpoints: u64,
    /// Leaves that the last checkpoint covers.
    pub checkpointed: u64,
    /// Leaves after the last checkpoint: not yet signed.
    pub not_yet_checkpointed: u64,
    /// The root at the last checkpoint that holds, in hexadecimal.
    pub last_root: Option<String>,
    /// Sessions opened.
    pub sessions: u64,
    /// Operations with an intent.
    pub operations: u64,
    /// Operations of the last boot that have no outcome yet.
    pub open_operations: u64,
    /// Recording chunks read; `None` if no recording was given.
    pub chunks: Option<u64>,
    /// Chunks that were lost for want of room, as the log itself says.
    pub lost_chunks: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Further problems, not named.
    pub problems_omitted: u64,
    /// What is worth knowing and not wrong, such as a clock that was set back.
    pub remarks: Vec<Problem>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, leaf: impl Into<Option<u64>>, code: &'static str, detail: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { leaf: leaf.into(), code, detail: detail.into() });
        } else {
            self.problems_omitted += 1;
        }
    }

    fn remark(&mut self, leaf: u64, code: &'static str, detail: impl Into<String>) {
        if self.remarks.len() < MAX_PROBLEMS {
            self.remarks.push(Problem { leaf: Some(leaf), code, detail: detail.into() });
        }
    }
}

/// Something wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The leaf at which it showed.
    pub leaf: Option<u64>,
    /// A stable code, such as `checkpoint.root`.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

/// Verifies a log: its checkpoints as [`checkpoint notes`](read_note), its lines, and the frames of its recordings if they are
/// at hand. An error is a failure to read, not a finding.
pub fn verify<R: Read>(
    key: &VerifierKey,
    checkpoints: impl BufRead,
    mut log: impl BufRead,
    recordings: Option<R>,
) -> io::Result<Report> {
    let mut verifier = Verifier::new(key, checkpoints, recordings)?;
    let mut line = Vec::new();
    while read_line(&mut log, &mut line)? {
        verifier.line(&line)?;
    }
    verifier.finish()
}

/// Reads one line, with its end, of at most one byte more than a leaf may have; false at the end of the log.
fn read_line(log: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    // One more for the line's end, and one to tell that it is too long.
    log.by_ref().take(MAX_LEAF as u64 + 2).read_until(b'\n', line)?;
    Ok(!line.is_empty())
}

struct Verifier<'a, C, R> {
    key: &'a VerifierKey,
    checkpoints: C,
    next_checkpoint: Option<Checkpoint>,
    tree: Frontier,
    boot: Option<BootId>,
    time: i64,
    sessions: Sessions,
    recordings: Option<Recordings<R>>,
    report: Report,
}

impl<'a, C: BufRead, R: Read> Verifier<'a, C, R> {
    fn new(key: &'a VerifierKey, checkpoints: C, recordings: Option<R>) -> io::Result<Self> {
        let mut verifier = Self {
            key,
            checkpoints,
            next_checkpoint: None,
            tree: Frontier::default(),
            boot: None,
            time: i64::MIN,
            sessions: Sessions::default(),
            recordings: recordings.map(Recordings::new),
            report: Report { origin: key.origin().to_string(), ..Report::default() },
        };
        verifier.read_checkpoint()?;
        verifier.check_root()?;
        Ok(verifier)
    }

    /// Takes in one line, and compares the tree with each checkpoint of the size that it reaches.
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let seq = self.tree.size();
        let Some(leaf) = line.strip_suffix(b"\n") else {
            if line.len() > MAX_LEAF {
                self.report.problem(seq, "line.too_long", "the line is longer than any leaf");
            } else {
                self.report.remark(seq, "log.torn", "the last line is not complete");
            }
            return Ok(());
        };
        match Line::parse(leaf) {
            Ok(line) => self.facts(seq, &line)?,
            Err(error) => self.report.problem(seq, "line.malformed", error.to_string()),
        }
        self.tree.push(leaf_hash(leaf));
        self.check_root()
    }

    fn facts(&mut self, seq: u64, line: &Line) -> io::Result<()> {
        if line.seq != seq {
            self.report.problem(seq, "line.seq", format!("the leaf calls itself number {}", line.seq));
        }
        if self.time.saturating_sub(line.time.as_micros()) > TIME_TOLERANCE_US {
            self.report.remark(seq, "time.back", "the clock was set back");
        }
        self.time = line.time.as_micros();
        if self.boot != Some(line.boot) && !matches!(line.kind, LeafType::Boot | LeafType::Recovery) {
            self.report.problem(seq, "boot.unannounced", "a run of the gateway does not begin with BOOT or RECOVERY");
        }
        self.boot = Some(line.boot);
        self.sessions.leaf(seq, line, &mut self.report);
        match &mut self.recordings {
            Some(recordings) => recordings.leaf(seq, line, &mut self.report),
            None => Ok(()),
        }
    }

    fn check_root(&mut self) -> io::Result<()> {
        while let Some(checkpoint) = self.next_checkpoint
            && checkpoint.size <= self.tree.size()
        {
            if checkpoint.size < self.tree.size() {
                let detail = format!("a checkpoint of {} leaves follows a larger one", checkpoint.size);
                self.report.problem(checkpoint.size, "checkpoint.order", detail);
            } else if checkpoint.root != self.tree.root() {
                let detail = format!("the first {} leaves are not those that were signed", checkpoint.size);
                self.report.problem(checkpoint.size, "checkpoint.root", detail);
            } else {
                self.report.checkpoints += 1;
                self.report.checkpointed = checkpoint.size;
                self.report.last_root = Some(hex::encode(&checkpoint.root));
            }
            self.read_checkpoint()?;
        }
        Ok(())
    }

    /// The next checkpoint that the log's key signed.
    fn read_checkpoint(&mut self) -> io::Result<()> {
        self.next_checkpoint = None;
        let mut note = String::new();
        while read_note(&mut self.checkpoints, &mut note)? {
            match self.key.open(&note) {
                Ok(checkpoint) => {
                    self.next_checkpoint = Some(checkpoint);
                    break;
                }
                Err(error) => self.report.problem(self.tree.size(), "checkpoint.signature", error.to_string()),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Report> {
        let size = self.tree.size();
        while let Some(checkpoint) = self.next_checkpoint {
            let detail = format!("{} leaves were signed and {size} are there", checkpoint.size);
            self.report.problem(size, "log.short", detail);
            self.read_checkpoint()?;
        }
        self.report.leaves = size;
        self.report.not_yet_checkpointed = size - self.report.checkpointed;
        if let Some(recordings) = self.recordings {
            recordings.finish(&mut self.report)?;
        }
        self.sessions.finish(self.boot, &mut self.report);
        Ok(self.report)
    }
}

/// Reads the next of a sequence of notes, each followed by an empty line; false at the end. What is not UTF-8 or too long
/// comes back as a note that no key opens.
pub fn read_note(notes: &mut impl BufRead, note: &mut String) -> io::Result<bool> {
    note.clear();
    let mut bytes = Vec::new();
    let mut empty_lines = 0;
    while empty_lines < 2 && bytes.len() < MAX_NOTE {
        let start = bytes.len();
        let room = (MAX_NOTE - start) as u64;
        if notes.by_ref().take(room).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        if bytes.get(start..) == Some(b"\n".as_slice()) {
            empty_lines += 1;
        }
    }
    let end = if empty_lines == 2 { bytes.len() - 1 } else { bytes.len() };
    bytes.truncate(end);
    note.push_str(&String::from_utf8_lossy(&bytes));
    Ok(!note.is_empty())
}

#[cfg(test)]
mod tests;
