//! A text with some of its values replaced, everything else as it came.

use std::ops::Range;

use super::Value;

/// What is to be replaced by what.
#[derive(Debug, Default)]
pub(crate) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Puts something in the place of a value; the last word counts.
    pub(crate) fn replace(&mut self, value: Value<'_>, json: String) {
        self.0.push((value.span(), json));
    }

    /// Takes the members of these names out of an object.
    pub(crate) fn remove(&mut self, object: Value<'_>, names: &[&str]) {
        let members: Vec<_> = object.members().map(|(name, value)| (name.span().start, value.span().end, name)).collect();
        let gone = |name: Value<'_>| names.iter().any(|gone| name.is(gone));
        let kept: Vec<_> = members.iter().filter(|(.., name)| !gone(*name)).collect();
        if kept.len() == members.len() {
            return;
        }
        let whole = object.span();
        // From the end of what is kept to the beginning of what is kept next, commas and all.
        let mut from = whole.start + 1;
        let mut first = true;
        let mut waiting = false;
        for (start, end, name) in &members {
            if gone(*name) {
                waiting = true;
                continue;
            }
            if waiting {
                self.0.push((from..*start, if first { String::new() } else { ",".to_owned() }));
            }
            (from, first, waiting) = (*end, false, false);
        }
        if waiting {
            self.0.push((from..whole.end - 1, String::new()));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A value with all of it done, where it is about nothing else.
    pub(crate) fn apply_in(mut self, value: Value<'_>) -> Option<String> {
        let start = value.span().start;
        for (span, _) in &mut self.0 {
            *span = span.start.saturating_sub(start)..span.end.saturating_sub(start);
        }
        self.apply(value.raw())
    }

    /// The text with all of it done; `None` if there is nothing to do. What lies within something else that is replaced goes with it.
    pub(crate) fn apply(mut self, text: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        // Of two at one place the longer first, and the later of two that are as long.
        self.0.reverse();
        self.0.sort_by_key(|(span, _)| (span.start, usize::MAX - span.end));
        let growth: usize = self.0.iter().map(|(_, put)| put.len()).sum();
        let mut out = String::with_capacity(text.len() + growth);
        let mut done = 0;
        for (span, put) in &self.0 {
            let Some(before) = text.get(done..span.start) else { continue };
            out.push_str(before);
            out.push_str(put);
            done = span.end;
        }
        out.push_str(text.get(done..).unwrap_or_default());
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use crate::json::{Document, Edits, Rigor};

    #[test]
    fn members_go_with_their_commas() {
        let removed = |text: &str, names: &[&str]| {
            let document = Document::read(text.as_bytes(), Rigor::Strict).unwrap();
            let mut edits = Edits::default();
            edits.remove(document.root(), names);
            edits.apply(text)
        };
        let text = "{ \"a\" : 1 , \"b\":[2] ,\"c\":3 }";
        assert_eq!(removed(text, &["a"]).unwrap(), "{\"b\":[2] ,\"c\":3 }");
        assert_eq!(removed(text, &["b"]).unwrap(), "{ \"a\" : 1,\"c\":3 }");
        assert_eq!(removed(text, &["c"]).unwrap(), "{ \"a\" : 1 , \"b\":[2]}");
        assert_eq!(removed(text, &["a", "b"]).unwrap(), "{\"c\":3 }");
        assert_eq!(removed(text, &["b", "c"]).unwrap(), "{ \"a\" : 1}");
        assert_eq!(removed(text, &["a", "c"]).unwrap(), "{\"b\":[2]}");
        assert_eq!(removed(text, &["a", "b", "c"]).unwrap(), "{}");
        assert_eq!(removed(text, &["d"]), None);
    }
}
