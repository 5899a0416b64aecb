//! Tokens that stand for values for a while, and are taken back: `[email_kxqdpm]`.
//!
//! A prompt goes out with tokens in place of what is found in it, and in what comes back the tokens become the values again. Models copy
//! short words in brackets faithfully, and see by its name what each stands for. The letters behind the name are made of the value by a key,
//! so a value has the same token wherever it occurs, in each turn of a conversation. They are letters only: no number can be found in
//! them.
//!
//! The values are kept in memory only, as many as there is room for, and are overwritten when they go.

mod restoring;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use ring::hmac;
use zeroize::Zeroizing;

pub use restoring::Restoring;

use crate::methods::{MaskKey, digest};

/// The most values that are remembered, unless it is said otherwise.
pub const ENTRIES: usize = 4096;

/// The most bytes of them, unless it is said otherwise.
pub const BYTES: usize = 1 << 20;

/// Longer values are not remembered; a placeholder stands for them.
pub const LONGEST: usize = 16 << 10;

/// How many letters tell values apart (28 bits).
const LETTERS: usize = 6;

/// The longest name of what is found.
const NAME: usize = 40;

/// How often another token is tried when one is taken.
const TRIES: u32 = 16;

/// What tokens stand for.
pub struct Swaps {
    key: hmac::Key,
    /// By tokens, without their brackets.
    values: BTreeMap<String, Entry>,
    /// Tokens by their age.
    ages: BTreeMap<u64, String>,
    next: u64,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

struct Entry {
    value: Zeroizing<String>,
    age: u64,
}

impl Swaps {
    /// Without any yet. With the same key, of the same session if it is said which, a value has the same token.
    pub fn new(key: &MaskKey, session: Option<&[u8; 16]>) -> Self {
        let key = key.of("swap", "", session);
        Self { key, values: BTreeMap::new(), ages: BTreeMap::new(), next: 0, bytes: 0, most: ENTRIES, most_bytes: BYTES }
    }

    /// Remembers at most so many values, and so many bytes of them. The oldest go first.
    #[must_use]
    pub fn with_room(self, values: usize, bytes: usize) -> Self {
        Self { most: values, most_bytes: bytes, ..self }
    }

    /// How many values are remembered.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The text with values in place of tokens; `None` if there is none in it that stands for one. Capital letters, and backslashes before
    /// underscores, as models write them, make no difference.
    pub fn restore(&self, text: &str) -> Option<String> {
        self.restored(text, false)
    }

    /// The same for a text that is JSON, in which tokens stand in strings.
    pub fn restore_json(&self, text: &str) -> Option<String> {
        self.restored(text, true)
    }

    fn restored(&self, text: &str, json: bool) -> Option<String> {
        let tokens = self.tokens_in(text);
        let mut restored = String::with_capacity(text.len());
        let mut place = 0;
        for token in &tokens {
            restored.push_str(text.get(place..token.start).unwrap_or_default());
            if let Here::Token(_, value) = self.here(text, token.start) {
                put(value, json, &mut restored);
            }
            place = token.end;
        }
        restored.push_str(text.get(place..).unwrap_or_default());
        (!tokens.is_empty()).then_some(restored)
    }

    /// Where tokens are that stand for something.
    pub(crate) fn tokens_in(&self, text: &str) -> Vec<Range<usize>> {
        let mut tokens = Vec::new();
        let mut place = 0;
        while let Some(start) = text.get(place..).and_then(|rest| rest.find('[')).map(|at| place + at) {
            place = start + 1;
            if let Here::Token(end, _) = self.here(text, start) {
                tokens.push(start..end);
                place = end;
            }
        }
        tokens
    }

    /// The token for a value, in which other tokens may be. `None` if it is too long, or none is free.
    pub(crate) fn swap(&mut self, name: &str, value: &str) -> Option<String> {
        let value = Zeroizing::new(self.restore(value).unwrap_or_else(|| value.to_owned()));
        self.token(name, value)
    }

    /// The same for what stands in JSON.
    pub(crate) fn swap_json(&mut self, name: &str, value: &str) -> Option<String> {
        let value = Zeroizing::new(self.restore_json(value).unwrap_or_else(|| value.to_owned()));
        self.token(name, plain(&value))
    }

