//! Telephone numbers.
//!
//! A number with `+` is one if its country exists (ITU-T E.164). A North American one is one if it is written in groups; ten digits
//! alone are one if the words around them say so. National ones of other countries begin with a zero.

use super::Entity;
use super::context::Topics;
use super::numbers::{Cluster, Edge};
use super::scan::Scan;
use super::text::number;

/// The longest number in the world (E.164, 6.1).
const LONGEST: usize = 15;

/// Country codes, and how many digits follow them.
const COUNTRIES: &[(u16, usize, usize)] = &[
    (1, 10, 10),
    (7, 10, 10),
    (20, 8, 10),
    (27, 9, 9),
    (30, 10, 10),
    (31, 9, 9),
    (32, 8, 9),
    (33, 9, 9),
    (34, 9, 9),
    (36, 8, 9),
    (39, 6, 11),
    (40, 9, 9),
    (41, 9, 9),
    (43, 6, 12),
    (44, 9, 10),
    (45, 8, 8),
    (46, 7, 10),
    (47, 8, 8),
    (48, 9, 9),
    (49, 6, 11),
    (51, 8, 9),
    (52, 10, 11),
    (53, 6, 8),
    (54, 10, 11),
    (55, 10, 11),
    (56, 9, 9),
    (57, 8, 10),
    (58, 10, 10),
    (60, 8, 10),
    (61, 9, 9),
    (62, 8, 12),
    (63, 8, 10),
    (64, 8, 10),
    (65, 8, 8),
    (66, 8, 9),
    (81, 9, 10),
    (82, 8, 10),
    (84, 9, 10),
    (86, 10, 11),
    (90, 10, 10),
    (91, 10, 10),
    (92, 9, 10),
    (93, 9, 9),
    (94, 9, 9),
    (95, 7, 10),
    (98, 10, 10),
    (212, 9, 9),
    (213, 8, 9),
    (216, 8, 8),
    (218, 8, 9),
    (234, 8, 10),
    (254, 9, 9),
    (351, 9, 9),
    (352, 6, 11),
    (353, 7, 9),
    (354, 7, 9),
    (355, 8, 9),
    (356, 8, 8),
    (357, 8, 8),
    (358, 6, 10),
    (359, 8, 9),
    (370, 8, 8),
    (371, 8, 8),
    (372, 7, 8),
    (380, 9, 9),
    (381, 8, 9),
    (385, 8, 9),
    (386, 8, 8),
    (420, 9, 9),
    (421, 9, 9),
    (502, 8, 8),
    (503, 8, 8),
    (504, 8, 8),
    (505, 8, 8),
    (506, 8, 8),
    (507, 7, 8),
    (593, 8, 9),
    (595, 9, 9),
    (598, 8, 8),
    (852, 8, 8),
    (853, 8, 8),
    (855, 8, 9),
    (880, 8, 10),
    (886, 8, 9),
    (961, 7, 8),
    (962, 8, 9),
    (964, 10, 10),
    (965, 8, 8),
    (966, 9, 9),
    (968, 8, 8),
    (971, 8, 9),
    (972, 8, 9),
    (973, 8, 8),
    (974, 8, 8),
    (977, 8, 10),
    (994, 9, 9),
    (995, 9, 9),
    (998, 9, 9),
];

/// How many digits may follow a country code that begins so, and how long the code is.
fn country(digits: &[u8]) -> Option<(usize, usize, usize)> {
    let mut code = 0;
    for (i, digit) in digits.iter().take(3).enumerate() {
        code = code * 10 + u16::from(*digit);
        if let Some((_, fewest, most)) = COUNTRIES.iter().find(|(known, ..)| *known == code) {
            return Some((i + 1, *fewest, *most));
        }
    }
    // The other codes of three digits (ITU, *List of Recommendation ITU-T E.164 assigned country codes*).
    matches!(code, 211..=299 | 350..=389 | 420..=423 | 500..=509 | 590..=599 | 670..=692 | 800 | 808 | 850..=886 | 960..=998)
        .then_some((3, 6, 12))
}

/// Whether ten digits may be a number of the North American Numbering Plan: NXX-NXX-XXXX, and neither code ends in 11.
pub(super) fn is_north_american(digits: &[u8]) -> bool {
    match digits {
        [a, b, c, d, e, f, _, _, _, _] => {
            (2..=9).contains(a) && (2..=9).contains(d) && (*b, *c) != (1, 1) && (*e, *f) != (1, 1) && *b != 9
        }
        _ => false,
    }
}

/// Groups that are looked at as one number.
#[derive(Default)]
struct Number {
    /// The group behind it.
    end: usize,
    digits: [u8; LONGEST],
    length: usize,
}

