//! Rows that the client sends along, and how they are refused (COPY; PostgreSQL manual, 55.2.6).
//!
//! They are refused as a client itself gives up: by a CopyFail, which the server answers with an error that is rewritten. So nothing is
//! written, and the session goes on. Of a frame whose beginning has left already the rest leaves blank; nothing else of the rows leaves
//! after that. What ends them, when the client gets there, means nothing to the server any more.

use bytes::Bytes;
use claviger_model::{OpId, Refusal, RefusalKind};

use super::Serving;
use super::expect::Expect;
use crate::postgres::frame::Header;
use crate::postgres::io::Io;
use crate::postgres::write;
use crate::{Recorded, Side};

/// What the client is told, and the server, which writes it into its log.
const WHY: &str = "what stands for a masked value was to be written as if it were one: nothing was written";

/// The rows that the client sends along.
#[derive(Default)]
pub(super) struct CopyIn {
    /// The operation whose rows are refused.
    refused: Option<OpId>,
    /// What becomes of the frame that has begun and not ended, and how much of its header has been seen.
    frame: Option<(Fate, usize)>,
}

/// What becomes of a frame of rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    /// Part of it has left, and as much as it has announced must follow.
    Blanked,
    Dropped,
}

impl<A> Serving<A> {
    /// A part of a frame of rows is next; `after` is how much of it follows.
    pub(super) fn send_rows(&mut self, op: OpId, bytes: Bytes, after: usize, io: &mut Io<A>) {
        let refused = self.copy_in.refused == Some(op);
        let (mut fate, header) = match self.copy_in.frame {
            Some(frame) => frame,
            None if refused => (Fate::Dropped, 0),
            None => (Fate::Passes, 0),
        };
        // A row may go on in the next frame, whose header is no part of it.
        let rest = (Header::LEN - header).min(bytes.len());
        if fate == Fate::Passes && self.must_stop(op, bytes.get(rest..).unwrap_or_default()) {
            self.copy_in.refused = Some(op);
            fate = if self.copy_in.frame.is_some() { Fate::Blanked } else { Fate::Dropped };
            if fate == Fate::Dropped {
                self.fail_copy(io);
            }
        }
        match fate {
            Fate::Passes => {
                if self.active.contains_key(&op) {
                    io.recorded.push_back(Recorded { op, from: Side::Downstream, request: false, bytes: bytes.clone() });
                }
                io.send_upstream(bytes);
            }
            Fate::Blanked => {
                io.send_upstream(vec![b' '; bytes.len()].into());
                if after == 0 {
                    self.fail_copy(io);
                }
            }
            Fate::Dropped => {}
        }
        self.copy_in.frame = Some((fate, header + rest)).filter(|_| after > 0);
    }

    fn must_stop(&mut self, op: OpId, bytes: &[u8]) -> bool {
        let masking = self.active.get_mut(&op).and_then(|active| active.masking.as_mut());
        masking.is_some_and(|masking| masking.masker().stops(bytes))
    }

    fn fail_copy(&mut self, io: &mut Io<A>) {
        io.send_upstream(write::frame(b'f', |body| write::text(body, WHY.as_bytes())));
        self.expect(Expect::CopyEnd, io);
    }

    /// The error with which the server ends rows that were refused, in our words. What ends the whole session stays as it is.
    pub(super) fn refused_copy(&self, frame: &Bytes) -> Option<Bytes> {
        let refused = self.copy_in.refused?;
        if self.answering() != Some(refused) || super::answers::is_fatal(frame) || frame.first() != Some(&b'E') {
            return None;
        }
        Some(write::error("ERROR", &Refusal::new(RefusalKind::NotPermitted, WHY)))
    }
}
