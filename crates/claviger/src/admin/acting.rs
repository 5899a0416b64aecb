//! The acts themselves, for somebody who has been admitted to one.

use std::net::IpAddr;
use std::sync::Arc;

use claviger_api::wire::{
    Access, AccessQuery, Approval, ApprovalQuery, Connection, Coverage, Delegation, IssuedToken, KillQuery, Kind, Listener,
    NewAccess, NewPrincipal, NewToken, Principal, PrincipalPatch, RecordingEntry, Review, RevokeQuery, Session, SessionQuery,
    Token, Usage,
};
use claviger_api::{Management, Problem};
use claviger_identity::{Identity, TokenRequest};
use claviger_model::{ApprovalId, PrincipalKey, PrincipalKind, Refusal, RefusalKind, SessionId};
use claviger_session::SessionInfo;
use claviger_store::log::read_session;
use claviger_store::{SessionFilter, StoredPrincipal, StoredSession, StoredToken};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Admin, described, internal, problem};
use crate::config::LOCAL_ISSUER;
use crate::serve::now;

/// How long a token lasts if nobody says, in seconds.
const DEFAULT_LIFETIME: u64 = 12 * 3600;

/// The longest purpose and reason, in characters.
const MAX_SENTENCE: usize = 200;

/// Somebody who has been admitted to an act.
pub(crate) struct Acting<'a> {
    pub(super) admin: &'a Admin,
    /// Who, as the log says it.
    pub(super) who: Arc<str>,
    /// Who, as it was proved; nobody on the gateway's own machine.
    pub(super) caller: Option<Box<Identity>>,
    /// From where; nowhere on the gateway's own machine.
    pub(super) address: Option<IpAddr>,
    /// Whether only what is the caller's own is within reach.
    pub(super) own: bool,
    /// The connections that can be seen; all if nothing is said.
    pub(super) sees: Option<Vec<Arc<claviger_session::Connection>>>,
}

