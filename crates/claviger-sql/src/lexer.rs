//! Tokens of SQL and PL/pgSQL, as far as it takes to find where statements end and where parameters stand.

/// A token, as a range of the source in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Of a bracket: one level up or down.
    level: i8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word without quotes: a keyword or a name.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A text in any kind of quotes.
    Text,
    Number,
    /// A comment.
    Comment,
    /// Anything else; operators of several characters are one where it matters.
    Symbol,
}

impl Token {
    pub(crate) fn depth(&self) -> i32 {
        i32::from(self.level)
    }
}

/// The tokens of a source without its comments; `None` if something in quotes or a comment does not end.
pub(crate) fn tokens(source: &str) -> Option<Vec<Token>> {
    let mut tokens = pieces(source)?;
    tokens.retain(|token| token.kind != Kind::Comment);
    Some(tokens)
}

/// The same, with its comments.
pub(crate) fn pieces(source: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = source.get(at..)?.chars().next() {
        let rest = source.get(at..)?;
        if is_space(c) {
            at += c.len_utf8();
        } else if rest.starts_with("--") || rest.starts_with("/*") {
            let length = if rest.starts_with("--") { rest.find(['\n', '\r']).unwrap_or(rest.len()) } else { comment(rest)? };
            tokens.push(Token { kind: Kind::Comment, start: at, end: at + length, level: 0 });
            at += length;
        } else {
            let (kind, length) = token(rest, c)?;
            let level = match c {
                '(' | '[' => 1,
                ')' | ']' => -1,
                _ => 0,
            };
            tokens.push(Token { kind, start: at, end: at + length, level });
            at += length;
        }
    }
    Some(tokens)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// The kind and length of the token at the beginning of a text.
fn token(rest: &str, first: char) -> Option<(Kind, usize)> {
    match first {
        '\'' => Some((Kind::Text, quoted(rest, '\'', false)?)),
        'e' | 'E' if rest.get(1..)?.starts_with('\'') => Some((Kind::Text, 1 + quoted(rest.get(1..)?, '\'', true)?)),
        '"' => Some((Kind::Quoted, quoted(rest, '"', false)?)),
        '$' if dollar(rest).is_some() => {
            let tag = dollar(rest)?;
            let end = rest.get(tag.len()..)?.find(tag)?;
            Some((Kind::Text, end + 2 * tag.len()))
        }
        // To the server whatever is not ASCII is a letter, also what looks like a space (`scan.l`).
        c if c == '_' || c.is_ascii_alphabetic() || !c.is_ascii() => {
            let part = |c: char| c == '_' || c == '$' || c.is_ascii_alphanumeric() || !c.is_ascii();
            Some((Kind::Word, rest.find(|c| !part(c)).unwrap_or(rest.len())))
        }
        c if c.is_ascii_digit() => Some((Kind::Number, number(rest))),
        c => {
            let symbol =
                ["<<", ">>", ":=", "..", "::", "<=", ">=", "<>", "!=", "=>"].into_iter().find(|symbol| rest.starts_with(symbol));
            Some((Kind::Symbol, symbol.map_or(c.len_utf8(), str::len)))
        }
    }
}

/// Two dots are no part of a number.
fn number(rest: &str) -> usize {
    let digits = |text: &str| text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let whole = digits(rest);
    match rest.get(whole..) {
        Some(more) if more.starts_with('.') && !more.starts_with("..") => whole + 1 + more.get(1..).map_or(0, digits),
        _ => whole,
    }
}

/// The length of something in quotes, which are doubled inside.
fn quoted(rest: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return Some(at + 1);
            }
        }
    }
    None
}

/// The tag of a text in dollar quotes, with its dollars.
fn dollar(rest: &str) -> Option<&str> {
    let end = rest.get(1..)?.find('$')? + 2;
    let tag = rest.get(..end)?;
    let name = tag.get(1..end - 1)?;
    let fits = name.chars().all(|c| c == '_' || c.is_alphanumeric()) && !name.starts_with(|c: char| c.is_ascii_digit());
    fits.then_some(tag)
}

/// The length of a comment, which may hold others.
fn comment(rest: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    loop {
        let here = rest.get(at..)?;
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += here.chars().next()?.len_utf8();
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// What the server keeps of a name: as many whole characters as are in 63 bytes (PostgreSQL manual, 4.1.1).
pub(crate) fn kept(name: &str) -> String {
    const LONGEST: usize = 63;
    let end = (0..=name.len().min(LONGEST)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or_default().to_owned()
}
