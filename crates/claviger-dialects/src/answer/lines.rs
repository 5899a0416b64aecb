//! Events that are lines.

use bytes::BytesMut;

use super::turn::Turn;
use super::{Event, Stream, take};
use crate::NotRead;

/// Finds lines in content that is cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The line that has begun, and up to where it is known that it does not end.
    kept: BytesMut,
    searched: usize,
}

impl Lines {
    pub(super) fn of(kept: BytesMut) -> Self {
        Self { kept, searched: 0 }
    }

    pub(super) fn push(&mut self, content: &[u8], stream: &mut dyn Stream, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        self.kept.extend_from_slice(content);
        self.take(false, stream, turn)?;
        if self.kept.len() > turn.longest { Err(NotRead::TooLong) } else { Ok(()) }
    }

    /// Takes the lines that are complete; the last is, whatever ends it.
    pub(super) fn take(&mut self, last: bool, stream: &mut dyn Stream, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        loop {
            let rest = self.kept.get(self.searched..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n').map(|end| self.searched + end + 1);
            self.searched = self.kept.len();
            let Some(end) = end.or((last && !self.kept.is_empty()).then_some(self.kept.len())) else { return Ok(()) };
            let line = self.kept.split_to(end);
            self.searched = 0;
            let data = String::from_utf8_lossy(&line);
            match data.trim().trim_start_matches('\u{feff}') {
                "" => turn.raw(&line),
                data => take(&Event { raw: &line, name: None, data }, stream, turn)?,
            }
        }
    }
}
