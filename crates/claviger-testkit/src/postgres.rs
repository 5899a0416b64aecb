//! PostgreSQL under the conformance suite: a client's messages, and a scripted server (PostgreSQL manual, chapter 55).
//!
//! The server is a small one. It takes anyone, keeps prepared statements and portals, passes over messages after an error until
//! Sync, and tracks the transaction. It understands `SELECT n`, which returns the row `n`; `SELECT generate_series(1, n)`,
//! which returns n rows; `BEGIN`, `COMMIT` and `ROLLBACK`; comments; and `SET`. All else, such as `!`, is a syntax error.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use claviger_model::OpId;
use claviger_protocols::postgres::Postgres;
use claviger_protocols::{Auth, Limits, Protocol, ProtocolOptions};

use crate::conformance::{Subject, Upstream};

/// Protocol 3.0 (manual, 55.7, StartupMessage).
const VERSION: i32 = 196_608;

/// A message with a type byte.
pub fn message(kind: u8, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + body.len());
    bytes.put_u8(kind);
    bytes.put_u32(u32::try_from(4 + body.len()).unwrap_or(u32::MAX));
    bytes.put_slice(body);
    bytes.freeze()
}

/// The messages in these bytes, as far as they are whole.
pub fn messages(bytes: &[u8]) -> Vec<(u8, Bytes)> {
    let mut input = BytesMut::from(bytes);
    std::iter::from_fn(|| take_message(&mut input)).collect()
}

/// A start-up message with these parameters.
pub fn startup(parameters: &[(&str, &str)]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i32(VERSION);
    for (name, value) in parameters {
        body.put_slice(&text(&[name, value]));
    }
    body.put_u8(0);
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(4 + body.len()).unwrap_or(u32::MAX));
    bytes.put_slice(&body);
    bytes.freeze()
}

/// A simple query.
pub fn query(statement: &str) -> Bytes {
    message(b'Q', &text(&[statement]))
}

/// A statement by the extended protocol, unnamed, with a Sync at its end.
pub fn extended(statement: &str) -> Vec<u8> {
    [parse("", statement), bind("", ""), describe_portal(""), execute("", 0), sync()].concat()
}

/// Parse, without parameter types.
pub fn parse(name: &str, statement: &str) -> Bytes {
    message(b'P', &[&text(&[name, statement]), [0, 0].as_slice()].concat())
}

/// Bind, without parameters, all results as text.
pub fn bind(portal: &str, statement: &str) -> Bytes {
    message(b'B', &[&text(&[portal, statement]), [0; 6].as_slice()].concat())
}

/// Describe of a portal.
pub fn describe_portal(portal: &str) -> Bytes {
    message(b'D', &[b"P", text(&[portal]).as_slice()].concat())
}

/// Execute, of at most so many rows; 0 is all.
pub fn execute(portal: &str, rows: u32) -> Bytes {
    message(b'E', &[text(&[portal]).as_slice(), &rows.to_be_bytes()].concat())
}

/// Sync.
pub fn sync() -> Bytes {
    message(b'S', b"")
}

/// A scripted server.
#[derive(Debug, Default)]
pub struct PostgresUpstream {
    input: BytesMut,
    output: Vec<u8>,
    started: bool,
    /// What `ReadyForQuery` says: idle, in a transaction, in a failed one.
    status: Status,
    /// After an error in the extended protocol, all is passed over until Sync.
    skipping: bool,
    statements: HashMap<Vec<u8>, String>,
    portals: HashMap<Vec<u8>, Portal>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Status {
    #[default]
    Idle,
    Open,
    Failed,
}

#[derive(Debug)]
struct Portal {
    meaning: Meaning,
    /// Rows already sent.
    sent: u64,
}

/// What the server understands of a statement.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    Rows { first: u64, count: u64 },
    Begin,
    Commit,
    Rollback,
    Set,
    Empty,
}

impl Upstream for PostgresUpstream {
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        if !self.started && !self.start() {
            return Vec::new();
        }
        while let Some((kind, body)) = take_message(&mut self.input) {
            self.handle(kind, &body);
        }
        std::mem::take(&mut self.output)
    }
}

impl PostgresUpstream {
    /// Lets anyone in, once its start-up message is whole.
    fn start(&mut self) -> bool {
        let Some(length) = self.input.first_chunk::<4>().map(|length| u32::from_be_bytes(*length) as usize) else { return false };
        if self.input.len() < length {
            return false;
        }
        self.input.advance(length);
        self.started = true;
        self.say(b'R', &[0, 0, 0, 0]);
        for parameter in [["server_version", "17.0"], ["client_encoding", "UTF8"], ["standard_conforming_strings", "on"]] {
            self.say(b'S', &text(&parameter));
        }
        self.say(b'K', b"\0\0\0\x2asecr");
        self.ready();
        true
    }

