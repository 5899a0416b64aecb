//! Requests as operations: decided, recorded, answered; and sockets that outlive sessions.

use std::time::Duration;

use serde_json::json;

use super::{KEY, Rig, Wire};
use crate::harness::{Gateway, PERMIT_ALL, eventually, run, unique};

/// The length of what `/large` answers.
const LARGE: usize = 4 << 20;

#[test]
fn a_request_is_decided_recorded_and_answered() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let (secret, file) = (unique("said-"), unique("file"));
        rig.gateway.must_not_write(&secret);
        let mut wire = rig.dial();
        let answer = wire.ask(rig.request(&format!("POST /v1/files/{file}?q={secret}"), "User-Agent: tests/1\r\n", &secret));
        assert_eq!((answer.status, &answer.json()["content"]), (200, &json!(secret)));
        let refused = wire.ask(rig.request("DELETE /v1/forbidden/thing", "User-Agent: tests/1\r\n", ""));
        assert_eq!(refused.status, 403);
        let error = &refused.json()["error"];
        assert_eq!((&error["type"], &error["code"]), (&json!("permission_error"), &json!("not_permitted")));
        let message = error["message"].as_str().unwrap().to_owned();
        assert_eq!(
            wire.ask(rig.request("GET /v1/status/503", "User-Agent: tests/1\r\n", "")).status,
            503,
            "the socket is of use still"
        );
        drop(wire);
        eventually("the session ends", Duration::from_secs(10), async || !rig.leaves("SESSION_CLOSE").is_empty()).await;

        let opened = rig.leaves("SESSION_OPEN");
        assert_eq!(opened.len(), 1, "one session: {opened:?}");
        let facts = ["protocol", "proof", "application", "connection"].map(|name| &opened[0][name]);
        assert_eq!(facts, [&json!("http"), &json!("bearer"), &json!("tests/1"), &json!("api")]);
        assert!(opened[0]["upstream_process"].is_null());
        let requests = rig.leaves("REQUEST");
        let verdicts: Vec<_> = requests.iter().map(|leaf| leaf["decision"]["verdict"].clone()).collect();
        assert_eq!(verdicts, ["permit", "deny", "permit"]);
        assert!(requests.iter().all(|leaf| leaf["form"] == "exchange"));
        let effect = &requests[0]["statements"][0];
        assert_eq!(effect["class"], "POST");
        // What a path ends with may be a value, and no value is in a leaf.
        assert_eq!(
            (&effect["effects"][0]["verb"], &effect["effects"][0]["object"]),
            (&json!("invoke"), &json!("POST /v1/files/*"))
        );
        assert_eq!(requests[1]["decision"]["policies"], json!(["forbidden"]));
        let reference = format!("reference {}/{}", requests[1]["session"].as_str().unwrap(), requests[1]["op"]);
        assert!(message.contains("not this one") && message.contains(&reference), "{message}");
        let outcomes = rig.leaves("OUTCOME");
        let ended: Vec<_> = outcomes.iter().map(|leaf| (leaf["status"].clone(), leaf["tags"].clone())).collect();
        assert_eq!(ended, [(json!("completed"), json!(["200"])), (json!("error"), json!(["503"]))]);
        assert_eq!(rig.leaves("INTENT").len(), 2);
        rig.gateway.verify();
        assert!(rig.seen("/forbidden").is_empty());
        rig.assert_upstream_saw_no_token();

        // The recording has it all, but for the credentials.
        let session = opened[0]["session"].as_str().unwrap();
        let shown = rig.gateway.must(&["sessions", "show", session, "--recording"]);
        assert!(shown.contains(&format!("POST /v1/files/{file}?q={secret}")), "{shown}");
    });
}

