//! Registered principals, and who may act for whom.

use std::sync::Arc;

use claviger_model::{PrincipalKey, PrincipalKind, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Store, StoreError};

/// The longest subject, group or display name in bytes.
const MAX_TEXT: usize = 255;

/// A principal to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPrincipal {
    /// Who.
    pub key: PrincipalKey,
    /// Human or machine.
    pub kind: PrincipalKind,
    /// What people call it.
    pub display: Option<String>,
    /// Its groups, named within its issuer.
    pub groups: Vec<Arc<str>>,
    /// The human who answers for it.
    pub sponsor: Option<PrincipalKey>,
}

/// A registered principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPrincipal {
    /// Who.
    pub key: PrincipalKey,
    /// Human or machine.
    pub kind: PrincipalKind,
    /// What people call it.
    pub display: Option<String>,
    /// Its groups, sorted.
    pub groups: Vec<Arc<str>>,
    /// The human who answers for it.
    pub sponsor: Option<PrincipalKey>,
    /// Since when it is registered.
    pub created: Timestamp,
    /// Since when it is disabled.
    pub disabled: Option<Timestamp>,
}

/// The right of one principal to act for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// Who acts.
    pub actor: PrincipalKey,
    /// For whom.
    pub subject: PrincipalKey,
    /// Since when it may.
    pub created: Timestamp,
}

impl Store {
    /// Registers a principal, or changes what is registered; whether it is disabled stays as it is. A sponsor of the local
    /// issuer must be a registered user.
    pub fn put_principal(&self, principal: &NewPrincipal, now: Timestamp) -> Result<(), StoreError> {
        let mut groups = principal.groups.clone();
        groups.sort();
        groups.dedup();
        self.check_name(&principal.key.issuer, &principal.key.subject, "subject")?;
        groups.iter().try_for_each(|group| self.check_name(&principal.key.issuer, group, "group"))?;
        if let Some(display) = &principal.display {
            check(plain(display), display, "display name")?;
        }
        let mut db = self.db();
        let transaction = db.transaction()?;
        if let Some(sponsor) = &principal.sponsor {
            self.check_sponsor(&transaction, sponsor)?;
        }
        transaction.execute(
            "INSERT INTO principals (issuer, subject, kind, display, groups, sponsor_issuer, sponsor_subject, created)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (issuer, subject) DO UPDATE SET kind = excluded.kind, display = excluded.display,
                 groups = excluded.groups, sponsor_issuer = excluded.sponsor_issuer, sponsor_subject = excluded.sponsor_subject",
            params![
                principal.key.issuer,
                principal.key.subject,
                principal.kind.as_str(),
                principal.display,
                serde_json::Value::from_iter(groups.iter().map(|group| &**group)).to_string(),
                principal.sponsor.as_ref().map(|sponsor| &sponsor.issuer),
                principal.sponsor.as_ref().map(|sponsor| &sponsor.subject),
                now.as_micros(),
            ],
        )?;
        transaction.commit()?;
        drop(db);
        self.changed();
        Ok(())
    }

    /// Disables a principal. One of an external issuer, which need not be registered to exist, is registered for it.
    pub fn disable_principal(&self, key: &PrincipalKey, now: Timestamp) -> Result<(), StoreError> {
        if *key.issuer != *self.shared.local_issuer && self.principal(key)?.is_none() {
            let (display, groups, sponsor) = (None, Vec::new(), None);
            let principal = NewPrincipal { key: key.clone(), kind: PrincipalKind::User, display, groups, sponsor };
            self.put_principal(&principal, now)?;
        }
        self.set_disabled(key, Some(now))
    }

    /// Enables a disabled principal.
    pub fn enable_principal(&self, key: &PrincipalKey) -> Result<(), StoreError> {
        self.set_disabled(key, None)
    }

    /// One registered principal.
    pub fn principal(&self, key: &PrincipalKey) -> Result<Option<StoredPrincipal>, StoreError> {
        let sql = "SELECT * FROM principals WHERE issuer = ?1 AND subject = ?2";
        self.db().query_row(sql, [&key.issuer, &key.subject], |row| Ok(read_principal(row))).optional()?.transpose()
    }

    /// Every registered principal, by issuer and subject.
    pub fn principals(&self) -> Result<Vec<StoredPrincipal>, StoreError> {
        read_principals(&self.db())
    }

    /// Lets an actor act for a subject. Those of the local issuer must be registered.
    pub fn add_delegation(&self, actor: &PrincipalKey, subject: &PrincipalKey, now: Timestamp) -> Result<(), StoreError> {
        for key in [actor, subject] {
            self.check_name(&key.issuer, &key.subject, "subject")?;
            if *key.issuer == *self.shared.local_issuer && self.principal(key)?.is_none() {
                return Err(StoreError::UnknownPrincipal(key.clone()));
            }
        }
        self.db().execute(
            "INSERT INTO delegations VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            params![actor.issuer, actor.subject, subject.issuer, subject.subject, now.as_micros()],
        )?;
        self.changed();
        Ok(())
    }

