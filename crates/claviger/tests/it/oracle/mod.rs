//! Never fewer effects than really happen: statements are understood, run on a real server, and what they did is compared.
//!
//! The *tables* oracle counts the rows that came, changed and went in every table, the server's own among them, and looks for each in
//! the effects. The *privileges* oracle lets a role run the statement again that has exactly the privileges that the effects amount
//! to: a refusal by the server says what was not reported. The *origins* oracle gives every column a label, and looks in what a statement was
//! understood to show for the columns that the server says its answer's are. All are long, and ignored: `bench/soak oracle`, or
//! `cargo nextest run -p claviger --test it --run-ignored only -E 'test(oracle)'`.

mod generate;
mod origins;
mod privileges;
pub(crate) mod script;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use generate::Chance;
use script::Sent;
use watch::Watch;

use crate::corpus::ground::trusting;
use crate::corpus::player::errors;
use crate::harness::{Major, Server, open_to_all, run, skip};
use crate::soak::figure;

/// How many statements are made by chance; `ORACLE_STATEMENTS` says otherwise.
const GENERATED: u64 = 10_000;

#[test]
#[ignore = "minutes"]
fn generated_statements_do_no_more_than_they_are_said_to() {
    run(generated(Major::V15));
}

#[test]
#[ignore = "minutes"]
fn generated_statements_do_no_more_than_they_are_said_to_on_18() {
    run(generated(Major::V18));
}

/// PostgreSQL's own regression tests, which `tests/suites/run regress` obtains.
#[test]
#[ignore = "minutes"]
fn regression_statements_do_no_more_than_they_are_said_to() {
    run(regression(Major::V15, "15"));
}

#[test]
#[ignore = "minutes"]
fn regression_statements_do_no_more_than_they_are_said_to_on_18() {
    run(regression(Major::V18, "18"));
}

fn start(major: Major) -> Option<(Server, tempfile::TempDir)> {
    let dir = tempfile::Builder::new().prefix("claviger-oracle").tempdir().unwrap();
    open_to_all(dir.path());
    let server = Server::start(major, &[&trusting(dir.path()), "autovacuum=off", "max_prepared_transactions=4", "jit=off"])?;
    Some((server, dir))
}

/// What was seen, in numbers, and what must not have been.
#[derive(Default)]
struct Tally {
    played: u64,
    done: u64,
    refused: u64,
    unknown: u64,
    watched: u64,
    granted: u64,
    wrong: BTreeMap<String, String>,
}

