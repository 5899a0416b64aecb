//! Tokens exchanged for the gateway's own (RFC 8693), and what becomes of them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Server, SigningKey, eventually, key_set, now, run, sqlstate};
use crate::identity::refusal;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SOON: Duration = Duration::from_secs(2);

/// A gateway that trusts `corp`, and its own Bot, who may act for Erin there; `ledger` is the same bank again.
fn gateway(server: &Server, key: &SigningKey, policies: &str) -> Gateway {
    let corp = "[[issuers]]\nname = \"corp\"\nissuer = \"https://idp.corp.test\"\naudience = \"claviger\"\nact = true\n\
                groups_claim = \"groups\"\njwks_file = \"corp.json\"\n";
    let conns = [Conn::to("bank", server), Conn::to("ledger", server)];
    let mut gateway = Gateway::configure(&conns, policies, corp);
    std::fs::write(gateway.path("corp.json"), key_set(&[key])).unwrap();
    gateway.add(&["user", "alice", "--group", "dbas"]);
    gateway.add(&["workload", "bot", "--sponsor", "alice"]);
    gateway.must(&["principals", "delegate", "bot", "erin@corp"]);
    gateway.start();
    gateway
}

/// A token of Erin's, with these claims besides.
fn erin(key: &SigningKey, more: &Value) -> String {
    let mut claims = json!({ "iss": "https://idp.corp.test", "aud": "claviger", "sub": "erin", "jti": "e1", "iat": now(),
        "exp": now() + 3000, "groups": ["staff"] });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    key.sign(&claims)
}

fn ask(gateway: &Gateway, subject: &str, actor: Option<&str>, more: &[(&str, &str)]) -> (u16, Value) {
    let mut form = vec![("grant_type", GRANT), ("subject_token", subject), ("subject_token_type", ACCESS_TOKEN)];
    form.extend(actor.into_iter().flat_map(|actor| [("actor_token", actor), ("actor_token_type", ACCESS_TOKEN)]));
    form.extend(more);
    for token in [Some(subject), actor].into_iter().flatten() {
        gateway.must_not_write_token(token);
    }
    gateway.post("/oauth/token", &form)
}

/// The token that must come of it.
fn exchange(gateway: &Gateway, subject: &str, actor: Option<&str>, more: &[(&str, &str)]) -> String {
    let (status, answer) = ask(gateway, subject, actor, more);
    assert_eq!((status, &answer["token_type"]), (200, &json!("Bearer")), "{answer}");
    let token = answer["access_token"].as_str().unwrap().to_owned();
    gateway.must_not_write_token(&token);
    token
}

fn said(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[test]
fn a_trusted_token_becomes_a_short_one_of_ours() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k");
        let policy = r#"permit (principal == User::"corp/erin", action == Action::"connect", resource)
            when { principal in Group::"corp/staff" };"#;
        let gateway = gateway(&server, &key, policy);
        let token = exchange(&gateway, &erin(&key, &json!({})), None, &[("audience", "claviger")]);
        let said = said(&token);
        assert_eq!(
            (&said["iss"], &said["sub"], &said["aud"]),
            (&json!("https://claviger.test"), &json!("corp/erin"), &json!("claviger"))
        );
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 600);
        let session = gateway.login("bank", "erin", &token).await.unwrap();
        assert_eq!(session.value("select count(*) from customers").await, "3");
        let opened = gateway.leaves_of("SESSION_OPEN");
        assert_eq!((&opened[0]["chain"], &opened[0]["token"]), (&json!(["erin@corp"]), &said["jti"]));
        let admin = gateway.leaves_of("ADMIN");
        let leaf = admin.iter().find(|leaf| leaf["action"] == "token.exchange").expect("it is on record");
        assert_eq!((&leaf["who"], &leaf["verdict"]), (&json!("erin@corp"), &json!("permit")));
        assert_eq!(leaf["target"], format!("{} from e1@corp", said["jti"].as_str().unwrap()));
        assert!(gateway.must(&["token", "list"]).contains("erin@corp"));

        // Others can verify it: the issuer's metadata leads to the key that signed it.
        let metadata: Value = serde_json::from_str(&gateway.get("/.well-known/openid-configuration").unwrap()).unwrap();
        assert_eq!(metadata["token_endpoint"], "https://claviger.test/oauth/token");
        assert_eq!(metadata["jwks_uri"], "https://claviger.test/.well-known/jwks.json");
        assert_eq!(gateway.get("/.well-known/oauth-authorization-server").unwrap(), metadata.to_string());
        let keys = gateway.get("/.well-known/jwks.json").unwrap();
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
        assert!(keys.contains(header["kid"].as_str().unwrap()), "{keys}");
        let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&keys).unwrap();
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
        rules.set_audience(&["claviger"]);
        rules.set_issuer(&["https://claviger.test"]);
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&keys.keys[0]).unwrap();
        jsonwebtoken::decode::<Value>(&token, &decoding, &rules).expect("it verifies elsewhere");
        gateway.verify();
    });
}

