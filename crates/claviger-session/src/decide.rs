//! Deciding: whether an operation is admitted, refused or held.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use claviger_audit::{DecisionFacts, Verdict};
use claviger_identity::Identity;
use claviger_model::{Insertion, MaskPlan, Mode, OpId, Refusal, RefusalKind, SessionId, Timestamp};
use claviger_policy::{
    Action, Answer, Context, Grants, Judgement, Lately, Matter, Moment, Party, PolicySet, Question, Resource, Ruling,
};
use claviger_protocols::{Forward, Operation, Request};
use claviger_sql::{NotUnderstood, Undefined};

use crate::understanding::{Text, Understanding};
use crate::{Connection, InForce};

/// What is to become of an operation.
pub enum Decision {
    /// It goes ahead.
    Admit {
        /// Why.
        facts: DecisionFacts,
        /// What leaves for the upstream.
        forward: Forward,
        /// How what comes back is masked, if it is.
        mask: Option<Arc<MaskPlan>>,
    },
    /// It does not.
    Refuse {
        /// Why.
        facts: DecisionFacts,
        /// What the client is told.
        refusal: Refusal,
    },
    /// Others must approve first.
    Hold(Hold),
}

/// What has to be approved before an operation goes ahead.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Why.
    pub facts: DecisionFacts,
    /// By which groups, as policies call them.
    pub groups: Arc<[Arc<str>]>,
    /// Why, in the policy's words.
    pub reason: Option<Arc<str>>,
}

/// An operation that is to be decided, and all that this may depend on.
pub struct Case<'a> {
    /// Its session.
    pub session: SessionId,
    /// Where it is to run.
    pub connection: &'a Connection,
    /// How the session's own `connect` was decided.
    pub connect: &'a DecisionFacts,
    /// What is asked for.
    pub operation: &'a Operation,
    /// What it does, where the connection's language is understood and is to be.
    pub understanding: Option<&'a Understanding>,
    /// The policies in force.
    pub policy: &'a PolicySet,
    /// Who asks, as the policies see it.
    pub party: &'a Party,
    /// The time of day.
    pub now: Timestamp,
    /// The groups that have approved it.
    pub approvals: &'a BTreeSet<Arc<str>>,
    /// The grants in force for whoever asks.
    pub grants: &'a InForce,
    /// What whoever asks has done lately.
    pub lately: Lately<'a>,
}

/// Decides operations of an open session.
pub trait Decider: Send + Sync + 'static {
    /// Decides one operation.
    fn decide(&self, case: &Case<'_>) -> Decision;
}

/// Asks policy about all that an operation does. In mode `record` nothing is understood, and `connect` is the whole of policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByPolicy;

impl Decider for ByPolicy {
    fn decide(&self, case: &Case<'_>) -> Decision {
        if case.connection.mode == Mode::Record {
            return Decision::Admit { facts: case.connect.clone(), forward: Forward::Original, mask: None };
        }
        let Some(understanding) = case.understanding else {
            return unknown(case, "operation.unknown", "what is asked for here is not understood").decision(case);
        };
        let finding = match understanding {
            Understanding::Text(text) => match &text.matter {
                Ok(matter) => judge(case, matter, text),
                Err(error) => not_understood(*error),
            },
            Understanding::Unknown(code, why) => unknown(case, code, why),
            Understanding::Undecidable(code, why) => {
                let refusal = Refusal::new(RefusalKind::Undecidable, format!("this cannot be decided now: {why}"));
                Finding::refused(code, refusal)
            }
            Understanding::Unreadable => {
                let why = "the session reads texts in an encoding, or by rules, under which this one is not plain";
                Finding::refused("sql.encoding", Refusal::new(RefusalKind::Encoding, why))
            }
            Understanding::NotRead(why) => {
                Finding::refused("content.not_read", Refusal::new(RefusalKind::NotUnderstood, why.to_string()))
            }
            Understanding::PlanChanged => {
                let why = "a name in this prepared statement stands for something else by now: prepare it again";
                Finding::refused("plan.changed", Refusal::new(RefusalKind::PlanChanged, why))
            }
            Understanding::FailedTransaction => {
                let why = "the transaction has failed: nothing is done until its end";
                Finding::refused("transaction.failed", Refusal::new(RefusalKind::TransactionFailed, why))
            }
        };
        finding.decision(case)
    }
}

