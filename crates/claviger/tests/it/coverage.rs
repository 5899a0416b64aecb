//! Whoever comes to the upstream by another road is seen.

use std::process::Output;

use serde_json::Value;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Server, run};

on_each_server!(who_comes_by_another_road_is_listed);

fn gateway(server: &Server) -> Gateway {
    let mut gateway = Gateway::configure(&[Conn::to("bank", server)], PERMIT_ALL, "");
    gateway.add(&["user", "alice"]);
    gateway.add(&["user", "dana", "--group", "dbas"]);
    gateway.start();
    gateway
}

fn coverage(gateway: &Gateway, token: &str) -> (Output, Value) {
    let output = gateway.through_api(token, &["coverage", "bank", "--json"]);
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, report)
}

async fn who_comes_by_another_road_is_listed(major: Major) {
    let server = server!(major);
    server.admin("postgres").await.batch_execute("grant pg_read_all_stats to keeper").await.unwrap();
    let gateway = gateway(&server);
    let dana = gateway.token(&["dana"]);
    let sessions = [gateway.session("bank", "alice").await, gateway.session("bank", "alice").await];
    let (output, report) = coverage(&gateway, &dana);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        (&report["through"], &report["around"], &report["hidden"]),
        (&2.into(), &Value::Array(vec![]), &Value::Array(vec![]))
    );

    // Somebody with another role, and somebody with the gateway's own who calls himself as the gateway would.
    let admin = server.admin("bank").await;
    admin.batch_execute("set application_name = 'claviger:alice:0123'").await.unwrap();
    let (output, report) = coverage(&gateway, &dana);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let around = report["around"].as_array().unwrap();
    assert_eq!((around.len(), &report["through"]), (1, &2.into()), "{report}");
    let pid: i64 = admin.value("select pg_backend_pid()").await.parse().unwrap();
    assert_eq!(
        (
            around[0]["process"].as_i64(),
            around[0]["user"].as_str(),
            around[0]["address"].as_str(),
            around[0]["application"].as_str()
        ),
        (Some(pid), Some("postgres"), Some("127.0.0.1"), Some("claviger:alice:0123"))
    );
    let rules = &report["rules"];
    for (rule, words) in [
        ("nftables", vec!["127.0.0.1"]),
        ("pg_hba", vec!["127.0.0.1/32", "\"keeper\"", "\"bank\""]),
        ("security_group", vec!["127.0.0.1/32"]),
    ] {
        let text = rules[rule].as_str().unwrap();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(rule == "pg_hba" || text.contains(&server.port.to_string()), "{text}");
    }
    let output = gateway.through_api(&dana, &["coverage", "bank"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("postgres") && text.contains("claviger:alice:0123") && text.contains("tcp dport"), "{text}");
    drop(sessions);

    let acts = gateway.leaves_of("ADMIN");
    let looked: Vec<_> = acts.iter().filter(|leaf| leaf["action"] == "connection.coverage").collect();
    assert_eq!(looked.len(), 3, "each look is on record");
    assert!(looked.iter().all(|leaf| leaf["who"] == "dana@local" && leaf["target"] == "bank" && leaf["verdict"] == "permit"));
}

#[test]
fn a_role_that_may_not_see_says_so() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server);
        let dana = gateway.token(&["dana"]);
        let _session = gateway.session("bank", "alice").await;
        assert_eq!(coverage(&gateway, &dana).0.status.code(), Some(0), "its own sessions it may see");
        let admin = server.admin("bank").await;
        let (output, report) = coverage(&gateway, &dana);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let pid: i64 = admin.value("select pg_backend_pid()").await.parse().unwrap();
        assert_eq!(
            (report["hidden"][0]["process"].as_i64(), report["hidden"][0]["user"].as_str()),
            (Some(pid), Some("postgres"))
        );
        assert!(String::from_utf8_lossy(&output.stderr).contains("pg_read_all_stats"));
    });
}

#[test]
fn only_who_may_look_does() {
    run(async {
        let server = server!(Major::V15, &["log_connections=on"]);
        let gateway = gateway(&server);
        let received = server.log().matches("connection received").count();
        let (output, _) = coverage(&gateway, &gateway.token(&["alice"]));
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert_eq!(server.log().matches("connection received").count(), received);
        let looked = gateway.leaves_of("ADMIN").into_iter().find(|leaf| leaf["action"] == "connection.coverage").unwrap();
        assert_eq!((&looked["who"], &looked["verdict"]), (&"alice@local".into(), &"deny".into()));
        let output = gateway.through_api(&gateway.token(&["dana"]), &["coverage", "nowhere"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    });
}