    fn handle(&mut self, kind: u8, body: &[u8]) {
        if self.skipping && kind != b'S' {
            return;
        }
        match kind {
            b'Q' => self.simple(&first_text(body)),
            b'P' => self.parse(body),
            b'B' => self.bind(body),
            b'D' => self.describe(body),
            b'E' => self.execute(body),
            b'C' => self.close(body),
            b'S' => {
                self.skipping = false;
                self.ready();
            }
            // Flush, Terminate: nothing waits here.
            b'H' | b'X' => {}
            _ => self.fail("08P01", "message not understood"),
        }
    }

    /// A simple query: its statements in order, until one fails.
    fn simple(&mut self, batch: &str) {
        let statements: Vec<&str> = batch.split(';').map(str::trim).filter(|statement| !is_empty(statement)).collect();
        if statements.is_empty() {
            self.say(b'I', b"");
        }
        // The grammar takes the whole text or none of it.
        if statements.iter().all(|statement| understand(statement).is_some()) {
            for statement in statements {
                let Some(meaning) = understand(statement) else { break };
                if !self.may_run(meaning) {
                    break;
                }
                if let Meaning::Rows { .. } = meaning {
                    self.describe_rows();
                }
                let mut portal = Portal { meaning, sent: 0 };
                self.run(&mut portal, 0);
            }
        } else {
            self.fail("42601", "syntax error");
        }
        self.skipping = false;
        self.ready();
    }

    fn parse(&mut self, body: &[u8]) {
        let [name, statement] = two_texts(body);
        // The unnamed statement is gone with the next Parse, even one that fails; a named one stays until it is closed.
        if name.is_empty() {
            self.statements.remove(name.as_bytes());
        } else if self.statements.contains_key(name.as_bytes()) {
            return self.fail("42P05", "prepared statement already exists");
        }
        match understand(&statement) {
            Some(meaning) if self.may_run(meaning) => {
                self.statements.insert(name.into_bytes(), statement);
                self.say(b'1', b"");
            }
            Some(_) => {}
            None => self.fail("42601", "syntax error"),
        }
    }

    fn bind(&mut self, body: &[u8]) {
        let [portal, name] = two_texts(body);
        match self.statements.get(name.as_bytes()).and_then(|statement| understand(statement)) {
            Some(meaning) => {
                self.portals.insert(portal.into_bytes(), Portal { meaning, sent: 0 });
                self.say(b'2', b"");
            }
            None => self.fail("26000", "prepared statement does not exist"),
        }
    }

    fn describe(&mut self, body: &[u8]) {
        let (of_portal, name) = (body.first() == Some(&b'P'), first_text(body.get(1..).unwrap_or_default()));
        let meaning = if of_portal {
            self.portals.get(name.as_bytes()).map(|portal| portal.meaning)
        } else {
            self.statements.get(name.as_bytes()).and_then(|statement| understand(statement))
        };
        let Some(meaning) = meaning else { return self.fail("26000", "nothing to describe") };
        if !of_portal {
            self.say(b't', &[0, 0]);
        }
        match meaning {
            Meaning::Rows { .. } => self.describe_rows(),
            _ => self.say(b'n', b""),
        }
    }

    fn execute(&mut self, body: &[u8]) {
        let name = first_text(body);
        let most = body.last_chunk::<4>().map_or(0, |rows| u64::from(u32::from_be_bytes(*rows)));
        let Some(mut portal) = self.portals.remove(name.as_bytes()) else { return self.fail("34000", "portal does not exist") };
        if self.may_run(portal.meaning) {
            self.run(&mut portal, most);
            self.portals.insert(name.into_bytes(), portal);
        }
    }

    fn close(&mut self, body: &[u8]) {
        let name = first_text(body.get(1..).unwrap_or_default());
        match body.first() {
            Some(b'P') => drop(self.portals.remove(name.as_bytes())),
            _ => drop(self.statements.remove(name.as_bytes())),
        }
        self.say(b'3', b"");
    }

    /// In a failed transaction, only its end is taken.
    fn may_run(&mut self, meaning: Meaning) -> bool {
        let may = self.status != Status::Failed || matches!(meaning, Meaning::Commit | Meaning::Rollback);
        if !may {
            self.fail("25P02", "current transaction is aborted");
        }
        may
    }

