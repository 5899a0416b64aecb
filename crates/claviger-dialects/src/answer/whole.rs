//! Content that is one text.

use super::turn::Turn;
use crate::{Parts, Place};

/// A text that comes in pieces of bytes.
pub(super) struct Text {
    parts: Option<Box<dyn Parts>>,
    /// Whether each byte is a character of its own, as far as can be told: it is, for what is looked for, in whatever has ASCII in it.
    bytes: bool,
    /// A character that is cut.
    cut: Vec<u8>,
}

impl Text {
    pub(super) fn new(content_type: &str) -> Self {
        let charset = content_type.split(';').skip(1).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        });
        let bytes = charset.is_some_and(|charset| !matches!(&*charset, "utf-8" | "utf8" | "us-ascii" | "ascii"));
        Self { parts: None, bytes, cut: Vec::new() }
    }

    pub(super) fn push(&mut self, content: &[u8], turn: &mut Turn<'_>) {
        turn.hear(content.len());
        let text: String = if self.bytes {
            content.iter().copied().map(char::from).collect()
        } else {
            self.cut.extend_from_slice(content);
            let whole = whole_characters(&self.cut);
            let rest = self.cut.split_off(whole);
            String::from_utf8_lossy(&std::mem::replace(&mut self.cut, rest)).into_owned()
        };
        let mut out = String::new();
        self.parts(turn).push(&text, &mut out);
        self.put(&out, turn);
    }

    pub(super) fn finish(&mut self, turn: &mut Turn<'_>) {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.cut)).into_owned();
        let mut out = String::new();
        let parts = self.parts(turn);
        if !rest.is_empty() {
            parts.push(&rest, &mut out);
        }
        parts.finish(&mut out);
        self.put(&out, turn);
    }

    fn parts(&mut self, turn: &mut Turn<'_>) -> &mut dyn Parts {
        self.parts.get_or_insert_with(|| turn.texts.parts(Place { path: "", bare: false })).as_mut()
    }

    fn put(&self, out: &str, turn: &mut Turn<'_>) {
        if self.bytes {
            let bytes: Vec<u8> = out.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
            turn.raw(&bytes);
        } else {
            turn.raw(out.as_bytes());
        }
    }
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
