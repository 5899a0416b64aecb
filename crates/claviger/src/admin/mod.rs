//! Administration: what the API and the command line do, done once.
//!
//! [`Admin`] holds the parts. Acting takes an [`Acting`], and there are two ways to one: the API's, where policy is asked and
//! the act is in the log before it is done; and that of the command line on the gateway's own machine, where whoever can
//! write the data directory needs no permission, and the act is noted in the store, from where the running gateway,
//! or the next one, takes it into the log.

mod access;
mod acting;
mod approving;
mod coverage;
mod described;
mod exchange;
mod using;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::{ArcSwap, Guard};
use claviger_api::wire::LoginProvider;
use claviger_api::{
    Act, Asked, Backend, Caller, ExchangedToken, Followed, Leaves, Management, OauthError, Problem, TokenExchange,
};
use claviger_audit::{AdminLeaf, Batch, Leaf, LeafKind, LeafType, Ledger, Position, Verdict};
use claviger_identity::{Authenticator, Denied, Identity, LocalIssuer};
use claviger_model::{Chain, PrincipalKey, Secret};
use claviger_policy::{Action, Answer, Context, Grants, Question, Resource};
use claviger_proxy::Upstreams;
use claviger_session::Gateway;
use claviger_store::log::AuditLog;
use claviger_store::{Store, StoreError};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

use crate::config::{Config, LOCAL_ISSUER};
use crate::serve::now;
pub(crate) use acting::Acting;
pub(crate) use approving::told;
pub(crate) use described::Replayed;

/// The name of the command line on the gateway's own machine, where the log says who acted.
const LOCAL_OPERATOR: &str = "local";

/// How much of an act's target goes into the log, in characters.
const MAX_TARGET: usize = 1024;

/// Within this time a running gateway has taken up what another process changed in the store.
const TAKEN_UP: Duration = Duration::from_millis(300);

/// How long a request may wait for the issuer of a token that it brings.
const ISSUER_PATIENCE: Duration = Duration::from_secs(10);

/// Leaves that may wait for somebody who follows the log.
const BACKLOG: usize = 256;

/// The parts that administration works on.
pub(crate) struct Admin {
    config: ArcSwap<Config>,
    store: Arc<Store>,
    running: Option<Running>,
}

/// What only a running gateway has.
struct Running {
    log: Arc<AuditLog>,
    gateway: Arc<Gateway>,
    authenticator: Arc<Authenticator>,
    upstreams: Arc<Upstreams>,
}

impl Admin {
    /// Administration of the gateway that runs in this process.
    pub(crate) fn of_gateway(
        config: &Arc<Config>,
        store: Arc<Store>,
        log: Arc<AuditLog>,
        gateway: Arc<Gateway>,
        authenticator: Arc<Authenticator>,
        upstreams: Arc<Upstreams>,
    ) -> Self {
        let config = ArcSwap::new(Arc::clone(config));
        Self { config, store, running: Some(Running { log, gateway, authenticator, upstreams }) }
    }

    /// Administration of this machine's gateway, whether it runs or not.
    pub(crate) fn on_this_machine(config: Config) -> anyhow::Result<Self> {
        let store = Store::open(&config.data, LOCAL_ISSUER).with_context(|| config.data.display().to_string())?;
        Ok(Self { config: ArcSwap::from_pointee(config), store: Arc::new(store), running: None })
    }

    /// Goes by another configuration from now on.
    pub(crate) fn set_config(&self, config: Arc<Config>) {
        self.config.store(config);
    }

    /// The configuration in force.
    fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// Admits the command line on this machine: the act is noted for the log, then it may be done.
    pub(crate) fn admit_local(&self, act: Act, target: &str) -> Result<Acting<'_>, Problem> {
        if act.recorded() {
            let target: String = target.chars().take(MAX_TARGET).collect();
            self.store.note_act(act.verb(), &target, now()).map_err(problem)?;
        }
        Ok(Acting { admin: self, who: LOCAL_OPERATOR.into(), caller: None, address: None, own: false, sees: None })
    }

    /// Notes for the log what the command line does on this machine beyond the acts of the API.
    pub(crate) fn note_local(&self, action: &str, target: &str) -> Result<(), Problem> {
        self.store.note_act(action, target, now()).map_err(problem)
    }

    fn running(&self) -> Result<&Running, Problem> {
        let needed = || Problem::conflict("this needs the running gateway: ask its API");
        self.running.as_ref().ok_or_else(needed)
    }

    /// Hands the local issuer's public keys to the authenticator.
    pub(crate) fn publish_keys(&self, authenticator: &Authenticator) -> anyhow::Result<()> {
        let issuer = self.local_issuer().map_err(|problem| anyhow::anyhow!("{problem}"))?;
        authenticator.set_keys(LOCAL_ISSUER, issuer.key_set()?);
        Ok(())
    }

    /// Changes the store, and waits until a running gateway has taken up the change: who is told that it is done may rely on it.
    fn change<T>(&self, work: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, Problem> {
        let epoch = || self.running.as_ref().map(|running| running.authenticator.epoch());
        let (before, until) = (epoch(), Instant::now() + TAKEN_UP);
        let done = work(&self.store).map_err(problem)?;
        while before.is_some() && epoch() == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(done)
    }

    /// The local issuer with the keys of this moment. The first who needs a key makes it.
    fn local_issuer(&self) -> Result<LocalIssuer, Problem> {
        let mut keys = self.store.signing_keys().map_err(problem)?;
        if keys.is_empty() {
            self.store.rotate_issuer_key(now()).map_err(problem)?;
            keys = self.store.signing_keys().map_err(problem)?;
        }
        let config = self.config();
        let issuer = &config.issuer;
        LocalIssuer::new(LOCAL_ISSUER, issuer.url.as_str(), issuer.audience.as_str(), keys).map_err(|error| internal(&error))
    }

    /// `subject`, or `subject@issuer` with the name of an issuer or authority known here; an `@` before anything else is the subject's own.
    fn key(&self, text: &str) -> PrincipalKey {
        let config = self.config();
        match text.rsplit_once('@') {
            Some((subject, issuer)) if config.names_principals(issuer) => PrincipalKey::new(issuer, subject),
            _ => PrincipalKey::new(LOCAL_ISSUER, text),
        }
    }
}

