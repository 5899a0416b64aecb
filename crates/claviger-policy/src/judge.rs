//! Judging what statements do.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{AuthorizationError, Decision, Entity, EntityUid, PolicyId, Request, RestrictedExpression};
use claviger_model::{MaskPlan, Meaning, Object, Verb};

use crate::decide::{Unaskable, text};
use crate::entities::{Entities, Kind};
use crate::masking::Disclosed;
use crate::party::Digest;
use crate::questions::{Telling, questions};
use crate::risk::{is_night, is_weekend};
use crate::scope::{Covered, Reach};
use crate::slices::Sort;
use crate::{Asked, Grants, Matter, Moment, Party, PolicySet, Risk};

/// The most questions that are asked about one text; what gives rise to more is denied.
const MAX_QUESTIONS: usize = 16_384;

/// What is to become of statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether they may run.
    pub ruling: Ruling,
    /// The ids of the policies that determined it, sorted: those that permit; or those that forbid or failed, and none where nothing
    /// permits.
    pub policies: Arc<[Arc<str>]>,
    /// The `@reason` of a policy that forbids, in the author's words.
    pub reason: Option<Arc<str>>,
    /// The `@control`s of those policies, sorted.
    pub controls: Arc<[Arc<str>]>,
    /// Whether something could not be evaluated, which is a denial too.
    pub error: bool,
    /// The first thing that is not permitted.
    pub refused: Option<(Verb, Object)>,
    /// What is at stake: the gravest of the statements.
    pub risk: Risk,
    /// How what they give is masked; none if nothing is.
    pub mask: Option<Arc<MaskPlan>>,
    /// Why classified columns forbid it, whatever policies say otherwise.
    pub disclosed: Option<Disclosed>,
    /// The grants that are good for a part of it, by their places.
    pub granted: Arc<[usize]>,
}

/// Whether statements may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// They may.
    Permit,
    /// They may not.
    Deny,
    /// They may once all of these groups have approved, sorted.
    Hold(Arc<[Arc<str>]>),
}

/// What one question was answered, link by link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The question.
    pub asked: Asked,
    /// What each link of the chain was told, the actor first.
    pub replies: Vec<Reply>,
}

/// What policies say to one question about one link of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Whether it is permitted.
    pub permit: bool,
    /// Whether something could not be evaluated, which is a denial too.
    pub error: bool,
    /// The ids of the policies that determined it, sorted; none where nothing permits.
    pub policies: Vec<Arc<str>>,
}

impl Answered {
    /// Whether every link is permitted.
    pub fn permit(&self) -> bool {
        self.replies.iter().all(|reply| reply.permit)
    }
}

/// What a judgement can depend on, beside the policies.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    party: Digest,
    matter: Digest,
    approvals: Digest,
    grants: Digest,
    seen: Option<Vec<Arc<str>>>,
    budget_used: Option<u32>,
    hour: Option<u8>,
    weekday: Option<u8>,
    second: Option<i64>,
    night: bool,
    weekend: bool,
}

impl PolicySet {
    /// Judges statements. The same question again, under the same circumstances as far as policies look at them, costs a look-up.
    pub fn judge(&self, party: &Party, matter: &Matter, moment: &Moment<'_>) -> Arc<Judgement> {
        let key = self.key(party, matter, moment);
        if let Some(judgement) = self.judgements.get(&key) {
            return judgement;
        }
        let judgement = Arc::new(self.examine(party, matter, moment).0);
        self.judgements.put(key, Arc::clone(&judgement));
        judgement
    }