impl Management for Acting<'_> {
    fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, Problem> {
        let mut sessions = Vec::new();
        if let (Some(running), Some(true) | None) = (&self.admin.running, query.live) {
            sessions.extend(running.gateway.registry.list().into_iter().rev().map(live_session));
        }
        // A running gateway knows better than its index which sessions live.
        let live = if self.admin.running.is_some() { Some(false) } else { query.live };
        if query.live != Some(true) || self.admin.running.is_none() {
            let filter = SessionFilter { live, who: query.who.clone(), connection: query.connection.clone(), limit: Some(1000) };
            sessions.extend(self.admin.store.sessions(&filter).map_err(problem)?.into_iter().map(stored_session));
        }
        sessions.retain(|session| query.who.as_ref().is_none_or(|who| session.chain.contains(who)));
        sessions.retain(|session| query.connection.as_ref().is_none_or(|connection| session.connection == *connection));
        sessions.truncate(query.effective_limit());
        Ok(sessions)
    }

    fn session(&self, id: SessionId) -> Result<Session, Problem> {
        let live = self.admin.running.as_ref().and_then(|running| running.gateway.registry.get(id)).map(live_session);
        let found = match live {
            Some(session) => Some(session),
            None => self.admin.store.session(id).map_err(problem)?.map(stored_session),
        };
        found.ok_or_else(|| Problem::not_found("there is no such session"))
    }

    fn recording(&self, id: SessionId) -> Result<Vec<RecordingEntry>, Problem> {
        let record = match &self.admin.running {
            Some(running) => running.log.read_session(id),
            None => read_session(&self.admin.config().data, id),
        };
        let record = record.map_err(|error| internal(&error))?;
        if record.leaves.is_empty() {
            return Err(Problem::not_found("there is no such session"));
        }
        Ok(described::describe(&record))
    }

    fn kill_session(&self, id: SessionId, how: &KillQuery) -> Result<(), Problem> {
        let reason = sentence(how.reason.as_deref(), "reason")?.unwrap_or("an administrator ended the session");
        let refusal = Refusal::new(RefusalKind::Terminated, reason);
        let registry = &self.admin.running()?.gateway.registry;
        let end = if how.drain {
            registry.wind_up(id, refusal, "session.killed")
        } else {
            registry.kill(id, refusal, "session.killed")
        };
        if end { Ok(()) } else { Err(Problem::not_found("there is no such session")) }
    }

    fn principals(&self) -> Result<Vec<Principal>, Problem> {
        let delegations = self.admin.store.delegations().map_err(problem)?;
        let principals = self.admin.store.principals().map_err(problem)?;
        let acts_for = |key: &PrincipalKey| {
            let of = delegations.iter().filter(|delegation| delegation.actor == *key);
            of.map(|delegation| delegation.subject.to_string()).collect()
        };
        Ok(principals.into_iter().map(|stored| Principal { acts_for: acts_for(&stored.key), ..principal(stored) }).collect())
    }

    fn add_principal(&self, new: &NewPrincipal) -> Result<Principal, Problem> {
        let key = self.admin.key(&new.subject);
        if self.admin.store.principal(&key).map_err(problem)?.is_some() {
            return Err(Problem::conflict(format!("`{key}` is registered already")));
        }
        let registered = claviger_store::NewPrincipal {
            key: key.clone(),
            kind: new.kind.into(),
            display: new.display.clone(),
            groups: new.groups.iter().map(|group| group.as_str().into()).collect(),
            sponsor: new.sponsor.as_deref().map(|sponsor| self.admin.key(sponsor)),
        };
        self.admin.change(|store| store.put_principal(&registered, now()))?;
        self.stored(&key).map(principal)
    }

    fn update_principal(&self, subject: &str, patch: &PrincipalPatch) -> Result<Principal, Problem> {
        let key = self.admin.key(subject);
        if patch.groups.is_some() || patch.sponsor.is_some() {
            let StoredPrincipal { key, kind, display, groups, sponsor, .. } = self.stored(&key)?;
            let groups = patch.groups.as_ref().map_or(groups, |new| new.iter().map(|group| group.as_str().into()).collect());
            let sponsor = patch.sponsor.as_deref().map(|sponsor| self.admin.key(sponsor)).or(sponsor);
            let changed = claviger_store::NewPrincipal { key, kind, display, groups, sponsor };
            self.admin.change(|store| store.put_principal(&changed, now()))?;
        }
        // Somebody of another issuer need not have been registered to be shut out.
        if patch.disabled == Some(true)
            && *key.issuer != *LOCAL_ISSUER
            && self.admin.store.principal(&key).map_err(problem)?.is_none()
        {
            let kind = PrincipalKind::User;
            let new = claviger_store::NewPrincipal { key: key.clone(), kind, display: None, groups: Vec::new(), sponsor: None };
            self.admin.change(|store| store.put_principal(&new, now()))?;
        }
        match patch.disabled {
            Some(true) => self.admin.change(|store| store.disable_principal(&key, now()))?,
            Some(false) => self.admin.change(|store| store.enable_principal(&key))?,
            None => {}
        }
        self.stored(&key).map(principal)
    }

    fn add_delegation(&self, delegation: &Delegation) -> Result<(), Problem> {
        let (actor, subject) = (self.admin.key(&delegation.actor), self.admin.key(&delegation.subject));
        self.admin.change(|store| store.add_delegation(&actor, &subject, now()))
    }

    fn remove_delegation(&self, delegation: &Delegation) -> Result<(), Problem> {
        let (actor, subject) = (self.admin.key(&delegation.actor), self.admin.key(&delegation.subject));
        if self.admin.change(|store| store.remove_delegation(&actor, &subject))? {
            Ok(())
        } else {
            Err(Problem::not_found(format!("`{actor}` may not act for `{subject}` anyway")))
        }
    }

    fn tokens(&self) -> Result<Vec<Token>, Problem> {
        let now = now();
        let tokens = self.admin.store.tokens(None).map_err(problem)?;
        Ok(tokens.into_iter().filter(|token| token.expires > now).map(token).collect())
    }

    fn issue_token(&self, new: &NewToken) -> Result<IssuedToken, Problem> {
        let subject = self.local(&new.subject)?;
        let actor = new.actor.as_deref().map(|actor| self.local(actor)).transpose()?;
        if let Some(actor) = &actor {
            let delegations = self.admin.store.delegations().map_err(problem)?;
            if !delegations.iter().any(|delegation| delegation.actor == *actor && delegation.subject == subject) {
                return Err(Problem::conflict(format!("`{actor}` is not registered to act for `{subject}`")));
            }
        }
        let purpose = sentence(new.purpose.as_deref(), "purpose")?;
        let actors: Vec<&str> = actor.iter().map(|actor| &*actor.subject).collect();
        let request = TokenRequest { subject: &subject.subject, actors: &actors, purpose, lifetime: self.lifetime(new)? };
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| Problem::internal())?;
        let issued = self.admin.local_issuer()?.issue(&request, random, now()).map_err(|error| internal(&error))?;
        let stored = StoredToken {
            id: issued.id.clone(),
            sha256: issued.sha256,
            principal: subject,
            actor,
            purpose: purpose.map(Arc::from),
            issued: issued.issued,
            expires: issued.expires,
            issued_by: self.who.clone(),
            revoked: None,
        };
        self.admin.store.record_token(&stored).map_err(problem)?;
        let token = issued.token.expose_str().ok_or_else(Problem::internal)?.to_owned();
        Ok(IssuedToken { id: issued.id.to_string(), token, expires: issued.expires.to_string() })
    }

    fn revoke_token(&self, id: &str) -> Result<(), Problem> {
        let config = self.admin.config();
        let known = id.rsplit_once('@').filter(|(_, issuer)| config.names_principals(issuer));
        let (id, issuer) = known.unwrap_or((id, LOCAL_ISSUER));
        // Revoking what is revoked already is as good.
        self.admin.change(|store| store.revoke_token(issuer, id, &self.who, now())).map(drop)
    }

    fn revoke_tokens(&self, subject: &str) -> Result<(), Problem> {
        let key = self.admin.key(subject);
        if *key.issuer == *LOCAL_ISSUER {
            self.stored(&key)?;
        }
        let revoked = self.admin.change(|store| store.revoke_tokens_of(&key, &self.who, now()))?;
        if revoked.is_empty() && *key.issuer != *LOCAL_ISSUER {
            let instead = format!("the tokens of `{key}` are another issuer's, and not known here: disable the principal");
            return Err(Problem::conflict(instead));
        }
        Ok(())
    }

    fn rotate_key(&self) -> Result<String, Problem> {
        self.admin.change(|store| store.rotate_issuer_key(now())).map(|kid| kid.to_string())
    }

    fn approvals(&self, query: ApprovalQuery) -> Result<Vec<Approval>, Problem> {
        self.list_approvals(query)
    }

    fn approval(&self, id: ApprovalId) -> Result<Approval, Problem> {
        self.show_approval(id)
    }

    fn count_rows(&self, id: ApprovalId) -> Result<Approval, Problem> {
        self.count_approval(id)
    }

    fn review(&self, id: ApprovalId, review: &Review) -> Result<Approval, Problem> {
        self.decide_approval(id, review)
    }

    fn grants(&self, query: AccessQuery) -> Result<Vec<Access>, Problem> {
        self.list_grants(query)
    }

    fn grant(&self, id: ApprovalId) -> Result<Access, Problem> {
        self.show_grant(id)
    }

    fn request_access(&self, new: &NewAccess) -> Result<Access, Problem> {
        self.ask_access(new)
    }

    fn review_grant(&self, id: ApprovalId, review: &Review) -> Result<Access, Problem> {
        self.decide_access(id, review)
    }

    fn revoke_grant(&self, id: ApprovalId, how: &RevokeQuery) -> Result<Access, Problem> {
        self.take_back(id, how)
    }

    fn grant_token(&self, id: ApprovalId) -> Result<IssuedToken, Problem> {
        self.mint_token(id)
    }

    fn usage(&self) -> Result<Vec<Usage>, Problem> {
        Ok(self.admin.running()?.gateway.usage().iter().map(super::using::usage).collect())
    }

    fn connections(&self) -> Result<Vec<Connection>, Problem> {
        let connections = match (&self.sees, &self.admin.running) {
            (Some(seen), _) => seen.clone(),
            (None, Some(running)) => running.gateway.rules().connections.iter().cloned().collect(),
            (None, None) => self.admin.config().connections.clone(),
        };
        Ok(connections.iter().map(|connection| self.connection(connection)).collect())
    }

    fn coverage(&self, connection: &str) -> Result<Coverage, Problem> {
        let running = self.admin.running()?;
        let name = connection.parse().ok();
        let found = name.and_then(|name| running.gateway.rules().connections.get(&name));
        let found = found.ok_or_else(|| Problem::not_found("there is no such connection"))?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Problem::internal())?;
        runtime.block_on(super::coverage::look(&running.gateway, &running.upstreams, &found))
    }

    fn checkpoint(&self) -> Result<String, Problem> {
        if let (Err(_), Some(running)) = (self.published("checkpoint"), &self.admin.running) {
            // A young log signs its first when asked.
            running.log.checkpoint_now().map_err(|_| Problem::audit_unavailable())?;
        }
        self.published("checkpoint")
    }

    fn audit_key(&self) -> Result<String, Problem> {
        self.published("log.vkey")
    }
}

