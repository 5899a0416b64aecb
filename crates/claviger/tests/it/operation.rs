//! What whoever runs the gateway sees of it, and does to it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Conn, Gateway, KEEPER_PASSWORD, Major, PERMIT_ALL, eventually, run, sqlstate, unique};
use crate::identity::refusal;

const SOON: Duration = Duration::from_secs(2);

#[test]
fn metrics_count_what_happened() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        refusal(&gateway, "bank", "nobody");
        let session = gateway.session("bank", "alice").await;
        for _ in 0..3 {
            session.batch_execute("select repeat('x', 1000)").await.unwrap();
        }
        session.query("select name from customers where id = $1", &[&1i32]).await.unwrap();
        let bank = |family: &str, more: &str| gateway.metric(&format!("{family}{{connection=\"bank\"{more}}}"));
        // Three simple queries, and a Parse and a portal.
        assert_eq!(bank("claviger_operations_total", ",verdict=\"permit\""), 5.0);
        assert_eq!(bank("claviger_operations_total", ",verdict=\"deny\""), 0.0);
        assert_eq!(bank("claviger_request_added_seconds_count", ""), 5.0);
        // Counted when the last byte has been handed to the socket, so the client may be ahead of it.
        eventually("the last answer is counted", SOON, async || bank("claviger_response_added_seconds_count", "") == 5.0).await;
        assert!(bank("claviger_request_added_seconds_sum", "") > 0.0);
        assert!(bank("claviger_client_sent_bytes_total", "") > 3000.0);
        assert!(bank("claviger_client_received_bytes_total", "") > 90.0);
        assert_eq!((bank("claviger_sessions", ""), bank("claviger_sessions_opened_total", "")), (1.0, 1.0));
        assert_eq!(gateway.metric("claviger_sessions_refused_total{connection=\"\",reason=\"token.malformed\"}"), 1.0);
        drop(session);
        eventually("the session is over", SOON, async || bank("claviger_sessions", "") == 0.0).await;
        assert_eq!(bank("claviger_sessions_closed_total", ",reason=\"client\""), 1.0);
        assert_eq!(gateway.metric("claviger_audit_leaves"), gateway.leaves().len() as f64);
        eventually("all is flushed", SOON, async || gateway.metric("claviger_audit_unflushed_leaves") == 0.0).await;
        assert_eq!(gateway.metric("claviger_audit_unflushed_age_seconds"), 0.0);
        assert!(gateway.metric("claviger_audit_flush_seconds_count") > 0.0);
        assert!(gateway.metric("claviger_audit_free_bytes") > 0.0);
    });
}

#[test]
fn metrics_are_well_formed_and_name_nobody() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let token = gateway.token(&["alice"]);
        let session = gateway.login("bank", "alice", &token).await.unwrap();
        session.batch_execute("select 'what was said'").await.unwrap();
        let (status, text) = gateway.status("/metrics");
        assert_eq!(status, 200);
        let documented = std::fs::read_to_string("../../docs/operations.md").unwrap();
        let mut families = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind) && families.insert(name.to_owned()), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                assert!(documented.contains(&format!("`{name}`")), "docs/operations.md does not name {name}");
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = sample.split('{').next().unwrap();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
                assert!(families.contains(name) || families.contains(family), "{line} belongs to no family");
            }
        }
        for word in ["alice", "what was said", "127.0.0.1"].into_iter().chain(token.split('.')) {
            assert!(!text.contains(word), "the metrics say `{word}`");
        }
    });
}

#[test]
fn health_and_readiness_are_told_apart() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let (status, text) = gateway.status("/healthz");
        let health: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &health["ok"]), (200, &Value::Bool(true)));
        let (status, text) = gateway.status("/readyz");
        let health: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &health["ok"]), (200, &Value::Bool(true)));
        let names: Vec<_> = health["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["listeners", "policy", "record", "store", "open"]);
        assert_eq!(gateway.status("/nowhere").0, 404);
    });
}

