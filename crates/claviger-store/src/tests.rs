#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::cloned_ref_to_slice_refs)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_identity::Directory;
use claviger_model::{PrincipalKey, PrincipalKind, SessionId, Timestamp};
use tempfile::TempDir;
use tokio::sync::watch::Receiver;

use crate::{NewPrincipal, SessionEnd, SessionFilter, Store, StoreError, StoredSession, StoredToken};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn store() -> (TempDir, Store) {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("data"), "local").unwrap();
    (directory, store)
}

/// A second handle on the same files, with connections of its own, as another process has.
fn again(directory: &TempDir) -> Store {
    Store::open(&directory.path().join("data"), "local").unwrap()
}

fn key(text: &str) -> PrincipalKey {
    let (subject, issuer) = text.split_once('@').unwrap_or((text, "local"));
    PrincipalKey::new(issuer, subject)
}

fn new(name: &str, kind: PrincipalKind, groups: &[&str], sponsor: Option<&str>) -> NewPrincipal {
    let groups = groups.iter().map(|group| Arc::from(*group)).collect();
    NewPrincipal { key: key(name), kind, display: None, groups, sponsor: sponsor.map(key) }
}

fn with_alice_and_bot() -> (TempDir, Store) {
    let (directory, store) = store();
    store.put_principal(&new("alice", PrincipalKind::User, &["dba", "admin", "dba"], None), NOW).unwrap();
    store.put_principal(&new("bot", PrincipalKind::Workload, &[], Some("alice")), NOW).unwrap();
    (directory, store)
}

fn token(id: &str, subject: &str, actor: Option<&str>, expires_in: i64) -> StoredToken {
    StoredToken {
        id: id.into(),
        sha256: [7; 32],
        principal: key(subject),
        actor: actor.map(key),
        purpose: Some("nightly".into()),
        issued: NOW,
        expires: NOW.plus_secs(expires_in),
        issued_by: "alice@local".into(),
        revoked: None,
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn only_the_owner_can_read_it() {
    let (directory, store) = with_alice_and_bot();
    let data = directory.path().join("data");
    let kid = store.rotate_issuer_key(NOW).unwrap();
    assert_eq!(mode(&data), 0o700);
    for file in ["claviger.db", "claviger.db-wal", "claviger.db-shm", &format!("keys/issuer-{kid}.pem")] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    std::fs::set_permissions(data.join("claviger.db"), std::fs::Permissions::from_mode(0o644)).unwrap();
    again(&directory);
    assert_eq!(mode(&data.join("claviger.db")), 0o600);
}

#[test]
fn a_newer_format_is_refused() {
    let (directory, store) = store();
    store.db().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Store::open(&directory.path().join("data"), "local"), Err(StoreError::Newer(99))));
}

#[test]
fn principals_come_back_as_they_were_put() {
    let (directory, store) = with_alice_and_bot();
    drop(store);
    let store = again(&directory);
    let alice = store.principal(&key("alice")).unwrap().unwrap();
    assert_eq!(alice.groups, [Arc::from("admin"), Arc::from("dba")]);
    assert_eq!((alice.kind, alice.created, alice.disabled, alice.sponsor), (PrincipalKind::User, NOW, None, None));
    let bot = store.principal(&key("bot")).unwrap().unwrap();
    assert_eq!((bot.kind, bot.sponsor), (PrincipalKind::Workload, Some(key("alice"))));
    assert_eq!(store.principals().unwrap().into_iter().map(|one| one.key).collect::<Vec<_>>(), [key("alice"), key("bot")]);
    assert_eq!(store.principal(&key("nobody")).unwrap(), None);
}

