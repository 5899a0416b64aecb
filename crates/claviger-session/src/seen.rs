//! Which classified values principals have seen lately: what they know they can carry elsewhere, and policies look at it
//! (`context.seen`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claviger_model::{Cell, Disclosure, MaskPlan, Output, PrincipalKey, StatementMask};
use claviger_sql::Classification;

use crate::memory::{Memory, MemoryOf, Moment, until};
use crate::understanding::Understanding;

/// Of how many principals it is known. If there are more, it is forgotten first of whom it was noted longest ago.
const MOST: usize = 65_536;

/// What is seen again within this time is not written down again.
const GRAIN: Duration = Duration::from_secs(30);

/// What principals have seen.
#[derive(Default)]
pub(crate) struct Seen(Mutex<HashMap<PrincipalKey, BTreeMap<Arc<str>, Sight>>>);

/// When something was seen last, and which time was last written down.
struct Sight {
    at: Instant,
    kept: Option<Instant>,
}

impl Seen {
    /// They see values with these labels.
    pub(crate) fn note<'k>(&self, who: impl Iterator<Item = &'k PrincipalKey>, labels: &BTreeSet<Arc<str>>, now: Instant) {
        if labels.is_empty() {
            return;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in who {
            if seen.len() >= MOST && !seen.contains_key(key) {
                let last = |labels: &BTreeMap<Arc<str>, Sight>| labels.values().map(|sight| sight.at).max();
                let oldest = seen.iter().min_by_key(|(_, labels)| last(labels)).map(|(key, _)| key.clone());
                oldest.into_iter().for_each(|oldest| _ = seen.remove(&oldest));
            }
            let sights = seen.entry(key.clone()).or_default();
            for label in labels {
                sights.entry(Arc::clone(label)).or_insert(Sight { at: now, kept: None }).at = now;
            }
        }
    }

    /// The labels of what any of them has seen within this time.
    pub(crate) fn of<'k>(
        &self,
        who: impl Iterator<Item = &'k PrincipalKey>,
        within: Duration,
        now: Instant,
    ) -> BTreeSet<Arc<str>> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |(_, sight): &(&Arc<str>, &Sight)| now.saturating_duration_since(sight.at) <= within;
        who.filter_map(|key| seen.get(key)).flatten().filter(lately).map(|(label, _)| Arc::clone(label)).collect()
    }

    pub(crate) fn take_memories(&self, within: Duration, now: Moment) -> Vec<Memory> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memories = Vec::new();
        for (who, sights) in &mut *seen {
            let is_new = |sight: &Sight| sight.kept.is_none_or(|kept| sight.at.saturating_duration_since(kept) >= GRAIN);
            for (label, sight) in sights.iter_mut().filter(|(_, sight)| is_new(sight)) {
                sight.kept = Some(sight.at);
                let (of, began) = (MemoryOf::Seen { who: who.clone(), label: Arc::clone(label) }, now.day_of(sight.at));
                // As if it had been seen when it might have been last without being written down.
                memories.push(Memory { of, began: began.plus(GRAIN), until: until(began.plus(GRAIN), within) });
            }
        }
        memories
    }

    pub(crate) fn remember(&self, who: PrincipalKey, label: Arc<str>, at: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MOST || seen.contains_key(&who) {
            seen.entry(who).or_default().insert(label, Sight { at, kept: Some(at) });
        }
    }
}

/// The labels of the values that this shows as they are, or lets go on to where they have none, under this plan. Where that cannot be told, those
/// of all that is classified there.
pub(crate) fn shown(understanding: &Understanding, plan: Option<&MaskPlan>, classes: &Classification) -> BTreeSet<Arc<str>> {
    let Understanding::Text(text) = understanding else { return classes.labels().collect() };
    let Ok(matter) = &text.matter else { return classes.labels().collect() };
    let mut labels = BTreeSet::new();
    for (number, meaning) in matter.statements().iter().enumerate() {
        if meaning.disclosure.anything {
            labels.extend(classes.labels());
        }
        let mask = plan.and_then(|plan| plan.statements.get(number));
        labels.extend(of(&meaning.disclosure, mask));
    }
    labels
}

fn of(disclosure: &Disclosure, mask: Option<&StatementMask>) -> BTreeSet<Arc<str>> {
    let is_plain = |number: usize| mask.and_then(|mask| mask.cells.get(number)).is_none_or(|cell| *cell == Cell::Plain);
    let outputs = disclosure.outputs.iter().enumerate().filter(|(number, _)| is_plain(*number));
    let rest = disclosure.rest.iter().flatten().filter(|_| mask.is_none_or(|mask| mask.rest == Cell::Plain));
    // What would be carried on masked is refused.
    let carried = disclosure.carried.iter().map(|carried| &carried.from);
    let columns = outputs.flat_map(|(_, output)| Output::columns(output)).chain(rest).chain(carried);
    columns.flat_map(|column| column.labels.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::panic)]

    use claviger_model::Timestamp;

    use super::*;

    #[test]
    fn what_was_seen_is_forgotten_in_time() {
        let (seen, start) = (Seen::default(), Instant::now());
        let (alice, bob) = (PrincipalKey::new("local", "alice"), PrincipalKey::new("local", "bob"));
        let labels = |labels: &[&str]| labels.iter().map(|label| Arc::from(*label)).collect::<BTreeSet<Arc<str>>>();
        let hour = Duration::from_secs(3600);
        seen.note([&alice].into_iter(), &labels(&["pii", "phi"]), start);
        seen.note([&alice].into_iter(), &labels(&["pii"]), start + hour / 2);
        let of = |who: &PrincipalKey, at| seen.of([who].into_iter(), hour, start + at);
        assert_eq!(of(&alice, hour), labels(&["phi", "pii"]));
        assert_eq!(of(&alice, hour * 5 / 4), labels(&["pii"]));
        assert!(of(&alice, hour * 2).is_empty() && of(&bob, hour).is_empty());
    }

    #[test]
    fn what_was_seen_is_remembered_and_never_for_less_than_its_time() {
        let (seen, start) = (Seen::default(), Instant::now() + Duration::from_secs(100_000));
        let alice = PrincipalKey::new("local", "alice");
        let pii: BTreeSet<Arc<str>> = [Arc::from("pii")].into();
        let hour = Duration::from_secs(3600);
        let moment = |seconds: u64| {
            let later = Duration::from_secs(seconds);
            Moment { steady: start + later, day: Timestamp::from_secs(1_000_000).plus(later) }
        };
        seen.note([&alice].into_iter(), &pii, start);
        let memories = seen.take_memories(hour, moment(1));
        assert_eq!((memories.len(), memories[0].began), (1, Timestamp::from_secs(1_000_000).plus(GRAIN)));
        seen.note([&alice].into_iter(), &pii, start + GRAIN / 2);
        assert!(seen.take_memories(hour, moment(20)).is_empty(), "so often is not written");
        seen.note([&alice].into_iter(), &pii, start + GRAIN);
        assert_eq!(seen.take_memories(hour, moment(40)).len(), 1);

        // The next gateway.
        for (age, known) in [(60, true), (3600, true), (3700, false)] {
            let after = Seen::default();
            let now = moment(age);
            let Memory { of: MemoryOf::Seen { who, label }, began, .. } = memories[0].clone() else { panic!() };
            after.remember(who, label, now.steady_of(began));
            assert_eq!(after.of([&alice].into_iter(), hour, now.steady).contains("pii"), known, "{age}");
        }
    }
}
