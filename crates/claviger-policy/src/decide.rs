//! One question to the policies.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use cedar_policy::{AuthorizationError, Decision, Effect, Entities, Entity, PolicyId, Request, RestrictedExpression};
use claviger_model::{Chain, ConnectionName, Mode, Principal, PrincipalKind};

use crate::mentions::Mentions;
use crate::{Grants, PolicySet};

/// What a chain wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks. Every link must be permitted.
    pub chain: &'a Chain,
    /// To do what.
    pub action: Action,
    /// To what.
    pub resource: Resource<'a>,
    /// Under which circumstances.
    pub context: Context<'a>,
    /// The grants in force there. They count for [`Action::Connect`] only.
    pub grants: Grants<'a>,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Action {
    Connect,
    ListSessions,
    ReadSession,
    ReadAudit,
    ListConnections,
    CheckCoverage,
    ListPrincipals,
    ListTokens,
    /// To see who uses how much.
    ListUsage,
    ListApprovals,
    DecideApprovals,
    KillSession,
    IssueToken,
    RevokeToken,
    RotateKey,
    ManagePrincipals,
    ListAccess,
    RevokeAccess,
    ExchangeToken,
    RequestAccess,
}

impl Action {
    /// The action's name in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ListSessions => "listSessions",
            Self::ReadSession => "readSession",
            Self::ReadAudit => "readAudit",
            Self::ListConnections => "listConnections",
            Self::CheckCoverage => "checkCoverage",
            Self::ListPrincipals => "listPrincipals",
            Self::ListTokens => "listTokens",
            Self::ListUsage => "listUsage",
            Self::ListApprovals => "listApprovals",
            Self::DecideApprovals => "decideApprovals",
            Self::KillSession => "killSession",
            Self::IssueToken => "issueToken",
            Self::RevokeToken => "revokeToken",
            Self::RotateKey => "rotateKey",
            Self::ManagePrincipals => "managePrincipals",
            Self::ListAccess => "listAccess",
            Self::RevokeAccess => "revokeAccess",
            Self::ExchangeToken => "exchangeToken",
            Self::RequestAccess => "requestAccess",
        }
    }
}

/// What it is done to.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// A connection, for [`Action::Connect`].
    Connection {
        /// Its name.
        name: &'a ConnectionName,
        /// Its kind, such as `postgres`.
        kind: &'a str,
        /// Its labels.
        labels: &'a [Arc<str>],
        /// How strictly it is guarded.
        mode: Mode,
    },
    /// The gateway itself, for every other action.
    Gateway,
}

/// The circumstances of a question.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where the client is.
    pub client_address: IpAddr,
    /// What the client calls itself.
    pub application: Option<&'a str>,
    /// Whether the client's leg is encrypted.
    pub tls: bool,
    /// What it is for.
    pub purpose: Option<&'a str>,
}

/// What the policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is permitted.
    pub permit: bool,
    /// The ids of the policies that determined it, sorted: those that permit; or those that forbid or failed, and none where
    /// nothing permits.
    pub policies: Arc<[Arc<str>]>,
    /// The `@reason` of a policy that forbids, in the author's words.
    pub reason: Option<Arc<str>>,
    /// Whether something could not be evaluated, which is a denial too.
    pub error: bool,
}

impl PolicySet {
    /// Answers a question.
    pub fn decide(&self, question: &Question<'_>) -> Answer {
        let mut verdict = Verdict::default();
        for link in question.chain.links() {
            match self.request(question, link) {
                Ok((request, entities)) => verdict.add(&self.authorizer.is_authorized(&request, &self.policies, &entities)),
                Err(_) => verdict.error = true,
            }
        }
        self.answer(&verdict)
    }

    pub(crate) fn answer(&self, verdict: &Verdict) -> Answer {
        let permit = !verdict.denied && !verdict.error;
        let determining = if permit { &verdict.permitting } else { &verdict.refusing };
        let forbids = |id: &&PolicyId| self.policies.policy(id).is_some_and(|policy| policy.effect() == Effect::Forbid);
        let reason = determining.iter().filter(forbids).find_map(|id| self.policies.annotation(id, "reason"));
        Answer {
            permit,
            policies: determining.iter().map(|id| Arc::from(AsRef::<str>::as_ref(id))).collect(),
            reason: reason.filter(|reason| !reason.is_empty()).map(Into::into),
            error: verdict.error,
        }
    }

