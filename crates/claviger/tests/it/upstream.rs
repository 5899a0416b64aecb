//! The upstream's leg: how it is protected, how the gateway proves itself there, and what a client learns when it cannot.

use std::time::Duration;

use crate::harness::{
    Authority, Conn, Gateway, KEEPER_PASSWORD, Major, PERMIT_ALL, Server, error_field, eventually, free_port, open_to_all, run,
    skip, sqlstate, unique,
};

on_each_server!(every_way_to_log_in);

/// Starts a gateway with these connections, and gives the result of one login to each: the value of a query, or the SQLSTATE.
async fn outcomes(conns: &[(&str, Conn)]) -> (Gateway, Vec<Result<String, String>>) {
    let all: Vec<Conn> = conns.iter().map(|(_, conn)| conn.clone()).collect();
    let mut gateway = Gateway::configure(&all, PERMIT_ALL, "");
    gateway.add(&["user", "alice"]);
    gateway.start();
    let token = gateway.token(&["alice"]);
    let mut outcomes = Vec::new();
    for (name, _) in conns {
        let mut raw = gateway.raw(name);
        outcomes.push(match raw.login("alice", name, &token) {
            Ok(_) => {
                let answer = raw.query(
                    "select current_user || ',' || coalesce((select version from pg_stat_ssl where pid = pg_backend_pid()), '')",
                );
                let row = &answer.iter().find(|(kind, _)| *kind == b'D').expect("a row").1;
                Ok(String::from_utf8(row[6..].to_vec()).unwrap())
            }
            Err(error) => {
                let said = String::from_utf8_lossy(&error.1).into_owned();
                for secret in ["keeper", KEEPER_PASSWORD, "127.0.0.1"] {
                    assert!(!said.contains(secret), "the client learns `{secret}` of the upstream: {said}");
                }
                Err(error_field(&error, b'C'))
            }
        });
    }
    (gateway, outcomes)
}

async fn every_way_to_log_in(major: Major) {
    let server = server!(major);
    let wrong = unique("wrong-");
    let to = |name: &str, user: &str| Conn::to(name, &server).user(user);
    let conns = [
        ("scram", to("scram", "keeper")),
        ("md5", to("md5", "keeper_md5")),
        ("plain", to("plain", "keeper_plain")),
        ("scram-wrong", to("scram-wrong", "keeper").password(&wrong)),
        ("md5-wrong", to("md5-wrong", "keeper_md5").password(&wrong)),
        ("plain-wrong", to("plain-wrong", "keeper_plain").password(&wrong)),
        ("stranger", to("stranger", "keeper_stranger")),
        ("no-database", to("no-database", "keeper").database("keeper_nowhere")),
    ];
    let (gateway, outcomes) = outcomes(&conns).await;
    let tls = if server.authority.is_some() { "TLSv1.3" } else { "" };
    let users: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map(|seen| seen.split_once(',').unwrap())).collect();
    // A password in the clear is sent inside TLS only.
    let plain = if server.authority.is_some() { Ok(("keeper_plain", tls)) } else { users[2] };
    assert_eq!(users[..3], [Ok(("keeper", tls)), Ok(("keeper_md5", tls)), plain]);
    for ((name, _), outcome) in conns.iter().zip(&users).skip(3) {
        let state = outcome.as_ref().expect_err(name);
        assert!(state.starts_with("08"), "{name}: {state}");
    }
    let refused = gateway.leaves_of("SESSION_REFUSED");
    assert!(refused.len() >= 5 && refused.iter().all(|leaf| leaf["chain"][0] == "alice@local"), "{refused:?}");
    gateway.assert_nowhere_on_disk(wrong.as_bytes());
    gateway.verify();
}

