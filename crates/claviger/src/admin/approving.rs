//! Requests for approval, for reviewers.

use claviger_api::Problem;
use claviger_api::wire::{
    Approval, ApprovalNeed, ApprovalQuery, ApprovalVote, HeldLock, HeldLocks, PastOperation, PastRequest, Review, ReviewVerdict,
    RowCount,
};
use claviger_audit::{EffectFacts, Position};
use claviger_identity::Identity;
use claviger_model::ApprovalId;
use claviger_session::{Gateway, Locked, Need, Past, ReviewError, Rows, Said, Standing, Vote};

use super::acting::{Acting, sentence};
use super::{Running, internal};
use crate::diff::diff;
use crate::visible::{deceptive, visible};

/// How much of a statement a list shows, in characters.
const GLANCE: usize = 100;
/// How many other requests of whoever asks are shown, and how much of what an earlier operation did.
const PAST: usize = 20;
const MOST_EFFECTS: usize = 10;

impl Acting<'_> {
    pub(super) fn list_approvals(&self, query: ApprovalQuery) -> Result<Vec<Approval>, Problem> {
        let all = self.admin.running()?.gateway.approvals.list();
        let open = |standing| matches!(standing, Standing::Pending | Standing::Granted);
        let listed = all.iter().filter(|approval| query.all || open(approval.standing));
        Ok(listed.map(|approval| at_a_glance(told(approval))).collect())
    }

    pub(super) fn show_approval(&self, id: ApprovalId) -> Result<Approval, Problem> {
        let (running, reviewer) = (self.admin.running()?, self.reviewer()?);
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Problem::internal())?;
        runtime.block_on(running.gateway.look_at_locks(id));
        let approval = running.gateway.look_at(id, reviewer).map_err(review_problem)?;
        Ok(with_past(in_full(&approval, &approval.statement), &approval, &running.gateway))
    }

    pub(super) fn count_approval(&self, id: ApprovalId) -> Result<Approval, Problem> {
        let (running, reviewer) = (self.admin.running()?, self.reviewer()?);
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Problem::internal())?;
        let counted = runtime.block_on(running.gateway.count_rows(id, reviewer));
        counted.map(|approval| in_full(&approval, &approval.statement)).map_err(review_problem)
    }

    pub(super) fn decide_approval(&self, id: ApprovalId, review: &Review) -> Result<Approval, Problem> {
        let running = self.admin.running()?;
        let said = match (review.verdict, &review.statement) {
            (ReviewVerdict::Approve, None) => Said::Approve,
            (ReviewVerdict::Approve, Some(text)) => Said::Edit(text.as_str().into()),
            (ReviewVerdict::Deny, None) => Said::Deny,
            (ReviewVerdict::Deny, Some(_)) => return Err(Problem::invalid("what is denied has no other text")),
        };
        let reason = sentence(review.reason.as_deref(), "reason")?;
        // With the review it may be forgotten.
        let statement = running.gateway.approvals.get(id).map(|approval| approval.statement).unwrap_or_default();
        let reviewed = running.gateway.review(id, self.reviewer()?, &said, reason, |position| synced(running, position));
        let mut shown = reviewed.map(|approval| in_full(&approval, &statement)).map_err(review_problem)?;
        if let (Said::Edit(text), Some(last)) = (&said, shown.votes.last_mut()) {
            last.diff = Some(difference(&statement, text));
        }
        Ok(shown)
    }

    /// Only somebody who has proved who he is reviews, so nobody does on the gateway's own machine.
    fn reviewer(&self) -> Result<&Identity, Problem> {
        self.caller.as_deref().ok_or_else(|| Problem::denied("a reviewer must prove who he is: use the API with a token"))
    }
}

pub(super) fn synced(running: &Running, position: Position) -> Result<(), ReviewError> {
    running.wait(position).map_err(|_| ReviewError::NotRecorded)
}

