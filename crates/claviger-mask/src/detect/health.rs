//! Numbers of health services: NPI, DEA and MBI of the United States, NHS of the United Kingdom.

use super::Entity;
use super::context::Topics;
use super::numbers::{Cluster, Edge};
use super::scan::Scan;
use super::text::{is_word, luhn};

/// Whether ten digits are a National Provider Identifier: the Luhn check over 80840 and the digits (45 CFR 162.406).
pub(super) fn is_npi(digits: &[u8]) -> bool {
    let mut all = [8, 0, 8, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    all.iter_mut().skip(5).zip(digits).for_each(|(place, digit)| *place = digit.wrapping_sub(b'0'));
    let body = digits.get(..9).unwrap_or_default();
    let varied = body.iter().any(|digit| body.first() != Some(digit));
    digits.len() == 10 && matches!(digits.first(), Some(b'1' | b'2')) && varied && luhn(&all)
}

/// Whether ten digits are an NHS number: weights 10 to 2 and the remainder by 11 (NHS Data Dictionary).
fn is_nhs(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().zip((2..=10).rev()).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    let check = match 11 - sum % 11 {
        11 => 0,
        check => check,
    };
    digits.get(9).is_some_and(|digit| u32::from(*digit) == check) && digits.iter().any(|digit| digits.first() != Some(digit))
}

/// What may stand in a place of an MBI: a digit from 1, a digit, a letter, or either; letters that look like digits are left out
/// (CMS, *Understanding the Medicare Beneficiary Identifier Format*).
const MBI: &[u8; 11] = b"1AX0AX0AA00";

fn fits_mbi(byte: u8, kind: u8) -> bool {
    let letter = byte.is_ascii_alphabetic() && !matches!(byte.to_ascii_uppercase(), b'S' | b'L' | b'O' | b'I' | b'B' | b'Z');
    match kind {
        b'1' => matches!(byte, b'1'..=b'9'),
        b'0' => byte.is_ascii_digit(),
        b'A' => letter,
        _ => letter || byte.is_ascii_digit(),
    }
}

impl Scan<'_, '_> {
    pub(super) fn health_service(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let end = match (cluster.shape::<1>(i), cluster.shape::<3>(i)) {
            (Some([10]), _) => i + 1,
            (_, Some([3, 3, 4] | [4, 3, 3])) => i + 3,
            _ => return None,
        };
        let separator = cluster.separator(i + 1);
        let apart = cluster.is_alone(i, end, if end == i + 1 { b'.' } else { separator });
        if !apart || (i == 0 && cluster.before == Edge::Letters) {
            return None;
        }
        let mut digits = [0; 10];
        let (start, stop) = (cluster.group(i).start, cluster.group(end - 1).end);
        self.text.digits(start..stop, &mut digits);
        let grouped = end == i + 3 && matches!(separator, b' ' | b'-') && cluster.separator(i + 2) == separator;
        let npi = is_npi(&digits.map(|digit| digit + b'0')) && (grouped || end == i + 1);
        if npi && self.words.about(start, stop).meets(Topics::PROVIDER) {
            self.report(Entity::Npi, start..stop, 85);
            return Some(end);
        }
        if !is_nhs(&digits) || cluster.shape(i) == Some([4, 3, 3]) {
            return None;
        }
        // In groups it may be a telephone number as well.
        let topics = self.words.about(start, stop);
        let called = super::phones::is_north_american(&digits) || topics.meets(Topics::PHONE | Topics::REACH);
        if !topics.meets(Topics::NHS) && (!grouped || called) {
            return None;
        }
        self.report(Entity::Nhs, start..stop, 85);
        Some(end)
    }

    /// A Medicare Beneficiary Identifier, as one word or as four, three and four characters.
    pub(super) fn mbi(&mut self, start: usize, end: usize) -> Option<usize> {
        let mut place = start;
        let parted = end == start + 4 && self.text.at(end) == b'-';
        if !parted && end != start + MBI.len() {
            return None;
        }
        for (i, kind) in MBI.iter().enumerate() {
            if parted && matches!(i, 4 | 7) {
                (self.text.at(place) == b'-').then_some(())?;
                place += 1;
            }
            fits_mbi(self.text.at(place), *kind).then_some(())?;
            place += 1;
        }
        let lower = self.text.slice(start..place).iter().any(u8::is_ascii_lowercase);
        if is_word(self.text.at(place)) || self.text.before(start) == b'-' {
            return None;
        }
        if lower && !parted && !self.words.about(start, place).meets(Topics::MEDICARE) {
            return None;
        }
        self.report(Entity::Mbi, start..place, 80);
        Some(place)
    }

    /// A DEA number: two letters, seven digits, of which the last checks the others (21 CFR 1301; DEA, *Practitioner's Manual*).
    pub(super) fn dea(&mut self, start: usize, end: usize) -> Option<usize> {
        const KINDS: &[u8] = b"ABCDEFGHJKLMPRSTUX";
        let word = self.text.slice(start..end);
        let (letters, digits) = word.split_at_checked(2)?;
        let kind = letters.first()?.to_ascii_uppercase();
        let second = letters.get(1)?;
        if digits.len() != 7 || !digits.iter().all(u8::is_ascii_digit) || !KINDS.contains(&kind) || !(is_word(*second)) {
            return None;
        }
        let digit = |i: usize| digits.get(i).map_or(0, |digit| u32::from(digit - b'0'));
        let sum = digit(0) + digit(2) + digit(4) + 2 * (digit(1) + digit(3) + digit(5));
        if (!second.is_ascii_alphabetic() && *second != b'9') || sum % 10 != digit(6) {
            return None;
        }
        if !self.words.about(start, end).meets(Topics::PRESCRIBER) {
            return None;
        }
        self.report(Entity::Dea, start..end, 80);
        Some(end)
    }
}
