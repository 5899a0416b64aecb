//! What is taken for a key, and when keys are fetched again.

use serde_json::json;

use super::*;
use crate::InvalidKeySet;
use crate::keys::Key;

fn parse(keys: Value) -> Result<KeySet, InvalidKeySet> {
    KeySet::parse_jwks(json!({ "keys": keys }).to_string().as_bytes())
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

#[test]
fn what_cannot_verify_is_passed_over() {
    let (rsa, p256, p384, ed) =
        (Pair::rsa().jwk("r"), Pair::ec("P-256").jwk("a"), Pair::ec("P-384").jwk("b"), Pair::ed().jwk("c"));
    let number = |bytes: usize| encode(vec![0xff; bytes]);
    for (jwk, usable) in [
        (rsa.clone(), true),
        (p256.clone(), true),
        (p384.clone(), true),
        (ed.clone(), true),
        (with(ed.clone(), "use", json!("sig")), true),
        (with(ed.clone(), "use", json!("enc")), false),
        (with(ed.clone(), "key_ops", json!(["verify"])), true),
        (with(ed.clone(), "key_ops", json!(["sign"])), false),
        (with(ed.clone(), "alg", json!("EdDSA")), true),
        (with(ed.clone(), "alg", json!("HS256")), false),
        (with(rsa.clone(), "alg", json!("RSA-OAEP")), false),
        (with(rsa.clone(), "n", json!(number(128))), false),
        (with(rsa.clone(), "n", json!(number(255))), false),
        (with(rsa.clone(), "n", json!(number(512))), true),
        (with(rsa.clone(), "n", json!(number(513))), false),
        (with(rsa.clone(), "n", json!("")), false),
        (with(rsa.clone(), "n", json!("not base64!")), false),
        (with(rsa.clone(), "e", json!("AQ")), false),
        (with(rsa.clone(), "e", json!("Ag")), false),
        (with(rsa, "e", json!("")), false),
        (with(p256.clone(), "crv", json!("P-384")), false),
        (with(p256.clone(), "crv", json!("P-521")), false),
        (with(p256.clone(), "crv", json!("secp256k1")), false),
        (with(p256, "x", json!(number(31))), false),
        (with(p384, "y", json!(number(49))), false),
        (with(ed.clone(), "x", json!(number(31))), false),
        (with(ed.clone(), "crv", json!("Ed448")), false),
        (with(ed, "crv", json!("X25519")), false),
        (json!({ "kty": "oct", "k": "AAAA", "kid": "s" }), false),
        (json!({ "kty": "unheard-of" }), false),
        (json!("not a key"), false),
    ] {
        assert_eq!(parse(json!([jwk])).is_ok(), usable, "{jwk}");
        // What is passed over does not harm its neighbours.
        assert!(parse(json!([jwk, Pair::ed().jwk("n")])).is_ok());
    }
}

#[test]
fn documents_are_bounded() {
    let ed = Pair::ed().jwk("c");
    assert_eq!(parse(json!(vec![ed.clone(); 101])).unwrap_err(), InvalidKeySet::TooMany);
    assert!(parse(json!(vec![ed; 100])).is_ok());
    assert_eq!(parse(json!([])).unwrap_err(), InvalidKeySet::Empty);
    assert_eq!(parse(json!({})).unwrap_err(), InvalidKeySet::Malformed);
    for text in ["", "[]", "null", "{\"keys\":", "{}"] {
        assert_eq!(KeySet::parse_jwks(text.as_bytes()).unwrap_err(), InvalidKeySet::Malformed, "{text}");
    }
    assert_eq!(KeySet::parse_jwks(&vec![b' '; KeySet::MAX_BYTES + 1]).unwrap_err(), InvalidKeySet::TooLong);
}

#[test]
fn a_point_off_the_curve_verifies_nothing() {
    let pair = Pair::ec("P-256");
    let off = with(pair.jwk("k"), "y", json!(encode([1; 32])));
    let authenticator = Authenticator::new(vec![okta()], Directory::new("local"));
    authenticator.set_keys("okta", jwks(&[off]));
    let token = pair.token_of(r#"{"alg":"ES256","kid":"k"}"#, &claims(json!({})).to_string());
    assert_eq!(code(&authenticator, &token), "token.signature");
}

/// RFC 7515 appendix A.3 and RFC 8037 appendix A.4.
#[test]
fn published_signatures_verify() {
    let rows = [
        (
            json!({ "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" }),
            Algorithm::ES256,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
            Algorithm::EdDSA,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];
    for (jwk, algorithm, message, signature) in rows {
        let set = jwks(&[jwk]);
        let key: &Key = set.candidates(None).next().unwrap();
        assert!(key.verifies(algorithm, message.as_bytes(), signature));
        assert!(!key.verifies(algorithm, &message.as_bytes()[1..], signature));
    }
}

#[test]
fn without_an_id_only_a_lone_key_is_meant() {
    let (pair, other) = (Pair::ed(), Pair::ed());
    let authenticator = Authenticator::new(vec![okta()], Directory::new("local"));
    let token = pair.token_of(r#"{"alg":"EdDSA"}"#, &claims(json!({})).to_string());
    assert_eq!(code(&authenticator, &token), "keys.unavailable");
    authenticator.set_keys("okta", jwks(&[pair.jwk("k"), other.jwk("o")]));
    assert_eq!(code(&authenticator, &token), "token.unknown_key");
    authenticator.set_keys("okta", jwks(&[pair.jwk("k")]));
    assert_eq!(code(&authenticator, &token), "ok");
}

#[test]
fn a_key_meant_for_one_algorithm_verifies_no_other() {
    let pair = Pair::rsa();
    let authenticator = Authenticator::new(vec![okta()], Directory::new("local"));
    authenticator.set_keys("okta", jwks(&[with(pair.jwk("k"), "alg", json!("RS256"))]));
    let token = |alg: &str| pair.token_of(&json!({ "alg": alg, "kid": "k" }).to_string(), &claims(json!({})).to_string());
    assert_eq!(code(&authenticator, &token("RS256")), "ok");
    assert_eq!(code(&authenticator, &token("PS256")), "token.algorithm");
}

#[test]
fn keys_stay_with_issuers_that_are_trusted_as_before() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let token = pair.token(&claims(json!({})));
    authenticator.set_issuers(vec![TrustedIssuer { max_lifetime: 900, ..okta() }]);
    assert_eq!(code(&authenticator, &token), "ok");
    // The same name for another issuer: the old keys must not speak for it.
    authenticator.set_issuers(vec![TrustedIssuer { issuer: "https://other.example".into(), ..okta() }]);
    authenticator.set_issuers(vec![okta()]);
    assert_eq!(code(&authenticator, &token), "keys.unavailable");
}

#[test]
fn keys_are_fetched_again_but_not_at_a_strangers_will() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let wanted = |kid: &str, secs: i64| {
        let header = json!({ "alg": "EdDSA", "kid": kid }).to_string();
        let denied = authenticator.verify(&pair.token_of(&header, &claims(json!({})).to_string()), NOW).unwrap_err();
        authenticator.key_refresh_wanted(&denied, NOW.plus_secs(secs))
    };
    assert_eq!(wanted("new", 0).as_deref(), Some("okta"));
    assert_eq!(wanted("new", 1), None);
    assert_eq!(wanted("another", 9), None, "ten seconds have not passed");
    assert_eq!(wanted("new", 11), None, "asked for not long ago");
    assert_eq!(wanted("another", 11).as_deref(), Some("okta"));
    assert_eq!(wanted("new", 301).as_deref(), Some("okta"));

    let expired = authenticator.verify(&pair.token(&claims(json!({ "iat": 1, "exp": 2 }))), NOW).unwrap_err();
    assert_eq!(authenticator.key_refresh_wanted(&expired, NOW.plus_secs(999)), None);
    let bare = Authenticator::new(vec![okta()], Directory::new("local"));
    let denied = bare.verify(&pair.token(&claims(json!({}))), NOW).unwrap_err();
    assert_eq!(bare.key_refresh_wanted(&denied, NOW).as_deref(), Some("okta"));
}
