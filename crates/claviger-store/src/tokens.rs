//! Tokens that were issued, and tokens that are no longer accepted.

use std::sync::Arc;

use claviger_model::{PrincipalKey, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Store, StoreError};

/// A token that the local issuer gave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// Its id (`jti`).
    pub id: Arc<str>,
    /// SHA-256 of its text, which itself is kept nowhere.
    pub sha256: [u8; 32],
    /// Whom it is about.
    pub principal: PrincipalKey,
    /// Who acts for that principal.
    pub actor: Option<PrincipalKey>,
    /// What it is for.
    pub purpose: Option<Arc<str>>,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// Who issued it: a chain, or `local` for the command line.
    pub issued_by: Arc<str>,
    /// Since when it is revoked. Not written by [`Store::record_token`].
    pub revoked: Option<Timestamp>,
}

impl Store {
    /// Keeps what must be known of a token that is about to be given out.
    pub fn record_token(&self, token: &StoredToken) -> Result<(), StoreError> {
        self.db().execute(
            "INSERT INTO tokens (id, sha256, issuer, subject, actor, purpose, issued, expires, issued_by, actor_issuer)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                token.id,
                token.sha256,
                token.principal.issuer,
                token.principal.subject,
                token.actor.as_ref().map(|actor| &actor.subject),
                token.purpose,
                token.issued.as_micros(),
                token.expires.as_micros(),
                token.issued_by,
                token.actor.as_ref().map(|actor| &actor.issuer),
            ],
        )?;
        Ok(())
    }

    /// One token of the local issuer.
    pub fn token(&self, id: &str) -> Result<Option<StoredToken>, StoreError> {
        let sql = format!("{SELECT} WHERE id = ?2");
        Ok(self.db().query_row(&sql, params![self.shared.local_issuer, id], read_token).optional()?)
    }

    /// The tokens of one principal, as subject or as actor, or of all; the newest first.
    pub fn tokens(&self, of: Option<&PrincipalKey>) -> Result<Vec<StoredToken>, StoreError> {
        let db = self.db();
        let mut statement = db.prepare_cached(&format!("{SELECT} WHERE {OF} ORDER BY issued DESC, id"))?;
        let (issuer, subject) = of.map(|key| (&key.issuer, &key.subject)).unzip();
        Ok(statement.query_map(params![self.shared.local_issuer, issuer, subject], read_token)?.collect::<Result<_, _>>()?)
    }

    /// Revokes a token, given by the name of its issuer and its id; false if it is revoked already. One of the local issuer
    /// must have been issued.
    pub fn revoke_token(&self, issuer: &str, id: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
        let local = *issuer == *self.shared.local_issuer;
        let token = if local { self.token(id)? } else { None };
        if token.is_none() && local {
            return Err(StoreError::UnknownToken(id.chars().take(80).collect()));
        }
        let revoked = revoke(&self.db(), issuer, id, by, now, token.map(|token| token.expires))?;
        self.changed();
        Ok(revoked)
    }

    /// Revokes every token that a principal is the subject or the actor of; gives their ids.
    pub fn revoke_tokens_of(&self, key: &PrincipalKey, by: &str, now: Timestamp) -> Result<Vec<Arc<str>>, StoreError> {
        let mut revoked = Vec::new();
        let mut db = self.db();
        let transaction = db.transaction()?;
        let live = {
            let mut statement = transaction.prepare(&format!("{SELECT} WHERE {OF} AND tokens.expires > ?4 ORDER BY id"))?;
            let local = &self.shared.local_issuer;
            let rows = statement.query_map(params![local, key.issuer, key.subject, now.as_micros()], read_token)?;
            rows.collect::<Result<Vec<_>, _>>()?
        };
        for token in live {
            if revoke(&transaction, &self.shared.local_issuer, &token.id, by, now, Some(token.expires))? {
                revoked.push(token.id);
            }
        }
        transaction.commit()?;
        drop(db);
        self.changed();
        Ok(revoked)
    }

    /// Forgets tokens that expired before a time. Those of exchanges are many.
    pub fn prune_tokens(&self, before: Timestamp) -> Result<(), StoreError> {
        self.db().execute("DELETE FROM tokens WHERE expires < ?1", [before.as_micros()])?;
        Ok(())
    }

    /// Forgets tokens that expired, revocations of such, and sessions that were closed before a time.
    pub fn prune(&self, before: Timestamp) -> Result<(), StoreError> {
        let mut db = self.db();
        let transaction = db.transaction()?;
        for sql in ["tokens WHERE expires < ?1", "revocations WHERE expires < ?1", "sessions WHERE closed < ?1"] {
            transaction.execute(&format!("DELETE FROM {sql}"), [before.as_micros()])?;
        }
        Ok(transaction.commit()?)
    }
}

/// A token of any issuer: the issuer's name and the token's id.
type TokenName = (Arc<str>, Arc<str>);

/// Every revoked token.
pub(crate) fn read_revocations(db: &Connection) -> Result<Vec<TokenName>, StoreError> {
    let mut statement = db.prepare_cached("SELECT issuer, token FROM revocations")?;
    Ok(statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}

/// Every token is the local issuer's (the first parameter), whatever issuer its principals have.
const SELECT: &str = "SELECT tokens.*, revoked FROM tokens
     LEFT JOIN revocations ON revocations.issuer = ?1 AND revocations.token = tokens.id";

const OF: &str = "(?2 IS NULL OR (tokens.issuer = ?2 AND subject = ?3)
     OR (coalesce(actor_issuer, tokens.issuer) = ?2 AND actor = ?3))";

fn revoke(
    db: &Connection,
    issuer: &str,
    id: &str,
    by: &str,
    now: Timestamp,
    expires: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let added = db.execute(
        "INSERT INTO revocations VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        params![issuer, id, now.as_micros(), by, expires.map(Timestamp::as_micros)],
    )?;
    Ok(added > 0)
}

fn read_token(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    let principal = PrincipalKey { issuer: row.get("issuer")?, subject: row.get("subject")? };
    let actor = row.get::<_, Option<Arc<str>>>("actor")?;
    let actor_issuer = row.get::<_, Option<Arc<str>>>("actor_issuer")?.unwrap_or_else(|| principal.issuer.clone());
    Ok(StoredToken {
        id: row.get("id")?,
        sha256: row.get("sha256")?,
        actor: actor.map(|actor| PrincipalKey::new(actor_issuer, actor)),
        principal,
        purpose: row.get("purpose")?,
        issued: Timestamp::from_micros(row.get("issued")?),
        expires: Timestamp::from_micros(row.get("expires")?),
        issued_by: row.get("issued_by")?,
        revoked: row.get::<_, Option<i64>>("revoked")?.map(Timestamp::from_micros),
    })
}
