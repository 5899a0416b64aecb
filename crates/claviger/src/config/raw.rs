//! The words of `claviger.toml`, as they stand. An unknown key is an error.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) data: PathBuf,
    pub(super) threads: Option<NonZeroUsize>,
    pub(super) tls: Option<Tls>,
    pub(super) api: Option<Api>,
    pub(super) metrics: Option<Metrics>,
    pub(super) issuer: Issuer,
    #[serde(default)]
    pub(super) issuers: Vec<ExternalIssuer>,
    #[serde(default)]
    pub(super) authorities: Vec<Authority>,
    #[serde(default)]
    pub(super) connections: Vec<Connection>,
    #[serde(default)]
    pub(super) listeners: Vec<Listener>,
    #[serde(default)]
    pub(super) approvals: Approvals,
    #[serde(default)]
    pub(super) access: Access,
    #[serde(default)]
    pub(super) webhooks: Vec<Webhook>,
    #[serde(default)]
    pub(super) masking: Masking,
    #[serde(default)]
    pub(super) masks: Vec<Mask>,
    #[serde(default)]
    pub(super) budgets: Vec<Budget>,
    #[serde(default)]
    pub(super) prices: Vec<Price>,
    #[serde(default)]
    pub(super) recording: Recording,
    #[serde(default)]
    pub(super) audit: Audit,
    #[serde(default)]
    pub(super) log: Log,
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Api {
    pub(super) listen: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    pub(super) url: String,
    pub(super) audience: String,
    pub(super) max_lifetime: Option<String>,
    pub(super) exchange_lifetime: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalIssuer {
    pub(super) name: Option<String>,
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) jwks_url: Option<String>,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) tls_ca: Option<PathBuf>,
    pub(super) keys_refresh: Option<String>,
    pub(super) keys_max_age: Option<String>,
    pub(super) algorithms: Option<Vec<String>>,
    pub(super) subject: Option<String>,
    #[serde(default)]
    pub(super) require: BTreeMap<String, toml::Value>,
    pub(super) groups_claim: Option<OneOrMore>,
    #[serde(default)]
    pub(super) userinfo: bool,
    pub(super) userinfo_url: Option<String>,
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) act: bool,
    pub(super) max_lifetime: Option<String>,
    pub(super) clock_skew: Option<String>,
    pub(super) login: Option<Login>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub(super) client_id: String,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) resource: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) token: Option<String>,
}

/// Whether something is looked for, or what.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "`true`, `false`, a list of detectors, or a table of `also`, `off`, `replace`, `patterns` and `terms`"
)]
pub(super) enum Detect {
    All(bool),
    These(Vec<String>),
    Chosen(Detectors),
}

/// What is looked for beyond or without what is by default, what takes its place, and patterns and terms of one's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detectors {
    #[serde(default)]
    pub(super) also: Vec<String>,
    #[serde(default)]
    pub(super) off: Vec<String>,
    #[serde(default)]
    pub(super) replace: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) patterns: Vec<Pattern>,
    #[serde(default)]
    pub(super) terms: Vec<Terms>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terms {
    pub(super) name: String,
    #[serde(default)]
    pub(super) words: Vec<String>,
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pattern {
    pub(super) name: String,
    pub(super) pattern: String,
    #[serde(default)]
    pub(super) words: Vec<String>,
}

/// A text or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::More(texts) => texts,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authority {
    pub(super) name: String,
    pub(super) certificates: PathBuf,
    pub(super) subject: String,
    pub(super) kind: Option<String>,
    pub(super) max_lifetime: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) address: String,
    pub(super) database: Option<String>,
    pub(super) user: Option<String>,
    /// Any value, so that an error of type does not echo what may be a password.
    pub(super) password: Option<toml::Value>,
    /// Any value, for the same reason.
    pub(super) credential: Option<toml::Value>,
    pub(super) credential_as: Option<String>,
    pub(super) http2: Option<bool>,
    pub(super) max_protocol_version: Option<String>,
    pub(super) tls: Option<String>,
    pub(super) tls_ca: Option<PathBuf>,
    pub(super) tls_cert: Option<PathBuf>,
    /// Any value, for the same reason.
    pub(super) tls_key: Option<toml::Value>,
    pub(super) channel_binding: Option<String>,
    pub(super) listen: Option<String>,
    #[serde(default)]
    pub(super) plaintext: bool,
    pub(super) auth: Option<Vec<String>>,
    pub(super) oauth: Option<Oauth>,
    pub(super) proxy_protocol: Option<Vec<String>>,
    pub(super) mode: Option<String>,
    #[serde(default)]
    pub(super) labels: Vec<String>,
    pub(super) durability: Option<String>,
    pub(super) recording: Option<String>,
    pub(super) upstream_connections: Option<usize>,
    pub(super) hold: Option<String>,
    pub(super) catalog_max_age: Option<String>,
    pub(super) detect: Option<Detect>,
    pub(super) dialect: Option<String>,
    pub(super) openapi: Option<PathBuf>,
    pub(super) endpoints: Option<Vec<String>>,
    pub(super) requests: Option<String>,
    #[serde(default)]
    pub(super) classify: BTreeMap<String, Vec<String>>,
}