/// Whether a port still takes connections.
fn is_open(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn told_to_stop_it_lets_transactions_end_and_nobody_in() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::before(&server);
        let token = gateway.token(&["alice"]);
        let login = async || gateway.login("bank", "alice", &token).await.unwrap();
        let (mut idle, mut busy, running) = (login().await, login().await, login().await);
        busy.batch_execute("begin; insert into customers values (50, 'in time', null)").await.unwrap();
        let statement = tokio::spawn(async move {
            let result = running.batch_execute("select pg_sleep(1); insert into customers values (51, 'as well', null)").await;
            (result, running)
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.signal("TERM");
        let error = idle.goodbye(SOON).await.expect("an idle session ends with a word");
        assert_eq!((sqlstate(&error), error.as_db_error().unwrap().severity()), ("57P01", "FATAL"));
        let (status, text) = gateway.status("/readyz");
        let health: Value = serde_json::from_str(&text).unwrap();
        let open = health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "open").unwrap();
        assert_eq!((status, &open["ok"]), (503, &Value::Bool(false)));
        assert_eq!(gateway.status("/healthz").0, 200, "it is alive while it drains");
        eventually("nobody new is let in", SOON, async || !is_open(gateway.port("bank"))).await;

        busy.batch_execute("insert into customers values (52, 'the same transaction', null)").await.unwrap();
        busy.batch_execute("commit").await.expect("an open transaction may end");
        assert_eq!(sqlstate(&busy.goodbye(SOON).await.unwrap()), "57P01");
        let (result, mut running) = statement.await.unwrap();
        result.expect("a running statement may end");
        assert_eq!(sqlstate(&running.goodbye(SOON).await.unwrap()), "57P01");
        assert!(gateway.wait().success());
        let rows = server.value("bank", "select string_agg(id::text, ',' order by id) from customers where id >= 50").await;
        assert_eq!(rows, "50,51,52");
        let closed = gateway.leaves_of("SESSION_CLOSE");
        assert_eq!(closed.iter().filter(|leaf| leaf["detail"] == "gateway.stop").count(), 3);
        let report = gateway.verify();
        assert_eq!(report["open_operations"], 0, "{report}");
    });
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    /// Gives its body when the gateway has begun to stop.
    struct Slow<'a>(&'a Gateway, &'static [u8]);
    impl std::io::Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if !self.1.is_empty() {
                self.0.signal("TERM");
                while is_open(self.0.port("bank")) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                std::thread::sleep(Duration::from_millis(300));
            }
            std::io::Read::read(&mut self.1, buffer)
        }
    }
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::before(&server);
        let status = gateway.post_slowly("/oauth/token", &mut Slow(&gateway, b"grant_type=none"));
        assert_eq!(status.expect("the answer comes"), 400);
        assert!(gateway.wait().success());
        gateway.verify();
    });
}

#[test]
fn patience_has_an_end_and_a_second_word_is_the_last() {
    run(async {
        let server = server!(Major::V15);
        for (drain, again) in [("1s", false), ("10m", true)] {
            let limits = format!("[limits]\ndrain = \"{drain}\"\n");
            let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, &limits);
            gateway.add(&["user", "alice"]);
            gateway.start();
            let mut session = gateway.session("bank", "alice").await;
            session.batch_execute("begin; insert into customers values (60, 'never', null)").await.unwrap();
            let sleeper = gateway.session("bank", "alice").await;
            let slept = tokio::spawn(async move { sleeper.batch_execute("select pg_sleep(600)").await });
            tokio::time::sleep(Duration::from_millis(200)).await;
            gateway.signal("TERM");
            if again {
                eventually("nobody new is let in", SOON, async || !is_open(gateway.port("bank"))).await;
                session.batch_execute("select 1").await.expect("the transaction is open still");
                gateway.signal("TERM");
            }
            assert_eq!(sqlstate(&session.goodbye(Duration::from_secs(5)).await.unwrap()), "57P01");
            assert_eq!(sqlstate(&slept.await.unwrap().unwrap_err()), "57P01");
            assert!(gateway.wait().success());
            eventually("what ran upstream is cancelled", SOON, async || server.gateway_sessions().await == "0").await;
            assert_eq!(server.value("bank", "select count(*) from customers where id = 60").await, "0");
            let outcomes = gateway.leaves_of("OUTCOME");
            assert_eq!(outcomes.last().unwrap()["status"], "unknown");
            gateway.verify();
        }
    });
}

