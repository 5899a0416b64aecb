//! What is asked of external issuers: their metadata and keys, at start, now and then, and when a token names a key that is not
//! known; and the groups of whoever holds a token that does not list them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use claviger_identity::{Authenticator, Errand, KeySet, Metadata};
use claviger_model::Secret;
use claviger_session::{Meters, Providers};
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::now;
use crate::config::{Config, IssuerConfig, KeySource};
use crate::http::Http;

/// How long an issuer's metadata counts before it is fetched again.
const METADATA_AGE: Duration = Duration::from_secs(3600);
/// How soon an issuer that did not answer is asked again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How many lookups of groups one issuer gets at a time.
const LOOKUPS: usize = 8;
/// How long whoever wants keys or groups waits for his turn.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// Asks issuers, and hands what they answer to the authenticator.
struct Issuers {
    issuers: HashMap<Arc<str>, Arc<Issuer>>,
    authenticator: Arc<Authenticator>,
}

struct Issuer {
    config: IssuerConfig,
    meters: Arc<Meters>,
    /// Of which issuers it is: what it answers when others have taken their place is not taken.
    generation: u64,
    /// One fetch at a time: many clients may wait for the same one.
    turn: Arc<Mutex<()>>,
    /// What it said of itself when it was last asked.
    known: std::sync::Mutex<Option<Known>>,
    /// How many fetches there have been.
    fetches: AtomicU64,
    /// A fetch failed outside the regular ones: they shall not wait their whole interval.
    failed: Notify,
    lookups: Arc<Semaphore>,
}

/// An issuer's metadata, and since when it is known.
#[derive(Clone)]
struct Known {
    metadata: Metadata,
    since: Instant,
}

impl Issuers {
    fn new(issuers: &[IssuerConfig], authenticator: Arc<Authenticator>, meters: &Arc<Meters>) -> Arc<Self> {
        let issuer = |config: &IssuerConfig| Issuer {
            config: config.clone(),
            meters: Arc::clone(meters),
            generation: authenticator.generation(),
            turn: Arc::default(),
            known: std::sync::Mutex::default(),
            fetches: AtomicU64::new(0),
            failed: Notify::new(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        };
        let issuers = issuers.iter().map(|config| (Arc::clone(&config.trust.name), Arc::new(issuer(config)))).collect();
        Arc::new(Self { issuers, authenticator })
    }

    /// Fetches all keys, now and again and again. An issuer that is down delays nobody but its own principals.
    async fn run(self: Arc<Self>) {
        let mut fetching = JoinSet::new();
        for issuer in self.issuers.values().cloned() {
            let authenticator = Arc::clone(&self.authenticator);
            fetching.spawn(async move { issuer.keep_fetching(&authenticator).await });
        }
        while fetching.join_next().await.is_some() {}
    }
}

/// The issuers of the configuration in force.
pub(super) struct CurrentIssuers {
    current: Arc<Current>,
    authenticator: Arc<Authenticator>,
    meters: Arc<Meters>,
    running: JoinHandle<()>,
}

/// What the gateway sees of them.
struct Current(ArcSwap<Issuers>);

impl CurrentIssuers {
    /// Begins to fetch the keys of the configured issuers.
    pub(super) fn start(config: &Config, authenticator: Arc<Authenticator>, meters: Arc<Meters>) -> Self {
        let issuers = Issuers::new(&config.issuers, Arc::clone(&authenticator), &meters);
        let running = tokio::spawn(Arc::clone(&issuers).run());
        Self { current: Arc::new(Current(ArcSwap::new(issuers))), authenticator, meters, running }
    }

    /// Asks these issuers instead, and at once. Keys at hand stay with the issuers that stay, and are asked where they were.
    pub(super) fn replace(&mut self, config: &Config) {
        let issuers = Issuers::new(&config.issuers, Arc::clone(&self.authenticator), &self.meters);
        self.meters.keep_issuers(|name| config.issuers.iter().any(|issuer| *issuer.trust.name == *name));
        self.current.0.store(Arc::clone(&issuers));
        std::mem::replace(&mut self.running, tokio::spawn(issuers.run())).abort();
    }

    pub(super) fn providers(&self) -> Arc<dyn Providers> {
        Arc::clone(&self.current) as Arc<dyn Providers>
    }
}

impl Drop for CurrentIssuers {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Providers for Current {
    fn run(&self, errand: Errand, token: Secret) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let issuers: Arc<dyn Providers> = self.0.load_full();
        issuers.run(errand, token)
    }
}

impl Providers for Issuers {
    fn run(&self, errand: Errand, token: Secret) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (Errand::Keys { issuer, .. } | Errand::Groups { issuer }) = &errand;
        let Some(issuer) = self.issuers.get(issuer).cloned() else { return Box::pin(std::future::ready(())) };
        let authenticator = Arc::clone(&self.authenticator);
        Box::pin(async move {
            match errand {
                Errand::Keys { fetch, .. } => issuer.keys_wanted(&authenticator, fetch).await,
                Errand::Groups { .. } => issuer.groups_wanted(&authenticator, token).await,
            }
        })
    }
}