    /// The question about one link, in Cedar's terms and checked against the schema.
    fn request(&self, question: &Question<'_>, link: &Principal) -> Result<(Request, Entities), Unaskable> {
        let (principal, resource) = (self.principal(link, &Mentions::everything())?, self.resource(&question.resource)?);
        let (principal_uid, resource_uid) = (principal.uid(), resource.uid());
        let mut circumstances = self.circumstances(question.chain, question.context, &Mentions::everything())?;
        if question.action == Action::Connect {
            let scopes = question.grants.scopes;
            let break_glass = !scopes.is_empty() && scopes.iter().all(|scope| scope.break_glass);
            circumstances.push(("granted".to_owned(), RestrictedExpression::new_bool(!scopes.is_empty())));
            circumstances.push(("break_glass".to_owned(), RestrictedExpression::new_bool(break_glass)));
        }
        let context = cedar_policy::Context::from_pairs(circumstances)?;
        let action = self.names.action(question.action);
        let request = Request::new(principal_uid, action, resource_uid, context, Some(&self.schema))?;
        let entities = self.actions.clone().add_entities([principal, resource], Some(&self.schema))?;
        Ok((request, entities))
    }

    /// A link of a chain; only what is looked at is put in.
    pub(crate) fn principal(&self, link: &Principal, looked_at: &Mentions) -> Result<Entity, Unaskable> {
        let issuer = &link.key.issuer;
        let groups: Result<Vec<_>, _> = link.groups.iter().map(|group| self.names.group(issuer, group)).collect();
        let groups = groups?.into_iter().filter(|group| looked_at.entity(group)).collect();
        let mut attributes = vec![("issuer", text(issuer)), ("subject", text(&link.key.subject))];
        if let Some(sponsor) = &link.sponsor
            && link.kind == PrincipalKind::Workload
        {
            attributes.push(("sponsor", text(&self.names.qualified(&sponsor.issuer, &sponsor.subject)?)));
        }
        let attributes = attributes.into_iter().filter(|(name, _)| looked_at.attribute(name));
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Entity::new(self.names.principal(link.kind, &link.key)?, attributes, groups)?)
    }

    pub(crate) fn resource(&self, resource: &Resource<'_>) -> Result<Entity, Unaskable> {
        let Resource::Connection { name, kind, labels, mode } = resource else {
            return Ok(Entity::new_no_attrs(self.names.gateway(), HashSet::new()));
        };
        let attributes = HashMap::from([
            ("name".to_owned(), text(name.as_str())),
            ("kind".to_owned(), text(kind)),
            ("mode".to_owned(), text(mode.as_str())),
            ("labels".to_owned(), RestrictedExpression::new_set(labels.iter().map(|label| text(label)))),
            ("system".to_owned(), RestrictedExpression::new_bool(false)),
        ]);
        let parents = labels.iter().map(|label| self.names.label(label)).collect();
        Ok(Entity::new(self.names.connection(name.as_str()), attributes, parents)?)
    }

    /// The circumstances of a chain, by the names of the schema; only what is looked at.
    pub(crate) fn circumstances(
        &self,
        chain: &Chain,
        context: Context<'_>,
        looked_at: &Mentions,
    ) -> Result<Vec<(String, RestrictedExpression)>, Unaskable> {
        let on_behalf = match chain.links() {
            [_, .., last] => Some(self.names.qualified(&last.key.issuer, &last.key.subject)?),
            _ => None,
        };
        // An IPv4 client on an IPv6 socket is still an IPv4 client.
        let address = || RestrictedExpression::new_ip(context.client_address.to_canonical().to_string());
        let values: [(&str, &dyn Fn() -> Option<RestrictedExpression>); 6] = [
            ("client_address", &|| Some(address())),
            ("application", &|| context.application.map(text)),
            ("tls", &|| Some(RestrictedExpression::new_bool(context.tls))),
            ("purpose", &|| context.purpose.map(text)),
            ("delegated", &|| Some(RestrictedExpression::new_bool(on_behalf.is_some()))),
            ("acting_for", &|| on_behalf.as_deref().map(text)),
        ];
        let values = values.into_iter().filter(|(name, _)| looked_at.attribute(name));
        Ok(values.filter_map(|(name, value)| Some((name.to_owned(), value()?))).collect())
    }
}

/// What the links of a chain were told, taken together.
#[derive(Default)]
pub(crate) struct Verdict {
    permitting: BTreeSet<PolicyId>,
    pub(crate) refusing: BTreeSet<PolicyId>,
    denied: bool,
    pub(crate) error: bool,
}

impl Verdict {
    pub(crate) fn add(&mut self, response: &cedar_policy::Response) {
        let diagnostics = response.diagnostics();
        match response.decision() {
            Decision::Allow => self.permitting.extend(diagnostics.reason().cloned()),
            Decision::Deny => {
                self.denied = true;
                self.refusing.extend(diagnostics.reason().cloned());
            }
        }
        for AuthorizationError::PolicyEvaluationError(failed) in diagnostics.errors() {
            self.error = true;
            self.refusing.insert(failed.policy_id().clone());
        }
    }
}

/// Why a question cannot be put to the policies. Whatever it is, it is a denial.
pub(crate) type Unaskable = Box<dyn std::error::Error>;

pub(crate) fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}