/// A request with its statement, which may be forgotten by now, as people read it.
fn in_full(approval: &claviger_session::Approval, statement: &str) -> Approval {
    let mut shown = told(approval);
    shown.formatted = formatted(&approval.statement);
    for vote in &mut shown.votes {
        vote.diff = vote.statement.as_ref().map(|text| difference(statement, text));
    }
    shown
}

/// With what whoever asks has done and asked for lately.
fn with_past(shown: Approval, approval: &claviger_session::Approval, gateway: &Gateway) -> Approval {
    let others = gateway.approvals.of(&approval.asker.chain.actor().key, PAST + 1);
    let request = |other: &claviger_session::Approval| PastRequest {
        id: other.id.to_string(),
        asked: other.asked.to_string(),
        connection: other.asker.connection.to_string(),
        standing: other.standing.as_str().to_owned(),
        reason: other.reason.as_ref().map(ToString::to_string),
    };
    Approval {
        history: gateway.history_of(approval).iter().map(past).collect(),
        requests: others.iter().filter(|other| other.id != approval.id).take(PAST).map(request).collect(),
        ..shown
    }
}

fn past(past: &Past) -> PastOperation {
    let (outcome, tags) = past.outcome.clone().map(|(status, tags)| (status.as_str().to_owned(), tags)).unzip();
    PastOperation {
        at: past.at.to_string(),
        connection: past.connection.to_string(),
        session: past.session.to_string(),
        op: past.op.0,
        classes: past.statements.iter().map(|facts| facts.class.to_owned()).collect(),
        effects: past.statements.iter().flat_map(|facts| &facts.effects).map(effect).take(MOST_EFFECTS).collect(),
        verdict: past.verdict.as_str().to_owned(),
        outcome,
        tags: tags.unwrap_or_default(),
    }
}

/// A statement laid out, with everything visible.
fn formatted(statement: &str) -> Option<String> {
    let laid_out = claviger_sql::layout(statement).filter(|_| !statement.is_empty());
    laid_out.map(|text| visible(&text).into_owned())
}

/// What is another in a text that takes a statement's place.
fn difference(statement: &str, text: &str) -> String {
    let read = |text: &str| formatted(text).unwrap_or_else(|| visible(text).into_owned());
    diff(&read(statement), &read(text))
}

/// A request as the API shows it.
pub(crate) fn told(approval: &claviger_session::Approval) -> Approval {
    let statements = || approval.facts.statements.iter();
    let mut hazards: Vec<String> = statements().flat_map(|facts| &facts.hazards).map(ToString::to_string).collect();
    hazards.sort();
    hazards.dedup();
    Approval {
        id: approval.id,
        code: approval.id.code(),
        standing: approval.standing.as_str().to_owned(),
        asked: approval.asked.to_string(),
        until: approval.until.to_string(),
        chain: approval.asker.chain.links().iter().map(|link| link.key.to_string()).collect(),
        purpose: approval.asker.purpose.as_ref().map(ToString::to_string),
        connection: approval.asker.connection.to_string(),
        client: approval.asker.client.map(|client| client.to_string()).unwrap_or_default(),
        application: approval.asker.application.as_ref().map(ToString::to_string),
        session: approval.asker.session,
        op: approval.asker.op.0,
        reason: approval.reason.as_ref().map(ToString::to_string),
        policies: approval.facts.policies.iter().map(ToString::to_string).collect(),
        statement: approval.statement.to_string(),
        formatted: None,
        deceptive: deceptive(&approval.statement),
        parameters: approval.parameters.iter().map(|value| value.as_ref().map(ToString::to_string)).collect(),
        effects: statements().flat_map(|facts| &facts.effects).map(effect).collect(),
        hazards,
        risk: approval.facts.risk,
        in_transaction: approval.in_transaction,
        has_written: approval.has_written,
        waits: approval.waits,
        editable: approval.is_editable && approval.waits,
        estimate: approval.view.estimate.as_ref().map(rows),
        count: approval.view.count.as_ref().map(rows),
        locks: approval.view.locks.as_ref().map(locks),
        history: Vec::new(),
        requests: Vec::new(),
        needs: needs_told(&approval.needs, &approval.votes),
        votes: votes_told(&approval.votes),
    }
}

