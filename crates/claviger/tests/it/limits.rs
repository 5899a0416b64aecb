//! Limits, each with the error that says which one it was.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{
    Conn, Gateway, Major, PERMIT_ALL, Raw, SSL_REQUEST, Server, error_field, eventually, frame, run, sqlstate, terminated,
};
use crate::identity::refusal;

const SOON: Duration = Duration::from_secs(3);

fn limited(server: &Server, limits: &str, line: &str) -> Gateway {
    let conn = Conn::to("bank", server).set(line);
    let mut gateway = Gateway::configure(&[conn], PERMIT_ALL, &format!("[limits]\n{limits}\n"));
    for name in ["alice", "bob", "carol"] {
        gateway.add(&["user", name]);
    }
    gateway.start();
    gateway
}

/// The SQLSTATE and the message with which a login is refused.
fn refused(gateway: &Gateway, token: &str) -> (String, String) {
    let error = gateway.raw("bank").login("x", "bank", token).expect_err("there is no room");
    assert_eq!(error_field(&error, b'S'), "FATAL");
    (error_field(&error, b'C'), error_field(&error, b'M'))
}

#[test]
fn connections_are_limited_in_total_and_for_each_principal() {
    run(async {
        let server = server!(Major::V15);
        let gateway = limited(&server, "connections = 3\nconnections_per_principal = 2", "");
        let tokens = ["alice", "bob", "carol"].map(|name| gateway.token(&[name]));
        let first = gateway.login("bank", "alice", &tokens[0]).await.unwrap();
        let _second = gateway.login("bank", "alice", &tokens[0]).await.unwrap();
        let (code, message) = refused(&gateway, &tokens[0]);
        assert_eq!((code.as_str(), message.as_str()), ("53300", "too many connections of this principal"));
        let _third = gateway.login("bank", "bob", &tokens[1]).await.unwrap();
        assert_eq!(refused(&gateway, &tokens[2]), ("53300".to_owned(), "too many connections".to_owned()));
        drop(first);
        eventually("a place is free again", SOON, async || gateway.login("bank", "carol", &tokens[2]).await.is_ok()).await;
        for code in ["limit.principal", "limit.connections"] {
            assert!(gateway.leaves_of("SESSION_REFUSED").iter().any(|leaf| leaf["reason"] == code), "{code}");
        }
    });
}

#[test]
fn silent_strangers_keep_nobody_out() {
    run(async {
        let server = server!(Major::V15);
        let gateway = limited(&server, "unauthenticated = 40\nunauthenticated_per_address = 20\nlogin_timeout = \"5m\"", "");
        let token = gateway.token(&["alice"]);
        let bystander = gateway.login("bank", "alice", &token).await.unwrap();
        let mut silent: Vec<TcpStream> = (0..200)
            .map(|n| {
                let mut socket = TcpStream::connect(("127.0.0.1", gateway.port("bank"))).unwrap();
                if n % 2 == 1 {
                    socket.write_all(&SSL_REQUEST).unwrap();
                }
                socket
            })
            .collect();
        eventually("the oldest make way", SOON, async || gateway.metric("claviger_clients_unauthenticated") <= 20.0).await;
        gateway.login("bank", "alice", &token).await.expect("who means to log in is let in");
        bystander.batch_execute("select 1").await.unwrap();
        // The first was told why, in plain text, because it had not asked for TLS.
        let mut said = Vec::new();
        silent[0].set_read_timeout(Some(SOON)).unwrap();
        let _ = std::io::Read::read_to_end(&mut silent[0], &mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.starts_with('E') && said.contains("53300"), "{said:?}");
        let evicted = gateway.metric("claviger_sessions_refused_total{connection=\"\",reason=\"limit.address\"}");
        assert!((180.0..=201.0).contains(&evicted), "{evicted}");
    });
}

#[test]
fn refusals_without_end_are_counted_and_not_written_one_by_one() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = limited(&server, "refusals = 1", "");
        for _ in 0..60 {
            gateway.raw("bank").login("x", "bank", "nonsense").unwrap_err();
        }
        let alone = gateway.leaves_of("SESSION_REFUSED").len();
        assert!((10..30).contains(&alone), "{alone} leaves");
        assert!(gateway.stop().success());
        let counted = gateway.leaves_of("REFUSALS");
        let alone = gateway.leaves_of("SESSION_REFUSED").len();
        assert!(counted.iter().all(|leaf| leaf["reason"] == "token.malformed" && leaf["addresses"][0]["of"] == "127.0.0.1"));
        let sum: u64 = counted.iter().map(|leaf| leaf["count"].as_u64().unwrap()).sum();
        assert_eq!(sum + alone as u64, 60, "none is lost");
        gateway.verify();
    });
}

