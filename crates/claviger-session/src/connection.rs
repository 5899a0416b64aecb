//! A registered upstream, validated.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claviger_dialects::{Dialect, Templates};
use claviger_model::{ConnectionName, Durability, Mode, ResponseRecording, Secret, UnknownWord};
use claviger_protocols::postgres::{ScramKeys, Version};
use claviger_protocols::{ChannelBinding, PROTOCOLS, Shown, UpstreamLogin, UpstreamTls, http};
use claviger_sql::Classification;

use crate::{Detecting, Fields};

/// A registered upstream. Immutable: a changed configuration makes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// What policy, record and clients call it.
    pub name: ConnectionName,
    /// The protocol's kind, one of [`claviger_protocols::PROTOCOLS`].
    pub kind: &'static str,
    /// The upstream's host name or address.
    pub host: String,
    /// The upstream's port.
    pub port: u16,
    /// The upstream's database; empty where there is none.
    pub database: String,
    /// The upstream's user; empty where there is none.
    pub user: String,
    /// Where the upstream's password, or whatever else stands in its place, is found.
    pub password: Option<CredentialRef>,
    /// How the upstream is shown it.
    pub shown: Shown,
    /// The newest version of its protocol to ask the upstream for.
    pub max_protocol_version: Version,
    /// How the upstream's leg is protected.
    pub tls: UpstreamTlsPolicy,
    /// Whether HTTP/2 is spoken with it, where it offers that.
    pub http2: bool,
    /// The certificates (PEM) to trust for it; the system's if absent.
    pub tls_ca: Option<PathBuf>,
    /// How strictly it is guarded.
    pub mode: Mode,
    /// Classifications, such as `environment.production`.
    pub labels: Vec<Arc<str>>,
    /// Whether logins there are bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// What the gateway proves itself with in TLS there.
    pub tls_identity: Option<TlsIdentity>,
    /// When its record must be on stable storage.
    pub durability: Durability,
    /// How much of each response is recorded.
    pub recording: ResponseRecording,
    /// The most sessions that the upstream is to bear; more wait for one to end.
    pub upstream_connections: Option<usize>,
    /// The labels of its tables and columns.
    pub classification: Arc<Classification>,
    /// Whether clients wait for approvals in their sessions; else they are refused, and repeat what they asked for.
    pub waits_for_approval: bool,
    /// How old what is known of its catalog may be.
    pub catalog_max_age: Duration,
    /// What texts are searched for that nobody has labelled.
    pub detect: Option<Detecting>,
    /// How the content of HTTP requests and answers is read.
    pub contents: ContentRules,
}

/// How the content of HTTP requests and answers is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentRules {
    /// What kind of service there is.
    pub dialect: Dialect,
    /// Which paths it has, where somebody has said so.
    pub templates: Option<Arc<Templates>>,
    /// What becomes of regulated values in what clients send.
    pub sent: Sent,
    /// The labels of members.
    pub fields: Arc<Fields>,
}

/// What becomes of regulated values in what clients send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sent {
    /// They are masked.
    #[default]
    Masked,
    /// Tokens take their places, and in the answer they take those of the tokens for whoever may see them.
    Swapped,
    /// They leave as they came.
    Plain,
}

impl Connection {
    /// Whether requests are decided with all of their content, and answers read.
    pub(crate) fn looks_into_content(&self) -> bool {
        let rules = &self.contents;
        let looks = rules.dialect != Dialect::Plain || self.detect.is_some() || !rules.fields.is_empty();
        self.mode != Mode::Record && self.kind == http::ENTRY.kind && looks
    }

    /// How to log in to the upstream with this password; the client gets the cancel secret in place of the upstream's. The nonce is
    /// random.
    pub fn login(
        &self,
        password: Option<Secret>,
        application: String,
        cancel_secret: Bytes,
        nonce: [u8; 18],
        scram_keys: Arc<ScramKeys>,
    ) -> UpstreamLogin {
        UpstreamLogin {
            tls: match self.tls {
                UpstreamTlsPolicy::Disable => UpstreamTls::Disable,
                UpstreamTlsPolicy::Prefer => UpstreamTls::Prefer,
                UpstreamTlsPolicy::Require | UpstreamTlsPolicy::VerifyCa | UpstreamTlsPolicy::VerifyFull => UpstreamTls::Require,
            },
            host: self.authority(),
            shown: self.shown.clone(),
            user: self.user.clone(),
            database: self.database.clone(),
            version: self.max_protocol_version,
            password,
            application,
            channel_binding: self.channel_binding,
            nonce,
            cancel_secret,
            scram_keys,
        }
    }

    /// The upstream's own name, with its port unless it is the usual one.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = PROTOCOLS.iter().any(|entry| entry.kind == self.kind && entry.default_port == self.port);
        if usual { host } else { format!("{host}:{}", self.port) }
    }
}

/// A certificate chain and where its key is found, both PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsIdentity {
    /// The file with the chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: CredentialRef,
}

/// Where a secret is found; the reference itself is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CredentialRef {
    /// `env:NAME`, an environment variable of the gateway.
    Env(String),
    /// `file:PATH`, a file whose one trailing newline does not count.
    File(PathBuf),
}

impl FromStr for CredentialRef {
    type Err = UnknownWord;

    /// The text is not echoed on failure: somebody may have put the secret itself there.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(UnknownWord { found: "…".to_owned(), expected: "`env:NAME`, `file:PATH`" }),
        }
    }
}

/// How the upstream's leg is protected; the words and meanings of libpq's `sslmode` (PostgreSQL manual, 34.19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamTlsPolicy {
    /// No TLS.
    Disable,
    /// TLS if the upstream offers it, any certificate.
    Prefer,
    /// TLS, any certificate.
    Require,
    /// TLS, with a certificate that a trusted authority signed.
    VerifyCa,
    /// TLS, with such a certificate for the upstream's own name.
    #[default]
    VerifyFull,
}

impl FromStr for UpstreamTlsPolicy {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Ok(match text {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(UnknownWord {
                    found: text.chars().take(80).collect(),
                    expected: "`disable`, `prefer`, `require`, `verify-ca`, `verify-full`",
                });
            }
        })
    }
}
