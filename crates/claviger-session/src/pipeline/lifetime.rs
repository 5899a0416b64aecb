//! When an open session ends without anybody doing anything in it: its token's end, its age, its idleness, and orders that can
//! wait until what is under way has ended.

use std::time::{Duration, Instant};

use claviger_model::{Refusal, RefusalKind};

use super::serving::End;
use crate::Deadlines;

/// What bounds an open session in time.
pub(super) struct Lifetime {
    since: Instant,
    expires: Instant,
    /// When something last happened in it.
    stirred: Instant,
    closing: Option<Closing>,
}

/// An end that waits for what is under way, but no longer than until then.
struct Closing {
    end: End,
    until: Instant,
    /// Whether it comes as soon as nothing is under way, and not only when something new is asked for.
    eager: bool,
}

/// What is going on in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Something is under way.
    Busy,
    /// A transaction is open, and its client says nothing.
    InTransaction,
    /// Nothing.
    Quiet,
}

impl Lifetime {
    pub(super) fn new(now: Instant, expires_in: Duration) -> Self {
        Self { since: now, expires: after(now, expires_in), stirred: now, closing: None }
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Something has happened.
    pub(super) fn stir(&mut self, now: Instant) {
        self.stirred = now;
    }

    /// Why the session is about to end, so that nothing new may begin in it.
    pub(super) fn closing(&self) -> Option<&End> {
        self.closing.as_ref().map(|closing| &closing.end)
    }

    /// Whether the session is to end as soon as nothing is under way.
    pub(super) fn is_eager(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.eager)
    }

    /// The session is to end when nothing is under way any more, at the latest after so long.
    pub(super) fn wind_up(&mut self, end: End, now: Instant, within: Duration) {
        let until = after(now, within);
        let closing = self.closing.get_or_insert(Closing { end, until, eager: true });
        closing.until = closing.until.min(until);
        closing.eager = true;
    }

    /// Why the session must end now, or when to look again.
    pub(super) fn look(&mut self, deadlines: &Deadlines, activity: Activity, now: Instant) -> Result<Instant, End> {
        let oldest = deadlines.max_age.map(|age| after(self.since, age));
        if self.closing.is_none() && now >= self.expires {
            let refusal = Refusal::new(RefusalKind::Unauthenticated, "the token has expired");
            let until = after(now, deadlines.expiry_grace);
            self.closing = Some(Closing { end: (refusal, "token.expired"), until, eager: false });
        } else if self.closing.is_none() && oldest.is_some_and(|oldest| now >= oldest) {
            let refusal = Refusal::new(RefusalKind::Terminated, "the session has lasted as long as it may");
            self.wind_up((refusal, "session.max_age"), now, deadlines.drain);
        }
        // However it is to end, it has no more after its token's end than the grace.
        let lapses = after(self.expires, deadlines.expiry_grace);
        if let Some(Closing { end, until, .. }) = &mut self.closing {
            *until = (*until).min(lapses);
            return if activity == Activity::Quiet || now >= *until { Err(end.clone()) } else { Ok(*until) };
        }
        let idle = self.look_for_idleness(deadlines, activity, now)?;
        Ok([oldest, idle].into_iter().flatten().fold(self.expires, Instant::min))
    }

    /// Looked at now and then, not at each operation: what is due is found late by no more than the time until it is due.
    fn look_for_idleness(&self, deadlines: &Deadlines, activity: Activity, now: Instant) -> Result<Option<Instant>, End> {
        let (limit, end) = match activity {
            Activity::Busy => (None, None),
            Activity::InTransaction => {
                let refusal =
                    Refusal::new(RefusalKind::IdleInTransaction, "nothing was done in the open transaction for too long");
                (deadlines.idle_in_transaction, Some((refusal, "session.idle_in_transaction")))
            }
            Activity::Quiet => {
                let refusal = Refusal::new(RefusalKind::Idle, "nothing was done in the session for too long");
                (deadlines.idle, Some((refusal, "session.idle")))
            }
        };
        let due = limit.map(|limit| after(self.stirred, limit));
        if let (Some(due), Some(end)) = (due, end)
            && now >= due
        {
            return Err(end);
        }
        let period = [deadlines.idle, deadlines.idle_in_transaction].into_iter().flatten().min();
        let again = period.map(|period| after(now, period));
        Ok([due, again].into_iter().flatten().min())
    }
}