impl Number {
    fn digits(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }
}

impl Scan<'_, '_> {
    pub(super) fn phone(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        if i == 0 && cluster.before == Edge::Part {
            return None;
        }
        let found = self
            .international(cluster, i)
            .or_else(|| self.north_american(cluster, i))
            .or_else(|| self.national(cluster, i))
            .or_else(|| self.coded(cluster, i))
            .or_else(|| self.named_phone(cluster, i))?;
        let mut start = cluster.group(i).start;
        if self.text.before(start) == b'(' {
            start -= 1;
        }
        if self.text.before(start) == b'+' {
            start -= 1;
        }
        let mut end = cluster.group(found - 1).end;
        if found == cluster.count() {
            end = self.extension(end);
        }
        self.report(Entity::Phone, start..end, 75);
        self.done = self.done.max(end);
        Some(found)
    }

    /// The groups from `i` up to `end`, if they have at most so many digits.
    fn joined(&self, cluster: &Cluster, i: usize, end: usize) -> Option<Number> {
        let mut number = Number { end, ..Number::default() };
        for group in cluster.between(i, end) {
            let rest = number.digits.get_mut(number.length..)?;
            if rest.len() < group.len() {
                return None;
            }
            number.length += self.text.digits(group.start..group.end, rest);
        }
        Some(number)
    }

    /// `+41 (0)22 345 67 89`, `0044 20 7946 0958`, `011 44 ...`.
    fn international(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let start = cluster.group(i).start;
        let plus =
            self.text.before(start) == b'+' || (self.text.before(start) == b'(' && self.text.at(start.wrapping_sub(2)) == b'+');
        let before = self.text.at(start.wrapping_sub(2));
        if plus && before.is_ascii_alphanumeric() {
            return None;
        }
        let first = self.text.slice(start..cluster.group(i).end);
        let exit = if plus {
            0
        } else if first.starts_with(b"00") {
            2
        } else if first == b"011" {
            3
        } else {
            return None;
        };
        if !plus && cluster.separator(i + 1) == b'.' {
            return None;
        }
        if !plus && first.len() > exit + 3 && !self.words.about(start, start + first.len()).meets(Topics::PHONE) {
            return None;
        }
        let mut best = None;
        for end in i + 1..=cluster.count() {
            let Some(number) = self.without_trunk(cluster, i, end) else { break };
            let digits = number.digits().get(exit..).unwrap_or_default();
            let Some((code, fewest, most)) = country(digits) else { continue };
            let national = digits.len() - code;
            if national > most {
                break;
            }
            if national >= fewest {
                best = Some(number.end);
            }
        }
        let end = best?;
        let closed = end < cluster.count() || cluster.after != Edge::Part;
        closed.then_some(end)
    }

    /// As [`Scan::joined`], without a group `(0)`.
    fn without_trunk(&self, cluster: &Cluster, i: usize, end: usize) -> Option<Number> {
        let mut number = Number { end, ..Number::default() };
        for group in cluster.between(i, end) {
            if self.text.before(group.start) == b'('
                && self.text.at(group.end) == b')'
                && self.text.at(group.start) == b'0'
                && group.len() == 1
            {
                continue;
            }
            let rest = number.digits.get_mut(number.length..)?;
            if rest.len() < group.len() {
                return None;
            }
            number.length += self.text.digits(group.start..group.end, rest);
        }
        Some(number)
    }

    /// Three, three and four digits, perhaps after a 1.
    fn north_american(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let lead = match self.text.slice(cluster.group(i).start..cluster.group(i).end) {
            b"1" | b"001" if cluster.shape::<4>(i).is_some() => 1,
            _ => 0,
        };
        let first = i + lead;
        let end = first + 3;
        let [3, 3, 4] = cluster.shape(first)? else { return None };
        let separator = cluster.separator(end - 1);
        if !matches!(separator, b'-' | b'.' | b' ') || !cluster.is_alone(i, end, separator) {
            return None;
        }
        let number = self.joined(cluster, first, end)?;
        let other = cluster.separator(first + 1);
        let usual = other == separator || matches!(other, b'(' | b' ' | b'/');
        let (start, stop) = (cluster.group(i).start, cluster.group(end - 1).end);
        let plain = usual && is_north_american(number.digits()) && !(i == 0 && cluster.before == Edge::Letters);
        (plain || self.words.about(start, stop).meets(Topics::PHONE)).then_some(end)
    }

