//! Identity providers: a real one, found by discovery, whose keys change, and which comes and goes.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Provider, eventually, run};
use crate::identity::refusal;

/// What is said in good time is known within this time.
const SOON: Duration = Duration::from_secs(15);

/// A trust record that says no more than it must.
fn least(provider: &Provider, more: &str) -> String {
    format!("[[issuers]]\nname = \"idp\"\nissuer = \"{}\"\naudience = \"claviger\"\n{more}\n", provider.issuer())
}

#[test]
fn an_address_and_an_audience_are_enough() {
    run(async {
        let server = server!(Major::V15);
        let Some(provider) = Provider::start(&json!({})) else { return };
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, &least(&provider, "kind = \"workload\""));
        gateway.start();
        for algorithm in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
            let token = provider.token(algorithm);
            gateway.must_not_write_token(&token);
            let session = gateway.login("bank", "whoever", &token).await.unwrap_or_else(|error| panic!("{algorithm}: {error}"));
            assert_eq!(session.value("select count(*) from customers").await, "3", "{algorithm}");
        }
        let opened = gateway.leaves_of("SESSION_OPEN");
        assert_eq!((opened.len(), &opened[0]["chain"]), (5, &json!(["robot@idp"])));
        gateway.verify();
    });
}

#[test]
fn only_the_algorithms_that_are_allowed() {
    run(async {
        let server = server!(Major::V15);
        let Some(provider) = Provider::start(&json!({})) else { return };
        let allowed = least(&provider, "algorithms = [\"ES256\"]");
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, &allowed);
        gateway.start();
        for algorithm in ["RS256", "PS256", "ES384", "EdDSA"] {
            assert_eq!(refusal(&gateway, "bank", &provider.token(algorithm)).2, "token.algorithm", "{algorithm}");
        }
        let token = provider.token("ES256");
        gateway.must_not_write_token(&token);
        gateway.login("bank", "whoever", &token).await.unwrap();
    });
}

#[test]
fn new_keys_are_taken_at_once_and_old_ones_end() {
    run(async {
        let server = server!(Major::V15);
        let Some(mut provider) = Provider::start(&json!({})) else { return };
        let often = least(&provider, "keys_refresh = \"2s\"");
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, &often);
        gateway.start();
        let old = provider.token("RS256");
        gateway.must_not_write_token(&old);
        let session = gateway.login("bank", "robot", &old).await.unwrap();
        provider.restart("second");
        let new = provider.token("RS256");
        gateway.must_not_write_token(&new);
        gateway.login("bank", "robot", &new).await.expect("an unknown key is asked for at once");
        eventually("the old key ends", SOON, async || gateway.login("bank", "robot", &old).await.is_err()).await;
        assert_eq!(refusal(&gateway, "bank", &old).2, "token.unknown_key");
        assert_eq!(session.value("select 1").await, "1", "a session lasts as long as its token");
    });
}

#[test]
fn a_provider_that_is_down_keeps_out_its_own_people_only() {
    run(async {
        let server = server!(Major::V15);
        let Some(mut provider) = Provider::stopped(&json!({})) else { return };
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, &least(&provider, ""));
        gateway.add(&["user", "alice"]);
        gateway.start();
        gateway.session("bank", "alice").await;
        // Tokens of before.
        provider.restart("first");
        let token = provider.token("ES256");
        provider.stop();
        let (state, message, reason) = refusal(&gateway, "bank", &token);
        assert_eq!((state.as_str(), reason.as_str()), ("28000", "keys.unavailable"));
        assert!(message.contains("not available at the moment"), "{message}");

        provider.restart("first");
        eventually("it is asked again", SOON, async || gateway.login("bank", "robot", &token).await.is_ok()).await;
        // Down again: what is known counts on.
        provider.stop();
        gateway.login("bank", "robot", &token).await.expect("known keys stay good");
    });
}

#[test]
fn keys_that_cannot_be_fetched_again_do_not_count_for_ever() {
    run(async {
        let server = server!(Major::V15);
        let Some(mut provider) = Provider::start(&json!({})) else { return };
        let limited = least(&provider, "keys_refresh = \"1s\"\nkeys_max_age = \"3s\"");
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, &limited);
        gateway.start();
        let token = provider.token("ES256");
        gateway.must_not_write_token(&token);
        gateway.login("bank", "robot", &token).await.unwrap();
        provider.stop();
        eventually("the keys are too old", SOON, async || gateway.login("bank", "robot", &token).await.is_err()).await;
        assert_eq!(refusal(&gateway, "bank", &token).2, "keys.unavailable");
        provider.restart("first");
        eventually("they are fetched again", SOON, async || gateway.login("bank", "robot", &token).await.is_ok()).await;
    });
}