/// What deciding came to, before the connection's mode is asked.
struct Finding {
    facts: DecisionFacts,
    /// What becomes of it; none if it goes ahead.
    stop: Option<Stop>,
    /// How what comes back is masked, if it goes ahead.
    mask: Option<Arc<MaskPlan>>,
}

/// Why something does not go ahead.
enum Stop {
    /// The client is told this.
    Refused(Refusal),
    /// These groups have to approve, for this reason.
    Held(Arc<[Arc<str>]>, Option<Arc<str>>),
}

impl Finding {
    fn refused(code: &str, refusal: Refusal) -> Self {
        let facts = DecisionFacts { verdict: Verdict::Deny, reason: Some(code.into()), ..DecisionFacts::default() };
        Self { facts, stop: Some(Stop::Refused(refusal)), mask: None }
    }

    /// In mode `observe` everything goes ahead, and the record says what would not have.
    fn decision(self, case: &Case<'_>) -> Decision {
        let Self { mut facts, stop, mask } = self;
        facts.policy_hash = Arc::clone(case.policy.hash());
        let (forward, stop) = match stop {
            None => match forward(case, mask.as_deref()) {
                Ok(forward) => (forward, None),
                Err(refusal) => {
                    facts = DecisionFacts { verdict: Verdict::Deny, reason: Some("mask.prepared".into()), ..facts };
                    (Forward::Original, Some(Stop::Refused(refusal)))
                }
            },
            stop => (Forward::Original, stop),
        };
        match stop {
            None => Decision::Admit { facts, forward, mask },
            Some(_) if case.connection.mode != Mode::Enforce => {
                let would = Some(facts.verdict);
                Decision::Admit { facts: DecisionFacts { verdict: Verdict::Permit, would, ..facts }, forward, mask }
            }
            Some(Stop::Held(groups, reason)) => Decision::Hold(Hold { facts, groups, reason }),
            Some(Stop::Refused(refusal)) => Decision::Refuse {
                refusal: refusal_of(case.session, case.operation.id, &facts, refusal),
                facts: DecisionFacts { verdict: Verdict::Deny, ..facts },
            },
        }
    }
}

/// What leaves: the client's text, or one in which rows are sorted further than it asked for and sums are limited to groups that are large
/// enough.
fn forward(case: &Case<'_>, mask: Option<&MaskPlan>) -> Result<Forward, Refusal> {
    let mut insertions = mask.into_iter().flat_map(MaskPlan::insertions).peekable();
    if insertions.peek().is_none() || case.connection.mode != Mode::Enforce {
        return Ok(Forward::Original);
    }
    let sorted = match &case.operation.request {
        Request::Batch { text } | Request::Prepare { text, again: false, .. } => with_insertions(text, insertions),
        // What was prepared when that was not needed runs as it is, or not at all.
        Request::Prepare { again: true, .. } | Request::Execute { .. } | Request::Portal { .. } | Request::Call { .. } => None,
        Request::Exchange(_) | Request::Tool { .. } => None,
    };
    let why = "this would disclose masked values as it was prepared, under other rules: prepare it again";
    sorted.map(Forward::Replace).ok_or_else(|| Refusal::new(RefusalKind::NotPermitted, why))
}

fn with_insertions<'i>(text: &Bytes, insertions: impl Iterator<Item = &'i Insertion>) -> Option<Bytes> {
    let (mut all, mut done) = (Vec::with_capacity(text.len()), 0);
    for insertion in insertions {
        all.extend_from_slice(text.get(done..insertion.at)?);
        all.extend_from_slice(insertion.words.as_bytes());
        done = insertion.at;
    }
    all.extend_from_slice(text.get(done..)?);
    Some(all.into())
}

