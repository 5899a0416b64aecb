//! What people and their agents ask all day runs, and all that is not masked comes through byte for byte.

use std::fs;
use std::path::Path;

use crate::corpus::ground::trusting;
use crate::corpus::player::{Player, errors, rows};
use crate::harness::{Conn, Gateway, Major, Message, frame, terminated};

on_each_server!(analysts_get_their_answers);

const BANK: &str = include_str!("../../../../demo/bank.sql");
const DEMO: &str = include_str!("../../../../demo/claviger.toml");
const ROLE: &str = "claviger_bank";

const CORPORA: [&str; 2] =
    [include_str!("../../../../tests/corpus/analyst.sql"), include_str!("../../../../tests/corpus/tools.sql")];

/// What is refused, and why.
const REFUSED: &[(&str, &str)] = &[
    ("email-lookup", "whether there is a row tells whose address it is"),
    ("account-lookup", "whether there is a row tells whose number it is"),
    ("by-email-domain", "groups, and how large they are, tell of values"),
    ("by-age-band", "groups, and how large they are, tell of values"),
    ("oldest-customers", "the order tells who is older"),
    // The pack for agents keeps exports of tables with labels for those who may approve them.
    ("duplicate-names", "identifiers of all customers leave"),
    ("modulo", "parts of identifiers of all accounts leave"),
    ("shared-phones-with-names", "names of all customers leave"),
    ("duplicate-ssns", "all numbers leave, if masked"),
    ("busy-account-numbers", "the same"),
];

/// At least this many of a hundred queries run.
const BAR: usize = 97;

async fn analysts_get_their_answers(major: Major) {
    let dir = tempfile::tempdir().unwrap();
    crate::harness::open_to_all(dir.path());
    let trusting = trusting(dir.path());
    // Rows without an order come in the same one each time.
    let server = server!(major, &[&trusting, "synchronize_seqscans=off", "max_parallel_workers_per_gather=0", "autovacuum=off"]);
    // What is left are statements: the file is made for psql.
    let bank = BANK.replace("\\set ON_ERROR_STOP on", "").replace("\\g /dev/null", ";");
    server.admin("bank").await.batch_execute(&bank).await.unwrap();
    let classify = DEMO.split_once("[connections.classify]").unwrap().1.split_once("\n[").unwrap().0;
    let conn = Conn::to("bank", &server)
        .user(ROLE)
        .set(&format!("labels = [\"environment.production\"]\n[connections.classify]{classify}"));
    let mut gateway = Gateway::configure(&[conn], &policies(), "");
    gateway.permit_no_statements();
    gateway.add(&["user", "alice", "--group", "engineers"]);
    gateway.add(&["workload", "assistant", "--group", "agents", "--sponsor", "alice"]);
    gateway.must(&["principals", "delegate", "assistant", "alice"]);
    gateway.start();
    let tokens =
        [("alice", gateway.token(&["alice"]), false), ("assistant", gateway.token(&["alice", "--act", "assistant"]), true)];
    let queries: Vec<Query<'_>> = CORPORA.iter().flat_map(|file| queries(file)).collect();
    let (mut ran, mut faults) = (0, Vec::new());
    for (user, token, binary) in &tokens {
        let mut through = Player::enter(gateway.raw("bank"), user, "bank", token);
        let mut direct = Player::direct(server.port, ROLE, "bank");
        ran += ask_all(user, &queries, [&mut through, &mut direct], *binary, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let asked = queries.len() * tokens.len();
    assert!(ran * 100 >= asked * BAR, "only {ran} of {asked} ran");
    gateway.verify();
}

/// The policies of the demo, with the packs that it uses.
fn policies() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let demo = ["connect", "statements"].map(|name| format!("demo/policies/{name}.cedar"));
    let packs = ["agents", "agents-mass-export", "engineers"].map(|name| format!("policies/{name}.cedar"));
    demo.iter().chain(&packs).map(|name| fs::read_to_string(root.join(name)).unwrap()).collect()
}

/// Asks all through the gateway and directly; how many ran. What is otherwise than it is to be is among the faults.
fn ask_all(user: &str, queries: &[Query<'_>], mut sides: [&mut Player; 2], binary: bool, faults: &mut Vec<String>) -> usize {
    let mut ran = 0;
    for query in queries {
        let [got, expected] = sides.each_mut().map(|player| player.ask(query, binary));
        let fault = match errors(&got).next().filter(|_| errors(&expected).next().is_none()) {
            Some((code, why)) if code == "42501" => Some(why).filter(|_| !REFUSED.iter().any(|(name, _)| *name == query.name)),
            _ => {
                ran += 1;
                query.difference(&got, &expected)
            }
        };
        faults.extend(fault.map(|fault| format!("{user}: {}: {fault}", query.name)));
    }
    eprintln!("{user}: {ran} of {} ran", queries.len());
    ran
}

impl Player {
    /// Asks as a simple query, or as a prepared one for values in binary. What takes parameters is always prepared.
    fn ask(&mut self, query: &Query<'_>, binary: bool) -> Vec<Message> {
        // Several statements can come only so.
        if query.text.contains("; ") || (!binary && query.takes.is_empty()) {
            return self.query(query.text, "");
        }
        let mut bind = [&[0; 4][..], &u16::try_from(query.takes.len()).unwrap().to_be_bytes()].concat();
        for value in &query.takes {
            bind.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            bind.extend(value.as_bytes());
        }
        bind.extend([0, 1, 0, u8::from(binary)]);
        let parts = [
            frame(b'P', &[terminated(""), terminated(query.text), vec![0, 0]].concat()),
            frame(b'B', &bind),
            frame(b'D', b"P\0"),
            frame(b'E', b"\0\0\0\0\0"),
            frame(b'S', b""),
        ];
        self.exchange(&parts.concat(), true, "")
    }
}

/// A query, and what of its answer is its own.
struct Query<'a> {
    name: &'a str,
    text: &'a str,
    masks: Vec<&'a str>,
    finds: Vec<&'a str>,
    takes: Vec<&'a str>,
    /// Rows that are sorted alike may be others.
    ties: bool,
}

/// The queries of a file: a line of comment with a name, then the text up to a semicolon at the end of a line.
fn queries(file: &str) -> Vec<Query<'_>> {
    let texts = file.split(";\n").filter(|text| !text.trim().is_empty());
    texts.map(query).collect()
}