#[test]
fn a_socket_carries_whoever_comes_next() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = Wire::to(rig.shared);
        let of = |token: &str, first: &str| rig.request_of(token, first, "", "");
        // All at once, as a pipeline has them.
        let asked = [
            of(&rig.token, "GET /api/v1/one"),
            of(&rig.token, "GET /api/v1/two"),
            of(&rig.bob, "GET /api/v1/three"),
            of(&rig.bob, "DELETE /api/v1/four"),
            of(&rig.bob, "GET /keyed/v1/five"),
            of(&rig.token, "POST /keyed/v1/six"),
        ];
        wire.send(asked.concat());
        let statuses: Vec<_> = asked.iter().map(|_| wire.answer().status).collect();
        assert_eq!(statuses, [200, 200, 200, 403, 200, 200], "in order");
        assert_eq!(wire.ask(of(&rig.token, "GET /nowhere/v1/seven")).status, 404);
        assert_eq!(wire.rest(), b"");
        let forged = format!("{}x", rig.token);
        let mut wire = Wire::to(rig.shared);
        assert_eq!(wire.ask(of(&rig.token, "GET /api/v1/eight")).status, 200);
        let refused = wire.ask(of(&forged, "GET /api/v1/nine"));
        assert_eq!((refused.status, refused.closes()), (401, true), "{refused:?}");
        assert!(refused.head.contains("www-authenticate: Bearer"));
        let lines: Vec<_> = rig.api.seen().iter().map(|seen| seen["line"].as_str().unwrap().to_owned()).collect();
        let reached = ["one", "two", "three", "five", "six", "eight"];
        let method = |name: &str| if name == "six" { "POST" } else { "GET" };
        assert_eq!(lines, reached.map(|name| format!("{} /v1/{name} HTTP/1.1", method(name))));

        let opened = rig.leaves("SESSION_OPEN");
        let whose: Vec<_> = opened.iter().map(|leaf| format!("{} {}", leaf["chain"][0], leaf["connection"])).collect();
        let expected = ["alice api", "bob api", "bob keyed", "alice keyed", "alice api"];
        for (whose, expected) in whose.iter().zip(expected) {
            let (who, connection) = expected.split_once(' ').unwrap();
            assert!(whose.contains(who) && whose.contains(connection), "{whose}: {expected}");
        }
        assert_eq!(whose.len(), expected.len(), "{whose:?}");
        let clients: Vec<_> = opened.iter().map(|leaf| leaf["client"].clone()).collect();
        assert!(clients[..4].iter().all(|client| *client == clients[0]), "one socket: {clients:?}");
        rig.gateway.verify();
    });
}

#[test]
fn the_upstream_may_close_whenever_nothing_runs() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = rig.dial();
        for _ in 0..3 {
            let answer = wire.ask(rig.request("POST /v1/closing", "", "x"));
            assert_eq!((answer.status, answer.text()), (200, "until the end".to_owned()));
            assert_eq!(wire.ask(rig.request("GET /v1/interim", "", "")).text(), "after hints");
        }
        let mut lost = rig.dial();
        lost.send(rig.request("GET /v1/broken", "", ""));
        let rest = String::from_utf8(lost.rest()).unwrap();
        assert!(rest.contains("content-length: 1000") && rest.ends_with("not all of it"), "cut, not made up: {rest}");
        eventually("it is recorded as not known", Duration::from_secs(10), async || {
            rig.leaves("OUTCOME").iter().any(|leaf| leaf["status"] == "unknown")
        })
        .await;
        rig.gateway.verify();
    });
}

#[test]
fn a_socket_between_sessions_may_be_silent_for_a_while() {
    run(async {
        let Some(rig) = Rig::start("[limits]\nlogin_timeout = \"1s\"") else { return };
        let mut wire = rig.dial();
        assert_eq!(wire.ask(rig.request("GET /v1/closing", "", "")).status, 200);
        assert_eq!(wire.rest(), b"", "closed without a word: nothing was asked");
        assert!(rig.leaves("SESSION_REFUSED").is_empty(), "nobody was refused");
        // Who never says anything is told why, as any stranger.
        let told = String::from_utf8(rig.dial().rest()).unwrap();
        assert!(told.starts_with("HTTP/1.1 408 ") && told.contains("connection: close"), "{told}");
        assert_eq!(rig.leaves("SESSION_REFUSED").len(), 1);
    });
}