    /// Judges statements, and says how each question was answered. Nothing is remembered.
    pub fn examine(&self, party: &Party, matter: &Matter, moment: &Moment<'_>) -> (Judgement, Vec<Answered>) {
        let risk = matter.statements().iter().map(|meaning| Risk::of(meaning, party, moment)).max_by_key(|risk| risk.score);
        let risk = risk.unwrap_or_default();
        let asking = Asking::new(self, party, matter, moment);
        let Ok(asking) = asking else { return (self.unaskable(risk), Vec::new()) };
        let Some(answers) = asking.ask(matter, moment.approvals) else { return (self.unaskable(risk), Vec::new()) };
        let error = answers.iter().flat_map(|answered| &answered.replies).any(|reply| reply.error);
        let permit = !error && answers.iter().all(Answered::permit);
        let ruling = match permit {
            true => Ruling::Permit,
            false => asking.lift(matter, moment, &answers).map_or(Ruling::Deny, |groups| Ruling::Hold(groups.into())),
        };
        let determining: BTreeSet<&Arc<str>> = answers
            .iter()
            .flat_map(|answered| &answered.replies)
            .filter(|reply| reply.permit == permit)
            .flat_map(|reply| &reply.policies)
            .collect();
        let about = || determining.iter().filter_map(|id| self.about(id));
        // What no approval lifts says more.
        let reason = || {
            let of = |lifted: bool| about().filter(move |policy| policy.forbids && policy.approval.is_some() == lifted);
            of(false).chain(of(true)).find_map(|policy| policy.reason.clone())
        };
        let refused = answers.iter().find(|answered| !answered.permit());
        let masking = asking.mask(matter, moment.approvals);
        let (mask, disclosed) = match masking {
            Ok(mask) => (mask, None),
            Err(disclosed) => (None, Some(disclosed)),
        };
        let judgement = Judgement {
            ruling: if disclosed.is_some() { Ruling::Deny } else { ruling },
            reason: if permit { None } else { reason() },
            controls: about().filter_map(|policy| policy.control.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
            policies: determining.into_iter().cloned().collect(),
            error,
            refused: refused.and_then(|answered| Some((answered.asked.verb, answered.asked.objects.first()?.clone()))),
            risk,
            mask,
            disclosed,
            granted: asking.used(&answers),
        };
        (judgement, answers)
    }

    fn key(&self, party: &Party, matter: &Matter, moment: &Moment<'_>) -> Key {
        Key {
            party: party.digest(self.counting),
            matter: matter.digest,
            approvals: moment.approvals_digest(),
            grants: moment.grants.digest(),
            seen: self.mentions.attribute("seen").then(|| moment.lately.seen.to_vec()),
            budget_used: self.mentions.attribute("budget_used").then_some(moment.lately.budget_used),
            hour: self.mentions.attribute("hour").then(|| moment.hour()),
            weekday: self.mentions.attribute("weekday").then(|| moment.day()),
            second: self.mentions.attribute("now").then(|| moment.now.as_secs()),
            night: is_night(moment.hour()),
            weekend: is_weekend(moment.day()),
        }
    }

    fn unaskable(&self, risk: Risk) -> Judgement {
        let (policies, controls) = (Arc::new([]), Arc::new([]));
        Judgement {
            ruling: Ruling::Deny,
            policies,
            reason: None,
            controls,
            error: true,
            refused: None,
            risk,
            mask: None,
            disclosed: None,
            granted: Arc::default(),
        }
    }
}

/// Asking the policies about one party at one moment.
pub(crate) struct Asking<'a> {
    set: &'a PolicySet,
    pub(crate) party: &'a Party,
    moment: &'a Moment<'a>,
    pub(crate) principals: Vec<(Entity, Sort)>,
    connection: Entity,
    circumstances: Vec<(String, RestrictedExpression)>,
    /// What grants are good for in each statement; nothing where there is none.
    reaches: Vec<Reach<'a>>,
}

