//! Whether the recordings are those that the leaves commit to. Needs their ciphertext and no key.
//!
//! Frames lie in the order in which the leaves that refer to them were written, so both are read side by side: a leaf that
//! refers to a chunk not seen yet has frames read until it is.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, ErrorKind, Read};

use claviger_model::SessionId;
use serde_json::Value;

use super::Report;
use crate::leaf::{ChunkRef, LeafType};
use crate::line::Line;
use crate::recording::{Frame, FrameHeader, HEADER, RunningDigest};

/// A leaf may refer back over so many chunks of its session.
const MAX_BACK: usize = 64;
/// So many closed sessions are remembered, for their frames that no leaf asked for.
const MAX_CLOSED: usize = 64 * 1024;
/// So many missing chunks wait for the word of the log.
const MAX_MISSING: usize = 64 * 1024;
/// So many gaps of one session are remembered; one for which the other witness has not been seen.
const MAX_GAPS: usize = 64 * 1024;

pub(super) struct Recordings<R> {
    frames: R,
    ended: bool,
    count: u64,
    sessions: HashMap<SessionId, Chunks>,
    closed: VecDeque<SessionId>,
    /// Lost chunks that the log announced and the recording has not shown yet, and the reverse.
    announced: HashSet<(SessionId, u64)>,
    shown: HashSet<(SessionId, u64)>,
    /// Chunks that are not there, by the leaf that refers to them. After a power failure the log may say so later.
    missing: BTreeMap<(SessionId, u64), u64>,
}

struct Chunks {
    running: RunningDigest,
    recent: VecDeque<ChunkRef>,
}

impl<R: Read> Recordings<R> {
    pub(super) fn new(frames: R) -> Self {
        Self {
            frames,
            ended: false,
            count: 0,
            sessions: HashMap::new(),
            closed: VecDeque::new(),
            announced: HashSet::new(),
            shown: HashSet::new(),
            missing: BTreeMap::new(),
        }
    }

    pub(super) fn leaf(&mut self, seq: u64, line: &Line, report: &mut Report) -> io::Result<()> {
        let Some(session) = line.session else { return Ok(()) };
        match line.kind {
            LeafType::SessionClose => self.close(session),
            LeafType::Gap => self.announce(seq, session, line, report),
            _ => {}
        }
        if let Some(reference) = line.rec {
            while !self.reached(session, reference.chunk) && !self.ended {
                self.read_frame(report)?;
            }
            self.compare(seq, session, reference, report);
        }
        Ok(())
    }

    fn reached(&self, session: SessionId, chunk: u64) -> bool {
        self.sessions.get(&session).is_some_and(|chunks| chunks.running.chunks() > chunk)
    }

    fn compare(&mut self, seq: u64, session: SessionId, reference: ChunkRef, report: &mut Report) {
        let chunk = reference.chunk;
        let recent = self.sessions.get(&session).and_then(|chunks| chunks.recent.iter().find(|recent| recent.chunk == chunk));
        match recent {
            Some(recent) if *recent == reference => {}
            Some(_) => {
                let detail = format!("chunks of session {session} up to {chunk} are not those that were recorded");
                report.problem(seq, "recording.digest", detail);
            }
            None if self.missing.len() < MAX_MISSING => _ = self.missing.entry((session, chunk)).or_insert(seq),
            None => report_missing(seq, session, chunk, report),
        }
    }

    fn read_frame(&mut self, report: &mut Report) -> io::Result<()> {
        let mut header = [0; HEADER];
        let mut body = Vec::new();
        if !self.fill(&mut header, report)? {
            return Ok(());
        }
        let header = match FrameHeader::parse(&header) {
            Ok(header) => header,
            Err(error) => {
                self.ended = true;
                report.problem(None, "recording.malformed", format!("after {} chunks: {error}", self.count));
                return Ok(());
            }
        };
        let length = u64::from(header.length);
        if (&mut self.frames).take(length).read_to_end(&mut body)? as u64 != length {
            self.torn(report);
            return Ok(());
        }
        self.frame(&Frame { header, body: &body }, report);
        Ok(())
    }

    fn fill(&mut self, header: &mut [u8; HEADER], report: &mut Report) -> io::Result<bool> {
        let mut begun = 0;
        while let Some(rest) = header.get_mut(begun..).filter(|rest| !rest.is_empty()) {
            match self.frames.read(rest) {
                Ok(0) => {
                    self.ended = true;
                    if begun > 0 {
                        self.torn(report);
                    }
                    return Ok(false);
                }
                Ok(count) => begun += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn torn(&mut self, report: &mut Report) {
        self.ended = true;
        report.remark(self.count, "recording.torn", "the recording's last chunk is not complete");
    }

    fn frame(&mut self, frame: &Frame<'_>, report: &mut Report) {
        let FrameHeader { session, chunk, gap, .. } = frame.header;
        self.count += 1;
        let chunks = self
            .sessions
            .entry(session)
            .or_insert_with(|| Chunks { running: RunningDigest::new(session), recent: VecDeque::new() });
        if chunk != chunks.running.chunks() {
            let detail = format!("chunk {chunk} of session {session} stands where {} should", chunks.running.chunks());
            report.problem(None, "recording.order", detail);
            return;
        }
        let reference = chunks.running.push(&frame.digest());
        if chunks.recent.len() == MAX_BACK {
            chunks.recent.pop_front();
        }
        chunks.recent.push_back(reference);
        if gap && !self.announced.remove(&(session, chunk)) {
            self.shown.insert((session, chunk));
        }
    }

    /// The log says that chunks were lost. Only then may the recording have a gap in their place.
    fn announce(&mut self, seq: u64, session: SessionId, line: &Line, report: &mut Report) {
        let number = |key: &str| line.fields.get(key).and_then(Value::as_u64);
        let (Some(first), Some(count)) = (number("chunk"), number("chunks")) else {
            return report.problem(seq, "line.malformed", "`chunk` or `chunks` is absent or malformed");
        };
        report.lost_chunks += count;
        for chunk in (first..first.saturating_add(count)).take(MAX_GAPS) {
            if self.missing.remove(&(session, chunk)).is_none() && !self.shown.remove(&(session, chunk)) {
                self.announced.insert((session, chunk));
            }
        }
    }

    fn close(&mut self, session: SessionId) {
        if self.closed.len() == MAX_CLOSED
            && let Some(oldest) = self.closed.pop_front()
        {
            self.sessions.remove(&oldest);
        }
        self.closed.push_back(session);
    }

    pub(super) fn finish(mut self, report: &mut Report) -> io::Result<()> {
        while !self.ended {
            self.read_frame(report)?;
        }
        for (session, chunk) in &self.shown {
            let detail = format!("chunk {chunk} of session {session} is given as lost, and the log does not say so");
            report.problem(None, "recording.gap", detail);
        }
        for ((session, chunk), seq) in self.missing {
            report_missing(seq, session, chunk, report);
        }
        report.chunks = Some(self.count);
        Ok(())
    }
}

fn report_missing(seq: u64, session: SessionId, chunk: u64, report: &mut Report) {
    report.problem(seq, "recording.missing", format!("chunk {chunk} of session {session} is not there"));
}
