//! What statements mean, in a table that people can read: `meanings.txt`.
//!
//! Each statement is followed by what it does, a line for each of its parts. `BLESS=1` writes the table anew, to be read before it is
//! committed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use claviger_model::{Carried, Column, Control, Meaning, Order, Output, Sum};
use claviger_sql::{Affected, Catalog, Classification, Session, Statement, affected, shape, understand};

#[test]
fn statements_mean_what_the_table_says() {
    compare("tests/meanings.txt", effects);
}

#[test]
fn statements_disclose_what_the_table_says() {
    compare("tests/disclosures.txt", disclosure);
}

#[test]
fn rows_are_told_as_the_table_says() {
    compare_with("tests/affected.txt", |text, catalog| {
        let session = session();
        match affected(text, catalog, &session) {
            Ok(Affected::Listed(rows)) => format!("  lists {rows}\n"),
            Ok(Affected::Asked(question)) => {
                let uncounted = question.count().err().map(|why| format!("  not counted: {why}\n")).unwrap_or_default();
                let at_most = question.at_most.map(|why| format!("  at most: {why}\n")).unwrap_or_default();
                let parameters = question.parameters.iter().map(|n| format!("  parameter {n}\n")).collect::<String>();
                // It must mean something itself.
                understand(&question.query, catalog, &session).unwrap();
                format!("  {}\n{uncounted}{at_most}{parameters}", question.query)
            }
            Err(why) => format!("  not told: {why}\n"),
        }
    });
}

fn compare(path: &str, described: fn(&Meaning) -> String) {
    compare_with(path, |text, catalog| said(text, catalog, described));
}

fn compare_with(path: &str, said: impl Fn(&str, &Catalog) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let table = std::fs::read_to_string(&path).unwrap();
    let catalog = catalog();
    let mut now = String::new();
    for line in table.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(now, "{line}").unwrap();
        if !line.is_empty() && !line.starts_with('#') {
            now.push_str(&said(line, &catalog));
        }
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    for (was, is) in table.lines().zip(now.lines()) {
        assert_eq!(was, is, "the table is another; BLESS=1 writes it anew");
    }
    assert_eq!(table.len(), now.len());
}

#[test]
fn event_triggers_run_beside_what_sets_them_off() {
    let answer = include_str!("catalog.tsv");
    let touch = answer.lines().find(|line| line.starts_with("function") && line.contains("\"f_touch\"")).unwrap();
    let id = touch.split('"').nth(3).unwrap();
    let runs = |event: &str, tags: &str, text: &str| {
        let facts = format!("event_trigger\t{{\"function\": \"{id}\", \"event\": \"{event}\", \"tags\": {tags}}}\n");
        let catalog = Catalog::read_text(&format!("{answer}{facts}"), &Classification::default()).unwrap();
        let said = said(text, &catalog, effects);
        assert_eq!(said.contains("execute: public.f_touch"), said.contains("update by way of public.f_touch: public.notes.body"));
        said.contains("f_touch")
    };
    for (event, tags, text, expected) in [
        ("ddl_command_start", "null", "create table t (id int)", true),
        ("ddl_command_end", "null", "select 1 as one into t", true),
        ("ddl_command_end", "[\"DROP TABLE\"]", "create table t (id int)", false),
        ("ddl_command_end", "[\"DROP TABLE\"]", "drop table notes", true),
        ("ddl_command_end", "null", "comment on table notes is 'x'", true),
        ("ddl_command_end", "null", "refresh materialized view m_balances", true),
        ("ddl_command_end", "null", "create role r", false),
        ("sql_drop", "null", "create temporary table t (id int)", false),
        ("sql_drop", "null", "alter table notes drop column body", true),
        ("table_rewrite", "null", "drop table notes", false),
        ("login", "null", "create table t (id int)", false),
        ("ddl_command_end", "null", "insert into notes (body) values ('x')", false),
    ] {
        assert_eq!(runs(event, tags, text), expected, "{event} {tags} {text}");
    }
}

/// Values of which one or the other would count if any did.
const NUMBERS: &[&str] = &["0", "1", "7", "2000", "1000000000", "99999999999999999999", "1.5"];
const TEXTS: &[&str] = &["'a'", "'%'", "'infinity'", "'it''s'", "'t'", "'0'", "'customers'", "'search_path'"];

#[test]
fn what_texts_of_one_shape_do_is_the_same_whatever_the_values_are() {
    let (catalog, session) = (catalog(), session());
    let read = |text: &str| understand(text, &catalog, &session).ok();
    let tables = [include_str!("meanings.txt"), include_str!("disclosures.txt"), include_str!("affected.txt")];
    let mut shared = 0;
    for text in tables.iter().flat_map(|table| table.lines()).filter(|line| !line.starts_with([' ', '#'])) {
        let Some(shape) = shape(text) else { continue };
        let (Some(own), Some(its)) = (read(text), read(&shape)) else { continue };
        let meanings = |statements: &[Statement]| statements.iter().map(|one| one.meaning.clone()).collect::<Vec<_>>();
        if meanings(&own) != meanings(&its) || its.iter().any(|one| one.depends_on_values || !one.transitions.is_empty()) {
            continue;
        }
        shared += 1;
        for n in 0..2 * TEXTS.len() {
            let other = filled(&shape, n);
            assert_eq!(read(&other).map(|read| meanings(&read)), Some(meanings(&own)), "{other}\nas {text}");
        }
    }
    assert!(shared > 70, "{shared}");
}

