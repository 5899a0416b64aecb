//! The composition root: one running gateway, made of all the parts.

mod exposition;
mod index;
mod metrics;
mod providers;
mod reload;
mod status;
mod watch;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use claviger_api::{Backend, Certificate, Status};
use claviger_audit::{Batch, BootLeaf, Leaf, LeafKind, Ledger};
use claviger_identity::Authenticator;
use claviger_model::{Refusal, RefusalKind, Timestamp};
use claviger_policy::PolicySet;
use claviger_protocols::PROTOCOLS;
use claviger_proxy::{Listener, ListenerSpec, Upstreams, Workers};
use claviger_session::{Deadlines, Gateway, Meters, PermitConnected, Providers, Random, Route, Services};
use claviger_store::Store;
use claviger_store::log::AuditLog;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ServerConfig;

use self::index::Index;
use self::providers::Issuers;
use self::status::Condition;
use self::watch::Watch;
use crate::admin::{Admin, record_local_acts};
use crate::config::{Config, LOCAL_ISSUER};

/// How long sessions get to end when the gateway stops.
const DRAIN: Duration = Duration::from_secs(10);

/// How long sessions that have ended get for their last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs the gateway until it is told to stop.
pub(crate) fn run(config: Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(config: Config) -> Result<()> {
    let policy = PolicySet::load(&config.policies, LOCAL_ISSUER)?;
    let store = Arc::new(Store::open(&config.data, LOCAL_ISSUER).context("the store cannot be opened")?);
    let log = AuditLog::open(&config.data, config.log_options()).context("the audit log cannot be opened")?;
    let log = Arc::new(log);
    boot(&log, &config, &policy)?;
    record_local_acts(&store, log.as_ref())?;
    store.abandon_sessions(now())?;

    // One look and all changes after it, so that none falls between.
    let changes = store.watch().context("changes in the store cannot be followed")?;
    let directory = (**changes.borrow()).clone();
    let authenticator = Arc::new(Authenticator::new(config.trusted(), directory));
    authenticator.set_authorities(config.authorities.clone());
    let meters = Arc::new(Meters::default());
    let issuers = Issuers::new(&config.issuers, Arc::clone(&authenticator), &meters);
    let gateway = compose(&config, policy, &authenticator, &issuers, &log, meters);
    let condition = Arc::new(Condition::new(Arc::clone(&gateway), Arc::clone(&log)));
    gateway.registry.observe(Arc::new(Index(Arc::clone(&store))));
    let admin = Admin::of_gateway(&config, Arc::clone(&store), Arc::clone(&log), Arc::clone(&gateway), authenticator);
    let admin = Arc::new(admin);
    admin.publish_keys(gateway.authenticator())?;

    let upstreams = Arc::new(Upstreams::default());
    let workers = Arc::new(Workers::start(threads(&config)?, &gateway).context("the threads for sessions cannot be started")?);
    let mut tasks = JoinSet::new();
    for listener in bind(&config, &gateway, &upstreams, &workers).await? {
        tasks.spawn(listener.run());
    }
    serve_api(&config, &admin, &mut tasks).await?;
    let mut watched = JoinSet::new();
    serve_status(&config, &condition, &mut watched).await?;
    tasks.spawn(issuers.run());
    tasks.spawn(forget_tokens(Arc::clone(&store)));
    let watch = Watch { changes, store: Arc::clone(&store), log: Arc::clone(&log), gateway: Arc::clone(&gateway), admin };
    let mut watching = JoinSet::new();
    watching.spawn(watch.run());
    condition.serves();
    tracing::info!(connections = config.connections.len(), "serving");

    let result = tokio::select! {
        told = told_to_stop(&config, &condition, &upstreams) => told,
        // Without it nobody could be shut out any more.
        _ = watching.join_next() => {
            condition.is_blind();
            Err(anyhow::anyhow!("changes in the store cannot be followed any more"))
        }
        () = workers.failed() => Err(anyhow::anyhow!("a thread that drives sessions has ended")),
    };
    condition.drains();
    tasks.shutdown().await;
    drain(&gateway).await;
    workers.finish(LAST_WORDS).await;
    watching.shutdown().await;
    store.flush_sessions();
    result
}

/// Half of the cores, if nothing else is asked for: sessions cost the kernel about as much work as us.
fn threads(config: &Config) -> Result<NonZeroUsize> {
    let cores = std::thread::available_parallelism()?;
    Ok(config.threads.unwrap_or(NonZeroUsize::new(cores.get().div_ceil(2)).unwrap_or(NonZeroUsize::MIN)))
}

/// Forgets, once an hour, tokens that ended more than a day ago: those of exchanges are many.
async fn forget_tokens(store: Arc<Store>) {
    loop {
        let store = Arc::clone(&store);
        let pruned = tokio::task::spawn_blocking(move || store.prune_tokens(now().plus_secs(-24 * 3600))).await;
        if let Ok(Err(error)) = pruned {
            tracing::warn!(%error, "tokens that ended cannot be forgotten");
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

fn compose(
    config: &Config,
    policy: PolicySet,
    authenticator: &Arc<Authenticator>,
    issuers: &Arc<Issuers>,
    log: &Arc<AuditLog>,
    meters: Arc<Meters>,
) -> Arc<Gateway> {
    let services = Services {
        authenticator: Arc::clone(authenticator),
        providers: Arc::clone(issuers) as Arc<dyn Providers>,
        decider: Arc::new(PermitConnected),
        ledger: Arc::clone(log) as Arc<dyn Ledger>,
        clock: Arc::new(now),
        random: random(),
        deadlines: Deadlines {
            login: config.limits.login_timeout,
            expiry_grace: config.limits.expiry_grace,
            ..Deadlines::default()
        },
        meters,
    };
    Arc::new(Gateway::new(services, policy, config.connections.iter().cloned().collect()))
}

async fn serve_api(config: &Config, admin: &Arc<Admin>, tasks: &mut JoinSet<()>) -> Result<()> {
    let (Some(api), Some(tls)) = (&config.api, server_tls(config, None, false)?) else { return Ok(()) };
    let socket = TcpListener::bind(api.listen).await.with_context(|| format!("{}: cannot listen", api.listen))?;
    let routes = claviger_api::router(Arc::clone(admin) as Arc<dyn Backend>);
    let certificate: Certificate = Arc::new(move || Arc::clone(&tls));
    tasks.spawn(claviger_api::serve(socket, Some(certificate), routes, std::future::pending()));
    Ok(())
}

/// Metrics and health: in plain text for this machine, inside TLS for others.
async fn serve_status(config: &Config, condition: &Arc<Condition>, tasks: &mut JoinSet<()>) -> Result<()> {
    let Some(metrics) = &config.metrics else { return Ok(()) };
    let tls = if metrics.listen.ip().is_loopback() { None } else { server_tls(config, None, false)? };
    let certificate = tls.map(|tls| Arc::new(move || Arc::clone(&tls)) as Certificate);
    let socket = TcpListener::bind(metrics.listen).await.with_context(|| format!("{}: cannot listen", metrics.listen))?;
    let routes = claviger_api::status_router(Arc::clone(condition) as Arc<dyn Status>);
    tasks.spawn(claviger_api::serve(socket, certificate, routes, std::future::pending()));
    Ok(())
}

fn server_tls(config: &Config, alpn: Option<&str>, asks: bool) -> Result<Option<Arc<ServerConfig>>> {
    let files = config.tls.as_ref();
    Ok(files.map(|files| claviger_proxy::tls::server(&files.certificate, &files.key, alpn, asks)).transpose()?)
}

fn boot(log: &AuditLog, config: &Config, policy: &PolicySet) -> Result<()> {
    let leaf = boot_leaf(config, policy, false);
    log.append(Batch::of(leaf)).context("the start cannot be recorded")?;
    Ok(())
}

fn boot_leaf(config: &Config, policy: &PolicySet, reload: bool) -> Leaf {
    let kind = LeafKind::Boot(BootLeaf {
        version: env!("CARGO_PKG_VERSION").into(),
        config: config.hash.as_str().into(),
        policy: Arc::clone(policy.hash()),
        reload,
    });
    Leaf { time: now(), kind }
}

/// Binds every listener before the first client is accepted: a gateway that cannot have all its ports does not start.
async fn bind(
    config: &Config,
    gateway: &Arc<Gateway>,
    upstreams: &Arc<Upstreams>,
    workers: &Arc<Workers>,
) -> Result<Vec<Listener>> {
    let places = Arc::new(Semaphore::new(config.limits.connections));
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        let alpn = PROTOCOLS.iter().find(|entry| entry.kind == listener.kind).map(|entry| entry.alpn);
        let spec = ListenerSpec {
            address: listener.addr,
            kind: listener.kind,
            route: listener.connection.clone().map_or(Route::Shared(listener.kind), Route::Connection),
            tls: server_tls(config, alpn, listener.auth.certificate)?,
            plaintext: listener.plaintext,
            auth: listener.auth.clone(),
            balancers: listener.balancers.as_slice().into(),
        };
        let (gateway, upstreams, places) = (Arc::clone(gateway), Arc::clone(upstreams), Arc::clone(&places));
        let workers = Arc::clone(workers);
        let bound = Listener::bind(spec, gateway, upstreams, workers, config.limits.session, places).await;
        listeners.push(bound.with_context(|| format!("{}: cannot listen", listener.addr))?);
    }
    Ok(listeners)
}

/// Obeys `SIGHUP` by taking up the changed configuration, until `SIGTERM` or `SIGINT`.
async fn told_to_stop(config: &Config, condition: &Condition, upstreams: &Upstreams) -> Result<()> {
    let (mut hangup, mut terminate) = (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?);
    loop {
        tokio::select! {
            _ = hangup.recv() => condition.reloaded(reload::run(config, &condition.gateway, upstreams, &condition.log)),
            _ = terminate.recv() => return Ok(()),
            result = tokio::signal::ctrl_c() => return Ok(result?),
        }
    }
}

/// Ends every session with a word, also one that was on its way in, and waits for their last leaves.
async fn drain(gateway: &Gateway) {
    let refusal = Refusal::new(RefusalKind::Terminated, "the gateway is stopping");
    let ended = async {
        while !gateway.registry.is_empty() {
            gateway.registry.kill_all(&refusal, "gateway.stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::warn!(sessions = gateway.registry.len(), "sessions did not end in time");
    }
}

/// The time of day.
pub(crate) fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// The system's randomness. Without it nothing can be made that must not be guessed, so the process ends.
fn random() -> Random {
    let source = SystemRandom::new();
    Arc::new(move |bytes| {
        if source.fill(bytes).is_err() {
            tracing::error!("the system has no randomness");
            std::process::abort();
        }
    })
}
