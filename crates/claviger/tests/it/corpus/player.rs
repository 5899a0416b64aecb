//! A client that plays the steps of a case, and looks at every byte that it is sent.

use crate::harness::{Raw, error_field, frame, startup_packet, terminated};

use super::cases::{Step, What};

/// One message: its type and its body.
pub(crate) type Message = (u8, Vec<u8>);

/// A client's session.
pub(crate) struct Player {
    raw: Raw,
}

impl Player {
    /// A session behind the gateway, on a connection that stands open.
    pub(crate) fn enter(mut raw: Raw, user: &str, connection: &str, token: &str) -> Self {
        raw.login(user, connection, token).unwrap_or_else(|error| panic!("{connection}: {}", String::from_utf8_lossy(&error.1)));
        Self { raw }
    }

    /// A session straight on a server that trusts everybody.
    pub(crate) fn direct(port: u16, user: &str, database: &str) -> Self {
        let mut raw = Raw::plain(port);
        raw.send(&startup_packet(&[("user", user), ("database", database)]));
        let answers = raw.until_ready();
        assert!(matches!(answers.last(), Some((b'Z', _))), "{answers:?}");
        Self { raw }
    }

    /// Plays one step; what came in answer.
    pub(super) fn play(&mut self, step: &Step) -> Vec<Message> {
        assert!(step.unknown.is_empty(), "steps with {:?} are not understood", step.unknown);
        let bytes = match &step.what {
            What::Nothing => panic!("a step is not understood"),
            What::Replication(_) => panic!("a replication command needs a session of its own"),
            What::Query(text) => frame(b'Q', &terminated(text)),
            What::Hex(hex) => frame(b'Q', &[unhex(hex), vec![0]].concat()),
            What::FastPath(_) => fast_path(step),
            What::Extended(text) => {
                let parse = frame(b'P', &[terminated(&step.stmt), terminated(text), vec![0, 0]].concat());
                [parse, bind(&step.stmt, step), execute(&step.portal, step), frame(b'S', &[])].concat()
            }
            What::Bind(name) => [bind(name, step), execute(&step.portal, step), frame(b'S', &[])].concat(),
            What::Portal(name) => [execute(name, step), frame(b'S', &[])].concat(),
        };
        let sync = !matches!(step.what, What::Query(_) | What::Hex(_));
        self.exchange(&bytes, sync, "")
    }

    /// A simple query, with data for whoever asks for it; what came in answer.
    pub(crate) fn query(&mut self, text: &str, data: &str) -> Vec<Message> {
        self.exchange(&frame(b'Q', &terminated(text)), false, data)
    }

    /// Sends this, and reads to the server's readiness or the end.
    pub(crate) fn exchange(&mut self, bytes: &[u8], sync: bool, data: &str) -> Vec<Message> {
        self.raw.send(bytes);
        let mut answers = Vec::new();
        while let Some(message) = self.raw.message() {
            let kind = message.0;
            answers.push(message);
            match kind {
                b'Z' => break,
                // The Sync that has been sent is read as data.
                b'G' if sync => self.raw.send(&[frame(b'c', &[]), frame(b'S', &[])].concat()),
                b'G' => self.raw.send(&[frame(b'd', data.as_bytes()), frame(b'c', &[])].concat()),
                _ => {}
            }
        }
        answers
    }

    /// Whether it still answers, once a transaction that failed is given up.
    pub(crate) fn lives(&mut self) -> bool {
        self.query("ROLLBACK", "");
        let answers = self.query("SELECT 'alive'", "");
        answers.iter().any(|(kind, body)| *kind == b'D' && body.ends_with(b"alive"))
    }
}

/// The errors among messages: SQLSTATE and message.
pub(crate) fn errors(messages: &[Message]) -> impl Iterator<Item = (String, String)> {
    messages.iter().filter(|(kind, _)| *kind == b'E').map(|error| (error_field(error, b'C'), error_field(error, b'M')))
}

/// The cells of rows, row by row, as bytes; a line of a COPY is a row of one cell.
pub(crate) fn rows(messages: &[Message]) -> Vec<Vec<Option<Vec<u8>>>> {
    messages
        .iter()
        .filter_map(|(kind, body)| match kind {
            b'D' => Some(cells(body)),
            b'd' => Some(vec![Some(body.clone())]),
            _ => None,
        })
        .collect()
}

fn cells(mut body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let count = u16::from_be_bytes(take(&mut body));
    (0..count)
        .map(|_| {
            let length = usize::try_from(i32::from_be_bytes(take(&mut body))).ok()?;
            let (cell, rest) = body.split_at(length);
            body = rest;
            Some(cell.to_vec())
        })
        .collect()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (head, rest) = bytes.split_first_chunk().expect("a row is whole");
    *bytes = rest;
    *head
}

fn bind(statement: &str, step: &Step) -> Vec<u8> {
    let mut body = [terminated(&step.portal), terminated(statement), vec![0, 0]].concat();
    body.extend_from_slice(&u16::try_from(step.params.len()).unwrap().to_be_bytes());
    step.params.iter().for_each(|param| value(&mut body, param.as_deref()));
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&step.result_format.to_be_bytes());
    frame(b'B', &body)
}

/// Describe if it is asked for, and Execute: as often as it takes if rows come in parts, at most a hundred times.
fn execute(portal: &str, step: &Step) -> Vec<u8> {
    let describe = if step.describe { frame(b'D', &[&[b'P'][..], &terminated(portal)].concat()) } else { Vec::new() };
    let execute = frame(b'E', &[terminated(portal), step.max_rows.to_be_bytes().to_vec()].concat());
    [describe, execute.repeat(if step.max_rows == 0 { 1 } else { 100 })].concat()
}

/// A function call, whose OID the case has put into the first parameter's place.
fn fast_path(step: &Step) -> Vec<u8> {
    let (function, arguments) = step.params.split_first().expect("the function's OID");
    let mut body = function.as_deref().unwrap().parse::<u32>().unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(&u16::try_from(arguments.len()).unwrap().to_be_bytes());
    arguments.iter().for_each(|argument| value(&mut body, argument.as_deref()));
    body.extend_from_slice(&[0, 0]);
    frame(b'F', &body)
}

fn value(body: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => {
            body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            body.extend_from_slice(value.as_bytes());
        }
        None => body.extend_from_slice(&(-1i32).to_be_bytes()),
    }
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}
