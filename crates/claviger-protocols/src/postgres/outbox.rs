//! Bytes on their way to one side, in order, with barriers that only a release opens.

use std::collections::VecDeque;

use bytes::Bytes;
use claviger_model::OpId;

/// A queue of bytes and barriers.
#[derive(Default)]
pub(super) struct Outbox {
    items: VecDeque<Part>,
    len: usize,
}

enum Part {
    Bytes(Bytes),
    Barrier(OpId),
}

impl Outbox {
    /// Adds bytes at the end.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len();
            self.items.push_back(Part::Bytes(bytes));
        }
    }

    /// What follows waits for the release of this operation.
    pub(super) fn barrier(&mut self, op: OpId) {
        self.items.push_back(Part::Barrier(op));
    }

    /// Opens this operation's barrier.
    pub(super) fn release(&mut self, op: OpId) {
        if let Some(at) = self.items.iter().position(|part| matches!(part, Part::Barrier(own) if *own == op)) {
            self.items.remove(at);
        }
    }

    /// The next bytes that no barrier stops.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        match self.items.pop_front()? {
            Part::Bytes(bytes) => {
                self.len -= bytes.len();
                Some(bytes)
            }
            barrier @ Part::Barrier(_) => {
                self.items.push_front(barrier);
                None
            }
        }
    }

    /// Drops the first barrier and all behind it; says whether there was one. Barriers stand at frame boundaries only.
    pub(super) fn cut(&mut self) -> bool {
        let Some(at) = self.items.iter().position(|part| matches!(part, Part::Barrier(_))) else { return false };
        self.items.truncate(at);
        self.len = self.items.iter().map(|part| if let Part::Bytes(bytes) = part { bytes.len() } else { 0 }).sum();
        true
    }

    /// The bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}
