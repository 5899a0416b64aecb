//! What was put in the place of values, known again: written back, it would take the place of the value.
//!
//! Other digits (FF1), other dates, and numbers that are tokens look like any: nothing in them says where they come from.

use super::text::{has_address, has_stars};
use super::token::{MaskKey, TOKEN, find};
use super::{Masks, Method};

/// What all placeholders begin with.
const OPENING: &[u8] = b"[masked";
/// The same, and the beginning of a token, as `bytea` writes them.
const HEX: [&[u8]; 2] = [b"5b6d61736b6564", b"746f6b5f"];
/// The length of a UUID as a text, and where its hyphens stand (RFC 9562, section 4).
const UUID: usize = 36;
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl Masks {
    /// Whether a text, or the binary form of a value, has something in it that stands for a value because we put it there.
    pub fn is_ours(&self, text: &[u8]) -> bool {
        let any = |wanted: fn(Method) -> bool| self.methods.iter().any(|(_, method)| wanted(*method));
        if any(|method| matches!(method, Method::Partial { .. } | Method::Length)) && has_stars(text)
            || any(|method| method == Method::EmailDomain) && has_address(text)
        {
            return true;
        }
        let tokens = self.key.as_ref().filter(|_| any(|method| matches!(method, Method::Token { .. })));
        is_plainly_ours(text, self.key.as_ref())
            || tokens.is_some_and(|key| has_uuid(text, key))
            || HEX.iter().any(|hex| has_hex(text, hex, self.key.as_ref()))
    }
}

/// Whether a placeholder or a token is in a text as it is.
fn is_plainly_ours(text: &[u8], key: Option<&MaskKey>) -> bool {
    let mut rest = text;
    while let Some(at) = find(rest, OPENING) {
        rest = rest.get(at + OPENING.len()..).unwrap_or_default();
        if matches!(rest.first(), Some(b']' | b':')) {
            return true;
        }
    }
    key.is_some_and(|key| key.finds_token(text))
}

/// Whether one is that begins so in hexadecimal.
fn has_hex(text: &[u8], hex: &[u8], key: Option<&MaskKey>) -> bool {
    let mut rest = text;
    while let Some(at) = find(rest, hex) {
        let digits = rest.get(at..).unwrap_or_default().chunks_exact(2).take(TOKEN);
        let bytes: Vec<u8> = digits.map_while(byte).collect();
        if is_plainly_ours(&bytes, key) {
            return true;
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}

/// Whether a UUID is in a text that stands for a value: written with its hyphens, as the whole of a binary value, or behind its length.
fn has_uuid(text: &[u8], key: &MaskKey) -> bool {
    const LENGTH: &[u8] = &[0, 0, 0, 16];
    let binary = |value: &[u8]| value.first_chunk::<16>().is_some_and(|uuid| key.is_token(uuid));
    if text.len() == 16 && binary(text) {
        return true;
    }
    let mut rest = text;
    while let Some(at) = find(rest, LENGTH) {
        rest = rest.get(at + 1..).unwrap_or_default();
        if rest.get(LENGTH.len() - 1..).is_some_and(binary) {
            return true;
        }
    }
    let hyphens = text.iter().enumerate().filter(|(_, byte)| **byte == b'-').map(|(at, _)| at);
    hyphens.filter_map(|at| text.get(at.checked_sub(8)?..at + UUID - 8)).any(|uuid| {
        let digits: Vec<u8> = uuid.iter().copied().filter(|digit| *digit != b'-').collect();
        let bytes: Vec<u8> = digits.chunks_exact(2).map_while(byte).collect();
        HYPHENS.iter().all(|place| uuid.get(*place) == Some(&b'-')) && bytes.len() == 16 && binary(&bytes)
    })
}

/// A byte of two hexadecimal digits.
fn byte(pair: &[u8]) -> Option<u8> {
    pair.iter().try_fold(0, |byte, digit| Some(byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use bytes::BytesMut;
    use claviger_model::Secret;

    use super::super::{Form, Type};
    use super::*;

    fn masks(method: Method) -> Masks {
        Masks::new(vec![("pii".into(), method)], MaskKey::new(&Secret::new(*b"a secret of the test's own"), 1)).unwrap()
    }

    fn masked(oid: u32, binary: bool, value: &[u8]) -> Vec<u8> {
        let labels: claviger_model::Labels = Arc::from([Arc::from("pii")]);
        let form = Form { kind: Type::of(oid, -1), binary, iso_dates: true };
        let mut out = BytesMut::new();
        assert!(masks(Method::Token { session: true }).mask(&labels, form, &[3; 16]).unwrap().put(Some(value), &mut out));
        out.to_vec()
    }

    fn is_ours(parts: &[&[u8]]) -> bool {
        masks(Method::Token { session: false }).is_ours(&parts.concat())
    }

    const ID: &[u8] = b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

    #[test]
    fn tokens_of_all_forms_are_known_again() {
        let uuid = masked(2950, false, ID);
        assert!(is_ours(&[b"update t set id = '", &uuid, b"' where x - 1 = 2"]));
        assert!(is_ours(&[&uuid.to_ascii_uppercase()]));
        let binary = masked(2950, true, &[7; 16]);
        assert!(is_ours(&[&binary]) && is_ours(&[b"\0\x02\0\0\0\x10", &binary, b"\0\0\0\x01x"]));
        let bytes = masked(17, false, b"\\x00ff");
        assert!(bytes.starts_with(b"\\x") && is_ours(&[b"insert into t values ('", &bytes, b"')"]));
        assert!(is_ours(&[b"\\x005b6d61736b65645d"]), "a placeholder");
        let array = masked(2951, false, &[b"{", ID, b",NULL}"].concat());
        assert!(is_ours(&[&array]));
    }

    #[test]
    fn what_only_looks_so_is_not() {
        for text in [
            ID,
            b"a0eebc99-9c0b-8ef8-bb6d-6bb9bd380a11",
            b"-",
            b"--------------------------------------",
            b"5b6d61736b656",
            &[0; 16],
        ] {
            assert!(!is_ours(&[text]), "{}", String::from_utf8_lossy(text));
        }
        let mut forged = masked(2950, false, ID);
        let last = forged.last_mut().unwrap();
        *last = if *last == b'0' { b'1' } else { b'0' };
        assert!(!is_ours(&[&forged]));
        assert!(!masks(Method::Redact).is_ours(&masked(2950, false, ID)), "where there are no tokens, a UUID is a UUID");
    }
}
