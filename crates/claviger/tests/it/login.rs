//! `claviger login`: people at a real provider, with a browser, and what their logins are good for.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Config;

use crate::harness::{Browser, Conn, Gateway, Major, Provider, Server, Session, binary, files, run, text};

const DBA: &str = r#"permit (principal in Group::"idp/dba", action == Action::"connect", resource);"#;

/// A gateway whose people log in at this provider, with ID tokens.
fn gateway(server: &Server, provider: &Provider, more: &str) -> Gateway {
    let issuer = format!(
        "[[issuers]]\nname = \"idp\"\nissuer = \"{}\"\naudience = \"claviger-RS256\"\ngroups_claim = \"groups\"\n\
         [issuers.login]\nclient_id = \"claviger-RS256\"\n{more}\n",
        provider.issuer()
    );
    let mut gateway = Gateway::configure(&[Conn::to("bank", server)], DBA, &issuer);
    gateway.start();
    gateway
}

/// A command of somebody at the gateway's clients' side.
fn command(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    let environment = gateway.api_environment("").into_iter().filter(|(name, _)| *name != "CLAVIGER_TOKEN");
    command.args(arguments).envs(environment).env("XDG_STATE_HOME", state(gateway)).env_remove("CLAVIGER_TOKEN");
    command.stdin(Stdio::null());
    command
}

fn state(gateway: &Gateway) -> PathBuf {
    gateway.path("state")
}

/// Begins a login, and does in the browser what is to be done at the address that it tells.
fn log_in(mut command: Command, browse: impl FnOnce(&mut Browser, &str)) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("or open ") {
        if stderr.read_line(&mut said).unwrap() == 0 {
            return (child.wait().unwrap().code(), said);
        }
    }
    let address = said.split_once("or open ").unwrap().1.trim().to_owned();
    browse(&mut Browser::new(), &address);
    stderr.read_to_string(&mut said).unwrap();
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "", "a token is not for the terminal");
    (child.wait().unwrap().code(), said)
}

