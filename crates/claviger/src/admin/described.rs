//! A recording in words: the statements, parameters and completion tags of its operations; of HTTP requests the first line and the status.
//!
//! The recording holds each operation's own frames (PostgreSQL manual, 54.7). They were accepted once, but what is read back
//! is read as carefully as the first time: a frame that does not parse is passed over, and its bytes are counted all the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use claviger_api::wire::RecordingEntry;
use claviger_audit::recording::EntryKind;
use claviger_audit::{LeafType, Line};
use claviger_model::Timestamp;
use claviger_protocols::http;
use claviger_protocols::postgres::{self, Described};
use claviger_store::log::SessionRecord;

/// Describes a session, operation by operation.
pub(super) fn describe(record: &SessionRecord) -> Vec<RecordingEntry> {
    let mut operations: BTreeMap<u64, RecordingEntry> = BTreeMap::new();
    let mut prepared: HashMap<String, String> = HashMap::new();
    let is_http = is_http(record);
    for entry in &record.entries {
        let operation = operations.entry(entry.op.0).or_default();
        let bytes = entry.bytes.len() as u64;
        match entry.kind {
            EntryKind::Response => operation.response_bytes += bytes,
            EntryKind::Request => {
                operation.request_bytes += bytes;
                if is_http {
                    // The head comes first, and its first line says what is asked.
                    operation.statement.get_or_insert_with(|| first_line(&entry.bytes));
                    continue;
                }
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

/// Whether a session is one of HTTP requests.
fn is_http(record: &SessionRecord) -> bool {
    let opened = record.leaves.iter().filter_map(|leaf| Line::parse(leaf.as_bytes()).ok());
    let mut opened = opened.filter(|line| line.kind == LeafType::SessionOpen);
    opened.any(|line| line.fields.get("protocol").and_then(|kind| kind.as_str()) == Some(http::ENTRY.kind))
}

/// Method and target of a request, as it left.
fn first_line(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line.strip_suffix(b" HTTP/1.1").unwrap_or(line)).into_owned()
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

/// A session as far as deciding its operations again depends on it.
pub(crate) struct Replayed {
    /// Who, actor first.
    pub(crate) chain: Vec<String>,
    /// Where the client was.
    pub(crate) address: Option<IpAddr>,
    /// What it called itself.
    pub(crate) application: Option<String>,
    /// Whether its leg was encrypted.
    pub(crate) tls: bool,
    /// In order.
    pub(crate) operations: Vec<ReplayedOperation>,
}

/// One of its operations.
pub(crate) struct ReplayedOperation {
    /// The operation; counts from 1.
    pub(crate) op: u64,
    /// When it was asked for.
    pub(crate) at: Timestamp,
    /// The statements' text, if it has one.
    pub(crate) statement: Option<String>,
    /// Whether it only prepares a statement.
    pub(crate) prepares: bool,
    /// How policy decided it, whether or not that applied: `permit`, `deny` or `hold`.
    pub(crate) verdict: String,
}

/// What of a session is needed to decide its operations again.
pub(super) fn replayed(record: &SessionRecord) -> Replayed {
    let preparing = preparing(record);
    let mut described: HashMap<u64, RecordingEntry> = describe(record).into_iter().map(|entry| (entry.op, entry)).collect();
    let mut replayed = Replayed { chain: Vec::new(), address: None, application: None, tls: false, operations: Vec::new() };
    for leaf in &record.leaves {
        let Ok(line) = Line::parse(leaf.as_bytes()) else { continue };
        let text = |name: &str| line.fields.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        match (line.kind, line.op) {
            (LeafType::SessionOpen, _) => {
                let chain = line.fields.get("chain").and_then(|chain| chain.as_array()).into_iter().flatten();
                replayed.chain = chain.filter_map(|link| link.as_str().map(str::to_owned)).collect();
                replayed.address = text("client").and_then(|client| client.parse::<SocketAddr>().ok()).map(|client| client.ip());
                replayed.application = text("application");
                replayed.tls = text("tls").is_some();
            }
            (LeafType::Request, Some(op)) => {
                let decision = line.fields.get("decision");
                let word = |name: &str| decision.and_then(|decision| decision.get(name)?.as_str()).map(str::to_owned);
                let held = decision.and_then(|decision| decision.get("approvals")?.as_array()).is_some_and(|all| !all.is_empty());
                let entry = described.remove(&op.0);
                replayed.operations.push(ReplayedOperation {
                    op: op.0,
                    at: line.time,
                    prepares: preparing.contains(&op.0),
                    statement: entry.and_then(|entry| entry.statement),
                    // What was only observed is what counts. What is held is recorded as denied, with who might have approved it.
                    verdict: match word("would").or(word("verdict")) {
                        Some(verdict) if verdict == "deny" && held => "hold".to_owned(),
                        verdict => verdict.unwrap_or_default(),
                    },
                });
            }
            _ => {}
        }
    }
    replayed
}

/// The operations that only prepare a statement.
fn preparing(record: &SessionRecord) -> HashSet<u64> {
    let mut preparing = HashMap::new();
    if is_http(record) {
        return HashSet::new();
    }
    for entry in record.entries.iter().filter(|entry| entry.kind == EntryKind::Request) {
        let only = preparing.entry(entry.op.0).or_insert(true);
        *only &= postgres::describe(&entry.bytes, true)
            .into_iter()
            .all(|said| matches!(said, Described::Statement { name: Some(_), .. }));
    }
    preparing.into_iter().filter(|(_, only)| *only).map(|(op, _)| op).collect()
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
