//! What is taken for an issuer's metadata, and which addresses are safe to ask.

use serde_json::json;

use super::*;
use crate::{InvalidMetadata, Metadata, Reach};

#[test]
fn an_address_is_safe_over_tls_or_on_this_machine() {
    use Reach::{ThisMachine, Tls};
    for (address, expected) in [
        ("https://idp.example", Some(Tls)),
        ("https://idp.example:8443/a?b#c", Some(Tls)),
        ("http://localhost/x", Some(ThisMachine)),
        ("http://127.0.0.1:8080/x", Some(ThisMachine)),
        ("http://127.8.8.8", Some(ThisMachine)),
        ("http://[::1]:8080/x", Some(ThisMachine)),
        ("http://idp.example/x", None),
        ("http://10.0.0.1/x", None),
        ("http://127.0.0.1.evil.example/x", None),
        ("http://localhost.evil.example/x", None),
        ("http://localhost:80@evil.example/x", None),
        ("http://localhost\\@evil.example/x", None),
        ("http://[::1]evil.example/x", None),
        ("http://localhost:x/", None),
        ("http://[::1", None),
        ("https://user@idp.example/x", None),
        ("https://idp.example/a b", None),
        ("https://", None),
        ("https:///x", None),
        ("ftp://localhost/x", None),
        ("file:///etc/passwd", None),
        ("HTTP://localhost/x", None),
        ("localhost", None),
        ("", None),
    ] {
        assert_eq!(Reach::of(address), expected, "{address}");
    }
}

#[test]
fn metadata_is_that_of_exactly_this_issuer() {
    let document = |changes: Value| {
        let mut document = json!({ "issuer": "https://idp.example", "jwks_uri": "https://keys.example/jwks",
            "userinfo_endpoint": "https://idp.example/me", "unknown": [1] });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        document
    };
    let parse = |document: &Value, issuer| Metadata::parse(document.to_string().as_bytes(), issuer);
    let good = parse(&document(json!({})), "https://idp.example").unwrap();
    assert_eq!(
        (good.jwks_uri.as_str(), good.userinfo_endpoint.as_deref()),
        ("https://keys.example/jwks", Some("https://idp.example/me"))
    );
    for (changes, issuer, expected) in [
        (json!({}), "https://idp.example/", InvalidMetadata::OtherIssuer),
        (json!({ "issuer": "https://IDP.example" }), "https://idp.example", InvalidMetadata::OtherIssuer),
        (json!({ "issuer": 7 }), "https://idp.example", InvalidMetadata::Malformed),
        (json!({ "jwks_uri": null }), "https://idp.example", InvalidMetadata::Malformed),
        (json!({ "jwks_uri": "http://keys.example/jwks" }), "https://idp.example", InvalidMetadata::UnsafeKeys),
        (json!({ "jwks_uri": "file:///etc/passwd" }), "https://idp.example", InvalidMetadata::UnsafeKeys),
        // An issuer elsewhere does not send us to our own services.
        (json!({ "jwks_uri": "http://127.0.0.1:8500/v1" }), "https://idp.example", InvalidMetadata::UnsafeKeys),
    ] {
        assert_eq!(parse(&document(changes.clone()), issuer).unwrap_err(), expected, "{changes}");
    }
    let near = json!({ "issuer": "http://localhost:1", "jwks_uri": "http://127.0.0.1:1/jwks" });
    assert!(parse(&document(near), "http://localhost:1").is_ok());
    let left_out = parse(&document(json!({ "userinfo_endpoint": "http://127.0.0.1/me" })), "https://idp.example").unwrap();
    assert_eq!(left_out.userinfo_endpoint, None);
    assert_eq!(Metadata::parse(&vec![b' '; Metadata::MAX_BYTES + 1], "x"), Err(InvalidMetadata::TooLong));
    assert_eq!(Metadata::parse(b"[]", "x"), Err(InvalidMetadata::Malformed));
    assert_eq!(Metadata::address("https://idp.example/t/"), "https://idp.example/t/.well-known/openid-configuration");
}
