//! Recorded frames, made readable for people.

use std::fmt::Write as _;

use bytes::Bytes;

use super::frame::{Header, Reader};
use super::serving::{Bind, columns, error_code, field};

/// The most items that one recorded stretch is made into.
const MOST: usize = 10_000;

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described {
    /// A statement's text, with the name under which it was prepared, if it was.
    Statement {
        /// Its name.
        name: Option<String>,
        /// Its text.
        text: String,
    },
    /// Parameters for a prepared statement; `None` is NULL.
    Parameters {
        /// The statement's name.
        statement: String,
        /// The values, as text where they are.
        values: Vec<Option<String>>,
    },
    /// The names of a result's columns.
    Columns(Vec<String>),
    /// A row; `None` is NULL.
    Row(Vec<Option<String>>),
    /// A statement's completion tag.
    Completed(String),
    /// An error: SQLSTATE and message.
    Error {
        /// The SQLSTATE.
        code: String,
        /// The message.
        message: String,
    },
    /// Bytes of a COPY.
    Copied(String),
    /// The rest was cut off, or is not to be read.
    Unreadable,
}

/// Makes recorded frames readable. Never fails: what cannot be read is said to be so.
pub fn describe(bytes: &[u8], from_client: bool) -> Vec<Described> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut said = Vec::new();
    while !rest.is_empty() && said.len() < MOST {
        let header = match Header::peek(&rest) {
            Ok(Some(header)) if header.len <= rest.len() => header,
            _ => {
                said.push(Described::Unreadable);
                break;
            }
        };
        let frame = rest.split_to(header.len);
        said.extend(if from_client { client(header.tag, &frame) } else { server(header.tag, &frame) });
    }
    said
}

fn client(tag: u8, frame: &Bytes) -> Option<Described> {
    let mut reader = Reader::of(frame);
    match tag {
        b'Q' => Some(Described::Statement { name: None, text: text(&reader.text().ok()?) }),
        b'P' => Some(Described::Statement { name: Some(text(&reader.text().ok()?)), text: text(&reader.text().ok()?) }),
        b'B' => {
            let bind = Bind::read(frame).ok()?;
            let shown = |(index, value): (usize, &Option<Bytes>)| {
                let show = if bind.is_binary(index) { hexadecimal } else { text };
                value.as_deref().map(show)
            };
            let values = bind.parameters.iter().enumerate().map(shown).collect();
            Some(Described::Parameters { statement: text(&bind.statement), values })
        }
        _ => None,
    }
}

fn server(tag: u8, frame: &Bytes) -> Option<Described> {
    let mut reader = Reader::of(frame);
    match tag {
        b'T' => {
            let count = reader.count(19).ok()?;
            let mut names = Vec::with_capacity(count);
            for _ in 0..count {
                names.push(text(&reader.text().ok()?));
                reader.take(18).ok()?;
            }
            Some(Described::Columns(names))
        }
        b'D' => Some(Described::Row(values(columns(frame).ok()?))),
        b'C' => Some(Described::Completed(text(&reader.text().ok()?))),
        b'd' => Some(Described::Copied(text(&reader.rest()))),
        b'E' => {
            let message = field(frame, b'M').map(|message| text(&message)).unwrap_or_default();
            Some(Described::Error { code: error_code(frame).unwrap_or_default(), message })
        }
        _ => None,
    }
}

fn values(values: Vec<Option<Bytes>>) -> Vec<Option<String>> {
    values.into_iter().map(|value| value.map(|value| text(&value))).collect()
}

/// Text as text, anything else in hexadecimal.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => hexadecimal(bytes),
    }
}

/// As PostgreSQL writes `bytea`.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