impl<'a> Asking<'a> {
    fn new(set: &'a PolicySet, party: &'a Party, matter: &Matter, moment: &'a Moment<'a>) -> Result<Self, Unaskable> {
        let principals = party.chain.links().iter();
        let principals = principals.map(|link| Ok((set.principal(link, &set.mentions)?, set.slices.sort(link, &set.names)?)));
        let principals = principals.collect::<Result<_, Unaskable>>()?;
        let connection = Entities { names: &set.names, party, mentions: &set.mentions }.connection()?;
        let context = crate::Context {
            client_address: party.address,
            application: party.application.as_deref(),
            tls: party.tls,
            purpose: party.purpose.as_deref(),
        };
        let mut circumstances = set.circumstances(&party.chain, context, &set.mentions)?;
        let times = moment.times().filter(|(name, _)| set.mentions.attribute(name));
        circumstances.extend(times.map(|(name, value)| (name.to_owned(), value)));
        let reaches = match moment.grants {
            Grants { scopes: [], confined: false } => Vec::new(),
            grants => matter.statements().iter().map(|meaning| Reach::of(grants, meaning)).collect(),
        };
        Ok(Self { set, party, moment, principals, connection, circumstances, reaches })
    }

    /// Asks everything about these statements; nothing if that is too much.
    fn ask(&self, matter: &Matter, approvals: &BTreeSet<Arc<str>>) -> Option<Vec<Answered>> {
        let mut answers = Vec::new();
        for (statement, meaning) in matter.statements().iter().enumerate() {
            let questions =
                questions(statement, meaning, |verb, kind| self.telling(verb, kind), |verb, object| self.named(verb, object));
            if answers.len() + questions.len() > MAX_QUESTIONS {
                return None;
            }
            let context = self.context(meaning, approvals);
            for asked in questions {
                let replies = match &context {
                    Ok(context) => self.principals.iter().map(|principal| self.reply(principal, &asked, context)).collect(),
                    Err(_) => vec![Reply { error: true, ..Reply::default() }],
                };
                answers.push(Answered { asked, replies });
            }
        }
        Some(answers)
    }

    /// The groups whose approval would make these answers all permit, if there are such.
    fn lift(&self, matter: &Matter, moment: &Moment<'_>, answers: &[Answered]) -> Option<Vec<Arc<str>>> {
        let mut groups = BTreeSet::new();
        for reply in answers.iter().flat_map(|answered| &answered.replies).filter(|reply| !reply.permit) {
            if reply.error || reply.policies.is_empty() {
                return None;
            }
            for id in &reply.policies {
                groups.insert(self.set.about(id)?.approval.clone()?);
            }
        }
        let approvals = moment.approvals.union(&groups).cloned().collect();
        let lifted = self.ask(matter, &approvals)?.iter().all(Answered::permit);
        lifted.then(|| groups.difference(moment.approvals).cloned().collect())
    }

    fn telling(&self, verb: Verb, kind: Kind) -> Telling {
        let mentions = self.set.slices.for_all(self.set, verb, kind).map(|slice| &slice.mentions);
        let attribute = |name| mentions.is_none_or(|mentions| mentions.attribute(name));
        // Of things that policies do not tell apart, a grant may name one and not the other.
        Telling { names: attribute("name") || self.grants_tell(), through: attribute("through") || self.grants_tell() }
    }

    fn grants_tell(&self) -> bool {
        !self.reaches.is_empty()
    }

