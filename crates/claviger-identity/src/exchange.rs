//! Token exchange (RFC 8693): from tokens that were verified to what a token of the local issuer says in their place.
//!
//! Such a token names principals of any trusted issuer, so it says more than others of the local issuer do. `sub` is the name that
//! policies use, and `sub_id` (RFC 9493 section 3.2.3) whom it means; `groups` and, in `act`, `iss`, `sub` and `groups` say what
//! their own issuers said of them; `vouched` marks an actor whom the subject's issuer let act (`may_act`); `inputs` names the tokens
//! that it was made from, so that it ends with any of them; `scope` keeps it to some connections, and `grant` to what a grant is for.

use std::sync::Arc;

use claviger_model::{ApprovalId, Chain, Principal, PrincipalKey, Timestamp};
use serde_json::{Map, Value, json};

use crate::denied::{Denied, Reason};
use crate::token::is_plain;
use crate::{Directory, Identity, TrustedIssuer};

/// The most links in a chain.
pub(crate) const MAX_LINKS: usize = 4;
/// The most tokens that one may be made from, directly or not.
const MAX_INPUTS: usize = 16;
/// How a scope names a connection.
const CONNECTION: &str = "connection:";

/// What a token was made from, and how far it goes. Tokens that nobody exchanged were made from nothing and go everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The tokens that it was made from: the name of the issuer's trust record, and the token's id.
    pub inputs: Vec<(Arc<str>, Arc<str>)>,
    /// The links of the chain that act for the next one because its issuer says that they may.
    pub vouched: Vec<usize>,
    /// The connections that it is good for, and for nothing else; for everything if nothing is said.
    pub scope: Option<Arc<[Arc<str>]>>,
    /// Who may act for the principal, by its issuer's word.
    pub may_act: Option<PrincipalKey>,
    /// The grant that it is good for, and for nothing else.
    pub grant: Option<ApprovalId>,
}

impl Origin {
    /// Whether a session on this connection is within the scope.
    pub fn reaches(&self, connection: &str) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.iter().any(|one| **one == *connection))
    }
}

/// What came of an exchange: what a token shall say, and until when it may.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// Who it is about: the actor, and those it acts for.
    pub chain: Chain,
    /// The tokens that it is made from.
    pub inputs: Vec<(Arc<str>, Arc<str>)>,
    /// The latest moment at which it may end.
    pub expires: Timestamp,
    /// Its purpose.
    pub purpose: Option<Arc<str>>,
    /// Its scope (RFC 6749 section 3.3), if it has one.
    pub scope: Option<String>,
    pub(crate) claims: Map<String, Value>,
}

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotExchanged {
    /// The tokens do not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The scope cannot be given.
    #[error("a scope is a list of `connection:NAME`, within the scope of the tokens that are exchanged")]
    Scope,
    /// It would be good for more than the token that it is made from.
    #[error("a token that is good for a grant alone is not exchanged")]
    OfGrant,
}

impl Exchanged {
    /// The same, good for this grant alone.
    #[must_use]
    pub fn for_grant(mut self, grant: ApprovalId) -> Self {
        self.claims.insert("grant".into(), json!(grant.to_string()));
        self
    }
}

/// Joins the chains of two identities, the actor's before the subject's, or takes over the only one. `expires` is when the first
/// of the tokens ends.
pub(crate) fn exchange(
    (subject, actor): (&Identity, Option<&Identity>),
    scope: Option<Arc<[Arc<str>]>>,
    expires: Timestamp,
    issuers: &[TrustedIssuer],
    directory: &Directory,
) -> Result<Exchanged, Denied> {
    let acting = actor.map_or(&[][..], |actor| actor.chain.links());
    let links = [acting, subject.chain.links()].concat();
    if links.len() > MAX_LINKS {
        return Err(Reason::DelegationDepth.into());
    }
    let mut vouched: Vec<usize> = actor.into_iter().flat_map(|actor| actor.origin.vouched.iter().copied()).collect();
    vouched.extend(subject.origin.vouched.iter().map(|link| link + acting.len()));
    if let (Some(last), [only]) = (acting.last(), subject.chain.links())
        && !directory.may_act(&last.key, &only.key)
        && subject.origin.may_act.as_ref() == Some(&last.key)
    {
        vouched.push(acting.len() - 1);
    }
    if let (Some(last), Some(first)) = (acting.last(), subject.chain.links().first())
        && !directory.may_act(&last.key, &first.key)
        && !vouched.contains(&(acting.len() - 1))
    {
        return Err(Denied::of_chain(Reason::DelegationUnregistered, Chain::from_links(links).map_err(|_| Reason::Malformed)?));
    }
    let made_from = |identity: &Identity| {
        let itself = (identity.issuer.clone(), identity.token.clone());
        identity.origin.inputs.iter().cloned().chain([itself]).collect::<Vec<_>>()
    };
    let mut inputs = made_from(subject);
    inputs.extend(actor.into_iter().flat_map(made_from));
    inputs.sort();
    inputs.dedup();
    if inputs.len() > MAX_INPUTS {
        return Err(Reason::ExchangeDepth.into());
    }
    // The purpose is the subject's: who acts cannot lend it one, nor take one away.
    let purpose = subject.purpose.clone();
    if let (Some(one), Some(other)) = (&purpose, actor.and_then(|actor| actor.purpose.as_ref()))
        && one != other
    {
        return Err(Reason::ExchangePurpose.into());
    }
    let chain = Chain::from_links(links).map_err(|_| Reason::Malformed)?;
    let scope = scope.map(|scope| scope.iter().map(|name| format!("{CONNECTION}{name}")).collect::<Vec<_>>().join(" "));
    let mut claims = says(&chain, &vouched, issuers, directory)?;
    claims.insert("inputs".into(), json!(inputs.iter().map(|(issuer, id)| json!([**issuer, **id])).collect::<Vec<_>>()));
    claims.extend(purpose.as_ref().map(|purpose| ("purpose".to_owned(), json!(**purpose))));
    claims.extend(scope.as_ref().map(|scope| ("scope".to_owned(), json!(scope))));
    Ok(Exchanged { chain, inputs, expires, purpose, scope, claims })
}

