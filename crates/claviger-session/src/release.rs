//! What may be told of masked values all the same: sums over groups that are large enough, and, so often, which rows they decide.
//!
//! Whoever may filter by a masked column learns something of it with every statement, and can learn all of it with many. A budget says how
//! many he has. It is each principal's own: in a chain, every link's is drawn upon.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use claviger_model::PrincipalKey;
use claviger_policy::GROUPS_OF;

use crate::memory::{Memory, MemoryOf, Moment, until};

/// How many principals' budgets are kept at most. Beyond them nobody else is given one until some have run out.
const MOST: usize = 65_536;

/// What may be told of masked values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Over how many values at least a sum may be seen, by who may see it.
    pub groups_of: u32,
    /// How often values may decide which rows are seen, for who may filter by them; without limit if it is not said.
    pub filter_budget: Option<FilterBudget>,
    /// How long policies know which classified values somebody has seen.
    pub seen_for: Duration,
}

impl Default for Release {
    fn default() -> Self {
        Self { groups_of: GROUPS_OF, filter_budget: None, seen_for: Duration::from_secs(3600) }
    }
}

/// How many statements may filter by masked columns in how long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterBudget {
    /// How many.
    pub statements: u32,
    /// In how long a time, which begins with the first of them.
    pub per: Duration,
}

/// What has been spent of all budgets.
#[derive(Default)]
pub(crate) struct Spent(Mutex<HashMap<PrincipalKey, Window>>);

#[derive(Clone, Copy)]
struct Window {
    began: Instant,
    statements: u32,
    /// Whether it is other than it was when it was last written down.
    changed: bool,
}

impl Spent {
    /// Takes so many statements from each principal's budget, or none from any: then, how long it is until there is room.
    pub(crate) fn take<'k>(
        &self,
        budget: FilterBudget,
        principals: impl Iterator<Item = &'k PrincipalKey> + Clone,
        statements: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |window: &Window| budget.per.saturating_sub(now.saturating_duration_since(window.began));
        let room = |window: &Window| window.statements.saturating_add(statements) <= budget.statements;
        let mut new = 0;
        for principal in principals.clone() {
            match spent.get(principal).filter(|window| !left(window).is_zero()) {
                Some(window) if !room(window) => return Err(left(window)),
                Some(_) => {}
                None if statements > budget.statements => return Err(budget.per),
                None => new += usize::from(!spent.contains_key(principal)),
            }
        }
        if spent.len() + new > MOST {
            spent.retain(|_, window| !left(window).is_zero());
            if spent.len() + new > MOST {
                return Err(spent.values().map(left).min().unwrap_or_default());
            }
        }
        for principal in principals {
            let window = spent.entry(principal.clone()).or_insert(Window { began: now, statements: 0, changed: true });
            if left(window).is_zero() {
                *window = Window { began: now, statements: 0, changed: true };
            }
            window.statements = window.statements.saturating_add(statements);
            window.changed = true;
        }
        Ok(())
    }

    pub(crate) fn take_memories(&self, budget: FilterBudget, now: Moment) -> Vec<Memory> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = |(who, window): (&PrincipalKey, &mut Window)| {
            let (began, statements) = (now.day_of(window.began), window.statements);
            let of = MemoryOf::Filters { who: who.clone(), statements };
            std::mem::take(&mut window.changed).then(|| Memory { of, began, until: until(began, budget.per) })
        };
        spent.iter_mut().filter_map(memory).collect()
    }

    pub(crate) fn remember(&self, who: PrincipalKey, began: Instant, statements: u32) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() < MOST {
            spent.insert(who, Window { began, statements, changed: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: FilterBudget = FilterBudget { statements: 3, per: Duration::from_secs(60) };

    fn key(name: &str) -> PrincipalKey {
        PrincipalKey::new("local", name)
    }

    #[test]
    fn a_budget_is_each_principals_own_and_comes_back() {
        let (spent, start) = (Spent::default(), Instant::now());
        let (alice, agent) = (key("alice"), key("agent"));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(spent.take(BUDGET, [&agent, &alice].into_iter(), 2, at(0)), Ok(()));
        // One link has no room: none is drawn upon.
        assert_eq!(spent.take(BUDGET, [&key("other"), &alice].into_iter(), 2, at(20)), Err(Duration::from_secs(40)));
        assert_eq!(spent.take(BUDGET, [&key("other")].into_iter(), 3, at(20)), Ok(()));
        assert_eq!(spent.take(BUDGET, [&alice].into_iter(), 1, at(59)), Ok(()));
        assert_eq!(spent.take(BUDGET, [&alice].into_iter(), 1, at(59)), Err(Duration::from_secs(1)));
        assert_eq!(spent.take(BUDGET, [&alice].into_iter(), 3, at(60)), Ok(()));
        assert_eq!(spent.take(BUDGET, [&agent].into_iter(), 4, at(500)), Err(BUDGET.per), "more than there ever is");
    }

    #[test]
    fn the_state_is_bounded() {
        let (spent, start) = (Spent::default(), Instant::now());
        for n in 0..MOST {
            assert_eq!(spent.take(BUDGET, [&key(&n.to_string())].into_iter(), 1, start), Ok(()));
        }
        let late = start + Duration::from_secs(10);
        assert_eq!(spent.take(BUDGET, [&key("one more")].into_iter(), 1, late), Err(Duration::from_secs(50)));
        assert_eq!(spent.take(BUDGET, [&key("7")].into_iter(), 1, late), Ok(()), "who has one keeps it");
        let after = start + BUDGET.per;
        assert_eq!(spent.take(BUDGET, [&key("one more")].into_iter(), 1, after), Ok(()));
        assert_eq!(spent.0.lock().unwrap().len(), 1);
    }
}
