#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_api::wire::{Delegation, KillQuery, Kind, NewPrincipal, NewToken, PrincipalPatch, SessionQuery};
use claviger_api::{Act, Backend, Caller, Followed, Management};
use claviger_identity::{Authenticator, Directory, Errand};
use claviger_model::{Secret, SessionId};
use claviger_policy::PolicySet;
use claviger_session::{ByPolicy, Gateway, Providers, Rules, Services};
use claviger_store::Store;
use claviger_store::log::AuditLog;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::{Admin, record_local_acts};
use crate::cli::Client;
use crate::config::{Config, LOCAL_ISSUER};
use crate::serve::now;

const FILE: &str = r#"
data = "data"
[issuer]
url = "https://claviger.internal"
audience = "claviger"
max_lifetime = "1h"
[[issuers]]
name = "corp"
issuer = "https://idp.example.com"
audience = "claviger"
jwks_file = "claviger.toml"
algorithms = ["RS256"]
[[connections]]
name = "bank"
kind = "postgres"
address = "db.internal:5433"
database = "bank"
user = "claviger_bank"
[[listeners]]
kind = "postgres"
listen = "127.0.0.1:6400"
plaintext = true
"#;

const POLICY: &str = r#"
permit (principal in Group::"dbas", action in Action::"admin", resource);
@reason("auditors change nothing")
forbid (principal in Group::"auditors", action in Action::"administer", resource);
permit (principal in Group::"auditors", action in Action::"review", resource);
"#;

fn directory() -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("claviger.toml"), FILE).unwrap();
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    std::fs::write(dir.path().join("policies/a.cedar"), POLICY).unwrap();
    dir
}

fn here(dir: &TempDir) -> Admin {
    Admin::on_this_machine(Config::load(dir.path()).unwrap()).unwrap()
}

fn user(subject: &str, group: &str) -> NewPrincipal {
    NewPrincipal { subject: subject.into(), kind: Kind::User, display: None, groups: vec![group.into()], sponsor: None }
}

fn workload(subject: &str, sponsor: &str) -> NewPrincipal {
    let sponsor = Some(sponsor.into());
    NewPrincipal { subject: subject.into(), kind: Kind::Workload, display: None, groups: vec![], sponsor }
}

fn token_for(subject: &str, actor: Option<&str>) -> NewToken {
    NewToken { subject: subject.into(), actor: actor.map(Into::into), ttl_seconds: Some(60), purpose: Some("report".into()) }
}

fn delegation(actor: &str, subject: &str) -> Delegation {
    Delegation { actor: actor.into(), subject: subject.into() }
}

/// The status of what fails.
fn status<T>(result: Result<T, claviger_api::Problem>) -> u16 {
    result.err().expect("this must fail").status
}

#[test]
fn principals_and_tokens_on_this_machine() {
    let dir = directory();
    let admin = here(&dir);
    let acting = admin.admit_local(Act::ListPrincipals, "*").unwrap();
    acting.add_principal(&user("alice", "dbas")).unwrap();
    acting.add_principal(&workload("bot", "alice")).unwrap();
    assert_eq!(status(acting.add_principal(&user("alice", "dbas"))), 409);
    assert_eq!(status(acting.add_principal(&workload("other", "nobody"))), 404);
    assert_eq!(status(acting.add_principal(&workload("other", "bot"))), 400);

    assert_eq!(status(acting.issue_token(&token_for("nobody", None))), 404);
    assert_eq!(status(acting.issue_token(&token_for("erin@corp", None))), 409, "another issuer's principal");
    assert_eq!(status(acting.issue_token(&token_for("alice", Some("bot")))), 409, "not yet registered to act");
    acting.add_delegation(&delegation("bot", "alice")).unwrap();
    let issued = acting.issue_token(&token_for("alice", Some("bot"))).unwrap();
    let too_long = NewToken { ttl_seconds: Some(3601), ..token_for("alice", None) };
    assert_eq!(status(acting.issue_token(&too_long)), 400);
    let by_default = acting.issue_token(&NewToken { ttl_seconds: None, ..token_for("alice", None) }).unwrap();
    let tokens = acting.tokens().unwrap();
    let listed = tokens.iter().find(|token| token.id == issued.id).unwrap();
    assert_eq!((listed.subject.as_str(), listed.actor.as_deref()), ("alice@local", Some("bot@local")));
    assert_eq!((listed.purpose.as_deref(), listed.revoked), (Some("report"), false));
    assert!(!serde_json::to_string(&tokens).unwrap().contains(&issued.token));

    acting.revoke_token(&issued.id).unwrap();
    acting.revoke_token(&issued.id).unwrap();
    assert_eq!(status(acting.revoke_token("never-issued")), 404);
    acting.revoke_tokens("alice").unwrap();
    assert!(acting.tokens().unwrap().iter().any(|token| token.id == by_default.id && token.revoked));
    assert_eq!(status(acting.revoke_tokens("erin@corp")), 409);

    let out = PrincipalPatch { disabled: Some(true), groups: Some(vec!["staff".into()]), sponsor: None };
    assert!(acting.update_principal("alice", &out).unwrap().disabled);
    assert_eq!(status(acting.issue_token(&token_for("alice", None))), 409, "no token for who is shut out");
    let alice = &acting.principals().unwrap()[0];
    assert_eq!((alice.groups.as_slice(), alice.disabled), (["staff".to_owned()].as_slice(), true));
    assert_eq!(acting.principals().unwrap()[1].acts_for, ["alice@local"]);
    acting.remove_delegation(&delegation("bot", "alice")).unwrap();
    assert_eq!(status(acting.remove_delegation(&delegation("bot", "alice"))), 404);
    assert_eq!(
        status(acting.kill_session(SessionId::from_bytes([0; 16]), &KillQuery::default())),
        409,
        "needs the running gateway"
    );
    // A principal of another issuer need not be registered to be shut out.
    assert!(
        acting.update_principal("erin@corp", &PrincipalPatch { disabled: Some(true), ..Default::default() }).unwrap().disabled
    );
}

