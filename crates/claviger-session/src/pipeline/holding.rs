//! Operations that others must approve before they go ahead.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use claviger_audit::{DecisionFacts, Verdict};
use claviger_model::{ApprovalId, Refusal, RefusalKind, TxId};
use claviger_protocols::{Access, Commit, Forward, Notice, Operation, Request};

use super::deciding::Asked;
use super::serving::{After, End, Serving};
use crate::approvals::{self, Approvals, Bearer, Bound, Petition, Subject, Told, Waiting};
use crate::decide::refusal_of;
use crate::registry::Live;
use crate::understanding::{Understanding, text_of};
use crate::{Approval, Asker, Consent, Decision, Gateway, Hold, Standing, View};

/// An operation that is not decided because others must approve it.
pub(super) struct Held {
    pub(super) operation: Operation,
    hold: Hold,
    on: On,
    /// Until when the client waits.
    until: Option<Instant>,
    /// What the client is told again, and when, so that a stream that stands still is not taken for dead.
    beat: Option<(Notice, Instant)>,
}

/// A stream that stands still says so as often: clients and proxies take one for dead that is silent for 30 seconds or a minute.
const BEAT: Duration = Duration::from_secs(15);

/// What it waits for.
enum On {
    /// Reviewers.
    Review(Waiting),
    /// That a consent which was given before is used up.
    Spending(Pin<Box<dyn Future<Output = Told> + Send>>),
}

impl Serving {
    /// Asks others to approve an operation. Its client waits for them if it can.
    pub(super) fn hold(
        &mut self,
        gateway: &Gateway,
        operation: Operation,
        understanding: Option<&Understanding>,
        hold: Hold,
        now: Instant,
    ) {
        let approval = match self.approval(gateway, &operation, understanding, &hold) {
            Ok(approval) => approval,
            Err(why) => {
                let message = format!("this needs {}, and cannot be put to them: {why}", approval_by(&hold));
                return self.refuse_held(gateway, &operation, hold.facts, "approval.impossible", message);
            }
        };
        // Whoever waits in a transaction that has changed something keeps others waiting too.
        let waits = self.connection.waits_for_approval && !approval.has_written;
        let rules = gateway.rules();
        // Others of its transaction may be under way, though the client has opened none.
        let is_tool = matches!(operation.request, Request::Tool { .. });
        let in_transaction = operation.commit == Commit::Transaction || (!is_tool && self.is_begun(operation.tx));
        let patience = if in_transaction { rules.reviewing.wait_in_transaction } else { rules.reviewing.wait };
        match gateway.petition(approval, waits) {
            Err(refusal) => self.refuse(gateway, &operation, hold.facts, "approval.not_asked", refusal),
            Ok(Petition::Stands(id)) => self.refuse_for_now(gateway, &operation, hold, id),
            Ok(Petition::Granted(consent)) => {
                let spending = Box::pin(approvals::spend(Arc::clone(&gateway.approvals), consent));
                self.park(Held { operation, hold, on: On::Spending(spending), until: None, beat: None });
            }
            Ok(Petition::Waits(waiting)) => {
                let link = rules.reviewing.link_to(waiting.id());
                let notice = notice(&hold, waiting.id(), patience, link);
                let beat = if is_tool { now.checked_add(BEAT).map(|next| (notice.clone(), next)) } else { None };
                self.notices.push(notice);
                let until = now.checked_add(patience);
                self.park(Held { operation, hold, on: On::Review(waiting), until, beat });
            }
        }
    }

    fn park(&mut self, held: Held) {
        self.meter.held(1);
        self.held.push(held);
        self.rearm = true;
    }

