//! Who acts for whom, who answers for whom, and what ends it.

use serde_json::json;

use super::*;
use crate::Identity;

/// Alice, and two agents that she sponsors; `bot` may act for her, and `sub-bot` for `bot`.
fn directory() -> Directory {
    Directory::new("local")
        .with_principal(key("alice"), registered(PrincipalKind::User, &["dba"], None))
        .with_principal(key("bot"), registered(PrincipalKind::Workload, &["agents"], Some("alice")))
        .with_principal(key("sub-bot"), registered(PrincipalKind::Workload, &[], Some("alice")))
        .with_delegation(key("bot"), key("alice"))
        .with_delegation(key("sub-bot"), key("bot"))
}

fn disabled(kind: PrincipalKind, sponsor: Option<&str>) -> Registered {
    Registered { disabled: true, ..registered(kind, &[], sponsor) }
}

/// Claims of a token of the local issuer.
fn local_claims(changes: Value) -> Value {
    let mut claims = claims(changes);
    claims["iss"] = "https://gateway.example".into();
    claims
}

fn verify(directory: Directory, changes: Value) -> (Authenticator, Result<Identity, crate::Denied>) {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, directory);
    let result = authenticator.verify(&pair.token(&local_claims(changes)), NOW);
    (authenticator, result)
}

fn outcome(directory: Directory, changes: Value) -> String {
    verify(directory, changes).1.map_or_else(|denied| denied.code().to_owned(), |identity| identity.chain.to_string())
}

#[test]
fn the_outermost_actor_holds_the_connection() {
    for (changes, expected) in [
        (json!({}), "alice@local"),
        (json!({ "sub": "bot" }), "bot@local"),
        (json!({ "act": { "sub": "bot" } }), "bot@local for alice@local"),
        (json!({ "act": { "sub": "bot", "iss": "https://gateway.example" } }), "bot@local for alice@local"),
        (json!({ "act": { "sub": "sub-bot", "act": { "sub": "bot" } } }), "sub-bot@local for bot@local for alice@local"),
        // The pairs are directed, and each must be registered.
        (json!({ "act": { "sub": "bot", "act": { "sub": "sub-bot" } } }), "delegation.unregistered"),
        (json!({ "act": { "sub": "sub-bot" } }), "delegation.unregistered"),
        (json!({ "sub": "bot", "act": { "sub": "alice" } }), "delegation.unregistered"),
        (json!({ "act": { "sub": "alice" } }), "delegation.unregistered"),
        (json!({ "act": { "sub": "nobody" } }), "principal.unknown"),
        (json!({ "act": { "sub": "bot", "iss": "https://okta.example" } }), "principal.unknown"),
        (json!({ "act": { "sub": "bot", "iss": "https://evil.example" } }), "token.unknown_issuer"),
        (json!({ "act": {} }), "token.claim_missing"),
        (json!({ "act": "bot" }), "token.malformed"),
        (json!({ "sub": "nobody" }), "principal.unknown"),
    ] {
        assert_eq!(outcome(directory(), changes.clone()), expected, "{changes}");
    }
}

#[test]
fn a_chain_has_at_most_four_links() {
    let mut directory = Directory::new("local");
    for n in 0..5 {
        directory = directory
            .with_principal(key(&format!("p{n}")), registered(PrincipalKind::User, &[], None))
            .with_delegation(key(&format!("p{}", n + 1)), key(&format!("p{n}")));
    }
    let three = json!({ "sub": "p3", "act": { "sub": "p2", "act": { "sub": "p1" } } });
    assert_eq!(
        outcome(directory.clone(), json!({ "sub": "p0", "act": three })),
        "p3@local for p2@local for p1@local for p0@local"
    );
    let four = json!({ "sub": "p4", "act": three });
    assert_eq!(outcome(directory, json!({ "sub": "p0", "act": four })), "delegation.depth");
}

#[test]
fn an_end_anywhere_ends_the_chain() {
    let chain = json!({ "act": { "sub": "sub-bot", "act": { "sub": "bot" } } });
    let user = |sponsor| disabled(PrincipalKind::User, sponsor);
    for (changed, expected) in [
        (directory().with_principal(key("alice"), user(None)), "sponsor.disabled"),
        (directory().with_principal(key("bot"), user(None)), "principal.disabled"),
        (directory().with_principal(key("sub-bot"), user(None)), "principal.disabled"),
        (directory().with_principal(key("bot"), registered(PrincipalKind::Workload, &[], Some("carol"))), "sponsor.disabled"),
        (directory().with_revoked("local", "t1"), "token.revoked"),
        (directory().with_revoked("okta", "t1"), "sub-bot@local for bot@local for alice@local"),
        (Directory::new("local"), "principal.unknown"),
    ] {
        assert_eq!(outcome(changed.clone(), chain.clone()), expected);
        // The same holds for a session that is already open.
        let (authenticator, identity) = verify(directory(), chain.clone());
        let (identity, epoch) = (identity.unwrap(), authenticator.epoch());
        assert_eq!(authenticator.recheck(&identity, NOW), Ok(()));
        authenticator.set_directory(changed);
        assert!(authenticator.epoch() > epoch);
        let rechecked = authenticator.recheck(&identity, NOW);
        assert_eq!(
            rechecked.as_ref().map_or_else(|denied| denied.code(), |()| "ok"),
            expected.replace(&identity.chain.to_string(), "ok")
        );
        if let Err(denied) = rechecked {
            assert_eq!(denied.chain(), Some(&identity.chain));
        }
    }
}

