//! The configuration: a directory with `claviger.toml` and `policies/*.cedar`, read whole or not at all.
//!
//! Reading has two steps. [`raw`] takes the file's words and refuses those it does not know; [`validate`] turns them into
//! what the gateway uses, so that nothing later has to ask whether a setting makes sense. Every error names the file and the
//! key. Secrets are not read here: a setting holds a reference to one.

mod account;
mod approvals;
mod contents;
mod detect;
mod entrance;
mod issuers;
mod masking;
pub(crate) mod openapi;
mod raw;
pub(crate) mod units;
mod usage;
mod validate;
mod webhooks;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use claviger_api::wire::LoginProvider;
use claviger_audit::checkpoint::Origin;
use claviger_identity::{Algorithm, TrustedAuthority, TrustedIssuer};
use claviger_mask::methods::Method;
use claviger_model::{ConnectionName, Network};
use claviger_protocols::Auth;
use claviger_proxy::ArrivalLimits;
use claviger_session::{AccessRules, Bounds, Connection, CredentialRef, Deadlines, Release, Reviewing, UsageRules};

pub(crate) use issuers::LOGIN_SCOPES;
pub(crate) use webhooks::WebhookConfig;

/// The name of the local issuer wherever issuers are named.
pub(crate) const LOCAL_ISSUER: &str = "local";

/// The file in the directory.
pub(crate) const FILE: &str = "claviger.toml";

/// What the gateway is told to be.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The directory that it was read from; relative paths were relative to it.
    pub(crate) dir: PathBuf,
    /// Where the gateway keeps its data.
    pub(crate) data: PathBuf,
    /// How many threads drive sessions; by default as many as leave room for the rest of the gateway and for the kernel.
    pub(crate) threads: Option<NonZeroUsize>,
    /// The certificate that clients see.
    pub(crate) tls: Option<TlsFiles>,
    /// The admin API.
    pub(crate) api: Option<ApiConfig>,
    /// Where metrics and the gateway's health can be asked for.
    pub(crate) metrics: Option<MetricsConfig>,
    /// The local issuer.
    pub(crate) issuer: LocalIssuerConfig,
    /// External issuers.
    pub(crate) issuers: Vec<IssuerConfig>,
    /// Authorities whose certificates are believed.
    pub(crate) authorities: Vec<TrustedAuthority>,
    /// The registered upstreams.
    pub(crate) connections: Vec<Arc<Connection>>,
    /// Where clients are awaited.
    pub(crate) listeners: Vec<ListenerConfig>,
    /// How approvals are given.
    pub(crate) reviewing: Arc<Reviewing>,
    /// How access is given for a time.
    pub(crate) access: Arc<AccessRules>,
    /// Who is told of what happens to requests for approval.
    pub(crate) webhooks: Vec<WebhookConfig>,
    /// How values are masked.
    pub(crate) masking: MaskingConfig,
    /// How much may be used, and what it costs.
    pub(crate) usage: Arc<UsageRules>,
    /// The log.
    pub(crate) audit: AuditConfig,
    /// What the gateway writes for its operator.
    pub(crate) log: LogConfig,
    /// Limits.
    pub(crate) limits: LimitsConfig,
    /// The policies: file name and text, by name.
    pub(crate) policies: Vec<(String, String)>,
    /// SHA-256 over the file, all policies and all descriptions of services, lower-case hexadecimal.
    pub(crate) hash: String,
}

/// What stands beside the file.
struct Files {
    policies: Vec<(String, String)>,
    /// The descriptions of services, by their paths as the file has them.
    descriptions: BTreeMap<PathBuf, String>,
    hash: String,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The admin API's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiConfig {
    pub(crate) listen: SocketAddr,
}

/// The listener for metrics and health: plain text on a loopback address, TLS on any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricsConfig {
    pub(crate) listen: SocketAddr,
}

/// The local issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalIssuerConfig {
    /// The `iss` of its tokens.
    pub(crate) url: String,
    /// The `aud` of its tokens.
    pub(crate) audience: String,
    /// The longest that a token of it may last, in seconds.
    pub(crate) max_lifetime: u32,
    /// How long a token lasts that was exchanged for others, in seconds, if they last as long.
    pub(crate) exchange_lifetime: u32,
}

/// An external issuer, and where to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerConfig {
    pub(crate) trust: TrustedIssuer,
    pub(crate) keys: KeySource,
    /// How often its keys are fetched again.
    pub(crate) keys_refresh: Duration,
    /// For how long keys count that cannot be fetched again.
    pub(crate) keys_max_age: Duration,
    /// The authorities to trust for it, instead of the system's.
    pub(crate) tls_ca: Option<PathBuf>,
    /// Its userinfo endpoint, where its metadata does not say.
    pub(crate) userinfo_url: Option<String>,
    /// How people log in there.
    pub(crate) login: Option<LoginProvider>,
}

/// Where an issuer's public keys (RFC 7517) are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// Where its metadata says.
    Discovery,
    /// At this address.
    Url(String),
    /// In this file.
    File(PathBuf),
}

