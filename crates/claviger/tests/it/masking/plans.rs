//! What a server has planned stays planned, though a name in it stands for something else by now.

use super::*;

on_each_server!(
    what_was_prepared_before_its_name_was_taken_does_not_run,
    what_was_prepared_in_sql_before_its_name_was_taken_does_not_run,
    a_cursor_gives_what_it_was_declared_for,
    a_function_that_was_planned_before_does_not_run,
    what_is_made_again_is_prepared_still,
);

/// The session has a temporary table, so that another does not change its search path.
const BEFORE: &str = "create temp table spare (id int)";
/// It comes before the one in `public`.
const DECOY: [&str; 2] = ["create temp table people (id int, ssn text)", "insert into people values (1, 'decoy')"];
const SSN: &str = "select ssn from people where id = 1";

fn parse(name: &str, text: &str) -> Vec<u8> {
    frame(b'P', &[terminated(name), terminated(text), vec![0, 0]].concat())
}

/// Binds and runs a prepared statement.
fn run(raw: &mut Raw, name: &str) -> Vec<Message> {
    let bind = frame(b'B', &[terminated(""), terminated(name), vec![0; 6]].concat());
    raw.send(&[bind, frame(b'E', &[0; 5]), frame(b'S', &[])].concat());
    raw.until_ready()
}

fn prepare(raw: &mut Raw, name: &str, text: &str) {
    raw.send(&[parse(name, text), frame(b'S', &[])].concat());
    assert_clean(text, &raw.until_ready());
}

fn take_its_name(raw: &mut Raw) {
    for step in DECOY {
        assert_clean(step, &raw.query(step));
    }
}

fn ssn(answer: &[Message]) -> Option<String> {
    texts(answer).pop()?.pop()?
}

/// Asserts that it was refused as the server refuses a plan that gives other rows than before.
fn assert_changed(what: &str, answer: &[Message]) {
    assert_silent(what, answer);
    let error = answer.iter().find(|(kind, _)| *kind == b'E').unwrap_or_else(|| panic!("{what}: {answer:?}"));
    assert_eq!((error_field(error, b'C'), error_field(error, b'R')), ("0A000".into(), "RevalidateCachedQuery".into()), "{what}");
}

async fn what_was_prepared_before_its_name_was_taken_does_not_run(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    assert_clean(BEFORE, &raw.query(BEFORE));
    for name in ["s", ""] {
        prepare(&mut raw, name, SSN);
        assert_eq!(ssn(&run(&mut raw, name)).as_deref(), Some("*******4399"));
        // A simple query drops the unnamed statement.
        if name.is_empty() {
            for step in DECOY {
                raw.send(&[parse("step", step), frame(b'S', &[])].concat());
                assert_clean(step, &raw.until_ready());
                assert_clean(step, &run(&mut raw, "step"));
                raw.send(&[frame(b'C', b"Sstep\0"), frame(b'S', &[])].concat());
                assert_clean(step, &raw.until_ready());
            }
        } else {
            take_its_name(&mut raw);
        }
        assert_changed("before", &run(&mut raw, name));
        prepare(&mut raw, "new", SSN);
        assert_eq!(ssn(&run(&mut raw, "new")).as_deref(), Some("decoy"), "what is prepared anew is another thing");
        raw.send(&[frame(b'C', b"Snew\0"), frame(b'S', &[])].concat());
        assert_clean("close", &raw.until_ready());
        if name.is_empty() {
            prepare(&mut raw, name, SSN);
            assert_eq!(ssn(&run(&mut raw, name)).as_deref(), Some("decoy"));
        }
        assert_clean("drop", &raw.query("drop table people"));
    }
    assert_eq!(ssn(&run(&mut raw, "s")).as_deref(), Some("*******4399"), "it stands for the same again");
    // Renamed, looked up anew at a moment when nobody looks, and back.
    take_its_name(&mut raw);
    prepare(&mut raw, "t", SSN);
    assert_clean("away", &raw.query("begin; alter table people rename to persons"));
    raw.send(&[frame(b'D', b"St\0"), frame(b'S', &[])].concat());
    raw.until_ready();
    assert_clean("back", &raw.query("alter table persons rename to people; commit"));
    assert_silent("renamed and back", &run(&mut raw, "t"));
    gateway.verify();
}