#[test]
fn connections_tell_where_clients_reach_them() {
    let dir = directory();
    let admin = here(&dir);
    let connections = admin.admit_local(Act::ListConnections, "*").unwrap().connections().unwrap();
    assert_eq!((connections[0].name.as_str(), connections[0].address.as_str()), ("bank", "db.internal:5433"));
    assert_eq!(connections[0].listeners[0].address, "127.0.0.1:6400");
    assert!(connections[0].listeners[0].shared);
}

/// Every `ADMIN` leaf of the log: who, what, on what, and whether it was permitted.
fn admin_leaves(dir: &TempDir) -> Vec<[String; 4]> {
    let mut files: Vec<_> =
        std::fs::read_dir(dir.path().join("data/audit/log")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let leaves = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|leaf| leaf["type"] == "ADMIN");
    leaves.map(|leaf| ["who", "action", "target", "verdict"].map(|key| leaf[key].as_str().unwrap().to_owned())).collect()
}

#[test]
fn local_acts_reach_the_log_once_and_in_order() {
    let dir = directory();
    let admin = here(&dir);
    admin.admit_local(Act::AddPrincipal, "alice").unwrap();
    admin.admit_local(Act::ListPrincipals, "*").unwrap();
    admin.admit_local(Act::IssueToken, "alice").unwrap();
    let log = AuditLog::open(&admin.config().data, admin.config().log_options()).unwrap();
    record_local_acts(&admin.store, &log).unwrap();
    record_local_acts(&admin.store, &log).unwrap();
    let expected = [["local", "principal.add", "alice", "permit"], ["local", "token.issue", "alice", "permit"]];
    assert_eq!(admin_leaves(&dir), expected);
}

/// Not every act changes who is let in; the gateway must hear of it all the same.
#[test]
fn a_running_gateway_hears_of_every_local_act() {
    let dir = directory();
    let gateway = here(&dir);
    let mut changes = gateway.store.watch().unwrap();
    changes.borrow_and_update();
    here(&dir).admit_local(Act::ReadSession, "s1").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let heard = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(2), changes.changed()).await });
    heard.expect("the gateway hears").unwrap();
    assert_eq!(gateway.store.noted_acts().unwrap()[0].action, "session.read");
}

struct Nobody;

impl Providers for Nobody {
    fn run(&self, _: Errand, _: Secret) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// Never answers; counts who waits.
#[derive(Default)]
struct Silent(Arc<AtomicUsize>);

impl Providers for Silent {
    fn run(&self, _: Errand, _: Secret) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }
}

/// A running gateway, but for its sockets.
fn running(dir: &TempDir) -> Admin {
    running_with(dir, Arc::new(Nobody))
}

