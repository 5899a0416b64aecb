//! Settings that a client brings along, by themselves and inside `options`.
#![no_main]

use claviger_fuzz as rig;

use claviger_protocols::Side;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8], &[u8], &[u8])| {
    let (minor, options, name, value) = input;
    let mut body = vec![0, 3, 0, minor];
    for text in [b"user", &b"alice"[..], b"options", options, name, value] {
        body.extend(text.iter().filter(|byte| **byte != 0));
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).expect("a short message").to_be_bytes();
    let mut rig = rig::Rig::new();
    rig.feed(Side::Downstream, &[&length[..], &body].concat());
    rig.feed(Side::Downstream, b"p\0\0\0\x0atoken\0");
});
