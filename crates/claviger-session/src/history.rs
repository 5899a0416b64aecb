//! What principals have done lately, for those who review what they ask for. It is kept in memory alone: the record is elsewhere.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claviger_audit::{OutcomeStatus, StatementFacts, Verdict};
use claviger_model::{OpId, PrincipalKey, SessionId, Timestamp};

/// How many operations of each principal are remembered.
const EACH: usize = 20;
/// Of how many principals.
const MOST: usize = 1000;
/// What does more than so many things is remembered by its kind alone.
const MOST_EFFECTS: usize = 50;
/// How many completion tags are remembered of each.
const MOST_TAGS: usize = 3;

/// An operation that was asked for.
#[derive(Clone, Debug)]
pub struct Past {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub connection: Arc<str>,
    /// In which session.
    pub session: SessionId,
    /// Which of its operations.
    pub op: OpId,
    /// What it does, as far as that is understood.
    pub statements: Arc<[StatementFacts]>,
    /// How it was decided.
    pub verdict: Verdict,
    /// How it ended, if it has, with completion tags such as `DELETE 5`.
    pub outcome: Option<(OutcomeStatus, Vec<String>)>,
}

/// What one principal has done lately, oldest first.
pub(crate) type Ring = Arc<Mutex<VecDeque<Past>>>;

/// What principals have done lately.
#[derive(Default)]
pub(crate) struct History(Mutex<Rings>);

#[derive(Default)]
struct Rings {
    rings: HashMap<PrincipalKey, (Ring, u64)>,
    /// Counts the sessions that began.
    sessions: u64,
}

impl History {
    /// Where a session of this principal notes what it does. If there are too many, the one without sessions whose last began longest ago is
    /// forgotten.
    pub(crate) fn begin(&self, who: &PrincipalKey) -> Ring {
        let mut rings = lock(&self.0);
        rings.sessions += 1;
        let now = rings.sessions;
        if !rings.rings.contains_key(who) && rings.rings.len() >= MOST {
            let idle = rings.rings.iter().filter(|(_, (ring, _))| Arc::strong_count(ring) == 1);
            let oldest = idle.min_by_key(|(_, (_, last))| *last).map(|(who, _)| who.clone());
            match oldest {
                Some(oldest) => _ = rings.rings.remove(&oldest),
                // All are busy: this one's is its own.
                None => return Ring::default(),
            }
        }
        let (ring, last) = rings.rings.entry(who.clone()).or_default();
        *last = now;
        Arc::clone(ring)
    }

    /// What a principal has done lately, newest first.
    pub(crate) fn of(&self, who: &PrincipalKey) -> Vec<Past> {
        let ring = lock(&self.0).rings.get(who).map(|(ring, _)| Arc::clone(ring));
        ring.map(|ring| lock(&ring).iter().rev().cloned().collect()).unwrap_or_default()
    }
}

/// Notes an operation.
pub(crate) fn note(ring: &Ring, past: Past) {
    let effects: usize = past.statements.iter().map(|facts| facts.effects.len()).sum();
    let kind =
        |facts: &StatementFacts| StatementFacts { class: facts.class, effects: Vec::new(), hazards: facts.hazards.clone() };
    let statements =
        if effects > MOST_EFFECTS { past.statements.iter().take(1).map(kind).collect() } else { Arc::clone(&past.statements) };
    let mut ring = lock(ring);
    if ring.len() >= EACH {
        ring.pop_front();
    }
    ring.push_back(Past { statements, ..past });
}

/// Notes how an operation has ended, if it is still remembered.
pub(crate) fn note_end(ring: &Ring, session: SessionId, op: OpId, status: OutcomeStatus, tags: &[String]) {
    let mut ring = lock(ring);
    if let Some(past) = ring.iter_mut().rev().find(|past| past.op == op && past.session == session) {
        past.outcome = Some((status, tags.iter().take(MOST_TAGS).cloned().collect()));
    }
}

/// A panic elsewhere leaves a list that is whole: each change of it is one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    fn past(op: u64) -> Past {
        Past {
            at: Timestamp::from_secs(0),
            connection: "bank".into(),
            session: SessionId::from_bytes([1; 16]),
            op: OpId(op),
            statements: Arc::default(),
            verdict: Verdict::Permit,
            outcome: None,
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let history = History::default();
        let who = |n: usize| PrincipalKey::new("local", format!("bot-{n}"));
        let busy = history.begin(&who(0));
        (0..100).for_each(|op| note(&busy, past(op)));
        note_end(&busy, SessionId::from_bytes([1; 16]), OpId(98), OutcomeStatus::Completed, &["DELETE 5".to_owned()]);
        note_end(&busy, SessionId::from_bytes([1; 16]), OpId(5), OutcomeStatus::Completed, &[]);
        let known = history.of(&who(0));
        assert_eq!((known.len(), known[0].op, known[1].op), (EACH, OpId(99), OpId(98)));
        assert_eq!(known[1].outcome, Some((OutcomeStatus::Completed, vec!["DELETE 5".to_owned()])));
        (1..=2 * MOST).for_each(|n| note(&history.begin(&who(n)), past(1)));
        assert_eq!(history.of(&who(0)).len(), EACH, "it has a session");
        assert_eq!((history.of(&who(1)).len(), history.of(&who(2 * MOST)).len()), (0, 1));
        assert!(lock(&history.0).rings.len() <= MOST);
    }
}
