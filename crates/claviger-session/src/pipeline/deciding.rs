//! Understanding and deciding, in the order in which the client asked.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use claviger_audit::{DecisionFacts, Verdict};
use claviger_identity::Identity;
use claviger_model::{Chain, Durability, MaskPlan, Mode, OpId, Refusal, RefusalKind, TxId};
use claviger_policy::{Lately, Party};
use claviger_protocols::{
    Access, Commit, Content, Forward, Masker, Operation, Outcome, Probe, ProbeId, Protocol, Reply, Request, postgres,
};

use super::lifetime::Activity;
use super::serving::{After, End, Serving};
use crate::decide::{self, Case, Decision};
use crate::record::Open;
use crate::registry::Live;
use crate::understanding::{Need, Reached, Tracker, Understanding};
use crate::usage::Exhausted;
use crate::{Admission, Connection, Consent, ContentRules, FreshSnapshot, Gateway, Snapshot};
use crate::{masking, seen};

/// What is asked for and not decided, and what deciding hangs on.
pub(super) struct Deciding {
    queue: VecDeque<Asked>,
    /// Follows the session, where what it does is to be understood.
    tracker: Option<Box<Tracker>>,
    party: Party,
    /// How HTTP requests are read.
    rules: ContentRules,
    /// A snapshot of the catalog that the first in the queue waits for, and what came of it.
    fresh: Option<FreshSnapshot>,
    seen: Option<Result<Snapshot, Arc<str>>>,
    /// A question to the upstream that waits until all that was admitted has left.
    question: Option<(ProbeId, &'static str)>,
}

/// How the answer to an operation is rewritten.
#[derive(Default)]
struct Rewriting {
    masker: Option<Box<dyn Masker>>,
    content: Option<Box<dyn Content>>,
}

/// What a client asks for.
pub(super) enum Asked {
    /// An operation.
    Operation(Operation),
    /// One that was held, and what others have consented to.
    Approved(Operation, Box<Consent>),
    /// More of an operation.
    Continue(OpId),
    /// Nothing, but that this does not run before what is asked for next.
    PutOff(OpId),
    /// The end of a group, which makes lasting what its operations have changed.
    Commit(u64),
    /// Nothing, but that this is the name of a portal and of no cursor any more.
    Portal(Bytes),
}

impl Deciding {
    pub(super) fn new(gateway: &Gateway, live: &Live, chain: &Chain, connection: &Arc<Connection>, tls: bool) -> Self {
        let party = party(gateway, live, chain, connection, tls);
        let rules = connection.contents.clone();
        let mut deciding = Self { queue: VecDeque::new(), tracker: None, party, rules, fresh: None, seen: None, question: None };
        deciding.follow(gateway, live, connection);
        deciding
    }

    /// The chain or the connection may be another.
    pub(super) fn change(&mut self, gateway: &Gateway, live: &Live, chain: &Chain, connection: &Arc<Connection>, tls: bool) {
        (self.party, self.rules) = (party(gateway, live, chain, connection, tls), connection.contents.clone());
        self.follow(gateway, live, connection);
    }

    /// Follows the session on the upstream that it is on, by the labels of this moment.
    fn follow(&mut self, gateway: &Gateway, live: &Live, connection: &Arc<Connection>) {
        // What was waited for was another keeper's.
        (self.fresh, self.seen) = (None, None);
        let catalogs = gateway.services.catalogs.as_ref();
        let catalogs = catalogs.filter(|_| connection.mode != Mode::Record && connection.kind == postgres::ENTRY.kind);
        let Some(catalogs) = catalogs else {
            (self.tracker, self.question) = (None, None);
            return;
        };
        let upstream = match Arc::ptr_eq(connection, &live.connection) {
            true => Arc::clone(connection),
            false => Arc::new(Connection {
                classification: Arc::clone(&connection.classification),
                catalog_max_age: connection.catalog_max_age,
                ..(*live.connection).clone()
            }),
        };
        let keeper = catalogs.of(&upstream);
        match &mut self.tracker {
            Some(tracker) => tracker.keep_by(keeper, upstream),
            None => self.tracker = Some(Box::new(Tracker::new(keeper, upstream))),
        }
    }

