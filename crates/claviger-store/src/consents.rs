//! Consents that nobody waits for: what was approved, until it is used once.

use std::sync::Arc;

use claviger_model::{ApprovalId, OpId, SessionId, Timestamp};
use rusqlite::{OptionalExtension as _, Row, params};

use crate::{Store, StoreError};

/// A consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConsent {
    /// The request that was granted.
    pub id: ApprovalId,
    /// A keyed digest of what it is about.
    pub digest: [u8; 32],
    /// The groups that have approved, sorted.
    pub groups: Vec<Arc<str>>,
    /// Who asked, as a chain text.
    pub who: Arc<str>,
    /// On which connection.
    pub connection: Arc<str>,
    /// In which session.
    pub session: SessionId,
    /// With which operation.
    pub op: OpId,
    /// Until when it is good.
    pub until: Timestamp,
}

impl Store {
    /// Keeps a consent. On return it is on stable storage.
    pub fn keep_consent(&self, consent: &StoredConsent) -> Result<(), StoreError> {
        let groups = serde_json::Value::from_iter(consent.groups.iter().map(|group| &**group)).to_string();
        self.db().execute(
            "INSERT INTO consents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                consent.id.to_bytes(),
                consent.digest,
                groups,
                consent.who,
                consent.connection,
                consent.session.to_bytes(),
                i64::try_from(consent.op.0).unwrap_or(i64::MAX),
                consent.until.as_micros(),
            ],
        )?;
        Ok(())
    }

    /// Uses a consent up: whether it was there. On return that is on stable storage.
    pub fn spend_consent(&self, id: ApprovalId) -> Result<bool, StoreError> {
        Ok(self.db().execute("DELETE FROM consents WHERE id = ?1", [id.to_bytes()])? == 1)
    }

    /// Forgets the consents that had their time, and remembers that it was so late.
    pub fn expire_consents(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut db = self.db();
        let transaction = db.transaction()?;
        transaction.execute("DELETE FROM consents WHERE until <= ?1", [now.as_micros()])?;
        transaction.execute("INSERT INTO latest_time VALUES (1, ?1) ON CONFLICT DO UPDATE SET micros = ?1", [now.as_micros()])?;
        Ok(transaction.commit()?)
    }

    /// The consents that are good still when a gateway starts; the others are forgotten. If the clock was set back since the latest
    /// time that was remembered, what is left of them is what was left then.
    pub fn consents(&self, now: Timestamp) -> Result<Vec<StoredConsent>, StoreError> {
        let latest: Option<i64> = self.db().query_row("SELECT micros FROM latest_time", [], |row| row.get(0)).optional()?;
        let set_back = latest.map_or(0, |latest| latest.saturating_sub(now.as_micros()).max(0));
        self.db().execute("UPDATE consents SET until = until - ?1 WHERE ?1 > 0", [set_back])?;
        self.expire_consents(now)?;
        let db = self.db();
        let mut statement = db.prepare("SELECT * FROM consents ORDER BY id")?;
        statement.query_map([], |row| Ok(read_consent(row)))?.map(|row| row?).collect()
    }
}

fn read_consent(row: &Row<'_>) -> Result<StoredConsent, StoreError> {
    let groups = serde_json::from_str(&row.get::<_, String>("groups")?);
    Ok(StoredConsent {
        id: ApprovalId::from_bytes(row.get("id")?),
        digest: row.get("digest")?,
        groups: groups.map_err(|_| StoreError::Corrupt("list of groups"))?,
        who: row.get("who")?,
        connection: row.get("connection")?,
        session: SessionId::from_bytes(row.get("session")?),
        op: OpId(u64::try_from(row.get::<_, i64>("op")?).map_err(|_| StoreError::Corrupt("operation"))?),
        until: Timestamp::from_micros(row.get("until")?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_consent_is_used_once_and_forgotten_in_time() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), "local").unwrap();
        let consent = |n: u8, until| StoredConsent {
            id: ApprovalId::from_bytes([n; 16]),
            digest: [n; 32],
            groups: vec!["dbas".into(), "corp/privacy".into()],
            who: "bot@local for ana@local".into(),
            connection: "bank".into(),
            session: SessionId::from_bytes([9; 16]),
            op: OpId(7),
            until: Timestamp::from_secs(until),
        };
        let (one, two) = (consent(1, 100), consent(2, 50));
        store.keep_consent(&one).unwrap();
        store.keep_consent(&two).unwrap();
        assert!(store.keep_consent(&one).is_err(), "one request is granted once");
        let secs = Timestamp::from_secs;
        assert_eq!(store.consents(secs(49)).unwrap(), [one.clone(), two.clone()]);
        store.expire_consents(secs(60)).unwrap();
        let again = Store::open(data.path(), "local").unwrap();
        let left = again.consents(secs(10)).unwrap();
        assert_eq!(
            left,
            [StoredConsent { until: secs(50), ..one.clone() }],
            "the clock was set back: it has 40 s, and the other none"
        );
        assert_eq!(again.consents(secs(9)).unwrap(), [StoredConsent { until: secs(49), ..one.clone() }]);
        assert!(store.spend_consent(one.id).unwrap());
        assert!(!again.spend_consent(one.id).unwrap() && !again.spend_consent(two.id).unwrap());
        assert!(again.consents(secs(0)).unwrap().is_empty());
    }
}
