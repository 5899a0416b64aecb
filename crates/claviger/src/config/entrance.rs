//! How clients get in by one listener: where it listens, and by what they prove who they are.

use claviger_identity::Reach;
use claviger_model::{ConnectionName, Network};
use claviger_protocols::{Ask, Auth, http};
use serde_json::json;

use super::validate::At;
use super::{ConfigError, ListenerConfig, raw};

/// Asked for where a listener says nothing else.
const SCOPE: &str = "openid";

/// What is written of a listener, in its own entry or in that of its connection.
pub(super) struct Entrance<'a> {
    pub(super) kind: &'static str,
    pub(super) listen: &'a str,
    pub(super) plaintext: bool,
    pub(super) auth: Option<&'a [String]>,
    pub(super) oauth: Option<&'a raw::Oauth>,
    pub(super) proxy_protocol: Option<&'a [String]>,
    pub(super) connection: Option<ConnectionName>,
}

impl At<'_> {
    pub(super) fn listener(&self, raw: Entrance<'_>, issuers: &[raw::ExternalIssuer]) -> Result<ListenerConfig, ConfigError> {
        let addr = self.address("listen", raw.listen)?;
        if raw.plaintext && !addr.ip().is_loopback() {
            return Err(
                self.error("plaintext", format!("tokens may cross without TLS on loopback addresses only, not on {addr}"))
            );
        }
        let auth = self.auth(&raw, issuers)?;
        if raw.kind == http::ENTRY.kind && auth != Auth::PASSWORD {
            return Err(self.error("auth", "is not for `http`, whose clients bring a token with each request"));
        }
        if raw.plaintext && auth != Auth::PASSWORD {
            return Err(self.error("plaintext", "goes with `auth = [\"password\"]` only: all else is inside TLS"));
        }
        let balancers = self.balancers(raw.proxy_protocol)?;
        Ok(ListenerConfig { addr, kind: raw.kind, plaintext: raw.plaintext, auth, balancers, connection: raw.connection })
    }

    fn balancers(&self, networks: Option<&[String]>) -> Result<Vec<Network>, ConfigError> {
        match networks {
            None => Ok(Vec::new()),
            Some([]) => Err(self.error("proxy_protocol", "must name the addresses of the balancers")),
            Some(networks) => networks.iter().map(|network| self.parse("proxy_protocol", network)).collect(),
        }
    }

    /// A server asks for one thing, so of `password` and `oauth` there is one.
    fn auth(&self, raw: &Entrance<'_>, issuers: &[raw::ExternalIssuer]) -> Result<Auth, ConfigError> {
        let words = raw.auth.map_or_else(|| vec!["password"], |words| words.iter().map(String::as_str).collect());
        let (certificate, words) = match words.as_slice() {
            ["certificate", words @ ..] | [words @ .., "certificate"] => (true, words),
            words => (false, words),
        };
        let ask = match words {
            [] if certificate => Ask::Nothing,
            ["password"] => Ask::Password,
            ["oauth"] => self.bearer(raw.oauth, issuers)?,
            _ => return Err(self.error("auth", "is a list of `certificate` and of either `password` or `oauth`")),
        };
        if raw.oauth.is_some() && !matches!(ask, Ask::Bearer { .. }) {
            return Err(self.error("oauth", "needs `auth` to name `oauth`"));
        }
        Ok(Auth { certificate, ask })
    }

    /// What clients are told that bring no token (RFC 7628, section 3.2.2). They take it from `https` only.
    fn bearer(&self, raw: Option<&raw::Oauth>, issuers: &[raw::ExternalIssuer]) -> Result<Ask, ConfigError> {
        let raw = raw.ok_or_else(|| self.error("oauth", "must say which issuer gives clients their tokens"))?;
        let at = self.key("oauth");
        let issuer = issuers.iter().find(|issuer| issuer.shown() == raw.issuer).map(|issuer| issuer.issuer.trim_end_matches('/'));
        let issuer = issuer.ok_or_else(|| at.error("issuer", "must be the name of one of `issuers`"))?;
        if Reach::of(issuer).is_none() {
            return Err(at.error("issuer", "clients look only at an address that begins with `https://`"));
        }
        let scope = raw.scope.as_deref().unwrap_or(SCOPE);
        let discovery = json!({
            "status": "invalid_token",
            "openid-configuration": format!("{issuer}/.well-known/openid-configuration"),
            "scope": scope,
        });
        Ok(Ask::Bearer { discovery: discovery.to_string().into() })
    }
}
