//! Addresses of the internet and of hardware.

use std::net::Ipv6Addr;

use super::Entity;
use super::context::Topics;
use super::numbers::{Cluster, Edge};
use super::scan::Scan;
use super::text::{is_word, number};

/// The longest IPv6 address with an IPv4 one in it.
const LONGEST: usize = 45;

fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')
}

impl Scan<'_, '_> {
    /// Four numbers up to 255 with dots between them.
    pub(super) fn ipv4(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let lengths = cluster.shape::<4>(i)?;
        let end = i + 4;
        let dots = (i + 1..end).all(|group| cluster.separator(group) == b'.');
        if !dots || cluster.separator(end) == b'.' || cluster.separator(i) == b'.' || lengths.iter().any(|length| *length > 3) {
            return None;
        }
        if i == 0 && cluster.before == Edge::Part {
            return None;
        }
        let octets = cluster.between(i, end).map(|group| self.text.slice(group.start..group.end));
        if !octets.clone().all(|octet| number(octet) <= 255 && (octet.len() == 1 || octet.first() != Some(&b'0'))) {
            return None;
        }
        let (start, stop) = (cluster.group(i).start, cluster.group(end - 1).end);
        let product = self.text.before(start) == b'/' && octets.skip(1).all(|octet| octet == b"0");
        if product || self.text.at(stop) == b'.' && self.text.at(stop + 1).is_ascii_digit() || self.is_version(start) {
            return None;
        }
        self.report(Entity::IpAddress, start..stop, 80);
        Some(end)
    }

    /// Whether the word right before says that this is a version.
    fn is_version(&self, start: usize) -> bool {
        let end = self.text.run_start(start, start.saturating_sub(3), |byte| matches!(byte, b' ' | b':' | b'='));
        let word = self.text.run_start(end, end.saturating_sub(9), |byte| byte.is_ascii_alphabetic());
        let lower = self.text.slice(word..end).to_ascii_lowercase();
        super::context::of_word(&lower).meets(Topics::VERSION)
    }

    /// A colon: an IPv6 or a hardware address if it is in the midst of hexadecimal digits.
    pub(super) fn colon(&mut self, place: usize) -> usize {
        let (before, next) = (self.text.before(place), self.text.at(place + 1));
        if !((before.is_ascii_hexdigit() && (next.is_ascii_hexdigit() || next == b':'))
            || (next == b':' && is_part(self.text.at(place + 2))))
        {
            return place + 1;
        }
        let time = next.is_ascii_digit() && self.text.at(place + 2).is_ascii_digit() && !is_part(self.text.at(place + 3));
        if time {
            return place + 1;
        }
        // An address has at least five colons, or two in a row; a time has neither.
        let near = self.text.near(place, LONGEST);
        let tail = near.iter().take_while(|byte| is_part(**byte));
        if tail.clone().count() == near.len() {
            self.text.need(place + LONGEST);
        }
        if tail.clone().filter(|byte| **byte == b':').count() < 5 && !near.windows(2).take(tail.count()).any(|two| two == b"::") {
            return place + 1;
        }
        let floor = place.saturating_sub(LONGEST);
        let start = self.text.token_start(place, floor, is_part);
        let end = self.text.run_end(start, is_part);
        let end = start + self.text.slice(start..end).iter().rposition(|byte| *byte != b'.').map_or(0, |last| last + 1);
        // A colon that ends a clause is no part of an address: `fe80::1:`.
        let end = if self.text.slice(start..end).ends_with(b":") && !self.text.slice(start..end).ends_with(b"::") {
            end - 1
        } else {
            end
        };
        let token = self.text.slice(start..end);
        if token.len() > LONGEST
            || is_word(self.text.before(start))
            || self.text.before(start) == b'_'
            || is_word(self.text.at(end))
            || self.text.at(end) == b'_'
        {
            return place + 1;
        }
        let entity = if is_hardware(token, b':', 2, 6) || is_hardware(token, b':', 2, 8) {
            if is_of_nobody(token) {
                return end;
            }
            Entity::MacAddress
        } else if is_ipv6(token) {
            Entity::IpAddress
        } else {
            return place + 1;
        };
        self.report(entity, start..end, 85);
        end
    }

