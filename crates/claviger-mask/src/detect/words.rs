//! Words in which letters and digits are mixed, and long ones.

use super::context::{self, Topics};
use super::scan::Scan;
use super::text::is_word;

impl Scan<'_, '_> {
    /// The word that `place` is in. Says up to where everything has been dealt with.
    pub(super) fn word(&mut self, place: usize) -> usize {
        let start = self.text.token_start(place, self.done, is_word);
        let end = self.text.run_end(place, is_word);
        self.secret(start, end)
            .or_else(|| self.iban(start))
            .or_else(|| self.crypto(start, end))
            .or_else(|| self.uuid(start, end))
            .or_else(|| self.mbi(start, end))
            .or_else(|| self.dea(start, end))
            .or_else(|| self.hardware(start, end))
            .or_else(|| self.license_or_passport(start, end))
            .or_else(|| self.ordinal(start, end))
            .or_else(|| self.labelled(start, end))
            .unwrap_or(end)
    }

    /// An identifier (RFC 9562) is none of the numbers that its parts may look like.
    fn uuid(&self, start: usize, end: usize) -> Option<usize> {
        const LENGTH: usize = 36;
        if end != start + 8 || self.text.at(end) != b'-' {
            return None;
        }
        let token = self.text.slice(start..start + LENGTH);
        let hyphen = |i: usize| matches!(i, 8 | 13 | 18 | 23);
        let fits = |(i, byte): (usize, &u8)| if hyphen(i) { *byte == b'-' } else { byte.is_ascii_hexdigit() };
        (token.len() == LENGTH && token.iter().enumerate().all(fits)).then_some(start + LENGTH)
    }

    /// `SSN123456789`: a number behind a word that says what it is.
    fn labelled(&mut self, start: usize, end: usize) -> Option<usize> {
        let digits = self.text.run_end(start, |byte| byte.is_ascii_alphabetic());
        let rest = self.text.slice(digits..end);
        if !(2..=12).contains(&(digits - start)) || rest.len() < 4 || !rest.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let word = self.text.slice(start..digits).to_ascii_lowercase();
        (context::of_word(&word) != Topics::NONE).then(|| self.numbers_behind_a_word(digits))
    }
}
