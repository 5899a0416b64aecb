//! `claviger login` and `claviger logout`, and the token of a login for the commands that present one.

mod device;
mod saved;

use std::path::PathBuf;

use anyhow::Context as _;
use claviger_api::wire::{LoginProvider, TokenKind};
use claviger_api::{ExchangedToken, OauthError};
use claviger_identity::Metadata;
use claviger_model::Secret;
use serde::de::DeserializeOwned;

use self::saved::{Login, Place};
use super::Failure;
use super::gateway::ReachArgs;
use super::output::complain;
use crate::config::LOGIN_SCOPES;
use crate::http::Http;
use crate::serve::now;

/// A token that lasts no longer than this, in seconds, is replaced before it is presented.
const SOON: i64 = 30;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  claviger login --api-url https://gateway.internal:8443\n  \
    claviger login --issuer https://idp.example.com --client-id claviger-cli\n\n\
    The login is kept for this user only, below $XDG_STATE_HOME/claviger (~/.local/state/claviger).")]
pub(super) struct Args {
    /// Which of the gateway's identity providers, by its name; not needed if there is one
    provider: Option<String>,
    /// Log in at this issuer, whatever the gateway says
    #[arg(long, value_name = "URL", requires = "client_id", conflicts_with = "provider")]
    issuer: Option<String>,
    /// As this client of it
    #[arg(long, value_name = "ID", requires = "issuer")]
    client_id: Option<String>,
    /// With this scope, which may be given several times; `openid` and `offline_access` if absent
    #[arg(long, value_name = "SCOPE", requires = "issuer")]
    scope: Vec<String>,
    /// For this resource (RFC 8707)
    #[arg(long, value_name = "URI", requires = "issuer")]
    resource: Option<String>,
    /// Present the access token, which must be a JWT, and not the ID token
    #[arg(long, requires = "issuer")]
    access_token: bool,
    /// Certificates (PEM) to trust for the issuer, instead of the system's
    #[arg(long, value_name = "FILE")]
    issuer_ca: Option<PathBuf>,
    /// Present the issuer's token itself, and do not exchange it for a short one at the gateway
    #[arg(long)]
    no_exchange: bool,
    #[command(flatten)]
    reach: ReachArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct LogoutArgs {
    #[command(flatten)]
    reach: ReachArgs,
}

/// Logs in by a browser on any device (RFC 8628), and keeps what comes of it.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let gateway = args.reach.given();
    let place = Place::of(gateway.as_deref())?;
    let provider = provider(args, gateway.as_deref())?;
    let http = Http::new(args.issuer_ca.as_deref())?;
    let granted = device::log_in(&http, &metadata(&http, &provider)?, &provider)?;
    let exchanges = gateway.is_some() && !args.no_exchange;
    let mut login = Login {
        gateway,
        gateway_ca: args.reach.ca.as_deref().map(std::path::absolute).transpose()?,
        provider,
        provider_ca: args.issuer_ca.as_deref().map(std::path::absolute).transpose()?,
        exchanges,
        refresh_token: None,
        provider_token: String::new(),
        provider_expires: 0,
        token: String::new(),
        expires: 0,
    };
    let _lock = place.lock()?;
    login.take(granted)?;
    if exchanges {
        exchange(&mut login)?;
    }
    place.save(&login)?;
    let (kept, until) = (place.file().display(), claviger_model::Timestamp::from_secs(login.expires));
    let refreshed = if login.refresh_token.is_some() { ", and refreshed when needed" } else { "" };
    complain(format_args!("logged in at {}; the token lasts until {until}{refreshed}; kept in {kept}", login.provider.issuer));
    Ok(())
}

/// Forgets a login, and has the provider take back its refresh token (RFC 7009).
pub(super) fn log_out(args: &LogoutArgs) -> Result<(), Failure> {
    let Some(place) = Place::find(args.reach.given().as_deref())? else {
        complain("there is no login");
        return Ok(());
    };
    let _lock = place.lock()?;
    let login = place.load();
    place.remove()?;
    let login = login?;
    if let Some(token) = &login.refresh_token {
        let revoked = revoke(&login, token);
        if let Err(error) = revoked {
            complain(format_args!("the login is forgotten here, but {} did not take it back: {error:#}", login.provider.issuer));
        }
    }
    Ok(())
}

/// The token of a login, refreshed if it ends soon.
pub(super) fn token(reach: &ReachArgs) -> Result<Secret, Failure> {
    let needed = "a token is needed: `claviger login`, --token-file FILE, or CLAVIGER_TOKEN in the environment";
    let place = Place::find(reach.given().as_deref())?.ok_or_else(|| Failure::Usage(needed.to_owned()))?;
    // One process refreshes; a refresh token may be good for one use only.
    let _lock = place.lock()?;
    let mut login = place.load()?;
    let soon = now().as_secs() + SOON;
    if login.expires <= soon {
        if login.provider_expires <= soon || !login.exchanges {
            let refreshed = refresh(&mut login);
            // At once, and whatever else came of it: the old refresh token may be spent.
            place.save(&login)?;
            refreshed?;
        }
        if login.exchanges {
            exchange(&mut login)?;
        }
        place.save(&login)?;
    }
    Ok(Secret::new(login.token))
}

