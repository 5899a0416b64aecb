//! What stands between quotes.

use std::borrow::Cow;

use super::Rigor;
use crate::NotRead;

/// How many bytes at the beginning stand for themselves and are neither a quote nor an escape.
pub(super) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let has_zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
    let mut count = 0;
    for eight in bytes.chunks_exact(8) {
        let Ok(eight) = <[u8; 8]>::try_from(eight) else { break };
        let x = u64::from_le_bytes(eight);
        // Which of the eight is a quote, a backslash or below 32; the lowest that shows is right.
        let control = x.wrapping_sub(ONES * 0x20) & !x & HIGH;
        let found = has_zero(x ^ (ONES * u64::from(b'"'))) | has_zero(x ^ (ONES * u64::from(b'\\'))) | control;
        if found != 0 {
            return count + found.trailing_zeros() as usize / 8;
        }
        count += 8;
    }
    let rest = bytes.get(count..).unwrap_or_default();
    count + rest.iter().position(|c| matches!(c, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len())
}

/// How long an escape is, or two that only mean something together.
pub(super) fn escape(bytes: &[u8], rigor: Rigor) -> Result<usize, NotRead> {
    match bytes.get(1).ok_or(NotRead::Syntax)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(2),
        b'u' => {
            let first = unit(bytes).ok_or(NotRead::Syntax)?;
            let low = || bytes.get(6..).filter(|rest| rest.starts_with(b"\\u")).and_then(unit).is_some_and(is_low);
            match first {
                _ if rigor != Rigor::Strict => Ok(6),
                0xd800..=0xdbff if low() => Ok(12),
                0xd800..=0xdfff => Err(NotRead::Syntax),
                _ => Ok(6),
            }
        }
        _ => Err(NotRead::Syntax),
    }
}

/// The unit of UTF-16 that `\uXXXX` at the beginning stands for.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(2..6)?;
    digits.iter().try_fold(0, |value, c| Some(value << 4 | u16::try_from(char::from(*c).to_digit(16)?).ok()?))
}

fn is_low(unit: u16) -> bool {
    (0xdc00..=0xdfff).contains(&unit)
}

/// What a string says. Halves of surrogate pairs become U+FFFD.
pub(super) fn resolved(inner: &str) -> String {
    let mut half = None;
    let mut text = decode(inner, &mut half).into_owned();
    if half.is_some() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text
}

/// What a string says that may be one part of several: the first half of a surrogate pair at its end waits for the next part.
pub(crate) fn decode<'a>(inner: &'a str, half: &mut Option<u16>) -> Cow<'a, str> {
    if half.is_none() && !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len() + 3);
    let mut rest = inner;
    loop {
        let stop = rest.find('\\').unwrap_or(rest.len());
        let (plain, escapes) = rest.split_at(stop);
        if !plain.is_empty() {
            lone(half, &mut out);
            out.push_str(plain);
        }
        let Some(kind) = escapes.as_bytes().get(1) else { break };
        let length = if *kind == b'u' { 6 } else { 2 };
        if *kind == b'u' {
            put_unit(unit(escapes.as_bytes()).unwrap_or(0xfffd), half, &mut out);
        } else {
            lone(half, &mut out);
            out.push(match kind {
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                other => char::from(*other),
            });
        }
        rest = escapes.get(length..).unwrap_or_default();
    }
    Cow::Owned(out)
}

fn put_unit(unit: u16, half: &mut Option<u16>, out: &mut String) {
    if is_low(unit) {
        let pair = half.take().map_or([unit, unit], |high| [high, unit]);
        out.push(char::decode_utf16(pair).next().and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER));
        return;
    }
    lone(half, out);
    match char::from_u32(unit.into()) {
        Some(c) => out.push(c),
        None => *half = Some(unit),
    }
}

/// The other half did not come.
fn lone(half: &mut Option<u16>, out: &mut String) {
    if half.take().is_some() {
        out.push(char::REPLACEMENT_CHARACTER);
    }
}

/// A text as a string of JSON.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote(text, &mut out);
    out
}

/// Appends a text as a string of JSON.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    loop {
        let stop = plain(rest.as_bytes());
        // What stops is one byte, or the end.
        let (plain, special) = rest.split_at_checked(stop).unwrap_or((rest, ""));
        out.push_str(plain);
        let Some(c) = special.bytes().next() else { break };
        match c {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            c => out.push_str(&format!("\\u{c:04x}")),
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_joined_across_parts() {
        let mut half = None;
        let parts = ["a\\ud83d", "\\ude00b", "\\ud83d", "", "\\ude00", "\\ud83d", "x\\ude00", "\\ud83d\\ud83d"];
        let text: Vec<_> = parts.iter().map(|part| decode(part, &mut half).into_owned()).collect();
        assert_eq!(text, ["a", "\u{1f600}b", "", "", "\u{1f600}", "", "\u{fffd}x\u{fffd}", "\u{fffd}"]);
        assert!(half.is_some());
    }

    proptest::proptest! {
        #[test]
        fn texts_survive_quotes(text in "\\PC{0,20}[\\x00-\\x7f]{0,20}") {
            let json = quoted(&text);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert_eq!(resolved(&json[1..json.len() - 1]), text);
        }

        #[test]
        fn what_stops_is_found(text in "[ -~\u{e9}\u{1f600}]{0,40}[\"\\\\\n]?[a-z]{0,9}") {
            let slow = text.bytes().position(|c| c == b'"' || c == b'\\' || c < 0x20).unwrap_or(text.len());
            assert_eq!(plain(text.as_bytes()), slow);
        }
    }
}