async fn what_was_prepared_in_sql_before_its_name_was_taken_does_not_run(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    assert_clean(BEFORE, &raw.query(BEFORE));
    assert_clean("prepare", &raw.query(&format!("prepare p as {SSN}")));
    assert_eq!(ssn(&raw.query("execute p")).as_deref(), Some("*******4399"));
    take_its_name(&mut raw);
    for text in ["execute p", "explain analyze execute p", "create temp table kept as execute p"] {
        assert_changed(text, &raw.query(text));
    }
    assert_changed("bound", &run(&mut raw, "p"));
    let again = format!("deallocate p; prepare p as {SSN}; execute p");
    assert_eq!(ssn(&raw.query(&again)).as_deref(), Some("decoy"));
    assert_eq!(ssn(&raw.query("execute p")).as_deref(), Some("decoy"));
    gateway.verify();
}

async fn a_cursor_gives_what_it_was_declared_for(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    assert_clean(BEFORE, &raw.query(BEFORE));
    assert_clean("declare", &raw.query("begin; declare c cursor with hold for select ssn from people where ssn is not null"));
    take_its_name(&mut raw);
    let fetched = |answer: Vec<Message>| {
        assert_clean("fetch", &answer);
        ssn(&answer)
    };
    assert_eq!(fetched(raw.query("fetch 1 from c")).as_deref(), Some("*******4399"));
    assert_clean("commit", &raw.query("commit"));
    assert_clean("path", &raw.query("set search_path = pg_catalog"));
    assert_clean("rename", &raw.query("alter table public.people rename column ssn to was"));
    assert_clean("add", &raw.query("alter table public.people add ssn text"));
    assert_eq!(fetched(raw.query("fetch 1 from c")).as_deref(), Some("*******4399"));
    gateway.verify();
}

async fn a_function_that_was_planned_before_does_not_run(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    assert_clean(BEFORE, &raw.query(BEFORE));
    let function = format!("create function shown() returns text language plpgsql as 'begin return ({SSN}); end'");
    assert_clean(&function, &raw.query(&function));
    assert_clean("before", &raw.query("select shown()"));
    take_its_name(&mut raw);
    for text in ["select shown()", "select id from people where shown() like '5%'", "insert into log select shown()"] {
        let answer = raw.query(text);
        assert_silent(text, &answer);
        assert_eq!(code(&answer).as_deref(), Some("42501"), "{text}");
    }
    assert_clean("drop", &raw.query("drop table people"));
    assert_clean("after", &raw.query("select shown()"));
    gateway.verify();
}

async fn what_is_made_again_is_prepared_still(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    for schema in ["one", "two"] {
        let text =
            format!("create schema {schema}; create table {schema}.t (v text); insert into {schema}.t values ('{schema}')");
        assert_clean(&text, &raw.query(&text));
    }
    let function = "create function seen() returns text language plpgsql as 'begin return (select v from t); end'";
    assert_clean(function, &raw.query(function));
    // Each along its own path, again and again.
    assert_clean("path", &raw.query("set search_path = one, public"));
    prepare(&mut raw, "s", "select v, seen() from t");
    assert_clean("prepare", &raw.query("prepare p as select v, seen() from t"));
    for schema in ["one", "two", "one", "two"] {
        assert_clean("path", &raw.query(&format!("set search_path = {schema}, public")));
        let expected = [[Some(schema.to_owned()), Some(schema.to_owned())]];
        assert_eq!(texts(&run(&mut raw, "s")), expected);
        assert_eq!(texts(&raw.query("execute p")), expected);
    }
    // Tables that go and come back under their names, and those that others take over.
    for change in [
        "drop table two.t; create table two.t (v text); insert into two.t values ('again')",
        "alter table two.t rename to old; create table two.t (v text); insert into two.t values ('again')",
        "alter table two.t add w int; update two.t set w = 1",
    ] {
        for step in change.split(';') {
            assert_clean(step, &raw.query(step));
        }
        let expected = [[Some("again".to_owned()), Some("again".to_owned())]];
        assert_eq!(texts(&run(&mut raw, "s")), expected, "{change}");
        assert_eq!(texts(&raw.query("execute p")), expected, "{change}");
    }
    gateway.verify();
}
