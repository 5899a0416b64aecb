//! The first look at a text: 64 bytes at a time, which of them could belong to anything.
//!
//! Most blocks of most texts hold no digit, no `@` and nothing else that a regulated value has, and are passed over by a test that
//! compilers turn into vector instructions. The others become bit masks, and only what stands out in those is looked at.

/// How many bytes a block has.
pub(super) const BLOCK: usize = 64;

/// Letters in a row from which on they may be a secret: the identifier of an AWS key has 20 characters.
pub(super) const LONG_WORD: usize = 20;

const ONES: u64 = 0x0101_0101_0101_0101;
/// The bit that tells small letters from capitals.
const CASE: u64 = ONES * 0x20;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where something begins that is to be looked at, one bit a byte, the first byte in the lowest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Anchors {
    /// The first of a row of digits, `@`, `:`, the first of several hyphens, a long word.
    pub(super) places: u64,
    /// Whether there is anything beyond ASCII.
    pub(super) foreign: bool,
}

/// Goes over a text block by block. Rows that cross from block to block are one.
#[derive(Default)]
pub(super) struct Blocks {
    digit_before: u64,
    hyphen_before: u64,
    /// How many letters stand at the end of the block before, if it was looked at.
    letters_before: u32,
}

impl Blocks {
    /// As it is behind what has been looked at.
    pub(super) fn behind(text: &[u8]) -> Self {
        let last = text.last().copied().unwrap_or(0);
        let letters = text.iter().rev().take(BLOCK).take_while(|byte| byte.is_ascii_alphabetic()).count();
        Self {
            digit_before: u64::from(last.is_ascii_digit()),
            hyphen_before: u64::from(last == b'-'),
            letters_before: u32::try_from(letters).unwrap_or(0),
        }
    }

    /// What begins in a block, of which the first `length` bytes are of the text.
    pub(super) fn anchors(&mut self, block: &[u8; BLOCK], length: usize) -> Anchors {
        if length > BLOCK / 2 && !stands_out(block) {
            // Eight aligned letters would have stood out.
            *self = Self { digit_before: 0, hyphen_before: 0, letters_before: 7 };
            return Anchors::default();
        }
        let masks = Masks::of(block, length);
        let digits = masks.digits & !(masks.digits << 1 | self.digit_before);
        let rows = masks.hyphens & (masks.hyphens << 1 | self.hyphen_before);
        let hyphens = rows & !(rows << 1);
        let letters = masks.letters;
        let (two, four) = (letters & letters >> 1, letters & letters >> 1 & letters >> 2 & letters >> 3);
        debug_assert!(four & !two == 0);
        let eight = four & four >> 4;
        let long = eight & eight >> 8 & four >> 16;
        let mut long = long & !(long << 1);
        // A word that goes on in the next block, perhaps with fewer letters than stand out there.
        let last = letters.leading_ones();
        if last as usize >= LONG_WORD - 7 {
            long |= 1 << (64 - last).min(63);
        }
        if (self.letters_before + letters.trailing_ones()) as usize >= LONG_WORD {
            long |= 1;
        }
        self.digit_before = masks.digits >> 63;
        self.hyphen_before = masks.hyphens >> 63;
        self.letters_before = last;
        Anchors { places: digits | masks.ats | masks.colons | hyphens | long, foreign: masks.foreign != 0 }
    }
}

/// Whether anything in a block may be of interest.
fn stands_out(block: &[u8; BLOCK]) -> bool {
    let (chunks, _) = block.as_chunks::<8>();
    let mut any = 0;
    for byte in block {
        // Digits and the colon behind them, `@`, bytes beyond ASCII.
        any |= u8::from(byte.wrapping_sub(b'0') < 11) | u8::from(*byte == b'@') | (byte & 0x80);
    }
    let mut words = false;
    let mut rows = 0;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        words |= between(word | CASE, b'a', b'z') == HIGH;
        let hyphens = between(word, b'-', b'-');
        rows |= hyphens & hyphens >> 8;
    }
    any != 0 || words || rows != 0
}

struct Masks {
    digits: u64,
    ats: u64,
    colons: u64,
    hyphens: u64,
    letters: u64,
    foreign: u64,
}

impl Masks {
    fn of(block: &[u8; BLOCK], length: usize) -> Self {
        let mut masks = Self { digits: 0, ats: 0, colons: 0, hyphens: 0, letters: 0, foreign: 0 };
        let (chunks, _) = block.as_chunks::<8>();
        for (i, chunk) in chunks.iter().enumerate().take(length.div_ceil(8)) {
            let (word, place) = (u64::from_le_bytes(*chunk), i * 8);
            masks.digits |= gather(between(word, b'0', b'9')) << place;
            masks.ats |= gather(between(word, b'@', b'@')) << place;
            masks.colons |= gather(between(word, b':', b':')) << place;
            masks.hyphens |= gather(between(word, b'-', b'-')) << place;
            masks.letters |= gather(between(word | CASE, b'a', b'z')) << place;
            masks.foreign |= gather(word & HIGH) << place;
        }
        masks
    }
}

/// The high bit of each byte that lies between two ASCII characters.
fn between(word: u64, low: u8, high: u8) -> u64 {
    let seven = word & !HIGH;
    let above = seven.wrapping_add(ONES * u64::from(0x80 - low));
    let beyond = seven.wrapping_add(ONES * u64::from(0x7f - high));
    above & !beyond & !word & HIGH
}

/// The high bits of eight bytes, side by side.
fn gather(highs: u64) -> u64 {
    (highs >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &[u8]) -> Vec<usize> {
        let mut blocks = Blocks::default();
        let mut places = Vec::new();
        for (i, chunk) in text.chunks(BLOCK).enumerate() {
            let mut block = [0; BLOCK];
            block[..chunk.len()].copy_from_slice(chunk);
            let anchors = blocks.anchors(&block, chunk.len()).places;
            places.extend((0..BLOCK).filter(|bit| anchors >> bit & 1 == 1).map(|bit| i * BLOCK + bit));
        }
        places
    }

    #[test]
    fn what_stands_out_is_found_where_it_begins() {
        assert_eq!(places(b"a 12 b@c: --- 7"), [2, 6, 8, 11, 14]);
        assert_eq!(places("nothing to see, \u{e9}".as_bytes()), [] as [usize; 0]);
    }

    #[test]
    fn rows_across_blocks_are_one() {
        for offset in 40..64 {
            let text = [&b" ".repeat(offset)[..], b"12345678901234567890123456789012345"].concat();
            assert_eq!(places(&text), [offset]);
            let text = [&b" ".repeat(offset)[..], b"abcdefghijklmnopqrstuvwxyz"].concat();
            assert!(!places(&text).is_empty(), "{offset}");
        }
    }
}
