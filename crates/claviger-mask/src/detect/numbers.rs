//! Numbers: rows of digits with what separates them, and what they may be.

use super::Entity;
use super::context::{Topics, Words};
use super::scan::Scan;
use super::text::{Text, is_word};

/// As many groups of digits are looked at together.
const MOST: usize = 20;

/// Fewer digits are nothing by themselves.
const FEWEST_DIGITS: usize = 6;

/// A longer row of digits is nothing.
const LONGEST_GROUP: usize = 64;

/// Some digits in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What separates it from the group before: a space, `-`, `.`, `/`, `_`, or `(` for anything with parentheses.
    pub(super) separator: u8,
}

impl Group {
    pub(super) fn len(self) -> usize {
        self.end - self.start
    }
}

/// A group, as a cluster keeps it: where it begins in there.
#[derive(Clone, Copy, Debug, Default)]
struct Packed {
    offset: u16,
    length: u8,
    separator: u8,
}

/// What a cluster is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// To nothing.
    Open,
    /// By a hyphen or underscore to letters.
    Letters,
    /// To something that makes it part of an identifier, an amount or a longer number.
    Part,
}

/// Groups of digits, with at most a few separating characters between them.
#[derive(Debug)]
pub(super) struct Cluster {
    start: usize,
    groups: [Packed; MOST],
    count: usize,
    digits: usize,
    pub(super) before: Edge,
    pub(super) after: Edge,
}

impl Cluster {
    /// Whether what begins here may directly follow a row of digits: `x` and an extension, or `T` and a time.
    pub(super) fn may_precede(text: Text<'_>, end: usize) -> bool {
        let digits = |count: usize| end >= count && text.slice(end - count..end).iter().all(u8::is_ascii_digit);
        match text.at(end) {
            b'x' | b'X' => digits(4) && text.at(end + 1).is_ascii_digit(),
            b'T' => digits(2) && text.at(end + 1).is_ascii_digit(),
            b'e' => text.has_at(end, b"ext"),
            _ => false,
        }
    }

    /// Reads what begins with the digit at `start`.
    pub(super) fn read(text: Text<'_>, start: usize) -> Self {
        let groups = [Packed::default(); MOST];
        let mut cluster = Self { start, groups, count: 0, digits: 0, before: Edge::Open, after: Edge::Open };
        let (mut place, mut separator) = (start, 0);
        while let Some(group) = cluster.groups.get_mut(cluster.count) {
            let end = text.run_end(place, |byte| byte.is_ascii_digit());
            let (Ok(offset), Ok(length)) = (u16::try_from(place - start), u8::try_from(end - place)) else { break };
            if end - place > LONGEST_GROUP || text.at(end).is_ascii_alphabetic() && !Self::may_precede(text, end) {
                // The digits of a word that begins with digits: what is before them is attached to that.
                cluster.after = if separator == b' ' { Edge::Open } else { Edge::Part };
                break;
            }
            *group = Packed { offset, length, separator };
            cluster.count += 1;
            cluster.digits += end - place;
            cluster.after = Edge::after(text, end);
            let Some((next, found)) = separated(text, end) else { break };
            if cluster.count == MOST {
                cluster.after = Edge::Part;
            }
            (place, separator) = (next, found);
        }
        cluster.before = Edge::before(text, start);
        cluster
    }

    /// Whether a group and the next one are years: `1995-1997`.
    pub(super) fn are_years(&self, text: Text<'_>, i: usize) -> bool {
        let year = |i: usize| matches!(text.slice(self.group(i).start..self.group(i).start + 2), b"19" | b"20");
        self.shape::<2>(i) == Some([4, 4]) && year(i) && year(i + 1)
    }

    /// How many groups there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn groups(&self) -> impl DoubleEndedIterator<Item = Group> + Clone {
        self.between(0, self.count)
    }

    /// The groups from `i` up to `end`.
    pub(super) fn between(&self, i: usize, end: usize) -> impl DoubleEndedIterator<Item = Group> + Clone {
        self.groups.get(i..end.min(self.count)).unwrap_or_default().iter().map(|group| self.unpacked(*group))
    }

    /// A group; an empty one where there is none.
    pub(super) fn group(&self, i: usize) -> Group {
        self.unpacked(self.groups.get(i).copied().unwrap_or_default())
    }

    fn unpacked(&self, group: Packed) -> Group {
        let start = self.start + usize::from(group.offset);
        Group { start, end: start + usize::from(group.length), separator: group.separator }
    }

    /// What separates group `i` from the one before; a NUL where there is none.
    pub(super) fn separator(&self, i: usize) -> u8 {
        if i == 0 { 0 } else { self.groups.get(i).map_or(0, |group| group.separator) }
    }

    /// The lengths of `N` groups from group `i` on.
    pub(super) fn shape<const N: usize>(&self, i: usize) -> Option<[usize; N]> {
        let mut lengths = [0; N];
        let groups = self.groups.get(i..i + N).filter(|_| i + N <= self.count)?;
        lengths.iter_mut().zip(groups).for_each(|(length, group)| *length = usize::from(group.length));
        Some(lengths)
    }

    /// Whether the groups from `i` up to `end` stand for themselves: what is before and behind them is not separated like them.
    pub(super) fn is_alone(&self, i: usize, end: usize, separator: u8) -> bool {
        let before = if i == 0 { self.before != Edge::Part } else { self.separator(i) != separator && self.separator(i) != b'-' };
        let after = if end >= self.count {
            self.after != Edge::Part
        } else {
            self.separator(end) != separator && self.separator(end) != b'-'
        };
        before && after
    }

    fn end(&self) -> usize {
        self.group(self.count.saturating_sub(1)).end
    }
}