/// A refusal of an operation, with what names it in the record.
pub(crate) fn refusal_of(session: SessionId, op: OpId, facts: &DecisionFacts, refusal: Refusal) -> Refusal {
    let reference = format!("reference {session}/{op}");
    let detail = Some(match facts.policies.is_empty() {
        true => reference,
        false => format!("policy {}; {reference}", facts.policies.join(", ")),
    });
    Refusal { detail, ..refusal }
}

fn judge(case: &Case<'_>, matter: &Matter, text: &Text) -> Finding {
    let judgement = ask(case, matter);
    let (verdict, stop) = match &judgement.ruling {
        Ruling::Permit => (Verdict::Permit, None),
        Ruling::Deny => (Verdict::Deny, Some(Stop::Refused(denied(&judgement)))),
        // What a statement that is only prepared would do may yet be approved when it is to be done.
        Ruling::Hold(_) if matches!(case.operation.request, Request::Prepare { .. }) => (Verdict::Permit, None),
        Ruling::Hold(groups) => (Verdict::Hold, Some(Stop::Held(Arc::clone(groups), judgement.reason.clone()))),
    };
    let mask = judgement.mask.clone();
    Finding { facts: DecisionFacts { verdict, statements: Arc::clone(&text.facts), ..facts(case, &judgement) }, stop, mask }
}

/// What cannot be told is for policy to admit, by the verb `unknown`; else the client learns why it cannot be told.
fn unknown(case: &Case<'_>, code: &str, why: &str) -> Finding {
    let judgement = ask(case, &Text::unknown(!case.connection.classification.is_empty()));
    match judgement.ruling {
        Ruling::Permit => {
            let mask = judgement.mask.clone();
            Finding { facts: DecisionFacts { verdict: Verdict::Permit, ..facts(case, &judgement) }, stop: None, mask }
        }
        _ => {
            let refusal = Refusal::new(RefusalKind::NotPermitted, format!("it cannot be told what this does: {why}"));
            let facts = DecisionFacts { verdict: Verdict::Deny, reason: Some(code.into()), ..facts(case, &judgement) };
            Finding { facts, stop: Some(Stop::Refused(refusal)), mask: None }
        }
    }
}

fn ask(case: &Case<'_>, matter: &Matter) -> Arc<Judgement> {
    let judged = |grants| {
        case.policy.judge(case.party, matter, &Moment { now: case.now, approvals: case.approvals, grants, lately: case.lately })
    };
    let judgement = judged(case.grants.told());
    if judgement.granted.is_empty() || case.grants.is_confined() {
        return judgement;
    }
    // What would be the same without a grant does not live by it.
    let without = judged(Grants::default());
    if (&without.ruling, &without.mask) == (&judgement.ruling, &judgement.mask) { without } else { judgement }
}

fn facts(case: &Case<'_>, judgement: &Judgement) -> DecisionFacts {
    DecisionFacts {
        grants: case.grants.ids_at(&judgement.granted),
        policies: Arc::clone(&judgement.policies),
        reason: match &judgement.disclosed {
            Some(disclosed) => Some(disclosed.code().into()),
            None => judgement.error.then(|| "policy.error".into()),
        },
        approvals: match &judgement.ruling {
            Ruling::Hold(groups) => Arc::clone(groups),
            Ruling::Permit | Ruling::Deny => Arc::default(),
        },
        risk: Some(judgement.risk.score),
        ..DecisionFacts::default()
    }
}

fn denied(judgement: &Judgement) -> Refusal {
    if let Some(disclosed) = &judgement.disclosed {
        return Refusal::new(RefusalKind::NotPermitted, format!("this would disclose masked values: {disclosed}"));
    }
    let message = match (&judgement.reason, &judgement.refused) {
        _ if judgement.error => "policy does not permit this: it could not be evaluated".to_owned(),
        (Some(reason), _) => format!("policy does not permit this: {reason}"),
        (None, Some((verb, object))) => format!("policy does not permit this: {} of {object}", verb.as_str()),
        (None, None) => "policy does not permit this".to_owned(),
    };
    Refusal::new(RefusalKind::NotPermitted, message)
}

