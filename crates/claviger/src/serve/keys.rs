//! The public keys of external issuers: fetched at start, now and then, and when a token names one that is not known.

use std::collections::HashMap;
use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use claviger_identity::{Authenticator, KeySet};
use claviger_session::{KeyRefresh, Meters};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::config::{IssuerConfig, KeySource};

/// How long one fetch may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often keys are fetched again without being asked for. Until a fetch succeeds, the keys at hand stay good.
const INTERVAL: Duration = Duration::from_secs(300);
/// The longest key set that is read.
const LONGEST: u64 = 512 * 1024;

/// Fetches keys and hands them to the authenticator.
pub(super) struct KeyFetcher {
    issuers: HashMap<Arc<str>, Issuer>,
    authenticator: Arc<Authenticator>,
    meters: Arc<Meters>,
}

struct Issuer {
    source: KeySource,
    /// One fetch at a time: many clients may wait for the same one.
    turn: Mutex<()>,
}

impl KeyFetcher {
    pub(super) fn new(issuers: &[IssuerConfig], authenticator: Arc<Authenticator>, meters: Arc<Meters>) -> Arc<Self> {
        let issuer = |issuer: &IssuerConfig| Issuer { source: issuer.keys.clone(), turn: Mutex::new(()) };
        let issuers = issuers.iter().map(|config| (Arc::clone(&config.trust.name), issuer(config))).collect();
        Arc::new(Self { issuers, authenticator, meters })
    }

    /// Fetches all keys, now and again and again. A provider that is down delays nobody but its own principals.
    pub(super) async fn run(self: Arc<Self>) {
        let mut fetching = JoinSet::new();
        for issuer in self.issuers.keys() {
            let (fetcher, issuer) = (Arc::clone(&self), Arc::clone(issuer));
            fetching.spawn(async move {
                loop {
                    fetcher.fetch(&issuer).await;
                    tokio::time::sleep(INTERVAL).await;
                }
            });
        }
        while fetching.join_next().await.is_some() {}
    }

    async fn fetch(&self, issuer: &Arc<str>) {
        let Some(Issuer { source, turn }) = self.issuers.get(issuer) else { return };
        let _turn = turn.lock().await;
        let source = source.clone();
        let fetched = tokio::task::spawn_blocking(move || read(&source)).await;
        let fetched = fetched.map_err(|error| error.to_string()).and_then(|keys| keys);
        self.meters.keys_fetched(issuer, super::now(), fetched.is_ok());
        match fetched {
            Ok(keys) => self.authenticator.set_keys(issuer, keys),
            Err(error) => tracing::warn!(%issuer, error, "an issuer's keys could not be fetched"),
        }
    }
}

/// What the pipeline sees of it.
pub(super) struct Refresher(pub(super) Arc<KeyFetcher>);

impl KeyRefresh for Refresher {
    fn refresh(&self, issuer: Arc<str>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let fetcher = Arc::clone(&self.0);
        Box::pin(async move { fetcher.fetch(&issuer).await })
    }
}

fn read(source: &KeySource) -> Result<KeySet, String> {
    let json = match source {
        KeySource::File(path) => std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?,
        KeySource::Url(url) => get(url).map_err(|error| error.to_string())?,
    };
    KeySet::parse_jwks(&json).map_err(|error| error.to_string())
}

/// Trusts the authorities that the system trusts, among which a company's own may be. Follows no redirect: the address is the
/// operator's choice, not the answering server's.
fn get(url: &str) -> Result<Vec<u8>, ureq::Error> {
    let trusted = rustls_native_certs::load_native_certs().certs;
    let roots: RootCerts = trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).into();
    let tls = TlsConfig::builder().root_certs(roots).build();
    let agent = ureq::Agent::config_builder().tls_config(tls).timeout_global(Some(PATIENCE)).max_redirects(0).build().new_agent();
    let mut json = Vec::new();
    agent.get(url).call()?.into_body().into_reader().take(LONGEST).read_to_end(&mut json)?;
    Ok(json)
}
