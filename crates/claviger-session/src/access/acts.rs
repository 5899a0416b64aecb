//! What is done with access for a time. Giving is recorded and kept before it takes effect; taking takes effect first.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use claviger_audit::{AccessEvent, AccessLeaf, Batch, Leaf, LeafKind, Position};
use claviger_identity::Identity;
use claviger_model::{ApprovalId, Chain, Mode, PrincipalKey, Timestamp};
use claviger_policy::{AccessQuestion, Context, Resource, Ruling, Scope};

use super::{AccessAsk, Grant, GrantStanding, GrantsFailed, Revoked};
use crate::approvals::{Ballot, Reviewer, cut};
use crate::{Connection, ConsentsFailed, Gateway, Need, ReviewError, Said, Standing, Vote};

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
        let _acting = self.access_acts.lock().unwrap_or_else(PoisonError::into_inner);
        let (rules, now) = (self.rules(), self.now());
        let connection = rules.connections.get(&ask.connection);
        let reaches = identity.origin.reaches(ask.connection.as_str()) && identity.origin.grant.is_none();
        let connection = connection.filter(|_| reaches).ok_or(AccessError::UnknownConnection)?;
        self.check_ask(&connection, ask)?;
        let chain = self.services.authenticator.current_chain(identity);
        let asked = |scope: &Scope| {
            rules.policy.access(&AccessQuestion {
                chain: &chain,
                connection: resource(&connection),
                context: context(identity, client),
                scope,
                seconds: ask.seconds,
                now,
            })
        };
        let (ruling, answer) = asked(&ask.scope);
        let grant = Grant { policies: answer.policies, ..self.grant_of(&chain, client, ask, now) };
        let by = |leaf| AccessLeaf { token: Some(Arc::clone(&identity.token)), ..leaf };
        let needs = match ruling {
            Ruling::Permit if ask.scope.break_glass => {
                self.reviewers_of(&chain.actor().key, asked(&Scope { break_glass: false, ..ask.scope.clone() }).0)?
            }
            Ruling::Permit => Vec::new(),
            Ruling::Hold(groups) if !ask.scope.break_glass => rules.reviewing.needs(&groups),
            Ruling::Hold(_) | Ruling::Deny => {
                self.note_access(now, by(leaf(&grant, AccessEvent::Refused)))?;
                return Err(AccessError::Denied(answer.reason));
            }
        };
        let (all, own) = self.access.book().open(&chain.actor().key);
        if own >= rules.reviewing.most_each || all >= rules.reviewing.most {
            return Err(AccessError::TooMany("too many requests and grants are open; wait until some are over"));
        }
        let grant = Grant { needs, ..grant };
        let note = |leaf| self.note_access(now, leaf).and_then(|at| synced(at).map_err(|_| AccessError::NotRecorded));
        note(by(leaf(&grant, AccessEvent::Requested)))?;
        self.give_or_keep(grant, now, note)
    }

    /// Puts a request that is on record among those to be decided, or in force if nobody is to decide it first.
    fn give_or_keep(
        &self,
        grant: Grant,
        now: Timestamp,
        note: impl Fn(AccessLeaf) -> Result<(), AccessError>,
    ) -> Result<Grant, AccessError> {
        if !grant.needs.is_empty() && !grant.scope.break_glass {
            self.keep_access(&grant)?;
            return Ok(grant);
        }
        let grant = given(grant, now);
        note(leaf(&grant, AccessEvent::Granted))?;
        self.keep_access(&grant)?;
        if grant.scope.break_glass {
            tracing::warn!(who = grant.chain(), connection = %grant.connection, grant = %grant.id, "access was taken in an emergency");
        }
        Ok(grant)
    }

    /// Whether somebody who is not let in could ask for access, for a minute at least.
    pub(crate) fn could_ask(&self, identity: &Identity, connection: &Connection, client: IpAddr) -> bool {
        let ruling = || {
            let question = AccessQuestion {
                chain: &identity.chain,
                connection: resource(connection),
                context: context(identity, client),
                scope: &Scope::default(),
                seconds: 60,
                now: self.now(),
            };
            self.rules().policy.access(&question).0
        };
        connection.mode == Mode::Enforce && identity.origin.grant.is_none() && ruling() != Ruling::Deny
    }

    /// A reviewer looks at a request. May block, as it is recorded.
    pub fn look_at_access(&self, id: ApprovalId, reviewer: &Identity) -> Result<Grant, ReviewError> {
        let grant = self.access.get(id).ok_or(ReviewError::Unknown)?;
        let leaf = reviewed(reviewer, leaf(&grant, AccessEvent::Seen), None);
        self.note_access(self.now(), leaf).map_err(|_| ReviewError::NotRecorded)?;
        Ok(grant)
    }

    /// A reviewer decides a request, takes back what was given, or looks into what was taken in an emergency. May block.
    pub fn review_access(
        &self,
        id: ApprovalId,
        reviewer: &Identity,
        said: &Said,
        reason: Option<&str>,
        synced: impl Fn(Position) -> Result<(), ReviewError>,
    ) -> Result<Grant, ReviewError> {
        let _acting = self.access_acts.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, rules) = (self.access.advance(self.now()), self.rules());
        let grant = self.access.get(id).ok_or(ReviewError::Unknown)?;
        let chain = self.services.authenticator.current_chain(reviewer);
        let person = Reviewer::of(&chain, rules.policy.groups_of(chain.actor()))?;
        let takes_back = takes_back(&grant, said, now)?;
        let sponsors = self.sponsors_of(&grant.who);
        let ballot = Ballot { askers: grant.parties().chain(&sponsors).collect(), needs: &grant.needs, votes: &grant.votes };
        let need = person.counts_for(&ballot, said, takes_back, &rules.reviewing)?;
        if matches!(said, Said::Edit(_)) {
            return Err(ReviewError::NotEditable("it is no statement"));
        }
        let reason: Option<Arc<str>> = reason.map(|reason| cut(reason).into());
        if need.reasons && reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(ReviewError::NoReason);
        }
        let event = match (grant.scope.break_glass, *said == Said::Approve) {
            (true, _) => AccessEvent::Reviewed,
            (false, true) => AccessEvent::Approved,
            (false, false) => AccessEvent::Denied,
        };
        let leaf =
            AccessLeaf { groups: [Arc::clone(&need.group)].into(), ..reviewed(reviewer, leaf(&grant, event), reason.clone()) };
        let note = |leaf| self.note_access(now, leaf).map_err(|_| ReviewError::NotRecorded).and_then(&synced);
        let (who, approves) = (person.key.clone(), *said == Said::Approve);
        let vote = Vote { who, group: need.group, approves, edited: None, reason, at: now };
        self.count_review(grant, vote, leaf, now, note)
    }

    /// What comes of a review that counts. What is denied is over, whatever becomes of the record.
    fn count_review(
        &self,
        mut grant: Grant,
        vote: Vote,
        said: AccessLeaf,
        now: Timestamp,
        note: impl Fn(AccessLeaf) -> Result<(), ReviewError>,
    ) -> Result<Grant, ReviewError> {
        let not_kept = |error| ReviewError::NotKept(ConsentsFailed(GrantsFailed::to_string(&error).into()));
        if !vote.approves {
            grant.revoked = Some(Revoked { by: Arc::clone(&said.who), reason: vote.reason.clone() });
            grant.standing = match grant.standing {
                GrantStanding::Pending => GrantStanding::Denied,
                GrantStanding::Active => GrantStanding::Revoked,
                over => over,
            };
            grant.votes.push(vote);
            let kept = self.keep_access(&grant);
            note(said)?;
            return kept.map(|()| grant).map_err(not_kept);
        }
        note(said)?;
        grant.votes.push(vote);
        if grant.standing == GrantStanding::Pending && grant.is_decided() {
            grant = given(grant, now);
            note(leaf(&grant, AccessEvent::Granted))?;
        }
        self.keep_access(&grant).map_err(not_kept)?;
        Ok(grant)
    }

    /// Ends a grant, or withdraws the request for it. It is over when this returns, also if that could not be recorded or kept.
    pub fn revoke_access(
        &self,
        id: ApprovalId,
        by: &str,
        token: Option<Arc<str>>,
        reason: Option<&str>,
    ) -> Result<Grant, AccessError> {
        let _acting = self.access_acts.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = self.access.get(id).ok_or(AccessError::Unknown)?;
        if !matches!(grant.standing, GrantStanding::Pending | GrantStanding::Active) {
            return Err(AccessError::Over(grant.standing));
        }
        let reason: Option<Arc<str>> = reason.map(|reason| cut(reason).into());
        let revoked = Some(Revoked { by: by.into(), reason: reason.clone() });
        let grant = Grant { standing: GrantStanding::Revoked, revoked, ..grant };
        let kept = self.keep_access(&grant);
        self.note_access(self.now(), AccessLeaf { who: by.into(), token, reason, ..leaf(&grant, AccessEvent::Revoked) })?;
        kept?;
        Ok(grant)
    }

    /// Whether a token may be made that is good for this grant alone, for whoever has it; what is left of its time, in seconds.
    pub fn may_have_token(&self, id: ApprovalId, identity: &Identity) -> Result<(Grant, u32), AccessError> {
        let grant = self.access.get(id).ok_or(AccessError::Unknown)?;
        if !grant.is_of(&identity.chain) {
            return Err(AccessError::NotYours);
        }
        let now = self.access.advance(self.now());
        let left = grant.until.filter(|_| grant.is_in_force(now)).map(|until| now.age(until).as_secs());
        let left = left.and_then(|left| u32::try_from(left).ok()).filter(|left| *left > 0);
        left.map(|left| (grant.clone(), left)).ok_or(AccessError::Over(grant.standing))
    }

    /// Notes that such a token is about to be given out.
    pub fn note_access_token(
        &self,
        grant: &Grant,
        token: Arc<str>,
        synced: impl Fn(Position) -> Result<(), ReviewError>,
    ) -> Result<(), AccessError> {
        let at = self.note_access(self.now(), AccessLeaf { token: Some(token), ..leaf(grant, AccessEvent::Token) })?;
        synced(at).map_err(|_| AccessError::NotRecorded)
    }

    /// Ends what had its time, and what belongs to somebody who is not there any more. To be called now and then; may block.
    pub fn expire_access(&self) {
        let now = self.access.advance(self.now());
        let authenticator = &self.services.authenticator;
        let (due, orphans) = {
            let book = self.access.book();
            (book.due(now), book.orphans(|key| authenticator.stands(key)))
        };
        if due.is_empty() && orphans.is_empty() {
            return;
        }
        let _acting = self.access_acts.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = due.into_iter().map(|grant| match grant.standing {
            GrantStanding::Pending => (Grant { standing: GrantStanding::Expired, ..grant }, AccessEvent::Expired),
            _ => (Grant { standing: GrantStanding::Ended, ..grant }, AccessEvent::Ended),
        });
        let orphaned = orphans.into_iter().map(|grant| {
            let revoked = Some(Revoked { by: "gateway".into(), reason: Some("principal.disabled".into()) });
            (Grant { standing: GrantStanding::Revoked, revoked, ..grant }, AccessEvent::Revoked)
        });
        for (grant, event) in ended.chain(orphaned).collect::<Vec<_>>() {
            // It may have been decided meanwhile.
            let still = self
                .access
                .get(grant.id)
                .is_some_and(|known| matches!(known.standing, GrantStanding::Pending | GrantStanding::Active));
            if !still {
                continue;
            }
            let reason = grant.revoked.as_ref().and_then(|revoked| revoked.reason.clone());
            let leaf = AccessLeaf { reason, ..leaf(&grant, event) };
            let kept = self.keep_access(&grant);
            if kept.is_err() || self.note_access(now, leaf).is_err() {
                tracing::error!("the end of a grant could not be recorded");
            }
        }
    }

    fn check_ask(&self, connection: &Connection, ask: &AccessAsk) -> Result<(), AccessError> {
        let access = &self.rules().access;
        let longest = if ask.scope.break_glass { access.longest_break_glass } else { access.longest };
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

    /// Who reviews afterwards what is taken in an emergency: those who would have had to approve it.
    fn reviewers_of(&self, actor: &PrincipalKey, usual: Ruling) -> Result<Vec<Need>, AccessError> {
        let rules = self.rules();
        if self.access.book().unreviewed(actor) >= rules.access.most_unreviewed {
            return Err(AccessError::TooMany("what was taken in emergencies before is to be reviewed first"));
        }
        let groups = match usual {
            Ruling::Hold(groups) => groups,
            Ruling::Permit | Ruling::Deny => rules.access.reviewers.iter().map(Arc::clone).collect(),
        };
        let needs: Vec<_> = rules.reviewing.needs(&groups).into_iter().map(|need| Need { reasons: true, ..need }).collect();
        if needs.is_empty() { Err(AccessError::NoReviewers) } else { Ok(needs) }
    }

    fn grant_of(&self, chain: &Chain, client: IpAddr, ask: &AccessAsk, now: Timestamp) -> Grant {
        let now = self.access.advance(now);
        let ttl = i64::try_from(self.rules().access.ttl.as_secs()).unwrap_or(i64::MAX);
        Grant {
            id: ApprovalId::new(now, self.random()),
            who: chain.links().iter().map(|link| link.key.clone()).collect(),
            sponsors: chain.links().iter().filter_map(|link| link.sponsor.clone()).collect(),
            connection: ask.connection.clone(),
            scope: Arc::new(ask.scope.clone()),
            seconds: ask.seconds,
            reason: Arc::clone(&ask.reason),
            client: client.to_string().into(),
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

    /// Who answers for these principals today: it may be others than when they asked.
    fn sponsors_of(&self, who: &[PrincipalKey]) -> BTreeSet<PrincipalKey> {
        who.iter().filter_map(|key| self.services.authenticator.sponsor_of(key)).collect()
    }

    /// Puts a grant, as it stands now, in place of what it was before: in force or not for every session, and then on stable storage.
    /// What is given is kept first, so that nothing is in force that a restart would forget.
    fn keep_access(&self, grant: &Grant) -> Result<(), GrantsFailed> {
        let gives = grant.standing == GrantStanding::Active;
        if gives {
            self.access.grants.keep(grant)?;
        }
        {
            let mut book = self.access.book();
            book.put(grant.clone());
            self.access.in_force.store(Arc::new(book.in_force()));
        }
        self.changed();
        if gives { Ok(()) } else { self.access.grants.keep(grant) }
    }

    /// Records that a channel has told of access, or has given up; with what it was to tell of.
    pub fn notified_access(&self, told: bool, channel: Arc<str>, of: Arc<str>, id: ApprovalId) {
        let Some(grant) = self.access.get(id) else { return };
        let event = if told { AccessEvent::Notified } else { AccessEvent::NotNotified };
        // That it could not be recorded is in the log already, and what was told cannot be taken back.
        _ = self.record_access(self.now(), AccessLeaf { who: channel, reason: Some(of), ..leaf(&grant, event) });
    }

    /// What is recorded is told to whom it concerns. May block.
    fn note_access(&self, time: Timestamp, leaf: AccessLeaf) -> Result<Position, AccessError> {
        let happened = leaf.clone();
        let position = self.record_access(time, leaf)?;
        self.approvals.pass_on_access(&happened, time).then_some(position).ok_or(AccessError::NotRecorded)
    }

    fn record_access(&self, time: Timestamp, leaf: AccessLeaf) -> Result<Position, AccessError> {
        let leaf = Leaf { time, kind: LeafKind::Access(leaf) };
        self.services.ledger.append(Batch::of(leaf)).map_err(|error| {
            tracing::error!(%error, "what happened to access could not be recorded");
            AccessError::NotRecorded
        })
    }
}

/// In force from now on.
fn given(grant: Grant, now: Timestamp) -> Grant {
    Grant { standing: GrantStanding::Active, until: Some(now.plus_secs(grant.seconds.into())), ..grant }
}

/// Whether a review takes back what was given, or an error if there is nothing to review.
fn takes_back(grant: &Grant, said: &Said, now: Timestamp) -> Result<bool, ReviewError> {
    match grant.standing {
        GrantStanding::Pending if now < grant.decide_by => Ok(false),
        _ if grant.is_unreviewed() => Ok(false),
        GrantStanding::Active if *said == Said::Deny => Ok(true),
        GrantStanding::Active => Err(ReviewError::Over(Standing::Granted)),
        GrantStanding::Denied => Err(ReviewError::Over(Standing::Denied)),
        GrantStanding::Pending | GrantStanding::Expired | GrantStanding::Ended => Err(ReviewError::Over(Standing::Expired)),
        GrantStanding::Revoked => Err(ReviewError::Over(Standing::Withdrawn)),
    }
}

fn resource(connection: &Connection) -> Resource<'_> {
    Resource::Connection { name: &connection.name, kind: connection.kind, labels: &connection.labels, mode: connection.mode }
}

fn context(identity: &Identity, client: IpAddr) -> Context<'_> {
    Context { client_address: client, application: None, tls: true, purpose: identity.purpose.as_deref() }
}

fn groups(needs: &[Need]) -> Arc<[Arc<str>]> {
    needs.iter().map(|need| Arc::clone(&need.group)).collect()
}

/// What the record says of a grant, by whoever has it.
fn leaf(grant: &Grant, event: AccessEvent) -> AccessLeaf {
    let scope = &grant.scope;
    AccessLeaf {
        grant: grant.id,
        event,
        who: grant.chain().into(),
        connection: grant.connection.as_str().into(),
        actions: scope.verbs.iter().map(|verb| verb.as_str().into()).collect(),
        tables: scope.tables.iter().map(|table| table.as_str().into()).collect(),
        seconds: grant.seconds,
        break_glass: scope.break_glass,
        groups: groups(&grant.needs),
        until: grant.until,
        token: None,
        reason: matches!(event, AccessEvent::Requested | AccessEvent::Refused).then(|| Arc::clone(&grant.reason)),
    }
}

fn reviewed(reviewer: &Identity, leaf: AccessLeaf, reason: Option<Arc<str>>) -> AccessLeaf {
    AccessLeaf { who: reviewer.chain.to_string().into(), token: Some(Arc::clone(&reviewer.token)), reason, ..leaf }
}