    /// Groups that begin with a zero, as most countries outside America write them: `020 7946 0958`, `(07700) 900123`, `06 12 34 56 78`.
    fn national(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let first = cluster.group(i);
        if self.text.at(first.start) != b'0' || matches!(self.text.at(first.start + 1), b'0') || first.len() > 5 {
            return None;
        }
        let mut best = None;
        for end in i + 2..=cluster.count().min(i + 5) {
            let Some(joined) = self.joined(cluster, i, end) else { break };
            let pairs = end == i + 5 && cluster.between(i, i + 5).all(|group| group.len() == 2);
            let british = joined.length == 11
                && (3..=5).contains(&first.len())
                && matches!(self.text.at(first.start + 1), b'1' | b'2' | b'3' | b'7' | b'8');
            if pairs || british {
                best = Some(end);
            }
        }
        let end = best?;
        let separator = cluster.separator(end - 1);
        (separator != b'.' && separator != b'/' && cluster.is_alone(i, end, separator)).then_some(end)
    }

    /// `(11) 7113-8192`, `(022) 7174-864`: a code in parentheses, and one or two groups.
    fn coded(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let first = cluster.group(i);
        let closed = self.text.before(first.start) == b'(' && self.text.at(first.end) == b')';
        let end = i + 3;
        let [2..=5, 3..=5, 3..=4] = cluster.shape(i)? else { return None };
        let number = self.joined(cluster, i, end)?;
        let hyphen = cluster.separator(i + 2) == b'-';
        (closed && hyphen && (8..=11).contains(&number.length) && cluster.is_alone(i, end, b'-')).then_some(end)
    }

    /// What is only known to be a number to call because the text, or the column, says so.
    fn named_phone(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let open = if i == 0 { cluster.before == Edge::Open } else { matches!(cluster.separator(i), b' ' | b'/') };
        if !open {
            return None;
        }
        let length = cluster.group(i).len();
        let end = if length >= 10 { i + 1 } else { self.number_end(cluster, i) };
        let number = self.joined(cluster, i, end)?;
        let column = self.words.column().meets(Topics::PHONE);
        let fits = if end == i + 1 {
            // Ten digits that begin with a 1 are rather a time.
            column
                || matches!((length, number.digits()), (10, [2..=9 | 0, ..]) | (11, [0 | 1, ..]) | (12, [9, 1, ..] | [4, 4, ..]))
        } else {
            !self.is_date(cluster, i) && !cluster.are_years(self.text, i)
        };
        let separator = if end == i + 1 { b'.' } else { cluster.separator(end - 1) };
        let pairs = cluster.between(i, end).all(|group| group.len() == 2);
        if !fits || number.length < if pairs { 6 } else { 7 } || !cluster.is_alone(i, end, separator) {
            return None;
        }
        let stop = cluster.group(end - 1).end;
        let topics = self.words.about(cluster.group(i).start, stop);
        let weak = topics.meets(Topics::REACH) && (end > i + 1 || length >= 10);
        (weak || topics.meets(Topics::PHONE)).then_some(end)
    }

    /// How many groups may be one number: at least two digits each, separated by at most two kinds of characters.
    fn number_end(&self, cluster: &Cluster, i: usize) -> usize {
        let mut length = 0;
        let groups = cluster.groups().enumerate().skip(i);
        let fits = groups.take_while(|(at, group)| {
            length += group.len();
            let separated = *at == i || matches!(group.separator, b' ' | b'-' | b'.' | b'(');
            separated && (2..=8).contains(&group.len()) && length <= 12
        });
        let end = i + fits.count();
        // `1234.56` is an amount.
        if end == i + 2 && cluster.separator(i + 1) == b'.' { i + 1 } else { end.max(i + 1) }
    }

    fn is_date(&self, cluster: &Cluster, i: usize) -> bool {
        let shape = cluster.shape::<3>(i);
        let numbers = [i, i + 1, i + 2].map(|i| number(self.text.slice(cluster.group(i).start..cluster.group(i).end)));
        shape.is_some_and(|lengths| lengths.contains(&4) && super::dates::is_date(numbers, lengths))
    }

    /// Behind an extension, if there is one: `x123`, `ext. 123`.
    fn extension(&self, end: usize) -> usize {
        let place = self.text.run_end(end, |byte| byte == b' ' || byte == b',').min(end + 2);
        let lower = [0, 1, 2].map(|i| self.text.at(place + i).to_ascii_lowercase());
        let word = match &lower {
            b"ext" => self.text.run_end(place, |byte| byte.is_ascii_alphabetic()),
            [b'x', ..] => place + 1,
            [b'#', ..] => place + 1,
            _ => return end,
        };
        let digits = self.text.run_end(word, |byte| matches!(byte, b' ' | b'.' | b':')).min(word + 2);
        let stop = self.text.run_end(digits, |byte| byte.is_ascii_digit());
        if (1..=6).contains(&(stop - digits)) { stop } else { end }
    }
}
