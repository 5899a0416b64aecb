//! Grants in the store.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use claviger_model::{ApprovalId, Chain, Principal, PrincipalKey, Timestamp};
use claviger_policy::Scope;
use claviger_session::{Access, Grant, GrantStanding, Grants, GrantsFailed, Need, Revoked, Steady, Vote};
use claviger_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

/// How long a grant is remembered after its end.
const REMEMBERED: i64 = 90 * 24 * 3600;

/// Access for a time at a gateway with this store, with what an earlier run has left.
pub(crate) fn access(store: &Arc<Store>) -> Result<Access, StoreError> {
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
    let began = Instant::now();
    let time = Steady::new(super::now(), move || began.elapsed());
    let time = store.noted_time()?.into_iter().fold(time, Steady::not_before);
    Ok(Access::new(Arc::new(Kept(Arc::clone(store))), kept, time))
}

struct Kept(Arc<Store>);

impl Grants for Kept {
    fn keep(&self, grant: &Grant) -> Result<(), GrantsFailed> {
        let text = serde_json::to_string(&Facts::of(grant)).map_err(|error| GrantsFailed(error.to_string().into()))?;
        self.0.keep_grant(grant.id, &text).map_err(|error| failed(&error))
    }

    fn note_time(&self, at: Timestamp) -> Result<(), GrantsFailed> {
        self.0.note_time(at).map_err(|error| failed(&error))
    }

    fn forget(&self, id: ApprovalId) -> Result<(), GrantsFailed> {
        self.0.forget_grant(id).map_err(|error| failed(&error))
    }
}

fn failed(error: &StoreError) -> GrantsFailed {
    GrantsFailed(error.to_string().into())
}

fn is_old(grant: &Grant) -> bool {
    grant.is_over() && grant.until.unwrap_or(grant.decide_by).plus_secs(REMEMBERED) < super::now()
}

/// A grant as it is written down.
#[derive(Serialize, Deserialize)]
struct Facts {
    id: String,
    chain: Vec<Principal>,
    purpose: Option<Arc<str>>,
    connection: String,
    target: Arc<str>,
    verbs: Vec<String>,
    tables: Vec<String>,
    break_glass: bool,
    seconds: u32,
    reason: Arc<str>,
    client: IpAddr,
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
            chain: grant.chain.links().to_vec(),
            purpose: grant.purpose.clone(),
            connection: grant.connection.to_string(),
            target: grant.target.clone(),
            verbs: grant.scope.verbs.iter().map(|verb| verb.as_str().to_owned()).collect(),
            tables: grant.scope.tables.iter().map(|table| table.as_str().to_owned()).collect(),
            break_glass: grant.scope.break_glass,
            seconds: grant.seconds,
            reason: grant.reason.clone(),
            client: grant.client,
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
            chain: Chain::from_links(self.chain).ok()?,
            purpose: self.purpose,
            connection: self.connection.parse().ok()?,
            target: self.target,
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

    use claviger_model::PrincipalKind;

    use super::*;

    #[test]
    fn a_grant_is_read_as_it_was_written() {
        let dana = PrincipalKey::new("local", "dana");
        let principal = |issuer: &str, name: &str, kind, sponsor| Principal {
            key: PrincipalKey::new(issuer, name),
            kind,
            groups: vec!["g".into()],
            sponsor,
        };
        let bot = principal("local", "bot", PrincipalKind::Workload, Some(dana.clone()));
        let ana = principal("corp", "ana", PrincipalKind::User, None);
        let grant = Grant {
            id: ApprovalId::from_bytes([7; 16]),
            chain: Chain::from_links(vec![bot, ana]).unwrap(),
            purpose: Some("report".into()),
            connection: "bank".parse().unwrap(),
            target: "db:5432/bank".into(),
            scope: Arc::new(Scope {
                verbs: Scope::verbs_of("write").unwrap().into_iter().collect(),
                tables: ["public.notes".parse().unwrap()].into(),
                break_glass: true,
            }),
            seconds: 60,
            reason: "INC-1".into(),
            client: [127, 0, 0, 1].into(),
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
