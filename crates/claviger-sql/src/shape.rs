//! What texts have in common that differ only in values.
//!
//! `select … where id = 7` does what `select … where id = $1` does with 7 as its parameter. Where that does not depend on the value
//! ([`Statement::depends_on_values`](crate::Statement::depends_on_values)), all such texts do the same, and one need be understood.

use std::fmt::Write as _;

use crate::lexer::{Kind, Token, tokens};

/// Longer texts have no shape: they seldom have one in common.
const LONGEST: usize = 16 * 1024;
/// The most values of one text.
const MOST: usize = 256;
/// What queries begin with.
const QUERIES: [&str; 4] = ["select", "values", "with", "table"];
/// What the statements begin with that have values at all.
const VERBS: [&str; 5] = ["select", "insert", "update", "delete", "with"];

/// A text with parameters in place of its values, without its comments; `None` if it has no such values.
///
/// A value is a constant in a place where a parameter could stand and would mean the same: after an operator that asks whether two values are
/// equal, in the list after `IN` or `VALUES`, or a number that is added. All other constants stay: a limit, an end of a range, the number of a
/// column to sort by, what a function is called with.
pub fn shape(text: &str) -> Option<String> {
    // A backslash is read by rules that a session can change.
    if text.len() > LONGEST || text.contains(['\\', '$']) {
        return None;
    }
    let tokens = tokens(text)?;
    let word = |token: &Token| text.get(token.start..token.end).filter(|_| token.kind == Kind::Word);
    let verb = word(tokens.first()?)?;
    VERBS.iter().any(|known| verb.eq_ignore_ascii_case(known)).then_some(())?;
    let (mut shape, mut values, mut copied) = (String::with_capacity(text.len() + 16), 0_usize, 0);
    let mut lists = Lists::default();
    for (n, token) in tokens.iter().enumerate() {
        let here = text.get(token.start..token.end)?;
        if copied < token.start {
            // White space and comments are all the same.
            shape.push(' ');
        }
        copied = token.end;
        let before = Before { text, tokens: tokens.get(..n)? };
        if (lists.takes(&before) || before.compares() || before.adds(token)) && is_value(token, here) {
            values += 1;
            write!(shape, "${values}").ok()?;
        } else {
            shape.push_str(here);
        }
        lists.pass(token, here);
    }
    (1..=MOST).contains(&values).then_some(shape)
}

/// Whether a token is all of a plain constant: a number in digits, or a text in plain quotes that is not empty, which is a thing of its own.
fn is_value(token: &Token, here: &str) -> bool {
    match token.kind {
        Kind::Number => here.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())),
        Kind::Text => here.starts_with('\'') && here.len() > 2,
        _ => false,
    }
}

/// The tokens before a place.
struct Before<'t> {
    text: &'t str,
    tokens: &'t [Token],
}

impl Before<'_> {
    /// The last but so many.
    fn last(&self, n: usize) -> Option<(Kind, &str)> {
        let token = self.tokens.get(self.tokens.len().checked_sub(n + 1)?)?;
        Some((token.kind, self.text.get(token.start..token.end)?))
    }

    /// Whether what ends here may be the end of a value that is computed, and not a constant.
    fn ends_a_value(&self, n: usize) -> bool {
        matches!(self.last(n), Some((Kind::Word | Kind::Quoted, _) | (Kind::Symbol, ")" | "]")))
    }

    fn compares(&self) -> bool {
        matches!(self.last(0), Some((Kind::Symbol, "=" | "<>" | "!="))) && self.ends_a_value(1)
    }

    /// Whether a number here is added to something, or is one below zero.
    fn adds(&self, token: &Token) -> bool {
        let is = |n, symbols: &[&str]| matches!(self.last(n), Some((Kind::Symbol, symbol)) if symbols.contains(&symbol));
        token.kind == Kind::Number
            && (is(0, &["+", "-"]) && self.ends_a_value(1)
                || is(0, &["-"]) && is(1, &["=", "<>", "!=", "+"]) && self.ends_a_value(2))
    }
}

