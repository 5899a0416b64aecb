//! A hostile client of HTTP, from its first byte or from a session that is being served.
#![no_main]

use claviger_fuzz as rig;

use claviger_protocols::Side;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (served, script) = input;
    let mut rig = if served { rig::Rig::serving_http() } else { rig::Rig::of_http() };
    rig.script(script, Side::Downstream);
    rig.assert_canonical();
});