fn rows(told: &Rows) -> RowCount {
    RowCount {
        rows: told.rows.as_ref().ok().copied(),
        unknown: told.rows.as_ref().err().map(ToString::to_string),
        notes: told.notes.iter().map(ToString::to_string).collect(),
        at: told.at.to_string(),
    }
}

fn locks(told: &Locked) -> HeldLocks {
    let known = told.locks.as_ref().ok();
    let held = known.into_iter().flat_map(|locks| &locks.held);
    HeldLocks {
        held: held.map(|(table, modes)| HeldLock { table: table.clone(), modes: modes.clone() }).collect(),
        more: known.is_some_and(|locks| locks.more),
        waiting: known.map_or(0, |locks| locks.waiting),
        unknown: told.locks.as_ref().err().map(ToString::to_string),
        at: told.at.to_string(),
    }
}

pub(super) fn needs_told(needs: &[Need], votes: &[Vote]) -> Vec<ApprovalNeed> {
    let approved = |group: &str| votes.iter().filter(|vote| vote.approves && *vote.group == *group).count() as u64;
    let told = |need: &Need| ApprovalNeed {
        group: need.group.to_string(),
        quorum: need.quorum as u64,
        approved: approved(&need.group),
        reasons: need.reasons,
    };
    needs.iter().map(told).collect()
}

pub(super) fn votes_told(votes: &[Vote]) -> Vec<ApprovalVote> {
    let told = |vote: &Vote| ApprovalVote {
        who: vote.who.to_string(),
        group: vote.group.to_string(),
        verdict: if vote.approves { "approve" } else { "deny" }.to_owned(),
        statement: vote.edited.as_ref().map(ToString::to_string),
        diff: None,
        reason: vote.reason.as_ref().map(ToString::to_string),
        at: vote.at.to_string(),
    };
    votes.iter().map(told).collect()
}

/// Without the values, and with no more of the statement than tells it from others: that somebody looks at it is recorded.
fn at_a_glance(approval: Approval) -> Approval {
    let votes = approval.votes.into_iter().map(|vote| ApprovalVote { statement: None, ..vote });
    Approval {
        statement: approval.statement.chars().take(GLANCE).collect(),
        parameters: Vec::new(),
        estimate: None,
        count: None,
        locks: None,
        votes: votes.collect(),
        ..approval
    }
}

fn effect(facts: &EffectFacts) -> String {
    let columns = if facts.columns.is_empty() { String::new() } else { format!(" ({})", facts.columns.join(", ")) };
    let labels = if facts.labels.is_empty() { String::new() } else { format!(" [{}]", facts.labels.join(", ")) };
    let through = facts.through.as_ref().map(|through| format!(" by way of {through}")).unwrap_or_default();
    format!("{} {} {}{columns}{labels}{through}", facts.verb, facts.kind, facts.object)
}

pub(super) fn review_problem(error: ReviewError) -> Problem {
    match error {
        ReviewError::Unknown => Problem::not_found(error.to_string()),
        ReviewError::Over(_) | ReviewError::Twice | ReviewError::OtherText => Problem::conflict(error.to_string()),
        ReviewError::NotPermitted(_) | ReviewError::NotAPerson | ReviewError::OwnRequest | ReviewError::NotAsked => {
            Problem::denied(error.to_string())
        }
        ReviewError::NoReason | ReviewError::NotEditable(_) => Problem::invalid(error.to_string()),
        ReviewError::NotRecorded => Problem::audit_unavailable(),
        ReviewError::NotKept(error) => internal(&error),
        ReviewError::NotTold => internal(&error),
    }
}
