//! What a client may present as its token.
#![no_main]

use std::sync::LazyLock;

use claviger_identity::{Algorithm, Authenticator, Directory, KeySet, SubjectTemplate, TrustedIssuer};
use claviger_model::{PrincipalKind, Secret, Timestamp};
use libfuzzer_sys::fuzz_target;

/// A public key whose private half nobody here has (RFC 8037, appendix A.2).
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let issuer = TrustedIssuer {
        name: "corp".into(),
        issuer: "https://idp.example".into(),
        audience: "claviger".into(),
        algorithms: vec![Algorithm::EdDSA, Algorithm::RS256],
        max_lifetime: 3600,
        clock_skew: 60,
        subject: SubjectTemplate::default(),
        kind: PrincipalKind::User,
        groups_claim: Some("groups".into()),
        act_believed: true,
    };
    let authenticator = Authenticator::new(vec![issuer], Directory::new("local"));
    authenticator.set_keys("corp", KeySet::parse_jwks(KEYS.as_bytes()).expect("a published key"));
    authenticator
});

fuzz_target!(|token: &[u8]| {
    assert!(AUTHENTICATOR.verify(&Secret::new(token), Timestamp::from_secs(1_800_000_000)).is_err(), "nobody signed this");
});
