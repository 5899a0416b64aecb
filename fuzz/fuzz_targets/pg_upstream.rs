//! A hostile upstream, behind a client that asks for all that can be asked.
#![no_main]

use claviger_fuzz as rig;

use claviger_protocols::Side;
use libfuzzer_sys::fuzz_target;

/// Parse, Bind, Describe, Execute, Close, Sync; and a Query.
const PIPELINE: &[u8] = b"P\0\0\0\x11s\0select 1\0\0\0B\0\0\0\x0d\0s\0\0\0\0\0\0\0D\0\0\0\x06P\0E\0\0\0\x09\0\0\0\0\0\
C\0\0\0\x06P\0S\0\0\0\x04Q\0\0\0\x0dselect 1\0";

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (pipeline, masks, script) = input;
    let mut rig = if masks { rig::Rig::masking() } else { rig::Rig::serving() };
    rig.feed(Side::Downstream, if pipeline { PIPELINE } else { b"Q\0\0\0\x0dselect 1\0" });
    rig.script(script, Side::Upstream);
});
