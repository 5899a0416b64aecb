//! What has an `@`: email addresses, and names and passwords in URLs.

use super::Entity;
use super::scan::Scan;

/// The longest local part and domain (RFC 5321, 4.5.3.1).
pub(super) const LOCAL: usize = 64;
const DOMAIN: usize = 255;

/// As far before an `@` a URL may have begun.
pub(super) const URL: usize = 300;

/// What looks like a domain's end and is that of a file: `logo@2x.png`.
const FILES: &[&[u8]] = &[
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"ts", b"html", b"json", b"xml", b"txt", b"pdf", b"yml",
    b"yaml",
];

/// What stands unquoted in a local part, letters of other alphabets included (RFC 6531). RFC 5322 permits more, which in texts is
/// rather what surrounds an address: `to=a@example.com`.
pub(super) fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'' | b'~' | b'!' | b'#' | b'&' | b'*')
        || byte >= 0x80
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || byte >= 0x80
}

impl Scan<'_, '_> {
    /// Says up to where everything has been dealt with.
    pub(super) fn at_sign(&mut self, place: usize) -> usize {
        self.credentials(place).or_else(|| self.email(place)).unwrap_or(place + 1)
    }

    /// `scheme://user:password@host` (RFC 3986, 3.2.1).
    fn credentials(&mut self, place: usize) -> Option<usize> {
        let floor = place.saturating_sub(URL);
        let start = self
            .text
            .run_start(place, floor, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`'));
        let before = self.text.slice(start..place);
        let scheme = before.windows(3).rposition(|window| window == b"://")?;
        let user = start + scheme + 3;
        let named = scheme.checked_sub(1).and_then(|last| before.get(last)).is_some_and(u8::is_ascii_alphanumeric);
        let parts = self.text.slice(user..place);
        let colon = parts.iter().position(|byte| *byte == b':')?;
        let slash = parts.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(parts.len());
        // A path may hold an `@`; a password may hold a slash that somebody did not escape, but then there is no port before it.
        let port = parts.get(colon + 1..slash).is_some_and(|port| port.iter().all(u8::is_ascii_digit) && !port.is_empty())
            && slash < parts.len();
        if !named || slash < colon || port || colon + 1 == parts.len() {
            return None;
        }
        self.report(Entity::UrlCredentials, user..place, 90);
        Some(place + 1)
    }

    fn email(&mut self, place: usize) -> Option<usize> {
        let start = self.text.token_start(place, place.saturating_sub(LOCAL), is_local);
        let skipped = self
            .text
            .slice(start..place)
            .iter()
            .position(|byte| !matches!(byte, b'.' | b'\'' | b'-' | b'!' | b'#' | b'&' | b'*' | b'%' | b'~'))?;
        let start = self.character(start + skipped);
        let mut stop = self.text.run_end(place + 1, is_domain).min(place + 1 + DOMAIN);
        while self.text.at(stop) & 0xC0 == 0x80 && stop > place + 1 {
            stop -= 1;
        }
        let domain = self.domain(place + 1, stop)?;
        if start >= place || self.text.before(place) == b'.' {
            return None;
        }
        self.report(Entity::Email, start..domain, 90);
        Some(domain)
    }

    /// The beginning of the character that a limit may have cut into.
    fn character(&self, place: usize) -> usize {
        self.text.run_end(place, |byte| byte & 0xC0 == 0x80)
    }

    /// Where the domain ends: labels, the last of which has at least two letters.
    fn domain(&self, start: usize, stop: usize) -> Option<usize> {
        let text = self.text.slice(start..stop);
        let text =
            text.get(..text.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1).max(last_foreign(text)))?;
        let mut end = None;
        let mut at = 0;
        for (i, label) in text.split(|byte| *byte == b'.').enumerate() {
            let good = !label.is_empty() && label.len() <= 63 && label.first() != Some(&b'-') && label.last() != Some(&b'-');
            if !good {
                break;
            }
            let top = label.len() >= 2 && label.iter().all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
                || label.starts_with(b"xn--");
            at += label.len() + usize::from(i > 0);
            if i > 0 && top {
                end = Some((at, label.to_ascii_lowercase()));
            }
        }
        let (length, top) = end?;
        (!FILES.contains(&top.as_slice())).then_some(start + length)
    }
}

/// Behind the last byte that is not ASCII.
fn last_foreign(text: &[u8]) -> usize {
    text.iter().rposition(|byte| *byte >= 0x80).map_or(0, |last| last + 1)
}
