//! The gateway is killed outright, again and again, and no acknowledged statement is missing from the record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::harness::{Gateway, Major, Server, eventually, frame, run, sqlstate, terminated};
use crate::record::{sessions, statements};

#[test]
fn kill_nine_loses_nothing_acknowledged() {
    run(kills(2));
}

/// Kills the gateway so many times under load, and checks the record each time.
pub(crate) async fn kills(rounds: u32) {
    let server = server!(Major::V15);
    let mut gateway = Gateway::before(&server);
    let next = Arc::new(AtomicU32::new(1000));
    let mut acknowledged = BTreeSet::new();
    let mut known = 0;
    for round in 0..rounds {
        acknowledged
            .extend(load_until_killed(&mut gateway, &next, Duration::from_millis(u64::from(300 + round * 77 % 400))).await);
        gateway.start();
        let report = gateway.verify();
        assert_eq!(report["open_operations"], 0, "what was under way has an outcome, if only `unknown`");
        assert_eq!(gateway.leaves_of("RECOVERY").len(), usize::try_from(round).unwrap() + 1);
        let sessions = sessions(&gateway);
        let recorded: BTreeSet<u32> =
            sessions[known..].iter().flat_map(|id| statements(&gateway, id)).filter_map(|text| inserted(&text)).collect();
        known = sessions.len();
        let fresh: BTreeSet<u32> = acknowledged.iter().copied().filter(|id| !recorded.contains(id)).collect();
        assert!(fresh.is_empty(), "acknowledged and not on record: {fresh:?}");
        // Nor did anything happen upstream that is not on record.
        let there = rows(&server).await;
        assert!(acknowledged.is_subset(&there), "acknowledged and not there");
        let unrecorded: Vec<_> = there.difference(&recorded).collect();
        assert!(unrecorded.is_empty(), "there and not on record: {unrecorded:?}");
        server.admin("bank").await.batch_execute("delete from customers where name = 'load'").await.unwrap();
        acknowledged.clear();
    }
    gateway.session("bank", "alice").await.batch_execute("select 1").await.unwrap();
    assert!(gateway.stop().success());
    gateway.verify();
}

/// Inserts from several sessions, kills the gateway after some time; the ids whose insertion was acknowledged.
async fn load_until_killed(gateway: &mut Gateway, next: &Arc<AtomicU32>, after: Duration) -> Vec<u32> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut loaders = Vec::new();
    for n in 0..4 {
        let session = gateway.session("bank", "alice").await;
        let (next, stop) = (next.clone(), stop.clone());
        loaders.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let id = next.fetch_add(1, Ordering::Relaxed);
                let insert = format!("insert into customers values ({id}, 'load', null)");
                let statement = if n % 2 == 0 { insert } else { format!("begin; {insert}; commit") };
                if session.batch_execute(&statement).await.is_err() {
                    break;
                }
                acknowledged.push(id);
            }
            acknowledged
        }));
    }
    tokio::time::sleep(after).await;
    gateway.kill();
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for loader in loaders {
        acknowledged.extend(loader.await.unwrap());
    }
    assert!(acknowledged.len() > 10, "there was a load: {}", acknowledged.len());
    acknowledged
}

fn inserted(statement: &str) -> Option<u32> {
    let (_, rest) = statement.split_once("values (")?;
    rest.split_once(',')?.0.parse().ok()
}

async fn rows(server: &Server) -> BTreeSet<u32> {
    // What was under way when the gateway died may still be finishing.
    eventually("the upstream has noticed", Duration::from_secs(5), async || server.gateway_sessions().await == "0").await;
    let rows = server.ask("bank", "select id from customers where name = 'load'").await;
    rows.iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect()
}

