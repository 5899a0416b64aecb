//! A configuration that changes while sessions run: all of it is taken up, or nothing.

use std::time::Duration;

use crate::harness::{
    Conn, Gateway, Major, PERMIT_ALL, Raw, Server, Session, SigningKey, eventually, free_port, key_set, now, run, sqlstate, text,
};
use crate::identity::{detail_of_last_close, refusal};

const SOON: Duration = Duration::from_secs(2);

const ENGINEERS: &str = r#"@id("engineers") permit (principal in Group::"engineers", action == Action::"connect", resource);"#;

fn gateway(server: &Server, more: &str) -> Gateway {
    let mut gateway = Gateway::configure(&[Conn::to("bank", server), Conn::to("other", server)], ENGINEERS, more);
    gateway.add(&["user", "alice", "--group", "engineers"]);
    gateway.start();
    gateway
}

#[test]
fn a_policy_applies_to_the_next_operation_of_running_sessions() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server, "");
        let mut session = gateway.session("bank", "alice").await;
        session.batch_execute("begin; insert into customers values (80, 'gone', null)").await.unwrap();
        let kept = gateway.session("other", "alice").await;
        gateway
            .write_policies(r#"@id("other") permit (principal, action == Action::"connect", resource == Connection::"other");"#);
        assert!(gateway.reload(|toml| toml).await);
        let error = session.batch_execute("insert into customers values (81, 'refused', null)").await.unwrap_err();
        assert_eq!(sqlstate(&error), "42501", "{}", text(&error));
        let _ = session.goodbye(SOON).await;
        eventually("its end is on record", SOON, async || detail_of_last_close(&gateway) == "policy.deny").await;
        kept.batch_execute("select count(*) from pg_class").await.expect("what is still permitted goes on");
        let requests = gateway.leaves_of("REQUEST");
        let policies = |index: usize| requests[index]["decision"]["policies"].clone();
        assert_eq!(policies(0), serde_json::json!(["statements"]));
        assert_eq!(requests[1]["decision"]["verdict"], "deny");
        assert_eq!(policies(2), serde_json::json!(["statements"]), "and is recorded under the policy that permits it");
        eventually("nothing of it is left", SOON, async || server.gateway_sessions().await == "1").await;
        assert_eq!(server.value("bank", "select count(*) from customers where id >= 80").await, "0");
        gateway.verify();
    });
}

#[test]
fn what_is_wrong_changes_nothing() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server, "");
        let session = gateway.session("bank", "alice").await;
        let (token, taken) = (gateway.token(&["alice"]), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let taken = taken.local_addr().unwrap();
        let before = std::fs::read_to_string(gateway.path("claviger.toml")).unwrap();
        for wrong in [
            "[limits]\nidle = \"soon\"\n".to_owned(),
            "[audit]\norigin = \"another\"\n".to_owned(),
            // An address that somebody else has, and with it a connection that must not appear either.
            format!("[[listeners]]\nkind = \"postgres\"\nlisten = \"{taken}\"\nplaintext = true\n"),
            "[[connections]]\nname = \"new\"\n".to_owned(),
        ] {
            let changed = format!("{}\n{wrong}", before.replace("name = \"other\"", "name = \"renamed\""));
            assert!(!gateway.reload(|_| changed).await, "{wrong}");
            gateway.login("other", "alice", &token).await.expect("all is as it was");
        }
        session.batch_execute("select 1").await.unwrap();
        assert_eq!(gateway.leaves_of("BOOT").len(), 1);
        assert!(gateway.reload(|_| before).await);
        assert_eq!(gateway.leaves_of("BOOT").len(), 2, "what is taken up is recorded");
    });
}

#[test]
fn listeners_come_and_go_and_their_sessions_stay() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server, "");
        let (old, new, token) = (gateway.port("bank"), free_port(), gateway.token(&["alice"]));
        let session = gateway.session("bank", "alice").await;
        assert!(gateway.reload(|toml| toml.replace(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{new}"))).await);
        session.batch_execute("select 1").await.expect("a session outlives its listener");
        Raw::tls(new, &gateway.authority()).login("alice", "bank", &token).expect("the new listener serves");
        eventually("the old listener is closed", SOON, async || std::net::TcpStream::connect(("127.0.0.1", old)).is_err()).await;
        // The same socket, with another route.
        let shared = |toml: String| {
            toml.replace(&format!("listen = \"127.0.0.1:{new}\"\nplaintext = false\n"), "")
                + &format!("[[listeners]]\nkind = \"postgres\"\nlisten = \"127.0.0.1:{new}\"\n")
        };
        assert!(gateway.reload(shared).await);
        Raw::tls(new, &gateway.authority()).login("alice", "other", &token).unwrap();
        assert_eq!(gateway.leaves_of("SESSION_OPEN").last().unwrap()["connection"], "other");
    });
}