impl Running {
    /// Who holds a token. Waits for its issuer if that must be asked, and holds no thread meanwhile.
    async fn identify(&self, token: &Secret) -> Result<Identity, Denied> {
        let asked = timeout(ISSUER_PATIENCE, self.gateway.identify(token)).await;
        let mut verified = asked.unwrap_or_else(|_elapsed| self.authenticator.verify(token, now()));
        // The token is good, and who it names is not: the command line may have registered them a moment ago.
        if verified.as_ref().is_err_and(|denied| denied.chain().is_some()) {
            tokio::time::sleep(TAKEN_UP).await;
            verified = self.authenticator.verify(token, now());
        }
        verified
    }

    /// Asks the policy of this moment whether a chain may do something to the gateway.
    fn decide(&self, chain: &Chain, action: Action, address: IpAddr, purpose: Option<&str>) -> Answer {
        self.gateway.rules().policy.decide(&Question {
            chain,
            action,
            resource: Resource::Gateway,
            context: Context { client_address: address, application: None, tls: true, purpose },
            grants: Grants::default(),
        })
    }

    /// Puts an act, or its denial, into the log; on return it is on stable storage. Called on a thread that may block.
    fn record(&self, who: &str, act: &str, target: &str, verdict: Verdict) -> Result<(), Problem> {
        let target: String = target.chars().take(MAX_TARGET).collect();
        let leaf = admin_leaf(who, act, &target, verdict);
        let appended = self.log.append(Batch::of(leaf)).map_err(|_| Problem::audit_unavailable())?;
        self.wait(appended)
    }

    fn wait(&self, position: Position) -> Result<(), Problem> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Problem::internal())?;
        runtime.block_on(self.log.synced(position)).map_err(|_| Problem::audit_unavailable())
    }
}

fn admin_leaf(who: &str, action: &str, target: &str, verdict: Verdict) -> Leaf {
    let admin = AdminLeaf { who: who.into(), action: action.into(), target: target.into(), verdict };
    Leaf { time: now(), kind: LeafKind::Admin(admin) }
}

/// Takes the acts that the command line has noted in the store into the log. An act is taken out only when it is in the log;
/// one that a crash catches between the two is in the log twice.
pub(crate) fn record_local_acts(store: &Store, log: &dyn Ledger) -> anyhow::Result<()> {
    for act in store.noted_acts()? {
        let mut leaf = admin_leaf(LOCAL_OPERATOR, &act.action, &act.target, Verdict::Permit);
        leaf.time = act.time;
        log.append(Batch::of(leaf))?;
        store.forget_act(act.id)?;
    }
    Ok(())
}

