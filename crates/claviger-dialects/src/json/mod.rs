//! JSON (RFC 8259), read where it stands: a list of where each value begins and ends, over text that stays as it came.
//!
//! What goes to a service is read strictly: what two readers could take for two things is refused. What comes from one is
//! read as leniently as clients do; there nothing is decided, and every string is looked at.

mod edit;
mod lex;
mod string;

use std::borrow::Cow;
use std::ops::Range;

pub(crate) use self::edit::Edits;
pub(crate) use self::string::{decode, quote, quoted};
use crate::NotRead;

/// How strictly a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rigor {
    /// No member twice in an object, no half of a surrogate pair, nothing but JSON.
    Strict,
    /// The same, but halves of surrogate pairs may be alone, and `NaN` and `Infinity` stand as some services write them.
    Answer,
    /// The same, but members may be there twice: for where each is looked at, and none decides.
    Lenient,
}

/// A text of JSON, and where its values are.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    text: &'a str,
    /// Each value, and each name of a member before its value, in their order.
    tape: Vec<Entry>,
}

/// A value, or the name of a member.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    kind: Kind,
    /// Where it begins and ends; of strings without their quotes.
    start: u32,
    end: u32,
    /// Which entry follows it and all that is in it.
    next: u32,
}

/// What a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    /// A string with escapes.
    Escaped,
    Number,
    /// `true`, `false`.
    Word,
    #[default]
    Null,
}

impl<'a> Document<'a> {
    /// Reads a text, all of it.
    pub(crate) fn read(content: &'a [u8], rigor: Rigor) -> Result<Self, NotRead> {
        let text = std::str::from_utf8(content).map_err(|_| NotRead::Syntax)?;
        Ok(Self { text, tape: lex::lex(text, rigor)? })
    }

    pub(crate) fn root(&self) -> Value<'_> {
        Value { text: self.text, tape: &self.tape, at: 0 }
    }
}

/// A value of a document.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    text: &'a str,
    tape: &'a [Entry],
    at: u32,
}

impl<'a> Value<'a> {
    fn entry(self) -> Entry {
        self.tape.get(self.at as usize).copied().unwrap_or_default()
    }

    pub(crate) fn kind(self) -> Kind {
        self.entry().kind
    }

    /// Where it stands in the text, with quotes if it has any.
    pub(crate) fn span(self) -> Range<usize> {
        let Entry { kind, start, end, .. } = self.entry();
        let quote = usize::from(matches!(kind, Kind::String | Kind::Escaped));
        (start as usize).saturating_sub(quote)..end as usize + quote
    }

    /// As it is written.
    pub(crate) fn raw(self) -> &'a str {
        self.text.get(self.span()).unwrap_or_default()
    }

    /// What stands between a string's quotes, with its escapes.
    pub(crate) fn inner(self) -> &'a str {
        let Entry { start, end, .. } = self.entry();
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    pub(crate) fn is_string(self) -> bool {
        matches!(self.kind(), Kind::String | Kind::Escaped)
    }

    /// A string, its escapes resolved.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::String => Some(Cow::Borrowed(self.inner())),
            Kind::Escaped => Some(Cow::Owned(string::resolved(self.inner()))),
            _ => None,
        }
    }

    /// A number that counts something.
    pub(crate) fn count(self) -> Option<u64> {
        (self.kind() == Kind::Number).then(|| self.raw().parse().ok()).flatten()
    }

    /// The names of an object's members and what they are; nothing of anything else.
    pub(crate) fn members(self) -> Members<'a> {
        let within = matches!(self.kind(), Kind::Object).then(|| self.at + 1..self.entry().next);
        Members(Within { of: self, range: within.unwrap_or_default() })
    }

    /// A list's elements; nothing of anything else.
    pub(crate) fn elements(self) -> Elements<'a> {
        let within = matches!(self.kind(), Kind::Array).then(|| self.at + 1..self.entry().next);
        Elements(Within { of: self, range: within.unwrap_or_default() })
    }

    /// A member of an object by its name.
    pub(crate) fn get(self, name: &str) -> Option<Self> {
        self.members().find(|(key, _)| key.is(name)).map(|(_, value)| value)
    }

    /// A member that is a string.
    pub(crate) fn str(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.text()
    }

    /// Whether it is a string of just these characters.
    pub(crate) fn is(self, text: &str) -> bool {
        match self.kind() {
            Kind::String => self.inner() == text,
            Kind::Escaped => string::resolved(self.inner()) == text,
            _ => false,
        }
    }
}

/// Entries side by side.
struct Within<'a> {
    of: Value<'a>,
    range: Range<u32>,
}

