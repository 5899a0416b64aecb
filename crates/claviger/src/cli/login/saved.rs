//! A login as it is kept: one file per gateway, readable by its owner only, replaced whole.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_api::wire::{LoginProvider, TokenKind};
use serde::{Deserialize, Serialize};

use super::super::Failure;
use super::device::Granted;
use crate::serve::now;

/// A login. Has no `Debug`, for it holds secrets.
#[derive(Serialize, Deserialize)]
pub(super) struct Login {
    /// The API of the gateway that it is for.
    pub(super) gateway: Option<String>,
    pub(super) gateway_ca: Option<PathBuf>,
    pub(super) provider: LoginProvider,
    pub(super) provider_ca: Option<PathBuf>,
    /// Whether the provider's token is exchanged at the gateway.
    pub(super) exchanges: bool,
    pub(super) refresh_token: Option<String>,
    /// The provider's token, and when it ends, in seconds since 1970.
    pub(super) provider_token: String,
    pub(super) provider_expires: i64,
    /// The token to present, and when that ends.
    pub(super) token: String,
    pub(super) expires: i64,
}

impl Login {
    /// Takes what the provider gave. A refresh token that it does not replace stays good (RFC 6749 section 6).
    pub(super) fn take(&mut self, granted: Granted) -> Result<(), Failure> {
        // First: the one before may be spent, whatever else is missing here.
        self.refresh_token = granted.refresh_token.or_else(|| self.refresh_token.take());
        let token = match self.provider.token {
            TokenKind::AccessToken => Some(granted.access_token),
            TokenKind::IdToken => granted.id_token,
        };
        let token = token.context("the provider gave no ID token: is the scope `openid` missing?")?;
        let by_answer = granted.expires_in.unwrap_or(0).max(0);
        self.provider_expires = expiry(&token).unwrap_or_else(|| now().as_secs().saturating_add(by_answer));
        self.provider_token.clone_from(&token);
        if !self.exchanges {
            (self.token, self.expires) = (token, self.provider_expires);
        } else {
            self.expires = 0;
        }
        Ok(())
    }
}

/// `exp` of a JWT. Only to know when to ask for the next: whether the token is good is for the gateway to say.
fn expiry(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<serde_json::Value>(&claims).ok()?.get("exp")?.as_i64()
}

/// Where a login is kept.
pub(super) struct Place(PathBuf);

/// Held while a login is read or changed.
pub(super) struct Lock(#[allow(dead_code)] File);

impl Place {
    /// That of the login for a gateway, given by its API's address, or for none.
    pub(super) fn of(gateway: Option<&str>) -> Result<Self, Failure> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        let name = gateway.map_or("default".to_owned(), |url| url.trim_start_matches("https://").chars().map(plain).collect());
        Ok(Self(directory()?.join(format!("{name}.json"))))
    }

    /// That of the login for this gateway, or, if none is named, of the only one that there is.
    pub(super) fn find(gateway: Option<&str>) -> Result<Option<Self>, Failure> {
        let place = Self::of(gateway)?;
        if place.0.is_file() {
            return Ok(Some(place));
        }
        if gateway.is_some() {
            return Ok(None);
        }
        let files = std::fs::read_dir(directory()?).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut logins = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        match (logins.next(), logins.next()) {
            (Some(only), None) => Ok(Some(Self(only))),
            (Some(_), Some(_)) => Err(Failure::Usage("which of several logins? give --api-url (CLAVIGER_API_URL)".to_owned())),
            (None, _) => Ok(None),
        }
    }

    pub(super) fn file(&self) -> &Path {
        &self.0
    }

    /// Waits for its turn.
    pub(super) fn lock(&self) -> Result<Lock, Failure> {
        let directory = self.0.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(|| directory.display().to_string())?;
        let path = self.0.with_extension("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        file.lock().with_context(|| path.display().to_string())?;
        Ok(Lock(file))
    }

    pub(super) fn load(&self) -> Result<Login, Failure> {
        let json = std::fs::read(&self.0).with_context(|| self.0.display().to_string())?;
        let damaged = |_| anyhow::anyhow!("{}: the login is damaged; `claviger login` begins another", self.0.display());
        Ok(serde_json::from_slice(&json).map_err(damaged)?)
    }

    /// Replaces it whole: a crash leaves the old one or the new one.
    pub(super) fn save(&self, login: &Login) -> Result<(), Failure> {
        let json = serde_json::to_vec(login).context("the login cannot be written")?;
        let part = self.0.with_extension("part");
        let written = || {
            let _ = std::fs::remove_file(&part);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
            file.write_all(&json)?;
            file.sync_all()?;
            std::fs::rename(&part, &self.0)
        };
        Ok(written().with_context(|| self.0.display().to_string())?)
    }

    pub(super) fn remove(&self) -> Result<(), Failure> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(anyhow::Error::from(error).context(self.0.display().to_string()).into())
            }
            _ => Ok(()),
        }
    }
}

/// XDG Base Directory Specification: state is data that should outlive a restart and is not portable.
fn directory() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let state =
        state.ok_or_else(|| Failure::Usage("logins are kept below XDG_STATE_HOME or HOME, and neither is set".to_owned()))?;
    Ok(state.join("claviger/logins"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_refresh_token_is_kept_whatever_else_is_missing() {
        let provider = LoginProvider {
            name: "sso".to_owned(),
            issuer: "https://sso.example.com".to_owned(),
            client_id: "cli".to_owned(),
            scopes: Vec::new(),
            resource: None,
            audience: None,
            token: TokenKind::IdToken,
        };
        let mut login = Login {
            gateway: None,
            gateway_ca: None,
            provider,
            provider_ca: None,
            exchanges: false,
            refresh_token: Some("first".to_owned()),
            provider_token: String::new(),
            provider_expires: 0,
            token: String::new(),
            expires: 0,
        };
        let granted = |refresh_token: Option<&str>| Granted {
            access_token: "a".to_owned(),
            id_token: None,
            refresh_token: refresh_token.map(str::to_owned),
            expires_in: None,
        };
        assert!(login.take(granted(Some("second"))).is_err(), "there is no ID token");
        assert_eq!(login.refresh_token.as_deref(), Some("second"));
        assert!(login.take(granted(None)).is_err());
        assert_eq!(login.refresh_token.as_deref(), Some("second"), "one that is not replaced stays good");
    }
}