impl Backend for Admin {
    fn healthy(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.log.admits())
    }

    fn jwks(&self) -> Result<serde_json::Value, Problem> {
        serde_json::from_str(&self.local_issuer()?.jwks()).map_err(|error| internal(&error))
    }

    fn issuer(&self) -> String {
        self.config().issuer.url.clone()
    }

    fn authenticate<'a>(&'a self, token: &'a Secret) -> Asked<'a, Result<Identity, Problem>> {
        Box::pin(async move {
            let identified = self.running()?.identify(token).await;
            identified.map_err(|denied| Problem::unauthenticated(denied.code(), denied.to_string()))
        })
    }

    fn logins(&self) -> Vec<LoginProvider> {
        self.config().issuers.iter().filter_map(|issuer| issuer.login.clone()).collect()
    }

    fn exchange(self: Arc<Self>, exchange: TokenExchange, address: IpAddr) -> Asked<'static, Result<ExchangedToken, OauthError>> {
        Box::pin(exchange::exchange(self, exchange, address))
    }

    fn stands(&self, caller: &Caller) -> bool {
        self.running.as_ref().is_some_and(|running| running.authenticator.recheck(&caller.identity, now()).is_ok())
    }

    fn admit(&self, caller: &Caller, act: Act, target: &str) -> Result<Box<dyn Management + '_>, Problem> {
        let running = self.running()?;
        let chain = running.authenticator.current_chain(&caller.identity);
        let who: Arc<str> = chain.to_string().into();
        let acting = |own, sees| {
            let (caller, address) = (Some(Box::new(caller.identity.clone())), Some(caller.address));
            Box::new(Acting { admin: self, who: Arc::clone(&who), caller, address, own, sees })
        };
        // A token for some connections is for nothing else.
        let scoped = caller.identity.origin.scope.is_some();
        let ask = |action| running.decide(&chain, action, caller.address, caller.identity.purpose.as_deref());
        let answer = action(act).map(ask);
        if scoped || answer.as_ref().is_some_and(|answer| !answer.permit) {
            match act {
                // Whoever may connect may know where to.
                Act::ListConnections => {
                    let sees = running.gateway.open_to(&caller.identity, caller.address);
                    return Ok(acting(false, Some(sees)));
                }
                // Whoever approves sees what is to be approved; everybody what he has himself, and may give it back.
                Act::ListAccess if !scoped && ask(Action::ListApprovals).permit => return Ok(acting(false, None)),
                Act::ListAccess | Act::RevokeAccess if !scoped => return Ok(acting(true, None)),
                _ => {}
            }
            running.record(&who, act.verb(), target, Verdict::Deny)?;
            let reason = answer.and_then(|answer| answer.reason);
            return Err(Problem::denied(reason.as_deref().unwrap_or("policy does not permit it")));
        }
        if act.recorded() {
            running.record(&who, act.verb(), target, Verdict::Permit)?;
        }
        // What policy is not asked about here is for one's own.
        Ok(acting(answer.is_none(), None))
    }

    fn tail(&self, of: Followed) -> Result<Leaves, Problem> {
        let mut log = self.running()?.log.subscribe();
        let (sender, receiver) = mpsc::channel(BACKLOG);
        // In a canonical line this can only be the key itself: in a value its quotes would be escaped.
        let of_type = |kind: LeafType| format!("\"type\":\"{}\"", kind.as_str());
        let marks = match of {
            Followed::All => Vec::new(),
            Followed::Session(id) => vec![format!("\"session\":\"{id}\"")],
            Followed::Approvals => vec![of_type(LeafType::Approval), of_type(LeafType::Access)],
        };
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Problem::internal())?;
        runtime.spawn(async move {
            // Whoever falls behind is cut off, not given a log with holes.
            while let Ok(leaf) = next(&mut log, &sender).await {
                let wanted = marks.is_empty() || marks.iter().any(|mark| leaf.contains(mark));
                if wanted && sender.send(leaf).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

/// The next leaf, unless the reader goes away first.
async fn next(
    log: &mut broadcast::Receiver<Arc<str>>,
    reader: &mpsc::Sender<Arc<str>>,
) -> Result<Arc<str>, broadcast::error::RecvError> {
    tokio::select! {
        leaf = log.recv() => leaf,
        () = reader.closed() => Err(broadcast::error::RecvError::Closed),
    }
}

/// Policy's word for an act. Access for a time is everybody's to ask for: policy is asked about the connection.
fn action(act: Act) -> Option<Action> {
    Some(match act {
        Act::RequestAccess | Act::MintAccessToken => return None,
        Act::ListAccess => Action::ListAccess,
        Act::ReviewAccess => Action::DecideApprovals,
        Act::RevokeAccess => Action::RevokeAccess,
        Act::ListSessions => Action::ListSessions,
        Act::ReadSession | Act::TailSessions => Action::ReadSession,
        Act::KillSession => Action::KillSession,
        Act::ListPrincipals => Action::ListPrincipals,
        Act::AddPrincipal
        | Act::UpdatePrincipal
        | Act::DisablePrincipal
        | Act::EnablePrincipal
        | Act::AddDelegation
        | Act::RemoveDelegation => Action::ManagePrincipals,
        Act::ListTokens => Action::ListTokens,
        Act::ListUsage => Action::ListUsage,
        Act::ListApprovals | Act::ShowApproval => Action::ListApprovals,
        Act::DecideApproval => Action::DecideApprovals,
        Act::IssueToken => Action::IssueToken,
        Act::RevokeToken | Act::RevokeTokens => Action::RevokeToken,
        Act::RotateKey => Action::RotateKey,
        Act::ListConnections => Action::ListConnections,
        Act::CheckCoverage => Action::CheckCoverage,
        Act::ReadAudit => Action::ReadAudit,
    })
}

/// What of the store's errors the caller may know; the rest is for the gateway's own log.
fn problem(error: StoreError) -> Problem {
    match error {
        StoreError::UnknownPrincipal(_) | StoreError::UnknownToken(_) => Problem::not_found(error.to_string()),
        StoreError::InvalidName(..) | StoreError::SponsorNotUser(_) => Problem::invalid(error.to_string()),
        error => internal(&error),
    }
}

fn internal(error: &impl std::error::Error) -> Problem {
    tracing::error!(%error, "administration failed");
    Problem::internal()
}