impl Acting<'_> {
    /// What of a session is needed to decide its operations again.
    pub(crate) fn replay(&self, id: SessionId) -> Result<described::Replayed, Problem> {
        let record = read_session(&self.admin.config().data, id).map_err(|error| internal(&error))?;
        Ok(described::replayed(&record))
    }

    fn stored(&self, key: &PrincipalKey) -> Result<StoredPrincipal, Problem> {
        let stored = self.admin.store.principal(key).map_err(problem)?;
        stored.ok_or_else(|| Problem::not_found(format!("`{key}` is not registered")))
    }

    /// A principal for whom the local issuer may vouch: its own, registered, and not shut out.
    fn local(&self, subject: &str) -> Result<PrincipalKey, Problem> {
        let key = self.admin.key(subject);
        if *key.issuer != *LOCAL_ISSUER {
            return Err(Problem::conflict(format!("`{key}` gets tokens from its own issuer")));
        }
        match self.stored(&key)?.disabled {
            None => Ok(key),
            Some(_) => Err(Problem::conflict(format!("`{key}` is disabled"))),
        }
    }

    fn lifetime(&self, new: &NewToken) -> Result<u32, Problem> {
        let most = self.admin.config().issuer.max_lifetime;
        let wanted = new.ttl_seconds.unwrap_or(DEFAULT_LIFETIME.min(most.into()));
        match u32::try_from(wanted) {
            Ok(lifetime) if (1..=most).contains(&lifetime) => Ok(lifetime),
            _ => Err(Problem::invalid(format!("a token of this issuer lasts 1 to {most} seconds"))),
        }
    }

    fn connection(&self, connection: &claviger_session::Connection) -> Connection {
        let leads_here = |listener: &&crate::config::ListenerConfig| match &listener.connection {
            Some(name) => *name == connection.name,
            None => listener.kind == connection.kind,
        };
        let listener = |listener: &crate::config::ListenerConfig| Listener {
            address: listener.addr.to_string(),
            shared: listener.connection.is_none(),
        };
        Connection {
            name: connection.name.to_string(),
            kind: connection.kind.to_owned(),
            address: format!("{}:{}", connection.host, connection.port),
            database: connection.database.clone(),
            mode: connection.mode.as_str().to_owned(),
            labels: connection.labels.iter().map(ToString::to_string).collect(),
            listeners: self.admin.config().listeners.iter().filter(leads_here).map(listener).collect(),
        }
    }

    /// A file that the log publishes.
    fn published(&self, name: &str) -> Result<String, Problem> {
        let path = self.admin.config().data.join("audit").join(name);
        std::fs::read_to_string(path).map_err(|_| Problem::not_found("the log has not published it yet"))
    }
}

