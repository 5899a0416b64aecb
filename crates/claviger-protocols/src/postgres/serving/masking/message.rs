//! Errors, notices and other messages of words.
//!
//! The words of a statement that may tell of masked values are replaced by fixed ones; what stays is how grave it is and its SQLSTATE.
//! Other words are searched for values, where that is wanted.

use bytes::{BufMut, Bytes};

use crate::masking::Masker;
use crate::postgres::frame::{Reader, Violation};
use crate::postgres::write;

/// The most fields of an error or notice; there are 18 kinds of them (PostgreSQL manual, 55.8).
const FIELDS: usize = 64;

/// An ErrorResponse or NoticeResponse without its words.
pub(in crate::postgres::serving) fn withheld(tag: u8, frame: &Bytes) -> Result<Bytes, Violation> {
    fields(frame).map(|fields| without_words(tag, &fields))
}

/// An ErrorResponse or NoticeResponse, whose words are searched for values.
pub(in crate::postgres::serving) fn searched(masker: &mut dyn Masker, tag: u8, frame: &Bytes) -> Result<Bytes, Violation> {
    let mut changed = false;
    let searched: Vec<_> = fields(frame)?
        .into_iter()
        .map(|(field, value)| {
            // The others hold no values: severity, code, positions, and places in the server's source.
            let text = matches!(field, b'M' | b'D' | b'H' | b'W' | b'q' | b's' | b't' | b'c' | b'd' | b'n');
            let found = if text { masker.text(&value) } else { None };
            changed |= found.is_some();
            (field, found.unwrap_or(value))
        })
        .collect();
    if !changed || masker.observes() {
        return Ok(frame.clone());
    }
    Ok(message(tag, searched.iter().map(|(field, value)| (*field, &value[..]))))
}

/// A NotificationResponse or ParameterStatus, whose last text is searched for values.
pub(in crate::postgres::serving) fn parameter(masker: &mut dyn Masker, tag: u8, frame: &Bytes) -> Result<Bytes, Violation> {
    let mut reader = Reader::of(frame);
    let process = if tag == b'A' { Some(reader.i32()?) } else { None };
    let (name, value) = (reader.text()?, reader.text()?);
    match masker.text(&value) {
        Some(value) if !masker.observes() => Ok(write::frame(tag, |out| {
            process.into_iter().for_each(|process| out.put_i32(process));
            write::text(out, &name);
            write::text(out, &value);
        })),
        _ => Ok(frame.clone()),
    }
}

fn without_words(tag: u8, fields: &[(u8, Bytes)]) -> Bytes {
    let get = |wanted: u8| fields.iter().find(|(field, _)| *field == wanted).map(|(_, value)| &value[..]);
    let code = get(b'C').filter(|code| code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric)).unwrap_or(b"XX000");
    // Of a translated severity nothing is known.
    let severity = get(b'V').filter(|severity| severity.iter().all(u8::is_ascii_uppercase)).unwrap_or(b"ERROR");
    let shown = get(b'S').filter(|_| get(b'V').is_some()).unwrap_or(severity);
    let words = words(code);
    message(tag, [(b'S', shown), (b'V', severity), (b'C', code), (b'M', words.as_bytes())].into_iter())
}

fn message<'a>(tag: u8, fields: impl Iterator<Item = (u8, &'a [u8])>) -> Bytes {
    write::frame(tag, |out| {
        for (field, value) in fields {
            out.put_u8(field);
            write::text(out, value);
        }
        out.put_u8(0);
    })
}

fn fields(frame: &Bytes) -> Result<Vec<(u8, Bytes)>, Violation> {
    let mut reader = Reader::of(frame);
    let mut fields = Vec::with_capacity(12);
    loop {
        match reader.byte()? {
            0 => return reader.end().map(|()| fields),
            _ if fields.len() == FIELDS => return Err(Violation("an error or notice has too many fields")),
            field => fields.push((field, reader.text()?)),
        }
    }
}

/// What an SQLSTATE means (PostgreSQL manual, appendix A), with the reason why nothing more is said.
fn words(code: &[u8]) -> String {
    let what = match code {
        b"22001" => "a value is too long for its type",
        b"22003" => "a number is out of range",
        b"22007" | b"22008" => "a date or time is invalid",
        b"22012" => "division by zero",
        b"22P02" => "invalid input for a type",
        b"23502" => "a column must not be null",
        b"23503" => "a foreign key is violated",
        b"23505" => "a unique key is violated",
        b"23514" => "a check is violated",
        b"25P02" => "current transaction is aborted, commands ignored until end of transaction block",
        b"40001" => "could not serialize access",
        b"40P01" => "deadlock detected",
        b"42501" => "permission denied",
        b"55P03" => "a lock is not available",
        b"57014" => "canceling statement",
        _ => match code.get(..2) {
            Some(b"00" | b"01" | b"02") => "a message of the server",
            Some(b"08") => "connection exception",
            Some(b"0A") => "feature not supported",
            Some(b"21") => "a subquery gives too many rows",
            Some(b"22") => "invalid data",
            Some(b"23") => "an integrity constraint is violated",
            Some(b"25") => "invalid transaction state",
            Some(b"40") => "transaction rollback",
            Some(b"42") => "syntax error or access rule violation",
            Some(b"53") => "insufficient resources",
            Some(b"54") => "a program limit is exceeded",
            Some(b"55") => "an object is not in the required state",
            Some(b"57") => "operator intervention",
            Some(b"58") => "system error",
            Some(b"P0") => "an exception was raised",
            _ => "an error of the server",
        },
    };
    format!("{what} (its words are withheld: they may tell of masked values)")
}
