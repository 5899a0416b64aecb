//! Every way in which one token can be wrong.

use claviger_model::Secret;
use proptest::prelude::*;
use ring::hmac;
use serde_json::json;

use super::*;

#[test]
fn a_good_token_tells_who_it_is() {
    let pair = Pair::ed();
    let token = pair.token(&claims(json!({ "groups": ["dba", "admin", "dba"], "purpose": "INC-1" })));
    let identity = authenticator(&pair, Directory::new("local")).verify(&token, NOW).unwrap();
    let link = &identity.chain.links()[0];
    assert_eq!((identity.chain.links().len(), &link.key, link.kind), (1, &key("alice@okta"), PrincipalKind::User));
    assert_eq!(link.groups, [Arc::from("admin"), Arc::from("dba")]);
    assert_eq!((&*identity.token, &*identity.issuer, identity.purpose.as_deref()), ("t1", "okta", Some("INC-1")));
    assert_eq!(identity.expires, Timestamp::from_secs(NOW_SECS + 600 + 60), "with the skew");
}

#[test]
fn every_claim_is_checked() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let many: Vec<String> = (0..513).map(|n| format!("g{n}")).collect();
    for (changes, expected) in [
        (json!({}), "ok"),
        (json!({ "iss": "https://okta.example/" }), "token.unknown_issuer"),
        (json!({ "iss": null }), "token.claim_missing"),
        (json!({ "iss": ["https://okta.example"] }), "token.malformed"),
        (json!({ "aud": ["other", "claviger"] }), "ok"),
        (json!({ "aud": ["other"] }), "token.audience"),
        (json!({ "aud": "clavige" }), "token.audience"),
        (json!({ "aud": [] }), "token.audience"),
        (json!({ "aud": null }), "token.audience"),
        (json!({ "aud": { "claviger": 1 } }), "token.malformed"),
        (json!({ "exp": null }), "token.claim_missing"),
        (json!({ "exp": "1800000600" }), "token.malformed"),
        (json!({ "exp": -1 }), "token.malformed"),
        (json!({ "exp": 1e300 }), "token.malformed"),
        (json!({ "exp": NOW_SECS as f64 + 600.5 }), "ok"),
        (json!({ "iat": NOW_SECS - 600, "exp": NOW_SECS - 59 }), "ok"),
        (json!({ "iat": NOW_SECS - 600, "exp": NOW_SECS - 60 }), "token.expired"),
        (json!({ "nbf": NOW_SECS + 60 }), "ok"),
        (json!({ "nbf": NOW_SECS + 61 }), "token.not_yet_valid"),
        (json!({ "iat": NOW_SECS + 60 }), "ok"),
        (json!({ "iat": NOW_SECS + 61 }), "token.not_yet_valid"),
        (json!({ "iat": NOW_SECS, "exp": NOW_SECS + 3600 }), "ok"),
        (json!({ "iat": NOW_SECS, "exp": NOW_SECS + 3601 }), "token.lifetime"),
        (json!({ "iat": NOW_SECS - 9000, "exp": NOW_SECS + 1 }), "token.lifetime"),
        (json!({ "iat": null, "exp": NOW_SECS + 3660 }), "ok"),
        (json!({ "iat": null, "exp": NOW_SECS + 3661 }), "token.lifetime"),
        (json!({ "sub": null }), "token.claim_missing"),
        (json!({ "sub": "" }), "token.malformed"),
        (json!({ "sub": 7 }), "token.malformed"),
        (json!({ "sub": "a\u{0}b" }), "token.malformed"),
        (json!({ "sub": "a".repeat(256) }), "token.malformed"),
        (json!({ "jti": "" }), "token.malformed"),
        (json!({ "jti": null }), "ok"),
        (json!({ "groups": "dba" }), "ok"),
        (json!({ "groups": [1] }), "token.malformed"),
        (json!({ "groups": many }), "token.groups"),
        (json!({ "_claim_names": { "groups": "src1" } }), "token.groups"),
        (json!({ "_claim_names": { "other": "src1" } }), "ok"),
        (json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }), "token.type"),
        (json!({ "act": { "sub": "bot" } }), "delegation.untrusted"),
    ] {
        assert_eq!(code(&authenticator, &pair.token(&claims(changes.clone()))), expected, "{changes}");
    }
}

