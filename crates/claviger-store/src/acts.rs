//! The notes of the command line: acts that the gateway's log is to say.
//!
//! The log belongs to the running gateway, so the command line cannot write it. It notes here what it is about to do, and the
//! gateway takes the notes into the log.

use claviger_model::Timestamp;
use rusqlite::params;

use crate::{Store, StoreError};

/// The most acts handed out at once.
const BATCH: u32 = 256;

/// An act of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedAct {
    /// Counts up.
    pub id: i64,
    /// When it was about to be done.
    pub time: Timestamp,
    /// What, such as `principal.disable`.
    pub action: String,
    /// On what.
    pub target: String,
}

impl Store {
    /// Notes an act. On return it is on stable storage, and may be done.
    pub fn note_act(&self, action: &str, target: &str, now: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO noted_acts (time, action, target) VALUES (?1, ?2, ?3)";
        self.db().execute(sql, params![now.as_micros(), action, target])?;
        Ok(())
    }

    /// The oldest acts that nobody has taken into the log yet, in order; a few hundred at most.
    pub fn noted_acts(&self) -> Result<Vec<NotedAct>, StoreError> {
        let db = self.db();
        let mut statement = db.prepare_cached("SELECT id, time, action, target FROM noted_acts ORDER BY id LIMIT ?1")?;
        let act = |row: &rusqlite::Row<'_>| {
            let time = Timestamp::from_micros(row.get(1)?);
            Ok(NotedAct { id: row.get(0)?, time, action: row.get(2)?, target: row.get(3)? })
        };
        Ok(statement.query_map([BATCH], act)?.collect::<Result<_, _>>()?)
    }

    /// Forgets an act that is in the log.
    pub fn forget_act(&self, id: i64) -> Result<(), StoreError> {
        self.db().execute("DELETE FROM noted_acts WHERE id = ?1", [id])?;
        Ok(())
    }
}