#[test]
fn an_answer_may_come_before_the_question_ends() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = rig.dial();
        let answer = wire.ask(rig.request("POST /v1/early", "", &"x".repeat(300_000)));
        assert_eq!(answer.status, 413, "{answer:?}");
        assert_eq!(wire.ask(rig.request("GET /v1/status/200", "", "")).status, 200, "what was left of it was no request");
        // The content of what is refused is passed over, or not sent at all.
        assert_eq!(wire.ask(rig.request("POST /v1/forbidden", "", &"GET / HTTP/1.1\r\n\r\n".repeat(1000))).status, 403);
        assert_eq!(wire.ask(rig.request("GET /v1/status/404", "", "")).status, 404);
        let waiting = "Expect: 100-continue\r\nContent-Length: 5\r\n";
        assert_eq!(wire.ask(rig.request("POST /v1/echo", waiting, "")).status, 100);
        assert_eq!(wire.ask("hello").json()["content"], "hello");
        let refused = wire.ask(rig.request("POST /v1/forbidden", waiting, ""));
        assert_eq!((refused.status, refused.closes()), (403, true));
        assert_eq!(wire.rest(), b"");
    });
}

#[test]
fn what_the_upstream_says_of_its_key_stays_here() {
    run(async {
        let Some(rig) = Rig::start("recording = \"full\"") else { return };
        let answer = rig.dial().ask(rig.request("GET /v1/quoting", "", ""));
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_unavailable")));
        assert!(!answer.text().contains(KEY));
        let mut wire = rig.dial();
        wire.send(rig.request("HEAD /v1/quoting", "Connection: close\r\n", ""));
        let head = String::from_utf8(wire.rest()).unwrap();
        assert!(head.starts_with("HTTP/1.1 502 ") && head.ends_with("\r\n\r\n"), "{head}");
    });
}

#[test]
fn a_client_that_goes_takes_its_request_along() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = rig.dial();
        wire.send(rig.request("GET /v1/endless", "", ""));
        assert!(wire.until(b"data: {\"n\": 0}").is_some());
        drop(wire);
        eventually("the upstream's socket is closed and the outcome recorded", Duration::from_secs(10), async || {
            rig.leaves("OUTCOME").iter().any(|leaf| leaf["status"] == "unknown") && rig.leaves("SESSION_CLOSE").len() == 1
        })
        .await;
        // One that takes its time gets all of it.
        let mut slow = rig.dial();
        slow.send(rig.request("GET /v1/large", "Connection: close\r\n", ""));
        assert!(slow.until(b"\r\n\r\n").is_some());
        assert_eq!(slow.rest().len(), LARGE);
    });
}

#[test]
fn an_upstream_inside_tls_is_verified() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = Wire::to(rig.shared);
        for n in 0..3 {
            let answer = wire.ask(rig.request(&format!("GET /outer/api/v1/echo/{n}"), "", ""));
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.json()["line"].as_str().unwrap().contains(&format!("/v1/echo/{n} ")));
        }
        // Who asks here is who is asked for there by another name.
        assert_eq!(wire.ask(rig.request("POST /outer/api/v1/echo", "", "x")).status, 403, "bob may only look");
        let refused = Wire::to(rig.shared).ask(rig.request("GET /unverified/api/v1/echo", "", ""));
        assert_eq!((refused.status, rig.seen("/v1/echo").len()), (502, 3), "{refused:?}");
        let tls: Vec<_> =
            rig.leaves("SESSION_OPEN").iter().map(|leaf| (leaf["tls"].clone(), leaf["upstream_tls"].clone())).collect();
        assert_eq!(tls, [(json!(null), json!("TLSv1.3")), (json!("TLSv1.3"), json!(null))], "outer and inner");
        rig.assert_upstream_saw_no_token();
    });
}

