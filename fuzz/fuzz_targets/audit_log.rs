//! A log, its checkpoints and its recordings, made up by somebody who would like the verifier to fall over.
#![no_main]

use claviger_audit::checkpoint::VerifierKey;
use claviger_audit::verify::verify;
use libfuzzer_sys::fuzz_target;

/// The public key of RFC 8032, section 7.1, test 1.
const KEY: &str = "claviger.example+bc286738+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let key: VerifierKey = KEY.parse().expect("a verifier key");
    let (checkpoints, log, recordings) = input;
    let report = verify(&key, checkpoints, log, Some(recordings)).expect("memory can be read");
    assert!(checkpoints.is_empty() || !report.problems.is_empty(), "nobody signed this");
});
