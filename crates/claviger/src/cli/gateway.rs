//! Which gateway a command manages: one on this machine, or one behind its API.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::Context;
use claviger_api::{Act, Management};
use claviger_model::Secret;

use super::Failure;
use super::client::Client;
use super::login;
use crate::admin::{Acting, Admin};
use crate::config::Config;

/// Which gateway to manage.
#[derive(Debug, clap::Args)]
pub(super) struct GatewayArgs {
    /// Act on this machine's gateway, with its configuration directory, instead of through the API
    #[arg(long, value_name = "DIR", help_heading = "Gateway", conflicts_with = "api_url")]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// How to reach a gateway's API, and with which token.
#[derive(Debug, clap::Args)]
pub(super) struct ApiArgs {
    #[command(flatten)]
    pub(super) reach: ReachArgs,
    /// A file with the token to present; else the variable CLAVIGER_TOKEN, or what `claviger login` was given
    #[arg(long, value_name = "FILE", env = "CLAVIGER_TOKEN_FILE", help_heading = "Gateway")]
    pub(super) token_file: Option<PathBuf>,
}

/// How to reach a gateway's API.
#[derive(Debug, clap::Args)]
pub(super) struct ReachArgs {
    /// The address of the gateway's API, such as https://gateway.internal:8443; that in CLAVIGER_API_URL if absent
    // Not clap's `env`: a variable left over in a shell is no reason to refuse `--config`.
    #[arg(long, value_name = "URL", help_heading = "Gateway")]
    api_url: Option<String>,
    /// Certificates (PEM) to trust for the gateway, instead of the usual authorities
    #[arg(long, value_name = "FILE", env = "CLAVIGER_CA", help_heading = "Gateway")]
    pub(super) ca: Option<PathBuf>,
}

/// A gateway that can be managed.
pub(super) enum Gateway {
    Here(Box<Admin>),
    Afar(Client),
}

impl GatewayArgs {
    pub(super) fn open(&self) -> Result<Gateway, Failure> {
        match &self.config {
            Some(dir) => Ok(Gateway::Here(Box::new(Admin::on_this_machine(Config::load(dir)?)?))),
            None => Ok(Gateway::Afar(self.api.client()?)),
        }
    }
}

impl ReachArgs {
    /// The API's address, if one is given.
    pub(super) fn given(&self) -> Option<String> {
        let url = self.api_url.clone().or_else(|| std::env::var("CLAVIGER_API_URL").ok());
        url.map(|url| url.trim_end_matches('/').to_owned())
    }
}

impl ApiArgs {
    pub(super) fn url(&self) -> Result<String, Failure> {
        self.reach.given().ok_or_else(|| {
            Failure::Usage("which gateway? give --config DIR on its own machine, or --api-url (CLAVIGER_API_URL)".to_owned())
        })
    }

    pub(super) fn client(&self) -> Result<Client, Failure> {
        let url = self.url()?;
        let ca = self.reach.ca.as_deref();
        let ca = ca.map(|file| std::fs::read(file).with_context(|| file.display().to_string())).transpose()?;
        Client::new(&url, ca.as_deref(), self.token()?)
    }

    /// The token to present, read anew at each call: it may have been refreshed. That of a login is refreshed here, which may take
    /// requests to the provider and the gateway.
    pub(super) fn token(&self) -> Result<Secret, Failure> {
        match read_token(self.token_file.as_deref(), || std::env::var("CLAVIGER_TOKEN").ok())? {
            Some(token) => Ok(token),
            None => login::token(&self.reach),
        }
    }
}

/// A token is taken from a file or the environment, never from arguments, which every process on the machine can read.
fn read_token(file: Option<&Path>, environment: impl FnOnce() -> Option<String>) -> Result<Option<Secret>, Failure> {
    let text = match file {
        Some(file) => Some(std::fs::read_to_string(file).with_context(|| file.display().to_string())?),
        None => environment().filter(|text| !text.is_empty()),
    };
    let Some(text) = text else { return Ok(None) };
    let token = text.trim();
    if token.is_empty() || token.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Failure::Usage("what is given as a token is none".to_owned()));
    }
    Ok(Some(Secret::new(token)))
}

/// Somebody admitted to one act, here or afar.
pub(super) enum Admitted<'a> {
    Here(Acting<'a>),
    Afar(&'a Client),
}

impl Gateway {
    /// The gateway, ready for one act. On this machine nobody is asked, but the act is noted first; afar, the gateway asks
    /// policy and records.
    pub(super) fn act(&self, act: Act, target: &str) -> Result<Admitted<'_>, Failure> {
        Ok(match self {
            Self::Here(admin) => Admitted::Here(admin.admit_local(act, target)?),
            Self::Afar(client) => Admitted::Afar(client),
        })
    }

    /// What only a running gateway can do.
    pub(super) fn afar(&self, what: &str) -> Result<&Client, Failure> {
        match self {
            Self::Afar(client) => Ok(client),
            Self::Here(_) => Err(Failure::Usage(format!("{what} needs the running gateway: use --api-url instead of --config"))),
        }
    }
}

impl<'a> Deref for Admitted<'a> {
    type Target = dyn Management + 'a;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Here(acting) => acting,
            Self::Afar(client) => *client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word() {
        for (text, expected) in
            [(Some(" abc\n"), Some("abc")), (Some("a b"), None), (Some("a\nb"), None), (Some(""), None), (None, None)]
        {
            let token = read_token(None, || text.map(str::to_owned)).ok().flatten();
            assert_eq!(token.as_ref().and_then(Secret::expose_str), expected, "{text:?}");
        }
    }
}
