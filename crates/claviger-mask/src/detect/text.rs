//! A text as bytes, read at any position without the fear of its ends.

use std::cell::Cell;
use std::ops::Range;

/// Bytes that are mostly UTF-8. Positions outside hold a NUL, which is part of nothing.
///
/// Of a text that is not all there, it notes whether anybody wanted to know what follows: what has been told without that is true however
/// the text goes on.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    edge: Option<&'a Cell<bool>>,
}

impl<'a> Text<'a> {
    /// A whole one.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, edge: None }
    }

    /// The beginning of one.
    pub(super) fn part(bytes: &'a [u8], edge: &'a Cell<bool>) -> Self {
        Self { bytes, edge: Some(edge) }
    }

    /// From here on [`Text::is_open`] is about what is read next.
    pub(super) fn close(self) {
        if let Some(edge) = self.edge {
            edge.set(false);
        }
    }

    /// Whether something was read that is not there yet.
    pub(super) fn is_open(self) -> bool {
        self.edge.is_some_and(Cell::get)
    }

    /// Notes that it matters what stands before `position`.
    #[inline]
    pub(super) fn need(self, position: usize) {
        if position > self.bytes.len() {
            self.open(position);
        }
    }

    #[cold]
    fn open(self, position: usize) {
        // Positions before the beginning have wrapped around.
        if position < usize::MAX / 2
            && let Some(edge) = self.edge
        {
            edge.set(true);
        }
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn len(self) -> usize {
        self.bytes.len()
    }

    pub(super) fn at(self, position: usize) -> u8 {
        if let Some(byte) = self.bytes.get(position) {
            return *byte;
        }
        self.open(position);
        0
    }

    /// So many bytes, or as many as there are. Whoever depends on the others says so.
    pub(super) fn near(self, start: usize, most: usize) -> &'a [u8] {
        self.bytes.get(start..self.len().min(start + most)).unwrap_or_default()
    }

    /// The byte before a position.
    pub(super) fn before(self, position: usize) -> u8 {
        self.at(position.wrapping_sub(1))
    }

    pub(super) fn slice(self, range: Range<usize>) -> &'a [u8] {
        self.need(range.end);
        self.bytes.get(range).unwrap_or_default()
    }

    pub(super) fn has_at(self, position: usize, what: &[u8]) -> bool {
        let rest = self.bytes.get(position..).unwrap_or_default();
        if rest.len() < what.len() && what.starts_with(rest) {
            self.need(position.saturating_add(what.len()));
        }
        rest.starts_with(what)
    }

    /// Where a run of such bytes, which begins at `position`, ends.
    pub(super) fn run_end(self, position: usize, is: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(position..).unwrap_or_default();
        position
            + rest.iter().position(|byte| !is(*byte)).unwrap_or_else(|| {
                self.open(position);
                rest.len()
            })
    }

    /// Where a run of such bytes, which ends before `position`, begins; not before `floor`.
    pub(super) fn run_start(self, position: usize, floor: usize, is: impl Fn(u8) -> bool) -> usize {
        let before = self.bytes.get(floor..position).unwrap_or_default();
        position - before.iter().rev().position(|byte| !is(*byte)).unwrap_or(before.len())
    }

    /// Where a token that reaches to `position` begins. What belongs to an escape does not belong to the token: `\n` and `\u00a0`
    /// of JSON, `%20` of URLs.
    pub(super) fn token_start(self, position: usize, floor: usize, is: impl Fn(u8) -> bool) -> usize {
        let start = self.run_start(position, floor, is);
        let escape = match self.before(start) {
            b'\\' => match self.at(start) {
                b'n' | b't' | b'r' | b'b' | b'f' | b'v' => 1,
                b'u' if self.slice(start + 1..start + 5).iter().all(u8::is_ascii_hexdigit) => 5,
                b'x' if self.slice(start + 1..start + 3).iter().all(u8::is_ascii_hexdigit) => 3,
                _ => 0,
            },
            b'%' if self.at(start).is_ascii_hexdigit() && self.at(start + 1).is_ascii_hexdigit() => 2,
            _ => 0,
        };
        (start + escape).min(position)
    }

    /// The digits in a range, as numbers, as far as there is room for them; how many there are.
    pub(super) fn digits(self, range: Range<usize>, into: &mut [u8]) -> usize {
        let digits = self.slice(range).iter().filter(|byte| byte.is_ascii_digit());
        let mut count = 0;
        for (digit, place) in digits.zip(into.iter_mut()) {
            *place = digit - b'0';
            count += 1;
        }
        count
    }
}

/// The Luhn check (ISO/IEC 7812-1, annex B) over digits as numbers.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 =
        digits.iter().rev().enumerate().map(|(i, digit)| u32::from(if i % 2 == 1 { doubled(*digit) } else { *digit })).sum();
    sum.is_multiple_of(10)
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// The number that a few ASCII digits stand for.
pub(super) fn number(digits: &[u8]) -> u32 {
    digits.iter().take(9).fold(0, |number, digit| number * 10 + u32::from(digit.wrapping_sub(b'0') % 10))
}
