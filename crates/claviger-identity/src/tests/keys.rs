//! What is taken for a key, and when keys are fetched again.

use serde_json::json;

use super::*;
use crate::keys::Key;
use crate::{Errand, InvalidKeySet};

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
        assert_eq!(!parse(json!([jwk])).unwrap().is_empty(), usable, "{jwk}");
        // What is passed over does not harm its neighbours.
        assert!(parse(json!([jwk, Pair::ed().jwk("n")])).is_ok());
    }
}

#[test]
fn documents_are_bounded() {
    let ed = Pair::ed().jwk("c");
    assert_eq!(parse(json!(vec![ed.clone(); 101])).unwrap_err(), InvalidKeySet::TooMany);
    assert!(parse(json!(vec![ed; 100])).is_ok());
    assert!(parse(json!([])).unwrap().is_empty(), "an issuer may withdraw all its keys");
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
    authenticator.set_issuers(vec![TrustedIssuer { max_lifetime: 900, ..okta() }], |_| true);
    assert_eq!(code(&authenticator, &token), "ok");
    // The same name for another issuer: the old keys must not speak for it.
    authenticator.set_issuers(vec![TrustedIssuer { issuer: "https://other.example".into(), ..okta() }], |_| true);
    authenticator.set_issuers(vec![okta()], |_| true);
    assert_eq!(code(&authenticator, &token), "keys.unavailable");
}

#[test]
fn keys_of_a_source_that_is_not_asked_any_more_are_nobodys() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let token = pair.token(&claims(json!({})));
    let before = authenticator.generation();
    authenticator.set_issuers(vec![okta(), local()], |_| true);
    assert_eq!((code(&authenticator, &token), authenticator.generation()), ("ok", before));
    // It is asked elsewhere: neither the keys at hand count, nor those that were under way.
    authenticator.set_issuers(vec![okta(), local()], |_| false);
    assert_eq!(code(&authenticator, &token), "keys.unavailable");
    authenticator.set_keys_until(before, "okta", jwks(&[pair.jwk("k")]), NOW.plus_secs(5));
    assert_eq!(code(&authenticator, &token), "keys.unavailable");
    authenticator.set_keys_until(authenticator.generation(), "okta", jwks(&[pair.jwk("k")]), NOW.plus_secs(5));
    assert_eq!(code(&authenticator, &token), "ok");
}

#[test]
fn keys_are_fetched_again_but_not_at_a_strangers_will() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    let wanted = |kid: &str, secs: i64| {
        let header = json!({ "alg": "EdDSA", "kid": kid }).to_string();
        let denied = authenticator.verify(&pair.token_of(&header, &claims(json!({})).to_string()), NOW).unwrap_err();
        match authenticator.errand(&denied, NOW.plus_secs(secs)) {
            Some(Errand::Keys { issuer, fetch }) => fetch.then(|| issuer.to_string()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wanted("new", 0).as_deref(), Some("okta"));
    assert_eq!(wanted("new", 1), None, "asked for not long ago");
    assert_eq!(wanted("second", 1).as_deref(), Some("okta"));
    assert_eq!(wanted("third", 1).as_deref(), Some("okta"));
    for secs in 1..10 {
        assert_eq!(wanted("another", secs), None, "three in a row, and ten seconds have not passed");
    }
    assert_eq!(wanted("another", 10).as_deref(), Some("okta"));
    assert_eq!(wanted("yet another", 11), None);
    assert_eq!(wanted("new", 299), None);
    assert_eq!(wanted("new", 300).as_deref(), Some("okta"));

    let expired = authenticator.verify(&pair.token(&claims(json!({ "iat": 1, "exp": 2 }))), NOW).unwrap_err();
    assert_eq!(authenticator.errand(&expired, NOW.plus_secs(999)), None);
    assert_eq!(wanted("asked", 400).as_deref(), Some("okta"));
    assert_eq!(wanted("asked", 401), None);
    authenticator.keys_not_fetched("okta");
    assert_eq!(wanted("asked", 401).as_deref(), Some("okta"), "nobody had answered");
    let bare = Authenticator::new(vec![okta()], Directory::new("local"));
    let denied = bare.verify(&pair.token(&claims(json!({}))), NOW).unwrap_err();
    assert_eq!(bare.errand(&denied, NOW), Some(Errand::Keys { issuer: "okta".into(), fetch: true }));
}

/// Made by another implementation than the one that verifies.
#[test]
fn what_others_sign_verifies() {
    use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header};
    let rsa = EncodingKey::from_rsa_der(include_bytes!("rsa.der"));
    let (ec, ed) = (Pair::pkcs8("ES256"), Pair::pkcs8("EdDSA"));
    let rows = [
        (Alg::RS256, rsa.clone(), Pair::rsa()),
        (Alg::RS384, rsa.clone(), Pair::rsa()),
        (Alg::RS512, rsa.clone(), Pair::rsa()),
        (Alg::PS256, rsa.clone(), Pair::rsa()),
        (Alg::PS384, rsa.clone(), Pair::rsa()),
        (Alg::PS512, rsa, Pair::rsa()),
        (Alg::ES256, EncodingKey::from_ec_der(&ec.0), ec.1),
        (Alg::EdDSA, EncodingKey::from_ed_der(&ed.0), ed.1),
    ];
    for (algorithm, signer, pair) in rows {
        let authenticator = authenticator(&pair, Directory::new("local"));
        let header = Header { kid: Some("k".into()), ..Header::new(algorithm) };
        let token = jsonwebtoken::encode(&header, &claims(json!({})), &signer).unwrap();
        assert_eq!(code(&authenticator, &Secret::new(token)), "ok", "{algorithm:?}");
    }
}

/// RFC 9864 gives `EdDSA` with this curve a name of its own.
#[test]
fn ed25519_is_called_by_both_its_names() {
    let pair = Pair::ed();
    let authenticator = authenticator(&pair, Directory::new("local"));
    authenticator.set_keys("okta", jwks(&[with(pair.jwk("k"), "alg", json!("Ed25519"))]));
    for name in ["Ed25519", "EdDSA"] {
        let token = pair.token_of(&json!({ "alg": name, "kid": "k" }).to_string(), &claims(json!({})).to_string());
        assert_eq!(code(&authenticator, &token), "ok", "{name}");
    }
}

#[test]
fn keys_count_until_they_are_too_old() {
    let pair = Pair::ed();
    let authenticator = Authenticator::new(vec![okta()], Directory::new("local"));
    authenticator.set_keys_until(authenticator.generation(), "okta", jwks(&[pair.jwk("k")]), NOW.plus_secs(5));
    let token = pair.token(&claims(json!({})));
    assert!(authenticator.verify(&token, NOW.plus_secs(4)).is_ok());
    assert_eq!(authenticator.verify(&token, NOW.plus_secs(5)).unwrap_err().code(), "keys.unavailable");
}
