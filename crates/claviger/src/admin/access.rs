//! Access for a time: asking for it, deciding, taking back.

use std::collections::BTreeSet;
use std::sync::Arc;

use claviger_api::wire::{Access, AccessQuery, IssuedToken, NewAccess, Review, ReviewVerdict, RevokeQuery};
use claviger_api::{OauthError, Problem};
use claviger_identity::Identity;
use claviger_model::{ApprovalId, Verb};
use claviger_policy::{InvalidTableName, Scope, TableName};
use claviger_session::{AccessAsk, AccessError, Grant, Said};

use super::acting::{Acting, sentence};
use super::approving::{needs_told, review_problem, synced, votes_told};
use super::{exchange, internal};
use crate::serve::now;

impl Acting<'_> {
    pub(super) fn list_grants(&self, query: AccessQuery) -> Result<Vec<Access>, Problem> {
        let listed = |grant: &Grant| self.may_see(grant) && (query.all || !grant.is_over());
        Ok(self.admin.running()?.gateway.access.list(listed).iter().map(told).collect())
    }

    pub(super) fn show_grant(&self, id: ApprovalId) -> Result<Access, Problem> {
        let grant = self.seen(id)?;
        // Whoever looks at his own does not review it.
        if !self.caller.as_ref().is_some_and(|caller| grant.is_of(&caller.chain)) {
            self.admin.running()?.gateway.look_at_access(id, self.person()?).map_err(review_problem)?;
        }
        Ok(told(&grant))
    }

    pub(super) fn ask_access(&self, new: &NewAccess) -> Result<Access, Problem> {
        let running = self.admin.running()?;
        let (verbs, tables) = (verbs(&new.actions)?, tables(&new.tables)?);
        let ask = AccessAsk {
            connection: new.connection.parse().map_err(|_| Problem::not_found("there is no such connection"))?,
            scope: Scope { verbs, tables, break_glass: new.break_glass },
            seconds: new.seconds,
            reason: new.reason.as_str().into(),
        };
        let address = self.address.ok_or_else(Problem::internal)?;
        let asked = running.gateway.ask_access(self.person()?, address, &ask, |position| synced(running, position));
        asked.map(|grant| told(&grant)).map_err(access_problem)
    }

    pub(super) fn decide_access(&self, id: ApprovalId, review: &Review) -> Result<Access, Problem> {
        let running = self.admin.running()?;
        let said = match (review.verdict, &review.statement) {
            (_, Some(_)) => return Err(Problem::invalid("access has no statement that could be another")),
            (ReviewVerdict::Approve, None) => Said::Approve,
            (ReviewVerdict::Deny, None) => Said::Deny,
        };
        let reason = sentence(review.reason.as_deref(), "reason")?;
        let reviewed = running.gateway.review_access(id, self.person()?, &said, reason, |position| synced(running, position));
        reviewed.map(|grant| told(&grant)).map_err(review_problem)
    }

    pub(super) fn take_back(&self, id: ApprovalId, how: &RevokeQuery) -> Result<Access, Problem> {
        let (running, grant) = (self.admin.running()?, self.seen(id)?);
        let reason = sentence(how.reason.as_deref(), "reason")?;
        let token = self.caller.as_ref().map(|caller| Arc::clone(&caller.token));
        let taken = running.gateway.revoke_access(grant.id, &self.who, token, reason);
        taken.map(|grant| told(&grant)).map_err(access_problem)
    }

    pub(super) fn mint_token(&self, id: ApprovalId) -> Result<IssuedToken, Problem> {
        let (running, person) = (self.admin.running()?, self.person()?);
        let (grant, left) = running.gateway.may_have_token(id, person).map_err(access_problem)?;
        let scope = format!("connection:{}", grant.connection);
        let exchanged = running.authenticator.exchange(person, None, Some(&scope), now());
        let exchanged = exchanged.map_err(|error| Problem::denied(error.to_string()))?.for_grant(id);
        let address = self.address.ok_or_else(Problem::internal)?;
        let issued = exchange::made(self.admin, running, &exchanged, left, address).map_err(not_made)?;
        let noted = running.gateway.note_access_token(&grant, Arc::clone(&issued.id), |position| synced(running, position));
        noted.map_err(access_problem)?;
        exchange::keep(self.admin, &exchanged, &issued).map_err(not_made)?;
        Ok(IssuedToken {
            id: issued.id.to_string(),
            token: issued.token.expose_str().unwrap_or_default().to_owned(),
            expires: issued.expires.to_string(),
        })
    }

    fn seen(&self, id: ApprovalId) -> Result<Grant, Problem> {
        let grant = self.admin.running()?.gateway.access.get(id).filter(|grant| self.may_see(grant));
        grant.ok_or_else(|| Problem::not_found("there is no such grant"))
    }

    /// Whoever may not see all sees his own.
    fn may_see(&self, grant: &Grant) -> bool {
        !self.own || self.caller.as_ref().is_some_and(|caller| grant.is_of(&caller.chain))
    }

    /// Access is somebody's, so nobody asks for it on the gateway's own machine.
    fn person(&self) -> Result<&Identity, Problem> {
        self.caller
            .as_deref()
            .ok_or_else(|| Problem::denied("it takes somebody who has proved who he is: use the API with a token"))
    }
}

