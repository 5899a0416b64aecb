//! What waits to be heard by the pipeline or written by the driver.

use std::collections::VecDeque;

use bytes::Bytes;
use claviger_model::OpId;

use crate::{Closed, Event, Recorded};

/// The outgoing side of everything.
pub(super) struct Io<A> {
    pub(super) events: VecDeque<Event<A>>,
    pub(super) recorded: VecDeque<Recorded>,
    upstream: VecDeque<Bytes>,
    upstream_bytes: usize,
    downstream: VecDeque<Out>,
    downstream_bytes: usize,
    closed: bool,
}

/// What waits for the client.
enum Out {
    Bytes(Bytes),
    /// What follows tells the client that an operation has ended, which must have been recorded.
    Barrier {
        op: OpId,
        released: bool,
    },
}

impl<A> Io<A> {
    pub(super) fn new() -> Self {
        Self {
            events: VecDeque::new(),
            recorded: VecDeque::new(),
            upstream: VecDeque::new(),
            upstream_bytes: 0,
            downstream: VecDeque::new(),
            downstream_bytes: 0,
            closed: false,
        }
    }

    /// Says, once, that the session is over.
    pub(super) fn close(&mut self, closed: Closed) {
        if !std::mem::replace(&mut self.closed, true) {
            self.events.push_back(Event::Closed(closed));
        }
    }

    pub(super) fn send_upstream(&mut self, bytes: Bytes) {
        self.upstream_bytes += bytes.len();
        self.upstream.push_back(bytes);
    }

    pub(super) fn send_downstream(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.downstream_bytes += bytes.len();
            self.downstream.push_back(Out::Bytes(bytes));
        }
    }

    /// What is put in the queue from here on waits for the release of this operation.
    pub(super) fn hold(&mut self, op: OpId) {
        self.downstream.push_back(Out::Barrier { op, released: false });
    }

    pub(super) fn release(&mut self, wanted: OpId) {
        for out in &mut self.downstream {
            if let Out::Barrier { op, released } = out
                && *op == wanted
            {
                *released = true;
                return;
            }
        }
    }

    /// Forgets what tells the client of unrecorded endings.
    pub(super) fn drop_held(&mut self) {
        if let Some(at) = self.downstream.iter().position(|out| matches!(out, Out::Barrier { released: false, .. })) {
            self.downstream.truncate(at);
        }
    }

    pub(super) fn poll_upstream(&mut self) -> Option<Bytes> {
        let bytes = self.upstream.pop_front()?;
        self.upstream_bytes -= bytes.len();
        Some(bytes)
    }

    pub(super) fn poll_downstream(&mut self) -> Option<Bytes> {
        loop {
            match self.downstream.front()? {
                Out::Barrier { released: false, .. } => return None,
                Out::Barrier { .. } => {
                    self.downstream.pop_front();
                }
                Out::Bytes(_) => {
                    let Some(Out::Bytes(bytes)) = self.downstream.pop_front() else { return None };
                    self.downstream_bytes -= bytes.len();
                    return Some(bytes);
                }
            }
        }
    }

    pub(super) fn upstream_bytes(&self) -> usize {
        self.upstream_bytes
    }

    pub(super) fn downstream_bytes(&self) -> usize {
        self.downstream_bytes
    }
}