    /// Runs a portal, for at most so many rows; 0 is all.
    fn run(&mut self, portal: &mut Portal, most: u64) {
        let tag = match portal.meaning {
            Meaning::Rows { first, count } => {
                let most = if most == 0 { u64::MAX } else { most };
                let now = most.min(count - portal.sent);
                for row in 0..now {
                    let value = (first + portal.sent + row).to_string();
                    let mut body = BytesMut::new();
                    body.put_u16(1);
                    body.put_u32(u32::try_from(value.len()).unwrap_or(0));
                    body.put_slice(value.as_bytes());
                    self.say(b'D', &body);
                }
                portal.sent += now;
                if portal.sent < count {
                    return self.say(b's', b"");
                }
                format!("SELECT {count}")
            }
            Meaning::Begin => {
                self.status = Status::Open;
                "BEGIN".to_owned()
            }
            Meaning::Commit if self.status == Status::Open => {
                self.status = Status::Idle;
                "COMMIT".to_owned()
            }
            Meaning::Commit | Meaning::Rollback => {
                self.status = Status::Idle;
                "ROLLBACK".to_owned()
            }
            Meaning::Set => "SET".to_owned(),
            Meaning::Empty => return self.say(b'I', b""),
        };
        self.say(b'C', &text(&[&tag]));
    }

    fn describe_rows(&mut self) {
        let mut body = BytesMut::new();
        body.put_u16(1);
        body.put_slice(&text(&["n"]));
        // No table, no column; `int8`, 8 bytes, no modifier, text.
        body.put_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 8, 255, 255, 255, 255, 0, 0]);
        self.say(b'T', &body);
    }

    fn fail(&mut self, code: &str, reason: &str) {
        let fields = text(&["SERROR", "VERROR", &format!("C{code}"), &format!("M{reason}"), ""]);
        self.say(b'E', &fields);
        self.skipping = true;
        if self.status == Status::Open {
            self.status = Status::Failed;
        }
    }

    fn ready(&mut self) {
        let status = match self.status {
            Status::Idle => b'I',
            Status::Open => b'T',
            Status::Failed => b'E',
        };
        self.say(b'Z', &[status]);
    }

    fn say(&mut self, kind: u8, body: &[u8]) {
        self.output.extend_from_slice(&message(kind, body));
    }
}

/// What a statement means, if anything.
fn understand(statement: &str) -> Option<Meaning> {
    let statement = without_comment(statement).trim().trim_end_matches(';');
    let words: Vec<&str> = statement.split_ascii_whitespace().collect();
    match words.as_slice() {
        [] => Some(Meaning::Empty),
        ["BEGIN"] => Some(Meaning::Begin),
        ["COMMIT"] => Some(Meaning::Commit),
        ["ROLLBACK"] => Some(Meaning::Rollback),
        ["SET", ..] => Some(Meaning::Set),
        ["SELECT", number] => number.parse().ok().map(|first| Meaning::Rows { first, count: 1 }),
        ["SELECT", "generate_series(1,", count] => {
            count.strip_suffix(')')?.parse().ok().map(|count| Meaning::Rows { first: 1, count })
        }
        _ => None,
    }
}

/// A statement without the one comment that it may begin with.
fn without_comment(statement: &str) -> &str {
    let statement = statement.trim_start();
    statement.strip_prefix("/*").and_then(|rest| rest.split_once("*/")).map_or(statement, |(_, rest)| rest)
}

fn is_empty(statement: &str) -> bool {
    without_comment(statement).trim().is_empty()
}

fn take_message(input: &mut BytesMut) -> Option<(u8, Bytes)> {
    let (kind, length) = input.first_chunk::<5>().map(|[kind, length @ ..]| (*kind, u32::from_be_bytes(*length) as usize))?;
    if length < 4 || input.len() < 1 + length {
        return None;
    }
    let mut message = input.split_to(1 + length).freeze();
    message.advance(5);
    Some((kind, message))
}

/// Texts, each ended by a zero byte.
fn text(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| text.bytes().chain([0])).collect()
}

fn first_text(body: &[u8]) -> String {
    let [first, _] = two_texts(body);
    first
}

fn two_texts(body: &[u8]) -> [String; 2] {
    let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    [texts.next().unwrap_or_default(), texts.next().unwrap_or_default()]
}

/// PostgreSQL under the conformance suite.
#[derive(Clone, Copy, Debug)]
pub enum PostgresSubject {
    /// Its operations are simple queries.
    Simple,
    /// Its operations go through the extended protocol.
    Extended,
}

impl PostgresSubject {
    fn ask(self, statement: &str) -> Vec<u8> {
        match self {
            Self::Simple => query(statement).to_vec(),
            Self::Extended => extended(statement),
        }
    }
}

