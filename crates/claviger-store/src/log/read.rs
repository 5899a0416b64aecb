//! Reading back: one session for a reviewer, everything for the verifier. Neither needs the gateway to stop.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger_audit::checkpoint::{Origin, VerifierKey};
use claviger_audit::recording::{Entry, Frame, FrameHeader, HEADER, Opener};
use claviger_audit::verify::{Report, verify};
use claviger_audit::{LeafType, Line, MAX_LEAF};
use claviger_model::SessionId;

use super::keys::Keys;
use super::replay::{LOG, RECORDING};
use super::segment::{file_path, numbers};
use super::{Dirs, OpenError};

/// Of one session, so much of the recording is read, in bytes as said.
pub const MAX_SESSION: usize = 256 * 1024 * 1024;

/// Why the audit cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no log here.
    #[error("`{0}` has no audit log: `log.vkey` is missing or malformed")]
    NoLog(PathBuf),
    /// A key is not what it should be.
    #[error(transparent)]
    Key(#[from] OpenError),
    /// A file could not be read.
    #[error("the audit cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A session as it was recorded.
#[derive(Debug, Default)]
pub struct SessionRecord {
    /// Its leaves, in order, each a canonical line.
    pub leaves: Vec<Arc<str>>,
    /// What was said, in order.
    pub entries: Vec<Entry>,
    /// Chunks that were lost for want of room.
    pub lost_chunks: u64,
    /// Chunks that do not open: changed, or sealed with a key that has been destroyed.
    pub sealed_chunks: u64,
    /// Whether the recording is longer than [`MAX_SESSION`].
    pub cut: bool,
}

/// Verifies the log under a data directory, or in a copy of its `audit` directory, against its own `log.vkey`. An examiner
/// compares the report's origin and that key with a copy had from elsewhere.
pub fn verify_dir(path: &Path) -> Result<Report, ReadError> {
    let audit = if path.join("audit").is_dir() { path.join("audit") } else { path.to_owned() };
    let key = std::fs::read_to_string(audit.join("log.vkey")).map_err(|_| ReadError::NoLog(audit.clone()))?;
    let key: VerifierKey = key.parse().map_err(|_| ReadError::NoLog(audit.clone()))?;
    // Leaves are there before they are signed, and chunks before leaves: reading what is there now of the first, and
    // whatever there is by then of the others, gives a whole even while the log grows.
    let checkpoints: Box<dyn Read> = match File::open(audit.join("checkpoints")) {
        Ok(file) => {
            let length = file.metadata()?.len();
            Box::new(file.take(length))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Box::new(io::empty()),
        Err(error) => return Err(error.into()),
    };
    let log = Files::new(audit.join("log"), LOG);
    let recordings = audit.join("recordings");
    let recordings = recordings.is_dir().then(|| BufReader::with_capacity(256 * 1024, Files::new(recordings, RECORDING)));
    Ok(verify(&key, BufReader::new(checkpoints), BufReader::with_capacity(256 * 1024, log), recordings)?)
}

/// A session of the log under a data directory. Reads the whole log and all recordings: an index can shorten that one day.
pub fn read_session(data: &Path, session: SessionId) -> Result<SessionRecord, ReadError> {
    let dirs = Dirs::of(data);
    let key = std::fs::read_to_string(dirs.audit.join("log.vkey")).map_err(|_| ReadError::NoLog(dirs.audit.clone()))?;
    let key: VerifierKey = key.parse().map_err(|_| ReadError::NoLog(dirs.audit.clone()))?;
    session_from(&dirs, &Keys::new(dirs.private.clone(), dirs.wrapped.clone()), key.origin(), session)
}

pub(super) fn session_from(dirs: &Dirs, keys: &Keys, origin: &Origin, session: SessionId) -> Result<SessionRecord, ReadError> {
    let mut record = SessionRecord::default();
    let Some(open) = read_leaves(dirs, session, &mut record)? else { return Ok(record) };
    let key = match open.fields.get("recording_key").and_then(|id| id.as_str()) {
        Some(id) => keys.data_key(id)?,
        None => return Ok(record),
    };
    let opener = key.map(|key| Opener::new(origin.clone(), &key, session, open.boot));
    read_entries(dirs, session, opener.as_ref(), &mut record)?;
    Ok(record)
}

/// Collects the session's leaves; gives its `SESSION_OPEN`.
fn read_leaves(dirs: &Dirs, session: SessionId, record: &mut SessionRecord) -> io::Result<Option<Line>> {
    let mark = format!("\"session\":\"{session}\"");
    let mut open = None;
    let mut lines = BufReader::with_capacity(256 * 1024, Files::new(dirs.log.clone(), LOG));
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.by_ref().take(MAX_LEAF as u64 + 2).read_until(b'\n', &mut line)? == 0 {
            return Ok(open);
        }
        // A line that is still being written is not a leaf yet.
        let Some(leaf) = line.strip_suffix(b"\n").and_then(|leaf| std::str::from_utf8(leaf).ok()) else { continue };
        if !leaf.contains(&mark) {
            continue;
        }
        if let Ok(line) = Line::parse(leaf.as_bytes())
            && line.session == Some(session)
        {
            record.leaves.push(leaf.into());
            if line.kind == LeafType::SessionOpen {
                open = Some(line);
            }
        }
    }
}

fn read_entries(dirs: &Dirs, session: SessionId, opener: Option<&Opener>, record: &mut SessionRecord) -> io::Result<()> {
    let mut frames = BufReader::with_capacity(256 * 1024, Files::new(dirs.recordings.clone(), RECORDING));
    let (mut header, mut body, mut said) = ([0; HEADER], Vec::new(), 0);
    loop {
        match frames.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let header = FrameHeader::parse(&header).map_err(io::Error::other)?;
        let mut rest = frames.by_ref().take(u64::from(header.length));
        if header.session != session {
            io::copy(&mut rest, &mut io::sink())?;
            continue;
        }
        body.clear();
        rest.read_to_end(&mut body)?;
        match opener.map(|opener| opener.open(&Frame { header, body: &body })) {
            _ if header.gap => record.lost_chunks += 1,
            Some(Ok(entries)) => {
                said += entries.iter().map(|entry| entry.bytes.len()).sum::<usize>();
                if said > MAX_SESSION {
                    record.cut = true;
                    return Ok(());
                }
                record.entries.extend(entries);
            }
            _ => record.sealed_chunks += 1,
        }
    }
}

/// A directory's numbered files as one, including those that appear while it is read.
struct Files {
    dir: PathBuf,
    extension: &'static str,
    current: Option<(u64, File)>,
}

impl Files {
    fn new(dir: PathBuf, extension: &'static str) -> Self {
        Self { dir, extension, current: None }
    }

    fn next(&self) -> io::Result<Option<u64>> {
        let after = self.current.as_ref().map(|(number, _)| *number);
        Ok(numbers(&self.dir, self.extension)?.into_iter().find(|number| after.is_none_or(|after| *number > after)))
    }
}

impl Read for Files {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((_, file)) = &mut self.current {
                let count = file.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
            }
            let Some(next) = self.next()? else { return Ok(0) };
            // The file may have grown between its end being seen and the next one appearing; then it grows no more.
            if let Some((_, file)) = &mut self.current {
                let count = file.read(buffer)?;
                if count > 0 {
                    return Ok(count);
                }
            }
            self.current = Some((next, File::open(file_path(&self.dir, next, self.extension))?));
        }
    }
}
