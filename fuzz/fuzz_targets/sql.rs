//! Statements of anybody, against a real catalog, on a stack as small as a session's.
#![no_main]

use std::sync::LazyLock;

use claviger_sql::{Catalog, Classification, Session, understand};
use libfuzzer_sys::fuzz_target;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let answer = include_str!("../../crates/claviger-sql/tests/catalog.tsv");
    Catalog::read_text(answer, &Classification::default()).expect("the fixture is a catalog")
});

fuzz_target!(|text: &str| {
    let session = Session { path: vec!["pg_catalog".into(), "public".into()], ..Session::default() };
    if let Ok(statements) = understand(text, &CATALOG, &session) {
        for statement in statements {
            assert!(text.get(statement.span).is_some());
        }
    }
});