    /// Who asks, as of now.
    pub(super) fn chain(&self) -> &Chain {
        self.party.chain()
    }

    pub(super) fn ask(&mut self, asked: Asked) {
        self.queue.push_back(asked);
    }

    /// Before anything else that was asked for.
    pub(super) fn put_first(&mut self, asked: Asked) {
        self.queue.push_front(asked);
    }

    /// What an operation hangs on beyond its own text; none without a tracker.
    pub(super) fn reached(&self, operation: &Operation) -> Option<Reached> {
        self.tracker.as_ref()?.reached(operation)
    }

    pub(super) fn tracker(&self) -> Option<&Tracker> {
        self.tracker.as_deref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The operations that will not be decided any more.
    pub(super) fn take_operations(&mut self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for asked in std::mem::take(&mut self.queue) {
            match asked {
                Asked::Operation(operation) | Asked::Approved(operation, _) => operations.push(operation),
                other @ (Asked::Continue(_) | Asked::PutOff(_) | Asked::Commit(_) | Asked::Portal(_)) => {
                    self.queue.push_back(other)
                }
            }
        }
        operations
    }

    pub(super) fn admitted(&mut self, operation: &Operation, understanding: Option<&Understanding>) {
        if let (Some(tracker), Some(understanding)) = (&mut self.tracker, understanding) {
            tracker.admitted(operation, understanding);
        }
    }

    pub(super) fn ended(&mut self, gateway: &Gateway, outcome: &Outcome) {
        if let Some(tracker) = &mut self.tracker
            && tracker.ended(outcome, &gateway.states)
        {
            tracker.keeper().invalidate();
        }
    }

    pub(super) fn transaction_ended(&mut self, tx: TxId) {
        if let Some(tracker) = &mut self.tracker
            && tracker.transaction_ended(tx)
        {
            tracker.keeper().invalidate();
        }
    }

    pub(super) fn unprepared(&mut self, name: &[u8]) {
        if let Some(tracker) = &mut self.tracker {
            tracker.unprepared(name);
        }
    }

    pub(super) fn answered(&mut self, gateway: &Gateway, id: ProbeId, probe: &Probe, now: Instant) {
        if let Some(tracker) = &mut self.tracker {
            tracker.answered(id, probe, &gateway.states, now);
        }
    }

    /// Whether all is there that it takes to understand this operation.
    fn poll_ready(&mut self, cx: &mut Context<'_>, operation: &Operation, now: Instant) -> bool {
        let Some(tracker) = &mut self.tracker else { return true };
        match tracker.need(operation, now) {
            Need::Nothing => {
                (self.fresh, self.seen) = (None, None);
                return true;
            }
            Need::Answer => return false,
            Need::Question(id, text) => {
                self.question = Some((id, text));
                return false;
            }
            Need::Snapshot => {}
        }
        if self.seen.is_some() {
            return true;
        }
        let fresh = self.fresh.get_or_insert_with(|| Arc::clone(tracker.keeper()).fresh());
        let Poll::Ready(seen) = Pin::new(fresh).poll(cx) else { return false };
        (self.fresh, self.seen) = (None, Some(seen));
        true
    }

    pub(super) fn understand(&mut self, gateway: &Gateway, operation: &Operation, now: Instant) -> Option<Understanding> {
        match &operation.request {
            Request::Exchange(exchange) => return Some(Understanding::of_exchange(&self.rules, exchange)),
            Request::Tool { tool, .. } => return Some(Understanding::of_tool(tool)),
            _ => {}
        }
        let seen = self.seen.take();
        let tracker = self.tracker.as_mut()?;
        Some(tracker.understand(operation, &gateway.texts, seen, now))
    }
}

impl Serving {
    /// Decides what can be decided now.
    pub(super) fn take_up(
        &mut self,
        cx: &mut Context<'_>,
        gateway: &Gateway,
        protocol: &mut dyn Protocol<Admission>,
        now: Instant,
    ) -> Result<(), End> {
        if std::mem::take(&mut self.masks_aside) {
            protocol.resume(Reply::Mask(masking::masker_aside(&gateway.rules().masks, &self.connection)));
        }
        while let Some(next) = self.deciding.queue.pop_front() {
            let (operation, consent) = match next {
                Asked::Operation(operation) => (operation, None),
                Asked::Approved(operation, consent) => (operation, Some(consent)),
                Asked::Commit(group) => {
                    self.after_asking.push(After::Commit(group));
                    continue;
                }
                // Those behind what is held keep their order.
                behind @ (Asked::Continue(_) | Asked::PutOff(_) | Asked::Portal(_))
                    if self.deciding.tracker.is_some() && !self.held.is_empty() =>
                {
                    self.deciding.put_first(behind);
                    break;
                }
                Asked::PutOff(op) => {
                    if let Some(tracker) = &mut self.deciding.tracker {
                        tracker.put_off(op);
                    }
                    continue;
                }
                Asked::Portal(name) => {
                    if let Some(tracker) = &mut self.deciding.tracker {
                        tracker.takes_cursor(&name);
                    }
                    continue;
                }
                Asked::Continue(op) => {
                    self.recheck(gateway, None)?;
                    let goes_on = self.deciding.tracker.as_mut().is_none_or(|tracker| tracker.goes_on(op));
                    if goes_on || self.connection.mode != Mode::Enforce {
                        self.after_asking.push(After::Continue(op));
                    } else {
                        let why = "what it calls may do something else by now: run it again";
                        self.after_asking.push(After::Stop(op, Refusal::new(RefusalKind::PlanChanged, why)));
                    }
                    continue;
                }
            };
            self.recheck(gateway, Some(&operation))?;
            if self.is_too_late(&operation) {
                self.refuse_late(gateway, &operation)?;
                continue;
            }
            // What is held may change what follows it.
            let waits = self.deciding.tracker.is_some() && !self.held.is_empty();
            if waits || !self.deciding.poll_ready(cx, &operation, now) {
                self.deciding.put_first(match consent {
                    None => Asked::Operation(operation),
                    Some(consent) => Asked::Approved(operation, consent),
                });
                break;
            }
            if self.wants_content(&operation) {
                protocol.resume(Reply::Gather(operation.id));
                continue;
            }
            match consent {
                None => {
                    if let Some(op) = self.decide(gateway, operation, now) {
                        protocol.resume(Reply::Gather(op));
                    }
                }
                Some(consent) => self.decide_approved(gateway, &operation, &consent, now),
            }
        }
        if self.deciding.queue.is_empty()
            && let Some(tracker) = &mut self.deciding.tracker
            && let Some(question) = tracker.look_ahead(now)
        {
            self.deciding.question = Some(question);
        }
        self.put_question(protocol);
        // What the client is told is to be on record, so there is another turn.
        self.rearm |= !self.notices.is_empty();
        self.notices.drain(..).for_each(|notice| protocol.resume(Reply::Notice(notice)));
        Ok(())
    }