/// The scope that is left: what is asked for, within what the tokens are good for.
pub(crate) fn narrow(asked: Option<&str>, origins: &[&Origin]) -> Result<Option<Arc<[Arc<str>]>>, NotExchanged> {
    let mut left: Option<Vec<Arc<str>>> = None;
    for scope in origins.iter().filter_map(|origin| origin.scope.as_ref()) {
        let within = |name: &Arc<str>| left.as_ref().is_none_or(|left| left.contains(name));
        left = Some(scope.iter().filter(|name| within(name)).cloned().collect());
    }
    if let Some(asked) = asked {
        let names = parse_scope(asked).ok_or(NotExchanged::Scope)?;
        if left.as_ref().is_some_and(|left| names.iter().any(|name| !left.contains(name))) {
            return Err(NotExchanged::Scope);
        }
        left = Some(names);
    }
    match left {
        Some(left) if left.is_empty() => Err(NotExchanged::Scope),
        left => Ok(left.map(Into::into)),
    }
}

fn parse_scope(text: &str) -> Option<Vec<Arc<str>>> {
    let name = |word: &str| word.strip_prefix(CONNECTION).filter(|name| is_plain(name)).map(Arc::from);
    text.split(' ').filter(|word| !word.is_empty()).map(name).collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
}

/// The claims that name a chain.
fn says(
    chain: &Chain,
    vouched: &[usize],
    issuers: &[TrustedIssuer],
    directory: &Directory,
) -> Result<Map<String, Value>, Denied> {
    let mut claims = Map::new();
    let Some((subject, actors)) = chain.links().split_last() else { return Err(Reason::Malformed.into()) };
    if directory.is_local(&subject.key.issuer) {
        claims.insert("sub".into(), json!(*subject.key.subject));
    } else {
        let issuer = address(&subject.key, issuers)?;
        claims.insert("sub".into(), json!(format!("{}/{}", subject.key.issuer, subject.key.subject)));
        claims.insert("sub_id".into(), json!({ "format": "iss_sub", "iss": issuer, "sub": *subject.key.subject }));
        claims.insert("groups".into(), groups(subject));
    }
    let mut act: Option<Value> = None;
    for (n, actor) in actors.iter().enumerate().rev() {
        let mut level = json!({ "iss": address(&actor.key, issuers)?, "sub": *actor.key.subject });
        if let Some(level) = level.as_object_mut() {
            if !directory.is_local(&actor.key.issuer) {
                level.insert("groups".into(), groups(actor));
            }
            level.extend(vouched.contains(&n).then(|| ("vouched".to_owned(), true.into())));
            level.extend(act.take().map(|inner| ("act".to_owned(), inner)));
        }
        act = Some(level);
    }
    claims.extend(act.map(|act| ("act".to_owned(), act)));
    Ok(claims)
}

fn address<'a>(key: &PrincipalKey, issuers: &'a [TrustedIssuer]) -> Result<&'a str, Reason> {
    issuers.iter().find(|trusted| trusted.name == key.issuer).map(|trusted| &*trusted.issuer).ok_or(Reason::UnknownIssuer)
}

fn groups(principal: &Principal) -> Value {
    principal.groups.iter().map(|group| json!(**group)).collect()
}

/// What a token of the local issuer says of its origin. Whose chain it is says [`says`] in reverse, in the authenticator.
pub(crate) fn read_origin(claims: &Map<String, Value>) -> Result<Origin, Reason> {
    let mut origin = Origin::default();
    if let Some(inputs) = claims.get("inputs") {
        let inputs = inputs.as_array().filter(|inputs| inputs.len() <= MAX_INPUTS).ok_or(Reason::Malformed)?;
        for input in inputs {
            let [issuer, id] = input.as_array().map(Vec::as_slice).unwrap_or_default() else { return Err(Reason::Malformed) };
            let (issuer, id) = issuer.as_str().zip(id.as_str()).ok_or(Reason::Malformed)?;
            origin.inputs.push((issuer.into(), id.into()));
        }
    }
    if let Some(grant) = claims.get("grant") {
        origin.grant = Some(grant.as_str().and_then(|grant| grant.parse().ok()).ok_or(Reason::Malformed)?);
    }
    if let Some(scope) = claims.get("scope") {
        origin.scope = Some(scope.as_str().and_then(parse_scope).ok_or(Reason::Malformed)?.into());
    }
    Ok(origin)
}