#[test]
fn it_never_lasts_longer_than_its_inputs() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k");
        let gateway = gateway(&server, &key, PERMIT_ALL);
        let ends = now() + 90;
        let short = erin(&key, &json!({ "exp": ends }));
        let (_, answer) = ask(&gateway, &short, None, &[]);
        let token = answer["access_token"].as_str().unwrap();
        gateway.must_not_write_token(token);
        assert_eq!(said(token)["exp"], ends);
        assert!(answer["expires_in"].as_i64().unwrap() <= 90);
        let again = exchange(&gateway, token, None, &[]);
        assert_eq!(said(&again)["exp"], ends, "nor by being exchanged again");
        let bot = gateway.token(&["bot", "--ttl", "30s"]);
        let chain = exchange(&gateway, &erin(&key, &json!({})), Some(&bot), &[]);
        assert!(said(&chain)["exp"].as_i64().unwrap() <= now() + 30);
    });
}

#[test]
fn two_tokens_become_a_chain() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k");
        let policy = r#"permit (principal, action == Action::"connect", resource);
            @id("bots-stay-out-of-the-ledger") forbid (principal == Workload::"bot", action == Action::"connect", resource == Connection::"ledger");"#;
        let gateway = gateway(&server, &key, policy);
        let (erin_token, bot) = (erin(&key, &json!({})), gateway.token(&["bot"]));
        let token = exchange(&gateway, &erin_token, Some(&bot), &[]);
        assert_eq!(said(&token)["act"]["sub"], "bot");
        let mut session = gateway.login("bank", "x", &token).await.unwrap();
        assert_eq!(gateway.leaves_of("SESSION_OPEN")[0]["chain"], json!(["bot@local", "erin@corp"]));
        assert_eq!(refusal(&gateway, "ledger", &token).2, "policy.deny", "every link must be permitted");
        // The pair is directed and registered, or there is no token.
        for (subject, actor) in [(&bot, Some(erin_token.as_str())), (&erin_token, Some(erin_token.as_str()))] {
            let (status, answer) = ask(&gateway, subject, actor, &[]);
            assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")));
            assert!(answer["error_description"].as_str().unwrap().contains("not registered to act"), "{answer}");
        }
        // An issuer that is trusted to delegate may name who may act.
        let copilot = key.sign(
            &json!({ "iss": "https://idp.corp.test", "aud": "claviger", "sub": "copilot", "iat": now(), "exp": now() + 900 }),
        );
        assert_eq!(ask(&gateway, &erin_token, Some(&copilot), &[]).0, 400);
        let named = erin(&key, &json!({ "may_act": { "sub": "copilot" } }));
        let by_name = exchange(&gateway, &named, Some(&copilot), &[]);
        let mut acting = gateway.login("bank", "x", &by_name).await.unwrap();
        assert_eq!(gateway.leaves_of("SESSION_OPEN").last().unwrap()["chain"], json!(["copilot@corp", "erin@corp"]));
        // A chain ends with any of its links, and with any token that it was made from.
        gateway.must(&["principals", "disable", "erin@corp"]);
        for session in [&mut session, &mut acting] {
            assert_eq!(sqlstate(&session.goodbye(SOON).await.unwrap()), "28000");
        }
        assert_eq!(ask(&gateway, &erin_token, Some(&bot), &[]).0, 400);
        gateway.must(&["principals", "enable", "erin@corp"]);
        let mut session = gateway.session_soon("bank", "x", &token).await;
        gateway.must(&["token", "revoke", "--principal", "bot"]);
        assert_eq!(sqlstate(&session.goodbye(SOON).await.unwrap()), "28000");
        assert_eq!(refusal(&gateway, "bank", &token).2, "token.revoked");
        let denied =
            gateway.leaves_of("ADMIN").into_iter().filter(|leaf| leaf["action"] == "token.exchange" && leaf["verdict"] == "deny");
        assert!(denied.count() >= 3, "refusals to who is known are on record");
        gateway.verify();
    });
}