    /// The client gives up what it waits for.
    pub(super) fn cancel_undecided(&mut self, gateway: &Gateway) {
        let undecided = self.deciding.take_operations();
        for operation in self.take_held(gateway).into_iter().chain(undecided) {
            let facts = DecisionFacts {
                verdict: Verdict::Deny,
                reason: Some("operation.cancelled".into()),
                policy_hash: Arc::clone(&self.connect.policy_hash),
                ..DecisionFacts::default()
            };
            self.record.request(gateway.now(), &operation, facts);
            self.refusals.push((operation.id, Refusal::new(RefusalKind::TimedOut, "canceling statement due to user request")));
        }
    }

    /// Whether this cannot be decided before all of its content is here.
    fn wants_content(&self, operation: &Operation) -> bool {
        let Request::Exchange(exchange) = &operation.request else { return false };
        exchange.content.is_none() && self.connection.looks_into_content()
    }

    /// Decides an operation; or says which can only be decided when all of its content is here.
    fn decide(&mut self, gateway: &Gateway, mut operation: Operation, now: Instant) -> Option<OpId> {
        let understanding = self.deciding.understand(gateway, &operation, now);
        if understanding.as_ref().and_then(Understanding::reading).is_some_and(|reading| reading.reads) {
            operation.access = Access::Read;
        }
        match self.judge(gateway, &operation, understanding.as_ref(), &BTreeSet::new(), now) {
            // Reviewers see all of it.
            Decision::Hold(_) if matches!(&operation.request, Request::Exchange(exchange) if exchange.content.is_none()) => {
                return Some(operation.id);
            }
            Decision::Hold(hold) => self.hold(gateway, operation, understanding.as_ref(), hold, now),
            decided => self.apply(gateway, &operation, understanding.as_ref(), decided, false, now),
        }
        None
    }

