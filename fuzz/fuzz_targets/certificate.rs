//! Certificates of clients.
#![no_main]

use claviger_identity::{SubjectTemplate, TrustedAuthority, read_certificate};
use claviger_model::PrincipalKind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|certificate: &[u8]| {
    let _ = read_certificate(certificate);
    let subject: SubjectTemplate = "{cn}".parse().expect("a template");
    let _ = TrustedAuthority::new("mesh", [certificate], subject, PrincipalKind::User, 1);
});
