//! The index of sessions: for lists and look-ups. The truth is the audit log, from which the index can be built again.
//!
//! Sessions hand over what they have to say and go on: a thread writes it ([`queue`](crate::queue)). If it falls so far behind that its
//! queue is full, rows are dropped and counted rather than waited for.

use std::sync::Arc;

use claviger_model::{SessionId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::queue::Entry;
use crate::{Store, StoreError};

/// A session, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Its id.
    pub id: SessionId,
    /// The chain as text.
    pub who: Arc<str>,
    /// The human end of the chain.
    pub sponsor: Option<Arc<str>>,
    /// To what.
    pub connection: Arc<str>,
    /// From where.
    pub client: Arc<str>,
    /// Since when.
    pub opened: Timestamp,
    /// How it ended; `None` while it lives.
    pub end: Option<SessionEnd>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// When.
    pub closed: Timestamp,
    /// Why, as a stable code.
    pub reason: Arc<str>,
    /// Operations in it.
    pub operations: u64,
}

/// Which sessions to list. What is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Only those that live, or only those that ended.
    pub live: Option<bool>,
    /// Only those whose chain, as text, contains this.
    pub who: Option<String>,
    /// Only those to this connection.
    pub connection: Option<String>,
    /// At most so many; 100 if not given.
    pub limit: Option<u32>,
}

impl Store {
    /// Notes that a session began. Returns at once.
    pub fn session_opened(&self, session: StoredSession) {
        self.shared.index.enqueue(self, Entry::Opened(session));
    }

    /// Notes that a session ended. Returns at once.
    pub fn session_closed(&self, id: SessionId, end: SessionEnd) {
        self.shared.index.enqueue(self, Entry::Closed(id, end));
    }

    /// Waits until all that was noted so far is written: whether it is.
    pub fn flush_sessions(&self) -> bool {
        self.shared.index.flush(self)
    }

    /// Marks every session that lives according to the index as ended for an unknown reason, as a start after a crash must.
    pub fn abandon_sessions(&self, now: Timestamp) -> Result<usize, StoreError> {
        let sql = "UPDATE sessions SET closed = ?1, reason = 'unknown' WHERE closed IS NULL";
        Ok(self.db().execute(sql, [now.as_micros()])?)
    }

    /// How many rows were dropped because the queue was full or the database failed for long. If any, the index lacks something.
    pub fn sessions_dropped(&self) -> u64 {
        self.shared.index.dropped()
    }

    /// The sessions that match, the newest first.
    pub fn sessions(&self, filter: &SessionFilter) -> Result<Vec<StoredSession>, StoreError> {
        let db = self.db();
        let mut statement = db.prepare_cached(
            "SELECT * FROM sessions
             WHERE (?1 IS NULL OR (closed IS NULL) = ?1) AND (?2 IS NULL OR instr(who, ?2) > 0) AND (?3 IS NULL OR connection = ?3)
             ORDER BY id DESC LIMIT ?4",
        )?;
        let rows = statement
            .query_map(params![filter.live, filter.who, filter.connection, filter.limit.unwrap_or(100)], |row| {
                Ok(read_session(row))
            })?;
        rows.map(|row| row?).collect()
    }

    /// One session.
    pub fn session(&self, id: SessionId) -> Result<Option<StoredSession>, StoreError> {
        let db = self.db();
        let sql = "SELECT * FROM sessions WHERE id = ?1";
        db.query_row(sql, [id.to_string()], |row| Ok(read_session(row))).optional()?.transpose()
    }
}

pub(crate) fn insert(db: &Connection, session: &StoredSession) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO sessions (id, who, sponsor, connection, client, opened, operations) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)
         ON CONFLICT DO NOTHING",
    )?;
    statement.execute(params![
        session.id.to_string(),
        session.who,
        session.sponsor,
        session.connection,
        session.client,
        session.opened.as_micros(),
    ])?;
    session.end.as_ref().map_or(Ok(()), |end| close(db, session.id, end))
}

pub(crate) fn close(db: &Connection, id: SessionId, end: &SessionEnd) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("UPDATE sessions SET closed = ?2, reason = ?3, operations = ?4 WHERE id = ?1")?;
    let operations = i64::try_from(end.operations).unwrap_or(i64::MAX);
    statement.execute(params![id.to_string(), end.closed.as_micros(), end.reason, operations])?;
    Ok(())
}

fn read_session(row: &Row<'_>) -> Result<StoredSession, StoreError> {
    let id: String = row.get("id")?;
    let operations = row.get::<_, i64>("operations")?.unsigned_abs();
    let closed = row.get::<_, Option<i64>>("closed")?.zip(row.get::<_, Option<Arc<str>>>("reason")?);
    Ok(StoredSession {
        id: id.parse().map_err(|_| StoreError::Corrupt("session id"))?,
        who: row.get("who")?,
        sponsor: row.get("sponsor")?,
        connection: row.get("connection")?,
        client: row.get("client")?,
        opened: Timestamp::from_micros(row.get("opened")?),
        end: closed.map(|(closed, reason)| SessionEnd { closed: Timestamp::from_micros(closed), reason, operations }),
    })
}
