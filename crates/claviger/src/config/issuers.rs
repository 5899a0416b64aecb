//! `[[issuers]]` and `[[authorities]]`: from the file's words to the trust placed in identity providers and in who signs
//! certificates.

use std::collections::BTreeMap;
use std::time::Duration;

use claviger_api::wire::{LoginProvider, TokenKind};
use claviger_identity::{
    Algorithm, ClaimPath, InvalidAuthority, Reach, Requirement, SubjectTemplate, TrustedAuthority, TrustedIssuer,
};
use claviger_model::PrincipalKind;

use super::validate::{At, DAY};
use super::{ConfigError, IssuerConfig, KeySource, LOCAL_ISSUER, raw};

/// How often keys are fetched if nothing else is said.
const KEYS_REFRESH: Duration = Duration::from_secs(300);

/// The scopes with which people log in if nothing else is said: who they are, and for how long they want to stay.
pub(crate) const LOGIN_SCOPES: [&str; 2] = ["openid", "offline_access"];

impl raw::ExternalIssuer {
    /// The issuer's name: if none is given, the host in its address.
    pub(super) fn shown(&self) -> &str {
        let host = || {
            let rest = self.issuer.split_once("://").map_or(self.issuer.as_str(), |(_, rest)| rest);
            rest.split(['/', ':', '?', '#']).next().unwrap_or_default()
        };
        self.name.as_deref().unwrap_or_else(host)
    }
}