impl Edge {
    fn before(text: Text<'_>, start: usize) -> Self {
        let before = text.before(start);
        let attached = start.saturating_sub(1);
        match before {
            b'-' | b'_' => match text.before(attached) {
                b'0'..=b'9' if text.at(start.wrapping_sub(4)) != b'%' => Self::Part,
                byte if byte.is_ascii_alphabetic() => Self::of_word(text, attached),
                _ => Self::Open,
            },
            b'.' if text.before(attached).is_ascii_alphanumeric() => match Self::of_word(text, attached) {
                Self::Letters => Self::Open,
                edge => edge,
            },
            b'$' => Self::Part,
            byte if byte.is_ascii_alphanumeric() && text.token_start(start, attached.saturating_sub(6), is_word) < start => {
                Self::Part
            }
            _ => Self::Open,
        }
    }

    /// What it means to be attached to the word that ends here.
    fn of_word(text: Text<'_>, end: usize) -> Self {
        let start = text.run_start(end, end.saturating_sub(32), |byte| byte.is_ascii_alphanumeric());
        let digits = text.slice(start..end).iter().any(u8::is_ascii_digit);
        if digits || text.before(start) == b'-' { Self::Part } else { Self::Letters }
    }

    fn after(text: Text<'_>, end: usize) -> Self {
        let next = text.at(end + 1);
        match text.at(end) {
            b'-' | b'_' if next.is_ascii_alphanumeric() => Self::Letters,
            b'@' if next.is_ascii_alphanumeric() => Self::Part,
            b'%' => Self::Part,
            _ => Self::Open,
        }
    }
}

/// Where the next group of digits begins, if one follows, and what separates it.
fn separated(text: Text<'_>, end: usize) -> Option<(usize, u8)> {
    let (mut place, mut kind) = (end, 0);
    while place < end + 3 {
        let byte = text.at(place);
        kind = match (byte, kind) {
            (b'0'..=b'9', 0) => return None,
            (b'0'..=b'9', kind) => return Some((place, kind)),
            (b' ', 0) => b' ',
            (b' ', kind) if kind != b'.' => kind,
            (b'(' | b')', _) => b'(',
            (b'-' | b'/' | b'_', 0 | b' ') => byte,
            (b'.', 0) => byte,
            (b'-', b'(') => b'(',
            _ => return None,
        };
        place += 1;
    }
    (text.at(place).is_ascii_digit() && kind != 0).then_some((place, kind))
}

impl Scan<'_, '_> {
    /// A number begins here. Says up to where it has been dealt with.
    pub(super) fn numbers(&mut self, start: usize) -> usize {
        let cluster = Cluster::read(self.text, start);
        self.cluster(start, &cluster)
    }

    /// A number begins here, right behind a word that says what it is.
    pub(super) fn numbers_behind_a_word(&mut self, start: usize) -> usize {
        let cluster = Cluster { before: Edge::Open, ..Cluster::read(self.text, start) };
        self.cluster(start, &cluster)
    }

    fn cluster(&mut self, start: usize, cluster: &Cluster) -> usize {
        if cluster.count == 0 {
            return self.text.run_end(start, |byte| byte.is_ascii_digit());
        }
        if cluster.digits < FEWEST_DIGITS && cluster.count < 4 {
            let day = cluster.group(0);
            if cluster.count <= 2 {
                self.long_date(day.start, day.end);
            }
            return self.done.max(cluster.end());
        }
        let mut i = 0;
        while i < cluster.count {
            i = self.number(cluster, i).max(i + 1);
        }
        self.done.max(cluster.end())
    }

