//! Characters that only look different: full-width digits, mathematical letters, other scripts' digits, dashes, and those that take
//! no room at all.

use std::collections::VecDeque;
use std::iter;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

/// A text in which such characters are what they stand for, and where each byte comes from.
pub(super) struct Folded {
    pub(super) bytes: Vec<u8>,
    /// For each byte, where its character begins in the original.
    starts: Vec<u32>,
    /// And how long that is.
    lengths: Vec<u8>,
}

/// What becomes of a character.
enum Fold {
    Keep,
    Drop,
    Byte(u8),
    Compatible,
}

/// Folds a text, if anything in it is to be folded. A longer one than 4 GiB is left alone; nothing so long comes in one piece.
pub(super) fn fold(text: &[u8]) -> Option<Folded> {
    u32::try_from(text.len()).ok()?;
    let mut valid = text.utf8_chunks().flat_map(|chunk| chunk.valid().chars());
    valid.any(|c| !c.is_ascii() && changes(c)).then(|| folded(text))
}

impl Folded {
    /// Where what lies in this range lies in the original.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        let at = |place: usize| self.starts.get(place).map_or(0, |start| *start as usize);
        let last = end.saturating_sub(1);
        (at(start), at(last) + self.lengths.get(last).map_or(0, |length| usize::from(*length)))
    }

    fn push(&mut self, bytes: &[u8], start: u32, length: u8) {
        self.bytes.extend_from_slice(bytes);
        self.starts.extend(iter::repeat_n(start, bytes.len()));
        self.lengths.extend(iter::repeat_n(length, bytes.len()));
    }
}

fn folded(text: &[u8]) -> Folded {
    let room = || Vec::with_capacity(text.len());
    let mut folded = Folded { bytes: room(), starts: Vec::with_capacity(text.len()), lengths: room() };
    let mut place = 0_u32;
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let original = c.encode_utf8(&mut buffer).as_bytes();
            let length = u8::try_from(original.len()).unwrap_or(1);
            match stands_for(c) {
                Some(other) => folded.push(other.as_bytes(), place, length),
                None => folded.push(original, place, length),
            }
            place += u32::from(length);
        }
        for byte in chunk.invalid() {
            folded.push(&[*byte], place, 1);
            place += 1;
        }
    }
    folded
}

/// What a character stands for, unless it is itself.
pub(super) fn stands_for(c: char) -> Option<String> {
    match kind(c) {
        Fold::Keep => None,
        Fold::Drop => Some(String::new()),
        Fold::Byte(byte) => Some(char::from(byte).to_string()),
        Fold::Compatible => Some(iter::once(c).nfkc().collect()).filter(|other: &String| other.is_ascii()),
    }
}

/// A text that comes in parts, folded.
#[derive(Default)]
pub(super) struct Folding {
    bytes: Vec<u8>,
    changes: VecDeque<Change>,
}

/// Where a character has become something else.
#[derive(Clone, Debug)]
struct Change {
    folded: Range<usize>,
    original: Range<usize>,
}