#[test]
fn idle_sessions_end_as_a_server_ends_them() {
    run(async {
        let server = server!(Major::V15);
        let gateway = limited(&server, "idle = \"1s\"\nidle_in_transaction = \"1s\"", "");
        let token = gateway.token(&["alice"]);
        let login = async || gateway.login("bank", "alice", &token).await.unwrap();
        let (mut idle, mut open, busy) = (login().await, login().await, login().await);
        open.batch_execute("begin; insert into customers values (90, 'idle', null)").await.unwrap();
        let running = busy.batch_execute("select pg_sleep(3)");
        let (ran, (idle, open)) =
            tokio::join!(running, async { (idle.goodbye(SOON).await.unwrap(), open.goodbye(SOON).await.unwrap()) });
        ran.expect("a statement that runs is no idleness");
        assert_eq!((sqlstate(&idle), sqlstate(&open)), ("57P05", "25P03"));
        eventually("it is rolled back", SOON, async || server.gateway_sessions().await.parse::<u32>().unwrap() <= 1).await;
        assert_eq!(server.value("bank", "select count(*) from customers where id = 90").await, "0");
    });
}

#[test]
fn a_statement_is_only_so_long() {
    run(async {
        let server = server!(Major::V15);
        let gateway = limited(&server, "statement = \"64KiB\"", "");
        let mut raw = gateway.raw("bank");
        raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
        assert_eq!(raw.query(&format!("select length('{}')", "x".repeat(60_000)))[1].1[6..], *b"60000");
        raw.send(&frame(b'Q', &terminated(&format!("select '{}'", "x".repeat(70_000)))));
        assert_eq!(error_field(&raw.message().unwrap(), b'C'), "54000");
    });
}

#[test]
fn a_session_lasts_only_so_long() {
    run(async {
        let server = server!(Major::V15);
        let gateway = limited(&server, "session_age = \"1s\"", "");
        let mut session = gateway.session("bank", "alice").await;
        let error = session.goodbye(SOON).await.unwrap();
        assert_eq!(sqlstate(&error), "57P01");
        assert_eq!(crate::identity::detail_of_last_close(&gateway), "session.max_age");
    });
}

#[test]
fn an_upstream_bears_so_many_and_the_others_wait_their_turn() {
    run(async {
        let server = server!(Major::V15);
        // The role itself bears no more either, beside the gateway's own session: a slot that were given on too early would be seen.
        server.admin("postgres").await.batch_execute("alter role keeper connection limit 3").await.unwrap();
        let gateway = limited(&server, "upstream_wait = \"8s\"\nupstream_queue = 30", "upstream_connections = 2");
        let tokens = ["alice", "bob"].map(|name| gateway.token(&[name]));
        let (first, second) =
            (gateway.login("bank", "a", &tokens[0]).await.unwrap(), gateway.login("bank", "a", &tokens[0]).await.unwrap());
        assert_eq!(gateway.metric("claviger_upstream_connections{connection=\"bank\"}"), 2.0);
        let (code, message) = refused(&gateway, &tokens[1]);
        assert_eq!((code.as_str(), message.contains("try again later")), ("53300", true));
        assert!(gateway.leaves_of("SESSION_REFUSED").iter().any(|leaf| leaf["reason"] == "limit.upstream_wait"));

        // Twenty of Alice's wait, then one of Bob's: he is served with the second that is free.
        let order = std::sync::Mutex::new(Vec::new());
        let one = async |who: &'static str, token: &str| {
            let Ok(session) = gateway.login("bank", who, token).await else { return };
            order.lock().unwrap().push(who);
            session.batch_execute("select 1").await.unwrap();
        };
        let waiting = |count: f64| {
            let gateway = &gateway;
            async move {
                eventually("they wait", SOON, async || gateway.metric("claviger_upstream_waiting{connection=\"bank\"}") >= count)
                    .await
            }
        };
        tokio::join!(
            async {
                crate::record::futures(20, |_| one("alice", &tokens[0])).await;
            },
            async {
                waiting(20.0).await;
                one("bob", &tokens[1]).await;
            },
            async {
                waiting(21.0).await;
                drop((first, second));
            }
        );
        let order = order.into_inner().unwrap();
        assert_eq!(order.len(), 21, "all are served, and none is refused upstream");
        let bob = order.iter().position(|who| *who == "bob").unwrap();
        assert!(bob <= 4, "bob waited for {bob} of alice's");
        assert_eq!(gateway.metric("claviger_upstream_failures_total{connection=\"bank\"}"), 0.0);
    });
}

#[test]
fn a_login_in_plain_text_is_refused_for_want_of_room_too() {
    run(async {
        let server = server!(Major::V15);
        let conn = Conn::to("bank", &server).plaintext();
        let mut gateway = Gateway::configure(&[conn], PERMIT_ALL, "[limits]\nconnections = 1\n");
        gateway.add(&["user", "alice"]);
        gateway.start();
        let token = gateway.token(&["alice"]);
        let mut first = Raw::plain(gateway.port("bank"));
        first.login("alice", "bank", &token).unwrap();
        let error = Raw::plain(gateway.port("bank")).login("alice", "bank", &token).unwrap_err();
        assert_eq!(error_field(&error, b'C'), "53300");
        // Nor does a wrong token find out whether there is room.
        assert_eq!(refusal(&gateway, "bank", "nonsense").0, "28000");
    });
}
