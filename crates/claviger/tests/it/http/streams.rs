//! HTTP/2 with clients: many streams on one socket, by programs and frame by frame.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::{KEY, Rig};
use crate::harness::{eventually, run, run_program};

/// Runs parts of `http2_wire.py` on the listener of `api`, and on the one inside TLS.
fn on_the_wire(rig: &Rig, parts: &str) {
    let ca = rig.gateway.authority().display().to_string();
    for (port, prefix, ca) in [(rig.port, "", None), (rig.secured, "/api", Some(&*ca))] {
        let port = port.to_string();
        let mut environment = vec![
            ("API_PORT", &*port),
            ("API_PREFIX", prefix),
            ("API_KEY", &rig.token),
            ("API_OTHER_KEY", &rig.bob),
            ("API_PARTS", parts),
        ];
        environment.extend(ca.map(|ca| ("API_CA", ca)));
        run_program("http2_wire", &environment);
    }
}

#[test]
fn curl_speaks_http2() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let curl = |arguments: &[&str]| {
            let mut command = Command::new("curl");
            command.args([
                "--silent",
                "--show-error",
                "--max-time",
                "30",
                "--write-out",
                " %{http_code} %{num_connects} %{http_version};",
            ]);
            command.args(["--header", &format!("Authorization: Bearer {}", rig.token)]).args(arguments);
            let output = command.output().expect("curl is installed, as scripts/setup-tests.sh does");
            assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let at = |path: &str| format!("http://127.0.0.1:{}{path}", rig.port);
        let said = curl(&["--http2-prior-knowledge", &at("/v1/status/404")]);
        assert_eq!(said, "as asked 404 1 2;");
        let file = rig.gateway.path("large");
        std::fs::write(&file, "x".repeat(3 << 20)).unwrap();
        let sent = format!("@{}", file.display());
        let said = curl(&["--http2-prior-knowledge", "--data-binary", &sent, &at("/v1/upload")]);
        assert!(said.contains("\"length\": 3145728") && said.ends_with(" 200 1 2;"), "{said}");
        let said = curl(&["--http2-prior-knowledge", "--data-binary", &sent, &at("/v1/forbidden")]);
        assert!(said.contains("not this one") && said.contains(" 403 1 2;"), "{said}");
        let trusted = rig.gateway.authority().display().to_string();
        let secured = |path: &str| format!("https://localhost:{}/api{path}", rig.secured);
        let said = curl(&["--cacert", &trusted, &secured("/v1/status/200"), &secured("/v1/closing")]);
        assert_eq!(said, "as asked 200 1 2;until the end 200 0 2;");
        let said = curl(&["--http1.1", "--cacert", &trusted, &secured("/v1/status/200")]);
        assert_eq!(said, "as asked 200 1 1.1;");
        assert!(rig.seen("/forbidden").is_empty());
        rig.assert_upstream_saw_no_token();
        rig.gateway.assert_nowhere_on_disk(KEY.as_bytes());
        rig.gateway.verify();
    });
}

#[test]
fn httpx_speaks_http2() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let ca = rig.gateway.authority().display().to_string();
        for (base, ca) in
            [(format!("http://127.0.0.1:{}", rig.port), None), (format!("https://localhost:{}/keyed", rig.secured), Some(&*ca))]
        {
            let mut environment = vec![("API_BASE", base.as_str()), ("API_KEY", &rig.token), ("API_OTHER_KEY", &rig.bob)];
            environment.extend(ca.map(|ca| ("API_CA", ca)));
            run_program("http2_clients", &environment);
        }
        assert!(rig.seen("/forbidden").is_empty());
        rig.assert_upstream_saw_no_token();
        rig.gateway.verify();
    });
}

#[test]
fn nobody_keeps_a_socket_for_nothing() {
    run(async {
        let Some(rig) = Rig::start("[limits]\nlogin_timeout = \"1s\"") else { return };
        on_the_wire(&rig, "silent");
    });
}

#[test]
fn a_gateway_that_stops_finishes_what_has_begun() {
    run(async {
        let Some(mut rig) = Rig::start("") else { return };
        let (port, process) = (rig.port.to_string(), rig.gateway.process_id().to_string());
        let release = format!("http://127.0.0.1:{}/v1/release", rig.api.port);
        let environment = [
            ("API_PORT", &*port),
            ("API_PREFIX", ""),
            ("API_KEY", &rig.token),
            ("API_OTHER_KEY", &rig.bob),
            ("API_PARTS", "drained"),
            ("API_GATEWAY", &process),
            ("API_RELEASE", &release),
        ];
        run_program("http2_wire", &environment);
        assert!(rig.gateway.wait().success());
        let outcomes = rig.leaves("OUTCOME");
        assert!(!outcomes.is_empty() && outcomes.iter().all(|leaf| leaf["status"] == "completed"), "{outcomes:?}");
        rig.gateway.verify();
    });
}

#[test]
fn many_streams_are_as_many_requests() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        on_the_wire(&rig, "requests many slow");
        assert!(rig.seen("/forbidden").is_empty());
        rig.assert_upstream_saw_no_token();
        let opened = rig.leaves("SESSION_OPEN");
        let is_secured = |leaf: &serde_json::Value| leaf["tls"] == json!("TLSv1.3");
        assert!(opened.iter().any(is_secured) && opened.iter().any(|leaf| leaf["tls"].is_null()));
        let requests = rig.leaves("REQUEST");
        assert!(requests.len() > 2 * 200 && opened.len() < requests.len(), "{} sessions", opened.len());
        for session in opened.iter().filter(|leaf| leaf["chain"][0].as_str().unwrap().contains("bob")) {
            let posts =
                requests.iter().filter(|leaf| leaf["session"] == session["session"] && leaf["statements"][0]["class"] != "GET");
            assert!(posts.into_iter().all(|leaf| leaf["decision"]["verdict"] == "deny"), "{session}");
        }
        rig.gateway.verify();
    });
}

#[test]
fn what_must_not_be_in_a_stream_is_refused() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        on_the_wire(&rig, "in_two_ways too_much");
        assert!(rig.seen("/t").iter().all(|seen| seen["line"].as_str().unwrap().contains("/v1/")), "{:?}", rig.seen("/t"));
        // Its head has left before it was seen that its content is not as declared; then it has not got its content.
        let declared = rig.seen("/lengths");
        assert!(declared.iter().all(|seen| seen["length"] != json!(6)), "{declared:?}");
        rig.gateway.verify();
    });
}

#[test]
fn who_resets_streams_over_and_over_is_sent_away() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        on_the_wire(&rig, "resets");
        rig.gateway.verify();
    });
}

#[test]
fn a_stream_that_is_not_wanted_any_more_is_cancelled() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        on_the_wire(&rig, "gone");
        eventually("all sessions end", Duration::from_secs(20), async || {
            rig.leaves("SESSION_CLOSE").len() == rig.leaves("SESSION_OPEN").len()
        })
        .await;
        let unknown = rig.leaves("OUTCOME").iter().filter(|leaf| leaf["status"] == "unknown").count();
        assert!(unknown >= 2 * 2, "streams that have begun: {unknown}");
        rig.gateway.verify();
    });
}