/// A sentence that goes into tokens, messages and the log.
pub(super) fn sentence<'a>(text: Option<&'a str>, what: &str) -> Result<Option<&'a str>, Problem> {
    match text {
        Some(text) if text.chars().count() > MAX_SENTENCE || text.chars().any(char::is_control) => {
            Err(Problem::invalid(format!("the {what} must be at most {MAX_SENTENCE} characters, on one line")))
        }
        text => Ok(text),
    }
}

fn live_session(info: SessionInfo) -> Session {
    Session {
        id: info.id,
        live: true,
        chain: info.chain.links().iter().map(|link| link.key.to_string()).collect(),
        sponsor: info.chain.sponsor().map(ToString::to_string),
        connection: info.connection.to_string(),
        client: info.client.to_string(),
        application: info.application.map(|application| application.to_string()),
        opened: info.opened.to_string(),
        closed: None,
        reason: None,
        operations: info.operations,
        expires: Some(info.expires.to_string()),
    }
}

fn stored_session(stored: StoredSession) -> Session {
    Session {
        id: stored.id,
        live: stored.end.is_none(),
        chain: stored.who.split(" for ").map(str::to_owned).collect(),
        sponsor: stored.sponsor.map(|sponsor| sponsor.to_string()),
        connection: stored.connection.to_string(),
        client: stored.client.to_string(),
        application: None,
        opened: stored.opened.to_string(),
        closed: stored.end.as_ref().map(|end| end.closed.to_string()),
        reason: stored.end.as_ref().map(|end| end.reason.to_string()),
        operations: stored.end.map_or(0, |end| end.operations),
        expires: None,
    }
}

fn principal(stored: StoredPrincipal) -> Principal {
    Principal {
        principal: stored.key.to_string(),
        kind: Kind::from(stored.kind),
        display: stored.display,
        groups: stored.groups.iter().map(ToString::to_string).collect(),
        sponsor: stored.sponsor.map(|sponsor| sponsor.to_string()),
        disabled: stored.disabled.is_some(),
        acts_for: Vec::new(),
    }
}

fn token(stored: StoredToken) -> Token {
    Token {
        id: stored.id.to_string(),
        subject: stored.principal.to_string(),
        actor: stored.actor.map(|actor| actor.to_string()),
        purpose: stored.purpose.map(|purpose| purpose.to_string()),
        issued: stored.issued.to_string(),
        expires: stored.expires.to_string(),
        revoked: stored.revoked.is_some(),
    }
}
