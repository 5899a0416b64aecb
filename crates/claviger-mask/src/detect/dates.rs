//! Dates of birth: dates that are called so.

use super::Entity;
use super::context::Topics;
use super::numbers::{Cluster, Edge};
use super::scan::Scan;
use super::text::number;

const MONTHS: [&[u8]; 12] = [
    b"january",
    b"february",
    b"march",
    b"april",
    b"may",
    b"june",
    b"july",
    b"august",
    b"september",
    b"october",
    b"november",
    b"december",
];

fn is_day(day: u32, month: u32) -> bool {
    (1..=31).contains(&day) && (1..=12).contains(&month)
}

fn is_year(year: u32) -> bool {
    (1880..=2035).contains(&year)
}

/// Whether three numbers are a day, in any usual order; a year of two digits is at an end.
pub(super) fn is_date(numbers: [u32; 3], lengths: [usize; 3]) -> bool {
    let [a, b, c] = numbers;
    match lengths {
        [4, 1..=2, 1..=2] => is_year(a) && is_day(c, b),
        [1..=2, 1..=2, 4] => is_year(c) && (is_day(a, b) || is_day(b, a)),
        [1..=2, 1..=2, 2] => is_day(a, b) || is_day(b, a),
        [2, 1..=2, 1] => is_day(c, b),
        _ => false,
    }
}

/// Whether eight digits are a day: 19901231, 12311990, 31121990.
pub(super) fn is_compact(digits: &[u8]) -> bool {
    let part = |from: usize, to: usize| number(digits.get(from..to).unwrap_or_default());
    digits.len() == 8
        && ((is_year(part(0, 4)) && is_day(part(6, 8), part(4, 6)))
            || (is_year(part(4, 8)) && (is_day(part(0, 2), part(2, 4)) || is_day(part(2, 4), part(0, 2)))))
}

pub(super) fn is_month(word: &[u8]) -> bool {
    if word.len() < 3 {
        return false;
    }
    let long = |month: &&[u8]| month.len() >= word.len() && month.iter().zip(word).all(|(a, b)| *a == b.to_ascii_lowercase());
    MONTHS.iter().any(|month| long(month) && (word.len() == month.len() || word.len() <= 4))
}

impl Scan<'_, '_> {
    pub(super) fn date_of_birth(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let (first, second) = (cluster.group(i), cluster.group(i + 1));
        if first.len() == 8 {
            let digits = self.text.slice(first.start..first.end);
            let apart = cluster.is_alone(i, i + 1, b'.');
            return (apart && is_compact(digits) && self.born(first.start, first.end)).then_some(i + 1);
        }
        let lengths = cluster.shape::<3>(i)?;
        let separator = second.separator;
        let third = cluster.group(i + 2);
        if !matches!(separator, b'-' | b'/' | b'.' | b' ')
            || third.separator != separator
            || !cluster.is_alone(i, i + 3, separator)
        {
            return None;
        }
        let numbers = [first, second, third].map(|group| number(self.text.slice(group.start..group.end)));
        if !is_date(numbers, lengths) || (i == 0 && cluster.before == Edge::Part) {
            return None;
        }
        self.born(first.start, third.end).then_some(i + 3)
    }

    /// `May 17, 1990`, `17th of May 1990`, `17-May-90`: a month in letters next to a few digits.
    pub(super) fn long_date(&mut self, start: usize, end: usize) {
        let touches = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b' ' | b',' | b'-' | b'.' | b'/');
        if end - start > 2 || !touches(self.text.at(end)) {
            return;
        }
        let between = |byte: u8| matches!(byte, b' ' | b',' | b'-' | b'.' | b'/');
        let month_end = self.text.run_start(start, start.saturating_sub(2), between);
        let month_start = self.text.run_start(month_end, month_end.saturating_sub(10), |byte| byte.is_ascii_alphabetic());
        if month_start < month_end && is_month(self.text.slice(month_start..month_end)) {
            if let Some(end) = self.year_after(self.ordinal_end(end)) {
                self.born(month_start, end);
            }
            return;
        }
        let mut place = self.text.run_end(self.ordinal_end(end), between);
        if self.text.has_at(place, b"of ") {
            place += 3;
        }
        let month = self.text.run_end(place, |byte| byte.is_ascii_alphabetic());
        if month > place
            && place < end + 8
            && is_month(self.text.slice(place..month))
            && let Some(end) = self.year_after(month)
        {
            self.born(start, end);
        }
    }

    /// `17th`: a day, perhaps. Says up to where it has been dealt with, if it is one.
    pub(super) fn ordinal(&mut self, start: usize, end: usize) -> Option<usize> {
        let digits = self.text.run_end(start, |byte| byte.is_ascii_digit());
        if digits == start || digits == end || self.ordinal_end(digits) != end {
            return None;
        }
        self.long_date(start, digits);
        Some(self.done.max(end))
    }

    /// Behind `st`, `nd`, `rd` or `th`.
    fn ordinal_end(&self, place: usize) -> usize {
        let suffix = [self.text.at(place), self.text.at(place + 1)].map(|byte| byte.to_ascii_lowercase());
        if matches!(&suffix, b"st" | b"nd" | b"rd" | b"th") { place + 2 } else { place }
    }

    /// Where the year ends that follows.
    fn year_after(&self, place: usize) -> Option<usize> {
        let start = self.text.run_end(place, |byte| matches!(byte, b' ' | b',' | b'-' | b'.' | b'/'));
        let end = self.text.run_end(start, |byte| byte.is_ascii_digit());
        let year = number(self.text.slice(start..end));
        (start <= place + 3 && ((end == start + 4 && is_year(year)) || end == start + 2)).then_some(end)
    }

    fn born(&mut self, start: usize, end: usize) -> bool {
        let born = self.words.about(start, end).meets(Topics::BIRTH);
        if born {
            self.report(Entity::DateOfBirth, start..end, 75);
            self.done = self.done.max(end);
        }
        born
    }
}