/// A time so far away that it cannot be said never comes.
fn after(instant: Instant, duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    instant.checked_add(duration.min(CENTURY)).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn code(result: Result<Instant, End>) -> Option<&'static str> {
        result.err().map(|(_, code)| code)
    }

    #[test]
    fn what_is_under_way_has_its_time() {
        let start = Instant::now();
        let deadlines = Deadlines { expiry_grace: SECOND * 5, ..Deadlines::default() };
        let mut life = Lifetime::new(start, SECOND * 10);
        assert_eq!(life.look(&deadlines, Activity::Quiet, start).ok(), Some(start + SECOND * 10));
        assert!(life.closing().is_none());
        let expired = start + SECOND * 10;
        assert_eq!(life.look(&deadlines, Activity::InTransaction, expired).ok(), Some(start + SECOND * 15));
        assert_eq!(life.closing().map(|(_, code)| *code), Some("token.expired"));
        // Another order does not prolong it.
        life.wind_up((Refusal::new(RefusalKind::Terminated, "x"), "gateway.stop"), expired, SECOND * 30);
        assert_eq!(code(life.look(&deadlines, Activity::Busy, start + SECOND * 14)), None);
        assert_eq!(code(life.look(&deadlines, Activity::Quiet, start + SECOND * 14)), Some("token.expired"));
        assert_eq!(code(life.look(&deadlines, Activity::Busy, start + SECOND * 15)), Some("token.expired"));
    }

    #[test]
    fn no_other_end_outlives_the_token_by_more_than_its_grace() {
        let start = Instant::now();
        let deadlines = Deadlines { expiry_grace: SECOND * 5, ..Deadlines::default() };
        let mut life = Lifetime::new(start, SECOND * 10);
        life.wind_up((Refusal::new(RefusalKind::Terminated, "x"), "gateway.stop"), start + SECOND * 8, SECOND * 900);
        assert_eq!(life.look(&deadlines, Activity::InTransaction, start + SECOND * 8).ok(), Some(start + SECOND * 15));
        assert_eq!(code(life.look(&deadlines, Activity::InTransaction, start + SECOND * 15)), Some("gateway.stop"));
    }

    #[test]
    fn idleness_and_age_are_off_until_they_are_set() {
        let start = Instant::now();
        let mut life = Lifetime::new(start, SECOND * 1_000_000);
        let late = start + SECOND * 999_999;
        for activity in [Activity::Busy, Activity::InTransaction, Activity::Quiet] {
            assert_eq!(code(life.look(&Deadlines::default(), activity, late)), None);
        }
        let deadlines = Deadlines {
            idle: Some(SECOND * 60),
            idle_in_transaction: Some(SECOND * 5),
            max_age: Some(SECOND * 200),
            ..Deadlines::default()
        };
        let at = |seconds: u32| start + SECOND * seconds;
        let mut life = Lifetime::new(start, SECOND * 1000);
        assert_eq!(life.look(&deadlines, Activity::Busy, at(100)).ok(), Some(at(105)));
        life.stir(at(102));
        assert_eq!(life.look(&deadlines, Activity::InTransaction, at(105)).ok(), Some(at(107)));
        assert_eq!(code(life.look(&deadlines, Activity::InTransaction, at(107))), Some("session.idle_in_transaction"));
        assert_eq!(code(life.look(&deadlines, Activity::Quiet, at(161))), None);
        assert_eq!(code(life.look(&deadlines, Activity::Quiet, at(162))), Some("session.idle"));
        assert_eq!(life.look(&deadlines, Activity::Busy, at(200)).ok(), Some(at(230)));
        assert_eq!(code(life.look(&deadlines, Activity::Quiet, at(201))), Some("session.max_age"));
    }
}
