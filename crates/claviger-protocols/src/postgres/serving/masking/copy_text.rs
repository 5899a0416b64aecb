//! COPY's forms of lines: text, with backslashes, and CSV, with quotes (PostgreSQL manual, `COPY`, file formats).

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::unforeseen;
use crate::masking::{Masker, Slot};
use crate::postgres::Fault;

/// How lines are written.
pub(super) struct Lines {
    delimiter: u8,
    null: Vec<u8>,
    /// Of CSV: what stands around a field, and what before it inside one.
    quotes: Option<(u8, u8)>,
    /// Whether a line of names is still to come.
    header: bool,
}

impl Lines {
    pub(super) fn text(delimiter: u8, null: &[u8], header: bool) -> Self {
        Self { delimiter, null: null.to_vec(), quotes: None, header }
    }

    pub(super) fn csv(delimiter: u8, null: &[u8], quote: u8, escape: u8, header: bool) -> Self {
        Self { delimiter, null: null.to_vec(), quotes: Some((quote, escape)), header }
    }

    /// Appends the line at the front if it is whole, and gives what follows it.
    pub(super) fn put<'a>(
        &mut self,
        masker: &mut dyn Masker,
        slots: &[Option<Slot>],
        rest: &'a [u8],
        out: &mut BytesMut,
    ) -> Result<Option<&'a [u8]>, Fault> {
        let Some(end) = self.end_of(rest, b'\n') else { return Ok(None) };
        let Some((line, after)) = rest.split_at_checked(end) else { return Ok(None) };
        let after = after.get(1..).unwrap_or_default();
        if std::mem::take(&mut self.header) || slots.is_empty() {
            out.put_slice(line);
        } else {
            self.put_line(masker, slots, line, out)?;
        }
        out.put_u8(b'\n');
        Ok(Some(after))
    }

    fn put_line(&self, masker: &mut dyn Masker, slots: &[Option<Slot>], line: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let mut rest = Some(line);
        for (n, slot) in slots.iter().enumerate() {
            let Some(fields) = rest else { return Err(unforeseen("a line has fewer fields than columns")) };
            let end = self.end_of(fields, self.delimiter).unwrap_or(fields.len());
            let (field, after) = fields.split_at_checked(end).unwrap_or((fields, &[]));
            rest = after.get(1..);
            if n > 0 {
                out.put_u8(self.delimiter);
            }
            match slot {
                Some(slot) => self.put_field(masker, *slot, field, out),
                None => out.put_slice(field),
            }
        }
        if rest.is_some() { Err(unforeseen("a line has more fields than columns")) } else { Ok(()) }
    }

    /// Where this byte stands that ends something, rather than being a part of it.
    fn end_of(&self, text: &[u8], end: u8) -> Option<usize> {
        let (mut quoted, mut escaped) = (false, false);
        text.iter().position(|byte| {
            if std::mem::take(&mut escaped) {
                return false;
            }
            match self.quotes {
                None => {
                    escaped = *byte == b'\\';
                    *byte == end
                }
                Some((quote, escape)) => {
                    // Where both are the same, two of them end the quoting and begin it again.
                    escaped = quoted && *byte == escape && escape != quote;
                    quoted ^= *byte == quote && !escaped;
                    *byte == end && !quoted
                }
            }
        })
    }

    fn put_field(&self, masker: &mut dyn Masker, slot: Slot, field: &[u8], out: &mut BytesMut) {
        let value = (field != self.null).then(|| self.value(field));
        let was_quoted = self.quotes.is_some_and(|(quote, _)| field.first() == Some(&quote));
        let at = out.len();
        if !masker.value(slot, value.as_deref(), out) {
            out.truncate(at);
            out.put_slice(&self.null);
            return;
        }
        let written = out.get(at..).unwrap_or_default();
        match self.quotes {
            None if written.iter().any(|byte| *byte < b' ' || matches!(byte, b'\\' | 0x7f) || *byte == self.delimiter) => {
                let written = out.split_off(at);
                written.iter().for_each(|byte| self.escape(*byte, out));
            }
            Some((quote, escape)) if was_quoted || self.needs_quotes(written, quote) => {
                let written = out.split_off(at);
                out.put_u8(quote);
                for byte in written {
                    if byte == quote || byte == escape {
                        out.put_u8(escape);
                    }
                    out.put_u8(byte);
                }
                out.put_u8(quote);
            }
            _ => {}
        }
    }

    fn needs_quotes(&self, value: &[u8], quote: u8) -> bool {
        let special = |byte: &u8| matches!(byte, b'\n' | b'\r') || *byte == self.delimiter || *byte == quote;
        value == self.null || value == b"\\." || value.iter().any(special)
    }

    fn escape(&self, byte: u8, out: &mut BytesMut) {
        let letter = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            _ if byte == self.delimiter => byte,
            _ => return out.put_u8(byte),
        };
        out.put_slice(&[b'\\', letter]);
    }

    /// What a field stands for.
    fn value<'a>(&self, field: &'a [u8]) -> Cow<'a, [u8]> {
        match self.quotes {
            None if field.contains(&b'\\') => Cow::Owned(unescaped(field)),
            Some((quote, escape)) if field.contains(&quote) => Cow::Owned(unquoted(field, quote, escape)),
            _ => Cow::Borrowed(field),
        }
    }
}

fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            value.push(*byte);
            continue;
        }
        if let (number, taken @ 1..) = digits(rest, 8, 3) {
            value.push(number);
            rest = rest.get(taken..).unwrap_or_default();
            continue;
        }
        let Some((letter, after)) = rest.split_first() else { break };
        rest = after;
        value.push(match letter {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'x' => match digits(rest, 16, 2) {
                (_, 0) => b'x',
                (number, taken) => {
                    rest = rest.get(taken..).unwrap_or_default();
                    number
                }
            },
            other => *other,
        });
    }
    value
}

/// The number of at most so many digits at the front, and how many there are.
fn digits(text: &[u8], radix: u32, most: usize) -> (u8, usize) {
    let digits = text.iter().take(most).map_while(|byte| char::from(*byte).to_digit(radix));
    let (number, count) = digits.fold((0, 0), |(number, count), digit| (number * radix + digit, count + 1));
    (u8::try_from(number & 0xff).unwrap_or(0), count)
}

fn unquoted(field: &[u8], quote: u8, escape: u8) -> Vec<u8> {
    let mut value = Vec::with_capacity(field.len());
    let mut quoted = false;
    let mut bytes = field.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if quoted && byte == escape && bytes.peek().is_some_and(|next| *next == quote || *next == escape) {
            value.extend(bytes.next());
        } else if byte == quote {
            quoted = !quoted;
        } else {
            value.push(byte);
        }
    }
    value
}