    fn token(&mut self, name: &str, value: Zeroizing<String>) -> Option<String> {
        if value.len() > LONGEST.min(self.most_bytes) || name.len() > NAME || self.most == 0 {
            return None;
        }
        let mut tries = (0..TRIES).map(|again| self.made_of(name, &value, again));
        let token = tries.find(|token| self.values.get(token).is_none_or(|entry| entry.value == value))?;
        match self.values.get_mut(&token) {
            Some(entry) => {
                self.ages.remove(&entry.age);
                entry.age = self.next;
            }
            None => {
                self.bytes += value.len();
                self.values.insert(token.clone(), Entry { value, age: self.next });
            }
        }
        self.ages.insert(self.next, token.clone());
        self.next += 1;
        while (self.values.len() > self.most || self.bytes > self.most_bytes)
            && let Some((_, oldest)) = self.ages.pop_first()
            && let Some(entry) = self.values.remove(&oldest)
        {
            self.bytes -= entry.value.len();
        }
        Some(bracketed(&token))
    }

    fn made_of(&self, name: &str, value: &str, again: u32) -> String {
        let digest = digest(&self.key, &[name.as_bytes(), value.as_bytes(), &again.to_be_bytes()]);
        let mut bits = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let letters = (0..LETTERS).map(|_| {
            let letter = b'a' + u8::try_from(bits % 26).unwrap_or(0);
            bits /= 26;
            char::from(letter)
        });
        format!("{name}_{}", letters.collect::<String>())
    }

    /// What begins with the bracket here.
    fn here(&self, text: &str, start: usize) -> Here<'_> {
        let rest = text.as_bytes().get(start + 1..).unwrap_or_default();
        let mut name = String::new();
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b']' => return self.values.get(&name).map_or(Here::No, |entry| Here::Token(start + at + 2, &entry.value)),
                // As some write an underscore, in texts that are marked up.
                b'\\' if rest.get(at + 1).is_none_or(|next| *next == b'_') => {}
                b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' if name.len() <= NAME + LETTERS => {
                    name.push(char::from(byte.to_ascii_lowercase()));
                }
                _ => return Here::No,
            }
        }
        let next = self.values.range(name.clone()..).next();
        if next.is_some_and(|(token, _)| token.starts_with(&name)) { Here::Open } else { Here::No }
    }
}

/// What may begin at a bracket.
enum Here<'a> {
    /// No token.
    No,
    /// Something that may become one.
    Open,
    /// A token that ends here, and stands for this.
    Token(usize, &'a str),
}

/// Only how many there are.
impl fmt::Debug for Swaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swaps").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What stands for something of this name.
pub(crate) fn bracketed(name: &str) -> String {
    format!("[{name}]")
}

/// The name in what may be a token, without its brackets.
pub(crate) fn name(token: &str) -> Option<&str> {
    let (name, letters) = token.rsplit_once('_')?;
    (letters.len() == LETTERS && letters.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(name)
}

/// Appends a value, as it stands in a JSON string (RFC 8259, 7) if it is to be in one.
fn put(value: &str, json: bool, out: &mut String) {
    if !json {
        return out.push_str(value);
    }
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
}

/// What a piece of a JSON string means.
fn plain(value: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(value.len()));
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let (c, length) = escaped(after);
        plain.push(c);
        rest = after.get(length..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

/// What an escape stands for, and how long it is without its backslash.
fn escaped(after: &str) -> (char, usize) {
    let unit = |at: usize| after.get(at..at + 4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    match after.bytes().next() {
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'"') => ('"', 1),
        Some(b'/') => ('/', 1),
        Some(b'\\') => ('\\', 1),
        Some(b'u') => {
            let second = unit(7).filter(|_| after.get(5..7) == Some("\\u"));
            let units = [unit(1), second].into_iter().flatten();
            match char::decode_utf16(units).next() {
                Some(Ok(c)) => (c, if c.len_utf16() == 2 { 11 } else { 5 }),
                Some(Err(_)) => (char::REPLACEMENT_CHARACTER, 5),
                None => ('\\', 0),
            }
        }
        _ => ('\\', 0),
    }
}
