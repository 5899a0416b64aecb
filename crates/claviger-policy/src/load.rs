//! From the text of policies to a set that can be asked.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{Authorizer, Effect, Entities, Entity, Policy, PolicyId, Schema, ValidationMode, Validator};
use claviger_model::{ConnectionName, Object, Principal, Verb};
use ring::digest;

use crate::approval;
use crate::cache::Cache;
use crate::entities::Kind;
use crate::errors::{PolicyErrors, PolicyProblem};
use crate::judge::{Judgement, Key};
use crate::mentions::Mentions;
use crate::names::Names;
use crate::party::Counting;
use crate::slices::Slices;

const SCHEMA: &str = include_str!("claviger.cedarschema");
/// The longest `@id`.
const MAX_ID: usize = 128;
/// How many judgements are remembered.
const JUDGEMENTS: usize = 16_384;

/// Validated policies. Immutable: a reload makes another.
pub struct PolicySet {
    pub(crate) policies: cedar_policy::PolicySet,
    pub(crate) schema: Schema,
    /// The actions and their groups.
    pub(crate) actions: Entities,
    pub(crate) authorizer: Authorizer,
    pub(crate) names: Names,
    /// What all of them look at.
    pub(crate) mentions: Mentions,
    pub(crate) counting: Counting,
    pub(crate) slices: Slices,
    pub(crate) judgements: Cache<Key, Arc<Judgement>>,
    about: HashMap<Arc<str>, About>,
    hash: Arc<str>,
    warnings: Vec<PolicyProblem>,
}

/// What is known of a policy beside what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The name of its file.
    pub file: Arc<str>,
    /// The line that it begins on; counts from 1.
    pub line: usize,
    /// Whether it forbids.
    pub forbids: bool,
    /// `@reason`, if it says something.
    pub reason: Option<Arc<str>>,
    /// `@approval`.
    pub approval: Option<Arc<str>>,
    /// `@control`.
    pub control: Option<Arc<str>>,
}

/// Written `agents.cedar:12`.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Policies themselves are not shown.
impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl PolicySet {
    /// Loads policies from sources, each a file's name and its text. A policy is known by its `@id`, else by `file#n`, which
    /// counts the policies of a file from 1. The principals of the local issuer stand in policies without a prefix.
    pub fn load(sources: &[(String, String)], local_issuer: &str) -> Result<Self, PolicyErrors> {
        let mut loading = Loading::default();
        for (file, text) in sources {
            loading.add(file, text);
        }
        let schema = Schema::from_str(SCHEMA).map_err(|error| own_fault(&error))?;
        let warnings = loading.validate(&schema);
        if !loading.problems.is_empty() {
            return Err(PolicyErrors(loading.problems));
        }
        let mut mentions = Mentions::default();
        loading.policies.policies().for_each(|policy| mentions.add(&Mentions::of(policy)));
        let counting = Counting {
            address: mentions.attribute("client_address"),
            application: mentions.attribute("application"),
            tls: mentions.attribute("tls"),
            purpose: mentions.attribute("purpose"),
        };
        Ok(Self {
            slices: Slices::new(&loading.policies),
            policies: loading.policies,
            mentions,
            counting,
            judgements: Cache::new(JUDGEMENTS),
            actions: schema.action_entities().map_err(|error| own_fault(&error))?,
            schema,
            authorizer: Authorizer::new(),
            names: Names::new(local_issuer).map_err(|error| own_fault(&*error))?,
            about: loading.about,
            hash: hash(sources),
            warnings,
        })
    }

    /// SHA-256 in lower-case hexadecimal over the sources in order: for each its name and its text, each preceded by its
    /// length in bytes as eight bytes, most significant first.
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// The action for this verb, with its groups.
    pub(crate) fn verb(&self, verb: Verb) -> Option<&Entity> {
        self.actions.get(&self.names.verb(verb))
    }

    /// Whether any policy looks at an attribute of this name, of whatever. What none looks at need not be found out.
    pub fn looks_at(&self, attribute: &str) -> bool {
        self.mentions.attribute(attribute)
    }

    /// How many policies there are.
    pub fn count(&self) -> usize {
        self.about.len()
    }

    /// What is known of the policy with this id.
    pub fn about(&self, id: &str) -> Option<&About> {
        self.about.get(id)
    }

    /// What policies call this, inside this connection: `Table::"bank/public.notes"`.
    pub fn name(&self, connection: &ConnectionName, object: &Object) -> String {
        self.names.object(connection.as_str(), object).to_string()
    }

    /// What policies call this principal: `User::"alice"`. `None` if it could be taken for another.
    pub fn name_of(&self, principal: &Principal) -> Option<String> {
        self.names.principal(principal.kind, &principal.key).ok().map(|uid| uid.to_string())
    }

    /// What policies call the groups of this principal: `dbas`, or `corp/dbas` for those of another issuer than the local one.
    pub fn groups_of(&self, principal: &Principal) -> BTreeSet<String> {
        let issuer = &principal.key.issuer;
        principal.groups.iter().filter_map(|group| self.names.qualified(issuer, group).ok()).collect()
    }

    /// The endpoints that policies name, as they name them, `crm/GET /users/{id}`; each with a policy that does.
    pub fn endpoints(&self) -> impl Iterator<Item = (&About, String)> {
        let named = |policy: &Policy| {
            let endpoint = self.names.kind(Kind::Endpoint);
            let names = policy.entity_literals().into_iter().filter(|uid| uid.type_name() == endpoint);
            names.map(|uid| uid.id().unescaped().to_owned()).collect::<Vec<_>>()
        };
        self.policies.policies().flat_map(move |policy| {
            let about = self.about(policy.id().as_ref());
            named(policy).into_iter().filter_map(move |name| Some((about?, name)))
        })
    }

    /// What is valid and yet suspicious, such as a policy that can never apply.
    pub fn warnings(&self) -> &[PolicyProblem] {
        &self.warnings
    }
}