fn verbs(words: &[String]) -> Result<BTreeSet<Verb>, Problem> {
    let mut verbs = BTreeSet::new();
    for word in words {
        let known = Scope::verbs_of(word).ok_or_else(|| Problem::invalid(format!("`{word}` is no action of statements")))?;
        verbs.extend(known);
    }
    Ok(verbs)
}

fn tables(names: &[String]) -> Result<BTreeSet<TableName>, Problem> {
    let read: Result<_, InvalidTableName> = names.iter().map(|name| name.parse()).collect();
    read.map_err(|error| Problem::invalid(error.to_string()))
}

fn told(grant: &Grant) -> Access {
    Access {
        id: grant.id,
        code: grant.id.code(),
        standing: grant.standing.as_str().to_owned(),
        chain: grant.who().map(ToString::to_string).collect(),
        purpose: grant.purpose.as_ref().map(ToString::to_string),
        connection: grant.connection.to_string(),
        actions: grant.scope.verbs.iter().map(|verb| verb.as_str().to_owned()).collect(),
        tables: grant.scope.tables.iter().map(|table| table.as_str().to_owned()).collect(),
        seconds: grant.seconds,
        reason: grant.reason.to_string(),
        client: grant.client.to_string(),
        break_glass: grant.scope.break_glass,
        unreviewed: grant.is_unreviewed(),
        policies: grant.policies.iter().map(ToString::to_string).collect(),
        asked: grant.asked.to_string(),
        decide_by: grant.decide_by.to_string(),
        until: grant.until.map(|until| until.to_string()),
        needs: needs_told(&grant.needs, &grant.votes),
        votes: votes_told(&grant.votes),
        revoked_by: grant.revoked.as_ref().map(|revoked| revoked.by.to_string()),
        revoked_because: grant.revoked.as_ref().and_then(|revoked| revoked.reason.as_ref().map(ToString::to_string)),
    }
}

fn not_made(error: OauthError) -> Problem {
    Problem::conflict(error.error_description)
}

fn access_problem(error: AccessError) -> Problem {
    match error {
        AccessError::Unknown | AccessError::UnknownConnection => Problem::not_found(error.to_string()),
        AccessError::Over(_) | AccessError::TooMany(_) | AccessError::NotEnforced | AccessError::NoReviewers => {
            Problem::conflict(error.to_string())
        }
        AccessError::Invalid(_) => Problem::invalid(error.to_string()),
        AccessError::Denied(_) | AccessError::NotYours => Problem::denied(error.to_string()),
        AccessError::NotRecorded | AccessError::NotTold => Problem::audit_unavailable(),
        AccessError::NotKept(error) => internal(&error),
    }
}
