//! How much may be used in a time.
//!
//! Times are counted from the epoch on, so that a day is a day in UTC. What an operation uses is known when it has ended: those that are under
//! way when a budget is used up end as they would.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claviger_model::{Chain, ConnectionName, Principal, PrincipalKey, Timestamp};

use super::{Exhausted, Used};
use crate::memory::{Memory, MemoryOf};

/// How much is kept at most, of budgets and principals. Beyond it, what is over is forgotten, and then whoever is new shares one.
const MOST: usize = 65_536;

/// How much may be used in a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What it is called.
    pub name: Arc<str>,
    /// Where it counts; everywhere, taken together, if it is not said.
    pub connection: Option<ConnectionName>,
    /// For whom: principals in any of these groups, by issuer and name; everybody if none is named.
    pub groups: Vec<(Arc<str>, Arc<str>)>,
    /// Whose it is.
    pub holder: Holder,
    /// In how long a time.
    pub per: Duration,
    /// How much of what.
    pub most: Vec<(Measure, u64)>,
}

/// Whose a budget is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// Each principal has one of his own, and in a chain every link's is drawn upon.
    #[default]
    Each,
    /// All share one.
    All,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Operations.
    Requests,
    /// Tokens of models.
    Tokens,
    /// What these cost, in millionths.
    Cost,
    /// Rows delivered.
    Rows,
    /// Bytes delivered.
    Bytes,
}

impl Measure {
    /// The word for it in configuration and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
            Self::Rows => "rows",
            Self::Bytes => "bytes",
        }
    }

    fn of(self, used: Used) -> u64 {
        match self {
            Self::Requests => used.requests,
            Self::Tokens => used.input.saturating_add(used.output),
            Self::Cost => used.cost,
            Self::Rows => used.rows,
            Self::Bytes => used.bytes,
        }
    }
}

impl Budget {
    /// Whose windows an operation draws upon.
    fn holders(&self, chain: &Chain, connection: &ConnectionName) -> Vec<Option<PrincipalKey>> {
        if self.connection.as_ref().is_some_and(|of| of != connection) {
            return Vec::new();
        }
        let is_for = |link: &Principal| {
            let is_in = |(issuer, group): &(Arc<str>, Arc<str>)| link.key.issuer == *issuer && link.groups.contains(group);
            self.groups.is_empty() || self.groups.iter().any(is_in)
        };
        let links = chain.links().iter().filter(|link| is_for(link));
        match self.holder {
            Holder::Each => links.map(|link| Some(link.key.clone())).collect(),
            Holder::All => links.take(1).map(|_| None).collect(),
        }
    }

    /// The number of the time that this moment is in, and how much of it is left.
    fn window(&self, now: Timestamp) -> (u64, Duration) {
        let (per, now) = (self.per.as_secs().max(1), u64::try_from(now.as_secs()).unwrap_or(0));
        (now / per, Duration::from_secs(per - now % per))
    }
}

type Key = (Arc<str>, Option<PrincipalKey>);

/// What has been used of all budgets.
#[derive(Default)]
pub(super) struct Spending(Mutex<HashMap<Key, Window>>);

#[derive(Clone, Copy)]
struct Window {
    number: u64,
    per: Duration,
    used: Used,
    /// Whether it is other than it was when it was last written down.
    changed: bool,
}

impl Window {
    fn began(self) -> Timestamp {
        let per = self.per.as_secs().max(1);
        Timestamp::from_secs(i64::try_from(self.number.saturating_mul(per)).unwrap_or(i64::MAX))
    }
}