/// Without the password, whatever somebody put there.
impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) kind: String,
    pub(super) listen: String,
    #[serde(default)]
    pub(super) plaintext: bool,
    pub(super) auth: Option<Vec<String>>,
    pub(super) oauth: Option<Oauth>,
    pub(super) proxy_protocol: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Oauth {
    pub(super) issuer: String,
    pub(super) scope: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approvals {
    pub(super) wait: Option<String>,
    pub(super) wait_in_transaction: Option<String>,
    pub(super) ttl: Option<String>,
    pub(super) pending: Option<usize>,
    pub(super) pending_per_principal: Option<usize>,
    pub(super) per_minute: Option<usize>,
    pub(super) link: Option<String>,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, ApprovalGroup>,
    #[serde(default)]
    pub(super) same_person: Vec<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Access {
    pub(super) ttl: Option<String>,
    pub(super) longest: Option<String>,
    pub(super) longest_break_glass: Option<String>,
    #[serde(default)]
    pub(super) reviewers: Vec<String>,
    pub(super) unreviewed: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalGroup {
    pub(super) quorum: Option<usize>,
    #[serde(default)]
    pub(super) reasons: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhook {
    pub(super) name: String,
    pub(super) url: String,
    /// Any value, so that an error of type does not echo what may be a secret.
    pub(super) secret: Option<toml::Value>,
    pub(super) events: Option<Vec<String>>,
    pub(super) timeout: Option<String>,
    pub(super) give_up: Option<String>,
    #[serde(default)]
    pub(super) statement: bool,
    pub(super) tls_ca: Option<PathBuf>,
}

/// Without the address and the secret, whatever somebody put there.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Masking {
    /// Any value, so that an error of type does not echo what may be a key.
    pub(super) key: Option<toml::Value>,
    pub(super) key_version: Option<u32>,
    pub(super) groups_of: Option<u32>,
    pub(super) filter_budget: Option<FilterBudget>,
    pub(super) seen_for: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    pub(super) name: String,
    pub(super) connection: Option<String>,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    pub(super) of: Option<String>,
    pub(super) per: String,
    pub(super) requests: Option<u64>,
    pub(super) tokens: Option<u64>,
    pub(super) cost: Option<f64>,
    pub(super) rows: Option<u64>,
    pub(super) bytes: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Price {
    pub(super) models: Vec<String>,
    pub(super) connection: Option<String>,
    pub(super) input: f64,
    pub(super) output: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterBudget {
    pub(super) statements: u32,
    pub(super) per: String,
}

/// Without the key, whatever somebody put there.
impl std::fmt::Debug for Masking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masking").field("key_version", &self.key_version).finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mask {
    pub(super) label: String,
    pub(super) method: String,
    pub(super) first: Option<usize>,
    pub(super) last: Option<usize>,
    pub(super) session: Option<bool>,
    pub(super) days: Option<u16>,
    pub(super) width: Option<u64>,
    pub(super) to: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recording {
    pub(super) response: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    pub(super) origin: Option<String>,
    pub(super) checkpoint_interval: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) connections: Option<usize>,
    pub(super) connections_per_principal: Option<usize>,
    pub(super) unauthenticated: Option<usize>,
    pub(super) unauthenticated_per_address: Option<usize>,
    pub(super) upstream_queue: Option<usize>,
    pub(super) upstream_wait: Option<String>,
    pub(super) refusals: Option<usize>,
    pub(super) login_timeout: Option<String>,
    pub(super) request_timeout: Option<String>,
    pub(super) response_timeout: Option<String>,
    pub(super) expiry_grace: Option<String>,
    pub(super) drain: Option<String>,
    pub(super) idle: Option<String>,
    pub(super) idle_in_transaction: Option<String>,
    pub(super) session_age: Option<String>,
    pub(super) statement: Option<String>,
    pub(super) login: Option<String>,
    pub(super) pending: Option<String>,
    pub(super) control: Option<String>,
    pub(super) response: Option<String>,
    pub(super) row: Option<String>,
    pub(super) statements: Option<usize>,
}