    pub(super) fn judge(
        &self,
        gateway: &Gateway,
        operation: &Operation,
        understanding: Option<&Understanding>,
        approvals: &BTreeSet<Arc<str>>,
        now: Instant,
    ) -> Decision {
        let (rules, chain) = (gateway.rules(), self.deciding.party.chain());
        let keys = chain.links().iter().map(|link| &link.key);
        let seen: Vec<Arc<str>> = match rules.policy.looks_at("seen") {
            true => gateway.seen.of(keys, rules.release.seen_for, now).into_iter().collect(),
            false => Vec::new(),
        };
        let (budget_used, exhausted) = gateway.usage.standing(&rules.usage, chain, &self.connection.name, gateway.now());
        let decision = gateway.services.decider.decide(&Case {
            session: self.live.id,
            connection: &self.connection,
            connect: &self.connect,
            operation,
            understanding,
            policy: &gateway.rules().policy,
            party: &self.deciding.party,
            now: gateway.now(),
            approvals,
            grants: &gateway.access.of(
                self.deciding.party.chain(),
                &self.connection,
                self.live.identity.origin.grant,
                gateway.now(),
            ),
            lately: Lately { seen: &seen, budget_used },
        });
        match exhausted {
            // What has begun may end.
            Some(exhausted) if counts(operation) && !understanding.is_some_and(Understanding::only_ends) => {
                within_budget(decision, &self.connection, exhausted)
            }
            _ => decision,
        }
    }

    /// A question is about what comes after all that was admitted, so that must have left.
    fn put_question(&mut self, protocol: &mut dyn Protocol<Admission>) {
        if self.deciding.question.is_some()
            && self.after_asking.is_empty()
            && self.open.iter().all(|open| open.sent)
            && let Some((id, text)) = self.deciding.question.take()
        {
            protocol.resume(Reply::Probe(id, text.into()));
        }
    }

