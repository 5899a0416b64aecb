//! Token exchange (RFC 8693): tokens that are trusted here for a short one of the local issuer.

use std::net::IpAddr;
use std::sync::Arc;

use claviger_api::{ExchangedToken, OauthError, TokenExchange};
use claviger_audit::Verdict;
use claviger_identity::{Denied, Exchanged, Identity, IssuedToken, NotExchanged};
use claviger_model::Chain;
use claviger_policy::Action;
use claviger_store::StoredToken;
use ring::rand::{SecureRandom, SystemRandom};

use super::{Admin, Running};
use crate::serve::now;

/// What the log calls it.
const VERB: &str = "token.exchange";

/// Whose a token is, or why nobody's.
type Identified = Result<Identity, Denied>;

/// Exchanges tokens. What is given out is on record before, and so is what is refused to somebody who is known.
pub(super) async fn exchange(admin: Arc<Admin>, exchange: TokenExchange, address: IpAddr) -> Result<ExchangedToken, OauthError> {
    let running = admin.running().map_err(|problem| OauthError::unavailable(problem.detail))?;
    let config = admin.config();
    let issuer = &config.issuer;
    if exchange.targets.iter().any(|target| *target != issuer.audience && *target != issuer.url) {
        return Err(OauthError::target());
    }
    let subject = running.identify(&exchange.subject_token).await;
    let actor = match exchange.actor_token.as_ref().filter(|_| subject.is_ok()) {
        Some(token) => Some(running.identify(token).await),
        None => None,
    };
    let done = tokio::task::spawn_blocking(move || exchange_of(&admin, &exchange, subject, actor, address)).await;
    done.unwrap_or_else(|_panicked| Err(OauthError::unavailable("the gateway failed")))
}

/// Called on a thread that may block.
fn exchange_of(
    admin: &Admin,
    exchange: &TokenExchange,
    subject: Identified,
    actor: Option<Identified>,
    address: IpAddr,
) -> Result<ExchangedToken, OauthError> {
    let running = admin.running().map_err(|problem| OauthError::unavailable(problem.detail))?;
    let subject = identity(running, subject, "subject_token")?;
    let actor = actor.map(|actor| identity(running, actor, "actor_token")).transpose()?;
    let exchanged = match running.authenticator.exchange(&subject, actor.as_ref(), exchange.scope.as_deref(), now()) {
        Ok(exchanged) => exchanged,
        Err(NotExchanged::Scope) => return Err(OauthError::scope(NotExchanged::Scope.to_string())),
        Err(NotExchanged::OfGrant) => return Err(OauthError::invalid(NotExchanged::OfGrant.to_string())),
        Err(NotExchanged::Denied(denied)) => return Err(refuse(running, &denied, &denied.to_string())),
    };
    let lifetime = admin.config().issuer.exchange_lifetime;
    let issued = made(admin, running, &exchanged, lifetime, address)?;
    keep(admin, &exchanged, &issued)?;
    Ok(ExchangedToken {
        access_token: issued.token.expose_str().unwrap_or_default().to_owned(),
        issued_token_type: exchange.issued_type().to_owned(),
        token_type: "Bearer".to_owned(),
        expires_in: u64::try_from(issued.expires.as_secs() - issued.issued.as_secs()).unwrap_or(0),
        scope: exchanged.scope,
    })
}

/// A token that says what came of an exchange, on record; it is still to be kept. It grants nothing, so it needs no permit; but it can be
/// forbidden.
pub(super) fn made(
    admin: &Admin,
    running: &Running,
    exchanged: &Exchanged,
    lifetime: u32,
    address: IpAddr,
) -> Result<IssuedToken, OauthError> {
    let answer = running.decide(&exchanged.chain, Action::ExchangeToken, address, exchanged.purpose.as_deref());
    if !answer.permit && (answer.error || !answer.policies.is_empty()) {
        record(running, &exchanged.chain, "policy.deny", Verdict::Deny)?;
        let reason = answer.reason.as_deref().unwrap_or("policy forbids it");
        return Err(OauthError::invalid(format!("the tokens are not exchanged: {reason}")));
    }
    let issued = issue(admin, exchanged, lifetime)?;
    record(running, &exchanged.chain, &made_from(&issued.id, exchanged), Verdict::Permit)?;
    Ok(issued)
}

fn identity(running: &Running, identified: Identified, name: &str) -> Result<Identity, OauthError> {
    match identified {
        Ok(identity) => Ok(identity),
        Err(denied) if denied.may_be_helped() && denied.code().ends_with(".unavailable") => {
            Err(OauthError::unavailable(format!("{name}: {denied}")))
        }
        Err(denied) => Err(refuse(running, &denied, &format!("{name}: {denied}"))),
    }
}

/// What RFC 8693 section 2.2.2 has for tokens that are not acceptable. Where somebody is known, the refusal is recorded.
fn refuse(running: &Running, denied: &Denied, description: &str) -> OauthError {
    let recorded = denied.chain().map_or(Ok(()), |chain| record(running, chain, denied.code(), Verdict::Deny));
    recorded.err().unwrap_or_else(|| OauthError::invalid(description))
}

fn record(running: &Running, chain: &Chain, target: &str, verdict: Verdict) -> Result<(), OauthError> {
    running.record(&chain.to_string(), VERB, target, verdict).map_err(|problem| OauthError::unavailable(problem.detail))
}

fn issue(admin: &Admin, exchanged: &Exchanged, lifetime: u32) -> Result<IssuedToken, OauthError> {
    let failed = |_| OauthError::unavailable("the local issuer cannot issue tokens at the moment");
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| failed(()))?;
    let issuer = admin.local_issuer().map_err(|_| failed(()))?;
    let issued = issuer.issue_exchanged(exchanged, lifetime, random, now());
    let issued = issued.map_err(|_| failed(()))?;
    // Whoever is in very many groups would get a token that nobody reads.
    if issued.token.expose().len() > claviger_identity::MAX_TOKEN {
        return Err(OauthError::invalid("the token would be too long: its principals are in too many groups"));
    }
    Ok(issued)
}

/// The new token, and those that it is made from, by their ids.
fn made_from(id: &str, exchanged: &Exchanged) -> String {
    let inputs: Vec<_> = exchanged.inputs.iter().map(|(issuer, id)| format!("{id}@{issuer}")).collect();
    format!("{id} from {}", inputs.join(", "))
}

pub(super) fn keep(admin: &Admin, exchanged: &Exchanged, issued: &IssuedToken) -> Result<(), OauthError> {
    let links = exchanged.chain.links();
    let failed = || OauthError::unavailable("the token could not be registered");
    let stored = StoredToken {
        id: Arc::clone(&issued.id),
        sha256: issued.sha256,
        principal: links.last().map(|link| link.key.clone()).ok_or_else(failed)?,
        actor: (links.len() > 1).then(|| exchanged.chain.actor().key.clone()),
        purpose: exchanged.purpose.clone(),
        issued: issued.issued,
        expires: issued.expires,
        issued_by: exchanged.chain.to_string().into(),
        revoked: None,
    };
    admin.store.record_token(&stored).map_err(|error| {
        tracing::error!(%error, "a token could not be registered");
        failed()
    })
}
