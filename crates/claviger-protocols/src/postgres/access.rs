//! What can be told of a statement from its first words.
//!
//! This is a lexical look, not an understanding, and no decision depends on it: [`Access`] steers durability, and
//! [`Nature`] tells how far frames of a pipeline may be read ahead of the server's answers. Where it is unsure it says
//! [`Access::Barrier`] and `unclear`, which only cost time.

use crate::Access;

/// What a statement's running means for the frames behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nature {
    /// Whether it begins or ends a transaction.
    pub(super) control: Control,
    /// Whether it may change which prepared statement or portal a name stands for.
    pub(super) renames: bool,
}

/// What a text does to the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Nothing.
    None,
    /// It begins one.
    Begin,
    /// It ends one.
    End,
    /// Several statements.
    Unclear,
}

impl Nature {
    /// Of a text.
    pub(super) fn of(text: &[u8]) -> Self {
        let single = is_single(text);
        let control = if single { control(text) } else { Control::Unclear };
        let renames = words(text).any(|word| ["deallocate", "discard", "close", "declare"].iter().any(|own| is(word, own)));
        Self { control, renames }
    }

    /// Of a text that is not known.
    pub(super) const UNKNOWN: Self = Self { control: Control::Unclear, renames: true };
}

fn control(text: &[u8]) -> Control {
    let mut words = leading(text);
    let first = words.next().unwrap_or_default();
    let any = |list: &[&str]| list.iter().any(|own| is(first, own));
    if any(&["begin", "start"]) {
        return Control::Begin;
    }
    if any(&["commit", "end"]) {
        return Control::End;
    }
    if any(&["rollback", "abort"]) {
        // ROLLBACK TO a savepoint ends nothing.
        let to = words.find(|word| !is(word, "work") && !is(word, "transaction")).is_some_and(|word| is(word, "to"));
        return if to { Control::None } else { Control::End };
    }
    if any(&["prepare"]) && words.next().is_some_and(|word| is(word, "transaction")) {
        return Control::End;
    }
    Control::None
}

/// Whether a text reads, writes, or must be waited for. Conservative; only durability depends on it.
pub(super) fn access(text: &[u8], in_transaction: bool) -> Access {
    if !is_single(text) {
        return Access::Barrier;
    }
    let mut words = leading(text);
    let first = words.next().unwrap_or_default();
    let any = |list: &[&str]| list.iter().any(|own| is(first, own));
    if any(&["select", "values", "table"]) {
        // SELECT INTO makes a table; a locking clause or a WITH may stand for a write, and so may any function: the durability
        // of those rests on the transaction's end.
        let plain = !self::words(text).any(|word| is(word, "into") || is(word, "with") || is(word, "for"));
        return if plain { Access::Read } else { Access::Write };
    }
    if any(&["explain"]) {
        let runs = self::words(text).any(|word| is(word, "analyze") || is(word, "analyse"));
        return if runs { Access::Barrier } else { Access::Read };
    }
    if any(&["show", "fetch", "move", "close", "begin", "start", "savepoint", "release", "declare"])
        || any(&["set", "reset", "deallocate", "listen"])
    {
        return Access::Read;
    }
    if any(&["insert", "update", "delete", "merge", "with"]) {
        return Access::Write;
    }
    if any(&["copy"]) && self::words(text).any(|word| is(word, "from")) && !self::words(text).any(|word| is(word, "to")) {
        return Access::Write;
    }
    if any(&["rollback", "abort"]) && in_transaction {
        // Nothing that it leaves behind must be kept.
        return Access::Read;
    }
    Access::Barrier
}

/// The name in a plain `DEALLOCATE [PREPARE] name`, folded as the server folds it.
pub(super) fn deallocated(text: &[u8]) -> Option<Vec<u8>> {
    if !is_single(text) || text.contains(&b'"') {
        return None;
    }
    let mut words = leading(text).filter(|word| !is(word, "prepare"));
    let (first, name) = (words.next()?, words.next()?);
    (is(first, "deallocate") && !is(name, "all") && words.next().is_none()).then(|| name.to_ascii_lowercase())
}