impl<'a> Within<'a> {
    fn step(&mut self) -> Option<Value<'a>> {
        if self.range.is_empty() {
            return None;
        }
        let value = Value { at: self.range.start, ..self.of };
        // Always further, whatever the tape holds.
        self.range.start = value.entry().next.max(self.range.start + 1);
        Some(value)
    }
}

pub(crate) struct Members<'a>(Within<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.step()?, self.0.step()?))
    }
}

pub(crate) struct Elements<'a>(Within<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.step()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict(text: &str) -> Result<Vec<(Kind, String)>, NotRead> {
        let document = Document::read(text.as_bytes(), Rigor::Strict)?;
        let values = (0..document.tape.len()).filter_map(|at| u32::try_from(at).ok());
        Ok(values.map(|at| Value { at, ..document.root() }).map(|value| (value.kind(), value.raw().to_owned())).collect())
    }

    #[test]
    fn values_are_found_where_they_stand() {
        let text = " {\"a\" : [1, -2.5e+3,\"x\\u0041\", {}, []],\t\"b\":null,\n\"c\":{\"d\":true}}\r\n";
        let document = Document::read(text.as_bytes(), Rigor::Strict).unwrap();
        let root = document.root();
        let raw: Vec<_> = root.get("a").unwrap().elements().map(Value::raw).collect();
        assert_eq!(raw, ["1", "-2.5e+3", "\"x\\u0041\"", "{}", "[]"]);
        assert_eq!(root.get("a").unwrap().elements().nth(2).unwrap().text().unwrap(), "xA");
        assert_eq!(root.get("b").unwrap().kind(), Kind::Null);
        assert_eq!(root.get("c").unwrap().get("d").unwrap().raw(), "true");
        assert!(root.get("d").is_none());
        assert_eq!(root.raw(), text.trim());
        assert_eq!(strict("7").unwrap(), [(Kind::Number, "7".to_owned())]);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "[1]]",
            "{}{}",
            "{} x",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "0x1",
            "nul",
            "nullx",
            "True",
            "NaN",
            "-Infinity",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "\"\t\"",
            "'a'",
            "[1}",
            "{\"a\":1]",
            "\u{feff}{}",
            "/**/1",
            "\"\\ud800\"",
            "\"\\ud800x\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\ud800\\ud800\"",
        ] {
            assert_eq!(strict(text), Err(NotRead::Syntax), "{text:?}");
        }
        assert_eq!(Document::read(b"\"\xff\"", Rigor::Strict).unwrap_err(), NotRead::Syntax);
        assert_eq!(Document::read(b"\"\xed\xa0\x80\"", Rigor::Lenient).unwrap_err(), NotRead::Syntax);
        for twice in ["{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":1}", "[{\"x\":{\"\\/\":1,\"/\":2}}]"] {
            assert_eq!(strict(twice), Err(NotRead::Twice), "{twice}");
        }
        let many: String = (0..40).map(|n| format!("\"k{n}\":{n},")).collect();
        assert!(strict(&format!("{{{many}\"x\":1}}")).is_ok());
        assert_eq!(strict(&format!("{{{many}\"k\\u0037\":1}}")), Err(NotRead::Twice));
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(strict(&deep(128)).is_ok());
        assert_eq!(strict(&deep(129)), Err(NotRead::TooDeep));
    }

    #[test]
    fn answers_are_read_as_their_clients_read_them() {
        for text in ["NaN", "[-Infinity, Infinity]", "{\"a\":1,\"a\":2}", "\"\\ud800\"", "[\"\\udc00x\"]"] {
            assert!(Document::read(text.as_bytes(), Rigor::Lenient).is_ok(), "{text}");
        }
        let document = Document::read(b"\"a\\ud83dx\\ud83d\\ude00\"", Rigor::Lenient).unwrap();
        assert_eq!(document.root().text().unwrap(), "a\u{fffd}x\u{1f600}");
    }

    proptest::proptest! {
        /// What another reader takes for JSON is read, and its values are the same.
        #[test]
        fn it_reads_what_others_read(text in "[\\[\\]{}:,\" \\\\a0-9.eE+u-]{0,40}") {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            let ours = Document::read(text.as_bytes(), Rigor::Lenient);
            if let Ok(theirs) = theirs {
                let raw = ours.unwrap();
                assert_eq!(serde_json::from_str::<serde_json::Value>(raw.root().raw()).unwrap(), theirs);
            } else if let Ok(ours) = &ours {
                // It takes numbers that are too great for it, and halves of surrogate pairs, for errors.
                assert!(ours.tape.iter().any(|entry| matches!(entry.kind, Kind::Number | Kind::Escaped)), "{text:?}");
            }
        }
    }
}
