//! What an identity provider may publish as its keys.
#![no_main]

use claviger_identity::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let _ = KeySet::parse_jwks(json);
});
