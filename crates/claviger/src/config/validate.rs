//! From the file's words to what the gateway uses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use claviger_model::{ConnectionName, Durability, Labels, Mode, ResponseRecording};
use claviger_protocols::{ChannelBinding, PROTOCOLS, ProtocolEntry, http, postgres};
use claviger_proxy::ArrivalLimits;
use claviger_session::{Bounds, Connection, CredentialRef, Deadlines, TlsIdentity, UpstreamTlsPolicy};
use claviger_sql::{Classification, Classified};

use super::entrance::Entrance;
use super::{
    ApiConfig, AuditConfig, Config, ConfigError, FILE, Files, IssuerConfig, LOCAL_ISSUER, LimitsConfig, LocalIssuerConfig,
    LogConfig, MetricsConfig, TlsFiles, raw, units,
};

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long an exchanged token lasts if nothing is said, and at most.
const EXCHANGE_LIFETIME: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(900));

/// Makes sense of all of it, or says what makes none.
pub(super) fn validate(dir: &Path, raw: raw::Config, files: Files) -> Result<Config, ConfigError> {
    let at = At { dir, key: String::new() };
    let tls = raw.tls.map(|tls| at.key("tls").tls(&tls)).transpose()?;
    let recording = at.key("recording").or("response", raw.recording.response.as_deref(), ResponseRecording::default())?;
    let issuers = raw.issuers.as_slice();
    let authorities = raw.authorities.iter().enumerate();
    let authorities =
        authorities.map(|(i, raw)| at.entry("authorities", i, &raw.name).authority(raw)).collect::<Result<Vec<_>, _>>()?;
    let mut listeners = Vec::new();
    let mut connections = Vec::new();
    for (i, raw) in raw.connections.iter().enumerate() {
        let at = at.entry("connections", i, &raw.name);
        let connection = at.connection(raw, recording, &files)?;
        if let Some(listen) = &raw.listen {
            let entrance = Entrance {
                kind: connection.kind,
                listen,
                plaintext: raw.plaintext,
                auth: raw.auth.as_deref(),
                oauth: raw.oauth.as_ref(),
                proxy_protocol: raw.proxy_protocol.as_deref(),
                connection: Some(connection.name.clone()),
            };
            listeners.push((at.clone(), at.listener(entrance, issuers)?));
        } else if let Some(key) = of_a_listener(raw) {
            return Err(at.error(key, "needs `listen`: a shared listener says this for itself"));
        }
        connections.push((at, connection));
    }
    for (i, listener) in raw.listeners.iter().enumerate() {
        let at = at.entry("listeners", i, &listener.listen);
        let kind = at.kind(&listener.kind)?.kind;
        let entrance = Entrance {
            kind,
            listen: &listener.listen,
            plaintext: listener.plaintext,
            auth: listener.auth.as_deref(),
            oauth: listener.oauth.as_ref(),
            proxy_protocol: listener.proxy_protocol.as_deref(),
            connection: None,
        };
        let listener = at.listener(entrance, issuers)?;
        listeners.push((at, listener));
    }
    let api = raw.api.map(|api| at.key("api").address("listen", &api.listen).map(|listen| ApiConfig { listen })).transpose()?;
    let metrics = raw.metrics.map(|metrics| at.key("metrics").address("listen", &metrics.listen));
    let metrics = metrics.transpose()?.map(|listen| MetricsConfig { listen });
    let issuers = raw.issuers.iter().enumerate().map(|(i, issuer)| at.entry("issuers", i, issuer.shown()).issuer(issuer));
    let issuer = at.key("issuer").local_issuer(&raw.issuer)?;
    let config = Config {
        dir: dir.to_owned(),
        data: dir.join(raw.data),
        authorities,
        issuers: issuers.collect::<Result<_, _>>()?,
        audit: at.key("audit").audit(&raw.audit, &issuer)?,
        issuer,
        threads: raw.threads,
        reviewing: Arc::new(at.key("approvals").reviewing(&raw.approvals)?),
        access: Arc::new(at.key("access").access(&raw.access)?),
        webhooks: at.webhooks(&raw.webhooks)?,
        masking: at.masking(&raw.masking, &raw.masks)?,
        usage: Arc::new(at.usage(&raw.budgets, &raw.prices)?),
        log: at.key("log").log(&raw.log)?,
        limits: at.key("limits").limits(&raw.limits)?,
        connections: unique(connections, "name", |connection| connection.name.to_string())?.into_iter().map(Arc::new).collect(),
        listeners: unique(listeners, "listen", |listener| listener.addr.to_string())?,
        tls,
        api,
        metrics,
        policies: files.policies,
        hash: files.hash,
    };
    at.cross_check(&config)?;
    Ok(config)
}