    /// Every operation asks again whether the chain still stands and may connect: one comparison while nothing has changed.
    pub(super) fn recheck(&mut self, gateway: &Gateway, operation: Option<&Operation>) -> Result<(), End> {
        let epochs = gateway.epochs();
        if epochs == self.epochs {
            return Ok(());
        }
        let authenticator = &gateway.services.authenticator;
        // Expiry is judged by the session's lifetime: an operation in an open transaction has its grace.
        let now = gateway.now().min(self.live.identity.expires.plus_secs(-1));
        if let Err(denied) = authenticator.recheck(&self.live.identity, now) {
            return Err((Refusal::new(RefusalKind::Unauthenticated, denied.to_string()), denied.code()));
        }
        let rules = gateway.rules();
        let Some(connection) = rules.connections.get(&self.live.connection.name) else {
            return Err((Refusal::new(RefusalKind::Terminated, "the connection was removed"), "connection.removed"));
        };
        let live = &self.live;
        let identity = Identity { chain: authenticator.current_chain(&live.identity), ..live.identity.clone() };
        let grants = gateway.in_force(&identity, &connection);
        let application = live.application.as_deref();
        let (facts, verdict) =
            decide::connect(&rules.policy, &identity, &connection, live.client.ip(), self.tls, application, &grants);
        if let Err(refusal) = verdict {
            if let Some(operation) = operation {
                self.record.request(gateway.now(), operation, facts);
            }
            return Err((refusal, "policy.deny"));
        }
        self.record.keep(connection.recording);
        self.deciding.change(gateway, live, &identity.chain, &connection, self.tls);
        (self.epochs, self.connect, self.connection) = (epochs, facts, connection);
        self.masks_aside = true;
        Ok(())
    }

    /// A grant has begun or ended: whether the session may go on, and with what is under way.
    pub(super) fn recheck_grants(&mut self, gateway: &Gateway) -> Result<(), End> {
        let (live, rules) = (&self.live, gateway.rules());
        let chain = gateway.services.authenticator.current_chain(&live.identity);
        let identity = Identity { chain, ..live.identity.clone() };
        let grants = gateway.in_force(&identity, &self.connection);
        let over = || (Refusal::new(RefusalKind::NotPermitted, "the access that was given for a time is over"), "grant.over");
        if !self.open.iter().all(|open| grants.hold(&open.grants)) {
            return Err(over());
        }
        let (address, application) = (live.client.ip(), live.application.as_deref());
        let (facts, verdict) =
            decide::connect(&rules.policy, &identity, &self.connection, address, self.tls, application, &grants);
        verdict.map_err(|refusal| if self.connect.grants.is_empty() { (refusal, "policy.deny") } else { over() })?;
        self.connect = facts;
        Ok(())
    }

    /// Whether the session is about to end and this belongs to nothing that has begun.
    pub(super) fn is_too_late(&self, operation: &Operation) -> bool {
        let tx = operation.tx;
        self.lifetime.closing().is_some()
            && !self.transactions.iter().any(|begun| begun.tx == tx)
            && !self.open.iter().any(|open| open.tx == tx)
    }

    /// Refuses an operation that came too late. If something is under way, that goes on; if not, this is the end.
    pub(super) fn refuse_late(&mut self, gateway: &Gateway, operation: &Operation) -> Result<(), End> {
        let Some((refusal, code)) = self.lifetime.closing().cloned() else { return Ok(()) };
        self.meter.decided(false);
        let facts = DecisionFacts { verdict: Verdict::Deny, reason: Some(code.into()), ..self.connect.clone() };
        self.record.request(gateway.now(), operation, facts);
        if self.activity() == Activity::Quiet {
            return Err((refusal, code));
        }
        self.refusals.push((operation.id, refusal));
        Ok(())
    }

