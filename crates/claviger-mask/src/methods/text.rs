//! What is kept of a text.

use bytes::{BufMut, BytesMut};

use super::token::find;

/// What stands where a character was.
pub(super) const HIDDEN: u8 = b'*';

/// Keeps so many characters of each end; of a text that has not more than both together, nothing. Spaces that only fill it up do not count.
pub(super) fn partial(value: &str, first: usize, last: usize, out: &mut BytesMut) {
    let content = value.trim_end_matches(' ');
    let count = count(content);
    let (first, last) = if count > first + last { (first, last) } else { (0, 0) };
    let head = nth(content, first);
    let tail = nth(content, count - last).max(head);
    out.put_slice(content.get(..head).unwrap_or_default().as_bytes());
    out.put_bytes(HIDDEN, count - first - last);
    out.put_slice(content.get(tail..).unwrap_or_default().as_bytes());
    out.put_bytes(b' ', value.len() - content.len());
}

/// Replaces letters and digits, and keeps what stands between them.
pub(super) fn length(value: &str, out: &mut BytesMut) {
    for c in value.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            out.put_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.put_u8(HIDDEN);
        }
    }
}

/// What stands before the `@` of a mail address of which the domain is kept.
const LOCAL: &str = "masked";

/// Keeps the domain of a mail address. False if it is none.
pub(super) fn email_domain(value: &str, limit: Option<usize>, out: &mut BytesMut) -> bool {
    let address = value.trim_end_matches(' ');
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let is_domain = domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.') && domain.chars().all(plain);
    let len = LOCAL.len() + 1 + count(domain);
    if local.is_empty() || !is_domain || limit.is_some_and(|limit| len > limit) {
        return false;
    }
    out.put_slice(LOCAL.as_bytes());
    out.put_u8(b'@');
    out.put_slice(domain.as_bytes());
    true
}

/// Whether such an address is in a text.
pub(super) fn has_address(text: &[u8]) -> bool {
    let mut rest = text;
    let mut before = None;
    while let Some(at) = find(rest, b"masked@") {
        let last = at.checked_sub(1).map_or(before, |last| rest.get(last).copied());
        if last.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'.' | b'-' | b'_' | b'+')) {
            return true;
        }
        before = Some(b'@');
        rest = rest.get(at + LOCAL.len() + 1..).unwrap_or_default();
    }
    false
}

/// Whether a text has something between quotes, tabs or the like that is half of stars, at least four; or, anywhere in it, stars that stand as what is
/// put in the place of numbers and addresses does: `***-**-4399`, `**** **** **** ****`. Rows of stars in comments are none.
pub fn has_stars(text: &[u8]) -> bool {
    let ends = |byte: &u8| matches!(byte, b'\'' | b'"' | b',' | b';' | b'|' | b'\t' | b'\n' | b'$');
    text.split(ends).any(|part| {
        let stars = stars(part);
        let comment = part.trim_ascii_start().starts_with(b"--") || find(part, b"/*").is_some() || find(part, b"*/").is_some();
        stars >= 4 && !comment && (2 * stars >= part.len() || has_starred(part))
    })
}

/// Whether words of stars stand in a text as a number in groups does.
fn has_starred(text: &[u8]) -> bool {
    // How many words in a row were nothing but stars, and how many stars those are.
    let (mut words, mut all) = (0, 0);
    for word in text.split(|byte| matches!(byte, b' ' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'=' | b':' | b'<' | b'>')) {
        let last = word.iter().rposition(|byte| *byte == HIDDEN).map_or(0, |last| last + 1);
        let (hidden, shown) = word.split_at_checked(last).unwrap_or_default();
        let kept = shown.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
        if hidden.is_empty() {
            if !word.is_empty() {
                if words >= 2 && all >= 5 && kept == 4 && shown.len() == 4 {
                    return true;
                }
                (words, all) = (0, 0);
            }
            continue;
        }
        let separated = hidden.iter().all(|byte| matches!(byte, b'*' | b'-' | b'.' | b'@' | b'/' | b'+' | b'_'));
        let grouped = hidden.first() == Some(&HIDDEN) && hidden.iter().any(|byte| *byte != HIDDEN);
        if separated && stars(hidden) >= 4 && kept <= 4 && (grouped || kept == 4) {
            return true;
        }
        let only = hidden.len() == word.len() && stars(hidden) == hidden.len();
        (words, all) = if only { (words + 1, all + hidden.len()) } else { (0, 0) };
        if words >= 2 && all >= 8 {
            return true;
        }
    }
    false
}

fn stars(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == HIDDEN).count()
}

fn count(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Where the character of this number begins.
fn nth(text: &str, n: usize) -> usize {
    if text.is_ascii() { n.min(text.len()) } else { text.char_indices().nth(n).map_or(text.len(), |(at, _)| at) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn partial_keeps_the_ends() {
        let of = |value, first, last| written(|out| partial(value, first, last, out));
        assert_eq!(of("123-45-6789", 0, 4), "*******6789");
        assert_eq!(of("Łukasz Żak", 1, 2), "Ł*******ak");
        assert_eq!(of("6789", 0, 4), "****");
        assert_eq!(of("ab", 1, 1), "**");
        assert_eq!(of("", 1, 1), "");
        assert_eq!(of("12345   ", 0, 2), "***45   ");
    }

    #[test]
    fn length_keeps_what_separates() {
        assert_eq!(written(|out| length("AB12-é 7", out)), "****-* *");
    }

    #[test]
    fn what_was_kept_of_a_text_is_known_again() {
        for text in [
            "*******6789",
            "update t set a = '*****89' where id = 1",
            "1\t***-**-****\n",
            "insert into t values ('her number ***-**-4399 is on file')",
            "paid with **** **** **** 4399 today",
            "*** ** ****",
            "*** ** 4399",
            "call (***) ***-**** or +**-***-***-4399",
            "write to ***.*****@****.***",
        ] {
            assert!(has_stars(text.as_bytes()), "{text}");
        }
        for text in [
            "select * from t",
            "/*********/ select 1",
            "insert into t values ('a ** b') /**** x ****/",
            "'***'",
            "4 ***** hotel in Rome",
            "-- ************\nselect 1",
            "select a.*, b.*, c.*, d.* from a, b, c, d",
            "select a.*,b.*,c.*,d.* from a, b, c, d",
            "insert into t select count(*)-count(*)*count(*) from t",
            "**bold** and ***bolder*** words, **again**",
            "2 ** 3 ** 4",
        ] {
            assert!(!has_stars(text.as_bytes()), "{text}");
        }
        assert!(has_address(b"update t set a = 'masked@bank.example'") && has_address(b"unmasked@x masked@y"));
        assert!(!has_address(b"unmasked@bank.example, x.masked@y"));
    }

    #[test]
    fn only_a_domain_is_kept() {
        let of = |value, limit| {
            let mut out = BytesMut::new();
            email_domain(value, limit, &mut out).then(|| String::from_utf8(out.to_vec()).unwrap())
        };
        assert_eq!(of("ana@bank.example", None).as_deref(), Some("masked@bank.example"));
        assert_eq!(of("ana@bank.example", Some(10)), None);
        assert_eq!(of("@bank.example", None), None);
        assert_eq!(of("ana@ 123-45-6789.x y", None), None);
        assert_eq!(of("123-45-6789", None), None);
    }
}
