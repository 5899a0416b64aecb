//! The composition root: one running gateway, made of all the parts.

mod bindings;
mod consents;
mod exposition;
mod grants;
mod index;
mod listeners;
mod masks;
mod memories;
mod metrics;
mod notify;
mod providers;
mod reload;
mod status;
mod stop;
mod watch;
mod web;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use claviger_audit::{Batch, BootLeaf, Leaf, LeafKind, Ledger};
use claviger_identity::Authenticator;
use claviger_mask::methods::Masks;
use claviger_model::Timestamp;
use claviger_policy::PolicySet;
use claviger_proxy::{AskedAside, KeptCatalogs, Places, Upstreams, Workers};
use claviger_session::{Asides, ByPolicy, Catalogs, Channel, Gateway, Meters, Random, Rules, Services};
use claviger_store::Store;
use claviger_store::log::AuditLog;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::rustls::ServerConfig;

pub(crate) use self::consents::approvals;
pub(crate) use self::grants::access;
use self::index::Index;
use self::listeners::Listeners;
use self::notify::Notify;
use self::providers::CurrentIssuers;
use self::status::Condition;
use self::watch::Watch;
use self::web::{CurrentTls, Web};
use crate::admin::{Admin, record_local_acts};
use crate::config::{Config, LOCAL_ISSUER};
use crate::webhooks::{Deliveries, Webhooks};

/// How often what was counted of refusals is looked at, to be recorded when it is old enough.
const GATHERED: Duration = Duration::from_secs(1);