/// Where to log in: as the arguments say, or the gateway.
fn provider(args: &Args, gateway: Option<&str>) -> Result<LoginProvider, Failure> {
    if let (Some(issuer), Some(client_id)) = (&args.issuer, &args.client_id) {
        let default = || LOGIN_SCOPES.map(str::to_owned).to_vec();
        return Ok(LoginProvider {
            name: issuer.clone(),
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            scopes: if args.scope.is_empty() { default() } else { args.scope.clone() },
            resource: args.resource.clone(),
            audience: None,
            token: if args.access_token { TokenKind::AccessToken } else { TokenKind::IdToken },
        });
    }
    let gateway = gateway
        .ok_or_else(|| Failure::Usage("where? give --api-url (CLAVIGER_API_URL), or --issuer and --client-id".to_owned()))?;
    let json = Http::new(args.reach.ca.as_deref())?.get(&format!("{gateway}/.well-known/claviger-login"), None, 64 * 1024)?;
    let mut offered: Vec<LoginProvider> = parse(&json)?;
    let names = offered.iter().map(|provider| provider.name.clone()).collect::<Vec<_>>().join(", ");
    if let Some(name) = &args.provider {
        offered.retain(|provider| provider.name == *name);
    }
    match (offered.pop(), offered.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(Failure::Usage(format!("which identity provider? one of: {names}"))),
        (None, _) if names.is_empty() => Err(Failure::Usage("the gateway names no identity provider to log in at".to_owned())),
        (None, _) => Err(Failure::Usage(format!("the gateway knows no such identity provider, but: {names}"))),
    }
}

fn metadata(http: &Http, provider: &LoginProvider) -> anyhow::Result<Metadata> {
    let address = Metadata::address(&provider.issuer);
    let json = http.get(&address, None, Metadata::MAX_BYTES)?;
    Metadata::parse(&json, &provider.issuer).context(address)
}

/// Gets new tokens of the provider by the refresh token (RFC 6749 section 6).
fn refresh(login: &mut Login) -> Result<(), Failure> {
    let again = || Failure::Refused("the login has ended: `claviger login` begins another".to_owned());
    let refresh_token = login.refresh_token.clone().ok_or_else(again)?;
    let http = Http::new(login.provider_ca.as_deref())?;
    let endpoint = metadata(&http, &login.provider)?.token_endpoint.context("the provider has no token endpoint")?;
    let mut form =
        vec![("grant_type", "refresh_token"), ("refresh_token", &refresh_token), ("client_id", &login.provider.client_id)];
    form.extend(login.provider.resource.as_deref().map(|resource| ("resource", resource)));
    let (status, body) = http.post(&endpoint, &form)?;
    if status != 200 {
        let error: OauthError = parse(&body)?;
        return Err(if error.error == "invalid_grant" { again() } else { refused(&login.provider.issuer, &error) });
    }
    let granted = parse(&body)?;
    login.take(granted)
}

/// Exchanges the provider's token for a short one at the gateway (RFC 8693).
fn exchange(login: &mut Login) -> Result<(), Failure> {
    let gateway = login.gateway.clone().context("the login is for no gateway")?;
    let kind = match login.provider.token {
        TokenKind::IdToken => "urn:ietf:params:oauth:token-type:id_token",
        TokenKind::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
    };
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", login.provider_token.as_str()),
        ("subject_token_type", kind),
    ];
    let (status, body) = Http::new(login.gateway_ca.as_deref())?.post(&format!("{gateway}/oauth/token"), &form)?;
    if status != 200 {
        return Err(refused(&gateway, &parse(&body)?));
    }
    let exchanged: ExchangedToken = parse(&body)?;
    login.expires = now().as_secs().saturating_add(i64::try_from(exchanged.expires_in).unwrap_or(0));
    login.token = exchanged.access_token;
    Ok(())
}

fn revoke(login: &Login, token: &str) -> anyhow::Result<()> {
    let http = Http::new(login.provider_ca.as_deref())?;
    let Some(endpoint) = metadata(&http, &login.provider)?.revocation_endpoint else { return Ok(()) };
    let form = [("token", token), ("token_type_hint", "refresh_token"), ("client_id", &login.provider.client_id)];
    let (status, _) = http.post(&endpoint, &form)?;
    if status == 200 { Ok(()) } else { anyhow::bail!("it answered {status}") }
}

fn refused(who: &str, error: &OauthError) -> Failure {
    let described =
        if error.error_description.is_empty() { String::new() } else { format!(": {}", shown(&error.error_description)) };
    Failure::Refused(format!("{who}: {}{described}", shown(&error.error)))
}

/// What another says, without what could play tricks on a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> anyhow::Result<T> {
    // The error's own text could repeat a token.
    serde_json::from_slice(json).map_err(|_| anyhow::anyhow!("the answer is not what it ought to be"))
}
