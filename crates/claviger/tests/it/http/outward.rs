//! HTTP/2 with upstreams: the upstream is the gateway itself, before the server.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Rig, Wire};
use crate::harness::{Api, eventually, run, run_program};

fn sessions<'a>(opened: &'a [Value], connection: &str) -> Vec<&'a Value> {
    opened.iter().filter(|leaf| leaf["connection"] == json!(connection)).collect()
}

/// By how many sockets sessions of this connection have come.
fn sockets(opened: &[Value], connection: &str) -> usize {
    sessions(opened, connection).iter().map(|leaf| leaf["client"].to_string()).collect::<HashSet<_>>().len()
}

#[test]
fn programs_work_as_ever() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        for base in ["doubled/api", "plainly"] {
            let base = format!("http://127.0.0.1:{}/{base}", rig.shared);
            run_program("http_clients", &[("API_BASE", &base), ("API_KEY", &rig.token), ("API_OTHER_KEY", &rig.bob)]);
        }
        rig.assert_upstream_saw_no_token();
        assert!(rig.seen("/forbidden").is_empty());
        let opened = rig.leaves("SESSION_OPEN");
        let outer = sessions(&opened, "doubled");
        assert!(!outer.is_empty() && outer.iter().all(|leaf| leaf["upstream_tls"] == "TLSv1.3"));
        // What the sessions before ask goes through one socket for each thread.
        let inner = sockets(&opened, "api");
        assert!(inner < outer.len(), "{inner} sockets for {} sessions", outer.len());
        rig.gateway.verify();
    });
}

#[test]
fn a_stream_that_is_not_wanted_any_more_is_reset_there_too() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = Wire::to(rig.shared);
        wire.send(rig.request("GET /doubled/api/v1/endless", "", ""));
        assert!(wire.until(b"data: {\"n\": 0}").is_some());
        let mut half = Wire::to(rig.shared);
        half.send(rig.request("POST /doubled/api/v1/half", "Content-Length: 10\r\n", "") + "half");
        eventually("both have left", Duration::from_secs(10), async || rig.leaves("INTENT").len() == 4).await;
        drop((wire, half));
        eventually("all four end", Duration::from_secs(10), async || {
            rig.leaves("OUTCOME").iter().filter(|leaf| leaf["status"] == "unknown").count() == 4
        })
        .await;
        // The socket goes on with others.
        let before = sockets(&rig.leaves("SESSION_OPEN"), "api");
        for _ in 0..3 {
            assert_eq!(Wire::to(rig.shared).ask(rig.request("GET /doubled/api/v1/status/200", "", "")).status, 200);
        }
        assert!(sockets(&rig.leaves("SESSION_OPEN"), "api") < before + 3);
        rig.gateway.verify();
    });
}

#[test]
fn what_an_upstream_cuts_is_cut() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = Wire::to(rig.shared);
        wire.send(rig.request("GET /doubled/api/v1/broken", "", ""));
        let rest = String::from_utf8(wire.rest()).unwrap();
        assert!(rest.starts_with("HTTP/1.1 502 ") || (rest.contains("content-length: 1000") && rest.len() < 1000), "{rest}");
        let mut wire = Wire::to(rig.shared);
        let answer = wire.ask(rig.request("POST /doubled/api/v1/early", "", &"x".repeat(300_000)));
        assert_eq!(answer.status, 413);
        assert_eq!(wire.ask(rig.request("GET /doubled/api/v1/status/200", "", "")).status, 200);
        let answer = Wire::to(rig.shared).ask(rig.request("GET /doubled/api/v1/quoting", "", ""));
        assert_eq!(answer.status, 502);
        rig.gateway.verify();
    });
}

/// A connection that is added to the configuration of a gateway that runs.
async fn add(rig: &Rig, name: &str, address: &str, tls: &str) {
    let entry = format!("\n[[connections]]\nname = \"{name}\"\nkind = \"http\"\naddress = \"{address}\"\n{tls}\nhttp2 = true\n");
    assert!(rig.gateway.reload(|config| config + &entry).await);
}

#[test]
fn an_upstream_may_send_its_clients_away() {
    run(async {
        let (Some(rig), Some(server)) = (Rig::start(""), Api::start_http2()) else { return };
        add(&rig, "other", &format!("127.0.0.1:{}", server.port), "tls = \"disable\"").await;
        let mut wire = Wire::to(rig.shared);
        let mut ask = |first: &str, content: &str| {
            let answer = wire.ask(rig.request(first, "TE: trailers\r\nX-Kept: yes\r\n", content));
            assert_eq!(answer.status, 200, "{first}: {answer:?}");
            answer.json()
        };
        let first = ask("POST /other/a?b=c", "said");
        assert_eq!(
            (&first["content"], &first["headers"][":path"], &first["headers"][":method"]),
            (&json!("said"), &json!("/a?b=c"), &json!("POST"))
        );
        let names = first["headers"].as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
        let expected = [":authority", ":method", ":path", ":scheme", "accept-encoding", "content-length", "x-kept"];
        assert!(names.iter().all(|name| expected.contains(name)) && names.len() == expected.len(), "{names:?}");
        assert_eq!(ask("GET /other/goaway", "")["peer"], first["peer"]);
        // On another socket, in the same session, and nothing twice.
        let after = ask("POST /other/after", "once");
        assert_eq!((&after["number"], &after["content"]), (&json!(1), &json!("once")));
        assert_ne!(after["peer"], first["peer"]);
        assert!(rig.leaves("OUTCOME").iter().all(|leaf| leaf["status"] == "completed"));
        rig.gateway.verify();
    });
}

#[test]
fn more_wait_than_an_upstream_bears_at_once() {
    run(async {
        let (Some(rig), Some(server)) = (Rig::start(""), Api::start_http2()) else { return };
        add(&rig, "other", &format!("127.0.0.1:{}", server.port), "tls = \"disable\"").await;
        let mut wires: Vec<_> = (0..40).map(|_| Wire::to(rig.shared)).collect();
        for wire in &mut wires {
            wire.send(rig.request("POST /other/many", "", "x"));
        }
        let answers: Vec<_> = wires.iter_mut().map(Wire::answer).collect();
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        let peers: HashSet<_> = answers.iter().map(|answer| answer.json()["peer"].to_string()).collect();
        assert!(peers.len() < 20, "one socket for each thread: {peers:?}");
    });
}

#[test]
fn an_upstream_that_does_not_offer_it_is_spoken_to_as_ever() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let files = ["cert.pem", "key.pem"].map(|name| rig.gateway.path(name));
        let Some(server) = Api::start_inside_tls([&files[0], &files[1]]) else { return };
        add(&rig, "other", &format!("localhost:{}", server.port), "tls_ca = \"ca.pem\"").await;
        for n in 0..3 {
            let answer = Wire::to(rig.shared).ask(rig.request("POST /other/v1/echo", "", "said"));
            assert_eq!((answer.status, &answer.json()["content"]), (200, &json!("said")), "{n}");
        }
        assert!(server.seen().iter().all(|seen| seen["line"] == "POST /v1/echo HTTP/1.1"));
    });
}
