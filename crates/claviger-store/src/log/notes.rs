//! Checkpoints on disk: all of them in one file, the latest in another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use claviger_audit::checkpoint::{Checkpoint, MAX_NOTE, VerifierKey};

use super::OpenError;

/// Opening reads so much of the end of `checkpoints`: the last note and then some.
const TAIL: u64 = 2 * MAX_NOTE as u64;

/// `checkpoints` (every note, each followed by an empty line) and `checkpoint` (the latest).
pub(super) struct Notes {
    file: File,
    length: u64,
    latest: PathBuf,
}

impl Notes {
    /// Opens the files, cuts off a torn last note, and gives the last checkpoint, which the log's key must have signed.
    pub(super) fn open(dir: &Path, key: &VerifierKey) -> Result<(Self, Option<Checkpoint>), OpenError> {
        let path = dir.join("checkpoints");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        let end = end_of_whole_notes(&tail);
        let begin = end_of_whole_notes(tail.get(..end.saturating_sub(1)).unwrap_or_default());
        let last = match tail.get(begin..end.saturating_sub(1)) {
            Some(note) if !note.is_empty() => Some(open_note(note, key)?),
            _ => None,
        };
        let torn = tail.get(end..).unwrap_or_default();
        // What was being written is the beginning of one note. Anything else was not left by a crash, and is not cut off.
        let origin = key.origin().as_str().as_bytes();
        if torn.len() > MAX_NOTE || !(torn.starts_with(origin) || origin.starts_with(torn)) {
            return Err(OpenError::Checkpoints);
        }
        let length = length - torn.len() as u64;
        file.set_len(length)?;
        let notes = Self { file, length, latest: dir.join("checkpoint") };
        let latest = notes.read_latest(key)?;
        Ok((notes, last.into_iter().chain(latest).max_by_key(|c| c.size)))
    }

    fn read_latest(&self, key: &VerifierKey) -> Result<Option<Checkpoint>, OpenError> {
        match fs::read_to_string(&self.latest) {
            // Not made durable, so a power failure may leave it empty.
            Ok(note) if note.is_empty() => Ok(None),
            Ok(note) => key.open(&note).map(Some).map_err(|_| OpenError::Checkpoints),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds a note and makes it durable.
    pub(super) fn append(&mut self, note: &str) -> io::Result<()> {
        let bytes = [note.as_bytes(), b"\n"].concat();
        if let Err(error) = self.file.write_all_at(&bytes, self.length).and_then(|()| self.file.sync_data()) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        replace(&self.latest, note.as_bytes())
    }
}

/// Where the last complete note ends, with the empty line after it. Every other empty line stands inside a note, before its
/// signatures, and those begin with a dash.
fn end_of_whole_notes(tail: &[u8]) -> usize {
    let ends = |at: &usize| {
        let inside = tail.get(at + 2..).is_some_and(|rest| rest.starts_with("—".as_bytes()));
        let signed = tail
            .get(..*at)
            .and_then(|text| text.rsplit(|c| *c == b'\n').next())
            .is_some_and(|line| line.starts_with("—".as_bytes()));
        signed && !inside
    };
    let mut empty_lines = tail.windows(2).enumerate().filter(|(_, pair)| *pair == b"\n\n").map(|(at, _)| at);
    empty_lines.rfind(ends).map_or(0, |at| at + 2)
}

fn open_note(note: &[u8], key: &VerifierKey) -> Result<Checkpoint, OpenError> {
    let note = std::str::from_utf8(note).map_err(|_| OpenError::Checkpoints)?;
    key.open(note).map_err(|_| OpenError::Checkpoints)
}

/// Replaces a file in one step. Not made durable: what is in it can be had otherwise.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    fs::rename(&temporary, path)
}
