//! Grants in the store.

use std::sync::Arc;

use claviger_model::{ApprovalId, PrincipalKey, Timestamp};
use claviger_policy::Scope;
use claviger_session::{Access, Grant, GrantStanding, Grants, GrantsFailed, Need, Revoked, Vote};
use claviger_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

/// How long a grant is remembered after its end.
const REMEMBERED: i64 = 90 * 24 * 3600;

/// Access for a time at a gateway with this store, with what an earlier run has left.
pub(crate) fn access(store: &Arc<Store>) -> Result<Arc<Access>, StoreError> {
    let mut kept = Vec::new();
    for text in store.grants()? {
        let facts: Facts = serde_json::from_str(&text).map_err(|_| StoreError::Corrupt("grant"))?;
        let grant = facts.grant().ok_or(StoreError::Corrupt("grant"))?;
        if is_old(&grant) {
            store.forget_grant(grant.id)?;
        } else {
            kept.push(grant);
        }
    }
    Ok(Arc::new(Access::new(Arc::new(Kept(Arc::clone(store))), kept)))
}

struct Kept(Arc<Store>);

impl Grants for Kept {
    fn keep(&self, grant: &Grant) -> Result<(), GrantsFailed> {
        let failed = |error: String| GrantsFailed(error.into());
        let text = serde_json::to_string(&Facts::of(grant)).map_err(|error| failed(error.to_string()))?;
        self.0.keep_grant(grant.id, &text).map_err(|error| failed(error.to_string()))
    }
}

fn is_old(grant: &Grant) -> bool {
    let is_over = !matches!(grant.standing, GrantStanding::Pending | GrantStanding::Active) && !grant.is_unreviewed();
    is_over && grant.until.unwrap_or(grant.decide_by).plus_secs(REMEMBERED) < super::now()
}

/// A grant as it is written down.
#[derive(Serialize, Deserialize)]
struct Facts {
    id: String,
    who: Vec<PrincipalKey>,
    sponsors: Vec<PrincipalKey>,
    connection: String,
    verbs: Vec<String>,
    tables: Vec<String>,
    break_glass: bool,
    seconds: u32,
    reason: Arc<str>,
    client: Arc<str>,
    policies: Arc<[Arc<str>]>,
    needs: Vec<FactsOfNeed>,
    votes: Vec<FactsOfVote>,
    asked: i64,
    decide_by: i64,
    standing: String,
    until: Option<i64>,
    revoked: Option<(Arc<str>, Option<Arc<str>>)>,
}

#[derive(Serialize, Deserialize)]
struct FactsOfNeed {
    group: Arc<str>,
    quorum: usize,
    reasons: bool,
}

#[derive(Serialize, Deserialize)]
struct FactsOfVote {
    who: PrincipalKey,
    group: Arc<str>,
    approves: bool,
    reason: Option<Arc<str>>,
    at: i64,
}

impl Facts {
    fn of(grant: &Grant) -> Self {
        let need = |need: &Need| FactsOfNeed { group: need.group.clone(), quorum: need.quorum, reasons: need.reasons };
        let vote = |vote: &Vote| FactsOfVote {
            who: vote.who.clone(),
            group: vote.group.clone(),
            approves: vote.approves,
            reason: vote.reason.clone(),
            at: vote.at.as_micros(),
        };
        Self {
            id: grant.id.to_string(),
            who: grant.who.clone(),
            sponsors: grant.sponsors.clone(),
            connection: grant.connection.to_string(),
            verbs: grant.scope.verbs.iter().map(|verb| verb.as_str().to_owned()).collect(),
            tables: grant.scope.tables.iter().map(|table| table.as_str().to_owned()).collect(),
            break_glass: grant.scope.break_glass,
            seconds: grant.seconds,
            reason: grant.reason.clone(),
            client: grant.client.clone(),
            policies: grant.policies.clone(),
            needs: grant.needs.iter().map(need).collect(),
            votes: grant.votes.iter().map(vote).collect(),
            asked: grant.asked.as_micros(),
            decide_by: grant.decide_by.as_micros(),
            standing: grant.standing.as_str().to_owned(),
            until: grant.until.map(Timestamp::as_micros),
            revoked: grant.revoked.as_ref().map(|revoked| (revoked.by.clone(), revoked.reason.clone())),
        }
    }

    /// The grant; nothing if it was not written here.
    fn grant(self) -> Option<Grant> {
        let verbs: Option<Vec<_>> = self.verbs.iter().map(|verb| Scope::verbs_of(verb)).collect();
        let tables: Result<_, _> = self.tables.iter().map(|table| table.parse()).collect();
        let scope = Scope { verbs: verbs?.into_iter().flatten().collect(), tables: tables.ok()?, break_glass: self.break_glass };
        let need = |need: FactsOfNeed| Need { group: need.group, quorum: need.quorum, reasons: need.reasons };
        let vote = |vote: FactsOfVote| Vote {
            who: vote.who,
            group: vote.group,
            approves: vote.approves,
            edited: None,
            reason: vote.reason,
            at: Timestamp::from_micros(vote.at),
        };
        Some(Grant {
            id: self.id.parse::<ApprovalId>().ok()?,
            who: self.who,
            sponsors: self.sponsors,
            connection: self.connection.parse().ok()?,
            scope: Arc::new(scope),
            seconds: self.seconds,
            reason: self.reason,
            client: self.client,
            policies: self.policies,
            needs: self.needs.into_iter().map(need).collect(),
            votes: self.votes.into_iter().map(vote).collect(),
            asked: Timestamp::from_micros(self.asked),
            decide_by: Timestamp::from_micros(self.decide_by),
            standing: GrantStanding::ALL.into_iter().find(|standing| standing.as_str() == self.standing)?,
            until: self.until.map(Timestamp::from_micros),
            revoked: self.revoked.map(|(by, reason)| Revoked { by, reason }),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_grant_is_read_as_it_was_written() {
        let dana = PrincipalKey::new("local", "dana");
        let grant = Grant {
            id: ApprovalId::from_bytes([7; 16]),
            who: vec![PrincipalKey::new("local", "bot"), PrincipalKey::new("corp", "ana")],
            sponsors: vec![dana.clone()],
            connection: "bank".parse().unwrap(),
            scope: Arc::new(Scope {
                verbs: Scope::verbs_of("write").unwrap().into_iter().collect(),
                tables: ["public.notes".parse().unwrap()].into(),
                break_glass: true,
            }),
            seconds: 60,
            reason: "INC-1".into(),
            client: "127.0.0.1".into(),
            policies: Arc::new(["a".into()]),
            needs: vec![Need { group: "dbas".into(), quorum: 2, reasons: true }],
            votes: vec![Vote {
                who: dana,
                group: "dbas".into(),
                approves: true,
                edited: None,
                reason: Some("fine".into()),
                at: Timestamp::from_micros(5),
            }],
            asked: Timestamp::from_micros(1),
            decide_by: Timestamp::from_micros(9),
            standing: GrantStanding::Revoked,
            until: Some(Timestamp::from_micros(8)),
            revoked: Some(Revoked { by: "dana@local".into(), reason: None }),
        };
        let text = serde_json::to_string(&Facts::of(&grant)).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap().grant(), Some(grant));
    }
}
