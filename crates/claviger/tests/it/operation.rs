//! What whoever runs the gateway sees of it, and does to it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Gateway, Major, eventually, run};
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
        assert_eq!(bank("claviger_response_added_seconds_count", ""), 5.0);
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
