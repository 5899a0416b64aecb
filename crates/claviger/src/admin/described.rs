//! A recording in words: the statements, parameters and completion tags of its operations.
//!
//! The recording holds each operation's own frames (PostgreSQL manual, 54.7). They were accepted once, but what is read back
//! is read as carefully as the first time: a frame that does not parse is passed over, and its bytes are counted all the same.

use std::collections::{BTreeMap, HashMap};

use claviger_api::wire::RecordingEntry;
use claviger_audit::recording::EntryKind;
use claviger_audit::{LeafType, Line};
use claviger_protocols::postgres::{self, Described};
use claviger_store::log::SessionRecord;

/// Describes a session, operation by operation.
pub(super) fn describe(record: &SessionRecord) -> Vec<RecordingEntry> {
    let mut operations: BTreeMap<u64, RecordingEntry> = BTreeMap::new();
    let mut prepared: HashMap<String, String> = HashMap::new();
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

/// Tells what a request said. Statements are kept by name, for requests that run them later.
fn request(bytes: &[u8], operation: &mut RecordingEntry, prepared: &mut HashMap<String, String>) {
    for said in postgres::describe(bytes, true) {
        match said {
            Described::Statement { name, text } => {
                if let Some(name) = name {
                    prepared.insert(name, text.clone());
                }
                operation.statement = Some(text);
            }
            Described::Parameters { statement, values } => {
                operation.parameters = values;
                operation.statement = prepared.get(&statement).cloned().or(operation.statement.take());
            }
            _ => {}
        }
    }
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
        let bind = [
            b"portal\0find\0\0\x03\0\0\0\x01\0\0\0\x03".as_slice(),
            b"\0\0\0\x02hi",
            b"\0\0\0\x02\x01\xff",
            b"\xff\xff\xff\xff",
            b"\0\0",
        ]
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