/// The text with values in place of its parameters, from this one on; what is added is a number.
fn filled(shape: &str, first: usize) -> String {
    let mut parts = shape.split('$');
    let mut filled = parts.next().unwrap().to_owned();
    for (n, part) in parts.enumerate() {
        let adds = filled.trim_end().ends_with(['+', '-']);
        let values = if adds || (first + n).is_multiple_of(2) { NUMBERS } else { TEXTS };
        filled += values[(first + n) / 2 % values.len()];
        filled += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    filled
}

#[test]
fn what_may_hang_on_a_value_says_so() {
    let (catalog, session) = (catalog(), session());
    for (text, expected) in [
        ("delete from notes where id = $1", false),
        ("delete from notes where id + $1 = $2", false),
        ("update customers set balance = balance + $1 where id = $2", false),
        ("insert into notes (body) values ($1)", false),
        ("delete from notes where id < $1", true),
        ("delete from notes where id < 0 + $1", true),
        ("delete from notes where id < (select $1::int)", true),
        ("delete from notes where id between 0 and abs($1)", true),
        ("delete from notes where (id, body) < ($1, $2)", true),
        ("delete from notes where body like $1 || '%'", true),
        ("select body from notes limit 1 + $1", true),
        ("select set_config('search' || $1, 'x', false)", true),
        ("select nextval(('a' || $1)::regclass)", true),
        ("delete from notes where id in (select g from generate_series(1, $1) g)", true),
    ] {
        let depends = understand(text, &catalog, &session).unwrap().iter().any(|one| one.depends_on_values);
        assert_eq!(depends, expected, "{text}");
    }
}

fn catalog() -> Catalog {
    let labels = [("public.customers.ssn", "pii.ssn"), ("public.customers.account_number", "pci.account")];
    let labels: Classification =
        labels.iter().map(|(name, label)| (name.parse().unwrap(), Arc::from([Arc::from(*label)]))).collect();
    Catalog::read_text(include_str!("catalog.tsv"), &labels).unwrap()
}

fn session() -> Session {
    Session {
        path: vec!["pg_catalog".into(), "public".into()],
        creates_in: Some("public".into()),
        role: "keeper".into(),
        login: "keeper".into(),
        ..Session::default()
    }
}

fn said(text: &str, catalog: &Catalog, described: fn(&Meaning) -> String) -> String {
    match understand(text, catalog, &session()) {
        Err(error) => format!("  ! {error}\n"),
        Ok(statements) => statements.iter().map(|statement| described(&statement.meaning)).collect(),
    }
}

fn effects(meaning: &Meaning) -> String {
    let mut said = format!("  {}", meaning.class);
    let hazards: Vec<&str> = meaning.hazards.iter().map(|hazard| hazard.as_str()).collect();
    if !hazards.is_empty() {
        write!(said, " [{}]", hazards.join(" ")).unwrap();
    }
    said.push('\n');
    let mut last = String::new();
    for effect in &meaning.effects {
        let through = effect.through.as_ref().map_or(String::new(), |through| format!(" by way of {through}"));
        let head = format!("    {}{through}:", effect.verb.as_str());
        if head == last {
            writeln!(said, "{:1$}{2}", "", head.len() + 1, effect.object).unwrap();
        } else {
            writeln!(said, "{head} {}", effect.object).unwrap();
        }
        last = head;
    }
    said
}

fn disclosure(meaning: &Meaning) -> String {
    let disclosure = &meaning.disclosure;
    let names = |columns: &BTreeSet<Arc<Column>>| columns.iter().map(|column| name(column)).collect::<Vec<_>>().join(" ");
    let mut said = format!("  {}\n", meaning.class);
    for (n, output) in disclosure.outputs.iter().enumerate() {
        match output {
            Output::Plain => {}
            Output::Copy(column) => writeln!(said, "    {}: is {}", n + 1, name(column)).unwrap(),
            Output::Made(columns) => writeln!(said, "    {}: made of {}", n + 1, names(columns)).unwrap(),
            Output::Summed(Sum { column, least, sorts, limit }) => {
                writeln!(said, "    {}: sums up {}, {least} at least", n + 1, name(column)).unwrap();
                limit.iter().flatten().for_each(|part| writeln!(said, "      {} at {}", part.words, part.at).unwrap());
                if *sorts {
                    writeln!(said, "      which sorts").unwrap();
                }
            }
        }
    }
    if let Some(rest) = &disclosure.rest {
        writeln!(said, "    rest: made of {}", names(rest)).unwrap();
    }
    for Control { column, equals } in &disclosure.control {
        let equals = equals.as_ref().map_or(String::new(), |other| format!(", by being equal to {}", name(other)));
        writeln!(said, "    decides: {}{equals}", name(column)).unwrap();
    }
    if let Some(Order { columns, sorted }) = &disclosure.order {
        writeln!(said, "    decides in which order: {}, but for", names(columns)).unwrap();
        sorted
            .iter()
            .for_each(|part| writeln!(said, "      {} at {}", part.words.trim_start_matches([',', ' ']), part.at).unwrap());
    }
    for Carried { from, into } in &disclosure.carried {
        let into = into.as_ref().map_or("elsewhere".to_owned(), |into| format!("into {}", name(into)));
        writeln!(said, "    carried: {} {into}", name(from)).unwrap();
    }
    if disclosure.anything {
        writeln!(said, "    anything").unwrap();
    }
    if let Some(copy) = &disclosure.copy {
        writeln!(said, "    {copy:?}").unwrap();
    }
    said
}

fn name(column: &Column) -> String {
    format!("{}.{}", column.table, column.name)
}
