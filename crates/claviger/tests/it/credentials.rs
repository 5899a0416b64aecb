//! What clients prove themselves with besides a password: OAUTHBEARER and certificates.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::command_line::Running;
use crate::harness::{
    Authority, Conn, Gateway, Major, PERMIT_ALL, Raw, SSL_REQUEST, Server, SigningKey, binary, client_config_of, driver,
    error_field, eventually, frame, free_port, key_set, now, run, startup_packet, terminated, text_value,
};

const ISSUER: &str = "https://idp.test";
const OAUTH: &str = "auth = [\"oauth\"]\noauth = { issuer = \"corp\", scope = \"openid email\" }";

fn issuer() -> String {
    format!(
        "[[issuers]]\nname = \"corp\"\nissuer = \"{ISSUER}\"\naudience = \"claviger\"\nalgorithms = [\"EdDSA\"]\n\
         jwks_file = \"corp.json\"\n"
    )
}

/// A gateway whose listener asks for OAUTHBEARER, and a token of its issuer.
fn asking(server: &Server) -> (Gateway, String) {
    let key = SigningKey::new("k1");
    let mut gateway = Gateway::configure(&[Conn::to("bank", server).set(OAUTH)], PERMIT_ALL, &issuer());
    std::fs::write(gateway.path("corp.json"), key_set(&[&key])).unwrap();
    gateway.add(&["user", "alice"]);
    gateway.start();
    let token =
        key.sign(&json!({ "iss": ISSUER, "aud": "claviger", "sub": "erin", "iat": now(), "exp": now() + 600, "jti": "j1" }));
    gateway.must_not_write_token(&token);
    (gateway, token)
}

/// `SASLInitialResponse`.
fn initial(mechanism: &str, message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    frame(b'p', &[&terminated(mechanism), &length[..], message.as_bytes()].concat())
}

#[test]
fn who_is_refused_and_stays_is_refused_once_and_makes_way() {
    run(async {
        let server = server!(Major::V15);
        let limits = format!("{}[limits]\nunauthenticated_per_address = 1\n", issuer());
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server).set(OAUTH)], PERMIT_ALL, &limits);
        std::fs::write(gateway.path("corp.json"), key_set(&[&SigningKey::new("k1")])).unwrap();
        gateway.start();
        // The protocol lets it answer to the bad news, and it does not.
        let (mut first, answer) = respond(&gateway, "n,,\x01auth=Bearer not.a.token\x01\x01");
        assert!(String::from_utf8(answer.unwrap().1).unwrap().contains("invalid_token"));
        let (_second, _) = respond(&gateway, "n,,\x01auth=Bearer neither.is.this\x01\x01");
        assert_eq!(first.message(), None);
        let refused = gateway.leaves_of("SESSION_REFUSED");
        let reasons: Vec<_> = refused.iter().map(|leaf| leaf["reason"].as_str().unwrap()).collect();
        assert_eq!(reasons, ["token.malformed", "token.malformed"], "each once");
        assert_eq!(gateway.metric("claviger_sessions_refused_total{connection=\"\",reason=\"limit.address\"}"), 0.0);
    });
}

/// Chooses the mechanism and sends a message: what the server says next.
fn respond(gateway: &Gateway, message: &str) -> (Raw, Option<(u8, Vec<u8>)>) {
    let mut raw = gateway.raw("bank");
    raw.send(&startup_packet(&[("user", "alice")]));
    assert_eq!(raw.message().unwrap(), (b'R', b"\0\0\0\x0aOAUTHBEARER\0\0".to_vec()));
    raw.send(&initial("OAUTHBEARER", message));
    let answer = raw.message();
    (raw, answer)
}

