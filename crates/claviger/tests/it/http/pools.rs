//! Sockets to upstreams that one session leaves and another takes.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use super::{Rig, Wire};
use crate::harness::{eventually, run};

/// By which sockets requests below this path have reached the upstream.
fn peers(rig: &Rig, path: &str) -> Vec<u64> {
    rig.seen(path).iter().map(|seen| seen["peer"].as_u64().unwrap()).collect()
}

#[test]
fn a_session_takes_the_socket_that_another_has_left() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = rig.dial();
        for (token, name) in [(&rig.token, "one"), (&rig.bob, "two"), (&rig.token, "three")] {
            let answer = wire.ask(rig.request_of(token, &format!("GET /v1/same/{name}"), "", ""));
            assert_eq!((answer.status, &answer.json()["line"]), (200, &json!(format!("GET /v1/same/{name} HTTP/1.1"))));
        }
        let same = peers(&rig, "/same");
        assert!(same.len() == 3 && same.iter().all(|peer| *peer == same[0]), "{same:?}");
        // Clients that do not keep theirs are the more in number, with and without a word about it; each is a session of its own.
        for n in 0..24 {
            let more = if n % 2 == 0 { "Connection: close\r\n" } else { "" };
            let mut wire = rig.dial();
            assert_eq!(wire.ask(rig.request(&format!("GET /v1/each/{n}"), more, "")).status, 200);
        }
        let each: HashSet<_> = peers(&rig, "/each").into_iter().collect();
        assert!(each.len() < 12, "as many as threads, at the most: {each:?}");
        assert_eq!(rig.leaves("SESSION_OPEN").len(), 3 + 24);
        // Another connection has sockets of its own, though its upstream is the same.
        assert_eq!(Wire::to(rig.shared).ask(rig.request("GET /keyed/v1/other", "", "")).status, 200);
        assert!(!each.contains(&peers(&rig, "/other")[0]));
        rig.assert_upstream_saw_no_token();
        rig.gateway.verify();
    });
}

#[test]
fn a_socket_that_is_kept_is_inside_tls_still() {
    run(async {
        // Its upstream is the gateway itself, inside TLS, as bob.
        let Some(rig) = Rig::start("") else { return };
        for n in 0..6 {
            assert_eq!(Wire::to(rig.shared).ask(rig.request("GET /outer/api/v1/status/200", "", "")).status, 200, "{n}");
        }
        let opened = rig.leaves("SESSION_OPEN");
        let inner: Vec<_> = opened.iter().filter(|leaf| leaf["connection"] == "api").collect();
        let outer: Vec<_> = opened.iter().filter(|leaf| leaf["connection"] == "outer").collect();
        assert!(outer.len() == 6 && outer.iter().all(|leaf| leaf["upstream_tls"] == "TLSv1.3"), "{outer:?}");
        // One token on one socket is one session.
        let clients: HashSet<_> = inner.iter().map(|leaf| leaf["client"].to_string()).collect();
        assert!(clients.len() < 6, "{inner:?}");
        rig.gateway.verify();
    });
}

#[test]
fn what_is_not_at_its_end_is_not_left_to_others() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        for path in ["/v1/left/closing", "/v1/left/broken", "/v1/left/early", "/v1/left/endless"] {
            let mut wire = rig.dial();
            wire.send(rig.request(&format!("POST {path}"), "Content-Length: 5\r\n", "") + "12345");
            assert!(wire.until(b"\r\n\r\n").is_some());
        }
        eventually("all are over", Duration::from_secs(10), async || rig.leaves("SESSION_CLOSE").len() == 4).await;
        for _ in 0..4 {
            assert_eq!(rig.dial().ask(rig.request("GET /v1/after", "", "")).status, 200);
        }
        let (left, after) = (peers(&rig, "/left"), peers(&rig, "/after"));
        assert!(after.iter().all(|peer| !left.contains(peer)), "{left:?} {after:?}");
    });
}

#[test]
fn a_socket_that_its_upstream_has_closed_is_taken_by_nobody() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        for n in 0..3 {
            assert_eq!(rig.dial().ask(rig.request("GET /v1/brief", "", "")).text(), "and then it closes", "{n}");
            tokio::time::sleep(Duration::from_millis(600)).await;
            let sent = rig.request("POST /v1/once", "Connection: close\r\n", "once");
            assert_eq!(rig.dial().ask(sent).status, 200, "{n}");
        }
        assert_eq!(rig.seen("/once").len(), 3);
        assert!(rig.leaves("OUTCOME").iter().all(|leaf| leaf["status"] == "completed"));
    });
}

#[test]
fn where_upstreams_bear_so_many_none_is_kept_in_waiting() {
    run(async {
        let Some(rig) = Rig::start("upstream_connections = 1") else { return };
        let (mut wire, mut other) = (rig.dial(), rig.dial());
        for n in 0..3 {
            assert_eq!(wire.ask(rig.request("GET /v1/limited", "Connection: close\r\n", "")).status, 200, "{n}");
            assert_eq!(other.ask(rig.request("GET /v1/limited", "Connection: close\r\n", "")).status, 200, "{n}");
            (wire, other) = (rig.dial(), rig.dial());
        }
        let peers = peers(&rig, "/limited");
        assert_eq!(peers.iter().collect::<HashSet<_>>().len(), peers.len());
    });
}
