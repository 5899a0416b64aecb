//! The gateway's own tokens.

use super::*;
use crate::{InvalidSigningKey, LocalIssuer, SigningKey, TokenRequest};

fn generate() -> (SigningKey, Secret) {
    SigningKey::generate(&SystemRandom::new()).unwrap()
}

fn issuer(keys: Vec<SigningKey>) -> LocalIssuer {
    LocalIssuer::new("local", "https://gateway.example", "claviger", keys).unwrap()
}

fn request(subject: &str) -> TokenRequest<'_> {
    TokenRequest { subject, actors: &[], purpose: None, lifetime: 600 }
}

fn directory() -> Directory {
    Directory::new("local")
        .with_principal(key("alice"), registered(PrincipalKind::User, &[], None))
        .with_principal(key("bot"), registered(PrincipalKind::Workload, &[], Some("alice")))
        .with_principal(key("sub-bot"), registered(PrincipalKind::Workload, &[], Some("alice")))
        .with_delegation(key("bot"), key("alice"))
        .with_delegation(key("sub-bot"), key("bot"))
}

fn trusting(issuer: &LocalIssuer) -> Authenticator {
    let authenticator = Authenticator::new(vec![TrustedIssuer { algorithms: vec![Algorithm::EdDSA], ..local() }], directory());
    authenticator.set_keys(issuer.name(), issuer.key_set().unwrap());
    authenticator
}

fn parts(token: &Secret) -> (Value, Value) {
    let decode = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let parts: Vec<&str> = token.expose_str().unwrap().split('.').collect();
    (decode(parts[0]), decode(parts[1]))
}

#[test]
fn a_token_says_what_was_asked_for() {
    let (signing, _) = generate();
    let kid = signing.kid().clone();
    let issuer = issuer(vec![signing]);
    let request = TokenRequest { actors: &["sub-bot", "bot"], purpose: Some("INC-1"), ..request("alice") };
    let issued = issuer.issue(&request, [0xab; 16], NOW).unwrap();
    let (header, claims) = parts(&issued.token);
    assert_eq!(header, json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": *kid }));
    assert_eq!(
        claims,
        json!({
            "iss": "https://gateway.example", "sub": "alice", "aud": "claviger", "purpose": "INC-1",
            "iat": NOW_SECS, "nbf": NOW_SECS, "exp": NOW_SECS + 600, "jti": "ab".repeat(16),
            "act": { "sub": "sub-bot", "act": { "sub": "bot" } },
        })
    );
    assert_eq!((&*issued.id, issued.issued, issued.expires), ("ab".repeat(16).as_str(), NOW, NOW.plus_secs(600)));
    assert_eq!(ring::digest::digest(&ring::digest::SHA256, issued.token.expose()).as_ref(), issued.sha256);

    let identity = trusting(&issuer).verify(&issued.token, NOW).unwrap();
    assert_eq!(identity.chain.to_string(), "sub-bot@local for bot@local for alice@local");
    assert_eq!((&identity.token, identity.expires, identity.purpose.as_deref()), (&issued.id, issued.expires, Some("INC-1")));
}

#[test]
fn an_older_key_verifies_until_it_is_retired() {
    let ((old, old_pem), (new, _)) = (generate(), generate());
    let before = issuer(vec![old]).issue(&request("alice"), [1; 16], NOW).unwrap().token;
    let rotated = issuer(vec![new, SigningKey::from_pkcs8(&old_pem).unwrap()]);
    let authenticator = trusting(&rotated);
    assert_eq!(code(&authenticator, &before), "ok");
    let after = rotated.issue(&request("alice"), [2; 16], NOW).unwrap().token;
    assert_ne!(parts(&before).0["kid"], parts(&after).0["kid"]);
    assert_eq!(code(&authenticator, &after), "ok");

    let jwks: Value = serde_json::from_str(&rotated.jwks()).unwrap();
    let kept = json!({ "keys": [jwks["keys"][0]] });
    authenticator.set_keys("local", KeySet::parse_jwks(kept.to_string().as_bytes()).unwrap());
    assert_eq!(code(&authenticator, &before), "token.unknown_key");
    assert_eq!(code(&authenticator, &after), "ok");
}

#[test]
fn the_published_keys_hold_nothing_private() {
    let issuer = issuer(vec![generate().0, generate().0]);
    let jwks: Value = serde_json::from_str(&issuer.jwks()).unwrap();
    for jwk in jwks["keys"].as_array().unwrap() {
        let mut members: Vec<&str> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
    }
    assert!(LocalIssuer::new("local", "https://gateway.example", "claviger", Vec::new()).is_err());
}

/// RFC 8037 appendix A.1 and A.3.
#[test]
fn the_key_id_is_the_thumbprint() {
    let private = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    // RFC 8410 section 7: PKCS#8 of an Ed25519 key.
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let key = SigningKey::from_pkcs8(&Secret::new([&prefix[..], &private].concat())).unwrap();
    assert_eq!(&**key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn a_key_survives_its_pem() {
    let (key, pem) = generate();
    let text = pem.expose_str().unwrap();
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n") && text.ends_with("-----END PRIVATE KEY-----\n"));
    assert!(text.lines().all(|line| line.len() <= 64));
    assert_eq!(SigningKey::from_pkcs8(&pem).unwrap().kid(), key.kid());
    assert_eq!(SigningKey::from_pkcs8(&Secret::new(text.replace('\n', "\r\n"))).unwrap().kid(), key.kid());
    for bad in ["", "-----BEGIN PRIVATE KEY-----", &text.replace("PRIVATE", "PUBLIC"), &text.replace('M', "*"), &text[..90]] {
        assert_eq!(SigningKey::from_pkcs8(&Secret::new(bad)).err(), Some(InvalidSigningKey::Malformed), "{bad}");
    }
}
