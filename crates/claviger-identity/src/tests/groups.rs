//! Where groups come from.

use serde_json::json;

use super::*;
use crate::{Errand, InvalidUserinfo};

/// `okta` with groups in these claims; whether its userinfo endpoint is asked.
fn trusting(pair: &Pair, claims: &[&str], userinfo: bool) -> Authenticator {
    let groups = claims.iter().map(|claim| claim.parse().unwrap()).collect();
    let authenticator = Authenticator::new(vec![TrustedIssuer { groups, userinfo, ..okta() }], Directory::new("local"));
    authenticator.set_keys("okta", jwks(&[pair.jwk("k")]));
    authenticator
}

fn outcome(authenticator: &Authenticator, token: &Secret, now: Timestamp) -> String {
    match authenticator.verify(token, now) {
        Ok(identity) => identity.chain.actor().groups.join(" "),
        Err(denied) => denied.code().to_owned(),
    }
}

#[test]
fn groups_stand_in_claims_of_many_shapes() {
    let pair = Pair::ed();
    for (paths, said, expected) in [
        (&["groups"][..], json!({ "groups": ["b", "a", "b"] }), "a b"),
        (&["groups"], json!({ "groups": "one" }), "one"),
        (&["groups"], json!({ "groups": [] }), ""),
        (&["groups"], json!({ "groups": null }), ""),
        (&["groups"], json!({}), ""),
        (&["groups"], json!({ "groups": { "a": 1 } }), "token.malformed"),
        (&["groups"], json!({ "groups": 7 }), "token.malformed"),
        (&["groups"], json!({ "groups": ["a", 7] }), "token.malformed"),
        (&["groups"], json!({ "groups": [""] }), "token.malformed"),
        (&["realm_access.roles"], json!({ "realm_access": { "roles": ["admin"] } }), "admin"),
        (&["realm_access.roles"], json!({ "realm_access": ["roles"] }), ""),
        (&["resource_access.my.app.roles"], json!({ "resource_access": { "my.app": { "roles": ["r"] } } }), "r"),
        (&["https://example.com/groups"], json!({ "https://example.com/groups": ["g"] }), "g"),
        (&["a.b"], json!({ "a.b": ["one"], "a": { "b": ["two"] } }), "token.malformed"),
        (
            &["groups", "realm_access.roles", "team"],
            json!({ "groups": ["g"], "realm_access": { "roles": ["r"] }, "team": "t" }),
            "g r t",
        ),
        // Microsoft Entra, with too many.
        (
            &["groups"],
            json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": { "endpoint": "x" } } }),
            "token.groups",
        ),
        (&["groups"], json!({ "hasgroups": true }), "token.groups"),
        (&["groups"], json!({ "hasgroups": "true", "groups": ["a"] }), "token.groups"),
        (&["groups"], json!({ "hasgroups": false }), ""),
        (&["roles"], json!({ "hasgroups": true, "roles": ["r"] }), "r"),
        (&["realm_access.roles"], json!({ "_claim_names": { "realm_access": "src1" } }), "token.groups"),
        (&["roles"], json!({ "_claim_names": { "groups": "src1" }, "roles": ["r"] }), "r"),
    ] {
        let authenticator = trusting(&pair, paths, false);
        assert_eq!(outcome(&authenticator, &pair.token(&claims(said.clone())), NOW), expected, "{paths:?} {said}");
    }
}