#[test]
fn the_sponsor_alone_can_end_an_agent() {
    let carol = directory().with_principal(key("alice"), disabled(PrincipalKind::User, None));
    assert_eq!(outcome(carol, json!({ "sub": "bot" })), "sponsor.disabled");
    // The sponsor at the beginning still counts when another has taken over.
    let (authenticator, identity) = verify(directory(), json!({ "sub": "bot" }));
    authenticator.set_directory(
        directory()
            .with_principal(key("carol"), registered(PrincipalKind::User, &[], None))
            .with_principal(key("bot"), registered(PrincipalKind::Workload, &[], Some("carol")))
            .with_principal(key("alice"), disabled(PrincipalKind::User, None)),
    );
    assert_eq!(authenticator.recheck(&identity.unwrap(), NOW).unwrap_err().code(), "sponsor.disabled");
}

#[test]
fn a_withdrawn_delegation_ends_the_session() {
    let (authenticator, identity) = verify(directory(), json!({ "act": { "sub": "bot" } }));
    let without = Directory::new("local")
        .with_principal(key("alice"), registered(PrincipalKind::User, &[], None))
        .with_principal(key("bot"), registered(PrincipalKind::Workload, &[], Some("alice")));
    authenticator.set_directory(without);
    assert_eq!(authenticator.recheck(&identity.unwrap(), NOW).unwrap_err().code(), "delegation.unregistered");
}

#[test]
fn time_and_trust_end_a_session() {
    let (authenticator, identity) = verify(directory(), json!({}));
    let identity = identity.unwrap();
    assert_eq!(identity.expires, Timestamp::from_secs(NOW_SECS + 600));
    assert_eq!(authenticator.recheck(&identity, Timestamp::from_micros(identity.expires.as_micros() - 1)), Ok(()));
    assert_eq!(authenticator.recheck(&identity, identity.expires).unwrap_err().code(), "token.expired");
    let epoch = authenticator.epoch();
    authenticator.set_issuers(vec![okta()], |_| true);
    assert!(authenticator.epoch() > epoch);
    assert_eq!(authenticator.recheck(&identity, NOW).unwrap_err().code(), "token.unknown_issuer");
}

#[test]
fn a_foreign_principal_exists_by_its_token() {
    let pair = Pair::ed();
    let token = pair.token(&claims(json!({ "groups": ["dba"] })));
    let ask = |directory| authenticator(&pair, directory).verify(&token, NOW);
    assert_eq!(ask(Directory::new("local")).unwrap().chain.to_string(), "alice@okta");
    let off = Directory::new("local").with_principal(key("alice@okta"), disabled(PrincipalKind::User, None));
    assert_eq!(ask(off).unwrap_err().code(), "principal.disabled");
    // A local principal of the same subject is somebody else.
    let namesake = Directory::new("local").with_principal(key("alice"), disabled(PrincipalKind::User, None));
    assert!(ask(namesake).is_ok());
    let known = Directory::new("local")
        .with_principal(key("alice@okta"), registered(PrincipalKind::Workload, &["extra"], Some("carol@okta")));
    let link = ask(known).unwrap().chain.actor().clone();
    assert_eq!(link.groups, [Arc::from("dba"), Arc::from("extra")]);
    assert_eq!(
        (link.kind, link.sponsor),
        (PrincipalKind::User, Some(key("carol@okta"))),
        "the kind is for the trust record to say"
    );
}

#[test]
fn a_local_principal_is_what_is_registered_and_not_what_its_token_says() {
    let (authenticator, identity) = verify(directory(), json!({ "sub": "bot", "groups": ["admins"] }));
    let identity = identity.unwrap();
    assert_eq!(identity.chain.actor().groups, [Arc::from("agents")]);
    assert_eq!((identity.chain.actor().kind, &identity.chain.actor().sponsor), (PrincipalKind::Workload, &Some(key("alice"))));
    // Groups given and taken later count for a session that is open.
    authenticator.set_directory(directory().with_principal(key("bot"), registered(PrincipalKind::Workload, &["b", "a"], None)));
    assert_eq!(authenticator.current_chain(&identity).actor().groups, [Arc::from("a"), Arc::from("b")]);
}

#[test]
fn a_token_without_an_id_can_be_revoked() {
    let (authenticator, identity) = verify(directory(), json!({ "jti": null }));
    let identity = identity.unwrap();
    assert!(identity.token.starts_with("sha256-") && identity.token.len() == 39);
    authenticator.set_directory(directory().with_revoked("local", identity.token.clone()));
    assert_eq!(authenticator.recheck(&identity, NOW).unwrap_err().code(), "token.revoked");
}

#[test]
fn a_revoked_token_is_revoked_under_any_signature() {
    let pair = Pair::for_algorithm("ES256");
    let authenticator = authenticator(&pair, directory());
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "k" }).to_string();
    let [one, other] = [(); 2].map(|()| pair.token_of(&header, &local_claims(json!({ "jti": null })).to_string()));
    assert_ne!(one.expose(), other.expose());
    let identity = authenticator.verify(&one, NOW).unwrap();
    authenticator.set_directory(directory().with_revoked("local", identity.token));
    assert_eq!(code(&authenticator, &other), "token.revoked");
}