fn is(word: &[u8], own: &str) -> bool {
    word.eq_ignore_ascii_case(own.as_bytes())
}

/// Whether there is no `;` other than at the end. One in a string or a comment counts too.
fn is_single(text: &[u8]) -> bool {
    let end = text.iter().rposition(|byte| !byte.is_ascii_whitespace() && *byte != b';').map_or(0, |last| last + 1);
    !text.get(..end).unwrap_or_default().contains(&b';')
}

/// The words from the first on, comments skipped.
fn leading(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = skip_blank(rest);
        let len = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at_checked(len).filter(|(word, _)| !word.is_empty())?;
        rest = tail;
        Some(word)
    })
}

/// All words, wherever they stand.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| !is_word(*byte)).filter(|word| !word.is_empty())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Passes over whitespace, `--` and nested `/* */` comments.
fn skip_blank(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        text = match text {
            [0x0b, rest @ ..] => rest,
            [b'-', b'-', rest @ ..] => {
                let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
                rest.get(end..).unwrap_or_default()
            }
            [b'/', b'*', rest @ ..] => skip_comment(rest),
            _ => return text,
        };
    }
}

fn skip_comment(mut text: &[u8]) -> &[u8] {
    let mut depth = 1u32;
    loop {
        text = match text {
            [] => return text,
            [b'/', b'*', rest @ ..] => {
                depth += 1;
                rest
            }
            [b'*', b'/', rest @ ..] => {
                depth -= 1;
                if depth == 0 {
                    return rest;
                }
                rest
            }
            [_, rest @ ..] => rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_access_by_the_first_words() {
        for (text, expected) in [
            ("select 1", Access::Read),
            (" /* a /* b */ ; */ select 1", Access::Barrier),
            ("/* a /* b */ c */ -- d\n SELECT 1 ; ", Access::Read),
            ("select 1 into t", Access::Write),
            ("select * from t for update", Access::Write),
            ("with x as (delete from t returning *) select * from x", Access::Write),
            ("insert into t values (1)", Access::Write),
            ("copy t from stdin", Access::Write),
            ("copy (select 1) to program 'x'", Access::Barrier),
            ("explain select 1", Access::Read),
            ("explain (analyze) select 1", Access::Barrier),
            ("commit", Access::Barrier),
            ("select 1; select 2", Access::Barrier),
            ("create table t ()", Access::Barrier),
            ("(select 1)", Access::Barrier),
            ("", Access::Barrier),
        ] {
            assert_eq!(access(text.as_bytes(), false), expected, "{text}");
        }
        assert_eq!(access(b"rollback", true), Access::Read);
        assert_eq!(access(b"rollback", false), Access::Barrier);
    }

    #[test]
    fn tells_control_by_the_first_words() {
        for (text, control, renames) in [
            ("begin", Control::Begin, false),
            ("START TRANSACTION READ ONLY;", Control::Begin, false),
            ("end", Control::End, false),
            ("rollback and chain", Control::End, false),
            ("rollback transaction to savepoint a", Control::None, false),
            ("prepare transaction 'x'", Control::End, false),
            ("prepare x as select 1", Control::None, false),
            ("begin; select 1", Control::Unclear, false),
            ("update t set closed = true", Control::None, false),
            ("/* ; */ deallocate x", Control::Unclear, true),
        ] {
            assert_eq!(Nature::of(text.as_bytes()), Nature { control, renames }, "{text}");
        }
    }

    #[test]
    fn finds_the_deallocated_name() {
        for (text, expected) in [
            ("deallocate Foo", Some("foo")),
            ("DEALLOCATE PREPARE foo;", Some("foo")),
            ("deallocate all", None),
            ("deallocate \"Foo\"", None),
            ("deallocate a; deallocate b", None),
            ("discard all", None),
        ] {
            assert_eq!(deallocated(text.as_bytes()).as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }
}
