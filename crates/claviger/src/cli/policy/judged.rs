//! What becomes of a SQL text, and why, in words.

use std::collections::BTreeSet;
use std::sync::Arc;

use claviger_dialects::{Dialect, Reading, Request, Templates};
use claviger_model::Meaning;
use claviger_policy::{Answered, Judgement, Matter, Moment, Party, PolicySet, Reply, Risk, Ruling};
use claviger_sql::{Catalog, Session, understand};
use serde::Serialize;

/// A text that was judged.
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    /// What its session is when it has been run.
    pub(super) after: Session,
}

/// What came of it.
pub(super) enum Outcome {
    /// Policy was asked.
    Asked { meanings: Vec<Meaning>, judgement: Box<Judgement>, answers: Vec<Answered> },
    /// It is not understood, and so refused.
    NotUnderstood(String),
}

/// Judges a text by these policies.
pub(super) fn judge(
    policies: &PolicySet,
    party: &Party,
    (catalog, session): (&Catalog, &Session),
    text: &str,
    moment: &Moment<'_>,
) -> Judged {
    let mut after = session.clone();
    let outcome = match understand(text, catalog, session) {
        Err(error) => Outcome::NotUnderstood(error.to_string()),
        Ok(statements) => {
            statements.iter().flat_map(|statement| &statement.transitions).for_each(|transition| after.apply(transition));
            Outcome::asked(policies, party, statements.into_iter().map(|statement| statement.meaning).collect(), moment)
        }
    };
    Judged { outcome, after }
}

/// Judges an HTTP request by these policies.
pub(super) fn judge_request(
    policies: &PolicySet,
    party: &Party,
    (dialect, templates): (Dialect, Option<&Templates>),
    request: &Request<'_>,
    moment: &Moment<'_>,
) -> Outcome {
    match dialect.read(request) {
        Err(error) => Outcome::NotUnderstood(error.to_string()),
        Ok(Reading { mut meaning, .. }) => {
            if let Some(templates) = templates {
                templates.name(dialect, None, &mut meaning);
            }
            Outcome::asked(policies, party, vec![meaning], moment)
        }
    }
}

impl Outcome {
    pub(super) fn asked(policies: &PolicySet, party: &Party, meanings: Vec<Meaning>, moment: &Moment<'_>) -> Self {
        let matter = Matter::new(meanings.iter().cloned());
        let (judgement, answers) = policies.examine(party, &matter, moment);
        Self::Asked { meanings, judgement: Box::new(judgement), answers }
    }

    /// `permit`, `deny` or `hold`.
    pub(super) fn verdict(&self) -> &'static str {
        match self {
            Self::NotUnderstood(_) => "deny",
            Self::Asked { judgement, .. } => match judgement.ruling {
                Ruling::Permit => "permit",
                Ruling::Deny => "deny",
                Ruling::Hold(_) => "hold",
            },
        }
    }

    /// The ids of the policies that determined it.
    pub(super) fn policies(&self) -> &[Arc<str>] {
        match self {
            Self::NotUnderstood(_) => &[],
            Self::Asked { judgement, .. } => &judgement.policies,
        }
    }
}

impl Judged {
    /// `permit`, `deny` or `hold`.
    pub(super) fn verdict(&self) -> &'static str {
        self.outcome.verdict()
    }

    /// The ids of the policies that determined it.
    pub(super) fn policies(&self) -> &[Arc<str>] {
        self.outcome.policies()
    }

    /// Everything about it.
    pub(super) fn explain(&self, policies: &PolicySet, party: &Party) -> Explanation {
        let mut explanation = Explanation { verdict: self.verdict(), ..Explanation::default() };
        let (meanings, judgement, answers) = match &self.outcome {
            Outcome::NotUnderstood(error) => {
                explanation.changes.push(format!("the text itself: {error}"));
                return explanation;
            }
            Outcome::Asked { meanings, judgement, answers } => (meanings, judgement, answers),
        };
        explanation.reason = judgement.reason.as_deref().map(ToOwned::to_owned);
        explanation.controls = judgement.controls.iter().map(ToString::to_string).collect();
        explanation.risk = RiskShown::of(&judgement.risk);
        explanation.changes = changes(policies, party, judgement, answers);
        for (n, meaning) in meanings.iter().enumerate() {
            let questions = answers.iter().filter(|answered| answered.asked.statement == n);
            explanation.statements.push(StatementShown {
                class: meaning.class,
                hazards: meaning.hazards.iter().map(|hazard| hazard.as_str()).collect(),
                questions: questions.map(|answered| QuestionShown::of(policies, party, answered)).collect(),
            });
        }
        explanation
    }
}