    /// Notes a decision for the record, and what is to follow it.
    pub(super) fn apply(
        &mut self,
        gateway: &Gateway,
        operation: &Operation,
        understanding: Option<&Understanding>,
        decision: Decision,
        approved: bool,
        now: Instant,
    ) {
        let time = gateway.now();
        let (decision, Rewriting { masker, content }) = self.with_masker(gateway, operation, understanding, decision, now);
        self.meter.decided(matches!(&decision, Decision::Admit { facts, .. } if facts.verdict == Verdict::Permit));
        match decision {
            Decision::Admit { facts, forward, .. } if facts.verdict == Verdict::Permit => {
                let synced = approved || must_sync(self.connection.durability, operation);
                let grants = Arc::clone(&facts.grants);
                self.record.request(time, operation, facts);
                self.record.intent(time, operation.id, forward != Forward::Original);
                let mut open = Open::new(operation, now, synced);
                open.grants = grants;
                open.model = understanding.and_then(Understanding::reading).and_then(|reading| reading.model.clone());
                open.counts = counts(operation);
                open.changes &= understanding.is_none_or(Understanding::may_change_rows);
                self.open.insert(open);
                self.deciding.admitted(operation, understanding);
                self.after_asking.push(After::Admit { op: operation.id, forward, masker, content, synced });
            }
            Decision::Refuse { facts, refusal } => {
                self.record.request(time, operation, facts);
                self.refusals.push((operation.id, refusal));
            }
            // An admission that its own facts deny is none.
            Decision::Admit { facts, .. } => {
                self.record.request(time, operation, DecisionFacts { verdict: Verdict::Deny, ..facts });
                self.refusals.push((operation.id, Refusal::new(RefusalKind::Internal, "the decision contradicts itself")));
            }
            // Neither comes here.
            Decision::Hold(_) => {
                self.record.request(time, operation, DecisionFacts { verdict: Verdict::Deny, ..self.connect.clone() });
                self.refusals.push((operation.id, Refusal::new(RefusalKind::Internal, "the decision was put off twice")));
            }
        }
    }

    /// What rewrites the answer to an operation that is admitted. One of which the answer cannot be masked as it should be is refused.
    fn with_masker(
        &self,
        gateway: &Gateway,
        operation: &Operation,
        understanding: Option<&Understanding>,
        decision: Decision,
        now: Instant,
    ) -> (Decision, Rewriting) {
        let Decision::Admit { facts, forward, mask } = decision else { return (decision, Rewriting::default()) };
        let setting = masking::Setting {
            masks: &gateway.rules().masks,
            connection: &self.connection,
            catalog: self.deciding.tracker.as_ref().and_then(|tracker| tracker.catalog()),
            session: self.live.id.to_bytes(),
        };
        let refused = |facts, (code, refusal): (&'static str, Refusal)| {
            let facts = DecisionFacts { verdict: Verdict::Deny, reason: Some(code.into()), ..facts };
            (Decision::Refuse { facts, refusal }, Rewriting::default())
        };
        if let Request::Exchange(exchange) = &operation.request {
            let looks = self.connection.looks_into_content();
            let Some(reading) = understanding.and_then(Understanding::reading).filter(|_| looks) else {
                return (Decision::Admit { facts, forward, mask: None }, Rewriting::default());
            };
            let hides = mask.is_some_and(|plan| plan.detect);
            return match masking::contents(&setting, exchange, reading, hides) {
                Ok(masking::Contents { forward, reader }) => {
                    (Decision::Admit { facts, forward, mask: None }, Rewriting { masker: None, content: Some(reader) })
                }
                Err(why) => refused(facts, why),
            };
        }
        self.note_seen(gateway, operation, understanding, mask.as_deref(), now);
        let plan = mask.clone();
        let masker = masking::masker(&setting, operation, understanding, mask);
        match masker.and_then(|masker| self.spend(gateway, operation, plan.as_deref(), now).map(|()| masker)) {
            Ok(masker) => (Decision::Admit { facts, forward, mask: None }, Rewriting { masker, content: None }),
            Err(why) => refused(facts, why),
        }
    }

    /// Notes which classified values the chain is about to see as they are.
    fn note_seen(
        &self,
        gateway: &Gateway,
        operation: &Operation,
        understanding: Option<&Understanding>,
        plan: Option<&MaskPlan>,
        now: Instant,
    ) {
        // What is only prepared shows nothing yet; and where nothing is enforced, everything is shown.
        let Some(understanding) = understanding.filter(|_| !matches!(operation.request, Request::Prepare { .. })) else { return };
        let plan = plan.filter(|_| self.connection.mode == Mode::Enforce);
        let labels = seen::shown(understanding, plan, &self.connection.classification);
        gateway.seen.note(self.live.identity.chain.links().iter().map(|link| &link.key), &labels, now);
    }