fn not_understood(error: NotUnderstood) -> Finding {
    let (code, kind) = match error {
        NotUnderstood::Syntax => ("sql.syntax", RefusalKind::NotUnderstood),
        NotUnderstood::TooComplex => ("sql.too_complex", RefusalKind::TooLarge),
        NotUnderstood::Undefined(what) => (
            "sql.undefined",
            match what {
                Undefined::Relation => RefusalKind::UndefinedTable,
                Undefined::Column => RefusalKind::UndefinedColumn,
                Undefined::Schema => RefusalKind::UndefinedSchema,
                Undefined::Prepared => RefusalKind::UndefinedStatement,
                Undefined::Cursor => RefusalKind::UndefinedCursor,
            },
        ),
    };
    let message = match error {
        NotUnderstood::Syntax => format!("syntax error: {error}"),
        _ => error.to_string(),
    };
    Finding::refused(code, Refusal::new(kind, message))
}

/// Decides whether a chain may connect. The facts are for the record either way.
pub(crate) fn connect(
    policy: &PolicySet,
    identity: &Identity,
    connection: &Connection,
    address: IpAddr,
    tls: bool,
    application: Option<&str>,
    grants: &InForce,
) -> (DecisionFacts, Result<(), Refusal>) {
    if grants.is_over() || (grants.is_confined() && connection.mode != Mode::Enforce) {
        let why = match grants.is_over() {
            true => "the grant that this token is good for is over",
            false => "the token is good for a grant alone, and policy is not enforced here",
        };
        let facts = DecisionFacts {
            verdict: Verdict::Deny,
            policy_hash: Arc::clone(policy.hash()),
            reason: Some("grant.over".into()),
            ..DecisionFacts::default()
        };
        return (facts, Err(Refusal::new(RefusalKind::NotPermitted, why)));
    }
    if connection.mode == Mode::Record {
        let facts = DecisionFacts {
            verdict: Verdict::Permit,
            would: None,
            policies: Arc::new([]),
            policy_hash: Arc::clone(policy.hash()),
            reason: Some("mode.record".into()),
            ..DecisionFacts::default()
        };
        return (facts, Ok(()));
    }
    let ask = |grants| {
        policy.decide(&Question {
            chain: &identity.chain,
            action: Action::Connect,
            resource: Resource::Connection {
                name: &connection.name,
                kind: connection.kind,
                labels: &connection.labels,
                mode: connection.mode,
            },
            context: Context { client_address: address, application, tls, purpose: identity.purpose.as_deref() },
            grants,
        })
    };
    // Whoever may connect without a grant does not live by it.
    let without = (!grants.is_confined()).then(|| ask(Grants::default())).filter(|answer| answer.permit || grants.is_empty());
    let by_grants = without.is_none();
    let (facts, verdict) = verdict(policy, connection.mode, without.unwrap_or_else(|| ask(grants.told())));
    (DecisionFacts { grants: if by_grants { grants.ids() } else { Arc::default() }, ..facts }, verdict)
}

fn verdict(policy: &PolicySet, mode: Mode, answer: Answer) -> (DecisionFacts, Result<(), Refusal>) {
    let asked = if answer.permit { Verdict::Permit } else { Verdict::Deny };
    let applied = if mode == Mode::Enforce { asked } else { Verdict::Permit };
    let facts = DecisionFacts {
        verdict: applied,
        would: (asked != applied).then_some(asked),
        policies: answer.policies,
        policy_hash: Arc::clone(policy.hash()),
        reason: answer.error.then(|| "policy.error".into()),
        ..DecisionFacts::default()
    };
    let result = match applied {
        Verdict::Permit => Ok(()),
        Verdict::Deny | Verdict::Hold => Err(Refusal::new(
            RefusalKind::NotPermitted,
            match answer.reason {
                Some(reason) => format!("policy does not permit this connection: {reason}"),
                None => "policy does not permit this connection".to_owned(),
            },
        )),
    };
    (facts, result)
}