impl Spending {
    pub(super) fn standing<'r>(
        &self,
        budgets: &'r [Budget],
        chain: &Chain,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> (u32, Option<Exhausted<'r>>) {
        let spending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut most, mut exhausted) = (0, None);
        for budget in budgets {
            let (number, wait) = budget.window(now);
            for holder in budget.holders(chain, connection) {
                let key = (Arc::clone(&budget.name), holder);
                // Who came when there was no more room shares one.
                let window = spending.get(&key).or_else(|| spending.get(&(key.0, None))).filter(|window| window.number == number);
                let used = window.map_or(Used::default(), |window| window.used);
                for (measure, limit) in &budget.most {
                    let spent = u128::from(measure.of(used)) * 100 / u128::from((*limit).max(1));
                    let percent = u32::try_from(spent).unwrap_or(u32::MAX);
                    if percent >= 100 && exhausted.is_none() {
                        exhausted = Some(Exhausted { budget, measure: *measure, wait });
                    }
                    most = most.max(percent);
                }
            }
        }
        (most, exhausted)
    }

    pub(super) fn note(&self, budgets: &[Budget], chain: &Chain, connection: &ConnectionName, used: Used, now: Timestamp) {
        if budgets.is_empty() {
            return;
        }
        let mut spending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for budget in budgets {
            let (number, _) = budget.window(now);
            for holder in budget.holders(chain, connection) {
                if spending.len() >= MOST {
                    let current = |window: &Window| u64::try_from(now.as_secs()).unwrap_or(0) / window.per.as_secs().max(1);
                    spending.retain(|_, window| window.number == current(window));
                }
                let mut key = (Arc::clone(&budget.name), holder);
                if spending.len() >= MOST && !spending.contains_key(&key) {
                    key.1 = None;
                }
                let fresh = Window { number, per: budget.per, used: Used::default(), changed: false };
                let window = spending.entry(key).or_insert(fresh);
                if window.number != number {
                    *window = fresh;
                }
                window.used.add(used);
                window.changed = true;
            }
        }
    }

    pub(super) fn take_memories(&self) -> Vec<Memory> {
        let mut spending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = |((name, holder), window): (&Key, &mut Window)| {
            let of = || MemoryOf::Budget { name: Arc::clone(name), holder: holder.clone(), used: window.used };
            let (began, until) = (window.began(), window.began().plus(window.per));
            let memory = window.changed.then(|| Memory { of: of(), began, until });
            window.changed = false;
            memory
        };
        spending.iter_mut().filter_map(memory).collect()
    }

    pub(super) fn remember(&self, of: Key, began: Timestamp, until: Timestamp, used: Used) {
        let per = began.age(until);
        let number = u64::try_from(began.as_secs()).unwrap_or(0) / per.as_secs().max(1);
        let mut spending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if spending.len() < MOST { of } else { (of.0, None) };
        let fresh = Window { number, per, used: Used::default(), changed: false };
        spending.entry(key).or_insert(fresh).used.add(used);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use claviger_model::PrincipalKind;

    use super::*;

    fn principal(name: &str, groups: &[&str]) -> Principal {
        Principal {
            key: PrincipalKey::new("local", name),
            kind: PrincipalKind::User,
            groups: groups.iter().map(|group| Arc::from(*group)).collect(),
            sponsor: None,
        }
    }

    fn budget(holder: Holder, most: &[(Measure, u64)]) -> Budget {
        let (per, most) = (Duration::from_secs(60), most.to_vec());
        Budget { name: "b".into(), connection: Some("openai".parse().unwrap()), groups: Vec::new(), holder, per, most }
    }

    fn chain(links: &[Principal]) -> Chain {
        Chain::from_links(links.to_vec()).unwrap()
    }

    const TOKENS: Used = Used { requests: 1, input: 30, output: 20, cost: 0, rows: 0, bytes: 0 };

    #[test]
    fn every_link_draws_upon_its_own() {
        let (spending, here) = (Spending::default(), "openai".parse().unwrap());
        let budgets = [budget(Holder::Each, &[(Measure::Tokens, 100), (Measure::Requests, 10)])];
        let (agent, alice) = (principal("agent", &[]), principal("alice", &[]));
        let at = Timestamp::from_secs;
        let both = chain(&[agent, alice.clone()]);
        let standing = |chain: &Chain, now| spending.standing(&budgets, chain, &here, at(now));
        spending.note(&budgets, &both, &here, TOKENS, at(61));
        assert_eq!(standing(&chain(std::slice::from_ref(&alice)), 61), (50, None));
        spending.note(&budgets, &chain(&[alice]), &here, TOKENS, at(62));
        let (percent, exhausted) = standing(&both, 70);
        let exhausted = exhausted.unwrap();
        assert_eq!((percent, exhausted.measure, exhausted.wait), (100, Measure::Tokens, Duration::from_secs(50)));
        assert_eq!(standing(&chain(&[principal("bob", &[])]), 70), (0, None));
        assert_eq!(standing(&both, 120), (0, None), "the next minute");
        let elsewhere = "other".parse().unwrap();
        assert_eq!(spending.standing(&budgets, &both, &elsewhere, at(70)), (0, None));
    }

    #[test]
    fn what_was_used_is_remembered_once() {
        let (before, here, at) = (Spending::default(), "openai".parse().unwrap(), Timestamp::from_secs);
        let budgets = [budget(Holder::Each, &[(Measure::Tokens, 100)])];
        let alice = chain(&[principal("alice", &[])]);
        before.note(&budgets, &alice, &here, TOKENS, at(61));
        let memories = before.take_memories();
        assert_eq!((memories.len(), before.take_memories()), (1, Vec::new()));
        let after = Spending::default();
        for Memory { of, began, until } in memories {
            assert_eq!((began, until), (at(60), at(120)));
            let MemoryOf::Budget { name, holder, used } = of else { panic!("{of:?}") };
            after.remember((name, holder), began, until, used);
        }
        let standing = |budgets: &[Budget], now| after.standing(budgets, &alice, &here, at(now)).0;
        assert_eq!((standing(&budgets, 119), standing(&budgets, 120)), (50, 0));
        after.note(&budgets, &alice, &here, TOKENS, at(70));
        assert_eq!((standing(&budgets, 119), after.take_memories().len()), (100, 1));
    }

    #[test]
    fn all_may_share_one_and_it_may_be_for_some() {
        let (spending, here, at) = (Spending::default(), "openai".parse().unwrap(), Timestamp::from_secs(1));
        let of = ("local".into(), "agents".into());
        let budgets = [Budget { groups: vec![of], ..budget(Holder::All, &[(Measure::Requests, 4)]) }];
        let (a, b, bob) = (principal("a", &["agents"]), principal("b", &["agents"]), principal("bob", &["people"]));
        for link in [&a, &b, &bob] {
            spending.note(&budgets, &chain(std::slice::from_ref(link)), &here, TOKENS, at);
        }
        assert_eq!(spending.standing(&budgets, &chain(&[a]), &here, at), (50, None));
        assert_eq!(spending.standing(&budgets, &chain(&[bob]), &here, at), (0, None));
    }
}