#[test]
fn an_orderly_stop_leaves_nothing_open() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::before(&server);
        let token = gateway.token(&["alice"]);
        let mut idle = gateway.login("bank", "alice", &token).await.unwrap();
        let busy = gateway.login("bank", "alice", &token).await.unwrap();
        let sleeping = tokio::spawn(async move { busy.batch_execute("select pg_sleep(60)").await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(gateway.stop().success());
        assert_eq!(sqlstate(&idle.goodbye(Duration::from_secs(2)).await.unwrap()), "57P01");
        assert!(sleeping.await.unwrap().is_err());
        let report = gateway.verify();
        assert_eq!((&report["open_operations"], &report["not_yet_checkpointed"]), (&0.into(), &0.into()));
        assert_eq!(gateway.leaves_of("SESSION_CLOSE").len(), 2);
        eventually("what ran upstream has ended", Duration::from_secs(5), async || server.gateway_sessions().await == "0").await;
        gateway.start();
        assert!(gateway.leaves_of("RECOVERY").is_empty(), "there was nothing to mend");
        gateway.login("bank", "alice", &token).await.expect("tokens outlive the process");
    });
}

#[test]
fn the_store_survives_too() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::before(&server);
        let (revoked, kept) = (gateway.token(&["alice"]), gateway.token(&["alice"]));
        gateway.login("bank", "alice", &revoked).await.unwrap();
        let id = gateway.leaves_of("SESSION_OPEN")[0]["token"].as_str().unwrap().to_owned();
        gateway.must(&["token", "revoke", &id]);
        gateway.kill();
        gateway.start();
        assert!(gateway.login("bank", "alice", &revoked).await.is_err(), "a revocation outlives the process");
        gateway.login("bank", "alice", &kept).await.unwrap();
        gateway.verify();
    });
}

#[test]
fn one_data_directory_has_one_gateway() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        // Another one with the same data, on other ports.
        let toml = std::fs::read_to_string(gateway.path("claviger.toml")).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let data = format!("data = \"{}\"", gateway.path("data").display());
        let toml =
            toml.replace("data = \"data\"", &data).replace("127.0.0.1:2", "127.0.0.1:1").replace("127.0.0.1:3", "127.0.0.1:1");
        std::fs::write(elsewhere.path().join("claviger.toml"), toml).unwrap();
        for file in ["cert.pem", "key.pem", "bank.password"] {
            std::fs::copy(gateway.path(file), elsewhere.path().join(file)).unwrap();
        }
        let second =
            std::process::Command::new(crate::harness::binary()).args(["serve", "--config"]).arg(elsewhere.path()).output();
        let second = second.unwrap();
        let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains("in use"), "{complaint}");
        gateway.session("bank", "alice").await.batch_execute("select 1").await.unwrap();
        gateway.verify();
    });
}

#[test]
fn stopping_does_not_wait_for_who_does_not_read() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::before(&server);
        let mut stuck = gateway.raw("bank");
        stuck.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
        stuck.send(&frame(b'Q', &terminated("select repeat('x', 1000) from generate_series(1, 1000000)")));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = std::time::Instant::now();
        assert!(gateway.stop().success());
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}: it waited for the drain to end", began.elapsed());
        assert_eq!(gateway.verify()["open_operations"], 0);
        let upstream = async || server.gateway_sessions().await == "0";
        eventually("what ran upstream has ended", Duration::from_secs(5), upstream).await;
    });
}

#[test]
fn an_upstream_that_dies_leaves_what_is_not_known_unknown() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let session = gateway.session("bank", "alice").await;
        session.batch_execute("begin; insert into customers values (90, 'x', null)").await.unwrap();
        let (slept, ()) = tokio::join!(session.batch_execute("select pg_sleep(60); commit"), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.signal("QUIT");
        });
        assert!(slept.is_err());
        eventually("the end is on record", Duration::from_secs(5), async || gateway.leaves_of("SESSION_CLOSE").len() == 1).await;
        let report = gateway.verify();
        assert_eq!((&report["open_operations"], &report["problems"]), (&0.into(), &serde_json::json!([])));
        let statuses: Vec<_> = gateway.leaves_of("OUTCOME").iter().map(|leaf| leaf["status"].clone()).collect();
        assert!(statuses[0] == "completed" && statuses[1] != "completed", "{statuses:?}");
        let ended: Vec<_> = gateway.leaves_of("TX_END").iter().map(|leaf| leaf["result"].clone()).collect();
        assert!(!ended.contains(&"commit".into()), "{ended:?}");
    });
}