#[test]
fn oauthbearer_on_the_wire() {
    run(async {
        let server = server!(Major::V15);
        let (gateway, token) = asking(&server);

        // A client that asks where to get a token has been denied nothing.
        for auth in ["", "Bearer ", "Bearer", "Basic dDp0"] {
            let (mut raw, answer) = respond(&gateway, &format!("n,,\x01auth={auth}\x01\x01"));
            let (kind, body) = answer.unwrap();
            assert_eq!((kind, &body[..4]), (b'R', &[0, 0, 0, 11][..]), "{auth:?}");
            let discovery: Value = serde_json::from_slice(&body[4..]).unwrap();
            let expected = json!({
                "status": "invalid_token",
                "openid-configuration": format!("{ISSUER}/.well-known/openid-configuration"),
                "scope": "openid email",
            });
            assert_eq!(discovery, expected);
            raw.send(&frame(b'p', b"\x01"));
            let error = raw.message().unwrap();
            assert_eq!((error_field(&error, b'S').as_str(), error_field(&error, b'C').as_str()), ("FATAL", "28000"));
            assert_eq!(raw.message(), None);
        }
        assert!(gateway.leaves_of("SESSION_REFUSED").is_empty());

        // A token that is not good is a denial, and the client learns where to get a better one.
        let (mut raw, answer) = respond(&gateway, "n,,\x01auth=Bearer not.a.token\x01\x01");
        assert!(String::from_utf8(answer.unwrap().1).unwrap().contains("invalid_token"));
        raw.send(&frame(b'p', b"\x01"));
        assert_eq!(error_field(&raw.message().unwrap(), b'C'), "28000");
        assert_eq!(gateway.leaves_of("SESSION_REFUSED")[0]["reason"], "token.malformed");

        // A good one is.
        let (mut raw, answer) = respond(&gateway, &format!("n,,\x01auth=Bearer {token}\x01\x01"));
        assert_eq!(answer.unwrap(), (b'R', vec![0; 4]));
        raw.until_ready();
        assert_eq!(text_value(&raw.query("select count(*) from customers")), "3");
        let opened = &gateway.leaves_of("SESSION_OPEN")[0];
        assert_eq!((&opened["chain"], &opened["proof"]), (&json!(["erin@corp"]), &json!("oauthbearer")));

        // What is no message, a wrong mechanism, and a password where none was asked for.
        let good = format!("n,,\x01auth=Bearer {token}\x01\x01");
        for (sent, state) in [
            (initial("SCRAM-SHA-256", &good), "08P01"),
            (initial("OAUTHBEARER", &format!("{good}x")), "08P01"),
            (initial("OAUTHBEARER", &good.replace("n,,", "p=tls-server-end-point,,")), "08P01"),
            (initial("OAUTHBEARER", &good.replace("n,,", "n,a=root,")), "0A000"),
            (initial("OAUTHBEARER", &format!("n,,\x01auth=Bearer {token}\x01")), "08P01"),
            (initial("OAUTHBEARER", "n,,\x01host=x\x01\x01"), "08P01"),
            (initial("OAUTHBEARER", ""), "08P01"),
            (frame(b'p', &terminated(&token)), "08P01"),
            (frame(b'p', b"OAUTHBEARER\0\x7f\xff\xff\xff"), "08P01"),
            (frame(b'Q', &terminated("select 1")), "08P01"),
        ] {
            let mut raw = gateway.raw("bank");
            raw.send(&startup_packet(&[("user", "alice")]));
            raw.message().unwrap();
            raw.send(&sent);
            assert_eq!(error_field(&raw.message().unwrap(), b'C'), state, "{}", String::from_utf8_lossy(&sent));
            assert_eq!(raw.message(), None);
        }
        // The token is never asked for in the clear.
        let mut raw = Raw::plain(gateway.port("bank"));
        raw.send(&startup_packet(&[("user", "alice")]));
        assert_eq!(error_field(&raw.message().unwrap(), b'C'), "28000");
        assert_eq!(gateway.leaves_of("SESSION_OPEN").len(), 1);
        gateway.verify();
    });
}

#[test]
fn libpq_with_oauth() {
    run(async {
        let server = server!(Major::V15);
        let (gateway, token) = asking(&server);
        driver(&gateway, "libpq_oauth", &[("OAUTH_ISSUER", ISSUER), ("OAUTH_TOKEN", &token)]);
        let refused = gateway.leaves_of("SESSION_REFUSED");
        assert_eq!(refused.iter().map(|leaf| &leaf["reason"]).collect::<Vec<_>>(), ["token.malformed"]);
    });
}