#[test]
fn what_a_token_leaves_out_its_issuer_is_asked_for() {
    let pair = Pair::ed();
    for said in [json!({}), json!({ "_claim_names": { "groups": "src1" } }), json!({ "hasgroups": true })] {
        let authenticator = trusting(&pair, &["groups"], true);
        let token = pair.token(&claims(said));
        let denied = authenticator.verify(&token, NOW).unwrap_err();
        assert_eq!((denied.code(), denied.may_be_helped()), ("groups.unavailable", true));
        assert_eq!(authenticator.errand(&denied, NOW), Some(Errand::Groups { issuer: "okta".into() }));
        let answer = |json: &Value| authenticator.set_groups("okta", &token, Some(json.to_string().as_bytes()), NOW);
        answer(&json!({ "sub": "alice", "groups": ["dba", "staff"] })).unwrap();
        assert_eq!(outcome(&authenticator, &token, NOW.plus_secs(299)), "dba staff");
        assert_eq!(outcome(&authenticator, &token, NOW.plus_secs(300)), "groups.unavailable", "it is asked again");
        // Another token of the same principal tells its own.
        let other = pair.token(&claims(json!({ "jti": "t2" })));
        assert_eq!(outcome(&authenticator, &other, NOW), "groups.unavailable");
        for (wrong, expected) in [
            (json!({ "sub": "mallory", "groups": ["dba"] }), InvalidUserinfo::OtherSubject),
            (json!({ "groups": ["dba"] }), InvalidUserinfo::OtherSubject),
            (json!(["dba"]), InvalidUserinfo::Malformed),
            (json!({ "sub": "alice", "groups": [7] }), InvalidUserinfo::Groups),
            (json!({ "sub": "alice", "hasgroups": true }), InvalidUserinfo::Groups),
        ] {
            assert_eq!(answer(&wrong), Err(expected), "{wrong}");
            let denied = authenticator.verify(&token, NOW).unwrap_err();
            assert_eq!((denied.code(), denied.may_be_helped()), ("groups.unavailable", false), "nobody asks again at once");
            assert!(authenticator.verify(&token, NOW.plus_secs(10)).unwrap_err().may_be_helped());
        }
        answer(&json!({ "sub": "alice" })).unwrap();
        assert_eq!(outcome(&authenticator, &token, NOW), "", "the issuer knows of no group");
        authenticator.set_groups("okta", &token, None, NOW).unwrap();
        assert_eq!(outcome(&authenticator, &token, NOW), "groups.unavailable");
    }
    // A token that lists its groups needs nobody.
    let authenticator = trusting(&pair, &["groups"], true);
    assert_eq!(outcome(&authenticator, &pair.token(&claims(json!({ "groups": ["dba"] }))), NOW), "dba");
}

#[test]
fn what_a_token_lists_and_what_its_issuer_tells_are_joined() {
    let pair = Pair::ed();
    for (said, told, expected) in [
        (json!({ "roles": ["suspended"] }), json!({ "groups": ["dba"] }), "dba suspended"),
        (json!({ "roles": ["suspended"], "_claim_names": { "groups": "src1" } }), json!({ "groups": ["dba"] }), "dba suspended"),
        (json!({ "groups": ["a"], "hasgroups": true, "roles": [] }), json!({ "groups": ["b"] }), "a b"),
        (json!({ "groups": ["a"] }), json!({ "groups": ["a"], "roles": "r" }), "a r"),
    ] {
        let authenticator = trusting(&pair, &["groups", "roles"], true);
        let token = pair.token(&claims(said.clone()));
        assert_eq!(outcome(&authenticator, &token, NOW), "groups.unavailable", "{said}");
        let mut answer = told;
        answer["sub"] = json!("alice");
        authenticator.set_groups("okta", &token, Some(answer.to_string().as_bytes()), NOW).unwrap();
        assert_eq!(outcome(&authenticator, &token, NOW), expected, "{said}");
    }
    let authenticator = trusting(&pair, &["groups", "roles"], true);
    let whole = pair.token(&claims(json!({ "groups": ["a"], "roles": [] })));
    assert_eq!(outcome(&authenticator, &whole, NOW), "a", "nobody need be asked");
}

#[test]
fn answers_are_bounded() {
    let pair = Pair::ed();
    let authenticator = trusting(&pair, &["groups"], true);
    let token = |n: i32| Secret::new(format!("token-{n}"));
    for n in 0..9000 {
        authenticator.set_groups("okta", &token(n), None, NOW.plus_secs(n.into())).unwrap();
    }
    assert!(authenticator.has_groups(&token(8999), NOW) && !authenticator.has_groups(&token(0), NOW));
}

#[test]
fn groups_of_the_directory_are_added() {
    let pair = Pair::ed();
    let known = Directory::new("local").with_principal(key("alice@okta"), registered(PrincipalKind::User, &["here"], None));
    let authenticator = Authenticator::new(vec![TrustedIssuer { userinfo: true, ..okta() }], known);
    authenticator.set_keys("okta", jwks(&[pair.jwk("k")]));
    let token = pair.token(&claims(json!({})));
    let _ = authenticator.set_groups("okta", &token, Some(br#"{"sub":"alice","groups":["there"]}"#), NOW);
    assert_eq!(outcome(&authenticator, &token, NOW), "here there");
}
