//! Tokens of other issuers: each check of a token, through the real wire.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::{
    Authority, Conn, Gateway, KeySetServer, Major, PERMIT_ALL, Server, SigningKey, eventually, forge, key_set, now, run,
    sqlstate, text,
};
use crate::identity::{detail_of_last_close, refusal};

/// Good claims of the issuer `corp`, with these in place of theirs; `null` takes one away.
fn claims(changed: &Value) -> Value {
    let mut claims =
        json!({ "iss": "https://idp.corp.test", "aud": "claviger", "sub": "erin", "iat": now(), "exp": now() + 600 });
    for (name, value) in changed.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn corp(keys: &str, more: &str) -> String {
    format!(
        "[[issuers]]\nname = \"corp\"\nissuer = \"https://idp.corp.test\"\naudience = \"claviger\"\nalgorithms = [\"EdDSA\"]\n\
         groups_claim = \"groups\"\nclock_skew = \"1s\"\n{keys}\n{more}\n"
    )
}

/// A gateway that trusts `corp`, whose keys stand in a file.
fn trusting(server: &Server, key: &SigningKey, policies: &str, more: &str) -> Gateway {
    let mut gateway = Gateway::configure(&[Conn::to("bank", server)], policies, &corp("jwks_file = \"corp.json\"", more));
    std::fs::write(gateway.path("corp.json"), key_set(&[key])).unwrap();
    gateway.start();
    gateway
}

#[test]
fn every_check_refuses() {
    run(async {
        let server = server!(Major::V15, &["log_connections=on"]);
        let key = SigningKey::new("k1");
        let gateway = trusting(&server, &key, PERMIT_ALL, "");
        let eddsa = json!({ "alg": "EdDSA", "kid": "k1" });
        let good = key.sign(&claims(&json!({})));
        let (message, signature) = good.rsplit_once('.').unwrap();
        let another = SigningKey::new("k1").sign(&claims(&json!({})));
        let sign = |changed: Value| key.sign(&claims(&changed));
        let cases = [
            ("token.malformed", "no-token-at-all-but-a-password".to_owned()),
            ("token.malformed", "aaaa.bbbb.cccc".to_owned()),
            ("token.malformed", message.to_owned()),
            ("token.expired", sign(json!({ "iat": now() - 700, "exp": now() - 100 }))),
            ("token.not_yet_valid", sign(json!({ "nbf": now() + 300 }))),
            ("token.not_yet_valid", sign(json!({ "iat": now() + 300 }))),
            ("token.lifetime", sign(json!({ "exp": now() + 90_000 }))),
            ("token.audience", sign(json!({ "aud": "somebody-else" }))),
            ("token.audience", sign(json!({ "aud": null }))),
            ("token.claim_missing", sign(json!({ "sub": null }))),
            ("token.claim_missing", sign(json!({ "exp": null }))),
            ("token.unknown_issuer", sign(json!({ "iss": "https://idp.corp.test/" }))),
            ("token.type", sign(json!({ "events": {} }))),
            ("token.algorithm", forge(&json!({ "alg": "none" }), &claims(&json!({})), b"")),
            ("token.algorithm", forge(&json!({ "alg": "None", "kid": "k1" }), &claims(&json!({})), b"")),
            ("token.algorithm", hs256_with_the_public_key(&key)),
            ("token.algorithm", forge(&json!({ "alg": "RS256", "kid": "k1" }), &claims(&json!({})), &[7; 256])),
            ("token.unknown_key", SigningKey::new("k2").sign(&claims(&json!({})))),
            ("token.signature", another),
            ("token.signature", forge(&eddsa, &claims(&json!({ "sub": "root" })), &[0; 64])),
            ("token.signature", forge(&eddsa, &claims(&json!({})), b"")),
            (
                "token.malformed",
                forge(&json!({ "alg": "EdDSA", "kid": "k1", "crit": ["x"] }), &claims(&json!({})), signature.as_bytes()),
            ),
            ("delegation.untrusted", sign(json!({ "act": { "sub": "mallory" } }))),
            ("token.groups", sign(json!({ "_claim_names": { "groups": "src1" } }))),
        ];
        for (expected, token) in &cases {
            let (state, message, reason) = refusal(&gateway, "bank", token);
            assert_eq!((state.as_str(), reason.as_str()), ("28000", *expected), "{message}");
        }
        assert!(!server.log().contains("user=keeper"), "nobody reached the upstream");
        // The same token, untouched, is good.
        gateway.login("bank", "erin", &good).await.unwrap().batch_execute("select 1").await.unwrap();
        let request = &gateway.leaves_of("REQUEST")[0];
        assert_eq!(request["who"], "erin@corp");
        gateway.verify();
    });
}

/// A token whose HMAC key is the issuer's public key, as a verifier that lets the token choose its algorithm would take it.
fn hs256_with_the_public_key(key: &SigningKey) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k1".to_owned());
    let public = URL_SAFE_NO_PAD.decode(key.jwk()["x"].as_str().unwrap()).unwrap();
    jsonwebtoken::encode(&header, &claims(&json!({})), &EncodingKey::from_secret(&public)).unwrap()
}

