//! Which classified values principals have seen lately: what they know they can carry elsewhere, and policies look at it
//! (`context.seen`). It is kept in memory alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claviger_model::{Cell, Disclosure, MaskPlan, Output, PrincipalKey, StatementMask};
use claviger_sql::Classification;

use crate::understanding::Understanding;

/// Of how many principals it is known. If there are more, it is forgotten first of whom it was noted longest ago.
const MOST: usize = 65_536;

/// What principals have seen.
#[derive(Default)]
pub(crate) struct Seen(Mutex<HashMap<PrincipalKey, BTreeMap<Arc<str>, Instant>>>);

impl Seen {
    /// They see values with these labels.
    pub(crate) fn note<'k>(&self, who: impl Iterator<Item = &'k PrincipalKey>, labels: &BTreeSet<Arc<str>>, now: Instant) {
        if labels.is_empty() {
            return;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in who {
            if seen.len() >= MOST && !seen.contains_key(key) {
                let last = |labels: &BTreeMap<Arc<str>, Instant>| labels.values().max().copied();
                let oldest = seen.iter().min_by_key(|(_, labels)| last(labels)).map(|(key, _)| key.clone());
                oldest.into_iter().for_each(|oldest| _ = seen.remove(&oldest));
            }
            seen.entry(key.clone()).or_default().extend(labels.iter().map(|label| (Arc::clone(label), now)));
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
        let lately = |(_, at): &(&Arc<str>, &Instant)| now.saturating_duration_since(**at) <= within;
        who.filter_map(|key| seen.get(key)).flatten().filter(lately).map(|(label, _)| Arc::clone(label)).collect()
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
}