    /// Draws on the budgets of all links, if masked values are to decide which rows are seen.
    fn spend(
        &self,
        gateway: &Gateway,
        operation: &Operation,
        plan: Option<&MaskPlan>,
        now: Instant,
    ) -> Result<(), (&'static str, Refusal)> {
        let rules = gateway.rules();
        let filtering = plan.map_or(0, MaskPlan::filtering);
        let budget = rules.release.filter_budget.filter(|_| filtering > 0 && self.connection.mode == Mode::Enforce);
        // What is only prepared decides nothing yet.
        let Some(budget) = budget.filter(|_| !matches!(operation.request, Request::Prepare { .. })) else { return Ok(()) };
        let links = self.live.identity.chain.links().iter().map(|link| &link.key);
        gateway.spent.take(budget, links, filtering, now).map_err(|wait| {
            let why = format!(
                "{} statements in {} seconds may filter by masked columns, and these have been: there are more in {} seconds",
                budget.statements,
                budget.per.as_secs(),
                wait.as_secs() + 1
            );
            ("mask.budget", Refusal::new(RefusalKind::NotPermitted, why))
        })
    }
}

/// Whether an operation draws upon budgets: what is only prepared does not, nor does a model's call of a tool, which comes with its answer.
fn counts(operation: &Operation) -> bool {
    !matches!(operation.request, Request::Prepare { .. } | Request::Tool { .. })
}

/// What becomes of an operation when a budget is used up.
fn within_budget(decision: Decision, connection: &Connection, exhausted: Exhausted<'_>) -> Decision {
    let (facts, rest) = match decision {
        Decision::Admit { facts, forward, mask } => (facts, Some((forward, mask))),
        Decision::Hold(hold) => (hold.facts, None),
        refused @ Decision::Refuse { .. } => return refused,
    };
    let reason = Some("budget.exhausted".into());
    match rest {
        Some((forward, mask)) if connection.mode != Mode::Enforce => {
            let facts = DecisionFacts { would: Some(Verdict::Deny), reason, ..facts };
            Decision::Admit { facts, forward, mask }
        }
        _ => {
            let Exhausted { budget, measure, wait } = exhausted;
            let why = format!(
                "the budget `{}` of {} is used up: there is more in {} seconds",
                budget.name,
                measure.as_str(),
                wait.as_secs()
            );
            let facts = DecisionFacts { verdict: Verdict::Deny, reason, ..facts };
            Decision::Refuse { facts, refusal: Refusal::new(RefusalKind::TooMany, why) }
        }
    }
}

fn party(gateway: &Gateway, live: &Live, chain: &Chain, connection: &Connection, tls: bool) -> Party {
    let context = claviger_policy::Context {
        client_address: live.client.ip(),
        application: live.application.as_deref(),
        tls,
        purpose: live.identity.purpose.as_deref(),
    };
    let party = Party::new(chain, &connection.name, connection.kind, &connection.labels, connection.mode, context);
    party
        .classifying(!connection.classification.is_empty())
        .detecting(connection.detect.is_some() || !connection.contents.fields.is_empty())
        .summing_up(gateway.rules().release.groups_of)
}

/// Whether an operation's intent must be on stable storage before it leaves, and its outcome before the client hears of it.
/// In an open transaction, and in a group, a write is held back by the server until the commit, which waits for all intents before it.
fn must_sync(durability: Durability, operation: &Operation) -> bool {
    match durability {
        Durability::Ordered => false,
        Durability::Synced => true,
        Durability::Auto => match operation.commit {
            Commit::Itself => operation.access != Access::Read,
            Commit::Group | Commit::Transaction => operation.access == Access::Barrier,
        },
    }
}