#[test]
fn groups_of_an_issuer_are_its_own() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k1");
        let policies = r#"@id("dba") permit (principal in Group::"corp/dba", action == Action::"connect", resource == Connection::"bank");
            @id("ours") permit (principal in Group::"dba", action == Action::"connect", resource == Connection::"bank");"#;
        let gateway = trusting(&server, &key, policies, "");
        let token = |groups: Value| {
            let token = key.sign(&claims(&json!({ "groups": groups })));
            gateway.must_not_write_token(&token);
            token
        };
        gateway.login("bank", "erin", &token(json!(["staff", "dba"]))).await.unwrap();
        assert_eq!(gateway.leaves_of("SESSION_OPEN")[0]["decision"]["policies"], json!(["dba"]));
        let (state, _, reason) = refusal(&gateway, "bank", &token(json!(["staff"])));
        assert_eq!((state.as_str(), reason.as_str()), ("42501", "policy.deny"));
        assert_eq!(refusal(&gateway, "bank", &token(json!(["corp/dba"]))).2, "policy.deny");

        gateway.add(&["user", "erin@corp"]);
        gateway.must(&["principals", "disable", "erin@corp"]);
        let shut_out = token(json!(["dba"]));
        eventually("Erin is shut out", Duration::from_secs(2), async || gateway.login("bank", "erin", &shut_out).await.is_err())
            .await;
        assert_eq!(refusal(&gateway, "bank", &shut_out).2, "principal.disabled");
    });
}

#[test]
fn act_is_believed_where_configured_and_registered() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k1");
        let gateway = trusting(&server, &key, PERMIT_ALL, "act = true");
        let token = key.sign(&claims(&json!({ "act": { "sub": "copilot" } })));
        assert_eq!(refusal(&gateway, "bank", &token).2, "principal.unknown", "of an actor a token says nothing but its name");
        gateway.add(&["workload", "copilot@corp"]);
        let registered = async || refusal(&gateway, "bank", &token).2 == "delegation.unregistered";
        eventually("the actor is known", Duration::from_secs(2), registered).await;
        gateway.must(&["principals", "delegate", "copilot@corp", "erin@corp"]);
        gateway.session_soon("bank", "x", &token).await;
        let opened = gateway.leaves_of("SESSION_OPEN");
        assert_eq!(opened[0]["chain"], json!(["copilot@corp", "erin@corp"]));
        let deep = json!({ "act": { "sub": "a", "act": { "sub": "b", "act": { "sub": "c", "act": { "sub": "d", "act": { "sub": "e",
            "act": { "sub": "f", "act": { "sub": "g", "act": { "sub": "h", "act": { "sub": "i" } } } } } } } } } });
        assert_eq!(refusal(&gateway, "bank", &key.sign(&claims(&deep))).2, "delegation.depth");
    });
}

#[test]
fn sessions_end_with_their_token() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k1");
        let gateway = trusting(&server, &key, PERMIT_ALL, "[limits]\nexpiry_grace = \"2s\"\n");
        let token = key.sign(&claims(&json!({ "exp": now() + 2 })));
        gateway.must_not_write_token(&token);
        let login = async || gateway.login("bank", "erin", &token).await.unwrap();
        let (mut idle, busy, mut slow) = (login().await, login().await, login().await);
        busy.batch_execute("begin; insert into customers values (70, 'late', null)").await.unwrap();
        slow.batch_execute("begin; insert into customers values (71, 'too late', null)").await.unwrap();
        // The issuer's clock may differ by a second.
        let error = idle.goodbye(Duration::from_secs(5)).await.unwrap();
        assert_eq!(sqlstate(&error), "28000", "{}", text(&error));
        assert_eq!(detail_of_last_close(&gateway), "token.expired");
        assert_eq!(refusal(&gateway, "bank", &token).2, "token.expired");
        // An open transaction gets its grace, and no new one begins.
        busy.batch_execute("commit").await.unwrap();
        let error = busy.batch_execute("select 1").await.unwrap_err();
        assert_eq!(sqlstate(&error), "28000", "{}", text(&error));
        assert_eq!(sqlstate(&slow.goodbye(Duration::from_secs(4)).await.unwrap()), "28000");
        assert_eq!(server.value("bank", "select string_agg(name, ',') from customers where id >= 70").await, "late");
    });
}

#[test]
fn published_keys_rotate_while_it_runs() {
    run(async {
        let server = server!(Major::V15);
        let (authority, old, new) = (Authority::new(), SigningKey::new("old"), SigningKey::new("new"));
        let published = KeySetServer::start(&authority, &[&old]);
        let keys = format!("jwks_url = \"https://localhost:{}/jwks\"", published.port);
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, &corp(&keys, ""));
        let trusted = authority.write(&gateway.path("idp-ca.pem"));
        // The system's trusted certificates, for this process.
        gateway.environment("SSL_CERT_FILE", trusted.to_str().unwrap());
        gateway.start();
        let (first, second) = (old.sign(&claims(&json!({}))), new.sign(&claims(&json!({}))));
        gateway.must_not_write_token(&first);
        eventually("the published key is known", Duration::from_secs(5), async || {
            gateway.login("bank", "erin", &first).await.is_ok()
        })
        .await;

        published.publish(&[&old, &new]);
        // The unknown key makes the gateway ask again, though no more often than it may.
        gateway.must_not_write_token(&second);
        let taken = Duration::from_secs(45);
        eventually("the new key is fetched", taken, async || gateway.login("bank", "erin", &second).await.is_ok()).await;
        gateway.login("bank", "erin", &first).await.expect("the old key is still published");

        let asked = published.asked();
        for n in 0..30 {
            let stranger = SigningKey::new(&format!("stranger-{n}")).sign(&claims(&json!({})));
            assert!(gateway.login("bank", "erin", &stranger).await.is_err());
        }
        assert!(
            published.asked() <= asked + 3,
            "strangers cannot make the gateway hammer its provider: {} fetches",
            published.asked() - asked
        );
    });
}