#[test]
fn a_change_keeps_what_it_is_not_about() {
    let (_directory, store) = with_alice_and_bot();
    store.disable_principal(&key("alice"), NOW.plus_secs(5)).unwrap();
    store.disable_principal(&key("alice"), NOW.plus_secs(9)).unwrap();
    store.put_principal(&new("alice", PrincipalKind::User, &["x"], None), NOW.plus_secs(10)).unwrap();
    let alice = store.principal(&key("alice")).unwrap().unwrap();
    assert_eq!((alice.created, alice.disabled), (NOW, Some(NOW.plus_secs(9))));
    assert_eq!(alice.groups, [Arc::from("x")]);
    store.enable_principal(&key("alice")).unwrap();
    assert_eq!(store.principal(&key("alice")).unwrap().unwrap().disabled, None);
}

#[test]
fn what_cannot_be_is_refused() {
    let (_directory, store) = with_alice_and_bot();
    let put = |principal: NewPrincipal| store.put_principal(&principal, NOW).unwrap_err().to_string();
    let user = PrincipalKind::User;
    for (problem, expected) in [
        (put(new("okta/alice", user, &[], None)), "`okta/alice` is not a valid subject"),
        (put(new("", user, &[], None)), "`` is not a valid subject"),
        (put(new("a\nb", user, &[], None)), "`ab` is not a valid subject"),
        (put(new("carol", user, &["okta/dba"], None)), "`okta/dba` is not a valid group"),
        (put(new("x@a/b", user, &[], None)), "`a/b` is not a valid issuer name"),
        (put(new("ci", PrincipalKind::Workload, &[], Some("nobody"))), "`nobody@local` is not registered"),
        (put(new("ci", PrincipalKind::Workload, &[], Some("bot"))), "`bot@local` is not a user, so it cannot be a sponsor"),
        (store.disable_principal(&key("nobody"), NOW).unwrap_err().to_string(), "`nobody@local` is not registered"),
        (store.enable_principal(&key("x@okta")).unwrap_err().to_string(), "`x@okta` is not registered"),
        (store.add_delegation(&key("bot"), &key("nobody"), NOW).unwrap_err().to_string(), "`nobody@local` is not registered"),
    ] {
        assert_eq!(problem, expected);
    }
    assert_eq!(store.principals().unwrap().len(), 2);
    // A slash is no harm in a foreign name.
    store.put_principal(&new("team/x@okta", user, &["a/b"], None), NOW).unwrap();
}

#[test]
fn a_foreign_principal_is_disabled_without_having_been_registered() {
    let (_directory, store) = store();
    store.disable_principal(&key("x@okta"), NOW).unwrap();
    assert!(store.directory().unwrap().principal(&key("x@okta")).unwrap().disabled);
}

#[test]
fn delegations_come_and_go() {
    let (_directory, store) = with_alice_and_bot();
    store.add_delegation(&key("bot"), &key("alice"), NOW).unwrap();
    store.add_delegation(&key("bot"), &key("alice"), NOW.plus_secs(1)).unwrap();
    let delegations = store.delegations().unwrap();
    assert_eq!(delegations.len(), 1);
    assert_eq!((&delegations[0].actor, &delegations[0].subject), (&key("bot"), &key("alice")));
    let directory = store.directory().unwrap();
    assert!(directory.may_act(&key("bot"), &key("alice")) && !directory.may_act(&key("alice"), &key("bot")));
    assert!(store.remove_delegation(&key("bot"), &key("alice")).unwrap());
    assert!(!store.remove_delegation(&key("bot"), &key("alice")).unwrap());
    assert!(!store.directory().unwrap().may_act(&key("bot"), &key("alice")));
}

