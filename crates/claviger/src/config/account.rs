//! As whom the gateway gets in upstream, which each kind of connection says in its own way.

use claviger_protocols::{Shown, http};
use claviger_session::CredentialRef;

use super::validate::At;
use super::{ConfigError, raw};

/// As whom, and by what.
pub(super) struct Account {
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: Option<CredentialRef>,
    pub(super) shown: Shown,
}

impl At<'_> {
    pub(super) fn account(&self, kind: &str, raw: &raw::Connection) -> Result<Account, ConfigError> {
        if let Some(key) = of_another_kind(kind, raw) {
            return Err(self.error(key, format!("is not for connections of kind `{kind}`")));
        }
        if kind == http::ENTRY.kind {
            return self.http_account(raw);
        }
        let needed = |key: &str, value: &Option<String>| self.not_empty(key, value.as_deref().unwrap_or_default());
        Ok(Account {
            database: needed("database", &raw.database)?,
            user: needed("user", &raw.user)?,
            password: raw.password.as_ref().map(|value| self.credential("password", value)).transpose()?,
            shown: Shown::Password,
        })
    }

    /// An API's key, and how it is shown: as a bearer token, as a password with a user, or in a header of its own.
    fn http_account(&self, raw: &raw::Connection) -> Result<Account, ConfigError> {
        let shown = match raw.credential_as.as_deref() {
            None | Some("bearer") => Shown::Bearer,
            Some("basic") => Shown::Basic,
            Some(name) if http::may_carry_credential(name) => Shown::Header(name.to_owned()),
            Some(_) => {
                return Err(self
                    .error("credential_as", "is `bearer`, `basic`, or the name of a header in lower case, such as `x-api-key`"));
            }
        };
        if raw.credential.is_none() && raw.credential_as.is_some() {
            return Err(self.error("credential", "is missing, though it is said how it is shown"));
        }
        let user = match (&shown, &raw.user) {
            (Shown::Basic, user) => self.not_empty("user", user.as_deref().unwrap_or_default())?,
            (_, None) => String::new(),
            (_, Some(_)) => return Err(self.error("user", "goes with `credential_as = \"basic\"` only")),
        };
        let password = raw.credential.as_ref().map(|value| self.credential("credential", value)).transpose()?;
        Ok(Account { database: String::new(), user, password, shown })
    }
}

/// A key that says something of another kind of connection, if there is one. What would be masked, or held, must not be passed over.
fn of_another_kind(kind: &str, raw: &raw::Connection) -> Option<&'static str> {
    let of_databases = [
        (raw.database.is_some(), "database"),
        (raw.password.is_some(), "password"),
        (raw.max_protocol_version.is_some(), "max_protocol_version"),
        (raw.channel_binding.is_some(), "channel_binding"),
        (raw.catalog_max_age.is_some(), "catalog_max_age"),
    ];
    let of_http = [
        (raw.credential.is_some(), "credential"),
        (raw.credential_as.is_some(), "credential_as"),
        (raw.http2.is_some(), "http2"),
        (raw.dialect.is_some(), "dialect"),
        (raw.openapi.is_some(), "openapi"),
        (raw.endpoints.is_some(), "endpoints"),
        (raw.requests.is_some(), "requests"),
    ];
    let keys = if kind == http::ENTRY.kind { &of_databases[..] } else { &of_http[..] };
    keys.iter().find(|(is_there, _)| *is_there).map(|(_, key)| *key)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BASE, load, wrong};
    use super::*;

    const API: &str = "[[connections]]\nname = 'api'\nkind = 'http'\naddress = 'api.internal'\n";

    #[test]
    fn an_api_has_a_key_that_is_shown_in_one_way() {
        let of = |more: &str| load(&format!("{BASE}{API}credential = 'env:KEY'\n{more}")).connections.remove(0);
        let key = Some(CredentialRef::Env("KEY".to_owned()));
        let plain = of("");
        assert_eq!((plain.kind, plain.port, &plain.shown, &plain.password), ("http", 443, &Shown::Bearer, &key));
        assert_eq!(of("credential_as = 'x-api-key'").shown, Shown::Header("x-api-key".to_owned()));
        let basic = of("credential_as = 'basic'\nuser = 'service'");
        assert_eq!((&basic.shown, basic.user.as_str()), (&Shown::Basic, "service"));
        assert_eq!(load(&format!("{BASE}{API}")).connections[0].password, None, "an upstream may ask for nothing");
    }

    #[test]
    fn what_would_not_be_done_is_refused() {
        let bank = "[[connections]]\nname = 'bank'\nkind = 'postgres'\naddress = 'db'\n";
        for (entry, more, expected) in [
            (API, "classify = { 'a..b' = ['pii'] }", "(api).classify.a..b`: a member is named by the names that lead to it"),
            (API, "dialect = 'latin'", "(api).dialect`: `latin` is not one of"),
            (API, "requests = 'drop'", "(api).requests`: `drop` is not one of"),
            (API, "database = 'x'", "(api).database`: is not for"),
            (API, "password = 'env:KEY'", "(api).password`: is not for"),
            (API, "tls = 'prefer'", "(api).tls`: is agreed on before"),
            (API, "user = 'x'", "(api).user`: goes with"),
            (API, "credential = 'env:K'\ncredential_as = 'basic'", "(api).user`: must not be empty"),
            (API, "credential_as = 'bearer'", "(api).credential`: is missing"),
            (API, "credential = 'sk-123'", "(api).credential`: must be `env:NAME`"),
            (API, "credential = 'env:K'\ncredential_as = 'Host'", "(api).credential_as`: is `bearer`"),
            (API, "credential = 'env:K'\ncredential_as = 'content-length'", "(api).credential_as`: is `bearer`"),
            (API, "listen = '127.0.0.1:1'\nauth = ['certificate']", "(api).auth`: is not for `http`"),
            (bank, "user = 'x'", "(bank).database`: must not be empty"),
            (bank, "database = 'x'", "(bank).user`: must not be empty"),
            (bank, "database = 'x'\nuser = 'x'\ncredential = 'env:K'", "(bank).credential`: is not for"),
            (bank, "database = 'x'\nuser = 'x'\ndialect = 'openai'", "(bank).dialect`: is not for"),
            (bank, "database = 'x'\nuser = 'x'\nendpoints = []", "(bank).endpoints`: is not for"),
        ] {
            let error = wrong(&format!("{BASE}{entry}{more}"));
            assert!(error.contains(expected), "{more}: {error}");
            assert!(!error.contains("sk-123"), "{error}");
        }
    }
}