#[test]
fn a_session_can_be_ended_gently_or_at_once() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, "");
        gateway.add(&["user", "alice"]);
        gateway.add(&["user", "dana", "--group", "dbas"]);
        gateway.start();
        let dana = gateway.token(&["dana"]);
        let kill = |index: usize, more: &[&str]| {
            let opened = gateway.leaves_of("SESSION_OPEN");
            let id = opened[index]["session"].as_str().unwrap().to_owned();
            let output = gateway.through_api(&dana, &[&["sessions", "kill", id.as_str()], more].concat());
            assert!(output.status.success(), "{output:?}");
        };
        let (mut gently, mut at_once) = (gateway.session("bank", "alice").await, gateway.session("bank", "alice").await);
        for session in [&gently, &at_once] {
            session.batch_execute("begin").await.unwrap();
        }
        kill(0, &["--drain", "--reason", "make way"]);
        kill(1, &[]);
        assert_eq!(sqlstate(&at_once.goodbye(SOON).await.unwrap()), "57P01");
        gently.batch_execute("insert into customers values (70, 'gently', null)").await.unwrap();
        gently.batch_execute("commit").await.unwrap();
        let error = gently.goodbye(SOON).await.unwrap();
        assert_eq!((sqlstate(&error), error.as_db_error().unwrap().message()), ("57P01", "make way"));
        assert_eq!(server.value("bank", "select count(*) from customers where id = 70").await, "1");
    });
}

/// A session with every secret there is in it, at the most talkative setting: none of them is in the gateway's own log.
#[test]
fn the_log_holds_no_secret_and_no_statement() {
    run(async {
        let server = server!(Major::V15);
        for format in ["text", "json"] {
            let more = format!("[log]\nformat = \"{format}\"\n");
            let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, &more);
            gateway.add(&["user", "alice"]);
            gateway.environment("CLAVIGER_LOG", "trace");
            gateway.start();
            let token = gateway.token(&["alice"]);
            let session = gateway.login("bank", "alice", &token).await.unwrap();
            let (said, given, found, prepared) = (unique("said"), unique("given"), unique("found"), unique("prepared"));
            session.batch_execute(&format!("select '{said}'")).await.unwrap();
            let statement = session.prepare(&format!("select $1::text, '{prepared}'")).await.unwrap();
            session.query(&statement, &[&given]).await.unwrap();
            session.batch_execute(&format!("create temp table t as select '{found}'::text as v; select v from t")).await.unwrap();
            let wrong = unique("wrong");
            session.batch_execute(&format!("select {wrong}")).await.unwrap_err();
            refusal(&gateway, "bank", &unique("stranger"));
            let _ = gateway.status("/metrics");
            drop(session);
            assert!(gateway.reload(|toml| toml).await);
            assert!(gateway.stop().success());
            let log = gateway.log();
            assert!(log.contains("in force") && log.contains("stopping"), "{log}");
            let token: Vec<_> = token.split('.').skip(1).map(str::to_owned).collect();
            for secret in [said, given, found, prepared, wrong, KEEPER_PASSWORD.to_owned()].iter().chain(&token) {
                assert!(!log.contains(secret.as_str()), "the log holds `{secret}`");
            }
            if format == "json" {
                for line in log.lines() {
                    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                    assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
                }
            }
        }
    });
}
