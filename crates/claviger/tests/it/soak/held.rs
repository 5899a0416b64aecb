//! Statements that wait for people, in numbers: they cost little, and nobody else is held up.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::client::{ask, enter, message, value};
use super::ground::{Bystander, Ground};
use super::off_boarding::HOLDS;
use super::{figure, many};
use crate::harness::{Conn, Major, PERMIT_ALL, eventually, run};

const CROWD: usize = 1000;
/// How long others are watched in each phase.
const WATCH: Duration = Duration::from_secs(10);
/// How long it takes until those who have come are at rest.
const SETTLE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(60);

#[test]
#[ignore = "minutes"]
fn a_thousand_statements_held_at_once() {
    run(async {
        let server = server!(Major::V15, &["max_connections=1100"]);
        let admin = server.admin("bank").await;
        admin.batch_execute("create table sink as select generate_series(1, 3) as n; grant all on sink to keeper").await.unwrap();
        let patient = Conn::to("patient", &server).tls("disable", None).plaintext().set("hold = \"wait\"");
        let more = "[approvals]\nwait = \"30m\"\npending_per_principal = 1000\n";
        let ground = Ground::prepared(&server, &[patient], more, |gateway| {
            gateway.write_policies(&format!("{PERMIT_ALL}\n{HOLDS}"));
            gateway.add(&["user", "dana", "--group", "dbas"]);
        })
        .await;
        let (gateway, dana) = (&ground.gateway, ground.gateway.token(&["dana"]));
        let mut sockets: Vec<TcpStream> = many(CROWD, 8, async |_| {
            let mut socket = enter(gateway.port("patient"), "patient", &ground.token).await.unwrap();
            assert_eq!(value(&mut socket, "select 1").await.unwrap(), "1");
            socket
        })
        .await;
        let control = Bystander::direct(&server);
        sleep(SETTLE).await;
        ground.seen();
        control.take();
        sleep(WATCH).await;
        let (idle, before, direct_before) = (ground.grown(), ground.seen(), control.take());

        let began = Instant::now();
        for (n, socket) in sockets.iter_mut().enumerate() {
            let words = format!("delete from sink where n > 0 /* the {n}th of many, with some more words, as a statement has */");
            ask(socket, &words).await.unwrap();
        }
        for socket in &mut sockets {
            let told = timeout(SOON, message(socket)).await.expect("it is told that it waits").unwrap();
            assert_eq!(told.0, b'N');
        }
        let took = began.elapsed();
        let held = async || gateway.metric("claviger_operations_held{connection=\"patient\"}");
        assert_eq!(held().await, CROWD as f64);
        // Whoever was held up last has been told by now.
        sleep(Duration::from_millis(100)).await;
        let (asking, _) = (ground.seen(), control.take());
        // The gateway asks the upstream about each of them meanwhile.
        sleep(WATCH).await;
        let (memory, during, direct) = (ground.grown().saturating_sub(idle), ground.seen(), control.take());
        let each = memory as f64 / CROWD as f64;
        figure(&format!(
            "{CROWD} statements held at once: {each:.1} KiB each beside its session; asked within {took:.1?}; bystander's p50/p99/max \
             with as many idle sessions {before}, while they were asked {asking}, while all were held {during}; \
             of one straight to the server {direct_before}, then {direct}"
        ));
        assert!(each <= 64.0, "{memory} KiB for {CROWD} held statements");
        for (who, before, during) in [("others", &before, &during), ("those of the server", &direct_before, &direct)] {
            assert!(during.p99 < before.p99 * 10 + Duration::from_millis(10), "{who} are held up: {during}, before {before}");
        }
        // All of them come at once, on one thread, and each is understood, recorded and asked for: others wait for one round of that.
        assert!(asking.max < Duration::from_secs(1), "others are held up while so many ask: {asking}");

        // Reviewers can work among so many: one runs, one fails, and no other.
        let looked = Instant::now();
        let listed = gateway.through_api(&dana, &["approvals", "list", "--json"]);
        let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
        figure(&format!("a list of {} requests took {:.0?}", listed.len(), looked.elapsed()));
        assert_eq!(listed.len(), CROWD);
        let show = ["approvals", "show", listed[CROWD - 1]["id"].as_str().unwrap(), "--json"];
        let is_known = async || {
            let shown: Value = serde_json::from_slice(&gateway.through_api(&dana, &show).stdout).unwrap();
            shown["estimate"]["rows"].is_u64()
        };
        eventually("the last is looked into", SOON, is_known).await;
        for (verdict, request) in ["deny", "approve"].iter().zip(&listed) {
            let reviewed = gateway.through_api(&dana, &["approvals", verdict, request["id"].as_str().unwrap()]);
            assert!(reviewed.status.success(), "{}", String::from_utf8_lossy(&reviewed.stderr));
        }
        eventually("one has run", SOON, async || server.value("bank", "select count(*) from sink").await == "0").await;
        assert_eq!(held().await, (CROWD - 2) as f64);

        let gone = Instant::now();
        drop(sockets);
        eventually("nothing is held any more", SOON, async || held().await == 0.0).await;
        figure(&format!("all of their clients gone, the last was withdrawn after {:.1?}", gone.elapsed()));
        eventually("they are gone upstream", SOON, async || server.gateway_sessions().await == "1").await;
        ground.recovers("held statements", &during).await;
        gateway.verify();
    });
}