/// Where in the file we are: the directory and the key so far.
#[derive(Clone)]
pub(super) struct At<'a> {
    dir: &'a Path,
    key: String,
}

impl<'a> At<'a> {
    pub(super) fn key(&self, key: &str) -> Self {
        let key = if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) };
        At { dir: self.dir, key }
    }

    /// An entry of a list, by number and name.
    pub(super) fn entry(&self, list: &str, index: usize, name: &str) -> Self {
        let name: String = name.chars().take(80).collect();
        At { dir: self.dir, key: format!("{list}[{index}] ({name})") }
    }

    pub(super) fn error(&self, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { file: self.dir.join(FILE), key: self.key(key).key, message: message.into() }
    }

    pub(super) fn parse<T: FromStr<Err: ToString>>(&self, key: &str, text: &str) -> Result<T, ConfigError> {
        text.parse().map_err(|error: T::Err| self.error(key, error.to_string()))
    }

    pub(super) fn or<T: FromStr<Err: ToString>>(&self, key: &str, text: Option<&str>, default: T) -> Result<T, ConfigError> {
        text.map_or(Ok(default), |text| self.parse(key, text))
    }

    /// One of a setting's words.
    pub(super) fn word<T: Copy>(&self, key: &str, text: &str, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let expected: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let text: String = text.chars().take(80).collect();
            self.error(key, format!("`{text}` is not one of {}", expected.join(", ")))
        })
    }

    pub(super) fn duration(&self, key: &str, text: Option<&str>, default: Duration) -> Result<Duration, ConfigError> {
        let duration = text.map_or(Ok(default), units::duration).map_err(|message| self.error(key, message))?;
        if duration.is_zero() { Err(self.error(key, "must be more than nothing")) } else { Ok(duration) }
    }

    /// A duration in whole seconds, as tokens count.
    pub(super) fn seconds(&self, key: &str, text: Option<&str>, default: Duration) -> Result<u32, ConfigError> {
        let duration = self.duration(key, text, default)?;
        u32::try_from(duration.as_secs()).map_err(|_| self.error(key, "is too long"))
    }

    pub(super) fn some(&self, key: &str, number: usize) -> Result<usize, ConfigError> {
        if number == 0 { Err(self.error(key, "must be more than nothing")) } else { Ok(number) }
    }

    pub(super) fn size(&self, key: &str, text: Option<&str>, default: usize) -> Result<usize, ConfigError> {
        text.map_or(Ok(default), units::size).map_err(|message| self.error(key, message))
    }

    pub(super) fn address(&self, key: &str, text: &str) -> Result<SocketAddr, ConfigError> {
        text.parse().map_err(|_| self.error(key, format!("`{text}` is not an address and port, such as `127.0.0.1:6432`")))
    }

    /// A path that is relative to the directory.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }

    /// A file that must be there.
    pub(super) fn file(&self, key: &str, path: &Path) -> Result<PathBuf, ConfigError> {
        let path = self.dir.join(path);
        if path.is_file() { Ok(path) } else { Err(self.error(key, format!("there is no file `{}`", path.display()))) }
    }

    fn kind(&self, text: &str) -> Result<&'static ProtocolEntry, ConfigError> {
        let words: Vec<_> = PROTOCOLS.iter().map(|entry| (entry.kind, entry)).collect();
        self.word("kind", text, &words)
    }

    pub(super) fn not_empty(&self, key: &str, text: &str) -> Result<String, ConfigError> {
        if text.is_empty() { Err(self.error(key, "must not be empty")) } else { Ok(text.to_owned()) }
    }

    fn tls(&self, raw: &raw::Tls) -> Result<TlsFiles, ConfigError> {
        Ok(TlsFiles { certificate: self.file("certificate", &raw.certificate)?, key: self.file("key", &raw.key)? })
    }

    fn local_issuer(&self, raw: &raw::Issuer) -> Result<LocalIssuerConfig, ConfigError> {
        let max_lifetime = self.seconds("max_lifetime", raw.max_lifetime.as_deref(), DAY)?;
        let exchange_lifetime = self.seconds("exchange_lifetime", raw.exchange_lifetime.as_deref(), EXCHANGE_LIFETIME.0)?;
        if u64::from(exchange_lifetime) > EXCHANGE_LIFETIME.1.as_secs() {
            return Err(self.error("exchange_lifetime", "must be at most `15m`: such a token stands for others"));
        }
        Ok(LocalIssuerConfig {
            url: self.not_empty("url", &raw.url)?,
            audience: self.not_empty("audience", &raw.audience)?,
            max_lifetime,
            exchange_lifetime: exchange_lifetime.min(max_lifetime),
        })
    }

    fn connection(&self, raw: &raw::Connection, recording: ResponseRecording, files: &Files) -> Result<Connection, ConfigError> {
        let entry = self.kind(&raw.kind)?;
        let account = self.account(entry.kind, raw)?;
        let tls = self.or("tls", raw.tls.as_deref(), UpstreamTlsPolicy::default())?;
        let tls_ca = raw.tls_ca.as_deref().map(|path| self.file("tls_ca", path)).transpose()?;
        if tls == UpstreamTlsPolicy::Prefer && entry.kind == http::ENTRY.kind {
            return Err(self.error("tls", "is agreed on before anything is said in HTTP: `disable`, or one of the others"));
        }
        if tls == UpstreamTlsPolicy::VerifyCa && tls_ca.is_none() {
            // Any name that any of the system's authorities signed would do: that verifies nothing.
            return Err(self.error("tls_ca", "`verify-ca` needs the authority that is to be trusted"));
        }
        let channel_binding = self.channel_binding(raw.channel_binding.as_deref(), tls)?;
        let (host, port) = split_address(&raw.address, entry.default_port)
            .ok_or_else(|| self.error("address", format!("`{}` is not a host, or a host and port", raw.address)))?;
        let modes = [Mode::Record, Mode::Observe, Mode::Enforce].map(|mode| (mode.as_str(), mode));
        let durabilities = [("auto", Durability::Auto), ("ordered", Durability::Ordered), ("synced", Durability::Synced)];
        Ok(Connection {
            name: self.parse::<ConnectionName>("name", &raw.name)?,
            kind: entry.kind,
            host,
            port,
            database: account.database,
            user: account.user,
            password: account.password,
            shown: account.shown,
            max_protocol_version: self.or(
                "max_protocol_version",
                raw.max_protocol_version.as_deref(),
                postgres::Version::default(),
            )?,
            tls,
            http2: raw.http2.unwrap_or(false),
            tls_ca,
            channel_binding,
            tls_identity: self.tls_identity(raw)?,
            mode: self.word("mode", raw.mode.as_deref().unwrap_or(Mode::default().as_str()), &modes)?,
            labels: raw.labels.iter().map(|label| self.label("labels", label)).collect::<Result<_, _>>()?,
            durability: self.word("durability", raw.durability.as_deref().unwrap_or("auto"), &durabilities)?,
            recording: self.or("recording", raw.recording.as_deref(), recording)?,
            upstream_connections: raw.upstream_connections.map(|most| self.some("upstream_connections", most)).transpose()?,
            classification: Arc::new(match entry.kind == http::ENTRY.kind {
                true => Classification::default(),
                false => self.classification(&raw.classify)?,
            }),
            detect: self.detecting(raw)?,
            contents: self.contents(entry.kind, raw, files)?,
            waits_for_approval: self.word("hold", raw.hold.as_deref().unwrap_or("wait"), &[("wait", true), ("refuse", false)])?,
            catalog_max_age: self.duration("catalog_max_age", raw.catalog_max_age.as_deref(), Duration::from_secs(1))?,
        })
    }

    /// The labels of tables and columns, by their names.
    fn classification(&self, raw: &BTreeMap<String, Vec<String>>) -> Result<Classification, ConfigError> {
        self.labelled::<Classified, _>(raw)
    }

    /// What is classified, by its name, with its labels.
    pub(super) fn labelled<T, C>(&self, raw: &BTreeMap<String, Vec<String>>) -> Result<C, ConfigError>
    where
        T: FromStr<Err: std::fmt::Display>,
        C: FromIterator<(T, Labels)>,
    {
        let at = self.key("classify");
        let entry = |(name, labels): (&String, &Vec<String>)| {
            let shown: String = name.chars().take(80).collect();
            let labels: Result<Vec<_>, _> = labels.iter().map(|label| self.label("labels", label)).collect();
            Ok((at.parse::<T>(&shown, name)?, Labels::from(labels?)))
        };
        raw.iter().map(entry).collect()
    }

    fn channel_binding(&self, word: Option<&str>, tls: UpstreamTlsPolicy) -> Result<ChannelBinding, ConfigError> {
        let words =
            [("disable", ChannelBinding::Disable), ("prefer", ChannelBinding::Prefer), ("require", ChannelBinding::Require)];
        let binding = self.word("channel_binding", word.unwrap_or("prefer"), &words)?;
        if binding == ChannelBinding::Require && tls == UpstreamTlsPolicy::Disable {
            return Err(self.error("channel_binding", "without TLS there is no channel to bind to"));
        }
        Ok(binding)
    }

    fn tls_identity(&self, raw: &raw::Connection) -> Result<Option<TlsIdentity>, ConfigError> {
        match (&raw.tls_cert, &raw.tls_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                let certificate = self.file("tls_cert", certificate)?;
                Ok(Some(TlsIdentity { certificate, key: self.credential("tls_key", key)? }))
            }
            _ => Err(self.error("tls_cert", "goes together with `tls_key`")),
        }
    }

    /// A reference to a secret. The text is never echoed: somebody may have put the secret itself there.
    pub(super) fn credential(&self, key: &str, value: &toml::Value) -> Result<CredentialRef, ConfigError> {
        let needed = || self.error(key, "must be `env:NAME` or `file:PATH`, a reference to the secret and not the secret");
        match value.as_str().and_then(|text| text.parse().ok()).ok_or_else(needed)? {
            CredentialRef::File(path) => self.file(key, &path).map(CredentialRef::File),
            reference @ CredentialRef::Env(_) => Ok(reference),
        }
    }

    pub(super) fn label(&self, key: &str, text: &str) -> Result<Arc<str>, ConfigError> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
        if !text.is_empty() && text.len() <= 63 && text.bytes().all(plain) {
            Ok(text.into())
        } else {
            Err(self.error(key, "a label is 1 to 63 of a-z, 0-9, `.`, `-` and `_`"))
        }
    }

    /// The log is named after the issuer unless it has a name of its own.
    fn audit(&self, raw: &raw::Audit, issuer: &LocalIssuerConfig) -> Result<AuditConfig, ConfigError> {
        let named_after = issuer.url.split_once("://").map_or(issuer.url.as_str(), |(_, rest)| rest).trim_end_matches('/');
        let interval = self.duration("checkpoint_interval", raw.checkpoint_interval.as_deref(), Duration::from_secs(1))?;
        Ok(AuditConfig {
            origin: self.parse("origin", raw.origin.as_deref().unwrap_or(named_after))?,
            checkpoint_interval: interval,
        })
    }

    fn log(&self, raw: &raw::Log) -> Result<LogConfig, ConfigError> {
        let json = self.word("format", raw.format.as_deref().unwrap_or("text"), &[("text", false), ("json", true)])?;
        Ok(LogConfig { json })
    }

    fn limits(&self, raw: &raw::Limits) -> Result<LimitsConfig, ConfigError> {
        let session = claviger_protocols::Limits::default();
        let (bounds, wait) = (Bounds::default(), Deadlines::default());
        let sessions = self.some("connections", raw.connections.unwrap_or(bounds.sessions))?;
        // Nobody takes all the places, unless the operator says so.
        let each = raw.connections_per_principal.unwrap_or(sessions.div_ceil(2));
        let number = |key, given: Option<usize>, default| self.some(key, given.unwrap_or(default));
        let time = |key, given: &Option<String>, default| self.duration(key, given.as_deref(), default);
        let off = |key, given: &Option<String>| given.as_deref().map(|text| self.duration(key, Some(text), DAY)).transpose();
        // Some waits are without an end if they are given none.
        let endless = |key, given: &Option<String>, default: Option<Duration>| {
            let given =
                given.as_deref().map(|text| units::duration(text).map_err(|message| self.error(key, message))).transpose()?;
            Ok(given.map_or(default, |duration| Some(duration).filter(|duration| !duration.is_zero())))
        };
        Ok(LimitsConfig {
            bounds: Bounds {
                sessions,
                sessions_each: self.some("connections_per_principal", each)?,
                upstream_queue: number("upstream_queue", raw.upstream_queue, bounds.upstream_queue)?,
                refusals: u32::try_from(number("refusals", raw.refusals, 10)?).unwrap_or(u32::MAX),
            },
            arrivals: ArrivalLimits {
                all: number("unauthenticated", raw.unauthenticated, 2000)?,
                each: number("unauthenticated_per_address", raw.unauthenticated_per_address, 500)?,
            },
            deadlines: Deadlines {
                login: time("login_timeout", &raw.login_timeout, wait.login)?,
                upstream_wait: time("upstream_wait", &raw.upstream_wait, wait.upstream_wait)?,
                expiry_grace: time("expiry_grace", &raw.expiry_grace, wait.expiry_grace)?,
                drain: time("drain", &raw.drain, wait.drain)?,
                linger: wait.linger,
                request: endless("request_timeout", &raw.request_timeout, wait.request)?,
                response: endless("response_timeout", &raw.response_timeout, wait.response)?,
                idle: off("idle", &raw.idle)?,
                idle_in_transaction: off("idle_in_transaction", &raw.idle_in_transaction)?,
                max_age: off("session_age", &raw.session_age)?,
            },
            session: claviger_protocols::Limits {
                statement: self.size("statement", raw.statement.as_deref(), session.statement)?,
                login: self.size("login", raw.login.as_deref(), session.login)?,
                pending: self.size("pending", raw.pending.as_deref(), session.pending)?,
                control: self.size("control", raw.control.as_deref(), session.control)?,
                response: self.size("response", raw.response.as_deref(), session.response)?,
                row: self.size("row", raw.row.as_deref(), session.row)?,
                statements: raw.statements.unwrap_or(session.statements),
            },
        })
    }

    /// What no single entry can tell.
    fn cross_check(&self, config: &Config) -> Result<(), ConfigError> {
        if config.tls.is_none() {
            if config.api.is_some() {
                return Err(self.error("tls", "the API is served over TLS only: `[tls]` is needed"));
            }
            if let Some(listener) = config.listeners.iter().find(|listener| !listener.plaintext) {
                return Err(
                    self.error("tls", format!("the listener on {} takes tokens over TLS only: `[tls]` is needed", listener.addr))
                );
            }
        }
        if let (Some(metrics), None) = (&config.metrics, &config.tls)
            && !metrics.listen.ip().is_loopback()
        {
            return Err(self.error("tls", "metrics are served in plain text on loopback addresses only: `[tls]` is needed"));
        }
        let taken = |address: SocketAddr| address.port() != 0 && config.listeners.iter().any(|other| other.addr == address);
        let (api, metrics) = (config.api.as_ref().map(|api| api.listen), config.metrics.as_ref().map(|metrics| metrics.listen));
        if let Some(listen) = api.filter(|listen| taken(*listen)) {
            return Err(self.error("api.listen", format!("{listen} is used twice")));
        }
        if let Some(listen) = metrics.filter(|listen| taken(*listen) || (listen.port() != 0 && api == Some(*listen))) {
            return Err(self.error("metrics.listen", format!("{listen} is used twice")));
        }
        let mut issuers = BTreeMap::from([(config.issuer.url.as_str(), LOCAL_ISSUER)]);
        let mut names = vec![LOCAL_ISSUER];
        for (i, IssuerConfig { trust, .. }) in config.issuers.iter().enumerate() {
            let at = self.entry("issuers", i, &trust.name);
            if names.contains(&&*trust.name) {
                return Err(at.error("name", format!("`{}` is used twice", trust.name)));
            }
            if let Some(other) = issuers.insert(&trust.issuer, &trust.name) {
                return Err(at.error("issuer", format!("is the same as that of `{other}`")));
            }
            names.push(&trust.name);
        }
        for (i, authority) in config.authorities.iter().enumerate() {
            if names.contains(&&**authority.name()) {
                let at = self.entry("authorities", i, authority.name());
                return Err(at.error("name", format!("`{}` is used twice", authority.name())));
            }
            names.push(authority.name());
        }
        let known = |name: &ConnectionName| config.connections.iter().any(|connection| connection.name == *name);
        let budgets = config.usage.budgets.iter().map(|budget| ("budgets", budget.connection.as_ref()));
        let prices = config.usage.prices.iter().map(|price| ("prices", price.connection.as_ref()));
        if let Some((key, Some(name))) = budgets.chain(prices).find(|(_, name)| name.is_some_and(|name| !known(name))) {
            return Err(self.key(key).error("connection", format!("there is no connection `{name}`")));
        }
        if let Some(listener) = config.listeners.iter().find(|listener| listener.auth.certificate)
            && config.authorities.is_empty()
        {
            return Err(self
                .error("authorities", format!("the listener on {} takes certificates and nobody's is believed", listener.addr)));
        }
        Ok(())
    }
}