    /// The request for approval that is to be made.
    fn approval(
        &self,
        gateway: &Gateway,
        operation: &Operation,
        understanding: Option<&Understanding>,
        hold: &Hold,
    ) -> Result<Approval, &'static str> {
        let Bound { digest, statement, parameters } = self.bound(&gateway.approvals, operation, understanding)?;
        let (live, now, rules) = (&self.live, gateway.now(), gateway.rules());
        let has_written = self.transactions.iter().any(|begun| begun.tx == operation.tx && begun.changed)
            || self.open.iter().any(|open| open.tx == operation.tx && open.changes);
        let ttl = i64::try_from(rules.reviewing.ttl.as_secs()).unwrap_or(i64::MAX);
        Ok(Approval {
            id: ApprovalId::new(now, gateway.random()),
            asker: Asker {
                session: live.id,
                op: operation.id,
                chain: gateway.services.authenticator.current_chain(&live.identity),
                purpose: live.identity.purpose.clone(),
                connection: self.connection.name.clone(),
                client: Some(live.client),
                application: live.application.clone(),
            },
            statement,
            parameters,
            facts: hold.facts.clone(),
            reason: hold.reason.clone(),
            in_transaction: operation.commit == Commit::Transaction,
            has_written,
            digest,
            needs: rules.reviewing.needs(&hold.groups),
            votes: Vec::new(),
            asked: now,
            until: now.plus_secs(ttl),
            standing: Standing::Pending,
            waits: false,
            is_editable: matches!(operation.request, Request::Batch { .. }),
            view: View { subject: self.deciding.subject(operation, live, has_written).map(Arc::new), ..View::default() },
        })
    }

    /// What consent to an operation is bound to.
    fn bound(
        &self,
        approvals: &Approvals,
        operation: &Operation,
        understanding: Option<&Understanding>,
    ) -> Result<Bound, &'static str> {
        let identity = &self.live.identity;
        let reached = self.deciding.reached(operation);
        let who = Bearer { chain: &identity.chain, purpose: identity.purpose.as_deref(), settings: &self.live.settings };
        approvals::bind(approvals.key(), operation, understanding, reached.as_ref(), who, &self.connection)
    }

    /// Takes up what has been decided meanwhile, if the chain still stands; if not, the hold ends with the session.
    pub(super) fn poll_held(&mut self, cx: &mut Context<'_>, gateway: &Gateway, now: Instant) -> Result<(), End> {
        let mut index = 0;
        while let Some(held) = self.held.get_mut(index) {
            let Poll::Ready(told) = held.on.poll(cx) else {
                index += 1;
                continue;
            };
            self.recheck(gateway, None)?;
            self.meter.held(-1);
            self.lifetime.stir(now);
            let Held { operation, hold, .. } = self.held.remove(index);
            if self.is_too_late(&operation) {
                self.refuse_late(gateway, &operation)?;
                continue;
            }
            match told {
                Told::Granted(consent) => self.deciding.decide_again(operation, consent),
                Told::Denied(who, reason) => {
                    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                    self.refuse_held(
                        gateway,
                        &operation,
                        hold.facts,
                        "approval.denied",
                        format!("{who} has denied this{reason}"),
                    );
                }
                Told::Over(standing) => {
                    let message = format!("the request for approval is {}", standing.as_str());
                    self.refuse_held(gateway, &operation, hold.facts, "approval.over", message);
                }
                Told::Lost => {
                    let message = "the approval was there and could not be used; ask again";
                    self.refuse_held(gateway, &operation, hold.facts, "approval.lost", message.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Decides what others have approved once more, with their approval: what it does may be another thing by now, and so may policy.
    pub(super) fn decide_approved(&mut self, gateway: &Gateway, operation: &Operation, consent: &Consent, now: Instant) {
        let understanding = self.deciding.understand(gateway, operation, now);
        let bound = self.bound(&gateway.approvals, operation, understanding.as_ref());
        if !bound.is_ok_and(|bound| bound.digest == consent.digest) {
            let message = "what this would do is not what was approved: something that it hangs on has changed";
            return self.refuse_approved(gateway, operation, "approval.changed", message);
        }
        let Some(text) = &consent.edited else {
            return self.admit_approved(gateway, operation, understanding.as_ref(), consent, now);
        };
        let request = Request::Batch { text: Bytes::copy_from_slice(text.as_bytes()) };
        let edited = Operation { request, access: Access::Barrier, ..operation.clone() };
        let understanding = self.deciding.understand(gateway, &edited, now);
        if !matches!(&understanding, Some(Understanding::Text(text)) if text.stands_alone()) {
            let message = "another text that changes the session, or copies, cannot take the place of this one";
            return self.refuse_approved(gateway, operation, "approval.edit", message);
        }
        self.admit_approved(gateway, &edited, understanding.as_ref(), consent, now);
    }

    /// Admits what runs by a consent, if policy permits that now.
    fn admit_approved(
        &mut self,
        gateway: &Gateway,
        runs: &Operation,
        understanding: Option<&Understanding>,
        consent: &Consent,
        now: Instant,
    ) {
        match self.judge(gateway, runs, understanding, &consent.groups, now) {
            Decision::Admit { facts, forward, mask } => {
                let forward = match (forward, &consent.edited) {
                    (Forward::Original, Some(text)) => Forward::Replace(Bytes::copy_from_slice(text.as_bytes())),
                    (forward, _) => forward,
                };
                let (now_spent, at) = (approvals::spent(consent, self.live.id, runs.id), gateway.now());
                self.record.approval(at, now_spent.clone());
                let approvals = Arc::clone(&gateway.approvals);
                let tell = move || _ = approvals.pass_on(&now_spent, at, approvals.get(now_spent.approval).as_ref());
                self.after_asking.push(After::Tell(Box::new(tell)));
                self.apply(gateway, runs, understanding, Decision::Admit { facts, forward, mask }, true, now);
            }
            Decision::Hold(hold) => {
                let message = "policy does not permit this as it was approved: it needs other approvals".to_owned();
                self.refuse_held(gateway, runs, hold.facts, "approval.insufficient", message);
            }
            refused @ Decision::Refuse { .. } => self.apply(gateway, runs, understanding, refused, false, now),
        }
    }

    fn refuse_approved(&mut self, gateway: &Gateway, operation: &Operation, code: &'static str, message: &str) {
        let facts = DecisionFacts { policy_hash: Arc::clone(&self.connect.policy_hash), ..DecisionFacts::default() };
        self.refuse_held(gateway, operation, facts, code, message.to_owned());
    }

    /// When something is to be done about one of those who wait: whoever has waited long enough is refused, and may come back.
    pub(super) fn look_at_held(&mut self, gateway: &Gateway, now: Instant) -> Option<Instant> {
        let held = std::mem::take(&mut self.held);
        let is_over = |held: &Held| held.until.is_some_and(|until| until <= now) || self.is_too_late(&held.operation);
        let (over, rest): (Vec<_>, Vec<_>) = held.into_iter().partition(is_over);
        self.held = rest;
        if !over.is_empty() {
            self.lifetime.stir(now);
        }
        for Held { operation, hold, on, .. } in over {
            self.meter.held(-1);
            match on {
                On::Review(waiting) => {
                    let id = waiting.id();
                    waiting.leave();
                    self.refuse_for_now(gateway, &operation, hold, id);
                }
                On::Spending(_) => {
                    let message = "the session is to end, and the approval is used up".to_owned();
                    self.refuse_held(gateway, &operation, hold.facts, "approval.lost", message);
                }
            }
        }
        for held in &mut self.held {
            if let Some((notice, next)) = held.beat.as_mut().filter(|(_, next)| *next <= now) {
                self.notices.push(notice.clone());
                *next = now + BEAT;
            }
        }
        self.held.iter().flat_map(|held| [held.until, held.beat.as_ref().map(|(_, next)| *next)]).flatten().min()
    }

    /// The client, or the session's end, withdraws what was asked for.
    pub(super) fn take_held(&mut self, gateway: &Gateway) -> Vec<Operation> {
        let withdraw = |held: Held| {
            if let On::Review(waiting) = &held.on {
                gateway.withdraw(waiting);
            }
            held.operation
        };
        self.meter.held(-i64::try_from(self.held.len()).unwrap_or(i64::MAX));
        std::mem::take(&mut self.held).into_iter().map(withdraw).collect()
    }

    /// Refuses what can be repeated when it is approved.
    fn refuse_for_now(&mut self, gateway: &Gateway, operation: &Operation, hold: Hold, id: ApprovalId) {
        let by = approval_by(&hold);
        let message = format!("this needs {by}; it is asked for as {id} ({}): repeat the same when it is granted", id.code());
        self.refuse_held(gateway, operation, hold.facts, "approval.pending", message);
    }

    fn refuse_held(
        &mut self,
        gateway: &Gateway,
        operation: &Operation,
        facts: DecisionFacts,
        code: &'static str,
        message: String,
    ) {
        self.refuse(gateway, operation, facts, code, Refusal::new(RefusalKind::NotPermitted, message));
    }

    fn refuse(&mut self, gateway: &Gateway, operation: &Operation, facts: DecisionFacts, code: &'static str, refusal: Refusal) {
        self.meter.decided(false);
        let refusal = refusal_of(self.live.id, operation.id, &facts, refusal);
        let facts = DecisionFacts { verdict: Verdict::Deny, reason: Some(code.into()), ..facts };
        self.record.request(gateway.now(), operation, facts);
        self.refusals.push((operation.id, refusal));
    }

    fn is_begun(&self, tx: TxId) -> bool {
        self.transactions.iter().any(|begun| begun.tx == tx) || self.open.iter().any(|open| open.tx == tx)
    }
}

impl super::deciding::Deciding {
    /// What an upstream can be asked about an operation.
    fn subject(&self, operation: &Operation, live: &Live, has_written: bool) -> Option<Subject> {
        let process = live.process?;
        let tracker = self.tracker()?;
        let (keeper, connection) = tracker.upstream();
        let text = text_of(&operation.request).and_then(|text| String::from_utf8(text.into()).ok());
        let (parameters, binary, types) = match &operation.request {
            Request::Execute { parameters, binary, types, .. } => (&**parameters, &**binary, Arc::clone(types)),
            _ => Default::default(),
        };
        let differs = [
            (tracker.is_configured(), "what its session has set is not in force there"),
            (has_written, "what its transaction has changed is not seen there"),
        ];
        let statement = tracker.seen_aside().and_then(|session| {
            Ok(approvals::Asked {
                text: text.ok_or("it is no text")?.into(),
                // Copies: slices would keep what was read with them.
                parameters: parameters.iter().map(|value| value.as_deref().map(Bytes::copy_from_slice)).collect(),
                binary: binary.to_vec(),
                types,
                session,
                settings: live.settings.clone(),
                notes: differs.into_iter().filter(|(differs, _)| *differs).map(|(_, why)| why.into()).collect(),
            })
        });
        Some(Subject { connection: Arc::clone(connection), keeper: Arc::clone(keeper), process, statement })
    }

    /// Decides an operation that was approved, before anything that was asked for after it.
    fn decide_again(&mut self, operation: Operation, consent: Consent) {
        self.put_first(Asked::Approved(operation, Box::new(consent)));
    }
}

impl On {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        match self {
            Self::Review(waiting) => Pin::new(waiting).poll(cx),
            Self::Spending(spending) => spending.as_mut().poll(cx),
        }
    }
}

fn notice(hold: &Hold, id: ApprovalId, patience: Duration, link: Option<String>) -> Notice {
    let link = link.map(|link| format!(" or at {link}")).unwrap_or_default();
    Notice {
        message: format!("this waits for {}", approval_by(hold)),
        detail: format!("code {}, request {id}; waiting {} s", id.code(), patience.as_secs()),
        hint: format!("a reviewer sees it with `claviger approvals show {id}`{link}; cancelling the statement withdraws it"),
    }
}

fn approval_by(hold: &Hold) -> String {
    let reason = hold.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("the approval of {}{reason}", hold.groups.join(" and "))
}