    /// What begins with group `i`, if it is anything. Returns the group behind it.
    fn number(&mut self, cluster: &Cluster, i: usize) -> usize {
        let group = cluster.group(i);
        let length = group.len();
        let rest: usize = cluster.digits - cluster.between(0, i).map(Group::len).sum::<usize>();
        let next = cluster.separator(i + 1);
        let found = (next == b'.' && length <= 3).then(|| self.ipv4(cluster, i)).flatten();
        let found = found.or_else(|| (rest >= 12).then(|| self.card(cluster, i)).flatten());
        if let Some(end) = found {
            return end;
        }
        // All others have at least six digits, and a form or a word that says what they are.
        let quiet = |words: &mut Words<'_>| {
            words.about(group.start, group.end) == Topics::NONE && words.about(group.start, cluster.end()) == Topics::NONE
        };
        if rest < FEWEST_DIGITS || (!self.has_form(cluster, i) && quiet(&mut self.words)) {
            return i;
        }
        let found = matches!(length, 2 | 3 | 5).then(|| self.social_security(cluster, i)).flatten();
        let found = found
            .or_else(|| matches!(length, 3 | 4 | 10).then(|| self.health_service(cluster, i)).flatten())
            .or_else(|| matches!(length, 1 | 2 | 4 | 8).then(|| self.date_of_birth(cluster, i)).flatten())
            .or_else(|| self.phone(cluster, i))
            .or_else(|| (length == 4).then(|| self.routing(cluster, i)).flatten())
            .or_else(|| self.by_context(cluster, i))
            .or_else(|| self.grouped_digits(cluster, i));
        found.unwrap_or(i)
    }

    /// Whether what begins with group `i` may be something by its form alone.
    fn has_form(&self, cluster: &Cluster, i: usize) -> bool {
        let group = cluster.group(i);
        let zero = self.text.at(group.start) == b'0';
        let called = matches!(self.text.before(group.start), b'+' | b'(');
        match (group.len(), cluster.group(i + 1).len()) {
            _ if called => true,
            (_, 0) => false,
            (3, 2 | 3) | (4, 3 | 4) | (1, 3) => true,
            (length, _) => zero && length <= 5,
        }
    }

    /// A number that is one only because of the words around it.
    fn by_context(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let group = cluster.group(i);
        let length = group.len();
        let space = |separator| matches!(separator, 0 | b' ' | b'/');
        let open = if i == 0 { cluster.before != Edge::Part } else { space(cluster.separator(i)) };
        let ended = if i + 1 == cluster.count { cluster.after != Edge::Part } else { space(cluster.separator(i + 1)) };
        if !(6..=19).contains(&length) || !open || !ended {
            return None;
        }
        let topics = self.words.about(group.start, group.end);
        let entity = self.named(group, topics)?;
        // What is attached to a word is rather the name of something.
        if i == 0 && cluster.before == Edge::Letters && !matches!(entity, Entity::Ssn | Entity::Itin) {
            return None;
        }
        self.report(entity, group.start..group.end, 60);
        Some(i + 1)
    }

    /// A licence or an account in groups of digits, where the text says so: `2270-66-1551`.
    fn grouped_digits(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let all = cluster.count;
        let hyphens = cluster.between(1, all).all(|group| group.separator == b'-');
        if i > 0 || !(2..=4).contains(&all) || !hyphens || cluster.before != Edge::Open || cluster.after != Edge::Open {
            return None;
        }
        let digits = cluster.digits;
        if !(8..=17).contains(&digits) || cluster.are_years(self.text, 0) || cluster.groups().any(|group| group.len() < 2) {
            return None;
        }
        let (start, end) = (cluster.start, cluster.end());
        let topics = self.words.about(start, end);
        let entity = match topics {
            topics if topics.meets(Topics::LICENSE) && digits <= 14 => Entity::DriverLicense,
            topics if topics.meets(Topics::ACCOUNT) && cluster.groups().all(|group| group.len() >= 3) => Entity::BankAccount,
            _ => return None,
        };
        self.report(entity, start..end, 60);
        Some(all)
    }

    fn named(&self, group: Group, topics: Topics) -> Option<Entity> {
        let length = group.len();
        let column = self.words.column();
        let digits = self.text.slice(group.start..group.end);
        let plausible_date = length == 8 && super::dates::is_compact(digits);
        if length == 9 && topics.meets(Topics::SSN | Topics::TAX) {
            match super::identity::kind(digits) {
                Some(entity) => return Some(entity),
                None if topics.meets(Topics::TAX) => return Some(Entity::Ein),
                None => {}
            }
        }
        if length == 9 && topics.meets(Topics::ROUTING) && super::banking::is_routing(digits) {
            return Some(Entity::AbaRouting);
        }
        if (6..=9).contains(&length) && topics.meets(Topics::PASSPORT) && (length == 9 || column.meets(Topics::PASSPORT)) {
            return Some(Entity::Passport);
        }
        if topics.meets(Topics::LICENSE) && super::licenses::fits(digits) {
            return Some(Entity::DriverLicense);
        }
        let shortest = if column.meets(Topics::ACCOUNT) { 6 } else { 8 };
        if (shortest..=17).contains(&length)
            && topics.meets(Topics::ACCOUNT)
            && (column.meets(Topics::ACCOUNT) || !plausible_date)
        {
            return Some(Entity::BankAccount);
        }
        None
    }
}