#[test]
fn tls_means_what_it_means_to_libpq() {
    run(async {
        let server = server!(Major::V15);
        let Some(authority) = server.authority.clone() else { return skip("this PostgreSQL 15 was built without TLS") };
        let elsewhere = Server::start_as(Major::V15, &[], &["elsewhere.internal"]).unwrap();
        let without = Server::start(Major::V15, &["ssl=off"]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let stranger = Authority::new().write(&dir.path().join("stranger.pem"));
        let (good, other) = (Some(authority.as_path()), Some(stranger.as_path()));
        let theirs = elsewhere.authority.clone();
        let (plain, inside) = (Ok("keeper,"), Ok("keeper,TLSv1.3"));
        let refused = Err("08");
        let cases = [
            (&server, "disable", None, plain),
            (&server, "prefer", None, inside),
            (&server, "require", None, inside),
            (&server, "verify-ca", good, inside),
            (&server, "verify-full", good, inside),
            (&server, "verify-ca", other, refused),
            (&server, "verify-full", other, refused),
            (&elsewhere, "require", None, inside),
            (&elsewhere, "verify-ca", theirs.as_deref(), inside),
            (&elsewhere, "verify-full", theirs.as_deref(), refused),
            (&without, "prefer", None, plain),
            (&without, "require", None, refused),
            (&without, "verify-full", good, refused),
        ];
        let names: Vec<String> = (0..cases.len()).map(|i| format!("c{i}")).collect();
        let conns: Vec<_> = names
            .iter()
            .zip(&cases)
            .map(|(name, (server, tls, trusted, _))| (name.as_str(), Conn::to(name, server).tls(tls, *trusted)))
            .collect();
        let (gateway, outcomes) = outcomes(&conns).await;
        for ((server, tls, _, expected), found) in cases.iter().zip(&outcomes) {
            let found = found.as_deref().map_err(|state| &state[..2]);
            assert_eq!(found, *expected, "{tls} before {}", server.port);
        }
        let opened = gateway.leaves_of("SESSION_OPEN");
        assert_eq!((opened[0]["upstream_tls"].as_str(), opened[1]["upstream_tls"].as_str()), (None, Some("TLSv1.3")));
    });
}

/// SCRAM bound to the channel, and certificates, as the server itself tells of them.
#[test]
fn every_proof_upstream_inside_tls() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        open_to_all(dir.path());
        let authority = Authority::new();
        let trusted = authority.write(&dir.path().join("clients.pem"));
        let hba = dir.path().join("hba.conf");
        let rules = "host all postgres 127.0.0.1/32 scram-sha-256\nhostssl all keeper_cert 127.0.0.1/32 cert\n\
                     hostnossl all all 127.0.0.1/32 reject\nhost all keeper_md5 127.0.0.1/32 md5\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(&hba, rules).unwrap();
        let settings = [format!("hba_file={}", hba.display()), format!("ssl_ca_file={}", trusted.display())];
        let server = Server::start(Major::V15, &settings.each_ref().map(String::as_str)).unwrap();
        if server.authority.is_none() {
            return skip("this PostgreSQL 15 was built without TLS");
        }
        server.admin("postgres").await.batch_execute("create role keeper_cert login in role keeper").await.unwrap();
        let write = |name: &str, (certificate, key): (String, String)| {
            let (certificate_file, key_file) = (dir.path().join(format!("{name}.crt")), dir.path().join(format!("{name}.key")));
            std::fs::write(&certificate_file, certificate).unwrap();
            std::fs::write(&key_file, key).unwrap();
            format!("tls_cert = \"{}\"\ntls_key = \"file:{}\"", certificate_file.display(), key_file.display())
        };
        let good = write("good", authority.certify_client("keeper_cert", "spiffe://x/keeper", 3600));
        let other_name = write("other", authority.certify_client("somebody", "spiffe://x/keeper", 3600));
        let stranger = write("stranger", Authority::new().certify_client("keeper_cert", "spiffe://x/keeper", 3600));
        let to = |name: &str, user: &str, line: &str| Conn::to(name, &server).user(user).set(line);
        let conns = [
            ("unbound", to("unbound", "keeper", "channel_binding = \"disable\"")),
            ("may", to("may", "keeper", "channel_binding = \"prefer\"")),
            ("must", to("must", "keeper", "channel_binding = \"require\"")),
            ("must-wrong", to("must-wrong", "keeper", "channel_binding = \"require\"").password(&unique("wrong-"))),
            ("must-md5", to("must-md5", "keeper_md5", "channel_binding = \"require\"")),
            ("cert", to("cert", "keeper_cert", &good)),
            ("cert-must", to("cert-must", "keeper_cert", &format!("{good}\nchannel_binding = \"require\""))),
            ("cert-other", to("cert-other", "keeper_cert", &other_name)),
            ("cert-stranger", to("cert-stranger", "keeper_cert", &stranger)),
            ("cert-none", to("cert-none", "keeper_cert", "")),
        ];
        let (gateway, outcomes) = outcomes(&conns).await;
        for ((name, _), outcome) in conns.iter().zip(&outcomes) {
            let expected = match *name {
                "unbound" | "may" | "must" => Ok("keeper,TLSv1.3"),
                "cert" => Ok("keeper_cert,TLSv1.3"),
                _ => Err("08"),
            };
            assert_eq!(outcome.as_deref().map_err(|state| &state[..2]), expected, "{name}");
        }
        // A renewed certificate is used at once: here, one that the upstream does not take.
        let token = gateway.token(&["alice"]);
        std::fs::copy(dir.path().join("other.crt"), dir.path().join("good.crt")).unwrap();
        std::fs::copy(dir.path().join("other.key"), dir.path().join("good.key")).unwrap();
        gateway.raw("cert").login("alice", "cert", &token).unwrap_err();
    });
}

