//! What a gateway must not forget when it starts anew.

use std::sync::Arc;

use claviger_model::Timestamp;
use rusqlite::{Row, params};

use crate::{Store, StoreError};

/// One thing that is remembered. What it means is the business of whoever keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMemory {
    /// What it is: its kind, its name, and the issuer and subject whose it is. There is one of each.
    pub key: MemoryKey,
    /// When it was, or began.
    pub began: Timestamp,
    /// From when on it is of no use.
    pub until: Timestamp,
    /// How much it is.
    pub amounts: Vec<u64>,
}

/// Kind, name, issuer, subject.
pub type MemoryKey = (Arc<str>, Arc<str>, Arc<str>, Arc<str>);

impl Store {
    /// Forgets what is of no use any more.
    pub fn prune_memories(&self, now: Timestamp) -> Result<(), StoreError> {
        self.db().execute("DELETE FROM memories WHERE until <= ?1", [now.as_micros()])?;
        Ok(())
    }

    /// All that is of use still.
    pub fn memories(&self, now: Timestamp) -> Result<Vec<StoredMemory>, StoreError> {
        self.prune_memories(now)?;
        let db = self.db();
        let mut statement = db.prepare_cached("SELECT kind, name, issuer, subject, began, until, amounts FROM memories")?;
        let read = |row: &Row<'_>| {
            let key = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let (began, until, amounts): (_, _, String) = (row.get(4)?, row.get(5)?, row.get(6)?);
            Ok((key, Timestamp::from_micros(began), Timestamp::from_micros(until), amounts))
        };
        let rows = statement.query_map([], read)?.collect::<Result<Vec<_>, _>>()?;
        let memory = |(key, began, until, amounts): (_, _, _, String)| {
            let amounts = serde_json::from_str(&amounts).map_err(|_| StoreError::Corrupt("memory"))?;
            Ok(StoredMemory { key, began, until, amounts })
        };
        rows.into_iter().map(memory).collect()
    }

    /// Keeps all of these, each in place of what is known by its key.
    pub fn keep_memories<'m>(&self, memories: impl IntoIterator<Item = &'m StoredMemory>) -> Result<(), StoreError> {
        let mut db = self.db();
        let transaction = db.transaction()?;
        for StoredMemory { key: (kind, name, issuer, subject), began, until, amounts } in memories {
            let amounts = serde_json::to_string(amounts).map_err(|_| StoreError::Corrupt("memory"))?;
            let row = params![kind, name, issuer, subject, began.as_micros(), until.as_micros(), amounts];
            transaction.prepare_cached("INSERT OR REPLACE INTO memories VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(row)?;
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn memories_are_the_last_of_their_key_and_end_in_time() {
        let data = tempfile::tempdir().unwrap();
        let at = Timestamp::from_secs;
        let memory = |name: &str, until, amount| StoredMemory {
            key: ("budget".into(), name.into(), "local".into(), "alice".into()),
            began: at(10),
            until: at(until),
            amounts: vec![amount, u64::MAX],
        };
        let store = Store::open(data.path(), "local").unwrap();
        store.keep_memories(&[memory("a", 100, 1), memory("b", 50, 2)]).unwrap();
        store.keep_memories(&[memory("a", 100, 3)]).unwrap();
        drop(store);
        let store = Store::open(data.path(), "local").unwrap();
        assert_eq!(store.memories(at(49)).unwrap(), [memory("a", 100, 3), memory("b", 50, 2)]);
        assert_eq!(store.memories(at(50)).unwrap(), [memory("a", 100, 3)]);
        assert_eq!(store.memories(at(20)).unwrap().len(), 1, "what was over is gone");
    }
}
