//! Texts inside texts, in base64 (RFC 4648) or hexadecimal digits: what is in them is found as if it stood there plainly.

use std::ops::Range;

/// The shortest run that can hold a value: eleven characters take sixteen.
const SHORTEST: usize = 16;
/// The longest run that is looked into.
const LONGEST: usize = 64 << 10;

/// Calls back for each run that can be read as something else: where it is, and what it says.
pub(super) fn each(text: &[u8], mut read: impl FnMut(Range<usize>, &[u8])) {
    let mut start = 0;
    // A run that is long enough covers every sixteenth byte.
    while let Some(probe) = text.get(start + SHORTEST - 1) {
        if !is_part(*probe) {
            start += SHORTEST;
            continue;
        }
        let before = text.get(start..start + SHORTEST - 1).unwrap_or_default();
        let first = before.iter().rposition(|byte| !is_part(*byte)).map_or(start, |at| start + at + 1);
        let rest = text.get(first..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_part(*byte)).unwrap_or(rest.len());
        if (SHORTEST..=LONGEST).contains(&length) {
            let run = rest.get(..length).unwrap_or_default();
            // As PostgreSQL writes bytes (manual, 8.4.1).
            let escaped = first > 0 && text.get(first - 1) == Some(&b'\\');
            let run = run.strip_prefix(b"x").filter(|_| escaped).unwrap_or(run);
            for plain in [hexadecimal(run), base64(run)].into_iter().flatten().filter(|plain| is_text(plain)) {
                read(first..first + length, &plain);
            }
        }
        start = first + length.max(1);
    }
}

/// Lines of base64 are broken after 76 characters.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\n')
}

fn hexadecimal(run: &[u8]) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        run.iter().map(|byte| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    Some(digits?.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect())
}

fn base64(run: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(run.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in run.iter().filter(|byte| !matches!(byte, b'\n' | b'=')) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            plain.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(plain)
}

/// Whether it can be a text that somebody wrote: no control characters, and valid.
fn is_text(plain: &[u8]) -> bool {
    std::str::from_utf8(plain).is_ok_and(|text| text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let mut said = Vec::new();
        each(text.as_bytes(), |_, plain| said.push(String::from_utf8_lossy(plain).into_owned()));
        said
    }

    #[test]
    fn what_is_encoded_is_read() {
        assert_eq!(said("U1NOIDUzNi05MC00Mzk5"), ["SSN 536-90-4399"]);
        assert_eq!(said("see U1NOIDUzNi05MC00Mzk5, please"), ["SSN 536-90-4399"]);

        assert_eq!(said("53534e203533362d39302d34333939"), ["SSN 536-90-4399"]);
        assert_eq!(said("\\x53534e203533362d39302d34333939"), ["SSN 536-90-4399"]);
        assert_eq!(said("a text of short words and 1234567890 numbers"), Vec::<String>::new());
        assert_eq!(said("550e8400-e29b-41d4-a716-446655440000"), Vec::<String>::new());
    }
}
