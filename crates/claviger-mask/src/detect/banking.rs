//! Routing numbers of banks in the United States, and international account numbers.

use super::Entity;
use super::numbers::{Cluster, Edge};
use super::scan::Scan;
use super::text::{is_word, number};

/// Whether nine digits are an ABA routing number: its Federal Reserve district, and weights 3, 7, 1 (ABA, *Routing Number Policy*).
pub(super) fn is_routing(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().zip([3, 7, 1].into_iter().cycle()).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    let district = number(digits.get(..2).unwrap_or_default());
    digits.len() == 9 && matches!(district, 1..=12 | 21..=32 | 61..=72 | 80) && sum.is_multiple_of(10)
}

/// How long the IBANs of each country are (SWIFT, *IBAN Registry*).
const IBANS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

impl Scan<'_, '_> {
    /// Four, four and one digits are how a routing number is printed, and rare otherwise.
    pub(super) fn routing(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let [4, 4, 1] = cluster.shape(i)? else { return None };
        let mut digits = [0; 9];
        let (start, end) = (cluster.group(i).start, cluster.group(i + 2).end);
        self.text.digits(start..end, &mut digits);
        let hyphens = cluster.separator(i + 1) == b'-' && cluster.separator(i + 2) == b'-';
        let open = i > 0 || cluster.before == Edge::Open;
        if !hyphens || !open || !cluster.is_alone(i, i + 3, b'-') || !is_routing(&digits.map(|digit| digit + b'0')) {
            return None;
        }
        self.report(Entity::AbaRouting, start..end, 80);
        Some(i + 3)
    }

    /// Where the IBAN that begins here ends: the country's length and the remainder by 97 (ISO 13616, ISO 7064).
    pub(super) fn iban(&mut self, start: usize) -> Option<usize> {
        if !self.text.at(start + 2).is_ascii_digit() || !self.text.at(start + 3).is_ascii_digit() {
            return None;
        }
        let country = [self.text.at(start).to_ascii_uppercase(), self.text.at(start + 1).to_ascii_uppercase()];
        let length = IBANS.iter().find(|(code, _)| **code == country).map(|(_, length)| *length)?;
        let mut remainder = Remainder::default();
        let (mut place, mut count) = (start, 0);
        while count < length {
            let byte = self.text.at(place);
            if is_word(byte) {
                if count >= 4 {
                    remainder.push(byte);
                }
                count += 1;
            } else if !matches!(byte, b' ' | b'-' | b'.') || !is_word(self.text.at(place + 1)) {
                return None;
            }
            place += 1;
        }
        self.text.slice(start..start + 4).iter().for_each(|byte| remainder.push(*byte));
        if remainder.0 != 1 || is_word(self.text.at(place)) {
            return None;
        }
        self.report(Entity::Iban, start..place, 95);
        Some(place)
    }
}

/// The remainder by 97 of letters and digits, letters counting from 10.
#[derive(Default)]
struct Remainder(u32);

impl Remainder {
    fn push(&mut self, byte: u8) {
        self.0 = match byte {
            b'0'..=b'9' => (self.0 * 10 + u32::from(byte - b'0')) % 97,
            _ => (self.0 * 100 + u32::from(byte.to_ascii_uppercase().wrapping_sub(b'A')) + 10) % 97,
        };
    }
}