/// How a text is decided, for people and programs.
#[derive(Debug, Default, Serialize)]
pub(super) struct Explanation {
    pub(super) verdict: &'static str,
    pub(super) reason: Option<String>,
    pub(super) controls: Vec<String>,
    pub(super) risk: RiskShown,
    pub(super) statements: Vec<StatementShown>,
    /// What would have to be otherwise for a permit.
    pub(super) changes: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct RiskShown {
    pub(super) score: u8,
    pub(super) contributions: Vec<Contribution>,
}

#[derive(Debug, Serialize)]
pub(super) struct Contribution {
    pub(super) name: String,
    pub(super) points: u8,
}

#[derive(Debug, Serialize)]
pub(super) struct StatementShown {
    pub(super) class: &'static str,
    pub(super) hazards: Vec<&'static str>,
    pub(super) questions: Vec<QuestionShown>,
}

#[derive(Debug, Serialize)]
pub(super) struct QuestionShown {
    pub(super) action: &'static str,
    pub(super) objects: Vec<String>,
    pub(super) through: Option<String>,
    pub(super) permit: bool,
    pub(super) links: Vec<LinkShown>,
}

/// What was said of one link of the chain.
#[derive(Debug, Serialize)]
pub(super) struct LinkShown {
    pub(super) principal: String,
    /// `permit`, `deny` or `error`.
    pub(super) answer: &'static str,
    pub(super) policies: Vec<Determining>,
}

#[derive(Debug, Serialize)]
pub(super) struct Determining {
    pub(super) id: String,
    /// File and line.
    pub(super) at: String,
    pub(super) approval: Option<String>,
}

impl RiskShown {
    fn of(risk: &Risk) -> Self {
        let contribution = |(name, points): &(String, u8)| Contribution { name: name.clone(), points: *points };
        Self { score: risk.score, contributions: risk.contributions.iter().map(contribution).collect() }
    }
}

impl QuestionShown {
    fn of(policies: &PolicySet, party: &Party, answered: &Answered) -> Self {
        let asked = &answered.asked;
        let links = party.chain().links().iter().map(|link| link.key.to_string());
        Self {
            action: asked.verb.as_str(),
            objects: asked.objects.iter().map(|object| policies.name(party.connection(), object)).collect(),
            through: asked.through.as_deref().map(ToOwned::to_owned),
            permit: answered.permit(),
            links: links.zip(&answered.replies).map(|(principal, reply)| LinkShown::of(policies, principal, reply)).collect(),
        }
    }
}

impl LinkShown {
    fn of(policies: &PolicySet, principal: String, reply: &Reply) -> Self {
        let determining = |id: &Arc<str>| {
            let about = policies.about(id);
            Determining {
                id: id.to_string(),
                at: about.map(ToString::to_string).unwrap_or_default(),
                approval: about.and_then(|about| about.approval.as_deref().map(ToOwned::to_owned)),
            }
        };
        let answer = match reply {
            Reply { error: true, .. } => "error",
            Reply { permit: true, .. } => "permit",
            Reply { permit: false, .. } => "deny",
        };
        Self { principal, answer, policies: reply.policies.iter().map(determining).collect() }
    }
}

/// What would have to be otherwise for a permit, each once.
fn changes(policies: &PolicySet, party: &Party, judgement: &Judgement, answers: &[Answered]) -> Vec<String> {
    if let Ruling::Hold(groups) = &judgement.ruling {
        return groups.iter().map(|group| format!("the approval of {group}")).collect();
    }
    if judgement.error && answers.is_empty() {
        return vec!["the names in the chain, one of which could be taken for another's; or less in one text".to_owned()];
    }
    let mut changes = Vec::new();
    for answered in answers {
        for (link, reply) in party.chain().links().iter().zip(&answered.replies).filter(|(_, reply)| !reply.permit) {
            let (verb, connection) = (answered.asked.verb.as_str(), party.connection());
            let object = answered.asked.objects.first().map(|object| policies.name(connection, object)).unwrap_or_default();
            let of = |id: &Arc<str>| policies.about(id).map_or_else(|| id.to_string(), |about| format!("`{id}` ({about})"));
            if reply.policies.is_empty() {
                let who = policies.name_of(link).unwrap_or_else(|| link.key.to_string());
                changes.push(format!("a permit for {who} to {verb} {object}"));
            }
            for id in &reply.policies {
                let what = match policies.about(id).map(|about| (about.forbids, &about.approval)) {
                    _ if reply.error => "which cannot be evaluated",
                    Some((true, Some(_))) => "which an approval would lift, if it were alone",
                    _ => "which forbids it",
                };
                changes.push(format!("{}, {what}", of(id)));
            }
        }
    }
    let mut seen = BTreeSet::new();
    changes.retain(|change| seen.insert(change.clone()));
    changes
}
