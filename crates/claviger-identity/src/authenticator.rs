//! From a token to an identity, and whether that identity still stands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use claviger_model::{Chain, Principal, PrincipalKey, PrincipalKind, Secret, Timestamp};
use ring::digest;

use crate::denied::{Denied, Reason, Wanted};
use crate::exchange::{self, Exchanged, MAX_LINKS, NotExchanged, Origin};
use crate::groups::{self, Answers};
use crate::keys::KeySet;
use crate::refresh::RefreshLedger;
use crate::token::{Claims, GroupsSaid, MAX_GROUPS, Unverified};
use crate::{Directory, InvalidUserinfo, Registered, TrustedAuthority, TrustedIssuer};

/// Somebody who proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The actor, and those it acts for.
    pub chain: Chain,
    /// The token's id (`jti`), or `sha256-` and a part of the digest of what it says if it has none, or of the certificate. Not a
    /// secret.
    pub token: Arc<str>,
    /// The name of the trust record of the token's issuer, or of the certificate's authority.
    pub issuer: Arc<str>,
    /// From when on the token is no longer accepted: `exp`, and the clock skew granted to its issuer; or the certificate, `notAfter`.
    pub expires: Timestamp,
    /// What the token says it is for.
    pub purpose: Option<Arc<str>>,
    /// What the token was made from, if it was exchanged, and how far it goes.
    pub origin: Origin,
    /// The issuers that it stands on, each by the name of its trust record and its `iss`: another that takes the name is another.
    pub issuers: Arc<[(Arc<str>, Arc<str>)]>,
}

/// What can be fetched so that a token may be believed after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The keys of the issuer of this name. If it was asked too lately, only a fetch that is under way is to be waited for.
    Keys {
        /// The name of its trust record.
        issuer: Arc<str>,
        /// Whether it may be asked now.
        fetch: bool,
    },
    /// The groups of the token's holder, for [`Authenticator::set_groups`].
    Groups {
        /// The name of the trust record of the issuer to ask.
        issuer: Arc<str>,
    },
}

/// Knows whom to believe. One is shared by all sessions; every part of it can be replaced while they run.
pub struct Authenticator {
    pub(crate) trust: ArcSwap<Trust>,
    pub(crate) directory: ArcSwap<Directory>,
    epoch: AtomicU64,
    refreshes: Mutex<RefreshLedger>,
    answers: Mutex<Answers>,
}

#[derive(Clone, Default)]
pub(crate) struct Trust {
    issuers: Arc<[TrustedIssuer]>,
    pub(crate) authorities: Arc<[TrustedAuthority]>,
    /// By the issuer's name.
    keys: HashMap<Arc<str>, Arc<Published>>,
    /// Grows when an issuer, or where it is asked, changes: what was asked before that is nobody's answer.
    generation: u64,
}

/// Keys, and until when they count if they are not fetched again.
struct Published {
    keys: KeySet,
    until: Option<Timestamp>,
}

impl Authenticator {
    /// With these issuers, of which no keys are known yet, and this directory.
    pub fn new(issuers: Vec<TrustedIssuer>, directory: Directory) -> Self {
        Self {
            trust: ArcSwap::from_pointee(Trust { issuers: issuers.into(), ..Trust::default() }),
            directory: ArcSwap::from_pointee(directory),
            epoch: AtomicU64::new(1),
            refreshes: Mutex::default(),
            answers: Mutex::default(),
        }
    }

    /// Who holds this token.
    pub fn verify(&self, token: &Secret, now: Timestamp) -> Result<Identity, Denied> {
        // One snapshot of each from here to the end: groups of one moment with delegations of another would be nobody's.
        let (trust, directory) = (self.trust.load(), self.directory.load());
        let unverified = Unverified::parse(token)?;
        let trusted = trust.issuer(unverified.issuer()?)?;
        let said = unverified.message();
        let claims = trust.check_signature(unverified, trusted, now)?;
        let expires = claims.check_times(trusted, now)?;
        claims.check_audience(&trusted.audience)?;
        claims.check_requirements(trusted)?;
        let local = directory.is_local(&trusted.name);
        let groups = if local { claims.foreign_groups()? } else { self.groups(&claims, trusted, token, now)? };
        let (chain, vouched) = chain(&claims, trusted, groups, &trust, &directory)?;
        let mut origin = if local { claims.origin()? } else { Origin::default() };
        origin.vouched = vouched;
        origin.may_act = may_act(&claims, trusted, &trust)?;
        let issuers = trust.stood_on(&trusted.name, &origin, &chain);
        let identity = Identity {
            chain,
            token: claims.id()?.map_or_else(|| digest_id(said), Arc::from),
            issuer: trusted.name.clone(),
            expires,
            purpose: claims.purpose()?.map(Into::into),
            origin,
            issuers,
        };
        check(&identity, &trust, &directory, now)?;
        Ok(identity)
    }

