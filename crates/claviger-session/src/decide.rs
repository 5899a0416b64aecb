//! Deciding: whether an operation is admitted, refused or held.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use claviger_audit::{DecisionFacts, Verdict};
use claviger_identity::Identity;
use claviger_model::{Mode, Refusal, RefusalKind};
use claviger_policy::{Action, Answer, Context, PolicySet, Question, Resource};
use claviger_protocols::{Forward, Operation};

use crate::Connection;

/// What is to become of an operation.
pub enum Decision {
    /// It goes ahead.
    Admit {
        /// Why.
        facts: DecisionFacts,
        /// What leaves for the upstream.
        forward: Forward,
    },
    /// It does not.
    Refuse {
        /// Why.
        facts: DecisionFacts,
        /// What the client is told.
        refusal: Refusal,
    },
    /// Somebody else must say. The session goes on listening meanwhile: a client that leaves ends the hold.
    Hold(Pending),
}

/// A decision that is not there yet. Dropping it withdraws the question.
pub type Pending = Pin<Box<dyn Future<Output = Decision> + Send>>;

/// Decides operations of an open session.
pub trait Decider: Send + Sync + 'static {
    /// Decides one operation. `connect` is how the session's own `connect` was decided.
    fn decide(&self, identity: &Identity, connection: &Connection, connect: &DecisionFacts, operation: &Operation) -> Decision;
}

/// Admits every operation of a session that was let in: `connect` is the whole of policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct PermitConnected;

impl Decider for PermitConnected {
    fn decide(&self, _: &Identity, _: &Connection, connect: &DecisionFacts, _: &Operation) -> Decision {
        Decision::Admit { facts: connect.clone(), forward: Forward::Original }
    }
}

/// Decides whether a chain may connect. The facts are for the record either way.
pub(crate) fn connect(
    policy: &PolicySet,
    identity: &Identity,
    connection: &Connection,
    address: IpAddr,
    tls: bool,
    application: Option<&str>,
) -> (DecisionFacts, Result<(), Refusal>) {
    if connection.mode == Mode::Record {
        let facts = DecisionFacts {
            verdict: Verdict::Permit,
            would: None,
            policies: Arc::new([]),
            policy_hash: Arc::clone(policy.hash()),
            reason: Some("mode.record".into()),
        };
        return (facts, Ok(()));
    }
    let answer = policy.decide(&Question {
        chain: &identity.chain,
        action: Action::Connect,
        resource: Resource::Connection {
            name: &connection.name,
            kind: connection.kind,
            labels: &connection.labels,
            mode: connection.mode,
        },
        context: Context { client_address: address, application, tls, purpose: identity.purpose.as_deref() },
    });
    verdict(policy, connection.mode, answer)
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
    };
    let result = match applied {
        Verdict::Permit => Ok(()),
        Verdict::Deny => Err(Refusal::new(
            RefusalKind::NotPermitted,
            match answer.reason {
                Some(reason) => format!("policy does not permit this connection: {reason}"),
                None => "policy does not permit this connection".to_owned(),
            },
        )),
    };
    (facts, result)
}