#[test]
fn the_header_is_checked() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    for (header, expected) in [
        (json!({ "alg": "EdDSA", "kid": "k" }), "ok"),
        (json!({ "alg": "EdDSA" }), "ok"),
        (json!({ "alg": "EdDSA", "kid": "k", "typ": "at+jwt" }), "ok"),
        (json!({ "alg": "EdDSA", "kid": "k", "typ": "application/AT+JWT" }), "ok"),
        (json!({ "alg": "EdDSA", "kid": "k", "typ": "logout+jwt" }), "token.type"),
        (json!({ "alg": "EdDSA", "kid": "k", "typ": "dpop+jwt" }), "token.type"),
        (json!({ "alg": "EdDSA", "kid": "k", "crit": ["exp"] }), "token.malformed"),
        (json!({ "alg": "EdDSA", "kid": "other" }), "token.unknown_key"),
        (json!({ "alg": "EdDSA", "kid": 7 }), "token.malformed"),
        (json!({ "kid": "k" }), "token.malformed"),
        (json!({ "alg": "none" }), "token.algorithm"),
        (json!({ "alg": "NONE", "kid": "k" }), "token.algorithm"),
        (json!({ "alg": "HS256", "kid": "k" }), "token.algorithm"),
        (json!({ "alg": "eddsa", "kid": "k" }), "token.algorithm"),
        // A key cannot be brought along.
        (json!({ "alg": "EdDSA", "kid": "other", "jwk": Pair::ed().jwk("other") }), "token.unknown_key"),
    ] {
        let token = pair.token_of(&header.to_string(), &claims(json!({})).to_string());
        assert_eq!(code(&authenticator, &token), expected, "{header}");
    }
}

#[test]
fn the_shape_is_checked() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let good = pair.token(&claims(json!({})));
    let good = good.expose_str().unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let unsigned = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims(json!({})).to_string()));
    let other = Pair::ed().token(&claims(json!({})));
    let swapped = format!("{message}.{}", other.expose_str().unwrap().rsplit_once('.').unwrap().1);
    for (token, expected) in [
        (good.to_owned(), "ok"),
        (String::new(), "token.malformed"),
        ("..".into(), "token.malformed"),
        (message.to_owned(), "token.malformed"),
        (format!("{good}.x"), "token.malformed"),
        (format!(" {good}"), "token.malformed"),
        (format!("{good}="), "token.signature"),
        (format!("{message}."), "token.signature"),
        (format!("{message}.{}", &signature[4..]), "token.signature"),
        (swapped, "token.signature"),
        (unsigned, "token.algorithm"),
        (format!("{good}{}", "A".repeat(16 * 1024)), "token.malformed"),
    ] {
        assert_eq!(code(&authenticator, &Secret::new(token.clone())), expected, "{token}");
    }
    assert_eq!(code(&authenticator, &Secret::new(vec![0xff, b'.', 0xfe, b'.'])), "token.malformed");
}

#[test]
fn a_changed_claim_breaks_the_signature() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let token = pair.token(&claims(json!({})));
    let parts: Vec<&str> = token.expose_str().unwrap().split('.').collect();
    let forged = format!("{}.{}.{}", parts[0], encode(claims(json!({ "sub": "admin" })).to_string()), parts[2]);
    assert_eq!(code(&authenticator, &Secret::new(forged)), "token.signature");
}

