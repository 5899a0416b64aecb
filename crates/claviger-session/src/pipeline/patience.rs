//! How long an open session waits for one side to go on, where its protocol says that this has an end.
//!
//! What is waited for is noted at each turn; the time is looked at when a deadline has come, which costs a turn nothing.

use std::time::{Duration, Instant};

use claviger_model::{Refusal, RefusalKind};
use claviger_protocols::{Awaited, Side};

use super::serving::End;
use super::{Pipeline, Stage};
use crate::Deadlines;

/// A session that is to end does not wait for a client that takes nothing for so long. The kernel says that there is room only when a
/// good part of its buffer is free, so a client that reads slowly needs a while to be seen reading.
const STALL: Duration = Duration::from_secs(10);

/// What is waited for, and since when nothing has come of it.
pub(super) struct Patience {
    awaited: Option<Awaited>,
    since: Instant,
    /// Whether something was read of either side since that was looked at.
    moved: [bool; 2],
    /// Bytes to the client by then.
    out: u64,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self { awaited: None, since: now, moved: [false; 2], out: 0 }
    }

    /// Bytes have come from this side.
    pub(super) fn came(&mut self, from: Side) {
        let [client, upstream] = &mut self.moved;
        *(if from == Side::Downstream { client } else { upstream }) = true;
    }

    /// Whether it is the upstream that is waited for, and so must be seen when the client goes, however much that has sent ahead.
    pub(super) fn is_for_upstream(&self) -> bool {
        self.awaited == Some(Awaited::Answer)
    }

    /// Notes what is waited for now. True if it is something else than before.
    fn note(&mut self, awaited: Option<Awaited>, out: u64, now: Instant) -> bool {
        let [client, upstream] = std::mem::take(&mut self.moved);
        let goes_on = match awaited {
            None | Some(Awaited::Message) => false,
            Some(Awaited::Content) => client || upstream,
            Some(Awaited::Answer) => upstream,
            Some(Awaited::Room) => out != self.out,
        };
        let is_new = awaited != self.awaited;
        if is_new || goes_on {
            (self.awaited, self.since, self.out) = (awaited, now, out);
        }
        is_new
    }

    /// Until when something must come.
    fn due(&self, deadlines: &Deadlines) -> Option<Instant> {
        let limit: Option<Duration> = match self.awaited? {
            Awaited::Message | Awaited::Content => deadlines.request,
            Awaited::Answer | Awaited::Room => deadlines.response,
        };
        self.since.checked_add(limit?)
    }

    /// Why the session must end now, or when to look again.
    pub(super) fn look(&self, deadlines: &Deadlines, now: Instant) -> Result<Option<Instant>, End> {
        let due = self.due(deadlines);
        match self.awaited {
            Some(awaited) if due.is_some_and(|due| now >= due) => Err(lost(awaited)),
            _ => Ok(due),
        }
    }
}

fn lost(awaited: Awaited) -> End {
    let (kind, message, code) = match awaited {
        Awaited::Message | Awaited::Content => {
            (RefusalKind::TimedOut, "the rest of the request did not come in time", "client.timeout")
        }
        Awaited::Answer => (RefusalKind::UpstreamTimedOut, "the upstream did not answer in time", "upstream.timeout"),
        Awaited::Room => (RefusalKind::TimedOut, "the answer was not taken in time", "client.stalled"),
    };
    (Refusal::new(kind, message), code)
}

impl Pipeline {
    /// Looks at what an open session has until when.
    pub(super) fn look(&mut self, now: Instant) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        if self.ending.is_some() {
            return;
        }
        let held = serving.look_at_held(&self.gateway, now);
        let deadlines = self.gateway.rules().deadlines;
        let looked = serving.look(&deadlines, now).and_then(|again| Ok((again, self.patience.look(&deadlines, now)?)));
        let looked = looked.map(|(again, due)| [held, due].into_iter().flatten().fold(again, Instant::min));
        let (winding_up, waits_for_the_record) = (serving.winding_up().cloned(), serving.waits_for_the_record());
        match (looked, winding_up) {
            (Ok(again), None) => self.deadline = Some(again),
            (Ok(again), Some((refusal, code))) => {
                // A client that does not read finishes nothing; but what waits for the record is not its doing.
                let full = !self.protocol.wants_input(Side::Upstream) && !waits_for_the_record;
                let stalled = full.then_some(self.traffic.bytes_out);
                if stalled.is_some() && stalled == self.stalled {
                    return self.end(refusal, code, now);
                }
                self.stalled = stalled;
                self.deadline = now.checked_add(STALL).map(|soon| soon.min(again));
            }
            (Err((refusal, code)), _) => self.end(refusal, code, now),
        }
    }

    /// Looks what is waited for after a turn.
    pub(super) fn watch(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::Serving(_)) || self.ending.is_some() {
            return;
        }
        if self.patience.note(self.protocol.awaits(), self.traffic.bytes_out, now) {
            let due = self.patience.due(&self.gateway.rules().deadlines);
            self.deadline = [self.deadline, due].into_iter().flatten().min();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_wait_has_its_end_and_begins_anew_with_what_comes() {
        let start = Instant::now();
        let deadlines = Deadlines { request: Some(SECOND * 10), response: Some(SECOND * 100), ..Deadlines::default() };
        let at = |seconds: u32| start + SECOND * seconds;
        let code = |patience: &Patience, now| patience.look(&deadlines, now).err().map(|(_, code)| code);
        let mut patience = Patience::new(start);
        assert_eq!(patience.look(&deadlines, at(1000)).ok(), Some(None), "nothing is waited for");
        assert!(patience.note(Some(Awaited::Content), 0, at(1)));
        assert!(!patience.note(Some(Awaited::Content), 0, at(5)));
        assert_eq!(patience.look(&deadlines, at(5)).ok(), Some(Some(at(11))));
        assert_eq!(code(&patience, at(11)), Some("client.timeout"));
        patience.came(Side::Downstream);
        patience.note(Some(Awaited::Content), 0, at(8));
        assert_eq!(patience.look(&deadlines, at(11)).ok(), Some(Some(at(18))));
        patience.note(Some(Awaited::Answer), 0, at(9));
        patience.came(Side::Downstream);
        patience.note(Some(Awaited::Answer), 0, at(50));
        assert_eq!(code(&patience, at(109)), Some("upstream.timeout"), "what the client sends is no answer");
        patience.came(Side::Upstream);
        patience.note(Some(Awaited::Answer), 0, at(108));
        assert_eq!(code(&patience, at(207)), None);
        patience.note(Some(Awaited::Room), 5, at(200));
        patience.came(Side::Downstream);
        patience.note(Some(Awaited::Room), 5, at(250));
        assert_eq!(code(&patience, at(300)), Some("client.stalled"));
        patience.note(Some(Awaited::Room), 6, at(299));
        assert_eq!(code(&patience, at(300)), None);
        patience.note(Some(Awaited::Message), 6, at(300));
        patience.came(Side::Downstream);
        patience.note(Some(Awaited::Message), 6, at(305));
        assert_eq!(code(&patience, at(310)), Some("client.timeout"), "byte by byte is not in time");
        let none = Deadlines { request: None, response: None, ..deadlines };
        assert_eq!(patience.look(&none, at(1_000_000)).ok(), Some(None));
    }
}