    /// Whether an identity still stands. Cheap enough for every operation; [`Authenticator::epoch`] tells when nothing but
    /// the time can have changed.
    pub fn recheck(&self, identity: &Identity, now: Timestamp) -> Result<(), Denied> {
        check(identity, &self.trust.load(), &self.directory.load(), now)
    }

    /// What a token of the local issuer may say in the place of these that were verified (RFC 8693): the subject's, and that of who
    /// shall act for it, which must be registered to do so, or whom the subject's issuer names in `may_act`.
    pub fn exchange(
        &self,
        subject: &Identity,
        actor: Option<&Identity>,
        scope: Option<&str>,
        now: Timestamp,
    ) -> Result<Exchanged, NotExchanged> {
        let origins: Vec<_> = [Some(subject), actor].into_iter().flatten().map(|identity| &identity.origin).collect();
        if origins.iter().any(|origin| origin.grant.is_some()) {
            return Err(NotExchanged::OfGrant);
        }
        let scope = exchange::narrow(scope, &origins)?;
        let (trust, directory) = (self.trust.load(), self.directory.load());
        let ends = |identity: &Identity| -> Result<Timestamp, Denied> {
            check(identity, &trust, &directory, now)?;
            let trusted = trust.issuers.iter().find(|trusted| trusted.name == identity.issuer).ok_or(Reason::UnknownIssuer)?;
            // Of its own `exp`: the skew is a favour to its issuer's clock, and ours is another.
            Ok(identity.expires.plus_secs(-i64::from(trusted.clock_skew)))
        };
        let ended = ends(subject)?;
        let ended = actor.map(ends).transpose()?.map_or(ended, |actor| actor.min(ended));
        if ended <= now {
            return Err(Denied::from(Reason::Expired).into());
        }
        Ok(exchange::exchange((subject, actor), scope, ended, &trust.issuers, &directory)?)
    }

    /// Whether a principal is there still, as far as is known here: registered where it must be, and not disabled.
    pub fn stands(&self, key: &PrincipalKey) -> bool {
        stands(&self.directory.load(), key)
    }

    /// Who answers for a principal today.
    pub fn sponsor_of(&self, key: &PrincipalKey) -> Option<PrincipalKey> {
        self.directory.load().principal(key)?.sponsor.clone()
    }

