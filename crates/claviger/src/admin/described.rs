//! A recording in words: the statements, parameters and completion tags of its operations.
//!
//! The recording holds each operation's own frames (PostgreSQL manual, 54.7). They were accepted once, but what is read back
//! is read as carefully as the first time: a frame that does not parse is passed over, and its bytes are counted all the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use claviger_api::wire::RecordingEntry;
use claviger_audit::recording::EntryKind;
use claviger_audit::{LeafType, Line};
use claviger_store::log::SessionRecord;

/// Describes a session, operation by operation.
pub(super) fn describe(record: &SessionRecord) -> Vec<RecordingEntry> {
    let mut operations: BTreeMap<u64, RecordingEntry> = BTreeMap::new();
    let mut prepared: HashMap<Vec<u8>, String> = HashMap::new();
    for entry in &record.entries {
        let operation = operations.entry(entry.op.0).or_default();
        let bytes = entry.bytes.len() as u64;
        match entry.kind {
            EntryKind::Response => operation.response_bytes += bytes,
            EntryKind::Request => {
                operation.request_bytes += bytes;
                request(&entry.bytes, operation, &mut prepared);
            }
        }
    }
    for leaf in &record.leaves {
        let Ok(Line { kind: LeafType::Outcome, op: Some(op), fields, .. }) = Line::parse(leaf.as_bytes()) else { continue };
        let tags = fields.get("tags").and_then(|tags| tags.as_array()).into_iter().flatten();
        operations.entry(op.0).or_default().tags = tags.filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
    }
    operations.into_iter().map(|(op, operation)| RecordingEntry { op, ..operation }).collect()
}

/// Reads the frames of one request. Statements are kept by name, for requests that run them later.
fn request(mut bytes: &[u8], operation: &mut RecordingEntry, prepared: &mut HashMap<Vec<u8>, String>) {
    while let Some((kind, body, rest)) = frame(bytes) {
        bytes = rest;
        match kind {
            b'Q' => operation.statement = word(body).map(|(text, _)| lossy(text)),
            b'P' => {
                if let Some((name, rest)) = word(body)
                    && let Some((text, _)) = word(rest)
                {
                    operation.statement = Some(lossy(text));
                    prepared.insert(name.to_vec(), lossy(text));
                }
            }
            b'B' => {
                if let Some((statement, parameters)) = bind(body) {
                    operation.parameters = parameters;
                    operation.statement = prepared.get(statement).cloned().or(operation.statement.take());
                }
            }
            _ => {}
        }
    }
}

/// A frame: its kind, its body, and what follows it.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?.checked_sub(4)?;
    let (body, rest) = rest.split_at_checked(length)?;
    Some((*kind, body, rest))
}

/// Bind: portal, statement, formats, parameters.
fn bind(body: &[u8]) -> Option<(&[u8], Vec<Option<String>>)> {
    let (_portal, rest) = word(body)?;
    let (statement, mut rest) = word(rest)?;
    let count = number(&mut rest)?;
    let formats: Vec<u16> = (0..count).map(|_| number(&mut rest)).collect::<Option<_>>()?;
    let mut parameters = Vec::new();
    for i in 0..usize::from(number(&mut rest)?) {
        // No format is text for all, one format is for all.
        let binary = if formats.len() == 1 { formats.first() } else { formats.get(i) } == Some(&1);
        let (length, after) = rest.split_first_chunk()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            parameters.push(None);
            rest = after;
            continue;
        };
        let (value, after) = after.split_at_checked(length)?;
        parameters.push(Some(if binary { hexadecimal(value) } else { lossy(value) }));
        rest = after;
    }
    Some((statement, parameters))
}

fn number(bytes: &mut &[u8]) -> Option<u16> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u16::from_be_bytes(*number))
}

/// A text that a zero byte ends, and what follows it.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// As PostgreSQL writes `bytea`.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use claviger_audit::recording::Entry;
    use claviger_model::OpId;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn entry(op: u64, kind: EntryKind, bytes: &[u8]) -> Entry {
        Entry { kind, op: OpId(op), bytes: bytes.to_vec() }
    }

    #[test]
    fn statements_and_parameters_are_told() {
        use EntryKind::{Request, Response};
        let bind =
            [b"portal\0find\0\0\x02\0\0\0\x01\0\x03".as_slice(), b"\0\0\0\x02hi", b"\0\0\0\x02\x01\xff", b"\xff\xff\xff\xff"]
                .concat();
        let run = [message(b'B', &bind), message(b'E', b"portal\0\0\0\0\0")].concat();
        let record = SessionRecord {
            entries: vec![
                entry(1, Request, &message(b'Q', b"SELECT 1\0")),
                entry(1, Response, b"12345"),
                entry(2, Request, &message(b'P', b"find\0SELECT $1, $2, $3\0\0\0")),
                entry(3, Request, &run),
            ],
            ..SessionRecord::default()
        };
        let [one, two, three] = describe(&record).try_into().unwrap();
        assert_eq!((one.op, one.statement.as_deref(), one.response_bytes), (1, Some("SELECT 1"), 5));
        assert_eq!((two.op, two.statement.as_deref()), (2, Some("SELECT $1, $2, $3")));
        assert_eq!(three.statement.as_deref(), Some("SELECT $1, $2, $3"));
        assert_eq!(three.parameters, [Some("hi".to_owned()), Some("\\x01ff".to_owned()), None]);
        assert_eq!(three.request_bytes, run.len() as u64);
    }

    #[test]
    fn damaged_frames_are_counted_and_passed_over() {
        let whole = message(b'B', b"\0find\0\0\0\0\x01\0\0\0\x05hello\0\0");
        for cut in 0..whole.len() {
            let record =
                SessionRecord { entries: vec![entry(1, EntryKind::Request, whole.get(..cut).unwrap())], ..Default::default() };
            let [only] = describe(&record).try_into().unwrap();
            assert_eq!((only.request_bytes, only.parameters.len()), (cut as u64, 0));
        }
    }
}
