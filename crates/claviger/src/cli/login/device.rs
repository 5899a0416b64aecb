//! A login by a browser on any device: OAuth 2.0 Device Authorization Grant (RFC 8628).

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use claviger_api::OauthError;
use claviger_api::wire::LoginProvider;
use claviger_identity::Metadata;
use serde::Deserialize;

use super::super::Failure;
use super::super::output::complain;
use super::{parse, refused, shown};
use crate::http::Http;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How often the provider is asked if it does not say (section 3.2), in seconds.
const INTERVAL: u64 = 5;
/// The longest wait for a provider that does not answer, unless it asked for a longer one, in seconds.
const PRESSING: u64 = 60;
/// By how much longer it is waited when the provider asks for it (section 3.5).
const SLOWER: u64 = 5;
/// The longest that somebody gets to log in, whatever the provider says, in seconds.
const PATIENCE: u64 = 1800;

/// What a provider gives (RFC 6749 section 5.1). Has no `Debug`.
#[derive(Deserialize)]
pub(super) struct Granted {
    pub(super) access_token: String,
    pub(super) id_token: Option<String>,
    pub(super) refresh_token: Option<String>,
    pub(super) expires_in: Option<i64>,
}

/// How a login on another device begins (section 3.2).
#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

/// Tells somebody where to log in, and waits until it is done.
pub(super) fn log_in(http: &Http, metadata: &Metadata, provider: &LoginProvider) -> Result<Granted, Failure> {
    let none = || Failure::Failed(anyhow::anyhow!("{} does not offer logins on another device", provider.issuer));
    let device = metadata.device_authorization_endpoint.as_deref().ok_or_else(none)?;
    let endpoint = metadata.token_endpoint.as_deref().ok_or_else(none)?;
    let scopes = provider.scopes.join(" ");
    let mut form = vec![("client_id", provider.client_id.as_str()), ("scope", &scopes)];
    form.extend(provider.resource.as_deref().map(|resource| ("resource", resource)));
    form.extend(provider.audience.as_deref().map(|audience| ("audience", audience)));
    let (status, body) = http.post(device, &form)?;
    if status != 200 {
        return Err(refused(&provider.issuer, &parse(&body)?));
    }
    let begun: Begun = parse(&body)?;
    complain(format_args!("to log in, open {} and enter the code {}", shown(&begun.verification_uri), shown(&begun.user_code)));
    if let Some(complete) = &begun.verification_uri_complete {
        complain(format_args!("or open {}", shown(complete)));
    }
    wait(http, endpoint, provider, &begun)
}

/// Asks until there is an answer (sections 3.4 and 3.5).
fn wait(http: &Http, endpoint: &str, provider: &LoginProvider, begun: &Begun) -> Result<Granted, Failure> {
    let form = [("grant_type", GRANT), ("device_code", &begun.device_code), ("client_id", &provider.client_id)];
    let mut interval = begun.interval.unwrap_or(INTERVAL).clamp(1, PATIENCE);
    let until = Instant::now() + Duration::from_secs(begun.expires_in.min(PATIENCE));
    while Instant::now() < until {
        sleep(Duration::from_secs(interval));
        let answer = http.post(endpoint, &form);
        if let Ok((200, body)) = &answer {
            return Ok(parse(body).context(provider.issuer.clone())?);
        }
        let Some(error) = answer.ok().and_then(|(status, body)| error(status, &body)) else {
            // Nobody answers: that may pass, if nobody presses.
            interval = interval.max((interval * 2).min(PRESSING));
            continue;
        };
        match error.error.as_str() {
            "authorization_pending" => {}
            "slow_down" => interval += SLOWER,
            "access_denied" => return Err(Failure::Refused("the login was refused".to_owned())),
            "expired_token" => break,
            _ => return Err(refused(&provider.issuer, &error)),
        }
    }
    Err(Failure::Failed(anyhow::anyhow!("nobody logged in in time")))
}

/// What the provider objects; nothing where it is overloaded or something in between answers for it.
fn error(status: u16, body: &[u8]) -> Option<OauthError> {
    if status == 429 || status >= 500 { None } else { parse(body).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_the_provider_ends_a_login() {
        let said = |status, body: &str| error(status, body.as_bytes()).map(|error| error.error);
        let pending = r#"{"error":"authorization_pending"}"#;
        assert_eq!(said(400, pending).as_deref(), Some("authorization_pending"), "a description is optional");
        for (status, body) in [(502, "<html>"), (503, pending), (429, r#"{"error":"invalid_client"}"#), (404, "not here")] {
            assert_eq!(said(status, body), None, "{status} {body}");
        }
    }
}
