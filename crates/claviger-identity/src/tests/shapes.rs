//! Tokens in the shapes of the issuers that workloads have.

use serde_json::json;

use super::*;
use crate::{ClaimPath, Requirement};

fn require(claim: &str, allowed: &[&str]) -> Requirement {
    Requirement { claim: claim.parse().unwrap(), allowed: allowed.iter().map(|one| (*one).to_owned()).collect() }
}

/// Who it is by this trust record, or why not.
fn outcome(trusted: &TrustedIssuer, changes: Value) -> String {
    let pair = Pair::ed();
    let authenticator = Authenticator::new(vec![trusted.clone()], Directory::new("local"));
    authenticator.set_keys(&trusted.name, jwks(&[pair.jwk("k")]));
    let mut said = claims(json!({ "iss": &*trusted.issuer }));
    for (name, value) in changes.as_object().unwrap() {
        said[name] = value.clone();
    }
    authenticator
        .verify(&pair.token(&said), NOW)
        .map_or_else(|denied| denied.code().into(), |identity| identity.chain.to_string())
}

#[test]
fn requirements_are_met_or_the_token_is_refused() {
    for (requirement, said, met) in [
        (require("env", &["prod"]), json!({ "env": "prod" }), true),
        (require("env", &["prod", "dev"]), json!({ "env": "dev" }), true),
        (require("env", &["prod"]), json!({ "env": "production" }), false),
        (require("env", &["prod"]), json!({}), false),
        (require("env", &["prod"]), json!({ "env": null }), false),
        (require("env", &["prod"]), json!({ "env": { "prod": true } }), false),
        (require("env", &["*"]), json!({}), false),
        (require("protected", &["true"]), json!({ "protected": true }), true),
        (require("protected", &["true"]), json!({ "protected": "true" }), true),
        (require("protected", &["true"]), json!({ "protected": "false" }), false),
        (require("id", &["42"]), json!({ "id": 42 }), true),
        (require("id", &["42"]), json!({ "id": 420 }), false),
        (require("ref", &["refs/tags/v*"]), json!({ "ref": "refs/tags/v1.2" }), true),
        (require("ref", &["refs/tags/v*"]), json!({ "ref": "refs/heads/v1.2" }), false),
        (require("ref", &["a*c"]), json!({ "ref": "abc" }), false),
        (require("roles", &["deploy"]), json!({ "roles": ["read", "deploy"] }), true),
        (require("roles", &["deploy"]), json!({ "roles": ["read"] }), false),
        (require("k.io.ns", &["ci"]), json!({ "k.io": { "ns": "ci" } }), true),
        (require("k.io.ns", &["ci"]), json!({ "k.io": { "ns": "dev" } }), false),
        (require("k.io.ns", &["ci"]), json!({ "k": { "io": { "ns": "dev" } }, "k.io": { "ns": "ci" } }), false),
    ] {
        let trusted = TrustedIssuer { require: vec![requirement.clone()], ..okta() };
        assert_eq!(outcome(&trusted, said.clone()) == "alice@okta", met, "{requirement:?} {said}");
    }
    let both = TrustedIssuer { require: vec![require("a", &["1"]), require("b", &["2"])], ..okta() };
    assert_eq!(outcome(&both, json!({ "a": "1", "b": "2" })), "alice@okta");
    assert_eq!(outcome(&both, json!({ "a": "1", "b": "1" })), "token.requirement");
}

#[test]
fn claims_are_found_at_their_places() {
    for text in ["sub", "a.b", "kubernetes.io.namespace", "https://example.com/groups"] {
        assert_eq!(text.parse::<ClaimPath>().unwrap().to_string(), text);
    }
    for text in ["", ".", ".a", "a.", "a\nb", "a.b.c.d.e.f.g.h.i"] {
        assert!(text.parse::<ClaimPath>().is_err(), "{text}");
    }
}

/// A token without `iss`, as SPIRE issues it if nobody names one.
fn svid(sub: &str) -> Value {
    json!({ "iss": null, "sub": sub, "aud": ["claviger"] })
}

#[test]
fn a_spiffe_id_belongs_to_its_trust_domain() {
    let domain =
        TrustedIssuer { kind: PrincipalKind::Workload, ..TrustedIssuer::new("mesh", "spiffe://prod.example", "claviger") };
    let pair = Pair::for_algorithm("ES256");
    let authenticator = Authenticator::new(vec![domain, okta()], Directory::new("local"));
    let bundle = json!({ "keys": [{ "kty": "EC", "use": "x509-svid" }, pair.jwk("k")], "spiffe_sequence": 1 });
    let mut bundle = bundle;
    bundle["keys"][1]["use"] = "jwt-svid".into();
    for issuer in ["mesh", "okta"] {
        authenticator.set_keys(issuer, KeySet::parse_jwks(bundle.to_string().as_bytes()).unwrap());
    }
    let ask = |typ: Option<&str>, said: Value| {
        let mut header = json!({ "alg": "ES256", "kid": "k" });
        header["typ"] = typ.unwrap_or("JWT").into();
        let token = pair.token_of(&header.to_string(), &claims(said).to_string());
        authenticator.verify(&token, NOW).map_or_else(|denied| denied.code().into(), |identity| identity.chain.to_string())
    };
    let job = "spiffe://prod.example/ns/bank/job/nightly";
    assert_eq!(ask(None, svid(job)), format!("{job}@mesh"));
    assert_eq!(ask(Some("JOSE"), svid(job)), format!("{job}@mesh"));
    assert_eq!(ask(None, svid("spiffe://test.example/ns/bank")), "token.unknown_issuer");
    assert_eq!(ask(None, svid("spiffe://prod.example.evil/ns")), "token.unknown_issuer");
    assert_eq!(ask(None, svid("spiffe://prod.example")), "token.trust_domain", "the trust domain itself is nobody");
    assert_eq!(ask(None, svid("alice")), "token.claim_missing");
    // The keys of a trust domain name nobody outside it.
    assert_eq!(ask(None, json!({ "iss": "spiffe://prod.example", "sub": "alice" })), "token.trust_domain");
    assert_eq!(ask(None, json!({ "iss": "spiffe://prod.example", "sub": "spiffe://test.example/x" })), "token.trust_domain");
    assert_eq!(ask(Some("JOSE"), json!({})), "token.type", "other issuers' tokens are JWTs");
}
