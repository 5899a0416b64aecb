//! The PROXY protocol, version 2 (HAProxy's specification, section 2.2): what a load balancer says of the connection that it passes
//! on, before anything else. Version 1, which is text, is not read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The bytes of a head, which says how long the body is.
pub const HEAD: usize = 16;
/// The longest body: addresses, and what balancers add of their own.
const LONGEST: usize = 4096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and who speaks: the balancer for itself, or for its client.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Not said; TCP over IPv4; TCP over IPv6.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// What is not a header, or one of a connection that cannot be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadHeader(&'static str);

/// The first part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    command: u8,
    family: u8,
    /// The length of the body that follows.
    pub body: usize,
}

impl Head {
    /// Reads a head.
    pub fn read(head: &[u8; HEAD]) -> Result<Self, BadHeader> {
        let Some((SIGNATURE, &[command, family, high, low])) = head.split_first_chunk::<12>() else {
            return Err(BadHeader("there is no PROXY header of version 2"));
        };
        if !matches!(command, LOCAL | PROXY) {
            return Err(BadHeader("the PROXY header is of an unknown version or command"));
        }
        let body = usize::from(u16::from_be_bytes([high, low]));
        if body > LONGEST {
            return Err(BadHeader("the PROXY header is too long"));
        }
        Ok(Self { command, family, body })
    }

    /// Whose connection it is, by the body. `None`: that of whoever opened it.
    pub fn source(&self, body: &[u8]) -> Result<Option<SocketAddr>, BadHeader> {
        const SHORT: BadHeader = BadHeader("the PROXY header is shorter than its addresses");
        let (source, rest) = match (self.command, self.family) {
            (LOCAL, _) | (_, UNSPECIFIED) => return Ok(None),
            // Both addresses, then both ports.
            (_, TCP4) => {
                let (addresses, rest) = body.split_first_chunk::<12>().ok_or(SHORT)?;
                let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
                (SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])), rest)
            }
            (_, TCP6) => {
                let (source, rest) = body.split_first_chunk::<16>().ok_or(SHORT)?;
                let (_, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
                let (&[high, low, _, _], rest) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
                let address = IpAddr::from(Ipv6Addr::from(*source)).to_canonical();
                (SocketAddr::new(address, u16::from_be_bytes([high, low])), rest)
            }
            _ => return Err(BadHeader("the PROXY header is not of a TCP connection")),
        };
        additions(rest)?;
        Ok(Some(source))
    }
}

/// What balancers add: a type, a length of two bytes, a value. None of it is used, all of it must be there.
fn additions(mut rest: &[u8]) -> Result<(), BadHeader> {
    const TORN: BadHeader = BadHeader("what the PROXY header adds is torn");
    while !rest.is_empty() {
        let (&[_, high, low], after) = rest.split_first_chunk::<3>().ok_or(TORN)?;
        rest = after.get(usize::from(u16::from_be_bytes([high, low]))..).ok_or(TORN)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

    use proptest::prelude::*;

    use super::*;

    fn read(command: u8, family: u8, body: &[u8]) -> Result<Option<String>, BadHeader> {
        let mut head = [0; HEAD];
        head[..12].copy_from_slice(SIGNATURE);
        head[12..].copy_from_slice(&[command, family, (body.len() >> 8) as u8, body.len() as u8]);
        let head = Head::read(&head)?;
        assert_eq!(head.body, body.len());
        head.source(body).map(|source| source.map(|source| source.to_string()))
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x15, 0x38];

    #[test]
    fn says_whose_connection_it_is() {
        let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x12, 0x67, 0, 1]].concat();
        let mapped = [&[0; 10][..], &[0xff, 0xff, 203, 0, 113, 7], &[0; 16], &[0x12, 0x67, 0, 1]].concat();
        let with_additions = [&V4[..], &[4, 0, 0], &[2, 0, 3, b'a', b'b', b'c']].concat();
        for (command, family, body, expected) in [
            (PROXY, TCP4, &V4[..], Some("203.0.113.7:4711")),
            (PROXY, TCP4, &with_additions, Some("203.0.113.7:4711")),
            (PROXY, TCP6, &v6, Some("[2001:db8::7]:4711")),
            (PROXY, TCP6, &mapped, Some("203.0.113.7:4711")),
            (LOCAL, TCP4, &V4, None),
            (LOCAL, UNSPECIFIED, &[], None),
            (LOCAL, 0xff, b"whatever", None),
            (PROXY, UNSPECIFIED, b"whatever", None),
        ] {
            assert_eq!(read(command, family, body), Ok(expected.map(str::to_owned)), "{command:x} {family:x}");
        }
    }

    #[test]
    fn refuses_what_is_no_header() {
        for (command, family, body) in [
            (PROXY, TCP4, &V4[..11]),
            (PROXY, TCP6, &[0; 35]),
            (PROXY, TCP4, &[&V4[..], &[4, 0]].concat()),
            (PROXY, TCP4, &[&V4[..], &[4, 0, 9, 1]].concat()),
            // UDP, and sockets of a file system.
            (PROXY, 0x12, &V4),
            (PROXY, 0x22, &[0; 36]),
            (PROXY, 0x31, &[0; 216]),
            (PROXY, 0x41, &V4),
            (0x22, TCP4, &V4),
            (0x11, TCP4, &V4),
            (0x31, TCP4, &V4),
            (PROXY, TCP4, &[0; LONGEST + 1]),
        ] {
            assert!(read(command, family, body).is_err(), "{command:x} {family:x} {}", body.len());
        }
        assert!(Head::read(b"PROXY TCP4 203.0").is_err());
        assert!(Head::read(&[0; HEAD]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(command in any::<u8>(), family in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(command, family, &body);
        }
    }
}
