//! What can be told of a statement's effect from its first words. Only durability depends on it: a statement that is taken for
//! a read has its record on stable storage a moment later, and nothing more.

use bytes::Bytes;

use crate::Access;

/// First words of statements without lasting effect.
const READS: &[&str] = &[
    "select",
    "values",
    "table",
    "show",
    "fetch",
    "move",
    "close",
    "begin",
    "start",
    "savepoint",
    "release",
    "declare",
    "explain",
    "set",
    "reset",
    "deallocate",
    "listen",
    "unlisten",
];
/// First words of changes that their transaction holds back.
const WRITES: &[&str] = &["insert", "update", "delete", "merge", "with"];

/// Looks at one text. More than one statement, or anything not plainly known, is a barrier.
pub(super) fn access(text: &[u8]) -> Access {
    let text = skip_blanks(text);
    let word_len = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (word, rest) = text.split_at(word_len);
    let is = |words: &[&str]| words.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word));
    if has_another_statement(rest) {
        return Access::Barrier;
    }
    if is(READS) {
        let doubtful: &[&str] = if word.eq_ignore_ascii_case(b"explain") { &["analyze", "analyse"] } else { &["into"] };
        return if contains_word(rest, doubtful) { Access::Write } else { Access::Read };
    }
    if is(WRITES) || (word.eq_ignore_ascii_case(b"copy") && contains_word(rest, &["from"])) {
        return Access::Write;
    }
    Access::Barrier
}

/// Whether a text plainly begins (`Some(true)`) or ends (`Some(false)`) an explicit transaction.
pub(super) fn transaction_verb(text: &[u8]) -> Option<bool> {
    let text = skip_blanks(text);
    let word = text.split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
    let is = |known: &[u8]| word.eq_ignore_ascii_case(known);
    if is(b"begin") || is(b"start") {
        Some(true)
    } else if is(b"commit") || is(b"end") || is(b"abort") || (is(b"rollback") && !contains_word(text, &["to"])) {
        Some(false)
    } else {
        None
    }
}

/// Whether a text may change what the names of prepared statements stand for.
pub(super) fn renames(text: &[u8]) -> bool {
    contains_word(text, &["prepare", "deallocate", "discard"])
}

/// The statement that a text plainly drops by DEALLOCATE, if it is nothing else.
pub(super) fn deallocated(text: &[u8]) -> Option<Bytes> {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text);
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (verb, name) = (words.next()?, words.next()?);
    // Longer names are cut short by the server (PostgreSQL manual, 4.1.1).
    if !verb.eq_ignore_ascii_case(b"deallocate") || words.next().is_some() || name.len() > 63 {
        return None;
    }
    let is_word = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")) {
        Some(quoted) => is_word(quoted).then(|| Bytes::copy_from_slice(quoted)),
        None => is_word(name).then(|| name.to_ascii_lowercase().into()),
    }
}

/// Skips white space and comments, which nest (PostgreSQL manual, 4.1.5).
fn skip_blanks(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        if text.starts_with(b"--") {
            text = text.iter().position(|byte| *byte == b'\n').and_then(|end| text.get(end..)).unwrap_or_default();
        } else if text.starts_with(b"/*") {
            text = skip_comment(text);
        } else {
            return text;
        }
    }
}

fn skip_comment(text: &[u8]) -> &[u8] {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(pair) = text.get(at..at + 2) {
        match pair {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return text.get(at..).unwrap_or_default();
        }
    }
    &[]
}

/// Any semicolon that something follows, wherever it stands: inside a literal it only makes us more careful.
fn has_another_statement(text: &[u8]) -> bool {
    text.iter().position(|byte| *byte == b';').is_some_and(|at| {
        let rest = text.get(at..).unwrap_or_default();
        !rest.iter().all(|byte| *byte == b';' || byte.is_ascii_whitespace())
    })
}

fn contains_word(text: &[u8], words: &[&str]) -> bool {
    text.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))
        .any(|found| words.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(found)))
}

#[cfg(test)]
mod tests {
    use super::{access, transaction_verb};
    use crate::Access::{self, Barrier, Read, Write};

    #[test]
    fn tells_reads_from_the_rest() {
        let table: &[(&str, Access)] = &[
            ("SELECT 1", Read),
            ("  select 1 ; ", Read),
            ("/* a /* b */ c */ -- d\n SELECT 1", Read),
            ("SELECT 1; DROP TABLE t", Barrier),
            ("SELECT * INTO t FROM u", Write),
            ("EXPLAIN SELECT 1", Read),
            ("explain (analyze, verbose) delete from t", Write),
            ("INSERT INTO t VALUES (1)", Write),
            ("with x as (delete from t returning *) select * from x", Write),
            ("COPY t FROM STDIN", Write),
            ("COPY t TO STDOUT", Barrier),
            ("COMMIT", Barrier),
            ("CREATE TABLE t()", Barrier),
            ("", Barrier),
            ("/* open", Barrier),
            ("selectx", Barrier),
        ];
        for (text, expected) in table {
            assert_eq!(access(text.as_bytes()), *expected, "{text}");
        }
    }

    #[test]
    fn tells_the_ends_of_transactions() {
        for (text, expected) in [
            ("BEGIN", Some(true)),
            ("start transaction read only", Some(true)),
            (" /* x */ commit", Some(false)),
            ("ROLLBACK", Some(false)),
            ("rollback to savepoint a", None),
            ("select 1", None),
        ] {
            assert_eq!(transaction_verb(text.as_bytes()), expected, "{text}");
        }
    }
}
