//! The command line, as people and scripts use it: what it prints, and how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Config;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Server, Session, binary, eventually, run, sqlstate, text};

/// A gateway with Alice, who may connect, and Dana, who may run the gateway.
fn with_dana(server: &Server) -> (Gateway, String) {
    let gateway = Gateway::prepared(server, |gateway| gateway.add(&["user", "dana", "--group", "dbas"]));
    let dana = gateway.token(&["dana"]);
    (gateway, dana)
}

fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn sessions_are_listed_shown_and_ended() {
    run(async {
        let server = server!(Major::V15);
        let (gateway, dana) = with_dana(&server);
        let mut session = gateway.session("bank", "alice").await;
        session.batch_execute("select 'hello there'").await.unwrap();
        let (code, said, complained) = ended(&gateway.through_api(&dana, &["sessions", "list", "--json"]));
        assert_eq!(code, Some(0), "{complained}");
        let listed: Value = serde_json::from_str(&said).unwrap();
        let id = listed[0]["id"].as_str().unwrap().to_owned();
        assert_eq!(
            (&listed[0]["live"], &listed[0]["application"], &listed[0]["connection"]),
            (&true.into(), &"it".into(), &"bank".into())
        );
        let (code, said, _) = ended(&gateway.through_api(&dana, &["sessions", "list"]));
        assert!(code == Some(0) && said.contains(&id) && said.contains("alice@local"), "{said}");
        let (code, said, complained) = ended(&gateway.through_api(&dana, &["sessions", "show", &id, "--recording"]));
        assert!(code == Some(0) && said.contains("select 'hello there'"), "{said}{complained}");

        let running = session.simple_query("select pg_sleep(60)");
        let (ran, killed) = tokio::join!(running, async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            gateway.through_api(&dana, &["sessions", "kill", &id, "--reason", "maintenance at noon"])
        });
        assert_eq!(ended(&killed).0, Some(0));
        let error = ran.unwrap_err();
        assert_eq!(sqlstate(&error), "57P01");
        assert!(text(&error).contains("maintenance at noon"), "{}", text(&error));
        let _ = session.goodbye(Duration::from_secs(2)).await;
        eventually("what ran upstream is cancelled", Duration::from_secs(2), async || server.gateway_sessions().await == "0")
            .await;
        let (_, said, _) = ended(&gateway.through_api(&dana, &["sessions", "list", "--json"]));
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), Value::Array(Vec::new()));
        let acts: Vec<_> = gateway.leaves_of("ADMIN").iter().map(|leaf| (leaf["who"].clone(), leaf["action"].clone())).collect();
        for act in ["session.read", "session.kill"] {
            assert!(acts.contains(&("dana@local".into(), act.into())), "{act} is not in {acts:?}");
        }
    });
}

#[test]
fn the_api_asks_policy_and_the_exit_code_says_so() {
    run(async {
        let server = server!(Major::V15);
        let (gateway, dana) = with_dana(&server);
        let alice = gateway.token(&["alice"]);
        for (token, arguments, expected) in [
            (&dana, &["principals", "list"][..], 0),
            (&dana, &["token", "list", "--json"], 0),
            (&dana, &["audit", "checkpoint"], 0),
            (&dana, &["audit", "key"], 0),
            (&alice, &["principals", "list"], 4),
            (&alice, &["sessions", "list"], 4),
            (&alice, &["token", "issue", "dana"], 4),
            (&alice, &["principals", "disable", "dana"], 4),
            (&"not-a-token".to_owned(), &["sessions", "list"], 4),
            (&dana, &["sessions", "kill", "00000000000000000000000000000000"], 1),
            (&dana, &["sessions", "kill", "no-id"], 2),
            (&dana, &["token", "issue", "nobody-known"], 1),
            (&dana, &["nonsense"], 2),
        ] {
            let (code, said, complained) = ended(&gateway.through_api(token, arguments));
            assert_eq!(code, Some(expected), "{arguments:?}: {said}{complained}");
            assert!(!complained.contains(token.rsplit('.').next().unwrap()), "{arguments:?} shows the token");
            assert_eq!(complained.is_empty(), expected == 0, "{arguments:?}: {complained}");
        }
        let denied = gateway.leaves_of("ADMIN").into_iter().filter(|leaf| leaf["verdict"] == "deny").count();
        assert_eq!(denied, 4, "each refusal is on record");
        let mut command = Command::new(binary());
        command.args(["sessions", "list"]).envs(gateway.api_environment(&dana)).env("CLAVIGER_API_URL", "https://localhost:1");
        assert_eq!(command.output().unwrap().status.code(), Some(1), "nobody answers");
    });
}

#[test]
fn management_through_the_api_is_in_force_at_once() {
    run(async {
        let server = server!(Major::V15);
        let (gateway, dana) = with_dana(&server);
        let must = |arguments: &[&str]| {
            let (code, said, complained) = ended(&gateway.through_api(&dana, arguments));
            assert_eq!(code, Some(0), "{arguments:?}: {complained}");
            said.trim().to_owned()
        };
        must(&["principals", "add", "user", "erin", "--group", "engineers"]);
        must(&["principals", "add", "workload", "etl", "--sponsor", "erin"]);
        must(&["principals", "delegate", "etl", "erin"]);
        let token = must(&["token", "issue", "erin", "--act", "etl", "--ttl", "1h"]);
        gateway.must_not_write_token(&token);
        let mut session = gateway.login("bank", "etl", &token).await.unwrap();
        must(&["principals", "disable", "erin"]);
        assert_eq!(sqlstate(&session.goodbye(Duration::from_secs(2)).await.unwrap()), "28000");
        assert!(gateway.login("bank", "etl", &token).await.is_err());
        gateway.verify();
    });
}