/// Where lists of values are.
#[derive(Default)]
struct Lists {
    depth: i32,
    /// A list may begin with the next bracket, and be followed by others.
    next: Option<Many>,
    /// How deep the list is that has begun.
    open: Option<(i32, Many)>,
}

/// How many lists there may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Many {
    One,
    Several,
}

impl Lists {
    /// Whether a whole value of a list may stand here.
    fn takes(&self, before: &Before<'_>) -> bool {
        self.open.is_some_and(|(depth, _)| depth == self.depth) && matches!(before.last(0), Some((Kind::Symbol, "(" | ",")))
    }

    fn pass(&mut self, token: &Token, here: &str) {
        let many = self.next.take();
        self.depth += token.depth();
        match (token.kind, here) {
            // A query is no list, though it stands where one may: in it a number may be that of a column to sort by.
            (Kind::Word, word) if self.open.is_some() && QUERIES.iter().any(|query| word.eq_ignore_ascii_case(query)) => {
                self.open = None;
            }
            (Kind::Word, word) if word.eq_ignore_ascii_case("in") => self.next = Some(Many::One),
            (Kind::Word, word) if word.eq_ignore_ascii_case("values") => self.next = Some(Many::Several),
            (Kind::Symbol, "(") if self.open.is_none() => self.open = many.map(|many| (self.depth, many)),
            // The next of several.
            (Kind::Symbol, ",") if many == Some(Many::Several) => self.next = many,
            (Kind::Symbol, ")") => {
                if let Some((_, many)) = self.open.take_if(|(depth, _)| *depth > self.depth) {
                    self.next = Some(many).filter(|many| *many == Many::Several);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_in_values_have_one_shape() {
        for (text, expected) in [
            ("select a from t where id = 7", "select a from t where id = $1"),
            ("SELECT a FROM t WHERE b='it''s' and c<>1.5", "SELECT a FROM t WHERE b=$1 and c<>$2"),
            ("update t set a = a + -12, b = b-3 where id = 4;", "update t set a = a + -$1, b = b-$2 where id = $3;"),
            ("insert into t values (1, 'x'), (2, -3, f(4))", "insert into t values ($1, $2), ($3, -3, f(4))"),
            ("delete from t where id in (1, 2) or id in (select 3)", "delete from t where id in ($1, $2) or id in (select 3)"),
            ("with x as (values (1)) select 2 from x where (a)=5", "with x as (values ($1)) select 2 from x where (a)=$2"),
            ("select 1 from t /* 5 */ where a = 2 -- 7\n and b = 3", "select 1 from t where a = $1 and b = $2"),
            ("select a from t where id = 7 order by 1, a limit 5", "select a from t where id = $1 order by 1, a limit 5"),
        ] {
            assert_eq!(shape(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_may_mean_something_else_stays() {
        for text in [
            "select 1",
            "select a from t order by 1",
            "select a from t where b > 5 and c like 'x%' and d between 1 and 2",
            "select a from t where b = '' and 1 = 1 and 'a' = 'a'",
            "select a from t where (b, c) in (select 5, 6 from u order by 1, 2 limit 3)",
            "select a from t where b in (with v as (select 1) select 5, 6 group by 1, 2)",
            "select a from t where (b) in ((select 5, 6 order by 1, 2))",
            "select set_config('a', 'b', false), nextval('s')",
            "select a from t where b = E'x' or b = U&'x' or b = 1e5 or b = 0x1F or b = 1_000 or b = .5",
            "select a from t where b = $1",
            "select a from t where b = 'a\\b'",
            "set a = 5",
            "create table t (a int default 1 check (a = 5))",
            "select a from t where b = 'open",
            "",
        ] {
            // `U&'x'` is one token to the server and three here, of which the text is after no operator that compares.
            assert_eq!(shape(text), None, "{text}");
        }
    }
}