    /// The grants that are good for a part of what was asked, by their places.
    fn used(&self, answers: &[Answered]) -> Arc<[usize]> {
        let covering = |answered: &Answered| {
            let reach = self.reaches.get(answered.asked.statement);
            reach.map(|reach| reach.covering(&answered.asked).collect::<Vec<_>>()).unwrap_or_default()
        };
        answers.iter().flat_map(covering).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn named(&self, verb: Verb, object: &Object) -> bool {
        let slice = self.set.slices.for_all(self.set, verb, Kind::of(object));
        slice.is_none_or(|slice| slice.mentions.entity(&self.set.names.object(self.party.connection.as_str(), object)))
    }

    /// The context of a statement's questions, but for what is different from one to the next.
    pub(crate) fn context(&self, meaning: &Meaning, approvals: &BTreeSet<Arc<str>>) -> Result<cedar_policy::Context, Unaskable> {
        let mut pairs = self.circumstances.clone();
        let mut add = |name: &str, value: &dyn Fn() -> RestrictedExpression| {
            if self.set.mentions.attribute(name) {
                pairs.push((name.to_owned(), value()));
            }
        };
        add("statement", &|| text(meaning.class));
        add("hazards", &|| RestrictedExpression::new_set(meaning.hazards.iter().map(|hazard| text(hazard.as_str()))));
        add("approvals", &|| RestrictedExpression::new_set(approvals.iter().map(|group| text(group))));
        add("seen", &|| RestrictedExpression::new_set(self.moment.lately.seen.iter().map(|label| text(label))));
        add("budget_used", &|| RestrictedExpression::new_long(self.moment.lately.budget_used.into()));
        add("risk", &|| RestrictedExpression::new_long(Risk::of(meaning, self.party, self.moment).score.into()));
        Ok(cedar_policy::Context::from_pairs(pairs)?)
    }

    pub(crate) fn reply(&self, (principal, sort): &(Entity, Sort), asked: &Asked, context: &cedar_policy::Context) -> Reply {
        self.try_reply(principal, sort, asked, context).unwrap_or(Reply { error: true, ..Reply::default() })
    }

    fn try_reply(
        &self,
        principal: &Entity,
        sort: &Sort,
        asked: &Asked,
        context: &cedar_policy::Context,
    ) -> Result<Reply, Unaskable> {
        let object = asked.objects.first().ok_or("a question about nothing")?;
        let reach = self.reaches.get(asked.statement);
        if reach.is_some_and(|reach| reach.excludes(asked)) {
            return Ok(Reply::default());
        }
        let slice =
            self.set.slices.for_sort(self.set, asked.verb, Kind::of(object), sort).ok_or("an action that there is not")?;
        let entities = Entities { names: &self.set.names, party: self.party, mentions: &slice.mentions };
        let resource: EntityUid = entities.uid(object);
        let action = self.set.verb(asked.verb).ok_or("an action that there is not")?;
        let mut store = vec![principal.clone(), action.clone(), entities.object(object)?];
        if *object != Object::Connection && slice.mentions.entity(&self.connection.uid()) {
            store.push(self.connection.clone());
        }
        let mut context = context.clone();
        if let Some(through) = asked.through.as_ref().filter(|_| self.set.mentions.attribute("through")) {
            context = context.merge([("through".to_owned(), text(through))])?;
        }
        let Covered { granted, break_glass } = reach.map(|reach| reach.covered(asked)).unwrap_or_default();
        for (name, value) in [("granted", granted), ("break_glass", break_glass)] {
            if self.set.mentions.attribute(name) {
                context = context.merge([(name.to_owned(), RestrictedExpression::new_bool(value))])?;
            }
        }
        let request = Request::new(principal.uid(), self.set.names.verb(asked.verb), resource, context, None)?;
        let store = cedar_policy::Entities::from_entities(store, None)?;
        Ok(Reply::from(&self.set.authorizer.is_authorized(&request, &slice.policies, &store)))
    }
}

impl From<&cedar_policy::Response> for Reply {
    fn from(response: &cedar_policy::Response) -> Self {
        let diagnostics = response.diagnostics();
        let failed: Vec<&PolicyId> =
            diagnostics.errors().map(|AuthorizationError::PolicyEvaluationError(failed)| failed.policy_id()).collect();
        let (error, permit) = (!failed.is_empty(), response.decision() == Decision::Allow && failed.is_empty());
        // What permitted in spite of an error did not determine anything.
        let determining = diagnostics.reason().filter(|_| permit || response.decision() == Decision::Deny);
        let ids: BTreeSet<&str> = determining.chain(failed).map(AsRef::as_ref).collect();
        Self { permit, error, policies: ids.into_iter().map(Arc::from).collect() }
    }
}
