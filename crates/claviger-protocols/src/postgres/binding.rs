//! Binding a login to its TLS channel by the server's certificate: `tls-server-end-point` (RFC 5929, section 4).

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

/// `1.2.840.113549.1.1`, PKCS #1; `1.2.840.10045.4`, ECDSA; `2.16.840.1.101.3.4.2`, the SHA-2 family.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4];
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
/// The first member of RSASSA-PSS's parameters: the hash function (RFC 4055, section 3.1).
const PSS_HASH: u8 = 0xa0;

/// The channel's data: a digest of the certificate (DER), by the hash function of its own signature, or by SHA-256 where that is
/// MD5 or SHA-1. `None` where the signature has none of its own, as Ed25519, or is not known here.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    Some(digest(hash(certificate)?, certificate).as_ref().to_vec())
}

/// By the certificate's `signatureAlgorithm` (RFC 5280, section 4.1.1.2).
fn hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (whole, _) = value(certificate, SEQUENCE)?;
    let (_signed, rest) = value(whole, SEQUENCE)?;
    let (algorithm, _) = value(rest, SEQUENCE)?;
    let (name, parameters) = value(algorithm, OBJECT)?;
    match (name.strip_prefix(RSA), name.strip_prefix(ECDSA)) {
        // MD5, SHA-1, and SHA-2 by size.
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(&SHA256),
        (Some([12]), _) | (_, Some([3, 3])) => Some(&SHA384),
        (Some([13]), _) | (_, Some([3, 4])) => Some(&SHA512),
        (Some([10]), _) => pss_hash(parameters),
        _ => None,
    }
}

/// The hash function of RSASSA-PSS, which is SHA-1 where nothing is said.
fn pss_hash(parameters: &[u8]) -> Option<&'static Algorithm> {
    let (parameters, _) = value(parameters, SEQUENCE)?;
    let Some((hash, _)) = value(parameters, PSS_HASH) else { return Some(&SHA256) };
    let (hash, _) = value(hash, SEQUENCE)?;
    let (name, _) = value(hash, OBJECT)?;
    match name.strip_prefix(SHA2)? {
        [1] => Some(&SHA256),
        [2] => Some(&SHA384),
        [3] => Some(&SHA512),
        _ => None,
    }
}

/// The content of the DER value of this type at the front, and what follows it. Lengths of up to three bytes, as certificates
/// have.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if first == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A certificate as far as it is read: something signed, and how.
    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let signed = [SEQUENCE, 0x81, 3, 1, 2, 3];
        let algorithm = wrap(SEQUENCE, algorithm);
        wrap(SEQUENCE, &[&signed[..], &algorithm, &[3, 1, 0]].concat())
    }

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap_or(0)], content].concat()
    }

    fn named(family: &[u8], member: &[u8]) -> Vec<u8> {
        wrap(OBJECT, &[family, member].concat())
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let pss = |parameters: &[u8]| [named(RSA, &[10]), wrap(SEQUENCE, parameters)].concat();
        let with = |member: u8| pss(&wrap(PSS_HASH, &wrap(SEQUENCE, &named(SHA2, &[member]))));
        for (algorithm, expected) in [
            (named(RSA, &[4]), Some(&SHA256)),
            (named(RSA, &[5]), Some(&SHA256)),
            (named(RSA, &[11]), Some(&SHA256)),
            (named(RSA, &[12]), Some(&SHA384)),
            (named(RSA, &[13]), Some(&SHA512)),
            (named(ECDSA, &[1]), Some(&SHA256)),
            (named(ECDSA, &[3, 2]), Some(&SHA256)),
            (named(ECDSA, &[3, 3]), Some(&SHA384)),
            (named(ECDSA, &[3, 4]), Some(&SHA512)),
            (pss(&[]), Some(&SHA256)),
            (with(2), Some(&SHA384)),
            (with(9), None),
            (named(&[0x2b, 0x65], &[0x70]), None),
            (Vec::new(), None),
        ] {
            let certificate = certificate(&algorithm);
            let expected = expected.map(|hash| digest(hash, &certificate).as_ref().to_vec());
            assert_eq!(end_point(&certificate), expected, "{algorithm:02x?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_certificates_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = end_point(&bytes);
            let _ = end_point(&certificate(bytes.get(..bytes.len().min(50)).unwrap_or_default()));
        }
    }
}