impl Tally {
    fn close(self, what: &str) {
        let Self { played, done, refused, unknown, watched, granted, wrong } = self;
        figure(&format!(
            "{what}: {played} statements, {done} done by the server, of which {refused} not understood and {unknown} not wholly; \
             {watched} compared with tables, {granted} with privileges; {} wrong",
            wrong.len()
        ));
        let wrong: Vec<String> = wrong.iter().map(|(what, text)| format!("{what}\n    {}", text.trim())).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

async fn generated(major: Major) {
    let Some((server, _dir)) = start(major) else { return };
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/fixture.sql");
    let admin = server.admin("bank").await;
    admin.batch_execute("drop table customers").await.unwrap();
    admin.batch_execute(&fs::read_to_string(fixture).unwrap()).await.unwrap();
    admin.batch_execute("create role probe; grant usage on schema public, shadow to probe").await.unwrap();
    let mut watch = Watch::new(server.port, "bank", "set statement_timeout = '5s'");
    let count = std::env::var("ORACLE_STATEMENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(GENERATED);
    let mut tally = Tally::default();
    for seed in 1..=count {
        one_generated(&mut watch, &Chance::new(seed).text(), &mut tally);
    }
    tally.close("statements by chance");
}

/// Plays a statement twice, as who may do all and as who may do what it is said to, and takes everything back.
fn one_generated(watch: &mut Watch, text: &str, tally: &mut Tally) {
    tally.played += 1;
    let (meanings, shown) = (watch.understood(text), watch.shown(text));
    watch.run("deallocate all");
    watch.run("begin");
    watch.run("savepoint before");
    let before = watch.counts();
    let answers = watch.run(text);
    let done = errors(&answers).next().is_none();
    if !done {
        watch.run("rollback");
        return;
    }
    tally.done += 1;
    let Some(meanings) = meanings else {
        tally.refused += 1;
        watch.run("rollback");
        return;
    };
    let after = watch.counts();
    tally.watched += 1;
    let origins = shown.map(|shown| watch.origins_unsaid(&answers, &shown)).unwrap_or_default();
    for unsaid in watch.unsaid(&meanings, &before, &after).into_iter().chain(origins) {
        tally.wrong.insert(unsaid, text.to_owned());
    }
    watch.run("rollback to before");
    watch.run("deallocate all");
    match privileges::grants(&meanings, watch.catalog()) {
        Some(grants) => {
            tally.granted += 1;
            for grant in &grants {
                let answers = watch.run(grant);
                assert!(errors(&answers).next().is_none(), "{grant}: {:?}", errors(&answers).next());
            }
            watch.run("set local role probe");
            let refused = errors(&watch.run(text)).find(|(code, _)| code == "42501");
            if let Some((_, message)) = refused {
                tally.wrong.insert(message, format!("{text}\n    {grants:?}"));
            }
        }
        None => tally.unknown += 1,
    }
    watch.run("rollback");
}

/// Where `tests/suites/run regress` puts the tests.
fn regression_source(major: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/postgres.sh");
    let cache = Command::new(script).arg("cache").output().unwrap().stdout;
    let cache = String::from_utf8(cache).unwrap();
    Path::new(cache.trim()).join(format!("suites/postgresql-{major}/src/test/regress"))
}

async fn regression(major: Major, name: &str) {
    let source = regression_source(name);
    if !source.join("parallel_schedule").is_file() {
        return skip("PostgreSQL's regression tests are not there; `tests/suites/run regress` obtains them");
    }
    let Some((server, dir)) = start(major) else { return };
    let work = dir.path().join("regress");
    let copied = Command::new("cp").arg("-r").arg(&source).arg(&work).status().unwrap();
    assert!(copied.success());
    server.admin("postgres").await.batch_execute("create database regression template template0").await.unwrap();
    let mut tally = Tally::default();
    // Every other test has a copy of what the first has set up: in a small database a catalog is read in less time.
    one_script(&server, "regression", &work, "test_setup", &mut tally);
    let schedule = fs::read_to_string(work.join("parallel_schedule")).unwrap();
    let tests = schedule.lines().filter_map(|line| line.strip_prefix("test:")).flat_map(str::split_whitespace);
    let only: Option<Vec<String>> = std::env::var("ORACLE_TESTS").ok().map(|tests| tests.split(',').map(str::to_owned).collect());
    let others = tests.filter(|test| *test != "test_setup");
    for test in others.filter(|test| only.as_ref().is_none_or(|only| only.iter().any(|one| one == test))) {
        let admin = server.admin("postgres").await;
        // A transaction that was prepared is in the way, and is ended where it was begun.
        for left in admin.rows("select gid from pg_prepared_xacts where database = 'one'").await {
            let end = format!("rollback prepared '{}'", left[0].as_deref().unwrap());
            server.admin("one").await.batch_execute(&end).await.unwrap();
        }
        admin.batch_execute("drop database if exists one with (force)").await.unwrap();
        admin.batch_execute("create database one template regression").await.unwrap();
        one_script(&server, "one", &work, test, &mut tally);
    }
    tally.close("PostgreSQL's regression tests");
}

fn one_script(server: &Server, database: &str, work: &Path, test: &str, tally: &mut Tally) {
    let Ok(script) = fs::read_to_string(work.join(format!("sql/{test}.sql"))) else { return };
    let mut variables: HashMap<String, String> = [
        ("PG_ABS_SRCDIR", work.display().to_string()),
        ("PG_ABS_BUILDDIR", work.display().to_string()),
        ("PG_LIBDIR", String::new()),
        ("PG_DLSUFFIX", ".so".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let mut watch = Watch::new(server.port, database, "set statement_timeout = '10s'");
    eprintln!("{test}");
    for sent in script::statements(&script, &mut variables) {
        if skipped(&sent) {
            continue;
        }
        tally.played += 1;
        let seen = watch.watch(&sent);
        tally.done += u64::from(seen.done);
        tally.watched += u64::from(seen.watched);
        match &seen.meanings {
            None => tally.refused += u64::from(seen.done),
            Some(meanings) => {
                let unknown = |effect: &claviger_model::Effect| effect.verb == claviger_model::Verb::Unknown;
                tally.unknown += u64::from(seen.done && meanings.iter().flat_map(|meaning| &meaning.effects).any(unknown));
            }
        }
        for unsaid in seen.unsaid {
            tally.wrong.insert(format!("{test}: {unsaid}"), sent.text.clone());
        }
    }
}

/// What would end the session that watches, or change what it is.
fn skipped(sent: &Sent) -> bool {
    let text = sent.text.to_ascii_lowercase();
    text.contains("pg_terminate_backend") || text.contains("statement_timeout")
}