impl Subject for PostgresSubject {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn open(&self, limits: Limits) -> Box<dyn Protocol<OpId>> {
        let options =
            ProtocolOptions { limits, tls: false, plaintext: true, auth: Auth::PASSWORD, shared: false, multiplexes: false };
        Box::new(Postgres::new(options))
    }

    fn upstream(&self) -> Box<dyn Upstream> {
        Box::new(PostgresUpstream::default())
    }

    fn login(&self) -> Vec<Vec<u8>> {
        let startup = startup(&[("user", "ana"), ("database", "bank"), ("application_name", "bench")]);
        vec![startup.to_vec(), message(b'p', b"token\0").to_vec()]
    }

    fn operation(&self, word: &str) -> Vec<u8> {
        self.ask(&format!("/* {word} */ SELECT 1"))
    }

    fn replacement(&self, word: &str) -> Option<Vec<u8>> {
        Some(format!("/* {word} */ SELECT 2").into_bytes())
    }

    fn failing(&self) -> Vec<u8> {
        self.ask("SELECT !")
    }

    /// Simple queries and extended ones in turn, some in an explicit transaction, one that fails before its Sync.
    fn several(&self, count: usize) -> Vec<u8> {
        let one = |number: usize| match number % 6 {
            0 => query("BEGIN").to_vec(),
            1 => extended("SELECT 3"),
            2 => query("SELECT 4; SELECT 5").to_vec(),
            3 => query("COMMIT").to_vec(),
            4 => [parse("s", "SELECT 6"), bind("p", "s"), execute("p", 0), message(b'C', b"Ss\0"), sync()].concat(),
            _ => [bind("p", "nothing"), execute("p", 0), sync()].concat(),
        };
        (0..count).flat_map(one).collect()
    }

    fn large(&self, bytes: usize) -> Vec<u8> {
        self.ask(&format!("SELECT generate_series(1, {})", bytes / 12))
    }

    fn probe(&self) -> Option<String> {
        Some("SELECT 7".to_owned())
    }

    fn completions(&self, received: &[u8]) -> usize {
        messages(received).iter().filter(|(kind, _)| *kind == b'C').count()
    }

    fn errors(&self, received: &[u8]) -> usize {
        messages(received).iter().filter(|(kind, _)| *kind == b'E').count()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    /// What the server says, after the start-up, as one letter for each message; `Z` with its status.
    fn letters(said: &[u8]) -> String {
        let letter = |(kind, body): (u8, Bytes)| match kind {
            b'Z' => format!("Z{}", char::from(body[0])),
            kind => char::from(kind).to_string(),
        };
        messages(said).into_iter().map(letter).collect()
    }

    fn check(sent: &[u8], expected: &str) {
        let mut whole = PostgresUpstream::default();
        assert_eq!(letters(&whole.receive(&startup(&[("user", "ana")]))), "RSSSKZI");
        assert_eq!(letters(&whole.receive(sent)), expected);
        let mut cut = PostgresUpstream::default();
        let all = [startup(&[("user", "ana")]).as_ref(), sent].concat();
        let said: Vec<u8> = all.iter().flat_map(|byte| cut.receive(&[*byte])).collect();
        assert_eq!(letters(&said), format!("RSSSKZI{expected}"), "byte by byte");
    }

    #[test]
    fn the_server_answers_as_postgresql_does() {
        let failing_transaction = [query("BEGIN"), query("!"), query("SELECT 1"), query("COMMIT"), query("SELECT 1")].concat();
        let skipped = [parse("", "!"), bind("", ""), execute("", 0), sync(), query("SELECT 1")].concat();
        let suspended =
            [parse("", "SELECT generate_series(1, 3)"), bind("", ""), execute("", 2), execute("", 2), sync()].concat();
        for (sent, expected) in [
            (query("SELECT 1").to_vec(), "TDCZI"),
            (query("/* a word */ SELECT 1; SELECT 2").to_vec(), "TDCTDCZI"),
            (query("SELECT 1; !").to_vec(), "EZI"),
            (query("").to_vec(), "IZI"),
            (query("SELECT generate_series(1, 3)").to_vec(), "TDDDCZI"),
            (failing_transaction, "CZTEZEEZECZITDCZI"),
            (extended("SELECT 1"), "12TDCZI"),
            (skipped, "EZITDCZI"),
            (suspended, "12DDsDCZI"),
            ([bind("", "none"), sync()].concat(), "EZI"),
            ([parse("s", "SELECT 1"), parse("s", "SELECT 1"), sync()].concat(), "1EZI"),
            ([parse("", "SELECT 1"), parse("", "!"), sync(), bind("", ""), sync()].concat(), "1EZIEZI"),
        ] {
            check(&sent, expected);
        }
    }
}
