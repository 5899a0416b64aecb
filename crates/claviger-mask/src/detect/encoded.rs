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
            let run = first..first + length;
            plain(text, run.clone()).filter(|plain| is_text(plain)).for_each(|plain| read(run.clone(), &plain));
        }
        start = first + length.max(1);
    }
}

/// What a run may say.
fn plain(text: &[u8], run: Range<usize>) -> impl Iterator<Item = Vec<u8>> {
    // As PostgreSQL writes bytes (manual, 8.4.1).
    let escaped = text.get(..run.start).is_some_and(|before| before.last() == Some(&b'\\'));
    let run = text.get(run).unwrap_or_default();
    let run = run.strip_prefix(b"x").filter(|_| escaped).unwrap_or(run);
    [hexadecimal(run), base64(run)].into_iter().flatten()
}

/// Follows the runs of a text that comes in parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    /// What is before this is done with.
    start: usize,
    /// So far it is known to be one run.
    end: usize,
    /// Whether it says nothing, whatever follows.
    dead: bool,
}

impl Runs {
    /// Reads on; calls back for each run that has ended, or ends because the text has.
    pub(super) fn go_on(&mut self, text: &[u8], ended: bool, mut read: impl FnMut(Range<usize>, &[u8])) {
        loop {
            let rest = text.get(self.end..).unwrap_or_default();
            let more = rest.iter().position(|byte| !is_part(*byte));
            self.end += more.unwrap_or(rest.len());
            if more.is_none() && !ended {
                let length = self.end - self.start;
                self.dead = self.dead || length > LONGEST || length >= SHORTEST && !may_be_text(text, self.start..self.end);
                return;
            }
            let run = self.start..self.end;
            if !self.dead && (SHORTEST..=LONGEST).contains(&run.len()) {
                plain(text, run.clone()).filter(|plain| is_text(plain)).for_each(|plain| read(run.clone(), &plain));
            }
            if more.is_none() {
                return;
            }
            let between = text.get(self.end..).unwrap_or_default().iter().take_while(|byte| !is_part(**byte)).count();
            *self = Self { start: self.end + between, end: self.end + between, dead: false };
        }
    }

    /// Where something begins that may yet turn out to say something.
    pub(super) fn pending(&self) -> Option<usize> {
        (!self.dead && self.end > self.start).then_some(self.start)
    }

    /// Begins anew at a place.
    pub(super) fn again(&mut self, place: usize) {
        *self = Self { start: place, end: place, dead: false };
    }

    /// Takes off the first bytes of the text.
    pub(super) fn shift(&mut self, bytes: usize) {
        self.start = self.start.saturating_sub(bytes);
        self.end = self.end.saturating_sub(bytes);
    }
}

/// Whether a run of which this is the beginning may say something.
fn may_be_text(text: &[u8], run: Range<usize>) -> bool {
    plain(text, run).any(|plain| match std::str::from_utf8(&plain) {
        Ok(_) => is_text(&plain),
        Err(error) => error.error_len().is_none() && is_text(plain.get(..error.valid_up_to()).unwrap_or_default()),
    })
}

/// Lines of base64 are broken after 76 characters.
pub(super) fn is_part(byte: u8) -> bool {
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
