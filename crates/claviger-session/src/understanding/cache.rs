//! Texts that were understood, kept for all sessions.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use claviger_sql::{Session, shape};

use super::Text;

/// Longer texts are not kept: they seldom come twice.
const LONGEST: usize = 64 * 1024;
/// How many parts it has, so that threads seldom wait for one another.
const SHARDS: usize = 16;
/// The most texts, and bytes of texts, of one generation of one part.
const MOST: usize = 1024;
const MOST_BYTES: usize = 1024 * 1024;

/// What the meaning of a text hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The catalog's snapshot.
    pub(crate) catalog: u64,
    /// The search path and the roles.
    pub(crate) state: u64,
    /// The names of prepared statements and cursors, for a text that may use them; else 0.
    pub(crate) names: u64,
    /// The text, to the byte.
    pub(crate) text: Bytes,
}

/// Texts by all that their meaning hangs on.
#[derive(Default)]
pub(crate) struct Texts {
    texts: Kept<Arc<Text>>,
    /// By their shapes, those that do the same whatever the values in them are. None where the values count.
    shapes: Kept<Option<Arc<Text>>>,
}

impl Texts {
    /// The text of this key, understood before or now.
    pub(crate) fn get(&self, key: &Key, read: impl Fn(&[u8]) -> Text) -> Arc<Text> {
        if key.text.len() > LONGEST {
            return Arc::new(read(&key.text));
        }
        if let Some(text) = self.texts.find(key) {
            return text;
        }
        let shape = std::str::from_utf8(&key.text).ok().and_then(shape).map(|shape| Key { text: shape.into(), ..*key });
        let found = shape.as_ref().map(|shape| self.shapes.find(shape));
        if let Some(Some(Some(text))) = found {
            return text;
        }
        let text = Arc::new(read(&key.text));
        if let (Some(shape), Some(None)) = (shape, found) {
            let same = text.does_the_same(&read(&shape.text));
            self.shapes.put(shape, same.then(|| Arc::clone(&text)));
            if same {
                return text;
            }
        }
        // A copy: a slice would keep the whole read buffer alive.
        let own = Key { text: Bytes::copy_from_slice(&key.text), ..*key };
        self.texts.put(own, Arc::clone(&text));
        text
    }

    pub(crate) fn find(&self, key: &Key) -> Option<Arc<Text>> {
        self.texts.find(key)
    }
}

/// What was asked for lately, in parts.
struct Kept<V> {
    hasher: RandomState,
    shards: [Mutex<Generations<V>>; SHARDS],
}

/// When the young are too many, the old are forgotten and the young grow old. What is asked for stays.
struct Generations<V> {
    young: HashMap<Key, V>,
    old: HashMap<Key, V>,
    bytes: usize,
}

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: Default::default() }
    }
}

impl<V> Default for Generations<V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), bytes: 0 }
    }
}

impl<V: Clone> Kept<V> {
    fn find(&self, key: &Key) -> Option<V> {
        let mut shard = self.shard(key);
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = shard.old.remove_entry(key)?;
        shard.put(key, value.clone());
        Some(value)
    }

    fn put(&self, key: Key, value: V) {
        self.shard(&key).put(key, value);
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Generations<V>> {
        let index = usize::try_from(self.hasher.hash_one(key) >> 60).unwrap_or(0);
        let [first, ..] = &self.shards;
        self.shards.get(index).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Generations<V> {
    fn put(&mut self, key: Key, value: V) {
        if self.young.len() >= MOST || self.bytes + key.text.len() > MOST_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += key.text.len();
        self.young.insert(key, value);
    }
}

/// Search paths with roles, by number, so that a key need not hold them.
#[derive(Default)]
pub(crate) struct States(Mutex<HashMap<State, u64>>);

/// A search path, the schema that new things go to, whether the path names that of temporary ones, and whether texts are read otherwise;
/// the role, and the login.
type State = (Vec<Arc<str>>, Option<Arc<str>>, [bool; 2], [Arc<str>; 2]);

impl States {
    /// The number of a session's state. A number never stands for two states; a state may have had another.
    pub(crate) fn number(&self, session: &Session) -> u64 {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if states.len() >= MOST {
            states.clear();
        }
        let (path, creates_in) = (session.path.clone(), session.creates_in.clone());
        let reading = [session.names_temporary, session.reads_otherwise];
        let state = (path, creates_in, reading, [&session.role, &session.login].map(Arc::clone));
        *states.entry(state).or_insert_with(number)
    }
}

/// A number that nothing else has in this process.
pub(super) fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use claviger_sql::Catalog;

    use super::*;

    fn key(text: String, names: u64) -> Key {
        Key { catalog: 1, state: 1, names, text: text.into() }
    }

    fn read(text: &[u8]) -> Text {
        Text::read(text, &Catalog::default(), &Session::default())
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let texts = Texts::default();
        let kept = texts.get(&key("kept".into(), 0), read);
        for n in 0..SHARDS * MOST * 4 {
            texts.get(&key(n.to_string(), 0), read);
            assert!(Arc::ptr_eq(&kept, &texts.get(&key("kept".into(), 0), read)));
        }
        let held: usize = texts
            .texts
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
            .map(|shard| shard.young.len() + shard.old.len())
            .sum();
        assert!(held <= SHARDS * MOST * 2, "{held}");
        assert!(!Arc::ptr_eq(&kept, &texts.get(&key("kept".into(), 1), read)), "with other names it may mean something else");
    }

    #[test]
    fn texts_that_differ_only_in_values_that_do_not_count_are_one() {
        let texts = Texts::default();
        let get = |text: &str| texts.get(&key(text.into(), 0), read);
        let values = "select from (values (1, 2)) v(a, b) where";
        let one = get(&format!("{values} a = 1"));
        assert!(Arc::ptr_eq(&one, &get(&format!("{values} a = 12"))));
        assert!(!Arc::ptr_eq(&one, &get(&format!("{values} b = 1"))));
        assert!(!Arc::ptr_eq(&one, &texts.get(&key(format!("{values} a = 1"), 1), read)), "with other names");
        // What fails to be read is read again.
        assert!(!Arc::ptr_eq(&get("select a from b where c = 1"), &get("select a from b where c = 2")));
        // So is what hangs on the values next to it.
        let limited = |limit: u32| get(&format!("{values} a = 1 and b < {limit}"));
        assert!(!Arc::ptr_eq(&limited(1), &limited(2)));
        assert!(Arc::ptr_eq(&limited(1), &limited(1)));
    }

    #[test]
    fn long_texts_are_not_kept() {
        let texts = Texts::default();
        let long = || key("x".repeat(LONGEST + 1), 0);
        assert!(!Arc::ptr_eq(&texts.get(&long(), read), &texts.get(&long(), read)));
    }
}