/// A client of any age, through `claviger connect`.
#[test]
fn connect_speaks_oauthbearer() {
    run(async {
        let server = server!(Major::V15);
        let (gateway, token) = asking(&server);
        for (said, expected) in [(token.as_str(), None), ("not.a.token", Some("28000"))] {
            std::fs::write(gateway.path("token"), said).unwrap();
            let port = free_port();
            let address = format!("localhost:{}", gateway.port("bank"));
            let connect = Command::new(binary())
                .args(["connect", "bank", "--address", &address, "--listen", &format!("127.0.0.1:{port}"), "--token-file"])
                .arg(gateway.path("token"))
                .arg("--ca")
                .arg(gateway.authority())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let _connect = Running(connect.unwrap());
            eventually("it listens", Duration::from_secs(10), async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
            let mut raw = Raw::plain(port);
            raw.send(&startup_packet(&[("user", "whoever")]));
            let answers = raw.until_ready();
            match expected {
                None => assert_eq!(text_value(&raw.query("select count(*) from customers")), "3"),
                Some(state) => assert_eq!(error_field(answers.last().unwrap(), b'C'), state),
            }
        }
        assert_eq!(gateway.leaves_of("SESSION_OPEN").len(), 1);
    });
}

/// TLS settings of a client with this certificate.
fn holding(gateway: &Gateway, identity: &(String, String)) -> Arc<ClientConfig> {
    client_config_of(&gateway.authority(), Some(identity), &[])
}

/// A client inside TLS with this certificate, that has said what it wants.
fn show(gateway: &Gateway, connection: &str, identity: &(String, String)) -> Raw {
    let mut raw = Raw::plain(gateway.port(connection));
    raw.send(&SSL_REQUEST);
    assert_eq!(raw.byte(), Some(b'S'));
    raw.start_tls_of(holding(gateway, identity)).unwrap();
    raw.send(&startup_packet(&[("user", "whoever"), ("database", connection)]));
    raw
}

#[test]
fn certificates_let_in_whom_they_name() {
    run(async {
        let server = server!(Major::V15);
        let (mesh, people) = (Authority::new(), Authority::new());
        let conns = [
            Conn::to("either", &server).set("auth = [\"certificate\", \"password\"]"),
            Conn::to("only", &server).set("auth = [\"certificate\"]"),
            Conn::to("never", &server),
        ];
        let policies = r#"
            @id("mesh") permit (principal == Workload::"mesh/spiffe://mesh/etl", action == Action::"connect", resource);
            @id("people") permit (principal == User::"people/ada", action == Action::"connect", resource);
            @id("alice") permit (principal == User::"alice", action == Action::"connect", resource);"#;
        let authorities = "[[authorities]]\nname = \"mesh\"\ncertificates = \"mesh.pem\"\nsubject = \"{uri}\"\n\
                           [[authorities]]\nname = \"people\"\ncertificates = \"people.pem\"\nsubject = \"{cn}\"\nkind = \"user\"\n";
        let mut gateway = Gateway::configure(&conns, policies, authorities);
        mesh.write(&gateway.path("mesh.pem"));
        people.write(&gateway.path("people.pem"));
        gateway.add(&["user", "alice"]);
        gateway.start();

        let etl = mesh.certify_client("ada", "spiffe://mesh/etl", 3600);
        let ada = people.certify_client("ada", "spiffe://mesh/etl", 3600);
        for (connection, identity, who) in [("either", &etl, "spiffe://mesh/etl@mesh"), ("only", &ada, "ada@people")] {
            let mut raw = show(&gateway, connection, identity);
            assert_eq!(raw.message().unwrap(), (b'R', vec![0; 4]), "no password is asked for");
            raw.until_ready();
            assert_eq!(text_value(&raw.query("select count(*) from customers")), "3");
            let opened = gateway.leaves_of("SESSION_OPEN").pop().unwrap();
            assert_eq!((&opened["chain"], &opened["proof"]), (&json!([who]), &json!("certificate")));
        }

        // Who is not believed, is believed to be nobody who may, or shows nothing.
        let cases = [
            (Authority::new().certify_client("ada", "spiffe://mesh/etl", 3600), "certificate.untrusted", "28000"),
            (mesh.certify_client("ada", "spiffe://mesh/etl", -1), "certificate.expired", "28000"),
            (mesh.certify_client("ada", "spiffe://mesh/etl", 30 * 24 * 3600), "certificate.lifetime", "28000"),
            (mesh.certify_client("ada", "spiffe://mesh/other", 3600), "policy.deny", "42501"),
        ];
        for (identity, reason, state) in &cases {
            for connection in ["either", "only"] {
                let error = show(&gateway, connection, identity).message().unwrap();
                assert_eq!(error_field(&error, b'C'), *state, "{reason}: {error:?}");
                assert_eq!(gateway.leaves_of("SESSION_REFUSED").pop().unwrap()["reason"], *reason);
            }
        }
        let token = gateway.token(&["alice"]);
        gateway.raw("either").login("alice", "either", &token).unwrap();
        assert_eq!(gateway.leaves_of("SESSION_OPEN").pop().unwrap()["proof"], "password");
        let error = gateway.raw("only").login("alice", "only", &token).unwrap_err();
        assert_eq!(error_field(&error, b'C'), "28000");
        // Where certificates do not count, none is asked for.
        assert_eq!(show(&gateway, "never", &etl).message().unwrap(), (b'R', vec![0, 0, 0, 3]));

        // Disabling the principal ends its session and its certificate.
        let mut raw = show(&gateway, "only", &etl);
        raw.until_ready();
        gateway.add(&["workload", "spiffe://mesh/etl@mesh"]);
        gateway.must(&["principals", "disable", "spiffe://mesh/etl@mesh"]);
        assert_eq!(error_field(&raw.message().unwrap(), b'C'), "28000");
        assert_eq!(error_field(&show(&gateway, "only", &etl).message().unwrap(), b'C'), "28000");
        assert_eq!(gateway.leaves_of("SESSION_REFUSED").pop().unwrap()["reason"], "principal.disabled");
        gateway.verify();
    });
}

#[test]
fn a_session_ends_with_its_certificate() {
    run(async {
        let server = server!(Major::V15);
        let mesh = Authority::new();
        let conns = [Conn::to("bank", &server).set("auth = [\"certificate\"]")];
        let more = "[[authorities]]\nname = \"mesh\"\ncertificates = \"mesh.pem\"\nsubject = \"{cn}\"\n\
                    [limits]\nexpiry_grace = \"1s\"\n";
        let mut gateway = Gateway::configure(&conns, PERMIT_ALL, more);
        mesh.write(&gateway.path("mesh.pem"));
        gateway.start();
        let short = mesh.certify_client("etl", "spiffe://mesh/etl", 3);
        let mut idle = show(&gateway, "bank", &short);
        idle.until_ready();
        let mut busy = show(&gateway, "bank", &short);
        busy.until_ready();
        busy.query("begin");
        // One that is idle at once, one in a transaction after its grace.
        assert_eq!(error_field(&idle.message().unwrap(), b'C'), "28000");
        assert_eq!(text_value(&busy.query("select 1")), "1");
        assert_eq!(error_field(&busy.message().unwrap(), b'C'), "28000");
        eventually("both ends are on record", Duration::from_secs(2), async || gateway.leaves_of("SESSION_CLOSE").len() == 2)
            .await;
        assert!(gateway.leaves_of("SESSION_CLOSE").iter().all(|leaf| leaf["detail"] == "token.expired"));
        let error = show(&gateway, "bank", &short).message().unwrap();
        assert_eq!(error_field(&error, b'C'), "28000");
        gateway.verify();
    });
}
