//! A hostile server of HTTP, while a request is under way.
#![no_main]

use claviger_fuzz as rig;

use claviger_protocols::Side;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| {
    let mut rig = rig::Rig::serving_http();
    rig.feed(Side::Downstream, b"POST /a/b HTTP/1.1\r\nhost: a\r\nx-api-key: t\r\ntransfer-encoding: chunked\r\n\r\n");
    rig.script(script, Side::Upstream);
});