#[derive(Default)]
struct Loading<'a> {
    policies: cedar_policy::PolicySet,
    origin: HashMap<PolicyId, (&'a str, &'a str)>,
    about: HashMap<Arc<str>, About>,
    problems: Vec<PolicyProblem>,
}

impl<'a> Loading<'a> {
    fn add(&mut self, file: &'a str, text: &'a str) {
        let parsed = match cedar_policy::PolicySet::from_str(text) {
            Ok(parsed) => parsed,
            Err(errors) => return self.problems.extend(errors.iter().map(|error| PolicyProblem::of(error, file, text))),
        };
        if parsed.templates().next().is_some() {
            let message = "a policy with `?principal` or `?resource` is a template, which is not supported";
            self.problems.push(PolicyProblem::at(0, message.to_owned(), file, text));
        }
        let mut policies: Vec<_> = parsed.policies().collect();
        policies.sort_by_key(|policy| position(policy.id()));
        let mut end = 0;
        for (n, policy) in policies.into_iter().enumerate() {
            let offset = offset(policy, text, &mut end);
            let id = policy.annotation("id").map_or_else(|| format!("{file}#{}", n + 1), ToOwned::to_owned);
            if id.is_empty() || id.len() > MAX_ID || id.chars().any(char::is_control) {
                let message = format!("the `@id` of policy {} is empty, too long or not printable", n + 1);
                self.problems.push(PolicyProblem::at(offset, message, file, text));
            }
            if let Some(message) = wrong_approval(policy) {
                self.problems.push(PolicyProblem::at(offset, message, file, text));
            }
            let line = PolicyProblem::at(offset, String::new(), file, text).line;
            self.about.insert(id.as_str().into(), About::of(policy, file, line));
            let id = PolicyId::new(id);
            if self.policies.add(policy.new_id(id.clone())).is_err() {
                self.problems.push(PolicyProblem::at(offset, format!("the policy id `{id}` is used twice"), file, text));
            } else {
                self.origin.insert(id, (file, text));
            }
        }
    }

