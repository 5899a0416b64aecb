//! What the names of labels have stood for in each database, so that what is renamed keeps its labels.

use std::sync::Arc;

use rusqlite::{Row, params};

use crate::{Store, StoreError};

/// What a name has stood for: itself, the OID of the table, and the number of the column, if it is one.
pub type StoredBinding = (Arc<str>, u32, Option<i16>);

impl Store {
    /// What is known of a database, by name.
    pub fn bindings(&self, database: &str) -> Result<Vec<StoredBinding>, StoreError> {
        let db = self.db();
        let mut statement =
            db.prepare_cached("SELECT name, relation, number FROM bindings WHERE database = ?1 ORDER BY name, relation, number")?;
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        Ok(statement.query_map([database], read)?.collect::<Result<_, _>>()?)
    }

    /// Keeps this of a database, and nothing else.
    pub fn keep_bindings(&self, database: &str, bindings: &[StoredBinding]) -> Result<(), StoreError> {
        let mut db = self.db();
        let transaction = db.transaction()?;
        transaction.execute("DELETE FROM bindings WHERE database = ?1", [database])?;
        for (name, relation, number) in bindings {
            transaction.execute("INSERT INTO bindings VALUES (?1, ?2, ?3, ?4)", params![database, name, relation, number])?;
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bindings_are_those_of_their_database_and_the_last() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), "local").unwrap();
        let one =
            [("public.a.b".into(), 8, Some(1)), ("public.a.b".into(), 4_000_000_000, Some(2)), ("public.c".into(), 7, None)];
        store.keep_bindings("one", &one).unwrap();
        store.keep_bindings("two", &one[..1]).unwrap();
        store.keep_bindings("two", &one[1..]).unwrap();
        assert_eq!(store.bindings("one").unwrap(), one);
        assert_eq!(Store::open(data.path(), "local").unwrap().bindings("two").unwrap(), one[1..]);
        assert!(store.bindings("three").unwrap().is_empty());
    }
}