impl At<'_> {
    pub(super) fn issuer(&self, raw: &raw::ExternalIssuer) -> Result<IssuerConfig, ConfigError> {
        let kinds = [("user", PrincipalKind::User), ("workload", PrincipalKind::Workload)];
        let name = self.name(raw.shown())?;
        let groups = raw.groups_claim.as_ref().map(raw::OneOrMore::as_slice).unwrap_or_default();
        let trust = TrustedIssuer {
            name: name.into(),
            issuer: self.not_empty("issuer", &raw.issuer)?.into(),
            audience: self.not_empty("audience", &raw.audience)?.into(),
            algorithms: self.algorithms(raw.algorithms.as_deref())?,
            max_lifetime: self.seconds("max_lifetime", raw.max_lifetime.as_deref(), DAY)?,
            clock_skew: self.seconds("clock_skew", raw.clock_skew.as_deref(), Duration::from_secs(60))?,
            subject: self.or("subject", raw.subject.as_deref(), SubjectTemplate::default())?,
            kind: self.word("kind", raw.kind.as_deref().unwrap_or("user"), &kinds)?,
            require: self.requirements(&raw.require)?,
            groups: groups.iter().map(|claim| self.parse("groups_claim", claim)).collect::<Result<_, _>>()?,
            userinfo: raw.userinfo || raw.userinfo_url.is_some(),
            act_believed: raw.act,
        };
        if trust.userinfo && trust.groups.is_empty() {
            return Err(self.error("groups_claim", "is needed: which claim of the userinfo answer lists the groups?"));
        }
        let keys = self.key_source(raw)?;
        let discovers = keys == KeySource::Discovery || (trust.userinfo && raw.userinfo_url.is_none());
        if discovers && Reach::of(&raw.issuer).is_none() {
            let needed = "must be an `https://` address, or `http://` on this machine, for what it publishes to be found there; \
                          or `jwks_url` or `jwks_file` must say where its keys are, and `userinfo_url` where its userinfo is";
            return Err(self.error("issuer", needed));
        }
        let refresh = self.duration("keys_refresh", raw.keys_refresh.as_deref(), KEYS_REFRESH)?;
        let keys_max_age = self.duration("keys_max_age", raw.keys_max_age.as_deref(), DAY.max(refresh))?;
        if keys_max_age < refresh {
            return Err(self.error("keys_max_age", "must not be less than `keys_refresh`"));
        }
        Ok(IssuerConfig {
            trust,
            keys,
            keys_refresh: refresh,
            keys_max_age,
            tls_ca: raw.tls_ca.as_deref().map(|path| self.file("tls_ca", path)).transpose()?,
            userinfo_url: raw.userinfo_url.as_deref().map(|url| self.safe_address("userinfo_url", url)).transpose()?,
            login: raw.login.as_ref().map(|login| self.key("login").login(raw, login)).transpose()?,
        })
    }

    fn login(&self, issuer: &raw::ExternalIssuer, raw: &raw::Login) -> Result<LoginProvider, ConfigError> {
        if Reach::of(&issuer.issuer).is_none() {
            return Err(self.error("client_id", "nobody can log in at an `issuer` that is not an address"));
        }
        let kinds = [("id_token", TokenKind::IdToken), ("access_token", TokenKind::AccessToken)];
        Ok(LoginProvider {
            name: issuer.shown().to_owned(),
            issuer: issuer.issuer.clone(),
            client_id: self.not_empty("client_id", &raw.client_id)?,
            scopes: raw.scopes.clone().unwrap_or_else(|| LOGIN_SCOPES.map(str::to_owned).to_vec()),
            resource: raw.resource.clone(),
            audience: raw.audience.clone(),
            token: self.word("token", raw.token.as_deref().unwrap_or("id_token"), &kinds)?,
        })
    }

    pub(super) fn authority(&self, raw: &raw::Authority) -> Result<TrustedAuthority, ConfigError> {
        let kinds = [("user", PrincipalKind::User), ("workload", PrincipalKind::Workload)];
        let kind = self.word("kind", raw.kind.as_deref().unwrap_or("workload"), &kinds)?;
        let lifetime = self.seconds("max_lifetime", raw.max_lifetime.as_deref(), DAY)?;
        let (name, subject): (_, SubjectTemplate) = (self.name(&raw.name)?, self.parse("subject", &raw.subject)?);
        let certificates = claviger_proxy::tls::certificates(&self.file("certificates", &raw.certificates)?);
        let certificates = certificates.map_err(|error| self.error("certificates", error.to_string()))?;
        TrustedAuthority::new(name, certificates.iter().map(AsRef::as_ref), subject, kind, lifetime).map_err(|error| {
            let key = if matches!(error, InvalidAuthority::Subject(_)) { "subject" } else { "certificates" };
            self.error(key, error.to_string())
        })
    }

    /// What principals are named after.
    fn name<'a>(&self, name: &'a str) -> Result<&'a str, ConfigError> {
        if name.is_empty() {
            return Err(self.error("name", "must not be empty"));
        }
        if name.contains(['@', '/']) || name == LOCAL_ISSUER {
            return Err(self.error("name", format!("must not contain `@` or `/`, and `{LOCAL_ISSUER}` is the local issuer")));
        }
        Ok(name)
    }

    fn key_source(&self, raw: &raw::ExternalIssuer) -> Result<KeySource, ConfigError> {
        match (&raw.jwks_url, &raw.jwks_file) {
            (None, None) => Ok(KeySource::Discovery),
            (Some(url), None) => self.safe_address("jwks_url", url).map(KeySource::Url),
            (None, Some(file)) => self.file("jwks_file", file).map(KeySource::File),
            (Some(_), Some(_)) => Err(self.error("jwks_url", "only one of `jwks_url` and `jwks_file` can be right")),
        }
    }

    fn safe_address(&self, key: &str, url: &str) -> Result<String, ConfigError> {
        let unsafe_ = || self.error(key, "must begin with `https://`: who answers there decides who is let in");
        Reach::of(url).map(|_| url.to_owned()).ok_or_else(unsafe_)
    }

    fn algorithms(&self, names: Option<&[String]>) -> Result<Vec<Algorithm>, ConfigError> {
        match names {
            None => Ok(Algorithm::ALL.to_vec()),
            Some([]) => Err(self.error("algorithms", "at least one is needed")),
            Some(names) => names.iter().map(|name| self.parse("algorithms", name)).collect(),
        }
    }

    fn requirements(&self, raw: &BTreeMap<String, toml::Value>) -> Result<Vec<Requirement>, ConfigError> {
        let mut requirements = Vec::new();
        flatten(self, "", raw.iter(), &mut requirements)?;
        Ok(requirements)
    }
}

/// A table in the table is a path in dots: TOML reads `kubernetes.io.namespace = "ci"` so.
fn flatten<'a>(
    at: &At<'_>,
    prefix: &str,
    entries: impl Iterator<Item = (&'a String, &'a toml::Value)>,
    into: &mut Vec<Requirement>,
) -> Result<(), ConfigError> {
    for (name, value) in entries {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if let toml::Value::Table(inner) = value {
            flatten(at, &path, inner.iter(), into)?;
            continue;
        }
        let claim: ClaimPath = at.parse("require", &path)?;
        let allowed = match value {
            toml::Value::Array(list) => list.iter().map(text).collect(),
            one => text(one).map(|one| vec![one]),
        };
        let wrong = || at.error("require", format!("`{path}` must be a text, a whole number, a truth value, or a list of them"));
        into.push(Requirement { claim, allowed: allowed.filter(|allowed| !allowed.is_empty()).ok_or_else(wrong)? });
    }
    Ok(())
}

fn text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}
