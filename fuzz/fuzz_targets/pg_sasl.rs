//! A client that is asked for OAUTHBEARER, and what it says then.
#![no_main]

use claviger_fuzz as rig;

use claviger_protocols::Side;
use libfuzzer_sys::fuzz_target;

/// A message that says what the mechanism's first message is to say.
fn initial(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    framed(&[&b"OAUTHBEARER\0"[..], &length, message].concat())
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message").to_be_bytes();
    [&b"p"[..], &length, body].concat()
}

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (shape, first, second) = input;
    let mut rig = rig::Rig::asking_for_a_bearer_token();
    let first = match shape % 4 {
        0 => first.to_vec(),
        1 => framed(first),
        2 => initial(first),
        _ => initial(&[b"n,,\x01auth=", first, b"\x01\x01"].concat()),
    };
    rig.feed(Side::Downstream, &first);
    rig.feed(Side::Downstream, &if shape & 0x80 == 0 { framed(second) } else { second.to_vec() });
});