#[test]
fn a_scope_keeps_it_to_some_connections() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k");
        let gateway = gateway(&server, &key, PERMIT_ALL);
        let alice = gateway.token(&["alice"]);
        let scoped = exchange(&gateway, &alice, None, &[("scope", "connection:bank")]);
        gateway.login("bank", "x", &scoped).await.unwrap();
        assert_eq!(refusal(&gateway, "ledger", &scoped).2, "token.scope");
        assert!(gateway.through_api(&alice, &["principals", "list"]).status.success());
        assert_eq!(
            gateway.through_api(&scoped, &["principals", "list"]).status.code(),
            Some(4),
            "nor is it for the gateway itself"
        );
        let (status, answer) = ask(&gateway, &scoped, None, &[("scope", "connection:ledger")]);
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_scope")));
        let (status, answer) = ask(&gateway, &scoped, None, &[]);
        assert_eq!((status, &answer["scope"]), (200, &json!("connection:bank")));
    });
}

#[test]
fn what_is_not_acceptable_is_refused_by_the_book() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k");
        let policy = r#"permit (principal, action == Action::"connect", resource);
            @reason("not today") forbid (principal == User::"alice", action == Action::"exchangeToken", resource);"#;
        let gateway = gateway(&server, &key, policy);
        let good = erin(&key, &json!({}));
        for (subject, more, error) in [
            ("no token", vec![], "invalid_request"),
            (&erin(&key, &json!({ "exp": now() - 100, "iat": now() - 200 })), vec![], "invalid_request"),
            (&erin(&key, &json!({ "aud": "somebody-else" })), vec![], "invalid_request"),
            (&erin(&SigningKey::new("k"), &json!({})), vec![], "invalid_request"),
            (&gateway.token(&["alice"]), vec![], "invalid_request"),
            (&good, vec![("audience", "https://elsewhere.test")], "invalid_target"),
            (&good, vec![("resource", "https://elsewhere.test/api")], "invalid_target"),
            (&good, vec![("scope", "openid")], "invalid_scope"),
        ] {
            let (status, answer) = ask(&gateway, subject, None, &more);
            assert_eq!((status, &answer["error"]), (400, &json!(error)), "{more:?} {answer}");
            let described = answer["error_description"].as_str().unwrap();
            assert!(subject.split('.').skip(1).all(|part| !described.contains(part)), "{described}");
        }
        let (_, answer) = ask(&gateway, &gateway.token(&["alice"]), None, &[]);
        assert!(answer["error_description"].as_str().unwrap().contains("not today"), "{answer}");
        let (status, answer) = gateway.post("/oauth/token", &[("grant_type", "password")]);
        assert_eq!((status, &answer["error"]), (400, &json!("unsupported_grant_type")));
        let given = gateway
            .leaves_of("ADMIN")
            .into_iter()
            .filter(|leaf| leaf["action"] == "token.exchange" && leaf["verdict"] == "permit");
        assert_eq!(given.count(), 0);
        gateway.must(&["principals", "disable", "erin@corp"]);
        eventually("Erin is out", SOON, async || ask(&gateway, &good, None, &[]).0 == 400).await;
    });
}
