//! Recording refusals, so that those who are refused cannot fill the disk.
//!
//! A refusal is a leaf of its own as long as they are few. Beyond that they are counted, exactly, and the counts become leaves
//! now and then: who is refused a thousand times a second leaves a leaf every ten seconds that says ten thousand.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claviger_audit::{Leaf, LeafKind, RefusalsLeaf};
use claviger_model::Timestamp;

/// Counts become leaves when they are so old, in seconds.
const GATHER: i64 = 10;
/// The most principals that have an allowance of their own; all others share that of strangers.
const MOST_KNOWN: usize = 1024;
/// The most counts at the same time; beyond that only reasons are told apart.
const MOST_COUNTS: usize = 256;
/// The most addresses that a count names.
const MOST_ADDRESSES: usize = 8;
/// So many times a second's allowance may come at once.
const BURST: i64 = 10;
const SECOND: i64 = 1_000_000;

/// Who is refused: the actor of the chain, if one was proved; to what, if something was selected; and why.
type Sort = (Option<Arc<str>>, Option<Arc<str>>, &'static str);

/// What has been refused lately.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<Lately>);

#[derive(Default)]
struct Lately {
    /// What each may still be refused one by one, in millionths, and as of when.
    allowances: HashMap<Option<Arc<str>>, (i64, Timestamp)>,
    counts: BTreeMap<Sort, Count>,
}

struct Count {
    since: Timestamp,
    until: Timestamp,
    count: u64,
    addresses: BTreeMap<IpAddr, u64>,
}

impl Refusals {
    /// Notes a refusal: true if it is to have a leaf of its own, else it has been counted.
    pub(crate) fn note(
        &self,
        who: Option<&Arc<str>>,
        connection: Option<&Arc<str>>,
        code: &'static str,
        from: IpAddr,
        per_second: u32,
        now: Timestamp,
    ) -> bool {
        let mut lately = self.lock();
        if lately.allows(who, i64::from(per_second), now) {
            return true;
        }
        let mut sort = (who.cloned(), connection.cloned(), code);
        if lately.counts.len() >= MOST_COUNTS && !lately.counts.contains_key(&sort) {
            sort = (None, None, code);
        }
        let count = lately.counts.entry(sort).or_insert(Count { since: now, until: now, count: 0, addresses: BTreeMap::new() });
        count.until = now;
        count.count += 1;
        if count.addresses.len() < MOST_ADDRESSES || count.addresses.contains_key(&from) {
            *count.addresses.entry(from).or_default() += 1;
        }
        false
    }

    /// Makes leaves of the counts that are old enough, or of all, and forgets them when `append` has taken the leaves. Meanwhile
    /// others may go on counting.
    pub(crate) fn record<E>(&self, all: bool, now: Timestamp, append: impl FnOnce(Vec<Leaf>) -> Result<(), E>) -> Result<(), E> {
        let due = self.lock().take_due(all, now);
        if due.is_empty() {
            return Ok(());
        }
        let leaves = due.iter().map(|(sort, count)| Leaf { time: now, kind: LeafKind::Refusals(count.leaf(sort)) }).collect();
        append(leaves).inspect_err(|_| self.lock().put_back(due))
    }

    fn lock(&self) -> MutexGuard<'_, Lately> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lately {
    fn take_due(&mut self, all: bool, now: Timestamp) -> BTreeMap<Sort, Count> {
        let is_due = |count: &Count| all || count.since.plus_secs(GATHER) <= now;
        self.counts.extract_if(.., |_, count| is_due(count)).collect()
    }

    /// Adds counts to those that have begun since they were taken.
    fn put_back(&mut self, counts: BTreeMap<Sort, Count>) {
        for (sort, count) in counts {
            match self.counts.entry(sort) {
                Entry::Vacant(place) => _ = place.insert(count),
                Entry::Occupied(mut newer) => newer.get_mut().add(count),
            }
        }
    }

    /// Whether one more may be recorded by itself; if so, it is taken from the allowance.
    fn allows(&mut self, who: Option<&Arc<str>>, per_second: i64, now: Timestamp) -> bool {
        let full = per_second.saturating_mul(BURST).saturating_mul(SECOND);
        let grown = |left: i64, since: Timestamp| {
            let micros = i64::try_from(since.age(now).as_micros()).unwrap_or(i64::MAX);
            left.saturating_add(micros.saturating_mul(per_second)).min(full)
        };
        let mut who = who.cloned();
        if who.is_some() && self.allowances.len() > MOST_KNOWN && !self.allowances.contains_key(&who) {
            self.allowances.retain(|_, (left, since)| grown(*left, *since) < full);
            if self.allowances.len() > MOST_KNOWN {
                who = None;
            }
        }
        let (left, since) = self.allowances.entry(who).or_insert((full, now));
        (*left, *since) = (grown(*left, *since), now);
        let allowed = *left >= SECOND;
        if allowed {
            *left -= SECOND;
        }
        allowed
    }
}

impl Count {
    /// Adds an earlier count.
    fn add(&mut self, earlier: Self) {
        self.since = earlier.since;
        self.count += earlier.count;
        for (address, count) in earlier.addresses {
            if self.addresses.len() < MOST_ADDRESSES || self.addresses.contains_key(&address) {
                *self.addresses.entry(address).or_default() += count;
            }
        }
    }

    fn leaf(&self, (who, connection, code): &Sort) -> RefusalsLeaf {
        RefusalsLeaf {
            since: self.since,
            until: self.until,
            who: who.clone(),
            connection: connection.clone(),
            reason: (*code).into(),
            count: self.count,
            addresses: self.addresses.iter().map(|(address, count)| (address.to_string(), *count)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_795_230_245_000_000 + millis * 1000)
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn taken(refusals: &Refusals, all: bool, now: Timestamp) -> Vec<RefusalsLeaf> {
        let mut leaves = Vec::new();
        let append = |new: Vec<Leaf>| {
            leaves = new;
            Ok::<_, ()>(())
        };
        refusals.record(all, now, append).unwrap();
        let refusals = leaves.into_iter().map(|leaf| match leaf.kind {
            LeafKind::Refusals(refusals) => refusals,
            other => panic!("{other:?}"),
        });
        refusals.collect()
    }

    #[test]
    fn each_refusal_is_a_leaf_or_counted() {
        let refusals = Refusals::default();
        let note = |i: i64| refusals.note(None, None, "token.malformed", address(u8::try_from(i % 20).unwrap()), 2, time(i));
        let own = (0..1000).filter(|i| note(*i)).count();
        // Twenty at once, and two a second.
        assert_eq!(own, 21);
        assert!(taken(&refusals, false, time(1000)).is_empty(), "they are gathered first");
        let [leaf] = taken(&refusals, false, time(12_000)).try_into().unwrap();
        assert_eq!((leaf.count, leaf.addresses.len(), &*leaf.reason), (979, MOST_ADDRESSES, "token.malformed"));
        assert!(leaf.addresses.iter().map(|(_, count)| count).sum::<u64>() < 979);
        assert!(taken(&refusals, true, time(13_000)).is_empty());
        assert!(note(20_000), "and later they are leaves again");
    }

    #[test]
    fn nobody_uses_up_the_allowance_of_another() {
        let refusals = Refusals::default();
        let (eve, bank): (Arc<str>, Arc<str>) = ("eve@local".into(), "bank".into());
        (0..100).for_each(|_| _ = refusals.note(None, None, "token.malformed", address(1), 1, time(0)));
        assert!(refusals.note(Some(&eve), Some(&bank), "policy.deny", address(1), 1, time(0)));
        // But there is no end to names.
        let own = (0..5000).filter(|i| {
            let name: Arc<str> = format!("n{i}@corp").into();
            refusals.note(Some(&name), Some(&bank), "policy.deny", address(1), 1, time(0))
        });
        assert!(own.count() <= MOST_KNOWN);
        let counted = taken(&refusals, true, time(1));
        assert!(counted.len() <= MOST_COUNTS + 2);
        assert_eq!(counted.iter().map(|leaf| leaf.count).sum::<u64>(), 90 + 5000 - 1023);
    }

    #[test]
    fn counts_stay_until_they_are_recorded() {
        let refusals = Refusals::default();
        (0..100).for_each(|_| _ = refusals.note(None, None, "login.timeout", address(1), 1, time(0)));
        let meanwhile = |_| {
            assert!(!refusals.note(None, None, "login.timeout", address(2), 1, time(1)), "nobody waits for the log");
            Err(())
        };
        assert!(refusals.record(true, time(1), meanwhile).is_err());
        let [leaf] = taken(&refusals, true, time(2)).try_into().unwrap();
        assert_eq!((leaf.count, leaf.since, leaf.until), (91, time(0), time(1)));
        assert_eq!(leaf.addresses, [("192.0.2.1".to_owned(), 90), ("192.0.2.2".to_owned(), 1)]);
    }
}