fn running_with(dir: &TempDir, providers: Arc<dyn Providers>) -> Admin {
    let config = Arc::new(Config::load(dir.path()).unwrap());
    let store = Arc::new(Store::open(&config.data, LOCAL_ISSUER).unwrap());
    let log = Arc::new(AuditLog::open(&config.data, config.log_options()).unwrap());
    let authenticator = Arc::new(Authenticator::new(config.trusted(), store.directory().unwrap()));
    let (follower, changes) = (Arc::clone(&authenticator), store.watch().unwrap());
    tokio::spawn(follow(follower, changes));
    let services = Services {
        authenticator: Arc::clone(&authenticator),
        providers,
        decider: Arc::new(ByPolicy),
        catalogs: None,
        ledger: log.clone(),
        clock: Arc::new(now),
        random: Arc::new(|bytes| bytes.fill(7)),
        meters: Arc::default(),
        asides: None,
        approvals: Arc::new(crate::serve::approvals(&store).unwrap()),
        access: Arc::new(crate::serve::access(&store).unwrap()),
    };
    let rules = Rules {
        policy: Arc::new(PolicySet::load(&config.policies, LOCAL_ISSUER).unwrap()),
        connections: config.connections.iter().cloned().collect(),
        deadlines: config.limits.deadlines,
        bounds: config.limits.bounds,
        masks: Arc::default(),
        usage: Arc::default(),
        release: claviger_session::Release::default(),
        reviewing: Arc::default(),
        access: Arc::default(),
    };
    let gateway = Arc::new(Gateway::new(services, rules));
    let admin = Admin::of_gateway(&config, store, log, gateway, authenticator, Arc::default());
    let keys = admin.local_issuer().unwrap().key_set().unwrap();
    admin.running().unwrap().authenticator.set_keys(LOCAL_ISSUER, keys);
    admin
}

/// Takes up changes, as a running gateway does.
async fn follow(authenticator: Arc<Authenticator>, mut changes: tokio::sync::watch::Receiver<Arc<Directory>>) {
    while changes.changed().await.is_ok() {
        authenticator.set_directory((**changes.borrow_and_update()).clone());
    }
}

/// Somebody with a token, as the API sees them.
async fn caller(admin: &Admin, subject: &str) -> Caller {
    let token = admin.admit_local(Act::ListTokens, "*").unwrap().issue_token(&token_for(subject, None)).unwrap().token;
    let identity = admin.authenticate(&Secret::new(token)).await.unwrap();
    Caller { identity, address: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_api_policy_is_asked_and_the_answer_recorded_first() {
    let dir = directory();
    let setup = here(&dir);
    for new in [user("dana", "dbas"), user("audra", "auditors"), user("alice", "engineers")] {
        setup.admit_local(Act::ListPrincipals, "*").unwrap().add_principal(&new).unwrap();
    }
    let admin = Arc::new(running(&dir));
    let mut tail = admin.tail(Followed::All).unwrap();
    let gateway = Arc::clone(&admin);
    let (dana, audra, alice) = (caller(&admin, "dana").await, caller(&admin, "audra").await, caller(&admin, "alice").await);
    assert_eq!(status(admin.authenticate(&Secret::new("nonsense")).await), 401);
    let asked = tokio::task::spawn_blocking(move || {
        for (who, act, target, expected) in [
            (&dana, Act::IssueToken, "alice", None),
            (&dana, Act::ListSessions, "*", None),
            (&audra, Act::ListTokens, "*", None),
            (&audra, Act::ReadSession, "s1", None),
            (&audra, Act::KillSession, "s1", Some("auditors change nothing")),
            (&alice, Act::ListPrincipals, "*", Some("policy does not permit it")),
            (&alice, Act::RotateKey, &"x".repeat(5000), Some("policy does not permit it")),
        ] {
            let refused = gateway.admit(who, act, target).err().map(|problem| problem.to_string());
            assert_eq!(refused.as_deref(), expected, "{act:?}");
        }
        let acting = gateway.admit(&dana, Act::DisablePrincipal, "alice").unwrap();
        assert!(gateway.stands(&alice));
        acting.update_principal("alice", &PrincipalPatch { disabled: Some(true), ..Default::default() }).unwrap();
        assert!(!gateway.stands(&alice) && gateway.stands(&dana), "in force when done");
        assert_eq!(acting.sessions(&SessionQuery::default()).unwrap(), []);
        assert!(gateway.healthy());
    });
    asked.await.unwrap();
    let leaf = |who: &str, action: &str, target: &str, verdict: &str| [who, action, target, verdict].map(str::to_owned);
    let expected = [
        leaf("dana@local", "token.issue", "alice", "permit"),
        leaf("audra@local", "session.read", "s1", "permit"),
        leaf("audra@local", "session.kill", "s1", "deny"),
        leaf("alice@local", "principal.list", "*", "deny"),
        leaf("alice@local", "key.rotate", &"x".repeat(1024), "deny"),
        leaf("dana@local", "principal.disable", "alice", "permit"),
    ];
    assert_eq!(admin_leaves(&dir), expected);
    assert!(tail.recv().await.unwrap().contains("token.issue"));
}

/// The API over TLS, as the command line speaks to it.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_and_the_api_understand_each_other() {
    let dir = directory();
    let setup = here(&dir);
    for new in [user("dana", "dbas"), user("alice", "engineers"), workload("bot", "alice")] {
        setup.admit_local(Act::ListPrincipals, "*").unwrap().add_principal(&new).unwrap();
    }
    let admin = Arc::new(running(&dir));
    let gateway = Arc::clone(&admin);
    let tokens = tokio::task::spawn_blocking(move || {
        let acting = gateway.admit_local(Act::ListTokens, "*").unwrap();
        ["dana", "alice"].map(|subject| acting.issue_token(&token_for(subject, None)).unwrap().token)
    });
    let [dana, alice] = tokens.await.unwrap();
    let (ca, tls) = certificate();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(claviger_api::serve(
        listener,
        Some(Arc::new(move || Some(tls.clone()))),
        claviger_api::router(admin.clone()),
        async {
            let _ = stopped.await;
        },
    ));
    let asked = tokio::task::spawn_blocking(move || {
        let client = |token: &str| Client::new(&url, Some(ca.as_bytes()), Secret::new(token)).unwrap();
        let (dana, alice, nobody) = (client(&dana), client(&alice), client("nonsense"));
        assert_eq!(status(nobody.principals()), 401);
        assert_eq!(status(alice.principals()), 403);
        assert_eq!(dana.principals().unwrap().len(), 3);
        assert_eq!(dana.add_principal(&user("erin", "dbas")).unwrap().principal, "erin@local");
        assert_eq!(status(dana.add_principal(&user("erin", "dbas"))), 409);
        let patch = PrincipalPatch { disabled: Some(true), ..Default::default() };
        assert!(dana.update_principal("erin@local", &patch).unwrap().disabled);
        dana.add_delegation(&delegation("bot", "alice")).unwrap();
        let issued = dana.issue_token(&token_for("alice", Some("bot"))).unwrap();
        assert!(dana.tokens().unwrap().iter().any(|token| token.id == issued.id));
        dana.revoke_token(&issued.id).unwrap();
        dana.revoke_tokens("bot").unwrap();
        dana.remove_delegation(&delegation("bot", "alice")).unwrap();
        let query = SessionQuery { live: Some(true), who: Some("a&b@local".into()), connection: None, limit: Some(1) };
        assert_eq!(dana.sessions(&query).unwrap(), []);
        let none = SessionId::from_bytes([9; 16]);
        assert_eq!(status(dana.session(none)), 404);
        assert_eq!(status(dana.recording(none)), 404);
        assert_eq!(status(dana.kill_session(none, &KillQuery { reason: Some("it is late".into()), drain: true })), 404);
        assert_eq!(dana.connections().unwrap()[0].name, "bank");
        assert!(!dana.rotate_key().unwrap().is_empty());
        assert!(dana.checkpoint().unwrap().starts_with("claviger.internal\n"));
        assert!(dana.audit_key().unwrap().starts_with("claviger.internal+"));
        let other = Client::new(&url, None, Secret::new("t")).unwrap();
        assert_eq!(status(other.principals()), 502, "a certificate that nobody vouches for");
    });
    asked.await.unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(2), serving).await.expect("the API stops when told").unwrap();
}