/// A key that a connection has for its own listener, if there is one.
fn of_a_listener(raw: &raw::Connection) -> Option<&'static str> {
    let keys = [
        (raw.plaintext, "plaintext"),
        (raw.auth.is_some(), "auth"),
        (raw.oauth.is_some(), "oauth"),
        (raw.proxy_protocol.is_some(), "proxy_protocol"),
    ];
    keys.into_iter().find(|(is_there, _)| *is_there).map(|(_, key)| key)
}

/// Refuses a second entry with the same value of a key.
fn unique<T>(entries: Vec<(At<'_>, T)>, key: &str, value: impl Fn(&T) -> String) -> Result<Vec<T>, ConfigError> {
    let mut seen = std::collections::BTreeSet::new();
    entries
        .into_iter()
        .map(|(at, entry)| {
            let value = value(&entry);
            // Port 0 is whichever port is free, another one each time.
            if !value.ends_with(":0") && seen.contains(&value) {
                return Err(at.error(key, format!("`{value}` is used twice")));
            }
            seen.insert(value);
            Ok(entry)
        })
        .collect()
}

/// `host`, `host:port`, `[v6]:port`.
fn split_address(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let bracketed = text.starts_with('[');
    let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
    (!host.is_empty() && port != 0 && (bracketed || !host.contains(':'))).then(|| (host.to_owned(), port))
}