#[test]
fn modes_mean_the_same_as_for_statements() {
    run(async {
        for (mode, would) in [("observe", json!("deny")), ("record", json!(null))] {
            let Some(rig) = Rig::start(&format!("mode = \"{mode}\"")) else { return };
            assert_eq!(rig.dial().ask(rig.request("POST /v1/forbidden", "", "x")).status, 200);
            assert_eq!(rig.seen("/forbidden").len(), 1);
            let request = rig.leaves("REQUEST").remove(0);
            assert_eq!((&request["decision"]["verdict"], &request["decision"]["would"]), (&json!("permit"), &would));
        }
    });
}

#[test]
fn nothing_is_permitted_that_policy_does_not_name() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = Wire::to(rig.shared);
        let status = |wire: &mut Wire, first: &str| wire.ask(rig.request(first, "", "")).status;
        assert_eq!(status(&mut wire, "GET /api/v1/status/201"), 201);
        let permits = r#"permit (principal, action == Action::"invoke", resource == Endpoint::"api/GET /v1/status/200");
            permit (principal, action, resource is Endpoint in Connection::"keyed") when { resource.name == "/v1/status/404" };"#;
        rig.gateway.permit_no_statements();
        rig.gateway.write_policies(&format!("{PERMIT_ALL}\n{permits}"));
        assert!(rig.gateway.reload(|config| config).await);
        // On the socket of a session that is open, and of another.
        for (first, expected) in [
            ("GET /api/v1/status/201", 403),
            ("GET /api/v1/status/200", 200),
            ("GET /api/v1/status/200?more=1", 200),
            ("GET /api/v1/status/20%30", 200),
            ("HEAD /api/v1/Status/200", 403),
            ("GET /api/v1/Status/200", 403),
            ("GET /api/v1/status/200/", 403),
            ("POST /api/v1/status/200", 403),
            ("GET /keyed/v1/status/200", 403),
            ("DELETE /keyed/v1/status/404", 404),
        ] {
            let mut other = Wire::to(rig.shared);
            if first.starts_with("HEAD") {
                other.send(rig.request(first, "Connection: close\r\n", ""));
                assert!(other.rest().starts_with(b"HTTP/1.1 403 "), "{first}");
                continue;
            }
            assert_eq!(status(&mut wire, first), expected, "{first}");
            assert_eq!(status(&mut other, first), expected, "{first}");
        }
        assert_eq!(rig.api.seen().len(), 1 + 2 * 4);
    });
}

#[test]
fn a_session_ends_with_its_token() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = rig.dial();
        assert_eq!(wire.ask(rig.request("GET /v1/status/200", "", "")).status, 200);
        let mut streaming = rig.dial();
        streaming.send(rig.request("GET /v1/endless", "", ""));
        assert!(streaming.until(b"data: {\"n\": 0}").is_some());
        disable(&rig.gateway);
        assert_eq!(wire.rest(), b"", "a socket on which nothing runs is closed");
        let rest = String::from_utf8(streaming.rest()).unwrap();
        assert!(!rest.contains("[DONE]"), "a stream ends where it is");
        let refused = rig.dial().ask(rig.request("GET /v1/status/200", "", ""));
        assert_eq!((refused.status, &refused.json()["error"]["type"]), (401, &json!("authentication_error")));
        assert_eq!(rig.seen("/status/200").len(), 1);
    });
}

fn disable(gateway: &Gateway) {
    gateway.must(&["principals", "disable", "alice"]);
}

#[test]
fn an_upstream_that_is_not_there_is_said() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let (port, token) = (rig.port, rig.token.clone());
        let Rig { api, gateway, .. } = rig;
        drop(api);
        let request = format!("GET /v1/x HTTP/1.1\r\nHost: g\r\nx-api-key: {token}\r\n\r\n");
        let answer = Wire::to(port).ask(request);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_unavailable")));
        drop(gateway);
    });
}