#[test]
fn a_member_that_is_given_twice_is_refused() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let header = r#"{"alg":"EdDSA","kid":"k"}"#;
    let good = claims(json!({})).to_string();
    let twice = good.replacen('{', r#"{"sub":"admin","#, 1);
    let deep = good.replacen('{', r#"{"x":[{"a":1,"a":2}],"#, 1);
    for (header, claims, expected) in [
        (header, good.as_str(), "ok"),
        (header, twice.as_str(), "token.malformed"),
        (header, deep.as_str(), "token.malformed"),
        (r#"{"alg":"EdDSA","kid":"k","kid":"k"}"#, good.as_str(), "token.malformed"),
        (header, "[]", "token.malformed"),
        (header, "{", "token.malformed"),
    ] {
        assert_eq!(code(&authenticator, &pair.token_of(header, claims)), expected, "{header} {claims}");
    }
}

#[test]
fn a_public_key_is_no_secret_for_hmac() {
    let pair = Pair::rsa();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let public = URL_SAFE_NO_PAD.decode(pair.jwk("k")["n"].as_str().unwrap()).unwrap();
    let message = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"k"}"#), encode(claims(json!({})).to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), message.as_bytes());
    assert_eq!(code(&authenticator, &Secret::new(format!("{message}.{}", encode(tag)))), "token.algorithm");
}

#[test]
fn every_algorithm_verifies_and_only_if_allowed() {
    for algorithm in Algorithm::ALL.map(Algorithm::as_str) {
        let (pair, other) = (Pair::for_algorithm(algorithm), if algorithm == "EdDSA" { Pair::ec("P-256") } else { Pair::ed() });
        let authenticator = authenticator(&pair, Directory::new("local"));
        let token = pair.token_of(&json!({ "alg": algorithm, "kid": "k" }).to_string(), &claims(json!({})).to_string());
        assert_eq!(code(&authenticator, &token), "ok", "{algorithm}");

        // The key under this id is of another type.
        authenticator.set_keys("okta", jwks(&[other.jwk("k")]));
        assert_eq!(code(&authenticator, &token), "token.algorithm", "{algorithm}");
        // Two keys of different types may share an id (RFC 7517 section 4.5).
        authenticator.set_keys("okta", jwks(&[other.jwk("k"), pair.jwk("k")]));
        assert_eq!(code(&authenticator, &token), "ok", "{algorithm}");
        let rest = Algorithm::ALL.into_iter().filter(|one| one.as_str() != algorithm).collect();
        authenticator.set_issuers(vec![TrustedIssuer { algorithms: rest, ..okta() }], |_| true);
        assert_eq!(code(&authenticator, &token), "token.algorithm", "{algorithm}");
    }
}

#[test]
fn the_wrong_key_of_the_right_type_does_not_verify() {
    for algorithm in ["ES256", "ES384", "EdDSA"] {
        let authenticator = authenticator(&Pair::for_algorithm(algorithm), Directory::new("local"));
        let header = json!({ "alg": algorithm, "kid": "k" }).to_string();
        let token = Pair::for_algorithm(algorithm).token_of(&header, &claims(json!({})).to_string());
        assert_eq!(code(&authenticator, &token), "token.signature", "{algorithm}");
    }
}

#[test]
fn a_subject_is_made_from_immutable_claims() {
    let pair = Pair::ec("P-256");
    let github = TrustedIssuer {
        subject: "repository:{repository_id}:{environment}".parse().unwrap(),
        kind: PrincipalKind::Workload,
        ..okta()
    };
    let authenticator = Authenticator::new(vec![github], Directory::new("local"));
    authenticator.set_keys("okta", jwks(&[pair.jwk("k")]));
    let header = json!({ "alg": "ES256", "kid": "k" }).to_string();
    let ask = |changes| authenticator.verify(&pair.token_of(&header, &claims(changes).to_string()), NOW);
    let identity = ask(json!({ "repository_id": 42, "environment": "production" })).unwrap();
    assert_eq!(identity.chain.actor().key, key("repository:42:production@okta"));
    assert_eq!(identity.chain.actor().kind, PrincipalKind::Workload);
    assert_eq!(ask(json!({ "repository_id": "42" })).unwrap_err().code(), "token.claim_missing");
    assert_eq!(ask(json!({ "repository_id": [42], "environment": "x" })).unwrap_err().code(), "token.claim_missing");
    assert_eq!(ask(json!({ "repository_id": 42, "environment": "x", "sub": null })).unwrap_err().code(), "token.claim_missing");
}

#[test]
fn templates_are_read_strictly() {
    for text in ["{sub}", "repository:{repository_id}", "{a}/{b}x"] {
        assert_eq!(text.parse::<crate::SubjectTemplate>().unwrap().to_string(), text);
    }
    for text in ["", "sub", "{}", "{sub", "sub}", "{su{b}", "{sub}}", "}{sub}"] {
        assert!(text.parse::<crate::SubjectTemplate>().is_err(), "{text}");
    }
    assert!("HS256".parse::<Algorithm>().is_err() && "none".parse::<Algorithm>().is_err());
}

#[test]
fn a_denial_says_the_kind_of_problem_and_no_part_of_the_token() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let header = json!({ "alg": "EdDSA", "kid": "kid-marker" }).to_string();
    let secret = pair.token_of(&header, &claims(json!({ "sub": "sub-marker" })).to_string());
    let denied = authenticator.verify(&secret, NOW).unwrap_err();
    assert_eq!(denied.to_string(), "the token is signed with a key that its issuer does not publish");
    assert!(!format!("{denied:?}").contains("marker"));
    let expired = authenticator.verify(&pair.token(&claims(json!({ "iat": 1, "exp": 2 }))), NOW).unwrap_err();
    assert_eq!((expired.to_string().as_str(), expired.chain()), ("the token has expired", None));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_denied_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let authenticator = Authenticator::new(vec![okta()], Directory::new("local"));
        prop_assert!(authenticator.verify(&Secret::new(bytes.clone()), NOW).is_err());
        let _ = KeySet::parse_jwks(&bytes);
    }

    #[test]
    fn arbitrary_parts_are_denied_and_never_panic(header in ".{0,80}", claims in ".{0,80}", signature in ".{0,80}") {
        let authenticator = Authenticator::new(vec![okta()], Directory::new("local"));
        let token = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
        prop_assert!(authenticator.verify(&Secret::new(token), NOW).is_err());
    }

    #[test]
    fn one_changed_byte_is_never_accepted(at in 0usize..10_000, with in 33u8..127) {
        let pair = Pair::ed();
        let authenticator = authenticator(&pair, Directory::new("local"));
        let good = pair.token(&claims(json!({})));
        let mut bytes = good.expose().to_vec();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != with);
        bytes[at] = with;
        prop_assert!(authenticator.verify(&Secret::new(bytes), NOW).is_err());
    }
}