    /// Collects what the schema forbids; gives what it only finds suspicious.
    fn validate(&mut self, schema: &Schema) -> Vec<PolicyProblem> {
        let result = Validator::new(schema.clone()).validate(&self.policies, ValidationMode::Strict);
        let origin = |id| self.origin.get(id).copied().unwrap_or_default();
        let place = |id, diagnostic: &dyn miette::Diagnostic| {
            let (file, text) = origin(id);
            PolicyProblem::of(diagnostic, file, text)
        };
        let mut errors: Vec<_> = result.validation_errors().map(|error| place(error.policy_id(), error)).collect();
        errors.sort_by(|a, b| (&a.file, a.line, a.column, &a.message).cmp(&(&b.file, b.line, b.column, &b.message)));
        // One mistake is found once for each action and type that the policy may be about.
        let repeated = |a: &PolicyProblem, b: &PolicyProblem| (&a.file, a.line, a.column) == (&b.file, b.line, b.column);
        errors.dedup_by(|a, b| repeated(a, b));
        self.problems.extend(errors);
        result.validation_warnings().map(|warning| place(warning.policy_id(), warning)).collect()
    }
}

impl About {
    fn of(policy: &Policy, file: &str, line: usize) -> Self {
        let annotation = |key| policy.annotation(key).filter(|text| !text.is_empty()).map(Into::into);
        Self {
            file: file.into(),
            line,
            forbids: policy.effect() == Effect::Forbid,
            reason: annotation("reason"),
            approval: annotation("approval"),
            control: annotation("control"),
        }
    }
}

/// What is wrong with a policy's `@approval`.
fn wrong_approval(policy: &Policy) -> Option<String> {
    let group = approval::group(policy)?;
    if policy.effect() == Effect::Permit {
        return Some("`@approval` says what lifts a `forbid`, and this is a `permit`".into());
    }
    if group.trim().is_empty() {
        return Some("`@approval` names no group".into());
    }
    let lifted = approval::lifts(policy, group);
    (!lifted).then(|| {
        format!(
            "the approval of `{group}` does not lift this `forbid`: add `unless {{ context.approvals.contains(\"{group}\") }}`"
        )
    })
}

/// Where a policy begins in its text, after the one before it.
fn offset(policy: &Policy, text: &str, end: &mut usize) -> usize {
    let own = policy.to_cedar().unwrap_or_default();
    let Some(found) = text.get(*end..).and_then(|rest| rest.find(&own)) else { return *end };
    let offset = *end + found;
    *end = offset + own.len();
    offset
}

/// Cedar calls the policies of one text `policy0`, `policy1` and so on, and gives them in no order.
fn position(id: &PolicyId) -> usize {
    AsRef::<str>::as_ref(id).strip_prefix("policy").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)
}

/// A fault in what is built in, which no input can cause.
fn own_fault(error: &dyn miette::Diagnostic) -> PolicyErrors {
    PolicyErrors(vec![PolicyProblem::of(error, "claviger.cedarschema", SCHEMA)])
}

fn hash(sources: &[(String, String)]) -> Arc<str> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in sources.iter().flat_map(|(file, text)| [file, text]) {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use claviger_model::Hazard;

    use super::SCHEMA;

    /// Every name in the schema: of types, attributes and actions.
    fn words() -> Vec<String> {
        let (fragment, _) = cedar_policy::SchemaFragment::from_cedarschema_str(SCHEMA).unwrap();
        let json = fragment.to_json_value().unwrap();
        let keys =
            |value: &serde_json::Value| value.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>();
        let mut words = Vec::new();
        for namespace in json.as_object().unwrap().values() {
            words.extend(keys(&namespace["entityTypes"]));
            words.extend(keys(&namespace["actions"]));
            for kind in namespace["entityTypes"]
                .as_object()
                .unwrap()
                .values()
                .chain(namespace["commonTypes"].as_object().unwrap().values())
            {
                words.extend(keys(&kind["shape"]["attributes"]));
                words.extend(keys(&kind["attributes"]));
            }
        }
        words
    }

    #[test]
    fn the_reference_names_everything() {
        let page = include_str!("../../../docs/policy-reference.md");
        let words = words();
        assert!(
            words.len() > 60 && ["Routine", "truncate", "holds", "approvals"].iter().all(|word| words.iter().any(|w| w == word))
        );
        for word in words.into_iter().chain(Hazard::ALL.iter().map(|hazard| hazard.as_str().to_owned())) {
            let named = [format!("`{word}`"), format!("`{word}::"), format!("`{word}`s")].iter().any(|name| page.contains(name));
            assert!(named, "{word} is not in docs/policy-reference.md");
        }
    }
}