/// The saved login.
fn saved(gateway: &Gateway) -> (PathBuf, Value) {
    let file = files(&state(gateway)).into_iter().find(|path| path.extension().is_some_and(|extension| extension == "json"));
    let file = file.expect("a login is kept");
    let login: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for token in ["token", "provider_token"] {
        gateway.must_not_write_token(login[token].as_str().unwrap());
    }
    gateway.must_not_write(login["refresh_token"].as_str().unwrap());
    (file, login)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// `claviger connect`, and its port.
struct Connect(Child, u16);

impl Connect {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        Self(child, port.unwrap_or_else(|| panic!("no address: {line:?}")))
    }

    async fn session(&self) -> Result<Session, tokio_postgres::Error> {
        let mut config = Config::new();
        config.user("whoever").dbname("whatever").password("anything");
        Session::open_plain(self.1, config).await
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ended(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn somebody_logs_in_and_out() {
    run(async {
        let server = server!(Major::V15);
        let Some(mut provider) = Provider::start(&json!({ "groups": ["staff", "dba"], "slow_down": 1 })) else { return };
        let gateway = gateway(&server, &provider, "");
        let (code, said) = log_in(command(&gateway, &["login"]), |browser, address| browser.log_in(address, "erin"));
        assert_eq!(code, Some(0), "{said}");
        let (file, login) = saved(&gateway);
        for token in ["token", "provider_token", "refresh_token"] {
            assert!(!said.contains(login[token].as_str().unwrap()), "{said}");
        }
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

        let connect = Connect::start(command(&gateway, &["connect", "bank"]));
        let session = connect.session().await.unwrap_or_else(|error| panic!("{}", text(&error)));
        assert_eq!(session.value("select count(*) from customers").await, "3");
        assert_eq!(gateway.leaves_of("SESSION_OPEN")[0]["chain"], json!(["erin@idp"]));
        let exchanged = gateway.leaves_of("ADMIN").into_iter().filter(|leaf| leaf["action"] == "token.exchange");
        assert_eq!(exchanged.count(), 1, "one short token for all connections");

        // Logging out is known to the provider.
        let refresh_token = login["refresh_token"].as_str().unwrap();
        let (code, said) = ended(&command(&gateway, &["logout"]).output().unwrap());
        assert_eq!((code, said.as_str()), (Some(0), ""));
        assert!(!file.exists() && !provider.takes_refresh_token(refresh_token, "claviger-RS256"));
        assert!(connect.session().await.is_err(), "a running `connect` has no token any more");
        let (code, said) = ended(&command(&gateway, &["connect", "bank"]).output().unwrap());
        assert!(code == Some(2) && said.contains("claviger login"), "{said}");
        let (code, said) = ended(&command(&gateway, &["logout"]).output().unwrap());
        assert!(code == Some(0) && said.contains("there is no login"), "{said}");
        provider.stop();
        gateway.verify();
    });
}

#[test]
fn a_login_is_refreshed_for_as_long_as_the_provider_lets_it() {
    run(async {
        let server = server!(Major::V15);
        // ID tokens last less long than they are wanted for, so each connection takes a new one, and a new refresh token.
        let Some(mut provider) = Provider::start(&json!({ "groups": ["dba"], "ttl": 20 })) else { return };
        let gateway = gateway(&server, &provider, "");
        let (code, said) = log_in(command(&gateway, &["login"]), |browser, address| browser.log_in(address, "erin"));
        assert_eq!(code, Some(0), "{said}");
        let connect = Connect::start(command(&gateway, &["connect", "bank"]));
        let mut spent = Vec::new();
        for _ in 0..3 {
            let login = saved(&gateway).1;
            spent.push(login["refresh_token"].clone());
            connect.session().await.unwrap_or_else(|error| panic!("{}", text(&error)));
        }
        spent.push(saved(&gateway).1["refresh_token"].clone());
        spent.dedup();
        assert_eq!(spent.len(), 4, "refresh tokens are used once each");
        // Several at once take turns.
        let (one, two, three) = tokio::join!(connect.session(), connect.session(), connect.session());
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        // A provider that has forgotten all about it: the login is over.
        provider.restart("first");
        let error = connect.session().await.err().expect("there is no token any more");
        assert!(text(&error).contains("claviger login"), "{}", text(&error));
    });
}

#[test]
fn a_login_can_fail() {
    run(async {
        let server = server!(Major::V15);
        let Some(provider) = Provider::start(&json!({ "groups": ["dba"], "device_ttl": 4 })) else { return };
        let gateway = gateway(&server, &provider, "");
        let (code, said) = log_in(command(&gateway, &["login"]), |browser, address| browser.refuse(address));
        assert!(code == Some(4) && said.contains("the login was refused"), "{said}");
        let (code, said) = log_in(command(&gateway, &["login"]), |_, _| ());
        assert!(code == Some(1) && said.contains("in time"), "{said}");
        let (code, said) = ended(&command(&gateway, &["login", "elsewhere"]).output().unwrap());
        assert!(code == Some(2) && said.contains("but: idp"), "{said}");
        let nobody = ["login", "--issuer", "http://127.0.0.1:1", "--client-id", "x"];
        assert_eq!(ended(&command(&gateway, &nobody).output().unwrap()).0, Some(1));
        let elsewhere = ["login", "--issuer", "http://192.0.2.1", "--client-id", "x"];
        let (code, said) = ended(&command(&gateway, &elsewhere).output().unwrap());
        assert!(code == Some(1) && said.contains("neither https:// nor on this machine"), "{said}");
        // Whom the gateway does not let exchange his token is told so, and nothing is kept.
        gateway.write_policies(r#"@reason("not today") forbid (principal, action == Action::"exchangeToken", resource);"#);
        let reload = Command::new("sh").args(["-c", &format!("kill -HUP {}", gateway.process_id())]).status().unwrap();
        assert!(reload.success());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (code, said) = log_in(command(&gateway, &["login"]), |browser, address| browser.log_in(address, "erin"));
        assert!(code == Some(4) && said.contains("not today"), "{said}");
        assert!(files(&state(&gateway)).iter().all(|path| path.extension().is_none_or(|extension| extension != "json")));
    });
}

/// Without the gateway's API, by what is known of the provider.
#[test]
fn the_providers_own_access_token_will_do() {
    run(async {
        let server = server!(Major::V15);
        let Some(provider) = Provider::start(&json!({ "groups": ["dba"] })) else { return };
        let issuer = format!(
            "[[issuers]]\nname = \"idp\"\nissuer = \"{}\"\naudience = \"claviger\"\ngroups_claim = \"groups\"\n",
            provider.issuer()
        );
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], DBA, &issuer);
        gateway.start();
        let without_api = |arguments: &[&str]| {
            let mut command = command(&gateway, arguments);
            command.env_remove("CLAVIGER_API_URL");
            command
        };
        let issuer = provider.issuer();
        let mut arguments = vec!["login", "--issuer", &issuer, "--client-id", "claviger-ES256", "--access-token"];
        arguments.extend([
            "--scope",
            "openid",
            "--scope",
            "offline_access",
            "--scope",
            "connect",
            "--resource",
            "urn:claviger:ES256",
        ]);
        let (code, said) = log_in(without_api(&arguments), |browser, address| browser.log_in(address, "erin"));
        assert_eq!(code, Some(0), "{said}");
        let login = saved(&gateway).1;
        assert_eq!(login["token"], login["provider_token"]);
        let address = format!("localhost:{}", gateway.port("bank"));
        let connect = Connect::start(without_api(&["connect", "bank", "--address", &address]));
        let session = connect.session().await.unwrap_or_else(|error| panic!("{}", text(&error)));
        assert_eq!(session.value("select 1").await, "1");
        assert_eq!(gateway.leaves_of("SESSION_OPEN")[0]["chain"], json!(["erin@idp"]));
    });
}
