//! What comes first from a load balancer.
#![no_main]

use claviger_protocols::proxied::{HEAD, Head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u8, u8, &[u8])| {
    let (good, command, family, bytes) = input;
    let mut header = bytes.to_vec();
    if good {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
        header = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, bytes].concat();
    }
    if let Some((head, body)) = header.split_first_chunk::<HEAD>()
        && let Ok(head) = Head::read(head)
    {
        let _ = head.source(body.get(..head.body).unwrap_or(body));
    }
});
