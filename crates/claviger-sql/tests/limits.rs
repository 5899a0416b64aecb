//! Texts that are made to be too much.

#![allow(clippy::unwrap_used)]

use claviger_sql::{Catalog, NotUnderstood, Session, understand};

fn meaning_of(text: &str) -> Result<usize, NotUnderstood> {
    understand(text, &Catalog::default(), &Session::default()).map(|statements| statements.len())
}

/// A thread of a session has two mebibytes.
fn in_little_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(test).unwrap().join().unwrap();
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    in_little_stack(|| {
        for (before, after) in [
            ("(", ")"),
            ("(select ", ")"),
            ("array[", "]"),
            ("abs(", ")"),
            ("- ", ""),
            ("not ", ""),
            ("case when ", " then true end"),
            ("row(", ")"),
            ("coalesce(", ")"),
            ("xmlforest(", ")"),
            ("json_array(", ")"),
            ("exists(select ", ")"),
        ] {
            for depth in [10, 100, 1_000, 10_000, 100_000] {
                let text = format!("select {}true{}", before.repeat(depth), after.repeat(depth));
                assert!(meaning_of(&text) != Ok(0), "{before}");
            }
        }
        for depth in [10, 100, 1_000, 10_000] {
            let from = format!("select 1 from {}(select 1) t{}", "(select 1 from ".repeat(depth), ") t".repeat(depth));
            let joins = format!("select 1 from {}t{}", "(".repeat(depth), " cross join t)".repeat(depth));
            let with = format!("{}select 1{}", "with t as (".repeat(depth), ") select 1".repeat(depth));
            let explained = format!("{}select 1", "explain ".repeat(depth));
            for text in [from, joins, with, explained] {
                assert!(meaning_of(&text) != Ok(0));
            }
        }
    });
}

#[test]
fn what_is_long_and_not_deep_is_understood() {
    in_little_stack(|| {
        for text in [
            format!("select 1{}", " + 1".repeat(20_000)),
            format!("select ''{}", " || 'x'".repeat(20_000)),
            format!("select true{}", " and true".repeat(20_000)),
            format!("select 1{}", " union all select 1".repeat(5_000)),
            format!("select 1 in (0{})", ", 1".repeat(50_000)),
            format!("values (1){}", ", (1)".repeat(50_000)),
        ] {
            assert_eq!(meaning_of(&text), Ok(1), "{}", &text[..40]);
        }
        assert_eq!(meaning_of(&"select 1;".repeat(10_000)), Ok(10_000));
    });
}

#[test]
fn what_is_too_long_is_refused() {
    let text = format!("select '{}'", "x".repeat(5 << 20));
    assert_eq!(meaning_of(&text), Err(NotUnderstood::TooComplex));
}

#[test]
fn a_text_of_nothing_has_no_statements() {
    for text in ["", ";", " ;; ", "-- nothing", "/* nothing */ ;"] {
        assert_eq!(meaning_of(text), Ok(0), "{text:?}");
    }
    assert_eq!(meaning_of("select 1\0"), Err(NotUnderstood::Syntax));
}
