//! Recordings of anything.
#![no_main]

use claviger_protocols::postgres::describe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (from_client, bytes) = input;
    assert!(describe(bytes, from_client).len() <= bytes.len() + 1);
});