    /// A number that grows with every change of directory or trust.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Replaces the directory.
    pub fn set_directory(&self, directory: Directory) {
        self.directory.store(Arc::new(directory));
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Replaces the trusted issuers. Keys stay with those that are trusted as before and, by their names, are asked where they were
    /// before.
    pub fn set_issuers(&self, issuers: Vec<TrustedIssuer>, asked_as_before: impl Fn(&str) -> bool) {
        let issuers: Arc<[TrustedIssuer]> = issuers.into();
        self.trust.rcu(|old| {
            let kept = |name: &Arc<str>| {
                let iss = |list: &[TrustedIssuer]| list.iter().find(|one| one.name == *name).map(|one| one.issuer.clone());
                iss(&old.issuers) == iss(&issuers) && asked_as_before(name)
            };
            let as_before = old.issuers == issuers && issuers.iter().all(|one| asked_as_before(&one.name));
            let keys = old.keys.iter().filter(|(name, _)| kept(name)).map(|(name, keys)| (name.clone(), keys.clone()));
            let generation = old.generation + u64::from(!as_before);
            Trust { issuers: issuers.clone(), keys: keys.collect(), authorities: old.authorities.clone(), generation }
        });
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// A number that grows when an issuer, or where it is asked, changes.
    pub fn generation(&self) -> u64 {
        self.trust.load().generation
    }

    /// Replaces the authorities whose certificates are believed.
    pub fn set_authorities(&self, authorities: Vec<TrustedAuthority>) {
        let authorities: Arc<[TrustedAuthority]> = authorities.into();
        self.trust.rcu(|old| Trust { authorities: authorities.clone(), ..Trust::clone(old) });
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Replaces the keys of an issuer, given by the name of its trust record.
    pub fn set_keys(&self, issuer: &str, keys: KeySet) {
        self.publish(issuer, Published { keys, until: None }, None);
    }

    /// Replaces the keys of an issuer that was asked in this generation, which count until then if they are not replaced before. Of a
    /// generation that has passed they are not taken: they may be those of another issuer, or of a place that is not believed any more.
    pub fn set_keys_until(&self, generation: u64, issuer: &str, keys: KeySet, until: Timestamp) {
        self.publish(issuer, Published { keys, until: Some(until) }, Some(generation));
    }

    /// Takes note that an issuer's keys could not be fetched, so that who wants a new one need not wait for long.
    pub fn keys_not_fetched(&self, issuer: &str) {
        self.refreshes.lock().unwrap_or_else(PoisonError::into_inner).forget(issuer);
    }

    fn publish(&self, issuer: &str, keys: Published, generation: Option<u64>) {
        let keys = Arc::new(keys);
        self.trust.rcu(|old| {
            let mut trust = Trust::clone(old);
            if generation.is_some_and(|generation| generation != old.generation) {
                return trust;
            }
            trust.keys.insert(issuer.into(), keys.clone());
            trust
        });
    }

    /// What to fetch so that a token that was denied may be believed after all. The same key is not asked for twice within five
    /// minutes if the issuer answered, and an issuer for unknown keys three times in a row and then every ten seconds.
    pub fn errand(&self, denied: &Denied, now: Timestamp) -> Option<Errand> {
        Some(match denied.wanted()? {
            Wanted::Key { issuer, kid } => {
                let mut refreshes = self.refreshes.lock().unwrap_or_else(PoisonError::into_inner);
                Errand::Keys { issuer: issuer.clone(), fetch: refreshes.admit(issuer, kid.as_ref(), now) }
            }
            Wanted::Groups { issuer } => Errand::Groups { issuer: issuer.clone() },
        })
    }

    /// Whether an issuer need not be asked for the groups of a token's holder.
    pub fn has_groups(&self, token: &Secret, now: Timestamp) -> bool {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(token, now).is_some()
    }

    /// Takes an issuer's answer (OpenID Connect Core section 5.3.2) about the holder of a token that it was asked about; it counts
    /// for five minutes. `None`, no answer, counts for ten seconds, and so does one that cannot be believed.
    pub fn set_groups(&self, issuer: &str, token: &Secret, json: Option<&[u8]>, now: Timestamp) -> Result<(), InvalidUserinfo> {
        let trust = self.trust.load();
        let Some(trusted) = trust.issuers.iter().find(|trusted| *trusted.name == *issuer) else { return Ok(()) };
        let read = json.map(|json| groups::read(json, token, trusted)).transpose();
        let groups = read.clone().ok().flatten();
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).put(token, groups, now);
        read.map(drop)
    }

    /// The groups that a token of an external issuer lists, and those that its issuer told when it was asked, if the token may not
    /// have named them all.
    fn groups(&self, claims: &Claims, trusted: &TrustedIssuer, token: &Secret, now: Timestamp) -> Result<Vec<Arc<str>>, Denied> {
        let GroupsSaid { mut listed, silent, left_out } = claims.groups(trusted)?;
        if left_out && !trusted.userinfo {
            return Err(Reason::Groups.into());
        }
        if !trusted.userinfo || !(silent || left_out) {
            return Ok(listed);
        }
        let told = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(token, now);
        let wanted = || Wanted::Groups { issuer: trusted.name.clone() };
        let told = told.ok_or_else(|| Denied::for_want_of(Reason::GroupsUnavailable, wanted()))?;
        listed.extend(told?.iter().cloned());
        listed.sort();
        listed.dedup();
        if listed.len() > MAX_GROUPS { Err(Reason::Groups.into()) } else { Ok(listed) }
    }

    /// The chain of an identity with the local groups, kinds and sponsors of this moment. Groups that came with a token stay.
    pub fn current_chain(&self, identity: &Identity) -> Chain {
        self.current(&identity.chain)
    }

    /// The same of a chain.
    pub fn current(&self, chain: &Chain) -> Chain {
        let directory = self.directory.load();
        let current = |link: &Principal| match directory.principal(&link.key) {
            Some(today) if directory.is_local(&link.key.issuer) => {
                principal(link.key.clone(), today.kind, Some(today), Vec::new())
            }
            _ => link.clone(),
        };
        let links = chain.links().iter().map(current).collect();
        Chain::from_links(links).unwrap_or_else(|_| chain.clone())
    }
}

impl Trust {
    /// Whether principals of this name, an issuer's or an authority's, are believed to be who they are.
    fn knows(&self, name: &str) -> bool {
        self.issuers.iter().any(|trusted| *trusted.name == *name)
            || self.authorities.iter().any(|trusted| **trusted.name() == *name)
    }

    /// The issuers that a token stands on: its own, those of what it was made from, and those whose principals it names.
    fn stood_on(&self, own: &str, origin: &Origin, chain: &Chain) -> Arc<[(Arc<str>, Arc<str>)]> {
        let inputs = || origin.inputs.iter().map(|(issuer, _)| &**issuer);
        let named = || chain.links().iter().map(|link| &*link.key.issuer);
        let counts = |name: &str| name == own || inputs().chain(named()).any(|one| one == name);
        let issuers = self.issuers.iter().filter(|trusted| counts(&trusted.name));
        issuers.map(|trusted| (Arc::clone(&trusted.name), Arc::clone(&trusted.issuer))).collect()
    }

    fn issuer(&self, iss: &str) -> Result<&TrustedIssuer, Reason> {
        self.issuers.iter().find(|trusted| *trusted.issuer == *iss).ok_or(Reason::UnknownIssuer)
    }

    fn check_signature(&self, token: Unverified<'_>, trusted: &TrustedIssuer, now: Timestamp) -> Result<Claims, Denied> {
        token.check_type(trusted)?;
        let algorithm = token.algorithm()?;
        if !trusted.algorithms.contains(&algorithm) {
            return Err(Reason::Algorithm.into());
        }
        let kid: Option<Arc<str>> = token.kid()?.map(Into::into);
        let lacking = |reason| Denied::for_want_of(reason, Wanted::Key { issuer: trusted.name.clone(), kid: kid.clone() });
        let published = self.keys.get(&trusted.name).filter(|published| published.until.is_none_or(|until| now < until));
        let keys = &published.ok_or_else(|| lacking(Reason::KeysUnavailable))?.keys;
        // Ids are unique among keys of one type only (RFC 7517 section 4.5), so one of the fitting type is preferred.
        let mut candidates = keys.candidates(kid.as_deref()).peekable();
        let first = candidates.peek().copied().ok_or_else(|| lacking(Reason::UnknownKey))?;
        let key = candidates.find(|key| key.takes(algorithm)).unwrap_or(first);
        Ok(token.verified_by(key, algorithm)?)
    }
}

/// The chain that a token stands for, actor first, and which links act because the next one's issuer lets them. Each link acts for
/// the next, so `act` is read from outside in, and the token's own subject comes last.
fn chain(
    claims: &Claims,
    trusted: &TrustedIssuer,
    groups: Vec<Arc<str>>,
    trust: &Trust,
    directory: &Directory,
) -> Result<(Chain, Vec<usize>), Denied> {
    let actors = claims.actors(MAX_LINKS - 1)?;
    if !actors.is_empty() && !trusted.act_believed {
        return Err(Reason::DelegationUntrusted.into());
    }
    let local = directory.is_local(&trusted.name);
    let (mut links, mut vouched) = (Vec::with_capacity(actors.len() + 1), Vec::new());
    for (n, actor) in actors.into_iter().enumerate() {
        let issuer = actor.issuer.map_or(Ok(trusted), |iss| trust.issuer(iss))?;
        let key = PrincipalKey::new(issuer.name.clone(), actor.subject);
        let (registered, of_ours) = (directory.principal(&key), directory.is_local(&issuer.name));
        // An actor who proved itself when the local issuer exchanged its token is what its own issuer said. Of any other a token says
        // nothing but its name, so what it is and whom it answers to must be registered.
        let proven = actor.groups.filter(|_| local && !of_ours);
        if proven.is_none() && registered.is_none() {
            return Err(Reason::PrincipalUnknown.into());
        }
        let kind = registered.filter(|_| of_ours).map_or(issuer.kind, |registered| registered.kind);
        links.push(principal(key, kind, registered, proven.unwrap_or_default()));
        vouched.extend((local && actor.vouched).then_some(n));
    }
    links.push(subject(claims, trusted, groups, trust, directory)?);
    Ok((Chain::from_links(links).map_err(|_| Reason::Malformed)?, vouched))
}

/// The principal that a token is about: registered if the issuer is local, else as the token describes it. An exchanged token
/// describes somebody of another issuer.
fn subject(
    claims: &Claims,
    trusted: &TrustedIssuer,
    groups: Vec<Arc<str>>,
    trust: &Trust,
    directory: &Directory,
) -> Result<Principal, Reason> {
    if !directory.is_local(&trusted.name) {
        let key = PrincipalKey::new(trusted.name.clone(), claims.subject(trusted)?);
        return Ok(principal(key.clone(), trusted.kind, directory.principal(&key), groups));
    }
    if let Some((iss, subject)) = claims.foreign_subject()? {
        let issuer = trust.issuer(iss)?;
        let key = PrincipalKey::new(issuer.name.clone(), subject);
        return Ok(principal(key.clone(), issuer.kind, directory.principal(&key), groups));
    }
    let key = PrincipalKey::new(trusted.name.clone(), claims.subject(trusted)?);
    let registered = directory.principal(&key).ok_or(Reason::PrincipalUnknown)?;
    Ok(principal(key, registered.kind, Some(registered), Vec::new()))
}

/// Whom the subject's issuer lets act for it, if its word counts and names somebody whom we could know.
fn may_act(claims: &Claims, trusted: &TrustedIssuer, trust: &Trust) -> Result<Option<PrincipalKey>, Reason> {
    let said = if trusted.act_believed { claims.may_act()? } else { None };
    let Some((iss, subject)) = said else { return Ok(None) };
    let issuer = iss.map_or(Ok(trusted), |iss| trust.issuer(iss)).ok();
    Ok(issuer.map(|issuer| PrincipalKey::new(issuer.name.clone(), subject)))
}

/// A principal with the groups that its token lists and those registered for it.
pub(crate) fn principal(
    key: PrincipalKey,
    kind: PrincipalKind,
    registered: Option<&Registered>,
    mut groups: Vec<Arc<str>>,
) -> Principal {
    groups.extend(registered.into_iter().flat_map(|registered| registered.groups.iter().cloned()));
    groups.sort();
    groups.dedup();
    Principal { key, kind, groups, sponsor: registered.and_then(|registered| registered.sponsor.clone()) }
}

/// Whether an identity stands, as far as time, trust and directory go.
pub(crate) fn check(identity: &Identity, trust: &Trust, directory: &Directory, now: Timestamp) -> Result<(), Denied> {
    let denied = |reason| Err(Denied::of_chain(reason, identity.chain.clone()));
    if now >= identity.expires {
        return denied(Reason::Expired);
    }
    let inputs = &identity.origin.inputs;
    let are_the_same =
        |(name, iss): &(Arc<str>, Arc<str>)| trust.issuers.iter().any(|trusted| trusted.name == *name && trusted.issuer == *iss);
    if !trust.knows(&identity.issuer)
        || !inputs.iter().all(|(issuer, _)| trust.knows(issuer))
        || !identity.issuers.iter().all(are_the_same)
    {
        return denied(Reason::UnknownIssuer);
    }
    if directory.is_revoked(&identity.issuer, &identity.token)
        || inputs.iter().any(|(issuer, id)| directory.is_revoked(issuer, id))
    {
        return denied(Reason::Revoked);
    }
    for link in identity.chain.links() {
        let registered = directory.principal(&link.key);
        match registered {
            None if directory.is_local(&link.key.issuer) => return denied(Reason::PrincipalUnknown),
            Some(registered) if registered.disabled => return denied(Reason::PrincipalDisabled),
            _ => {}
        }
        // The sponsor when the session began, and the one of today: the end of either ends the chain.
        let today = registered.and_then(|registered| registered.sponsor.as_ref());
        if [link.sponsor.as_ref(), today].into_iter().flatten().any(|sponsor| !stands(directory, sponsor)) {
            return denied(Reason::SponsorDisabled);
        }
    }
    let unregistered = |(n, pair): (usize, &[Principal])| match pair {
        [actor, subject] => !identity.origin.vouched.contains(&n) && !directory.may_act(&actor.key, &subject.key),
        _ => false,
    };
    if identity.chain.links().windows(2).enumerate().any(unregistered) {
        return denied(Reason::DelegationUnregistered);
    }
    Ok(())
}

/// Whether somebody is there still: a sponsor who answers for others, or who was given something.
pub(crate) fn stands(directory: &Directory, sponsor: &PrincipalKey) -> bool {
    match directory.principal(sponsor) {
        Some(registered) => !registered.disabled,
        None => !directory.is_local(&sponsor.issuer),
    }
}

/// An id for a token that brings none, so that it can be named and revoked. Of what is signed and not of the signature: whoever
/// holds an ECDSA token can make another valid signature of it.
pub(crate) fn digest_id(said: &[u8]) -> Arc<str> {
    let digest = digest::digest(&digest::SHA256, said);
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("sha256-{hex}").into()
}
