//! A hostile client, from its first byte or from a session that is being served.
#![no_main]

use claviger_fuzz as rig;

use claviger_protocols::Side;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (served, script) = input;
    let mut rig = if served { rig::Rig::serving() } else { rig::Rig::new() };
    rig.script(script, Side::Downstream);
});
