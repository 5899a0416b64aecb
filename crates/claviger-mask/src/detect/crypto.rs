//! Addresses of cryptocurrencies: Base58Check, Bech32 and Bech32m, and those of Ethereum.

use ring::digest::{SHA256, digest};

use super::Entity;
use super::scan::Scan;

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// An address's version, hash and checksum.
const PAYLOAD: usize = 25;

/// The longest Bech32 text (BIP 173).
const LONGEST: usize = 90;

impl Scan<'_, '_> {
    pub(super) fn crypto(&mut self, start: usize, end: usize) -> Option<usize> {
        let word = self.text.slice(start..end);
        let ethereum = word.len() == 42 && word.starts_with(b"0x") && word.iter().skip(2).all(u8::is_ascii_hexdigit);
        if ethereum || ((26..=36).contains(&word.len()) && is_base58_check(word)) || is_bech32(word) {
            self.report(Entity::CryptoAddress, start..end, 95);
            return Some(end);
        }
        None
    }
}

/// 25 bytes, the last four of which are the beginning of the others' double SHA-256.
fn is_base58_check(word: &[u8]) -> bool {
    let mut bytes = [0_u8; PAYLOAD];
    for character in word {
        let Some(mut carry) = BASE58.iter().position(|other| other == character) else { return false };
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let Some((payload, check)) = bytes.split_at_checked(PAYLOAD - 4) else { return false };
    digest(&SHA256, digest(&SHA256, payload).as_ref()).as_ref().starts_with(check) && payload.iter().any(|byte| *byte != 0)
}

/// A prefix, a 1, and characters whose checksum is that of BIP 173 or BIP 350.
fn is_bech32(word: &[u8]) -> bool {
    let lower = !word.iter().any(u8::is_ascii_uppercase);
    if !(26..=LONGEST).contains(&word.len()) || (!lower && word.iter().any(u8::is_ascii_lowercase)) {
        return false;
    }
    let Some(one) = word.iter().rposition(|byte| *byte == b'1') else { return false };
    let Some((prefix, data)) = word.split_at_checked(one) else { return false };
    if !(1..=10).contains(&prefix.len()) || data.len() < 8 {
        return false;
    }
    let prefix = prefix.to_ascii_lowercase();
    let mut sum = 1;
    let mut push = |value: u32| {
        let top: u32 = sum >> 25;
        sum = (sum & 0x01ff_ffff) << 5 ^ value;
        for (i, generator) in [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3].into_iter().enumerate() {
            if top >> i & 1 == 1 {
                sum ^= generator;
            }
        }
    };
    prefix.iter().for_each(|byte| push(u32::from(byte >> 5)));
    push(0);
    prefix.iter().for_each(|byte| push(u32::from(byte & 31)));
    for byte in data.iter().skip(1) {
        let Some(value) = BECH32.iter().position(|other| *other == byte.to_ascii_lowercase()) else { return false };
        push(u32::try_from(value).unwrap_or(0));
    }
    matches!(sum, 1 | 0x2bc8_30a3)
}
