//! Format-preserving encryption: FF1 (NIST SP 800-38G, algorithm 7) with AES-256.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

/// A smaller domain can be searched (SP 800-38G rev. 1, section 5).
const SMALLEST_DOMAIN: u128 = 1_000_000;
/// The widest half of a text, in bits: so that all fits in 128 of them.
const WIDEST_HALF: u32 = 96;

/// FF1 under one key and one tweak.
#[derive(Clone)]
pub(super) struct Ff1 {
    cipher: Aes256,
    tweak: Vec<u8>,
}

impl Ff1 {
    pub(super) fn new(key: &[u8; 32], tweak: &[u8]) -> Self {
        Self { cipher: Aes256::new(&(*key).into()), tweak: tweak.to_vec() }
    }

    /// Encrypts numerals, each below the radix, in their place. False, and nothing is done, if there are too few or too many.
    pub(super) fn encrypt(&self, radix: u8, numerals: &mut [u8]) -> bool {
        let n = numerals.len();
        let (u, v) = (n / 2, n - n / 2);
        let (Some(of_u), Some(of_v)) = (power(radix, u), power(radix, v)) else { return false };
        if u128::BITS - (of_v - 1).leading_zeros() > WIDEST_HALF || of_u.saturating_mul(of_v) < SMALLEST_DOMAIN {
            return false;
        }
        let (left, right) = numerals.split_at(u);
        let (mut a, mut b) = (number(radix, left), number(radix, right));
        for round in 0..10 {
            let modulus = if round % 2 == 0 { of_u } else { of_v };
            let y = self.round(radix, n, of_v, round, b);
            (a, b) = (b, (a + y % modulus) % modulus);
        }
        let (left, right) = numerals.split_at_mut(u);
        spell(radix, a, left);
        spell(radix, b, right);
        true
    }

    /// Encrypts a number below 10 to the power of `digits` into another, whose first digit is not 0 if it is said so.
    pub(super) fn encrypt_number(&self, number: u64, digits: usize, leading: bool, most: u64) -> Option<u64> {
        let mut numerals = [0; 19];
        let numerals = numerals.get_mut(..digits)?;
        let mut next = number;
        // Walks the cycle until it is back where numbers of this form are: there is one, as it began there.
        loop {
            spell(10, u128::from(next), numerals);
            if !self.encrypt(10, numerals) {
                return None;
            }
            next = u64::try_from(self::number(10, numerals)).ok()?;
            if next <= most && (!leading || numerals.first() != Some(&0)) {
                return Some(next);
            }
        }
    }

    /// Step 6 up to iv: the number made of one half.
    fn round(&self, radix: u8, n: usize, of_v: u128, round: u8, half: u128) -> u128 {
        let b = usize::try_from((u128::BITS - (of_v - 1).leading_zeros()).div_ceil(8)).unwrap_or(16);
        let d = 4 * b.div_ceil(4) + 4;
        let (n32, t32) = (u32::try_from(n).unwrap_or(u32::MAX), u32::try_from(self.tweak.len()).unwrap_or(u32::MAX));
        let mut p = [1, 2, 1, 0, 0, radix, 10, u8::try_from(n / 2 % 256).unwrap_or(0), 0, 0, 0, 0, 0, 0, 0, 0];
        let (ends, lengths) = (n32.to_be_bytes(), t32.to_be_bytes());
        for (place, byte) in p.iter_mut().skip(8).zip(ends.iter().chain(&lengths)) {
            *place = *byte;
        }
        let padding = (16 - (self.tweak.len() + b + 1) % 16) % 16;
        let half = half.to_be_bytes();
        let q = self.tweak.iter().copied().chain(std::iter::repeat_n(0, padding)).chain([round]);
        let q = q.chain(half.iter().copied().skip(16 - b));
        let mut block = p.into();
        self.cipher.encrypt_block(&mut block);
        for (n, byte) in q.enumerate() {
            if let Some(place) = block.get_mut(n % 16) {
                *place ^= byte;
            }
            if n % 16 == 15 {
                self.cipher.encrypt_block(&mut block);
            }
        }
        // The first d bytes, of at most 16.
        let whole = u128::from_be_bytes(block.into());
        whole >> (128 - 8 * d.min(16))
    }
}

fn power(radix: u8, exponent: usize) -> Option<u128> {
    u128::from(radix).checked_pow(u32::try_from(exponent).ok()?)
}

fn number(radix: u8, numerals: &[u8]) -> u128 {
    numerals.iter().fold(0, |number, numeral| number * u128::from(radix) + u128::from(*numeral))
}

fn spell(radix: u8, mut number: u128, numerals: &mut [u8]) {
    for numeral in numerals.iter_mut().rev() {
        *numeral = u8::try_from(number % u128::from(radix)).unwrap_or(0);
        number /= u128::from(radix);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const KEY: [u8; 32] = [
        0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c, 0xef, 0x43, 0x59, 0xd8,
        0xd5, 0x80, 0xaa, 0x4f, 0x7f, 0x03, 0x6d, 0x6f, 0x04, 0xfc, 0x6a, 0x94,
    ];

    fn encrypted(tweak: &[u8], radix: u8, text: &str) -> String {
        let mut numerals: Vec<u8> = text.chars().map(|c| u8::try_from(c.to_digit(u32::from(radix)).unwrap()).unwrap()).collect();
        assert!(Ff1::new(&KEY, tweak).encrypt(radix, &mut numerals));
        numerals.iter().map(|numeral| char::from_digit(u32::from(*numeral), u32::from(radix)).unwrap()).collect()
    }

    /// NIST's samples 7 to 9 for FF1 with AES-256.
    #[test]
    fn encrypts_as_the_standard_does() {
        assert_eq!(encrypted(b"", 10, "0123456789"), "6657667009");
        assert_eq!(encrypted(b"9876543210", 10, "0123456789"), "1001623463");
        let tweak = [0x37, 0x37, 0x37, 0x37, 0x70, 0x71, 0x72, 0x73, 0x37, 0x37, 0x37];
        assert_eq!(encrypted(&tweak, 36, "0123456789abcdefghi"), "xs8a0azh2avyalyzuwd");
    }

    #[test]
    fn small_domains_and_long_texts_are_left() {
        let ff1 = Ff1::new(&KEY, b"");
        for (radix, count, taken) in
            [(10, 5, false), (10, 6, true), (10, 56, true), (10, 60, false), (36, 3, false), (36, 4, true), (36, 40, false)]
        {
            assert_eq!(ff1.encrypt(radix, &mut vec![1; count]), taken, "{radix} {count}");
        }
        assert!(!ff1.encrypt(10, &mut []));
        assert!(!ff1.encrypt(10, &mut vec![9; 4096]));
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let ff1 = Ff1::new(&KEY, b"x");
        let mut seen = std::collections::BTreeSet::new();
        for number in 2_000_000_000..2_000_000_200 {
            let other = ff1.encrypt_number(number, 10, true, 2_147_483_647).unwrap();
            assert!((1_000_000_000..=2_147_483_647).contains(&other));
            assert!(seen.insert(other));
        }
        assert!(ff1.encrypt_number(7, 6, false, 999_999).unwrap() < 1_000_000);
    }
}