/// Runs the gateway until it is told to stop.
pub(crate) fn run(config: Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// A running gateway, as far as it can be changed and stopped.
struct Running {
    config: Arc<Config>,
    gateway: Arc<Gateway>,
    upstreams: Arc<Upstreams>,
    log: Arc<AuditLog>,
    store: Arc<Store>,
    admin: Arc<Admin>,
    condition: Arc<Condition>,
    issuers: CurrentIssuers,
    deliveries: Deliveries,
    workers: Arc<Workers>,
    places: Arc<Places>,
    tls: CurrentTls,
    listeners: Listeners,
    web: Web,
    notify: Arc<Notify>,
}

/// Whom the gateway speaks to, beside clients and upstreams.
struct Outside {
    issuers: CurrentIssuers,
    webhooks: Arc<Webhooks>,
}

async fn serve(config: Config) -> Result<()> {
    let config = Arc::new(config);
    let policy = PolicySet::load(&config.policies, LOCAL_ISSUER)?;
    config.check_endpoints(&policy)?;
    let store = Arc::new(Store::open(&config.data, LOCAL_ISSUER).context("the store cannot be opened")?);
    let masks = masks::masks(&config, &store).await?;
    let log = AuditLog::open(&config.data, config.log_options()).context("the audit log cannot be opened")?;
    let log = Arc::new(log);
    log.append(Batch::of(boot_leaf(&config, &policy, false))).context("the start cannot be recorded")?;
    record_local_acts(&store, log.as_ref())?;
    store.abandon_sessions(now())?;

    // One look and all changes after it, so that none falls between.
    let changes = store.watch().context("changes in the store cannot be followed")?;
    let directory = (**changes.borrow()).clone();
    let authenticator = Arc::new(Authenticator::new(config.trusted(), directory));
    authenticator.set_authorities(config.authorities.clone());
    let meters = Arc::new(Meters::default());
    let issuers = CurrentIssuers::start(&config, Arc::clone(&authenticator), Arc::clone(&meters));
    let upstreams = Arc::new(Upstreams::default());
    let catalogs = Arc::new(KeptCatalogs::new(Arc::clone(&upstreams), Arc::new(bindings::Stored(Arc::clone(&store)))));
    let asides = Arc::new(AskedAside::new(Arc::clone(&upstreams)));
    let webhooks = Arc::new(Webhooks::new(&config, Arc::clone(&store), random()));
    let approvals = approvals(&store).context("consents cannot be read")?.telling(Arc::clone(&webhooks) as Arc<dyn Channel>);
    let access = access(&store).context("grants cannot be read")?;
    let services = Services {
        authenticator: Arc::clone(&authenticator),
        providers: issuers.providers(),
        decider: Arc::new(ByPolicy),
        catalogs: Some(Arc::clone(&catalogs) as Arc<dyn Catalogs>),
        asides: Some(Arc::clone(&asides) as Arc<dyn Asides>),
        ledger: Arc::clone(&log) as Arc<dyn Ledger>,
        clock: Arc::new(now),
        random: random(),
        meters,
        approvals: Arc::new(approvals),
        access: Arc::new(access),
    };
    let gateway = Arc::new(Gateway::new(services, rules(&config, policy, masks)));
    let keeper =
        memories::Keeper::new(Arc::clone(&gateway), Arc::clone(&store)).context("what was used and seen cannot be read")?;
    let (stopping, stop) = oneshot::channel();
    let remembering = tokio::spawn(keeper.run(stop));
    catalogs.serve(&gateway);
    asides.serve(&gateway);
    gateway.registry.observe(Arc::new(Index(Arc::clone(&store))));
    let (records, sessions) = (Arc::clone(&log), Arc::clone(&gateway));
    let admin = Admin::of_gateway(&config, Arc::clone(&store), records, sessions, authenticator, Arc::clone(&upstreams));
    let admin = Arc::new(admin);
    admin.publish_keys(gateway.authenticator())?;
    let watch = Watch {
        changes,
        store: Arc::clone(&store),
        log: Arc::clone(&log),
        gateway: Arc::clone(&gateway),
        admin: Arc::clone(&admin),
    };
    let mut watching = JoinSet::new();
    watching.spawn(watch.run());
    let forgetting = tokio::spawn(forget_what_is_over(Arc::clone(&store)));
    let ending = tokio::spawn(end_access(Arc::clone(&gateway)));

    let outside = Outside { issuers, webhooks };
    let mut running = Running::open(config, gateway, upstreams, log, Arc::clone(&store), admin, outside).await?;
    let result = running.serve_until_told(&mut watching).await;
    drop(running);
    forgetting.abort();
    ending.abort();
    watching.shutdown().await;
    drop(stopping);
    _ = remembering.await;
    store.flush_sessions();
    store.flush_outbox();
    result
}

/// As many as there are cores, if nothing else is asked for.
fn threads(config: &Config) -> Result<NonZeroUsize> {
    Ok(config.threads.map_or_else(std::thread::available_parallelism, Ok)?)
}

/// Forgets, once an hour, tokens that ended more than a day ago, as those of exchanges are many, and what need not be remembered any more.
async fn forget_what_is_over(store: Arc<Store>) {
    loop {
        let store = Arc::clone(&store);
        let prune = move || store.prune_tokens(now().plus_secs(-24 * 3600)).and_then(|_| store.prune_memories(now()));
        if let Ok(Err(error)) = tokio::task::spawn_blocking(prune).await {
            tracing::warn!(%error, "what is over cannot be forgotten");
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

impl Running {
    /// Binds every listener before the first client is accepted: a gateway that cannot have all its ports does not start.
    async fn open(
        config: Arc<Config>,
        gateway: Arc<Gateway>,
        upstreams: Arc<Upstreams>,
        log: Arc<AuditLog>,
        store: Arc<Store>,
        admin: Arc<Admin>,
        Outside { issuers, webhooks }: Outside,
    ) -> Result<Self> {
        let tls = server_tls(&config, &[], false)?;
        let current = CurrentTls::default();
        current.store(tls.clone());
        let workers = Workers::start(threads(&config)?, &gateway).context("the threads for sessions cannot be started")?;
        let workers = Arc::new(workers);
        let places = Arc::new(Places::new(config.limits.arrivals));
        let condition =
            Arc::new(Condition::new(Arc::clone(&gateway), Arc::clone(&log), Arc::clone(&places), Arc::clone(&webhooks)));
        let mut listeners =
            Listeners::new(Arc::clone(&gateway), Arc::clone(&upstreams), Arc::clone(&workers), Arc::clone(&places));
        let mut web = Web::new(Arc::clone(&current), Arc::clone(&admin), Arc::clone(&condition));
        let (clients, http) = (listeners.prepare(&config).await?, web.prepare(&config).await?);
        listeners.apply(clients);
        condition.serves();
        web.apply(http);
        let notify = Arc::new(Notify::from_environment());
        let deliveries = Deliveries::start(webhooks, Arc::clone(&gateway));
        Ok(Self {
            config,
            gateway,
            upstreams,
            log,
            store,
            admin,
            condition,
            issuers,
            deliveries,
            workers,
            places,
            tls: current,
            listeners,
            web,
            notify,
        })
    }

    /// What goes on besides: refusals that were counted are recorded, and the service manager hears that we live.
    async fn keep_house(gateway: Arc<Gateway>, notify: Arc<Notify>) {
        let mut gathered = interval(GATHERED.min(notify.watchdog.map_or(GATHERED, |often| often / 3)));
        gathered.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            gathered.tick().await;
            gateway.record_refusals(false);
            gateway.expire_approvals();
            notify.alive();
        }
    }
}

/// Ends grants when their time is over. In a task of its own: they are written to the store, which may take its time.
async fn end_access(gateway: Arc<Gateway>) {
    let mut gathered = interval(GATHERED);
    gathered.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        gathered.tick().await;
        let gateway = Arc::clone(&gateway);
        _ = tokio::task::spawn_blocking(move || gateway.expire_access()).await;
    }
}

fn server_tls(config: &Config, alpn: &[&str], asks: bool) -> Result<Option<Arc<ServerConfig>>> {
    let files = config.tls.as_ref();
    Ok(files.map(|files| claviger_proxy::tls::server(&files.certificate, &files.key, alpn, asks)).transpose()?)
}

fn rules(config: &Config, policy: PolicySet, masks: Arc<Masks>) -> Rules {
    Rules {
        policy: Arc::new(policy),
        connections: config.connections.iter().cloned().collect(),
        deadlines: config.limits.deadlines,
        bounds: config.limits.bounds,
        masks,
        release: config.masking.release,
        usage: Arc::clone(&config.usage),
        reviewing: Arc::clone(&config.reviewing),
        access: Arc::clone(&config.access),
    }
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