#[test]
fn tokens_are_recorded_and_revoked() {
    let (_directory, store) = with_alice_and_bot();
    store.record_token(&token("t1", "alice", None, 600)).unwrap();
    store.record_token(&token("t2", "alice", Some("bot"), 600)).unwrap();
    store.record_token(&token("t3", "bot", None, 600)).unwrap();
    store.record_token(&token("t4", "bot", None, -1)).unwrap();
    assert!(store.record_token(&token("t1", "bot", None, 600)).is_err(), "an id is used once");
    assert_eq!(store.token("t2").unwrap().unwrap(), token("t2", "alice", Some("bot"), 600));

    assert!(store.revoke_token("local", "t1", "cli", NOW).unwrap());
    assert!(!store.revoke_token("local", "t1", "cli", NOW.plus_secs(1)).unwrap());
    assert_eq!(store.token("t1").unwrap().unwrap().revoked, Some(NOW));
    assert_eq!(store.revoke_token("local", "t9", "cli", NOW).unwrap_err().to_string(), "no token `t9` has been issued");
    assert!(store.revoke_token("okta", "t9", "cli", NOW).unwrap());

    assert_eq!(store.revoke_tokens_of(&key("bot"), "cli", NOW).unwrap(), [Arc::from("t2"), Arc::from("t3")]);
    assert_eq!(store.revoke_tokens_of(&key("bot"), "cli", NOW).unwrap(), []);
    let directory = store.directory().unwrap();
    let revoked = |issuer: &str, id: &str| directory.is_revoked(&issuer.into(), &id.into());
    assert_eq!(["t1", "t2", "t3", "t4", "t9"].map(|id| revoked("local", id)), [true, true, true, false, false]);
    assert!(revoked("okta", "t9") && !revoked("okta", "t1"));

    let ids = |of: Option<&PrincipalKey>| store.tokens(of).unwrap().into_iter().map(|one| one.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(None), ["t1", "t2", "t3", "t4"]);
    assert_eq!(ids(Some(&key("bot"))), ["t2", "t3", "t4"]);
    assert_eq!(ids(Some(&key("bot@okta"))), [] as [&str; 0]);
}

#[test]
fn tokens_of_other_issuers_principals_are_ours_all_the_same() {
    let (_directory, store) = with_alice_and_bot();
    let exchanged =
        |id: &str, subject: &str, actor: &str| StoredToken { principal: key(subject), ..token(id, "", Some(actor), 600) };
    store.record_token(&exchanged("t1", "erin@okta", "bot")).unwrap();
    store.record_token(&exchanged("t2", "alice", "erin@okta")).unwrap();
    assert_eq!(store.token("t1").unwrap().unwrap(), exchanged("t1", "erin@okta", "bot"));
    let ids = |of: &str| store.tokens(Some(&key(of))).unwrap().into_iter().map(|one| one.id.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (ids("erin@okta"), ids("bot"), ids("erin"), ids("bot@okta").len()),
        (vec!["t1".into(), "t2".into()], vec!["t1".into()], vec![], 0)
    );
    assert!(store.revoke_token("local", "t1", "cli", NOW).unwrap());
    assert_eq!(store.revoke_tokens_of(&key("erin@okta"), "cli", NOW).unwrap(), [Arc::from("t2")]);
    assert_eq!(["t1", "t2"].map(|id| store.token(id).unwrap().unwrap().revoked), [Some(NOW); 2]);
    let directory = store.directory().unwrap();
    assert!(directory.is_revoked(&"local".into(), &"t1".into()) && !directory.is_revoked(&"okta".into(), &"t1".into()));
    store.prune_tokens(NOW.plus_secs(601)).unwrap();
    assert!(store.tokens(None).unwrap().is_empty());
}

#[test]
fn what_is_long_over_is_forgotten() {
    let (_directory, store) = with_alice_and_bot();
    store.record_token(&token("old", "alice", None, 10)).unwrap();
    store.record_token(&token("new", "alice", None, 1000)).unwrap();
    for (issuer, id) in [("local", "old"), ("local", "new"), ("okta", "x")] {
        store.revoke_token(issuer, id, "cli", NOW).unwrap();
    }
    store.prune(NOW.plus_secs(500)).unwrap();
    assert_eq!(store.tokens(None).unwrap().len(), 1);
    let directory = store.directory().unwrap();
    let revoked =
        [("local", "old"), ("local", "new"), ("okta", "x")].map(|(issuer, id)| directory.is_revoked(&issuer.into(), &id.into()));
    assert_eq!(revoked, [false, true, true]);
}

