//! What a client may present as its token.
#![no_main]

use std::sync::LazyLock;

use claviger_identity::{Authenticator, Directory, KeySet, TrustedIssuer};
use claviger_model::{Secret, Timestamp};
use libfuzzer_sys::fuzz_target;

/// A public key whose private half nobody here has (RFC 8037, appendix A.2).
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let issuer = TrustedIssuer {
        subject: "{kubernetes.io.namespace}:{sub}".parse().expect("a template"),
        groups: vec!["realm_access.roles".parse().expect("a claim")],
        act_believed: true,
        ..TrustedIssuer::new("corp", "https://idp.example", "claviger")
    };
    let authenticator = Authenticator::new(vec![issuer], Directory::new("local"));
    authenticator.set_keys("corp", KeySet::parse_jwks(KEYS.as_bytes()).expect("a published key"));
    authenticator
});

fuzz_target!(|token: &[u8]| {
    assert!(AUTHENTICATOR.verify(&Secret::new(token), Timestamp::from_secs(1_800_000_000)).is_err(), "nobody signed this");
});
