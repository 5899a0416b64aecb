//! Programs that know an address and a key, and nothing of a gateway.

use std::process::Command;

use super::{KEY, Rig};
use crate::harness::{run, run_program};

#[test]
fn requests_and_httpx_work_as_ever() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        for (base, ca) in [
            (format!("http://127.0.0.1:{}", rig.port), None),
            (format!("http://127.0.0.1:{}/keyed", rig.shared), None),
            (format!("https://localhost:{}/api", rig.secured), Some(rig.gateway.authority())),
        ] {
            let ca = ca.map(|path| path.display().to_string());
            let mut environment = vec![("API_BASE", base.as_str()), ("API_KEY", &rig.token), ("API_OTHER_KEY", &rig.bob)];
            environment.extend(ca.as_deref().map(|ca| ("API_CA", ca)));
            run_program("http_clients", &environment);
        }
        rig.assert_upstream_saw_no_token();
        assert!(rig.seen("/forbidden").is_empty(), "what was refused has reached the upstream");
        // The name of the connection is for the gateway only.
        assert!(rig.seen("/keyed").is_empty() && rig.seen("/api/").is_empty());
        let header =
            |name: &str| rig.api.seen().iter().any(|seen| seen["headers"].to_string().contains(&format!("[\"{name}\",")));
        assert!(header("authorization") && header("x-api-key") && !header("cookie"));
        rig.gateway.verify();
    });
}

#[test]
fn curl_works_as_ever() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let curl = |arguments: &[&str]| {
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--max-time", "30", "--write-out", " %{http_code} %{num_connects}"]);
            command.args(["--header", &format!("Authorization: Bearer {}", rig.token)]).args(arguments);
            let output = command.output().expect("curl is installed, as scripts/setup-tests.sh does");
            String::from_utf8(output.stdout).unwrap()
        };
        let at = |path: &str| format!("http://127.0.0.1:{}{path}", rig.port);
        let said = curl(&["--http2", &at("/v1/status/200"), &at("/v1/status/404")]);
        assert_eq!(said, "as asked 200 1as asked 404 0", "one socket for both, and the offer of HTTP/2 is declined");
        let large = "x".repeat(3 << 20);
        let file = rig.gateway.path("large");
        std::fs::write(&file, &large).unwrap();
        let sent = format!("@{}", file.display());
        let said = curl(&["--header", "Expect: 100-continue", "--data-binary", &sent, &at("/v1/upload")]);
        assert!(said.contains("\"length\": 3145728") && said.ends_with(" 200 1"), "{said}");
        let said = curl(&["--http1.0", &at("/v1/closing")]);
        assert_eq!(said, "until the end 200 1");
        let said = curl(&["--data-binary", &sent, &at("/v1/forbidden")]);
        assert!(said.contains("not this one") && said.ends_with(" 403 1"), "{said}");
        let trusted = rig.gateway.authority().display().to_string();
        let said = curl(&["--http1.1", "--cacert", &trusted, &format!("https://localhost:{}/api/v1/status/200", rig.secured)]);
        assert_eq!(said, "as asked 200 1", "inside TLS");
        assert!(rig.seen("/forbidden").is_empty());
        rig.assert_upstream_saw_no_token();
        rig.gateway.assert_nowhere_on_disk(KEY.as_bytes());
    });
}