/// Nobody needs a good signature to have an issuer asked for its keys.
#[test]
fn who_waits_for_an_issuer_holds_up_nobody() {
    let dir = directory();
    here(&dir).admit_local(Act::ListPrincipals, "*").unwrap().add_principal(&user("dana", "dbas")).unwrap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(2).enable_all().build().unwrap();
    let waiting = Arc::new(AtomicUsize::new(0));
    let entered = runtime.enter();
    let admin = Arc::new(running_with(&dir, Arc::new(Silent(Arc::clone(&waiting)))));
    let dana = admin.admit_local(Act::ListTokens, "*").unwrap().issue_token(&token_for("dana", None)).unwrap().token;
    let (ca, tls) = certificate();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let router = claviger_api::router(admin);
    runtime.spawn(claviger_api::serve(listener, Some(Arc::new(move || Some(tls.clone()))), router, std::future::pending()));
    drop(entered);
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = json!({ "iss": "https://idp.example.com", "aud": "claviger", "sub": "x", "exp": now().as_secs() + 60 });
    let forged = format!("{}.{}.AAAA", part(json!({ "alg": "RS256", "kid": "k" })), part(claims));
    for _ in 0..4 {
        let stranger = Client::new(&url, Some(ca.as_bytes()), Secret::new(forged.as_str())).unwrap();
        std::thread::spawn(move || stranger.principals());
    }
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while waiting.load(Ordering::SeqCst) < 4 {
        assert!(std::time::Instant::now() < until, "some who wait keep others from being heard");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(Client::new(&url, Some(ca.as_bytes()), Secret::new(dana)).unwrap().principals().unwrap().len(), 1);
    runtime.shutdown_background();
}

/// An authority's certificate, and a server's configuration for `localhost`.
fn certificate() -> (String, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (made.cert.pem(), Arc::new(config))
}
