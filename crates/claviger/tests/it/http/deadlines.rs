//! What waits has an end; and a socket that is kept is what its listener is.

use std::time::Duration;

use serde_json::json;

use super::Rig;
use crate::harness::{eventually, run};

const SHORT: &str = "[limits]\nrequest_timeout = \"1s\"\nresponse_timeout = \"1s\"";

#[test]
fn an_upstream_that_does_not_go_on_is_given_up() {
    run(async {
        let Some(rig) = Rig::start(SHORT) else { return };
        let mut wire = rig.dial();
        let answer = wire.ask(rig.request("POST /v1/never", "", "x"));
        assert_eq!((answer.status, &answer.json()["error"]["code"], answer.closes()), (504, &json!("upstream_timed_out"), true));
        assert_eq!(wire.rest(), b"");
        // What has begun is cut, and not made up.
        let mut wire = rig.dial();
        wire.send(rig.request("GET /v1/stream", "", ""));
        let rest = String::from_utf8(wire.rest()).unwrap();
        assert!(rest.contains("data: {\"n\": 0}") && !rest.ends_with("0\r\n\r\n"), "{rest}");
        eventually("both are recorded", Duration::from_secs(10), async || rig.leaves("SESSION_CLOSE").len() == 2).await;
        let closed: Vec<_> = rig.leaves("SESSION_CLOSE").iter().map(|leaf| leaf["detail"].clone()).collect();
        assert_eq!(closed, [json!("upstream.timeout"), json!("upstream.timeout")]);
        let outcomes: Vec<_> = rig.leaves("OUTCOME").iter().map(|leaf| leaf["status"].clone()).collect();
        assert_eq!(outcomes, [json!("unknown"), json!("unknown")]);
        rig.gateway.verify();
    });
}

#[test]
fn a_client_that_does_not_go_on_is_given_up() {
    run(async {
        let Some(rig) = Rig::start(SHORT) else { return };
        // In the middle of content, of a head, and of an answer.
        let mut wire = rig.dial();
        let answer = wire.ask(rig.request("POST /v1/half", "Content-Length: 10\r\n", "") + "half");
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (408, &json!("timed_out")));
        let mut wire = rig.dial();
        assert_eq!(wire.ask(rig.request("GET /v1/status/200", "", "")).status, 200);
        let answer = wire.ask("GET /v1/half HTTP/1.1\r\nHost: ");
        assert_eq!((answer.status, answer.closes()), (408, true));
        assert_eq!(wire.rest(), b"");
        let mut reader = rig.dial();
        reader.send(rig.request("GET /v1/huge", "", ""));
        let ended = |code: &str| rig.leaves("SESSION_CLOSE").iter().any(|leaf| leaf["detail"] == json!(code));
        eventually("it is given up", Duration::from_secs(20), async || ended("client.stalled")).await;
        assert!(reader.rest().len() < 64 << 20);
        assert!(ended("client.timeout"));
        assert!(rig.seen("/half").iter().all(|seen| seen["length"] != json!(10)));
        rig.gateway.verify();
    });
}

#[test]
fn whoever_takes_his_time_and_goes_on_has_it() {
    run(async {
        let Some(rig) = Rig::start("[limits]\nrequest_timeout = \"2s\"\nresponse_timeout = \"0s\"") else { return };
        let mut wire = rig.dial();
        wire.send(rig.request("POST /v1/slowly", "Content-Length: 8\r\n", ""));
        for piece in 0..8 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            wire.send(piece.to_string());
        }
        assert_eq!(wire.answer().json()["content"], json!("01234567"));
    });
}

#[test]
fn a_client_that_has_sent_ahead_may_go_too() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = rig.dial();
        wire.send(rig.request("GET /v1/endless", "", "") + &rig.request("GET /v1/after", "", ""));
        assert!(wire.until(b"data: {\"n\": 0}").is_some());
        drop(wire);
        eventually("it is noticed", Duration::from_secs(10), async || !rig.leaves("SESSION_CLOSE").is_empty()).await;
        let outcomes: Vec<_> = rig.leaves("OUTCOME").iter().map(|leaf| leaf["status"].clone()).collect();
        assert_eq!(outcomes, [json!("unknown")]);
        assert!(rig.seen("/after").is_empty());
        rig.gateway.verify();
    });
}

#[test]
fn a_socket_that_is_kept_is_what_its_listener_is() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let long = format!("X-Long: {}\r\n", "y".repeat(5000));
        let mut wire = rig.dial();
        assert_eq!(wire.ask(rig.request("GET /v1/status/200", &long, "")).status, 200);
        assert!(rig.gateway.reload(|config| config + "\n[limits]\nlogin = \"4KiB\"\n").await);
        // Of another, on the same socket.
        assert_eq!(wire.ask(rig.request_of(&rig.bob, "GET /v1/status/200", &long, "")).status, 431);
        assert_eq!(rig.dial().ask(rig.request_of(&rig.bob, "GET /v1/status/200", "", "")).status, 200);
    });
}
