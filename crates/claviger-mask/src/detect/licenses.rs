//! Driver's licences of the United States and passports: words that are one only because the text says so.

use super::Entity;
use super::context::Topics;
use super::scan::Scan;

/// The forms of each state's licences: `A` is letters and `0` is digits, with how many of them (AAMVA; the states' own pages).
const STATES: &[(&str, &[&str])] = &[
    ("AL", &["06", "07", "08"]),
    ("AK", &["06", "07"]),
    ("AZ", &["A1 08", "09"]),
    ("AR", &["08", "09"]),
    ("CA", &["A1 07"]),
    ("CO", &["09", "A1 06", "A1 05", "A1 04", "A1 03", "A2 05", "A2 04", "A2 03"]),
    ("CT", &["09"]),
    ("DE", &["06", "07"]),
    ("DC", &["07", "09"]),
    ("FL", &["A1 012"]),
    ("GA", &["07", "08", "09"]),
    ("HI", &["A1 08", "09"]),
    ("ID", &["A2 06 A1", "A2 06", "A1 09", "09"]),
    ("IL", &["A1 011", "A1 012"]),
    ("IN", &["A1 09", "09", "010"]),
    ("IA", &["09", "03 A2 04"]),
    ("KS", &["A1 01 A1 01 A1", "A1 08", "09"]),
    ("KY", &["A1 08", "A1 09", "09"]),
    ("LA", &["08", "09"]),
    ("ME", &["07", "07 A1", "08"]),
    ("MD", &["A1 012"]),
    ("MA", &["A1 08", "A2 07", "09"]),
    ("MI", &["A1 010", "A1 012"]),
    ("MN", &["A1 012"]),
    ("MS", &["09"]),
    ("MO", &["A1 05", "A1 06", "A1 07", "A1 08", "A1 09", "A1 06 A1", "08 A2", "09 A1", "09"]),
    ("MT", &["A1 08", "09", "013", "014"]),
    ("NE", &["A1 06", "A1 07", "A1 08"]),
    ("NV", &["09", "010", "012", "A1 08"]),
    ("NH", &["02 A3 05", "A3 08"]),
    ("NJ", &["A1 014"]),
    ("NM", &["08", "09"]),
    ("NY", &["A1 07", "A1 018", "08", "09", "010", "016"]),
    ("NC", &["07", "08", "09", "010", "011", "012"]),
    ("ND", &["A3 06", "09"]),
    ("OH", &["A1 04", "A1 05", "A1 06", "A1 07", "A1 08", "A2 03", "A2 04", "A2 05", "A2 06", "A2 07", "08"]),
    ("OK", &["A1 09", "09"]),
    ("OR", &["A1 06", "A2 05", "07", "08", "09"]),
    ("PA", &["08"]),
    ("RI", &["A1 06", "07"]),
    ("SC", &["06", "07", "08", "09", "010", "011"]),
    ("SD", &["06", "07", "08", "09", "010", "012"]),
    ("TN", &["07", "08", "09"]),
    ("TX", &["07", "08"]),
    ("UT", &["06", "07", "08", "09", "010"]),
    ("VT", &["08", "07 A1"]),
    ("VA", &["A1 08", "A1 09", "A1 010", "A1 011", "09"]),
    ("WA", &["A7 05", "A8 04", "A9 03", "A10 02", "A11 01", "A7 03 A2", "A3 0", "A3 05 A1 03", "A3 04 A1 04"]),
    ("WV", &["A1 06", "A2 05", "07"]),
    ("WI", &["A1 013"]),
    ("WY", &["09", "010"]),
];

/// Shorter ones are none unless the text speaks of driving.
const SHORTEST: usize = 6;

/// The longest of all.
const LONGEST: usize = 20;

/// Whether a word has the form of a licence of some state.
pub(super) fn fits(word: &[u8]) -> bool {
    word.len() <= LONGEST && STATES.iter().any(|(_, forms)| forms.iter().any(|form| has_form(word, form)))
}

fn has_form(word: &[u8], form: &str) -> bool {
    let mut rest = word;
    for run in form.split(' ') {
        let (kind, count) = run.split_at(1);
        let Ok(count) = count.parse::<usize>() else { return false };
        let Some((these, others)) = rest.split_at_checked(count) else { return false };
        if !these.iter().all(|byte| if kind == "A" { byte.is_ascii_alphabetic() } else { byte.is_ascii_digit() }) {
            return false;
        }
        rest = others;
    }
    rest.is_empty()
}

impl Scan<'_, '_> {
    /// A word of letters and digits that the text calls a licence or a passport.
    pub(super) fn license_or_passport(&mut self, start: usize, end: usize) -> Option<usize> {
        if !(4..=LONGEST).contains(&(end - start)) && !self.text.at(start).is_ascii_alphabetic() {
            return None;
        }
        let topics = self.words.about(start, end);
        if !topics.meets(Topics::LICENSE | Topics::PASSPORT) {
            return None;
        }
        let stop = self.grouped_license(start, end).unwrap_or(end);
        let word: Vec<u8> = self.text.slice(start..stop).iter().copied().filter(u8::is_ascii_alphanumeric).collect();
        let entity = if topics.meets(Topics::PASSPORT) && stop == end && is_passport(&word) {
            Entity::Passport
        } else if topics.meets(Topics::LICENSE) && fits(&word) && (word.len() >= SHORTEST || topics.meets(Topics::DRIVER)) {
            Entity::DriverLicense
        } else {
            return None;
        };
        self.report(entity, start..stop, 65);
        Some(stop)
    }

    /// `S123-4567-8901-23`: one letter and digits, in groups that hyphens or spaces separate.
    fn grouped_license(&self, start: usize, end: usize) -> Option<usize> {
        let mut stop = end;
        let separator = self.text.at(end);
        if !matches!(separator, b'-' | b' ')
            || !self.text.at(start).is_ascii_alphabetic()
            || !self.text.slice(start + 1..end).iter().all(u8::is_ascii_digit)
        {
            return None;
        }
        while self.text.at(stop) == separator && self.text.at(stop + 1).is_ascii_digit() && stop < start + LONGEST + 6 {
            stop = self.text.run_end(stop + 1, |byte| byte.is_ascii_digit());
        }
        (stop > end && !self.text.at(stop).is_ascii_alphabetic()).then_some(stop)
    }
}

/// Letters and digits of a passport: that of the United States has a letter and eight digits.
fn is_passport(word: &[u8]) -> bool {
    let letters = word.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let digits = word.len() - letters;
    (1..=2).contains(&letters) && (6..=8).contains(&digits) && word.iter().skip(letters).all(u8::is_ascii_digit)
}