#[test]
fn signing_keys_rotate_and_retire() {
    let (directory, store) = store();
    assert!(store.signing_keys().unwrap().is_empty());
    let first = store.rotate_issuer_key(NOW).unwrap();
    let second = store.rotate_issuer_key(NOW).unwrap();
    let kids = |store: &Store| store.signing_keys().unwrap().iter().map(|key| key.kid().clone()).collect::<Vec<_>>();
    assert_eq!(kids(&store), [second.clone(), first.clone()]);
    assert_eq!(kids(&again(&directory)), [second.clone(), first.clone()]);

    let in_use = store.retire_issuer_key(&second, NOW).unwrap_err();
    assert_eq!(in_use.to_string(), format!("`{second}` is not an older signing key"));
    store.retire_issuer_key(&first, NOW.plus_secs(1)).unwrap();
    assert_eq!(kids(&store), [second.clone()]);
    assert!(!directory.path().join(format!("data/keys/issuer-{first}.pem")).exists());
    let all: Vec<_> = store.issuer_keys().unwrap().into_iter().map(|key| (key.kid, key.retired)).collect();
    assert_eq!(all, [(second, None), (first, Some(NOW.plus_secs(1)))]);
}

#[test]
fn no_private_key_is_in_the_database() {
    let (directory, store) = store();
    let kid = store.rotate_issuer_key(NOW).unwrap();
    let pem = std::fs::read_to_string(directory.path().join(format!("data/keys/issuer-{kid}.pem"))).unwrap();
    let body = pem.lines().nth(1).unwrap().as_bytes();
    store.db().pragma_update(None, "wal_checkpoint", "TRUNCATE").ok();
    for file in ["claviger.db", "claviger.db-wal"] {
        let bytes = std::fs::read(directory.path().join("data").join(file)).unwrap_or_default();
        assert!(!bytes.windows(body.len()).any(|window| window == body), "{file}");
    }
}

fn session(n: u8, who: &str, connection: &str) -> StoredSession {
    StoredSession {
        id: SessionId::new(NOW.plus_secs(i64::from(n)), [n; 10]),
        who: who.into(),
        sponsor: Some("alice@local".into()),
        connection: connection.into(),
        client: "10.0.0.1:5000".into(),
        opened: NOW.plus_secs(i64::from(n)),
        end: None,
    }
}

fn end(secs: i64) -> SessionEnd {
    SessionEnd { closed: NOW.plus_secs(secs), reason: "client".into(), operations: 3 }
}

#[test]
fn sessions_are_indexed() {
    let (directory, store) = store();
    let (one, two, three) = (
        session(1, "alice@local", "orders"),
        session(2, "bot@local for alice@local", "orders"),
        StoredSession { end: Some(end(4)), ..session(3, "bob@local", "ledger") },
    );
    for session in [&one, &two, &three] {
        store.session_opened(session.clone());
    }
    store.session_closed(two.id, end(60));
    store.flush_sessions();
    let two = StoredSession { end: Some(end(60)), ..two };

    let list = |filter: SessionFilter| store.sessions(&filter).unwrap();
    assert_eq!(list(SessionFilter::default()), [three.clone(), two.clone(), one.clone()]);
    assert_eq!(list(SessionFilter { live: Some(true), ..Default::default() }), [one.clone()]);
    assert_eq!(list(SessionFilter { live: Some(false), ..Default::default() }), [three.clone(), two.clone()]);
    assert_eq!(list(SessionFilter { who: Some("alice@local".into()), ..Default::default() }), [two.clone(), one.clone()]);
    assert_eq!(list(SessionFilter { connection: Some("ledger".into()), ..Default::default() }), [three.clone()]);
    assert_eq!(list(SessionFilter { limit: Some(1), ..Default::default() }), [three]);
    assert_eq!(again(&directory).session(two.id).unwrap(), Some(two));
    assert_eq!(store.session(SessionId::from_bytes([0; 16])).unwrap(), None);

    assert_eq!(store.abandon_sessions(NOW.plus_secs(99)).unwrap(), 1);
    let ended = store.session(one.id).unwrap().unwrap().end.unwrap();
    assert_eq!((ended.closed, &*ended.reason), (NOW.plus_secs(99), "unknown"));
    assert_eq!(store.sessions_dropped(), 0);
}