    /// Ends the right of an actor to act for a subject; false if there was none.
    pub fn remove_delegation(&self, actor: &PrincipalKey, subject: &PrincipalKey) -> Result<bool, StoreError> {
        let removed = self.db().execute(
            "DELETE FROM delegations WHERE actor_issuer = ?1 AND actor_subject = ?2 AND for_issuer = ?3 AND for_subject = ?4",
            [&actor.issuer, &actor.subject, &subject.issuer, &subject.subject],
        )?;
        self.changed();
        Ok(removed > 0)
    }

    /// Every delegation, by actor and subject.
    pub fn delegations(&self) -> Result<Vec<Delegation>, StoreError> {
        read_delegations(&self.db())
    }

    fn set_disabled(&self, key: &PrincipalKey, since: Option<Timestamp>) -> Result<(), StoreError> {
        let updated = self.db().execute(
            "UPDATE principals SET disabled = ?3 WHERE issuer = ?1 AND subject = ?2",
            params![key.issuer, key.subject, since.map(Timestamp::as_micros)],
        )?;
        self.changed();
        if updated == 0 { Err(StoreError::UnknownPrincipal(key.clone())) } else { Ok(()) }
    }

    /// Policies write a foreign name as `issuer/name`, so an issuer's name must not hold a slash, and a local name neither.
    fn check_name(&self, issuer: &str, name: &str, what: &'static str) -> Result<(), StoreError> {
        let local = *issuer == *self.shared.local_issuer;
        check(plain(issuer) && !issuer.contains('/'), issuer, "issuer name")?;
        check(plain(name) && !(local && name.contains('/')), name, what)
    }

    fn check_sponsor(&self, db: &Connection, sponsor: &PrincipalKey) -> Result<(), StoreError> {
        self.check_name(&sponsor.issuer, &sponsor.subject, "subject")?;
        let sql = "SELECT kind FROM principals WHERE issuer = ?1 AND subject = ?2";
        let kind: Option<String> = db.query_row(sql, [&sponsor.issuer, &sponsor.subject], |row| row.get(0)).optional()?;
        match kind.as_deref() {
            Some("user") => Ok(()),
            Some(_) => Err(StoreError::SponsorNotUser(sponsor.clone())),
            None if *sponsor.issuer == *self.shared.local_issuer => Err(StoreError::UnknownPrincipal(sponsor.clone())),
            None => Ok(()),
        }
    }
}

pub(crate) fn read_principals(db: &Connection) -> Result<Vec<StoredPrincipal>, StoreError> {
    let mut statement = db.prepare_cached("SELECT * FROM principals ORDER BY issuer, subject")?;
    statement.query_map([], |row| Ok(read_principal(row)))?.map(|row| row?).collect()
}

pub(crate) fn read_delegations(db: &Connection) -> Result<Vec<Delegation>, StoreError> {
    let mut statement = db.prepare_cached("SELECT * FROM delegations ORDER BY 1, 2, 3, 4")?;
    let delegation = |row: &Row<'_>| {
        Ok(Delegation {
            actor: PrincipalKey::new(row.get::<_, Arc<str>>(0)?, row.get::<_, Arc<str>>(1)?),
            subject: PrincipalKey::new(row.get::<_, Arc<str>>(2)?, row.get::<_, Arc<str>>(3)?),
            created: Timestamp::from_micros(row.get(4)?),
        })
    };
    Ok(statement.query_map([], delegation)?.collect::<Result<_, _>>()?)
}

fn read_principal(row: &Row<'_>) -> Result<StoredPrincipal, StoreError> {
    let text = |column: &str| row.get::<_, Option<Arc<str>>>(column);
    let required = |column| text(column)?.ok_or(StoreError::Corrupt("principal"));
    let kind = match &*required("kind")? {
        "user" => PrincipalKind::User,
        "workload" => PrincipalKind::Workload,
        _ => return Err(StoreError::Corrupt("kind of principal")),
    };
    let groups = serde_json::from_str::<Vec<Arc<str>>>(&required("groups")?);
    Ok(StoredPrincipal {
        key: PrincipalKey::new(required("issuer")?, required("subject")?),
        kind,
        display: row.get("display")?,
        groups: groups.map_err(|_| StoreError::Corrupt("list of groups"))?,
        sponsor: text("sponsor_issuer")?.zip(text("sponsor_subject")?).map(|(issuer, subject)| PrincipalKey { issuer, subject }),
        created: Timestamp::from_micros(row.get("created")?),
        disabled: row.get::<_, Option<i64>>("disabled")?.map(Timestamp::from_micros),
    })
}

fn plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

fn check(valid: bool, text: &str, what: &'static str) -> Result<(), StoreError> {
    let shown = || text.chars().filter(|c| !c.is_control()).take(80).collect();
    if valid { Ok(()) } else { Err(StoreError::InvalidName(shown(), what)) }
}
