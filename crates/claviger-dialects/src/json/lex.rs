//! Finds every value of a text.

use std::borrow::Cow;

use super::{Entry, Kind, Rigor, string};
use crate::NotRead;

/// How deep lists and objects may stand in each other.
const DEEPEST: usize = 128;
/// Up to how many members are compared with each other, rather than sorted.
const FEW: usize = 12;

/// The values of a text in their order.
pub(super) fn lex(text: &str, rigor: Rigor) -> Result<Vec<Entry>, NotRead> {
    if u32::try_from(text.len()).is_err() {
        return Err(NotRead::TooLong);
    }
    let tape = Vec::with_capacity(16 + text.len() / 64);
    let mut lexer = Lexer { text, bytes: text.as_bytes(), at: 0, rigor, tape, names: Vec::new() };
    lexer.document()?;
    Ok(lexer.tape)
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    rigor: Rigor,
    tape: Vec<Entry>,
    /// The names of the object that has just ended.
    names: Vec<Entry>,
}

impl Lexer<'_> {
    fn document(&mut self) -> Result<(), NotRead> {
        // Where the lists and objects stand in the tape that have begun.
        let mut open: Vec<(usize, bool)> = Vec::with_capacity(16);
        loop {
            // A value.
            match self.next_visible() {
                Some(start @ (b'{' | b'[')) => {
                    if open.len() == DEEPEST {
                        return Err(NotRead::TooDeep);
                    }
                    let object = start == b'{';
                    let place = self.tape.len();
                    self.put(if object { Kind::Object } else { Kind::Array }, self.at, self.at);
                    self.at += 1;
                    let empty = self.next_visible() == Some(if object { b'}' } else { b']' });
                    open.push((place, object));
                    if !empty {
                        if object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(_) => self.word()?,
                None => return Err(NotRead::Syntax),
            }
            // What follows it: another, or the ends of what it stands in.
            loop {
                let next = self.next_visible();
                let Some((place, object)) = open.last().copied() else {
                    return if next.is_none() { Ok(()) } else { Err(NotRead::Syntax) };
                };
                match next {
                    Some(b',') => {
                        self.at += 1;
                        if object {
                            self.name()?;
                        }
                        break;
                    }
                    Some(end @ (b'}' | b']')) if object == (end == b'}') => {
                        self.at += 1;
                        open.pop();
                        self.close(place, object)?;
                    }
                    _ => return Err(NotRead::Syntax),
                }
            }
        }
    }

    /// The next byte that is no white space.
    fn next_visible(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                next => return next.copied(),
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "texts are shorter than that")]
    fn put(&mut self, kind: Kind, start: usize, end: usize) {
        let next = self.tape.len() as u32 + 1;
        self.tape.push(Entry { kind, start: start as u32, end: end as u32, next });
    }

    #[allow(clippy::cast_possible_truncation, reason = "texts are shorter than that")]
    fn close(&mut self, place: usize, object: bool) -> Result<(), NotRead> {
        let (end, next) = (self.at as u32, self.tape.len() as u32);
        if let Some(entry) = self.tape.get_mut(place) {
            (entry.end, entry.next) = (end, next);
        }
        if object && self.rigor != Rigor::Lenient { self.told_apart(place) } else { Ok(()) }
    }

    /// The names of an object's members all differ.
    fn told_apart(&mut self, place: usize) -> Result<(), NotRead> {
        self.names.clear();
        let mut at = place + 1;
        while let Some(name) = self.tape.get(at) {
            self.names.push(*name);
            at = self.tape.get(at + 1).map_or(usize::MAX, |value| value.next as usize);
        }
        let text = |name: &Entry| {
            let text = self.text.get(name.start as usize..name.end as usize).unwrap_or_default();
            if name.kind == Kind::Escaped { Cow::Owned(string::resolved(text)) } else { Cow::Borrowed(text) }
        };
        let twice = if self.names.len() <= FEW {
            let before = |count| self.names.get(..count).unwrap_or_default();
            self.names.iter().enumerate().any(|(count, name)| before(count).iter().any(|other| text(other) == text(name)))
        } else {
            let mut all: Vec<_> = self.names.iter().map(text).collect();
            all.sort_unstable();
            all.iter().zip(all.iter().skip(1)).any(|(one, next)| one == next)
        };
        if twice { Err(NotRead::Twice) } else { Ok(()) }
    }

    /// The name of a member, and the colon after it.
    fn name(&mut self) -> Result<(), NotRead> {
        if self.next_visible() != Some(b'"') {
            return Err(NotRead::Syntax);
        }
        self.string()?;
        if self.next_visible() != Some(b':') {
            return Err(NotRead::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), NotRead> {
        let start = self.at + 1;
        let mut at = start;
        let mut kind = Kind::String;
        loop {
            at += string::plain(self.bytes.get(at..).unwrap_or_default());
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    at += string::escape(self.bytes.get(at..).unwrap_or_default(), self.rigor)?;
                }
                _ => return Err(NotRead::Syntax),
            }
        }
        self.put(kind, start, at);
        self.at = at + 1;
        Ok(())
    }

    fn number(&mut self) -> Result<(), NotRead> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let mut length = usize::from(rest.first() == Some(&b'-'));
        if length == 1 && rest.get(1) == Some(&b'I') {
            return self.word();
        }
        let digits = |from: usize| rest.get(from..).unwrap_or_default().iter().take_while(|c| c.is_ascii_digit()).count();
        match rest.get(length) {
            Some(b'0') => length += 1,
            Some(b'1'..=b'9') => length += digits(length),
            _ => return Err(NotRead::Syntax),
        }
        if rest.get(length) == Some(&b'.') {
            let fraction = digits(length + 1);
            if fraction == 0 {
                return Err(NotRead::Syntax);
            }
            length += 1 + fraction;
        }
        if let Some(b'e' | b'E') = rest.get(length) {
            length += 1 + usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
            let exponent = digits(length);
            if exponent == 0 {
                return Err(NotRead::Syntax);
            }
            length += exponent;
        }
        self.at = start + length;
        self.put(Kind::Number, start, self.at);
        Ok(())
    }

    fn word(&mut self) -> Result<(), NotRead> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let words: &[(&[u8], Kind)] = &[
            (b"null", Kind::Null),
            (b"true", Kind::Word),
            (b"false", Kind::Word),
            (b"NaN", Kind::Word),
            (b"Infinity", Kind::Word),
            (b"-Infinity", Kind::Word),
        ];
        let words = if self.rigor == Rigor::Strict { words.get(..3).unwrap_or_default() } else { words };
        let (word, kind) = words.iter().find(|(word, _)| rest.starts_with(word)).ok_or(NotRead::Syntax)?;
        let start = self.at;
        self.at += word.len();
        self.put(*kind, start, self.at);
        Ok(())
    }
}
