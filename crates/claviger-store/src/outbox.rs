//! The outbox of webhooks: what their receivers are still to be told, until they have taken it or it is given up.

use std::sync::Arc;

use claviger_model::{ApprovalId, OpId, SessionId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::watch;

use crate::queue::Entry;
use crate::{Store, StoreError};

/// No message is put off for longer, in seconds: if one seems to be, the clock was set back.
const FARTHEST: i64 = 3600;

/// What one webhook is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// The webhook.
    pub webhook: Arc<str>,
    /// The message's id, by which its receiver knows it again.
    pub id: Arc<str>,
    /// What happened.
    pub event: Arc<str>,
    /// The body, as it is to be sent. It holds no statement and no value.
    pub body: Arc<str>,
    /// What it is about.
    pub about: Option<MessageSubject>,
    /// When it happened.
    pub made: Timestamp,
}

/// What a message is about, as the record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageSubject {
    /// A request for approval.
    Approval(MessageApproval),
    /// Access for a time.
    Access(ApprovalId),
}

/// The request for approval that a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageApproval {
    /// The request.
    pub approval: ApprovalId,
    /// On which connection.
    pub connection: Arc<str>,
    /// In which session.
    pub session: SessionId,
    /// With which operation.
    pub op: OpId,
    /// The groups that are to approve, or that have.
    pub groups: Vec<Arc<str>>,
    /// A keyed digest of what it is about.
    pub digest: [u8; 32],
}

/// A message in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place: what comes later has a greater one.
    pub place: i64,
    /// The message.
    pub message: NewMessage,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is to be tried.
    pub next: Timestamp,
}

/// How much waits for one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagesWaiting {
    /// The webhook.
    pub webhook: Arc<str>,
    /// How many messages.
    pub messages: u64,
    /// When the oldest of them happened.
    pub oldest: Timestamp,
}

impl Store {
    /// Puts a message into the outbox. Returns at once: whether it was taken.
    pub fn post(&self, message: NewMessage) -> bool {
        self.shared.outbox.enqueue(self, Entry::Posted(message))
    }

    /// Waits until all that was posted so far is on stable storage: whether it is.
    pub fn flush_outbox(&self) -> bool {
        self.shared.outbox.flush(self)
    }

    /// Changes when something was posted.
    pub fn posted(&self) -> watch::Receiver<()> {
        self.shared.outbox.written()
    }

    /// How many messages were lost because the queue was full or the database failed for long.
    pub fn messages_dropped(&self) -> u64 {
        self.shared.outbox.dropped()
    }

    /// The oldest message that a webhook is to be told now. What is about one request for approval comes in order; others do not wait for it.
    pub fn message_due(&self, webhook: &str, now: Timestamp) -> Result<Option<StoredMessage>, StoreError> {
        let sql = "SELECT * FROM outbox AS own WHERE webhook = ?1 AND (next <= ?2 OR next > ?3) AND NOT EXISTS
                (SELECT 1 FROM outbox AS earlier
                 WHERE earlier.webhook = own.webhook AND earlier.approval = own.approval AND earlier.place < own.place)
             ORDER BY place LIMIT 1";
        self.message(sql, params![webhook, now.as_micros(), now.plus_secs(FARTHEST).as_micros()])
    }

    /// The oldest message for a webhook, if it happened before this, or if there are more than so many.
    pub fn message_overdue(&self, webhook: &str, before: Timestamp, most: u64) -> Result<Option<StoredMessage>, StoreError> {
        let sql = "SELECT * FROM outbox WHERE webhook = ?1
                AND (made <= ?2 OR (SELECT count(*) FROM outbox WHERE webhook = ?1) > ?3)
             ORDER BY place LIMIT 1";
        self.message(sql, params![webhook, before.as_micros(), i64::try_from(most).unwrap_or(i64::MAX)])
    }

    /// When the next message for a webhook is to be tried.
    pub fn next_message(&self, webhook: &str) -> Result<Option<Timestamp>, StoreError> {
        let next = self
            .db()
            .query_row("SELECT min(next) FROM outbox WHERE webhook = ?1", [webhook], |row| row.get::<_, Option<i64>>(0))?;
        Ok(next.map(Timestamp::from_micros))
    }