#[test]
fn a_renewed_certificate_is_used_for_new_clients_and_the_api() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server, "");
        let (token, session) = (gateway.token(&["alice"]), gateway.session("bank", "alice").await);
        let made = std::process::Command::new(crate::harness::binary())
            .args(["tls", "self-signed", "--host", "localhost", "--out"])
            .arg(gateway.path("renewed"))
            .output()
            .unwrap();
        assert!(made.status.success());
        let renewed =
            |toml: String| toml.replace("\"cert.pem\"", "\"renewed/cert.pem\"").replace("\"key.pem\"", "\"renewed/key.pem\"");
        assert!(gateway.reload(renewed).await);
        session.batch_execute("select 1").await.unwrap();
        let mut raw = Raw::plain(gateway.port("bank"));
        raw.send(&crate::harness::SSL_REQUEST);
        assert_eq!(raw.byte(), Some(b'S'));
        raw.start_tls(&gateway.path("renewed/ca.pem"));
        raw.login("alice", "bank", &token).unwrap();
        assert!(gateway.get("/healthz").is_err(), "the API shows the new one, which the old authority did not sign");
    });
}

#[test]
fn an_address_is_for_new_sessions_and_a_removed_connection_ends_its_own() {
    run(async {
        let (server, second) = (server!(Major::V15), server!(Major::V15));
        second.admin("bank").await.batch_execute("delete from customers").await.unwrap();
        let gateway = gateway(&server, "");
        let token = gateway.token(&["alice"]);
        let count = async |session: &Session| session.value("select count(*) from customers").await;
        let (old, mut removed) = (gateway.session("bank", "alice").await, gateway.session("other", "alice").await);
        let authority = |server: &Server| server.authority.as_ref().unwrap().display().to_string();
        let moved = |toml: String| {
            let (bank, other) = toml.split_at(toml.rfind("[[connections]]").unwrap());
            let tail = other.find("\n\n").map_or("", |end| &other[end..]);
            let bank = bank.replace(&format!("127.0.0.1:{}", server.port), &format!("127.0.0.1:{}", second.port));
            format!("{}{tail}", bank.replace(&authority(&server), &authority(&second)))
        };
        assert!(gateway.reload(moved).await);
        assert_eq!(count(&old).await, "3", "a running session stays where it is");
        assert_eq!(count(&gateway.login("bank", "alice", &token).await.unwrap()).await, "0");
        assert_eq!(sqlstate(&removed.goodbye(SOON).await.unwrap()), "57P01");
        eventually("its end is on record", SOON, async || {
            gateway.leaves_of("SESSION_CLOSE").iter().any(|leaf| leaf["detail"] == "connection.removed")
        })
        .await;
        // What still runs there can be cancelled there.
        let sleeping = old.simple_query("select pg_sleep(60)");
        let (result, ()) = tokio::join!(sleeping, async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            old.cancel().await;
        });
        assert_eq!(sqlstate(&result.unwrap_err()), "57014");
    });
}

#[test]
fn issuers_come_and_go() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k1");
        let gateway = gateway(&server, "");
        gateway.write_policies(PERMIT_ALL);
        std::fs::write(gateway.path("corp.json"), key_set(&[&key])).unwrap();
        let claims = serde_json::json!({
            "iss": "https://idp.test", "aud": "claviger", "sub": "erin", "iat": now(), "exp": now() + 600, "jti": "j1",
        });
        let token = key.sign(&claims);
        assert_eq!(refusal(&gateway, "bank", &token).2, "token.unknown_issuer");
        let corp = "[[issuers]]\nname = \"corp\"\nissuer = \"https://idp.test\"\naudience = \"claviger\"\njwks_file = \"corp.json\"\n\
                    algorithms = [\"EdDSA\"]\n";
        let before = std::fs::read_to_string(gateway.path("claviger.toml")).unwrap();
        assert!(gateway.reload(|toml| format!("{toml}\n{corp}")).await);
        let mut session = gateway.session_soon("bank", "erin", &token).await;
        session.batch_execute("select 1").await.unwrap();
        let local = gateway.session("bank", "alice").await;
        assert!(gateway.reload(|_| before).await);
        assert_eq!(sqlstate(&session.goodbye(SOON).await.unwrap()), "28000");
        local.batch_execute("select 1").await.expect("another issuer's session goes on");
        assert_eq!(refusal(&gateway, "bank", &token).2, "token.unknown_issuer");
    });
}