    /// Hardware addresses without a digit in them, with hyphens or dots. Nothing else in them stands out, so they are looked for only in a column
    /// that is called so.
    pub(super) fn hardware_of_letters(&mut self) {
        self.hardware_of_letters_from(0);
    }

    /// The same from a place on; says where to go on when there is more of the text.
    pub(super) fn hardware_of_letters_from(&mut self, from: usize) -> usize {
        let (done, mut place) = (self.done, from);
        while place < self.text.len() {
            let start = self.text.run_end(place, |byte| !is_word(byte));
            self.text.close();
            let end = self.text.run_end(start, is_word);
            let letters = self.text.slice(start..end).iter().all(u8::is_ascii_alphabetic);
            self.done = start;
            let found = self.found.len();
            place = if letters { self.hardware(start, end).unwrap_or(end) } else { end };
            if self.text.is_open() {
                self.found.truncate(found);
                place = start;
                break;
            }
            place = place.max(start + 1);
        }
        self.done = done;
        place
    }

    /// A hardware address with hyphens or dots: `00-1a-2b-3c-4d-5e`, `001a.2b3c.4d5e`; or a bare one that is called so.
    pub(super) fn hardware(&mut self, start: usize, end: usize) -> Option<usize> {
        let (separator, length, groups) = match (end - start, self.text.at(end)) {
            (2, b'-') => (b'-', 2, 6),
            (4, b'.') => (b'.', 4, 3),
            (12, _) if self.text.slice(start..end).iter().all(u8::is_ascii_hexdigit) => {
                let named = self.words.about(start, end).meets(Topics::HARDWARE);
                named.then(|| self.report(Entity::MacAddress, start..end, 60));
                return named.then_some(end);
            }
            _ => return None,
        };
        // Groups of letters alone have not been looked at.
        let letters = |group: &[u8]| {
            let (last, group) = group.split_last().unwrap_or((&0, &[]));
            *last == separator && group.iter().all(|byte| byte.is_ascii_hexdigit() && byte.is_ascii_alphabetic())
        };
        let mut first = start;
        while let Some(before) = first.checked_sub(length + 1).filter(|before| *before >= self.done && start - first < 5 * 3)
            && letters(self.text.slice(before..first))
        {
            first = before;
        }
        let start = first;
        let stop = start + groups * (length + 1) - 1;
        let token = self.text.slice(start..stop);
        let open = !is_word(self.text.at(stop)) && self.text.before(start) != separator && self.text.at(stop) != separator;
        if !open
            || !is_hardware(token, separator, length, groups)
            || is_of_nobody(token)
            || !token.iter().any(u8::is_ascii_alphabetic)
        {
            return None;
        }
        self.report(Entity::MacAddress, start..stop, 80);
        Some(stop)
    }
}

/// Whether an address is that of no device, or of all.
fn is_of_nobody(token: &[u8]) -> bool {
    let mut digits = token.iter().filter(|byte| byte.is_ascii_hexdigit()).peekable();
    let all = digits.peek().copied().copied().unwrap_or_default();
    matches!(all, b'0' | b'f' | b'F') && digits.all(|digit| digit.eq_ignore_ascii_case(&all))
}

/// Whether a token is so many groups of so many hexadecimal digits.
fn is_hardware(token: &[u8], separator: u8, length: usize, groups: usize) -> bool {
    token.len() == groups * (length + 1) - 1
        && token
            .iter()
            .enumerate()
            .all(|(i, byte)| if i % (length + 1) == length { *byte == separator } else { byte.is_ascii_hexdigit() })
}

fn is_ipv6(token: &[u8]) -> bool {
    let address = std::str::from_utf8(token).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    // `[::2]` takes every second one.
    let slice = token.starts_with(b"::") && token.len() <= 4 && token != b"::1";
    // Without a digit it is more likely two names: `dead::beef`.
    address.is_some_and(|address| !address.is_unspecified()) && token.iter().any(u8::is_ascii_digit) && !slice
}
