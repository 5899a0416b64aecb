//! Who is let in, who is not, and how soon a right that is taken away is gone.

use std::time::Duration;

use crate::harness::{
    Conn, Gateway, Major, PERMIT_ALL, Raw, Server, Session, error_field, eventually, run, sqlstate, text, unique,
};

/// A right that is taken away is gone everywhere within this time.
const SOON: Duration = Duration::from_secs(2);

/// How the gateway refused a token: the SQLSTATE and the message at the client, and the stable code in the log.
pub(crate) fn refusal(gateway: &Gateway, connection: &str, token: &str) -> (String, String, String) {
    gateway.must_not_write_token(token);
    let before = gateway.leaves_of("SESSION_REFUSED").len();
    let mut raw = gateway.raw(connection);
    let error = raw.login("alice", connection, token).expect_err("the token is not good");
    assert_eq!(error_field(&error, b'S'), "FATAL");
    assert_eq!(raw.message(), None, "the gateway hangs up");
    let said = String::from_utf8_lossy(&error.1).into_owned();
    for part in token.split('.').filter(|part| part.len() > 3) {
        assert!(!said.contains(part), "the error holds a part of the token: {said}");
    }
    let refused = gateway.leaves_of("SESSION_REFUSED");
    assert_eq!(refused.len(), before + 1, "one refusal, one leaf");
    let reason = refused.last().unwrap()["reason"].as_str().unwrap().to_owned();
    (error_field(&error, b'C'), error_field(&error, b'M'), reason)
}

/// Ends that must come soon: the session's own, and that of what it runs upstream.
async fn ends_soon(server: &Server, session: &mut Session, code: &str) {
    let error = session.goodbye(SOON).await.expect("the session is told why it ends");
    assert_eq!(sqlstate(&error), code, "{}", text(&error));
    eventually("the upstream session ends", SOON, async || server.gateway_sessions().await == "0").await;
}

pub(crate) fn detail_of_last_close(gateway: &Gateway) -> String {
    let closed = gateway.leaves_of("SESSION_CLOSE");
    closed.last().expect("a session was closed")["detail"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_revoked_token_ends_its_sessions() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let (revoked, other) = (gateway.token(&["alice"]), gateway.token(&["alice"]));
        let mut ended = gateway.login("bank", "alice", &revoked).await.unwrap();
        let kept = gateway.login("bank", "alice", &other).await.unwrap();
        let opened = gateway.leaves_of("SESSION_OPEN");
        let id = opened[0]["token"].as_str().expect("the token's id stands in the log").to_owned();
        let running = ended.simple_query("select pg_sleep(60)");
        let (ran, ()) = tokio::join!(running, async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            gateway.must(&["token", "revoke", &id]);
        });
        assert_eq!(sqlstate(&ran.unwrap_err()), "28000");
        let _ = ended.goodbye(SOON).await;
        assert_eq!(detail_of_last_close(&gateway), "token.revoked");
        eventually("what ran upstream is cancelled", SOON, async || server.gateway_sessions().await == "1").await;
        assert_eq!(kept.value("select 1").await, "1", "another token of the same principal is as good as before");
        let (state, _, reason) = refusal(&gateway, "bank", &revoked);
        assert_eq!((state.as_str(), reason.as_str()), ("28000", "token.revoked"));
    });
}

#[test]
fn all_tokens_of_a_principal_can_be_revoked() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let token = gateway.token(&["alice"]);
        let mut session = gateway.login("bank", "alice", &token).await.unwrap();
        gateway.must(&["token", "revoke", "--principal", "alice"]);
        ends_soon(&server, &mut session, "28000").await;
        assert_eq!(refusal(&gateway, "bank", &token).2, "token.revoked");
        gateway.session("bank", "alice").await;
    });
}

#[test]
fn a_disabled_principal_is_out() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::prepared(&server, |gateway| gateway.add(&["user", "bob"]));
        let token = gateway.token(&["alice"]);
        let mut idle = gateway.login("bank", "alice", &token).await.unwrap();
        let bob = gateway.session("bank", "bob").await;
        let mut in_transaction = gateway.login("bank", "alice", &token).await.unwrap();
        in_transaction.batch_execute("begin; delete from customers").await.unwrap();
        gateway.must(&["principals", "disable", "alice"]);
        for session in [&mut idle, &mut in_transaction] {
            assert_eq!(sqlstate(&session.goodbye(SOON).await.unwrap()), "28000");
        }
        assert_eq!(detail_of_last_close(&gateway), "principal.disabled");
        eventually("only Bob is left", SOON, async || server.gateway_sessions().await == "1").await;
        assert_eq!(bob.value("select count(*) from customers").await, "3");
        assert_eq!(refusal(&gateway, "bank", &token).2, "principal.disabled");
        assert!(!gateway.command(&["token", "issue", "alice"]).status.success(), "no token for who is out");
        gateway.must(&["principals", "enable", "alice"]);
        gateway.session_soon("bank", "alice", &token).await;
    });
}

