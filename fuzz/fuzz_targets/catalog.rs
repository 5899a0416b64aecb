//! What a server answers when it is asked for its catalog, and statements on top of it.
//!
//! Half of the inputs are lines as they come. The other half are a real answer in which lines are left out, doubled, or have another's
//! value in the place of one of theirs: torn, circular and contradictory, but of the right form.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use claviger_sql::{Catalog, Classification, Session, understand};
use libfuzzer_sys::fuzz_target;

/// A real answer, without what belongs to the server itself.
static LINES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let answer = include_str!("../../crates/claviger-sql/tests/catalog.tsv");
    // What users make has numbers from 16384 on.
    let own = |line: &&str| line.split('"').any(|part| part.parse::<u32>().is_ok_and(|id| id >= 16_384));
    answer.lines().filter(|line| own(line) || line.starts_with("path") || line.starts_with("fingerprint")).collect()
});

/// What was read before: of it, what is left out is taken.
static BEFORE: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::read_text(&LINES.join("\n"), &classification()).expect("a real answer is a catalog"));

/// Statements that look at much of it.
const STATEMENTS: [&str; 8] = [
    "select * from customers",
    "select * from v_names, m_balances, events, scoped",
    "update events set at = now() where id = 1",
    "update customers set id = 2 where id = 1",
    "delete from customers",
    "insert into branches select * from v_customers",
    "merge into v_customers v using accounts a on v.id = a.customer_id when matched then update set name = 'x'",
    "select f_ssn(1), f_atomic(), f_touch(1), a_sum(1), 'a' === 1, ('sad'::mood)::pair, 1::positive",
];

fuzz_target!(|bytes: &[u8]| {
    let catalog = match bytes.split_first() {
        Some((first, rest)) if first % 2 == 0 => read(rest),
        Some((_, rest)) => read(torn(rest).as_bytes()),
        None => return,
    };
    let Some(catalog) = catalog else { return };
    let session = Session { path: vec!["pg_catalog".into(), "public".into()], ..Session::default() };
    for text in STATEMENTS {
        let _ = understand(text, &catalog, &session);
    }
});

fn classification() -> Classification {
    let names = ["public.customers", "public.customers.ssn", "public.events.at"];
    names.iter().map(|name| (name.parse().expect("a name"), ["pii".into()].into())).collect()
}

/// Rows as they come over the wire: lines, with tabs between values. An empty value is null.
fn read(bytes: &[u8]) -> Option<Catalog> {
    let value = |value: &[u8]| (!value.is_empty()).then(|| Bytes::copy_from_slice(value));
    let rows: Vec<Vec<_>> =
        bytes.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b'\t').map(value).collect()).collect();
    Catalog::read(&rows, &classification(), Some(&BEFORE)).ok()
}

/// The real answer after what the bytes say is done to it, four for each step.
fn torn(bytes: &[u8]) -> String {
    let mut lines: Vec<String> = LINES.iter().map(|line| (*line).to_owned()).collect();
    for step in bytes.chunks_exact(4) {
        let [what, one, other, place] = step else { continue };
        if lines.is_empty() {
            break;
        }
        // Two lines that stand near each other are mostly of one kind.
        let one = (usize::from(*one) << 2 | usize::from(*what >> 6)) % lines.len();
        let other = (one + usize::from(*other)) % lines.len();
        match what % 4 {
            0 => drop(lines.remove(one)),
            1 => lines.push(lines[other].clone()),
            _ => lines[one] = with_value_of(&lines[one], &lines[other], usize::from(*place)),
        }
    }
    lines.join("\n")
}

/// A line with one of its values replaced by the value that stands at the same place in another.
fn with_value_of(line: &str, other: &str, place: usize) -> String {
    let mut values: Vec<&str> = line.split(", ").collect();
    let others: Vec<&str> = other.split(", ").collect();
    let place = place % values.len();
    let value = |pair: &str| pair.split_once(" : ").map(|(_, value)| value.trim_end_matches('}').to_owned());
    let new = others.get(place % others.len()).and_then(|pair| value(pair));
    let (Some((name, _)), Some(new)) = (values[place].split_once(" : "), new) else {
        return line.to_owned();
    };
    let end = if place + 1 == values.len() { "}" } else { "" };
    let pair = format!("{name} : {new}{end}");
    values[place] = &pair;
    values.join(", ")
}
