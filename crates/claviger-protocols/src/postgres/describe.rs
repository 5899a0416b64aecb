//! Recorded frames in words, for people. Reads whatever it is given, and stops where it no longer understands.

use super::frame::{Reader, body, header};
use super::message;

/// So many items are shown of one recording.
const MAX_ITEMS: usize = 10_000;

/// So many characters are shown of one value.
const MAX_VALUE: usize = 4096;

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described {
    /// A statement's text.
    Statement(String),
    /// A statement that is prepared under a name.
    Prepare {
        /// Its name; empty for the unnamed one.
        name: String,
        /// Its text.
        text: String,
    },
    /// A prepared statement's parameters; `None` is NULL.
    Parameters(Vec<Option<String>>),
    /// The names of the columns that follow.
    Columns(Vec<String>),
    /// A row; `None` is NULL.
    Row(Vec<Option<String>>),
    /// What a statement did.
    Tag(String),
    /// An error.
    Error {
        /// The SQLSTATE.
        code: String,
        /// The upstream's message.
        message: String,
    },
    /// A notice.
    Notice(String),
    /// Bytes of a COPY.
    Copy(String),
    /// The rest is not shown: it is cut off, too long, or not understood.
    Cut {
        /// How many bytes.
        bytes: usize,
    },
}

/// Tells what recorded frames of one side say.
pub fn describe(mut bytes: &[u8], from_client: bool) -> Vec<Described> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let whole =
            header(bytes).ok().flatten().and_then(|header| bytes.split_at_checked(header.len).map(|parts| (header, parts)));
        let Some((header, (frame, rest))) = whole.filter(|_| items.len() < MAX_ITEMS) else {
            items.push(Described::Cut { bytes: bytes.len() });
            break;
        };
        items.extend(if from_client { request(header.kind, frame) } else { response(header.kind, frame) });
        bytes = rest;
    }
    items
}

fn request(kind: u8, frame: &[u8]) -> Option<Described> {
    match kind {
        b'Q' => Some(Described::Statement(shown(message::text(frame).ok()?))),
        b'P' => {
            let parse = message::parse(frame).ok()?;
            Some(Described::Prepare { name: shown(parse.name), text: shown(parse.text) })
        }
        b'B' => {
            let bind = message::bind(frame).ok()?;
            let binary = |at: usize| match bind.formats.as_slice() {
                [] => false,
                [all] => *all,
                each => each.get(at).copied().unwrap_or_default(),
            };
            let parameters = bind.parameters.iter().enumerate();
            Some(Described::Parameters(
                parameters.map(|(at, value)| value.map(|value| if binary(at) { hex(value) } else { shown(value) })).collect(),
            ))
        }
        b'd' => Some(Described::Copy(shown(body(frame)))),
        _ => None,
    }
}

fn response(kind: u8, frame: &[u8]) -> Option<Described> {
    match kind {
        b'T' => columns(frame).map(Described::Columns),
        b'D' => Some(Described::Row(message::row(frame).ok()?.into_iter().map(|value| value.map(shown)).collect())),
        b'C' => Some(Described::Tag(shown(message::text(frame).ok()?))),
        b'E' => Some(Described::Error {
            code: message::sqlstate(frame),
            message: shown(message::field(frame, b'M').unwrap_or_default()),
        }),
        b'N' => Some(Described::Notice(shown(message::field(frame, b'M').unwrap_or_default()))),
        b'd' => Some(Described::Copy(shown(body(frame)))),
        _ => None,
    }
}

fn columns(frame: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader::new(body(frame));
    let count = reader.count().ok()?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(shown(reader.text().ok()?));
        reader.take(18).ok()?;
    }
    Some(names)
}

/// Text as it is, without control characters; anything else in hexadecimal.
fn shown(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => return hex(bytes),
    };
    let plain = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c };
    let mut out: String = text.chars().take(MAX_VALUE).map(plain).collect();
    if text.chars().nth(MAX_VALUE).is_some() {
        out.push('…');
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::from("\\x");
    out.extend(bytes.iter().take(MAX_VALUE / 2).map(|byte| format!("{byte:02x}")));
    if bytes.len() > MAX_VALUE / 2 {
        out.push('…');
    }
    out
}
