//! A statement laid out for people to read.
//!
//! Nothing is changed but white space between its parts, and only where there was some: what stood together stays together, comments
//! stay, and where a line's end means something (after `--`, between two texts) it stays. So it means what it meant.

use std::ops::Range;

use crate::lexer::{Kind, Token, pieces};

/// How far each level is moved in.
const STEP: usize = 4;
/// Deeper levels are not moved in further.
const DEEPEST: usize = 10;

/// Words that begin a part of a statement, each on a line of its own.
const PARTS: &[&str] = &[
    "except",
    "fetch",
    "from",
    "group",
    "having",
    "insert",
    "intersect",
    "limit",
    "offset",
    "order",
    "returning",
    "select",
    "set",
    "union",
    "update",
    "using",
    "values",
    "when",
    "where",
    "window",
    "with",
    "delete",
    "merge",
];
/// Words that begin a join, and words of which the first of several begins one.
const JOINS: &[&str] = &["cross", "full", "inner", "join", "left", "natural", "right"];
/// Words after which a word of [`PARTS`] goes on with what has begun.
const GOES_ON: &[&str] = &["as", "delete", "distinct", "do", "for", "insert", "key", "no", "on", "then", "within", "merge"];

/// A text as it is best read; `None` if something in quotes, or a comment, does not end in it.
pub fn layout(text: &str) -> Option<String> {
    let pieces = pieces(text)?;
    let mut layout = Layout { text, out: String::with_capacity(text.len() + text.len() / 4), levels: vec![true], between: 0 };
    let mut before: Option<&Token> = None;
    for piece in &pieces {
        if let Some(before) = before {
            layout.gap(before, piece, text.get(before.end..piece.start)?);
        }
        layout.put(piece)?;
        before = Some(piece);
    }
    Some(layout.out)
}

struct Layout<'t> {
    text: &'t str,
    out: String,
    /// For each bracket that is open, whether it holds a query. The first is the text itself.
    levels: Vec<bool>,
    /// How many `BETWEEN` wait for their `AND`.
    between: usize,
}

impl Layout<'_> {
    fn word(&self, piece: &Token) -> String {
        let word = if piece.kind == Kind::Word { self.text.get(piece.start..piece.end) } else { None };
        word.unwrap_or_default().to_ascii_lowercase()
    }

    fn is(&self, piece: &Token, symbol: &str) -> bool {
        self.text.get(piece.start..piece.end) == Some(symbol)
    }

    /// What stands between two pieces.
    fn gap(&mut self, before: &Token, next: &Token, gap: &str) {
        let has_line = gap.contains('\n');
        let must_end = before.kind == Kind::Comment && self.is_line_comment(before.start..before.end);
        let joins_texts = has_line && before.kind == Kind::Text && next.kind == Kind::Text;
        let is_comment = before.kind == Kind::Comment || next.kind == Kind::Comment;
        if self.is(before, ";") && self.levels.len() == 1 {
            self.out.push('\n');
            return self.line(0);
        }
        if gap.is_empty() && !must_end {
            return;
        }
        match self.indent(before, next) {
            Some(deeper) => self.line(deeper),
            None if must_end || joins_texts || is_comment && has_line => self.line(1),
            None => self.out.push(' '),
        }
    }

    /// Whether a piece begins a line, and how much further in than its level.
    fn indent(&self, before: &Token, next: &Token) -> Option<usize> {
        if self.levels.last() != Some(&true) {
            return None;
        }
        let (last, word) = (self.word(before), self.word(next));
        let is_part = PARTS.contains(&word.as_str()) && !GOES_ON.contains(&last.as_str());
        let is_join = JOINS.contains(&word.as_str()) && !JOINS.contains(&last.as_str()) && last != "outer";
        match word.as_str() {
            _ if self.is(before, "(") => Some(0),
            _ if is_part || is_join => Some(0),
            "and" if self.between > 0 => None,
            "and" | "or" => Some(1),
            _ => None,
        }
    }

    fn line(&mut self, deeper: usize) {
        let level = self.levels.len() - 1 + deeper;
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', STEP * level.min(DEEPEST)));
    }

    fn put(&mut self, piece: &Token) -> Option<()> {
        match self.word(piece).as_str() {
            "between" => self.between += 1,
            "and" => self.between = self.between.saturating_sub(1),
            _ => {}
        }
        self.out.push_str(self.text.get(piece.start..piece.end)?);
        match piece.depth() {
            1 => {
                let after = self.text.get(piece.end..).unwrap_or_default().trim_start();
                let holds = |word: &str| after.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
                self.levels.push(["select", "with ", "values"].into_iter().any(holds));
            }
            -1 if self.levels.len() > 1 => _ = self.levels.pop(),
            _ => {}
        }
        Some(())
    }

    fn is_line_comment(&self, piece: Range<usize>) -> bool {
        self.text.get(piece).is_some_and(|text| text.starts_with("--"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::string_slice)]

    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        pieces(text).unwrap().iter().map(|piece| &text[piece.start..piece.end]).collect()
    }

    #[test]
    fn statements_are_laid_out_and_stay_what_they_are() {
        for (text, expected) in [
            (
                "delete from customers c using accounts a where a.id = c.id and a.at between $1 and $2 or c.x is distinct from 3 returning *",
                "delete from customers c\nusing accounts a\nwhere a.id = c.id\n    and a.at between $1 and $2\n    or c.x is distinct from 3\nreturning *",
            ),
            (
                "select a,b from t left outer join u on (u.a = t.a) where x in (select y from z where q->>'k' = 'v') order by 1 limit 3",
                "select a,b\nfrom t\nleft outer join u on (u.a = t.a)\nwhere x in (select y\n    from z\n    where q->>'k' = 'v')\norder by 1\nlimit 3",
            ),
            (
                "update t set a=1 -- all\nwhere 'a'\n  'b' = x; select extract(year from now())",
                "update t\nset a=1 -- all\nwhere 'a'\n    'b' = x;\n\nselect extract(year from now())",
            ),
            (
                "insert into t values (1) on conflict do update set a = 1",
                "insert into t\nvalues (1) on conflict do update\nset a = 1",
            ),
            (
                "select $$ from where $$, \"from where\", 'it''s from' /* from */ , e'\\' from'",
                "select $$ from where $$, \"from where\", 'it''s from' /* from */ , e'\\' from'",
            ),
        ] {
            let laid_out = layout(text).unwrap();
            assert_eq!(laid_out, expected);
            assert_eq!(parts(&laid_out), parts(text));
            let again = |text: &str| pg_raw_parse::deparse_stmts(pg_raw_parse::parse(text).unwrap().iter()).unwrap();
            assert_eq!(again(&laid_out), again(text));
        }
        let odd = "select a\u{a0}from t\u{2003}where x";
        assert_eq!(layout(odd).as_deref(), Some(odd), "to the server this is one name after another");
        assert_eq!(layout("select 'open"), None);
        assert_eq!(layout("").unwrap(), "");
    }

    #[test]
    fn what_the_tests_say_of_statements_holds_for_them_laid_out() {
        for text in include_str!("../tests/meanings.txt").lines().filter(|line| !line.starts_with([' ', '#'])) {
            let Some(laid_out) = layout(text) else { continue };
            assert_eq!(parts(&laid_out), parts(text), "{text}");
            let again = |text: &str| pg_raw_parse::deparse_stmts(pg_raw_parse::parse(text).ok()?.iter()).ok();
            assert_eq!(again(&laid_out), again(text), "{text}");
        }
    }
}