/// Where clients of one protocol are awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenerConfig {
    pub(crate) addr: SocketAddr,
    /// The protocol's kind.
    pub(crate) kind: &'static str,
    /// Whether tokens are taken without TLS; loopback addresses only.
    pub(crate) plaintext: bool,
    /// By what clients may prove who they are.
    pub(crate) auth: Auth,
    /// The load balancers that are believed when they say whose connection they pass on.
    pub(crate) balancers: Vec<Network>,
    /// The one connection it leads to; on a shared listener the client selects.
    pub(crate) connection: Option<ConnectionName>,
}

/// How values are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MaskingConfig {
    /// The methods of labels; where a column has several labels, the first counts.
    pub(crate) methods: Vec<(Arc<str>, Method)>,
    /// Where the key is found, if not in the data directory.
    pub(crate) key: Option<CredentialRef>,
    /// Which key is made of it.
    pub(crate) key_version: u32,
    /// What may be told of masked values all the same.
    pub(crate) release: Release,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditConfig {
    /// The log's name in its checkpoints.
    pub(crate) origin: Origin,
    /// How often a checkpoint is signed.
    pub(crate) checkpoint_interval: Duration,
}

/// Limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitsConfig {
    /// Clients that have proved who they are, and what they may do at the same time.
    pub(crate) bounds: Bounds,
    /// Clients that have not.
    pub(crate) arrivals: ArrivalLimits,
    /// How long to wait.
    pub(crate) deadlines: Deadlines,
    /// The buffers of one session.
    pub(crate) session: claviger_protocols::Limits,
}

/// What the gateway writes for its operator, on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// Whether each line is a JSON object.
    pub(crate) json: bool,
}

/// What is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {reason}", file.display())]
    Unreadable { file: PathBuf, reason: String },
    /// A file is not in its form, or has something that does not belong there, such as a key or a type. The line itself is not shown: it
    /// may hold a secret that somebody put in a wrong place.
    #[error("{}:{line}: {message}", file.display())]
    Malformed { file: PathBuf, line: usize, message: String },
    /// A setting makes no sense.
    #[error("{}: `{key}`: {message}", file.display())]
    Invalid { file: PathBuf, key: String, message: String },
}

impl Config {
    /// Reads and validates a configuration directory.
    pub(crate) fn load(dir: &Path) -> Result<Self, ConfigError> {
        let file = dir.join(FILE);
        let text = read(&file)?;
        let policies = read_policies(&dir.join("policies"))?;
        let raw = parse(&file, &text)?;
        let named = raw.connections.iter().filter_map(|raw| raw.openapi.clone());
        let descriptions = named.map(|path| openapi::read(&dir.join(&path)).map(|text| (path, text)));
        let descriptions = descriptions.collect::<Result<BTreeMap<_, _>, _>>()?;
        let hash = digest(&text, &policies, &descriptions);
        validate::validate(dir, raw, Files { policies, descriptions, hash })
    }

    /// Whether principals are named after this: the name of an issuer or an authority.
    pub(crate) fn names_principals(&self, name: &str) -> bool {
        name == LOCAL_ISSUER
            || self.issuers.iter().any(|issuer| *issuer.trust.name == *name)
            || self.authorities.iter().any(|authority| **authority.name() == *name)
    }

    /// All issuers whose tokens are believed, the local one first.
    pub(crate) fn trusted(&self) -> Vec<TrustedIssuer> {
        let local = TrustedIssuer {
            algorithms: vec![Algorithm::EdDSA],
            max_lifetime: self.issuer.max_lifetime,
            // Its clock is ours, or that of another command on this machine.
            clock_skew: 5,
            act_believed: true,
            ..TrustedIssuer::new(LOCAL_ISSUER, self.issuer.url.as_str(), self.issuer.audience.as_str())
        };
        std::iter::once(local).chain(self.issuers.iter().map(|issuer| issuer.trust.clone())).collect()
    }

    /// How the log is kept.
    pub(crate) fn log_options(&self) -> claviger_store::log::Options {
        claviger_store::log::Options {
            checkpoint_interval: self.audit.checkpoint_interval,
            ..claviger_store::log::Options::new(self.audit.origin.clone(), Arc::new(crate::serve::now))
        }
    }
}

fn parse(file: &Path, text: &str) -> Result<raw::Config, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        ConfigError::Malformed { file: file.to_owned(), line, message: error.message().replace('\n', " ") }
    })
}

/// Every `*.cedar` file of the directory, by name. Without the directory there are no policies, and nothing is permitted.
pub(crate) fn read_policies(dir: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let unreadable = |error: &std::io::Error| ConfigError::Unreadable { file: dir.to_owned(), reason: error.to_string() };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&error)),
    };
    let mut policies = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&error))?.path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            policies.push((name, read(&path)?));
        }
    }
    policies.sort();
    Ok(policies)
}

fn read(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| ConfigError::Unreadable { file: file.to_owned(), reason: error.to_string() })
}

/// Each text goes in with its name and length, so that no two configurations have the same digest input.
fn digest(text: &str, policies: &[(String, String)], descriptions: &BTreeMap<PathBuf, String>) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let policies = policies.iter().map(|(name, text)| (name.as_bytes(), text));
    let descriptions = descriptions.iter().map(|(path, text)| (path.as_os_str().as_encoded_bytes(), text));
    let file = std::iter::once((FILE.as_bytes(), text));
    for (name, text) in file.chain(policies.chain(descriptions).map(|(name, text)| (name, text.as_str()))) {
        for part in [name, text.as_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
