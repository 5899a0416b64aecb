//! What an identity provider may publish: its keys, and where they are.
#![no_main]

use claviger_identity::{KeySet, Metadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let _ = KeySet::parse_jwks(json);
    let _ = Metadata::parse(json, "https://idp.example");
});
