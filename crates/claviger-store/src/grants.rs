//! Access for a time: requests for it and grants.

use claviger_model::{ApprovalId, Timestamp};
use rusqlite::{OptionalExtension as _, params};

use crate::{Store, StoreError};

impl Store {
    /// Keeps what is known of a grant, in place of what was known before. On return it is on stable storage.
    pub fn keep_grant(&self, id: ApprovalId, facts: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO grants VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET facts = excluded.facts";
        self.db().execute(sql, params![id.to_bytes(), facts])?;
        Ok(())
    }

    /// What is known of every grant, oldest first.
    pub fn grants(&self) -> Result<Vec<String>, StoreError> {
        let db = self.db();
        let mut statement = db.prepare("SELECT facts FROM grants ORDER BY id")?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Writes down how far time has gone on.
    pub fn note_time(&self, at: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO steady_time VALUES (1, ?1) ON CONFLICT (only) DO UPDATE SET micros = excluded.micros";
        self.db().execute(sql, [at.as_micros()])?;
        Ok(())
    }

    /// How far time had gone on when that was last written down.
    pub fn noted_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let micros = self.db().query_row("SELECT micros FROM steady_time", [], |row| row.get(0)).optional()?;
        Ok(micros.map(Timestamp::from_micros))
    }

    /// Forgets a grant.
    pub fn forget_grant(&self, id: ApprovalId) -> Result<(), StoreError> {
        self.db().execute("DELETE FROM grants WHERE id = ?1", [id.to_bytes()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_grant_is_what_was_last_kept_of_it() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), "local").unwrap();
        let (one, two) = (ApprovalId::from_bytes([1; 16]), ApprovalId::from_bytes([2; 16]));
        store.keep_grant(two, "b").unwrap();
        store.keep_grant(one, "a").unwrap();
        store.keep_grant(one, "a, later").unwrap();
        let again = Store::open(data.path(), "local").unwrap();
        assert_eq!(again.grants().unwrap(), ["a, later", "b"]);
        again.forget_grant(one).unwrap();
        assert_eq!(store.grants().unwrap(), ["b"]);
        assert_eq!(store.noted_time().unwrap(), None);
        [7, 5].into_iter().for_each(|secs| store.note_time(Timestamp::from_secs(secs)).unwrap());
        assert_eq!(again.noted_time().unwrap(), Some(Timestamp::from_secs(5)));
    }
}