impl Folding {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds what stands at this place of the original.
    pub(super) fn push(&mut self, part: &str, at: usize) {
        if part.is_ascii() {
            return self.bytes.extend_from_slice(part.as_bytes());
        }
        for (place, c) in part.char_indices() {
            let original = at + place..at + place + c.len_utf8();
            let start = self.bytes.len();
            match stands_for(c) {
                Some(other) => {
                    self.bytes.extend_from_slice(other.as_bytes());
                    self.changes.push_back(Change { folded: start..self.bytes.len(), original });
                }
                None => self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    /// The byte or character of the original of which this byte is.
    pub(super) fn original(&self, place: usize) -> Range<usize> {
        let behind = self.changes.partition_point(|change| change.folded.start <= place);
        let Some(change) = behind.checked_sub(1).and_then(|last| self.changes.get(last)) else { return place..place + 1 };
        if place < change.folded.end {
            return change.original.clone();
        }
        let place = change.original.end + (place - change.folded.end);
        place..place + 1
    }

    /// Where what stands at a place of the original begins.
    pub(super) fn folded(&self, original: usize) -> usize {
        let behind = self.changes.partition_point(|change| change.original.start < original);
        let Some(change) = behind.checked_sub(1).and_then(|last| self.changes.get(last)) else { return original };
        change.folded.end + original.saturating_sub(change.original.end)
    }

    /// Whether anything of the original stands for nothing at all.
    pub(super) fn hides(&self) -> bool {
        self.changes.iter().any(|change| change.folded.is_empty())
    }

    /// Leaves out of the original what stands for nothing at all. Says how much that was before a place of it.
    pub(super) fn bare(&mut self, text: &mut String, place: usize) -> usize {
        let (mut gone, mut gone_before) = (0, 0);
        let mut bare = String::with_capacity(text.len());
        let mut from = 0;
        self.changes.retain_mut(|change| {
            let length = change.original.len();
            if change.folded.is_empty() {
                bare.push_str(text.get(from..change.original.start).unwrap_or_default());
                from = change.original.end;
                gone += length;
                gone_before += if change.original.start < place { length } else { 0 };
                return false;
            }
            change.original = change.original.start - gone..change.original.end - gone;
            true
        });
        bare.push_str(text.get(from..).unwrap_or_default());
        *text = bare;
        gone_before
    }

    /// Takes off the first bytes; so many of the original they were.
    pub(super) fn shift(&mut self, bytes: usize) -> usize {
        let original = self.original(bytes).start;
        self.bytes.drain(..bytes.min(self.bytes.len()));
        self.changes.retain(|change| change.original.start >= original);
        for change in &mut self.changes {
            change.folded = change.folded.start - bytes..change.folded.end - bytes;
            change.original = change.original.start - original..change.original.end - original;
        }
        original
    }
}

fn changes(c: char) -> bool {
    match kind(c) {
        Fold::Keep => false,
        Fold::Drop | Fold::Byte(_) => true,
        Fold::Compatible => iter::once(c).nfkc().all(|c| c.is_ascii()),
    }
}

fn kind(c: char) -> Fold {
    match c {
        // Letters of the scripts that most texts are in, and punctuation that stands for itself.
        '\0'..='\u{9f}'
        | '\u{c0}'..='\u{2ff}'
        | '\u{370}'..='\u{65f}'
        | '\u{3041}'..='\u{3163}'
        | '\u{3400}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{2016}'..='\u{2027}' => Fold::Keep,
        '\u{ad}'
        | '\u{300}'..='\u{36f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{180b}'..='\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{20d0}'..='\u{20f0}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}' => Fold::Drop,
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => Fold::Byte(b'-'),
        '\u{2028}' | '\u{2029}' => Fold::Byte(b'\n'),
        _ => digit(c).map_or(Fold::Compatible, Fold::Byte),
    }
}

/// Where the digits of other scripts begin (Unicode, general category Nd).
const ZEROS: &[u32] = &[
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20, 0x1040,
    0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0,
    0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x11066, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e950, 0x1fbf0,
];

fn digit(c: char) -> Option<u8> {
    let value = ZEROS.iter().find_map(|zero| u32::from(c).checked_sub(*zero).filter(|value| *value < 10))?;
    u8::try_from(value).ok().map(|value| value + b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        fold(text.as_bytes()).map_or_else(|| text.to_owned(), |folded| String::from_utf8(folded.bytes).unwrap())
    }

    #[test]
    fn look_alikes_become_what_they_stand_for() {
        assert_eq!(text("５３６－９０－４３９９"), "536-90-4399");
        assert_eq!(text("5\u{200b}3\u{feff}6\u{2013}90\u{2212}4399"), "536-90-4399");
        assert_eq!(text("𝟓𝟛𝟞 ٣٤٥ ①② ａ＠ｂ．ｃｏｍ\u{a0}x"), "536 345 12 a@b.com x");
        assert_eq!(text("5️⃣3️⃣"), "53");
        assert_eq!(text("½ é ü 漢字 “x” … привет"), "½ é ü 漢字 “x” … привет");
    }

    #[test]
    fn what_has_nothing_of_it_is_left_alone() {
        for text in ["plain", "Zoë Müller, 東京, Москва “quoted” – no"] {
            assert_eq!(fold(text.as_bytes()).is_some(), text.contains('–'), "{text}");
        }
        let folded = fold("\u{ff11}\u{200b}2\u{e9}".as_bytes()).unwrap();
        assert_eq!(folded.bytes, [b'1', b'2', 0xc3, 0xa9]);
        assert_eq!(folded.original(0, 2), (0, 7));
        assert_eq!(folded.original(2, 4), (7, 9));
    }

    #[test]
    fn any_bytes_can_be_folded() {
        let folded = fold(b"\xff\xef\xbc\x91\xe2\x80").unwrap();
        assert_eq!(folded.bytes, [0xff, b'1', 0xe2, 0x80]);
        assert_eq!(folded.original(1, 2), (1, 4));
    }
}