    /// Takes a message out. On return that is on stable storage.
    pub fn take_message(&self, place: i64) -> Result<(), StoreError> {
        self.db().execute("DELETE FROM outbox WHERE place = ?1", [place])?;
        Ok(())
    }

    /// A message was tried once more, and is to be tried again then.
    pub fn put_off_message(&self, place: i64, next: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET attempts = attempts + 1, next = ?2 WHERE place = ?1";
        self.db().execute(sql, params![place, next.as_micros()])?;
        Ok(())
    }

    /// A webhook can be reached again: whatever waits for it is to be tried now.
    pub fn messages_due_now(&self, webhook: &str, now: Timestamp) -> Result<(), StoreError> {
        self.db().execute("UPDATE outbox SET next = ?2 WHERE webhook = ?1 AND next > ?2", params![webhook, now.as_micros()])?;
        Ok(())
    }

    /// How much waits, by webhook.
    pub fn messages_waiting(&self) -> Result<Vec<MessagesWaiting>, StoreError> {
        let db = self.db();
        let mut statement =
            db.prepare_cached("SELECT webhook, count(*), min(made) FROM outbox GROUP BY webhook ORDER BY webhook")?;
        let waiting = |row: &Row<'_>| {
            let messages = row.get::<_, i64>(1)?.unsigned_abs();
            Ok(MessagesWaiting { webhook: row.get(0)?, messages, oldest: Timestamp::from_micros(row.get(2)?) })
        };
        Ok(statement.query_map([], waiting)?.collect::<Result<_, _>>()?)
    }

    fn message(&self, sql: &str, params: impl rusqlite::Params) -> Result<Option<StoredMessage>, StoreError> {
        let db = self.db();
        let mut statement = db.prepare_cached(sql)?;
        statement.query_row(params, |row| Ok(read_message(row))).optional()?.transpose()
    }
}

pub(crate) fn insert(db: &Connection, message: &NewMessage) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO outbox (webhook, id, event, body, made, next, attempts, approval, connection, session, op, groups, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let (id, about) = match &message.about {
        None => (None, None),
        Some(MessageSubject::Access(id)) => (Some(*id), None),
        Some(MessageSubject::Approval(about)) => (Some(about.approval), Some(about)),
    };
    let groups = about.map(|about| serde_json::Value::from_iter(about.groups.iter().map(|group| &**group)).to_string());
    statement.execute(params![
        message.webhook,
        message.id,
        message.event,
        message.body,
        message.made.as_micros(),
        id.map(ApprovalId::to_bytes),
        about.map(|about| &about.connection),
        about.map(|about| about.session.to_bytes()),
        about.map(|about| i64::try_from(about.op.0).unwrap_or(i64::MAX)),
        groups,
        about.map(|about| about.digest),
    ])?;
    Ok(())
}

fn read_message(row: &Row<'_>) -> Result<StoredMessage, StoreError> {
    let approval: Option<[u8; 16]> = row.get("approval")?;
    let message = NewMessage {
        webhook: row.get("webhook")?,
        id: row.get("id")?,
        event: row.get("event")?,
        body: row.get("body")?,
        about: approval.map(|approval| read_subject(row, approval)).transpose()?,
        made: Timestamp::from_micros(row.get("made")?),
    };
    let next = Timestamp::from_micros(row.get("next")?);
    Ok(StoredMessage { place: row.get("place")?, message, attempts: row.get("attempts")?, next })
}

