//! Asking for access, and having it: each step is recorded and kept before it takes effect.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use claviger_audit::{AccessEvent, AccessLeaf, Position};
use claviger_identity::Identity;
use claviger_model::{ApprovalId, Chain, Mode};
use claviger_policy::{AccessQuestion, Context, Resource, Ruling, Scope};

use super::acts::GATEWAY;
use super::grant::target;
use super::keeping::leaf;
use super::{AccessAsk, AccessRules, Grant, GrantStanding, GrantsFailed};
use crate::approvals::cut;
use crate::gateway::Rules;
use crate::{Connection, Gateway, Need, ReviewError};

/// The most tables that one request names.
const MOST_TABLES: usize = 32;

/// Why access is not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no such connection, or none that this token is for.
    #[error("there is no such connection")]
    UnknownConnection,
    /// There is no such grant.
    #[error("there is no such grant")]
    Unknown,
    /// It is over, or not in force yet.
    #[error("it is {}", .0.as_str())]
    Over(GrantStanding),
    /// Policies do not guard the connection, so none can be lifted for it.
    #[error("policy is not enforced on this connection, so no access to it is given for a time")]
    NotEnforced,
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// Policy does not permit it, for this reason if it says one.
    #[error("policy does not permit it{}", .0.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Denied(Option<Arc<str>>),
    /// There is much that others must decide or look into first.
    #[error("{0}")]
    TooMany(&'static str),
    /// Nobody would look into it afterwards.
    #[error("nobody is named who would review it afterwards")]
    NoReviewers,
    /// It is somebody else's.
    #[error("the grant is somebody else's")]
    NotYours,
    /// It could not be kept.
    #[error(transparent)]
    NotKept(#[from] GrantsFailed),
    /// The record could not be written.
    #[error("it could not be recorded")]
    NotRecorded,
    /// Nobody hears of it who should.
    #[error("those who are to be told of it cannot be")]
    NotTold,
}

impl Gateway {
    /// Asks for access. May block: what is given is on record, and kept, before it is.
    pub fn ask_access(
        &self,
        identity: &Identity,
        client: IpAddr,
        ask: &AccessAsk,
        synced: impl Fn(Position) -> Result<(), ReviewError>,
    ) -> Result<Grant, AccessError> {
        let rules = self.rules();
        let connection = rules.connections.get(&ask.connection);
        let reaches = identity.origin.reaches(ask.connection.as_str()) && identity.origin.grant.is_none();
        let connection = connection.filter(|_| reaches).ok_or(AccessError::UnknownConnection)?;
        check(&rules.access, &connection, ask)?;
        let chain = self.services.authenticator.current_chain(identity);
        self.take_turn(&rules, &chain)?;
        let grant = self.grant_of(&rules, &chain, identity, client, &connection, ask);
        let by = |leaf| AccessLeaf { token: Some(Arc::clone(&identity.token)), ..leaf };
        let grant = match self.with_needs(&rules, &connection, grant.clone()) {
            Ok(grant) => grant,
            Err(error) => {
                self.note_access(&by(leaf(&grant, AccessEvent::Refused)))?;
                return Err(error);
            }
        };
        let requested = by(leaf(&grant, AccessEvent::Requested));
        let on_record = |at| synced(at).map_err(|_| AccessError::NotRecorded);
        on_record(self.append_access(&requested)?)?;
        self.access.keep_given(&grant)?;
        // Nobody approves it before those who are to be told will be.
        let _giving = self.access.giving.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = self.access.book().insert(grant.clone());
        surplus.into_iter().for_each(|id| self.access.forget(id));
        if !self.approvals.pass_on_access(&requested, self.now()) {
            self.end_access(grant.id, GATEWAY, None, Some("channel.failed".into()))?;
            return Err(AccessError::NotTold);
        }
        let note = |leaf| self.note_access(&leaf).and_then(on_record);
        if !grant.needs.is_empty() && !grant.scope.break_glass {
            return Ok(grant);
        }
        let grant = self.give(grant.id, note)?;
        if grant.scope.break_glass {
            let who = grant.chain.to_string();
            tracing::warn!(who, connection = %grant.connection, grant = %grant.id, "access was taken in an emergency");
        }
        Ok(grant)
    }

    /// Puts a request in force, from now on; ends it if that cannot be done as it must. To be called by one at a time.
    pub(super) fn give(
        &self,
        id: ApprovalId,
        note: impl Fn(AccessLeaf) -> Result<(), AccessError>,
    ) -> Result<Grant, AccessError> {
        let given = self.try_to_give(id, note);
        if given.is_err() {
            // It may be on record as given, and nobody else can decide it. What has ended meanwhile stays as it is.
            _ = self.end_access(id, GATEWAY, None, Some("access.not_given".into()));
        }
        given
    }

    fn try_to_give(&self, id: ApprovalId, note: impl Fn(AccessLeaf) -> Result<(), AccessError>) -> Result<Grant, AccessError> {
        let grant = self.access.get(id).ok_or(AccessError::Unknown)?;
        let until = Some(self.access.time.now().plus_secs(grant.seconds.into()));
        let given = Grant { standing: GrantStanding::Active, until, ..grant };
        note(leaf(&given, AccessEvent::Granted))?;
        self.access.keep_given(&given)?;
        let given = self.change_grant(id, AccessError::Unknown, |grant| {
            // It may have been taken back meanwhile, which then counts.
            if grant.standing != GrantStanding::Pending {
                return Err(AccessError::Over(grant.standing));
            }
            (grant.standing, grant.until) = (GrantStanding::Active, until);
            Ok(())
        });
        if given.is_err() {
            self.access.keep(id)?;
        }
        given
    }

    /// Whether a token may be made that is good for this grant alone, for whoever has it; what is left of its time, in seconds.
    pub fn may_have_token(&self, id: ApprovalId, identity: &Identity) -> Result<(Grant, u32), AccessError> {
        let grant = self.access.get(id).ok_or(AccessError::Unknown)?;
        if !grant.is_of(&identity.chain) {
            return Err(AccessError::NotYours);
        }
        let latest = self.access.time.latest(self.now());
        let left = grant.until.filter(|_| grant.is_in_force(latest)).map(|until| latest.age(until).as_secs());
        let left = left.and_then(|left| u32::try_from(left).ok()).filter(|left| *left > 0);
        let over = if grant.standing == GrantStanding::Active { GrantStanding::Ended } else { grant.standing };
        left.map(|left| (grant, left)).ok_or(AccessError::Over(over))
    }

    /// Notes that such a token is about to be given out.
    pub fn note_access_token(
        &self,
        grant: &Grant,
        token: Arc<str>,
        synced: impl Fn(Position) -> Result<(), ReviewError>,
    ) -> Result<(), AccessError> {
        let at = self.note_access(&AccessLeaf { token: Some(token), ..leaf(grant, AccessEvent::Token) })?;
        synced(at).map_err(|_| AccessError::NotRecorded)
    }

    /// Whether somebody who is not let in could ask for access, for a minute at least.
    pub(crate) fn could_ask(&self, identity: &Identity, connection: &Connection, client: IpAddr) -> bool {
        let rules = self.rules();
        let question = AccessQuestion {
            chain: &identity.chain,
            connection: resource(connection),
            context: Context { client_address: client, application: None, tls: true, purpose: identity.purpose.as_deref() },
            scope: &Scope::default(),
            seconds: 60,
            now: self.now(),
        };
        let may = || rules.policy.access(&question).0 != Ruling::Deny;
        connection.mode == Mode::Enforce && identity.origin.grant.is_none() && may()
    }

    /// Whether policy still permits what these groups have approved, and the configuration.
    pub(super) fn may_be_given(&self, grant: &Grant) -> Result<(), AccessError> {
        let rules = self.rules();
        let connection = rules.connections.get(&grant.connection).filter(|connection| grant.is_for(connection));
        let connection = connection.ok_or(AccessError::UnknownConnection)?;
        let ask = AccessAsk {
            connection: grant.connection.clone(),
            scope: (*grant.scope).clone(),
            seconds: grant.seconds,
            reason: Arc::clone(&grant.reason),
        };
        check(&rules.access, &connection, &ask)?;
        let chain = self.services.authenticator.current(&grant.chain);
        let approvals: BTreeSet<Arc<str>> = grant.needs.iter().map(|need| Arc::clone(&need.group)).collect();
        let answer = rules.policy.access_with(&self.question(&chain, grant, &grant.scope, &connection), &approvals);
        if answer.permit { Ok(()) } else { Err(AccessError::Denied(answer.reason)) }
    }

    /// The same, with who must approve it, or review it afterwards, and the policies that say so.
    fn with_needs(&self, rules: &Rules, connection: &Connection, grant: Grant) -> Result<Grant, AccessError> {
        let asked = |scope: &Scope| rules.policy.access(&self.question(&grant.chain, &grant, scope, connection));
        let (ruling, answer) = asked(&grant.scope);
        let needs = match ruling {
            Ruling::Permit if grant.scope.break_glass => {
                if self.access.book().unreviewed(&grant.chain, &rules.reviewing) >= rules.access.most_unreviewed {
                    return Err(AccessError::TooMany("what was taken in emergencies before is to be reviewed first"));
                }
                // Those who would have had to approve it review it.
                let groups = match asked(&Scope { break_glass: false, ..(*grant.scope).clone() }).0 {
                    Ruling::Hold(groups) => groups,
                    Ruling::Permit | Ruling::Deny => rules.access.reviewers.iter().map(Arc::clone).collect(),
                };
                let needs = rules.reviewing.needs(&groups).into_iter().map(|need| Need { reasons: true, ..need });
                Some(needs.collect::<Vec<_>>()).filter(|needs| !needs.is_empty()).ok_or(AccessError::NoReviewers)?
            }
            Ruling::Permit => Vec::new(),
            Ruling::Hold(groups) if !grant.scope.break_glass => rules.reviewing.needs(&groups),
            Ruling::Hold(_) | Ruling::Deny => return Err(AccessError::Denied(answer.reason)),
        };
        Ok(Grant { needs, policies: answer.policies, ..grant })
    }

    /// Counts one who asks, unless it is too often or too much is open.
    fn take_turn(&self, rules: &Rules, chain: &Chain) -> Result<(), AccessError> {
        let (all, own) = self.access.book().open(chain, &rules.reviewing);
        if own >= rules.reviewing.most_each || all >= rules.reviewing.most {
            return Err(AccessError::TooMany("too many requests and grants are open; wait until some are over"));
        }
        let mut pace = self.access.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = pace.take(&chain.actor().key, rules.reviewing.per_minute, self.access.time.now());
        taken.map_err(|_| AccessError::TooMany("access was asked for too often; wait a minute"))
    }

    fn question<'a>(
        &self,
        chain: &'a Chain,
        grant: &'a Grant,
        scope: &'a Scope,
        connection: &'a Connection,
    ) -> AccessQuestion<'a> {
        let purpose = grant.purpose.as_deref();
        AccessQuestion {
            chain,
            connection: resource(connection),
            context: Context { client_address: grant.client, application: None, tls: true, purpose },
            scope,
            seconds: grant.seconds,
            now: self.now(),
        }
    }

    fn grant_of(
        &self,
        rules: &Rules,
        chain: &Chain,
        identity: &Identity,
        client: IpAddr,
        connection: &Connection,
        ask: &AccessAsk,
    ) -> Grant {
        let now = self.access.time.now();
        let ttl = i64::try_from(rules.access.ttl.as_secs()).unwrap_or(i64::MAX);
        Grant {
            id: ApprovalId::new(now, self.random()),
            chain: chain.clone(),
            purpose: identity.purpose.clone(),
            connection: ask.connection.clone(),
            target: target(connection),
            scope: Arc::new(ask.scope.clone()),
            seconds: ask.seconds,
            reason: Arc::clone(&ask.reason),
            client,
            policies: Arc::new([]),
            needs: Vec::new(),
            votes: Vec::new(),
            asked: now,
            decide_by: now.plus_secs(ttl),
            standing: GrantStanding::Pending,
            until: None,
            revoked: None,
        }
    }
}

fn check(rules: &AccessRules, connection: &Connection, ask: &AccessAsk) -> Result<(), AccessError> {
    let longest = if ask.scope.break_glass { rules.longest_break_glass } else { rules.longest };
    if connection.mode != Mode::Enforce {
        return Err(AccessError::NotEnforced);
    }
    if ask.seconds == 0 || u64::from(ask.seconds) > longest.as_secs() {
        return Err(AccessError::Invalid("a grant lasts at least a second, and no longer than the configuration allows"));
    }
    if ask.reason.trim().is_empty() || ask.reason.len() != cut(&ask.reason).len() {
        return Err(AccessError::Invalid("it must be said why, in no more than 1000 bytes"));
    }
    if ask.scope.tables.len() > MOST_TABLES {
        return Err(AccessError::Invalid("a request names at most 32 tables"));
    }
    Ok(())
}

fn resource(connection: &Connection) -> Resource<'_> {
    Resource::Connection { name: &connection.name, kind: connection.kind, labels: &connection.labels, mode: connection.mode }
}
