//! Whether access may be had for a time, and who must approve that.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Entities, PolicyId, Request, RestrictedExpression};
use claviger_model::{Chain, Principal, Timestamp, Verb};

use crate::decide::{Unaskable, Verdict, text};
use crate::mentions::Mentions;
use crate::{Action, Answer, Context, Moment, PolicySet, Resource, Ruling, Scope};

/// A chain asks for access.
#[derive(Clone, Copy, Debug)]
pub struct AccessQuestion<'a> {
    /// Who asks. Every link must be permitted.
    pub chain: &'a Chain,
    /// To which connection.
    pub connection: Resource<'a>,
    /// Under which circumstances.
    pub context: Context<'a>,
    /// To do what there.
    pub scope: &'a Scope,
    /// For how many seconds.
    pub seconds: u32,
    /// When it is.
    pub now: Timestamp,
}

impl PolicySet {
    /// Whether access may be had: at once, once these groups have approved it, or not at all. The answer says why.
    pub fn access(&self, question: &AccessQuestion<'_>) -> (Ruling, Answer) {
        let (verdict, answer) = self.access_after(question, &BTreeSet::new());
        if answer.permit {
            return (Ruling::Permit, answer);
        }
        let groups = self.lifting(&verdict).filter(|groups| self.access_after(question, groups).1.permit);
        let ruling = groups.map_or(Ruling::Deny, |groups| Ruling::Hold(groups.into_iter().collect()));
        (ruling, answer)
    }

    /// Whether access may be had once these groups have approved it.
    pub fn access_with(&self, question: &AccessQuestion<'_>, approvals: &BTreeSet<Arc<str>>) -> Answer {
        self.access_after(question, approvals).1
    }

    fn access_after(&self, question: &AccessQuestion<'_>, approvals: &BTreeSet<Arc<str>>) -> (Verdict, Answer) {
        let mut verdict = Verdict::default();
        for link in question.chain.links() {
            match self.access_request(question, link, approvals) {
                Ok((request, entities)) => verdict.add(&self.authorizer.is_authorized(&request, &self.policies, &entities)),
                Err(_) => verdict.error = true,
            }
        }
        let answer = self.answer(&verdict);
        (verdict, answer)
    }

    /// The groups that the policies name which refuse, if something refuses and each of them names one.
    fn lifting(&self, verdict: &Verdict) -> Option<BTreeSet<Arc<str>>> {
        let group = |id: &PolicyId| self.about(id.as_ref()).and_then(|about| about.approval.clone());
        let groups = verdict.refusing.iter().map(group).collect::<Option<BTreeSet<_>>>()?;
        (!groups.is_empty() && !verdict.error).then_some(groups)
    }

    fn access_request(
        &self,
        question: &AccessQuestion<'_>,
        link: &Principal,
        approvals: &BTreeSet<Arc<str>>,
    ) -> Result<(Request, Entities), Unaskable> {
        let everything = Mentions::everything();
        let (principal, resource) = (self.principal(link, &everything)?, self.resource(&question.connection)?);
        let moment = Moment { now: question.now, approvals, grants: crate::Grants::default(), lately: crate::Lately::default() };
        let mut context = self.circumstances(question.chain, question.context, &everything)?;
        let set = |words: &mut dyn Iterator<Item = &str>| RestrictedExpression::new_set(words.map(text).collect::<Vec<_>>());
        // Nothing named is everything there is, and no list of some things holds that.
        let all = question.scope.verbs.is_empty();
        let verbs = if all { Verb::ALL.into() } else { question.scope.verbs.iter().copied().collect::<Vec<_>>() };
        let named = question.scope.tables.iter().map(|table| table.as_str());
        let tables: Vec<_> = if question.scope.tables.is_empty() { vec!["*"] } else { named.collect() };
        let own = [
            ("actions", set(&mut verbs.iter().map(|verb| verb.as_str()))),
            ("tables", set(&mut tables.iter().copied())),
            ("seconds", RestrictedExpression::new_long(question.seconds.into())),
            ("break_glass", RestrictedExpression::new_bool(question.scope.break_glass)),
            ("approvals", set(&mut approvals.iter().map(|group| &**group))),
        ];
        context.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
        context.extend(moment.times().map(|(name, value)| (name.to_owned(), value)));
        let context = cedar_policy::Context::from_pairs(context)?;
        let action = self.names.action(Action::RequestAccess);
        let request = Request::new(principal.uid(), action, resource.uid(), context, Some(&self.schema))?;
        let entities = self.actions.clone().add_entities([principal, resource], Some(&self.schema))?;
        Ok((request, entities))
    }
}