fn read_subject(row: &Row<'_>, id: [u8; 16]) -> Result<MessageSubject, StoreError> {
    let id = ApprovalId::from_bytes(id);
    if row.get::<_, Option<[u8; 32]>>("digest")?.is_none() {
        return Ok(MessageSubject::Access(id));
    }
    let groups = serde_json::from_str(&row.get::<_, String>("groups")?);
    Ok(MessageSubject::Approval(MessageApproval {
        approval: id,
        connection: row.get("connection")?,
        session: SessionId::from_bytes(row.get("session")?),
        op: OpId(u64::try_from(row.get::<_, i64>("op")?).map_err(|_| StoreError::Corrupt("operation"))?),
        groups: groups.map_err(|_| StoreError::Corrupt("list of groups"))?,
        digest: row.get("digest")?,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn message(webhook: &str, id: &str, about: Option<u8>, made: i64) -> NewMessage {
        let approval = |n| MessageApproval {
            approval: ApprovalId::from_bytes([n; 16]),
            connection: "bank".into(),
            session: SessionId::from_bytes([9; 16]),
            op: OpId(7),
            groups: vec!["dbas".into(), "corp/privacy".into()],
            digest: [n; 32],
        };
        let about = about.map(|n| match n {
            9 => MessageSubject::Access(ApprovalId::from_bytes([n; 16])),
            n => MessageSubject::Approval(approval(n)),
        });
        let made = Timestamp::from_secs(made);
        NewMessage { webhook: webhook.into(), id: id.into(), event: "approval.requested".into(), body: "{}".into(), about, made }
    }

    fn due(store: &Store, webhook: &str, now: i64) -> Option<String> {
        store.message_due(webhook, Timestamp::from_secs(now)).unwrap().map(|stored| stored.message.id.to_string())
    }

    #[test]
    fn messages_wait_in_order_and_outlive_the_process() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), "local").unwrap();
        let posted = store.posted();
        let first = message("ops", "m1", Some(1), 10);
        for message in
            [first.clone(), message("ops", "m2", Some(1), 11), message("ops", "m3", Some(2), 12), message("chat", "m4", None, 13)]
        {
            assert!(store.post(message));
        }
        assert!(store.flush_outbox() && posted.has_changed().unwrap());
        let store = Store::open(data.path(), "local").unwrap();
        let stored = store.message_due("ops", Timestamp::from_secs(20)).unwrap().unwrap();
        assert_eq!((&stored.message, stored.attempts), (&first, 0));
        // What is put off keeps back what is about the same, and nothing else.
        store.put_off_message(stored.place, Timestamp::from_secs(100)).unwrap();
        assert_eq!(due(&store, "ops", 20).as_deref(), Some("m3"));
        assert_eq!(store.next_message("ops").unwrap(), Some(Timestamp::from_secs(11)));
        assert_eq!(store.message_due("ops", Timestamp::from_secs(100)).unwrap().unwrap().attempts, 1);
        assert_eq!(
            due(&store, "ops", 100 - FARTHEST - 1).as_deref(),
            Some("m1"),
            "a clock that is set back keeps nothing waiting"
        );
        store.messages_due_now("ops", Timestamp::from_secs(20)).unwrap();
        assert_eq!(due(&store, "ops", 20).as_deref(), Some("m1"));
        store.take_message(stored.place).unwrap();
        assert_eq!(due(&store, "ops", 20).as_deref(), Some("m2"));
        assert_eq!(due(&store, "chat", 20).as_deref(), Some("m4"));
        let waiting: Vec<_> =
            store.messages_waiting().unwrap().into_iter().map(|waiting| (waiting.webhook, waiting.messages)).collect();
        assert_eq!(waiting, [("chat".into(), 1), ("ops".into(), 2)]);
    }

    #[test]
    fn what_a_message_is_about_is_kept() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), "local").unwrap();
        for about in [Some(9), Some(1), None] {
            let posted = message("ops", "m", about, 10);
            assert!(store.post(posted.clone()) && store.flush_outbox());
            let stored = store.message_due("ops", Timestamp::from_secs(20)).unwrap().unwrap();
            assert_eq!(stored.message, posted);
            store.take_message(stored.place).unwrap();
        }
    }

    #[test]
    fn what_is_too_old_or_too_much_is_told() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), "local").unwrap();
        let overdue =
            |before, most| store.message_overdue("ops", Timestamp::from_secs(before), most).unwrap().map(|one| one.message.id);
        assert_eq!(overdue(100, 0), None);
        for (id, at) in [("m1", 10), ("m2", 20), ("m3", 30)] {
            assert!(store.post(message("ops", id, None, at)));
        }
        assert!(store.flush_outbox());
        assert_eq!(overdue(9, 3), None);
        assert_eq!(overdue(10, 3).as_deref(), Some("m1"));
        assert_eq!(overdue(9, 2).as_deref(), Some("m1"));
    }
}