fn query(whole: &str) -> Query<'_> {
    let start = whole.lines().rfind(|line| line.starts_with("-- ")).unwrap_or_else(|| panic!("no name: {whole}"));
    let text = whole.split_once(start).unwrap().1.trim();
    let (name, kept) = start[3..].split_once(": ").unwrap_or((&start[3..], ""));
    let columns = |what: &str| {
        let list = kept.split("; ").find_map(|part| part.strip_prefix(what)).unwrap_or_default();
        list.split(", ").map(str::trim).filter(|name| !name.is_empty()).collect()
    };
    Query {
        name,
        text,
        masks: columns("masks "),
        finds: columns("finds "),
        takes: columns("takes "),
        ties: kept.split("; ").any(|part| part == "ties"),
    }
}

impl Query<'_> {
    /// What is otherwise than it is to be.
    fn difference(&self, got: &[Message], expected: &[Message]) -> Option<String> {
        let rest = |messages: &[Message]| messages.iter().filter(|(kind, _)| *kind != b'D').cloned().collect::<Vec<_>>();
        if rest(got) != rest(expected) {
            let [got, expected] = [got, expected].map(|messages| rest(messages).iter().map(shown).collect::<Vec<_>>());
            return Some(format!("{got:?}, not {expected:?}"));
        }
        let columns = columns(expected);
        if let Some(missing) = self.masks.iter().chain(&self.finds).find(|name| !columns.iter().any(|column| column == *name)) {
            return Some(format!("there is no column {missing}"));
        }
        let (got, expected) = (rows(got), rows(expected));
        if got.len() != expected.len() {
            return Some(format!("{} rows, not {}", got.len(), expected.len()));
        }
        if self.ties {
            return None;
        }
        let cells = got.iter().flatten().zip(expected.iter().flatten()).zip(columns.iter().cycle());
        let faulty = cells.into_iter().find(|((got, expected), column)| {
            let (masked, found) = (self.masks.contains(&column.as_str()), self.finds.contains(&column.as_str()));
            !found && (masked && expected.is_some()) == (got == expected)
        });
        faulty.map(|((got, expected), column)| {
            let shown = |cell: &Option<Vec<u8>>| cell.as_ref().map(|cell| cell.escape_ascii().to_string());
            format!("{column} is {:?}, and {:?} directly", shown(got), shown(expected))
        })
    }
}

fn shown((kind, body): &Message) -> String {
    format!("{} {}", char::from(*kind), body.escape_ascii())
}

/// The names of columns, by what was said of the rows.
fn columns(messages: &[Message]) -> Vec<String> {
    let Some((_, body)) = messages.iter().find(|(kind, _)| *kind == b'T') else { return Vec::new() };
    let mut rest = &body[2..];
    let mut names = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = &rest[end + 19..];
    }
    names
}