/// The contractor who has left, and his nightly job.
#[test]
fn a_workload_ends_with_its_sponsor() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::prepared(&server, |gateway| {
            gateway.add(&["user", "carl"]);
            gateway.add(&["workload", "nightly", "--sponsor", "carl"]);
        });
        let token = gateway.token(&["nightly"]);
        let mut session = gateway.login("bank", "nightly", &token).await.unwrap();
        let opened = &gateway.leaves_of("SESSION_OPEN")[0];
        assert_eq!(opened["chain"], serde_json::json!(["nightly@local"]));
        assert_eq!(opened["sponsor"], "carl@local");
        let running = session.simple_query("select pg_sleep(60)");
        let (ran, ()) = tokio::join!(running, async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            gateway.must(&["principals", "disable", "carl"]);
        });
        assert_eq!(sqlstate(&ran.unwrap_err()), "28000");
        let _ = session.goodbye(SOON).await;
        eventually("what ran upstream is cancelled", SOON, async || server.gateway_sessions().await == "0").await;
        assert_eq!(detail_of_last_close(&gateway), "sponsor.disabled");
        assert_eq!(refusal(&gateway, "bank", &token).2, "sponsor.disabled");
    });
}

#[test]
fn acting_for_somebody_needs_a_registered_pair() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        gateway.add(&["workload", "assistant", "--sponsor", "alice"]);
        let issue = ["token", "issue", "alice", "--act", "assistant"];
        assert!(!gateway.command(&issue).status.success(), "the pair is not registered");
        gateway.must(&["principals", "delegate", "assistant", "alice"]);
        let token = gateway.token(&["alice", "--act", "assistant", "--purpose", "monthly report"]);
        let mut session = gateway.session_soon("bank", "assistant", &token).await;
        session.batch_execute("select 1").await.unwrap();
        let opened = &gateway.leaves_of("SESSION_OPEN")[0];
        assert_eq!(opened["chain"], serde_json::json!(["assistant@local", "alice@local"]));
        assert_eq!(opened["sponsor"], "alice@local");
        let request = &gateway.leaves_of("REQUEST")[0];
        assert_eq!(
            (request["who"].as_str(), request["purpose"].as_str()),
            (Some("assistant@local for alice@local"), Some("monthly report"))
        );
        let name = server.value("bank", "select application_name from pg_stat_activity where usename = 'keeper'").await;
        assert!(name.starts_with("claviger:assistant:"), "{name}");

        gateway.must(&["principals", "delegate", "assistant", "alice", "--remove"]);
        ends_soon(&server, &mut session, "28000").await;
        assert_eq!(detail_of_last_close(&gateway), "delegation.unregistered");
        assert_eq!(refusal(&gateway, "bank", &token).2, "delegation.unregistered");
    });
}

#[test]
fn a_chain_ends_with_any_link() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        gateway.add(&["workload", "assistant"]);
        gateway.must(&["principals", "delegate", "assistant", "alice"]);
        let token = gateway.token(&["alice", "--act", "assistant"]);
        for link in ["assistant", "alice"] {
            let mut session = gateway.session_soon("bank", "assistant", &token).await;
            gateway.must(&["principals", "disable", link]);
            ends_soon(&server, &mut session, "28000").await;
            gateway.must(&["principals", "enable", link]);
        }
    });
}

#[test]
fn a_token_crosses_inside_tls_only() {
    run(async {
        let server = server!(Major::V15);
        let conns = [Conn::to("bank", &server), Conn::to("local", &server).plaintext()];
        let mut gateway = Gateway::configure(&conns, PERMIT_ALL, "");
        gateway.add(&["user", "alice"]);
        gateway.start();
        let token = gateway.token(&["alice"]);
        let mut raw = Raw::plain(gateway.port("bank"));
        let error = raw.login("alice", "bank", &token).unwrap_err();
        assert_eq!(error_field(&error, b'C'), "28000");
        assert_eq!(raw.message(), None);
        // The token was never asked for: the error came in place of the request.
        let mut raw = Raw::plain(gateway.port("local"));
        raw.login("alice", "local", &token).unwrap();
        assert_eq!(raw.query("select 1")[1].1, [0, 1, 0, 0, 0, 1, b'1']);
        assert_eq!(gateway.leaves_of("SESSION_OPEN")[0]["tls"], serde_json::Value::Null);
        assert!(gateway.raw("local").login("alice", "local", &token).is_ok(), "TLS is taken there too");
        eventually("the second is on record", SOON, async || {
            gateway
                .leaves_of("SESSION_OPEN")
                .get(1)
                .is_some_and(|leaf| leaf["tls"].as_str().is_some_and(|tls| tls.starts_with("TLSv1.")))
        })
        .await;
    });
}

#[test]
fn the_user_name_proves_nothing() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let token = gateway.token(&["alice"]);
        let session = gateway.login("bank", &unique("whoever"), &token).await.unwrap();
        session.batch_execute("select 1").await.unwrap();
        assert_eq!(gateway.leaves_of("REQUEST")[0]["who"], "alice@local");
    });
}

#[test]
fn signing_keys_rotate_without_a_gap() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let old = gateway.token(&["alice"]);
        gateway.must(&["token", "rotate-key"]);
        let new = gateway.token(&["alice"]);
        gateway.session_soon("bank", "alice", &new).await;
        gateway.login("bank", "alice", &old).await.expect("the old key's token is good until it ends");
    });
}