#[test]
fn a_session_never_waits_for_the_index() {
    let (_directory, store) = store();
    let held = store.db();
    let start = Instant::now();
    for n in 0..20_000u32 {
        let mut session = session(1, "alice@local", "orders");
        session.id = SessionId::from_bytes(u128::from(n).to_be_bytes());
        store.session_opened(session);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    let dropped = store.sessions_dropped();
    assert!(dropped >= 20_000 - 8192 - 512, "{dropped} were dropped");
    drop(held);
    store.flush_sessions();
    let kept = store.sessions(&SessionFilter { limit: Some(u32::MAX), ..Default::default() }).unwrap().len();
    assert_eq!(kept as u64 + store.sessions_dropped(), 20_000);
}

/// Waits for a directory that satisfies the test, and gives how long that took.
fn wait(receiver: &mut Receiver<Arc<Directory>>, test: impl Fn(&Directory) -> bool) -> Duration {
    let start = Instant::now();
    while !test(&receiver.borrow_and_update()) {
        assert!(start.elapsed() < Duration::from_secs(10), "the change was never seen");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

#[test]
fn changes_are_seen_whoever_makes_them() {
    let (directory, store) = with_alice_and_bot();
    let other = again(&directory);
    let mut watch = store.watch().unwrap();
    let alice_is = |disabled: bool| move |directory: &Directory| directory.principal(&key("alice")).unwrap().disabled == disabled;
    assert!(alice_is(false)(&watch.borrow()), "the first snapshot is there at once");

    other.disable_principal(&key("alice"), NOW).unwrap();
    assert!(wait(&mut watch, alice_is(true)) < Duration::from_millis(1500));
    store.enable_principal(&key("alice")).unwrap();
    wait(&mut watch, alice_is(false));

    other.record_token(&token("t1", "alice", None, 600)).unwrap();
    other.revoke_token("local", "t1", "cli", NOW).unwrap();
    assert!(wait(&mut watch, |directory| directory.is_revoked(&"local".into(), &"t1".into())) < Duration::from_millis(1500));
    assert_eq!(**watch.borrow(), store.directory().unwrap());
}

#[test]
fn only_what_matters_wakes_the_watcher() {
    let (directory, store) = with_alice_and_bot();
    let other = again(&directory);
    let mut watch = store.watch().unwrap();
    watch.mark_unchanged();
    other.session_opened(session(1, "alice@local", "orders"));
    other.flush_sessions();
    store.record_token(&token("t1", "alice", None, 600)).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(!watch.has_changed().unwrap());
    // A new signing key does.
    other.rotate_issuer_key(NOW).unwrap();
    let start = Instant::now();
    while !watch.has_changed().unwrap() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_watcher_that_cannot_read_ends() {
    let (directory, store) = with_alice_and_bot();
    let watch = store.watch().unwrap();
    let other = rusqlite::Connection::open(directory.path().join("data/claviger.db")).unwrap();
    other.execute("ALTER TABLE change RENAME TO changed_by_another_version", []).unwrap();
    let start = Instant::now();
    while watch.has_changed().is_ok() {
        assert!(start.elapsed() < Duration::from_secs(30), "it goes on, and nobody knows that it sees nothing");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_watcher_ends_with_the_store() {
    let (_directory, store) = with_alice_and_bot();
    let watch = store.watch().unwrap();
    drop(store);
    let start = Instant::now();
    while watch.has_changed().is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
}