#[test]
fn an_upstream_that_is_not_there_is_said_to_be_so() {
    run(async {
        let server = server!(Major::V15);
        let nowhere = format!("127.0.0.1:{}", free_port());
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent_address = silent.local_addr().unwrap().to_string();
        // A server that answers with nonsense.
        let babbler = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let babbling = babbler.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut socket in babbler.incoming().flatten() {
                let _ = std::io::Write::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\nkeeper");
            }
        });
        let to = |name: &str, address: &str| Conn::to(name, &server).address(address).tls("disable", None);
        let conns = [("gone", to("gone", &nowhere)), ("babbling", to("babbling", &babbling))];
        let (gateway, outcomes) = outcomes(&conns).await;
        for outcome in outcomes {
            assert!(outcome.as_ref().is_err_and(|state| state.starts_with("08")), "{outcome:?}");
        }
        drop(gateway);
        let mut gateway = Gateway::configure(
            &[to("silent", &silent_address), Conn::to("bank", &server)],
            PERMIT_ALL,
            "[limits]\nlogin_timeout = \"2s\"\n",
        );
        gateway.add(&["user", "alice"]);
        gateway.start();
        let token = gateway.token(&["alice"]);
        let began = std::time::Instant::now();
        let error = gateway.raw("silent").login("alice", "silent", &token).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_ne!(error_field(&error, b'C'), "");
        gateway.session("bank", "alice").await;
    });
}

#[test]
fn a_client_learns_when_its_upstream_goes() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let mut session = gateway.session("bank", "alice").await;
        server
            .admin("postgres")
            .await
            .batch_execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'keeper'")
            .await
            .unwrap();
        let error = session.goodbye(Duration::from_secs(5)).await.expect("the upstream's own word");
        assert_eq!(sqlstate(&error), "57P01");
        // Whichever side is seen to go first: both do.
        eventually("the end is on record", Duration::from_secs(2), async || gateway.leaves_of("SESSION_CLOSE").len() == 1).await;
        gateway.verify();
    });
}

#[test]
fn the_credential_is_read_anew_for_each_session() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        gateway.session("bank", "alice").await;
        let rotated = unique("rotated-");
        gateway.must_not_write(&rotated);
        server.admin("postgres").await.batch_execute(&format!("alter role keeper password '{rotated}'")).await.unwrap();
        std::fs::write(gateway.path("bank.password"), format!("{rotated}\n")).unwrap();
        assert_eq!(gateway.session("bank", "alice").await.value("select 1").await, "1");
    });
}