#[test]
fn check_tells_good_from_bad() {
    let conn = |gateway: &Gateway| std::fs::read_to_string(gateway.path("claviger.toml")).unwrap();
    let Some(server) = Server::start(Major::V15, &[]) else { return };
    let gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, "");
    let check = || ended(&gateway.command(&["check"]));
    let (code, said, _) = check();
    assert_eq!(code, Some(0));
    assert!(said.contains("1 connections") || said.contains("1 connection"), "{said}");
    let good = conn(&gateway);
    let password = "plain-password-in-the-wrong-place";
    for (bad, named) in [
        (good.replace("kind = \"postgres\"", "kind = \"oracle\""), "kind"),
        (good.replace("mode", "mod"), ""),
        (good.clone() + "\nunknown = 1\n", "unknown"),
        (good.replace("file:bank.password", password), "password"),
        (good.replace("tls = \"verify-full\"", "tls = \"perhaps\"").replace("tls = \"disable\"", "tls = \"perhaps\""), "tls"),
        (
            good.replace("plaintext = false", "plaintext = true").replace("listen = \"127.0.0.1:", "listen = \"0.0.0.0:"),
            "plaintext",
        ),
        (good.replace("cert.pem", "no-such.pem"), "certificate"),
        ("data = ".to_owned(), "claviger.toml"),
    ] {
        if bad == good {
            continue;
        }
        std::fs::write(gateway.path("claviger.toml"), &bad).unwrap();
        let (code, _, complained) = check();
        assert_eq!(code, Some(2), "{complained}");
        assert!(complained.contains(named) && !complained.contains(password), "{complained}");
        let served = gateway.command(&["serve"]);
        assert_eq!(served.status.code(), Some(2), "what does not check does not serve");
    }
    std::fs::write(gateway.path("claviger.toml"), good).unwrap();
    gateway.write_policies("permit (principal, action == Action::\"conect\", resource);");
    let (code, _, complained) = check();
    assert_eq!(code, Some(2), "{complained}");
    assert!(complained.contains("test.cedar"), "{complained}");
}

/// A running command, killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn connect_opens_a_port_that_needs_no_token() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let token_file = gateway.path("alice.token");
        std::fs::write(&token_file, gateway.token(&["alice", "--ttl", "1h"]) + "\n").unwrap();
        let mut command = Command::new(binary());
        command
            // Alice may not administer anything; the gateway tells her where the connections are that she may open.
            .args(["connect", "bank", "--token-file"])
            .arg(&token_file)
            .envs(gateway.api_environment("").into_iter().filter(|(name, _)| *name == "CLAVIGER_API_URL"));
        command.arg("--ca").arg(gateway.authority()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut connect = Running(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(connect.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 =
            line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no address: {line:?}"));
        let open = |user: &str| {
            let mut config = Config::new();
            config.user(user).dbname("whatever").password("anything");
            Session::open_plain(port, config)
        };
        let session = open("whoever").await.unwrap_or_else(|error| panic!("{error}: {}", text(&error)));
        assert_eq!(session.value("select count(*) from customers").await, "3");
        let (slept, ()) = tokio::join!(session.batch_execute("select pg_sleep(60)"), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            session.cancel().await;
        });
        assert_eq!(sqlstate(&slept.unwrap_err()), "57014", "a cancel goes the same way");
        assert_eq!(gateway.leaves_of("SESSION_OPEN")[0]["chain"][0], "alice@local");

        // The token file is read anew for each client.
        gateway.must(&["token", "revoke", "--principal", "alice"]);
        eventually("the old token is dead", Duration::from_secs(2), async || open("whoever").await.is_err()).await;
        std::fs::write(&token_file, gateway.token(&["alice"])).unwrap();
        open("whoever").await.expect("the new token is used");
        let refused = Command::new(binary())
            .args(["connect", "bank", "--listen", "0.0.0.0:0", "--address", "localhost:1", "--token-file"])
            .arg(&token_file)
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(2), "not for other machines");
    });
}

#[test]
fn a_gateway_that_cannot_have_its_port_does_not_start() {
    let Some(server) = Server::start(Major::V15, &[]) else { return };
    let gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, "");
    let _taken = std::net::TcpListener::bind(("127.0.0.1", gateway.port("bank"))).unwrap();
    let (code, _, complained) = ended(&gateway.command(&["serve"]));
    assert_eq!(code, Some(1), "{complained}");
    assert!(complained.contains(&gateway.port("bank").to_string()), "{complained}");
}

#[test]
fn texts_can_be_tried_on_the_detectors() {
    let tried = |args: &[&str], input: &str| {
        let mut command = Command::new(binary());
        command.args(["mask", "test"]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        ended(&child.wait_with_output().unwrap())
    };
    let (code, said, _) = tried(&["for 536-90-4399, 536904399"], "");
    assert_eq!(code, Some(0));
    assert_eq!(
        said, "for [ssn], 536904399\nDETECTOR  AT    SCORE  TEXT\nssn       4-15  90     536-90-4399\n",
        "nine digits are nothing unless something says what they are"
    );
    let (_, said, _) = tried(&["--column", "customer_ssn", "--json", "-"], "536904399");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["masked"], &said["found"][0]["entity"]), (&"[ssn]".into(), &"ssn".into()));
    let (_, said, _) = tried(&["--lines", "--json", "--in-json"], "\"é 4111 1111 1111 1111\"\n{\"n\": 4111111111111111}\nnone\n");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["found"][0]["start"], &lines[0]["found"][0]["end"]), (&2.into(), &21.into()), "characters count");
    assert_eq!(lines[1]["masked"], "{\"n\": \"[credit_card]\"}");
    assert_eq!(lines[2]["found"], Value::Array(Vec::new()));
}
