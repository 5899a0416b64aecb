//! Statements of anybody, against a real catalog, on a stack as small as a session's.
//!
//! Random bytes are hardly ever SQL. So one half of the inputs are strung together from words, each byte standing for one.
#![no_main]

use std::sync::LazyLock;

use claviger_sql::{Catalog, Classification, Session, Value, understand, with_values};
use libfuzzer_sys::fuzz_target;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let answer = include_str!("../../crates/claviger-sql/tests/catalog.tsv");
    Catalog::read_text(answer, &Classification::default()).expect("the fixture is a catalog")
});

/// The words of all statements whose meaning is known.
static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let table = include_str!("../../crates/claviger-sql/tests/meanings.txt");
    let statements = table.lines().filter(|line| !line.starts_with("  ") && !line.starts_with('#'));
    let mut words: Vec<&str> = statements.flat_map(|line| line.split_inclusive([' ', '(', ')', ',', '.', ';'])).collect();
    words.sort_unstable();
    words.dedup();
    words
});

fuzz_target!(|bytes: &[u8]| {
    let text = match bytes.split_first() {
        Some((first, rest)) if first % 2 == 0 => String::from_utf8_lossy(rest).into_owned(),
        Some((_, rest)) => strung(rest),
        None => return,
    };
    let session = Session { path: vec!["pg_catalog".into(), "public".into()], ..Session::default() };
    for text in [with_values(&text, &[Value::Text("1'"), Value::Null]), text] {
        if let Ok(statements) = understand(&text, &CATALOG, &session) {
            for statement in statements {
                assert!(text.get(statement.span).is_some());
            }
        }
    }
});

/// Words for pairs of bytes.
fn strung(bytes: &[u8]) -> String {
    let word = |pair: &[u8]| match pair {
        [high, low] => WORDS[usize::from(u16::from_be_bytes([*high, *low])) % WORDS.len()],
        _ => "",
    };
    bytes.chunks(2).map(word).collect()
}