impl Issuer {
    async fn keep_fetching(self: Arc<Self>, authenticator: &Authenticator) {
        let mut retry = RETRY.0;
        loop {
            let turn = self.turn.lock().await;
            let wait = if self.fetch(authenticator).await {
                retry = RETRY.0;
                self.config.keys_refresh
            } else {
                let wait = retry.min(self.config.keys_refresh);
                retry = (retry * 2).min(RETRY.1);
                wait
            };
            drop(turn);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.failed.notified() => tokio::time::sleep(RETRY.0).await,
            }
        }
    }

    /// Fetches keys for somebody who waits, unless that was done while he waited for his turn. Without leave to fetch he waits
    /// for a fetch that is under way and no other.
    async fn keys_wanted(self: &Arc<Self>, authenticator: &Arc<Authenticator>, leave: bool) {
        let before = self.fetches.load(Ordering::Acquire);
        let Ok(turn) = timeout(TURN_PATIENCE, Arc::clone(&self.turn).lock_owned()).await else { return };
        if !leave || self.fetches.load(Ordering::Acquire) != before {
            return;
        }
        let (issuer, authenticator) = (Arc::clone(self), Arc::clone(authenticator));
        // To its end, whether or not somebody still waits: else who goes away lets the next one begin beside it.
        let fetching = tokio::spawn(async move {
            let _turn = turn;
            if !issuer.fetch(&authenticator).await {
                issuer.failed.notify_one();
            }
        });
        let _ = fetching.await;
    }

    /// Fetches keys and hands them over; whether there were any. For whoever's turn it is.
    async fn fetch(self: &Arc<Self>, authenticator: &Authenticator) -> bool {
        let (name, issuer) = (&self.config.trust.name, Arc::clone(self));
        let fetched = tokio::task::spawn_blocking(move || issuer.read_keys()).await;
        self.fetches.fetch_add(1, Ordering::AcqRel);
        let fetched = fetched.map_err(anyhow::Error::from).and_then(|read| read);
        if authenticator.generation() != self.generation {
            return false;
        }
        self.meters.keys_fetched(name, now(), fetched.is_ok());
        match fetched {
            Ok(keys) => {
                if keys.is_empty() {
                    tracing::warn!(issuer = %name, "an issuer publishes no key that can verify a signature");
                }
                let age = i64::try_from(self.config.keys_max_age.as_secs()).unwrap_or(i64::MAX);
                authenticator.set_keys_until(self.generation, name, keys, now().plus_secs(age));
                true
            }
            Err(error) => {
                authenticator.keys_not_fetched(name);
                tracing::warn!(issuer = %name, error = format!("{error:#}"), "an issuer's keys could not be fetched");
                false
            }
        }
    }

    async fn groups_wanted(self: &Arc<Self>, authenticator: &Authenticator, token: Secret) {
        let name = &self.config.trust.name;
        let Ok(Ok(place)) = timeout(TURN_PATIENCE, Arc::clone(&self.lookups).acquire_owned()).await else { return };
        // Somebody with the same token may have asked meanwhile.
        if authenticator.has_groups(&token, now()) {
            return;
        }
        let (issuer, bearer) = (Arc::clone(self), token.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let _place = place;
            issuer.read_userinfo(&bearer)
        });
        let asked = asked.await;
        let asked = asked.map_err(anyhow::Error::from).and_then(|asked| asked);
        if authenticator.generation() != self.generation {
            return;
        }
        let taken = authenticator.set_groups(name, &token, asked.as_deref().ok(), now());
        if let Some(error) = asked.err().or(taken.err().map(Into::into)) {
            tracing::warn!(issuer = %name, error = format!("{error:#}"), "an issuer does not tell somebody's groups");
        }
    }

    fn read_keys(&self) -> anyhow::Result<KeySet> {
        let json = match &self.config.keys {
            KeySource::File(path) => std::fs::read(path).with_context(|| path.display().to_string())?,
            KeySource::Url(url) => self.http()?.get(url, None, KeySet::MAX_BYTES)?,
            KeySource::Discovery => {
                let http = self.http()?;
                let keys = http.get(&self.metadata(&http)?.jwks_uri, None, KeySet::MAX_BYTES);
                let keys = keys.and_then(|json| Ok(KeySet::parse_jwks(&json)?));
                // They may have moved.
                return keys.inspect_err(|_| self.remember(None));
            }
        };
        Ok(KeySet::parse_jwks(&json)?)
    }

    /// What the issuer says of a token's holder.
    fn read_userinfo(&self, token: &Secret) -> anyhow::Result<Vec<u8>> {
        let http = self.http()?;
        let url = match &self.config.userinfo_url {
            Some(url) => url.clone(),
            None => {
                let endpoint = self.metadata(&http)?.userinfo_endpoint;
                endpoint.context("the issuer's metadata names no userinfo endpoint that is safe to ask")?
            }
        };
        http.get(&url, Some(token), Metadata::MAX_BYTES)
    }

    /// The issuer's metadata, fetched if what is at hand is old.
    fn metadata(&self, http: &Http) -> anyhow::Result<Metadata> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.since.elapsed() < METADATA_AGE) {
            return Ok(known.metadata);
        }
        let issuer = &self.config.trust.issuer;
        let address = Metadata::address(issuer);
        let json = http.get(&address, None, Metadata::MAX_BYTES)?;
        let metadata = Metadata::parse(&json, issuer).context(address)?;
        self.remember(Some(Known { metadata: metadata.clone(), since: Instant::now() }));
        Ok(metadata)
    }

    fn remember(&self, known: Option<Known>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn http(&self) -> anyhow::Result<Http> {
        Http::new(self.config.tls_ca.as_deref())
    }
}
