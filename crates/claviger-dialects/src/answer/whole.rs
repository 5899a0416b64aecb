//! Content that is one text.

use super::turn::Turn;
use crate::{Parts, Place};

/// Bytes that are no characters stand for themselves among characters that nobody uses, and are bytes again when they leave.
const BYTES: std::ops::RangeInclusive<char> = '\u{10ff80}'..='\u{10ffff}';

/// A text that comes in pieces of bytes, in UTF-8 or whatever else has ASCII in it.
#[derive(Default)]
pub(super) struct Text {
    parts: Option<Box<dyn Parts>>,
    /// A character that is cut.
    cut: Vec<u8>,
}

impl Text {
    pub(super) fn push(&mut self, content: &[u8], turn: &mut Turn<'_>) {
        turn.hear(content.len());
        self.cut.extend_from_slice(content);
        let whole = whole_characters(&self.cut);
        let rest = self.cut.split_off(whole);
        let text = read(&std::mem::replace(&mut self.cut, rest));
        let mut out = String::new();
        self.parts(turn).push(&text, &mut out);
        turn.raw(&written(&out));
    }

    pub(super) fn finish(&mut self, turn: &mut Turn<'_>) {
        let rest = read(&std::mem::take(&mut self.cut));
        let mut out = String::new();
        let parts = self.parts(turn);
        if !rest.is_empty() {
            parts.push(&rest, &mut out);
        }
        parts.finish(&mut out);
        turn.raw(&written(&out));
    }

    fn parts(&mut self, turn: &mut Turn<'_>) -> &mut dyn Parts {
        self.parts.get_or_insert_with(|| turn.texts.parts(Place { path: "", bare: false })).as_mut()
    }
}

/// Whether something looks like a text by its beginning.
pub(super) fn is_text(beginning: &[u8]) -> bool {
    let characters = beginning.get(..whole_characters(beginning)).unwrap_or_default();
    !beginning.contains(&0) && std::str::from_utf8(characters).is_ok()
}

fn read(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let byte = |byte: &u8| char::from_u32(0x10_ff00 | u32::from(*byte)).unwrap_or(char::REPLACEMENT_CHARACTER);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if BYTES.contains(&c) {
                text.extend(c.encode_utf8(&mut [0; 4]).as_bytes().iter().map(byte));
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().iter().map(byte));
    }
    text
}

fn written(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c) & 0xff) {
            Ok(byte) if BYTES.contains(&c) => bytes.push(byte),
            _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// How many bytes there are before a character that is cut at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let last = bytes.iter().rev().take(4).position(|byte| *byte & 0xc0 != 0x80);
    let Some(start) = last.map(|back| bytes.len() - 1 - back) else { return bytes.len() };
    let length = match bytes.get(start) {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 1,
    };
    if bytes.len() - start < length { start } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn bytes_survive(bytes in proptest::collection::vec(0_u8.., 0..64)) {
            assert_eq!(written(&read(&bytes)), bytes);
        }

        #[test]
        fn characters_survive(text in "[a\u{e9}\u{1f600}\u{10ff80}\u{10ffff}]{0,16}") {
            assert_eq!(written(&read(text.as_bytes())), text.as_bytes());
        }
    }
}
