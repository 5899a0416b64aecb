//! A map that forgets: bounded, and shared by threads.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many parts it has, so that threads seldom wait for one another.
const SHARDS: usize = 16;

/// Two generations a shard: when the young is full, the old is forgotten and the young grows old. What is asked for stays.
pub(crate) struct Cache<K, V> {
    hasher: RandomState,
    shards: Vec<Mutex<Generations<K, V>>>,
    /// The most entries of one generation of one shard.
    room: usize,
}

struct Generations<K, V> {
    young: HashMap<K, V, RandomState>,
    old: HashMap<K, V, RandomState>,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// One that holds at most this many entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let hasher = RandomState::new();
        let empty = || HashMap::with_hasher(hasher.clone());
        let shards = (0..SHARDS).map(|_| Mutex::new(Generations { young: empty(), old: empty() })).collect();
        Self { hasher, shards, room: (capacity / SHARDS / 2).max(1) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut shard = self.shard(key)?;
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = shard.old.remove_entry(key)?;
        self.add(&mut shard, key, value.clone());
        Some(value)
    }

    pub(crate) fn put(&self, key: K, value: V) {
        if let Some(mut shard) = self.shard(&key) {
            self.add(&mut shard, key, value);
        }
    }

    fn add(&self, shard: &mut Generations<K, V>, key: K, value: V) {
        if shard.young.len() >= self.room {
            shard.old = mem::replace(&mut shard.young, HashMap::with_hasher(self.hasher.clone()));
        }
        shard.young.insert(key, value);
    }

    fn shard(&self, key: &K) -> Option<MutexGuard<'_, Generations<K, V>>> {
        // Below SHARDS, so it fits.
        let shard = usize::try_from(self.hasher.hash_one(key) >> 60).ok()?;
        Some(self.shards.get(shard)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let cache = Cache::new(64);
        cache.put(0, "kept");
        for n in 1..10_000 {
            cache.put(n, "passing");
            assert_eq!(cache.get(&0), Some("kept"));
        }
        let held = (0..10_000).filter(|n| cache.get(n).is_some()).count();
        assert!((1..=64).contains(&held), "{held}");
    }

    #[test]
    fn the_last_word_counts() {
        let cache = Cache::new(64);
        cache.put(1, "a");
        cache.put(1, "b");
        assert_eq!(cache.get(&1), Some("b"));
    }
}
