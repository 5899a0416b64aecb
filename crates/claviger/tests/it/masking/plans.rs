//! What a server has planned stays planned, though a name in it stands for something else by now.

use super::*;

on_each_server!(
    what_was_prepared_before_its_name_was_taken_does_not_run,
    what_was_prepared_in_sql_before_its_name_was_taken_does_not_run,
    what_is_prepared_just_before_counts_along_each_path,
    names_are_as_long_as_the_server_keeps_them,
    a_cursor_gives_what_it_was_declared_for,
    a_cursor_is_none_of_the_protocols_portals,
    a_portal_goes_on_only_where_it_began,
    nothing_moves_while_a_statement_runs,
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
    // Renamed, looked up anew to be described, and back.
    take_its_name(&mut raw);
    prepare(&mut raw, "t", SSN);
    for (away, back) in [
        ("alter table people rename to persons", "alter table persons rename to people; commit"),
        ("drop table people", "rollback"),
    ] {
        assert_clean(away, &raw.query(&format!("begin; {away}")));
        raw.send(&[frame(b'D', b"St\0"), frame(b'S', &[])].concat());
        assert_changed(away, &raw.until_ready());
        raw.query("rollback");
        assert_clean("begin", &raw.query("begin"));
        assert_clean(away, &raw.query(away));
        raw.query(back);
        assert_silent("and back", &run(&mut raw, "t"));
        raw.query("rollback");
    }
    raw.send(&[frame(b'D', b"St\0"), frame(b'S', &[])].concat());
    assert_clean("described", &raw.until_ready());
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

/// A schema with a table that is called alike, which is made later.
const LATER: &str = "create table later.people (id int, ssn text)";

async fn what_is_prepared_just_before_counts_along_each_path(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    assert_clean("schema", &raw.query("create schema later"));
    let path = "set search_path = later, public";
    for (way, text) in [("one text", 0), ("one group", 1), ("described", 2)] {
        raw.query("reset search_path");
        match text {
            0 => {
                let answer = raw.query(&format!("prepare s as {SSN}; {path}; execute s"));
                assert_clean(way, &answer);
                assert_eq!(ssn(&answer).as_deref(), Some("*******4399"));
            }
            1 => {
                let bind = |name: &str| frame(b'B', &[terminated(""), terminated(name), vec![0; 6]].concat());
                let execute = frame(b'E', &[0; 5]);
                let group = [parse("s", SSN), parse("", path), bind(""), execute.clone(), bind("s"), execute, frame(b'S', &[])];
                raw.send(&group.concat());
                let answer = raw.until_ready();
                assert_clean(way, &answer);
                assert_eq!(ssn(&answer).as_deref(), Some("*******4399"));
            }
            _ => {
                prepare(&mut raw, "s", SSN);
                assert_clean(path, &raw.query(path));
                raw.send(&[frame(b'D', b"Ss\0"), frame(b'S', &[])].concat());
                assert_clean(way, &raw.until_ready());
            }
        }
        assert_clean(LATER, &raw.query(LATER));
        assert_changed(way, &run(&mut raw, "s"));
        assert_changed(way, &raw.query("execute s"));
        assert_clean("drop", &raw.query("drop table later.people"));
        assert_eq!(ssn(&run(&mut raw, "s")).as_deref(), Some("*******4399"), "{way}");
        assert_clean("deallocate", &raw.query("deallocate s"));
    }
    gateway.verify();
}

async fn names_are_as_long_as_the_server_keeps_them(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    let name = |last: &str| format!("{}{last}", "n".repeat(63));
    prepare(&mut raw, &name("a"), "select 'plain'::text as ssn");
    raw.send(&[frame(b'C', format!("S{}\0", name("b")).as_bytes()), frame(b'S', &[])].concat());
    assert_clean("close", &raw.until_ready());
    prepare(&mut raw, &name("c"), SSN);
    assert_eq!(ssn(&run(&mut raw, &name("a"))).as_deref(), Some("*******4399"));
    assert_eq!(ssn(&raw.query(&format!("execute {}", name("d")))).as_deref(), Some("*******4399"));
    gateway.verify();
}

async fn a_cursor_is_none_of_the_protocols_portals(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    let plain = "declare c cursor for select 'plain'::text as ssn";
    let portal =
        [parse("", SSN), frame(b'B', &[terminated("c"), terminated(""), vec![0; 6]].concat()), frame(b'S', &[])].concat();
    assert_clean(plain, &raw.query("begin"));
    assert_clean(plain, &raw.query(plain));
    raw.send(&[frame(b'C', b"Pc\0"), portal.clone()].concat());
    assert_clean("portal", &raw.until_ready());
    assert_refused("fetch", &raw.query("fetch all from c"));
    raw.query("rollback");
    // The same without waiting for anything.
    raw.send(&[frame(b'Q', &terminated("begin")), frame(b'Q', &terminated(plain)), frame(b'C', b"Pc\0"), portal].concat());
    (0..3).for_each(|_| assert_clean("portal", &raw.until_ready()));
    assert_refused("fetch", &raw.query("fetch all from c"));
    raw.query("rollback");
    // Nor are those that a transaction takes along, or that a function opens.
    assert_clean(plain, &raw.query("begin"));
    assert_clean(plain, &raw.query(&plain.replace("for", "with hold for")));
    assert_clean("rollback", &raw.query("rollback"));
    let open = format!(
        "create function reopened() returns void language plpgsql as
        $$declare r refcursor := 'c'; begin open r for {SSN}; end$$"
    );
    assert_clean(&open, &raw.query(&open));
    assert_clean("begin", &raw.query("begin"));
    assert_silent("open", &raw.query("select reopened()"));
    assert_refused("fetch", &raw.query("fetch all from c"));
    raw.query("rollback");
    assert_clean("again", &raw.query(&open.replace("create", "create or replace").replace("select ssn", "select name")));
    assert_clean("begin", &raw.query("begin"));
    assert_clean("open", &raw.query("select reopened()"));
    assert_refused("fetch", &raw.query("fetch all from c"));
    raw.query("rollback");
    gateway.verify();
}

fn assert_refused(what: &str, answer: &[Message]) {
    assert_silent(what, answer);
    assert_eq!(code(answer).as_deref(), Some("42501"), "{what}");
}

/// A function that finds another table along each path, and a schema whose table is not classified.
async fn with_paths(raw: &mut Raw) {
    let function = format!("create function shown() returns text language plpgsql as 'begin return ({SSN}); end'");
    for text in ["create schema later", LATER, "insert into later.people values (1, 'decoy')", &function] {
        assert_clean(text, &raw.query(text));
    }
}

async fn a_portal_goes_on_only_where_it_began(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    with_paths(&mut raw).await;
    let bind = frame(b'B', &[terminated("p"), terminated(""), vec![0; 6]].concat());
    let execute = frame(b'E', &[terminated("p"), vec![0, 0, 0, 1]].concat());
    let sync = frame(b'S', &[]);
    for first in [true, false] {
        assert_clean("path", &raw.query("set search_path = later, public"));
        assert_clean("begin", &raw.query("begin"));
        let text = parse("", "select shown() from generate_series(1, 3)");
        let steps = [text, bind.clone(), if first { execute.clone() } else { Vec::new() }, sync.clone()];
        raw.send(&steps.concat());
        let answer = raw.until_ready();
        assert_clean("begun", &answer);
        assert_eq!(ssn(&answer).is_some(), first);
        raw.send(&[execute.clone(), sync.clone()].concat());
        assert_clean("goes on", &raw.until_ready());
        assert_clean("path", &raw.query("set search_path = public"));
        raw.send(&[execute.clone(), sync.clone()].concat());
        assert_changed("elsewhere", &raw.until_ready());
        raw.query("rollback");
    }
    // A cursor whose rows are made when its transaction ends.
    assert_clean("path", &raw.query("set search_path = later, public"));
    assert_clean("begin", &raw.query("begin; declare c cursor with hold for select shown()"));
    assert_clean("path", &raw.query("set search_path = public"));
    assert_clean("commit", &raw.query("commit"));
    assert_refused("fetch", &raw.query("fetch all from c"));
    gateway.verify();
}

async fn nothing_moves_while_a_statement_runs(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    with_paths(&mut raw).await;
    let moved = "create function moved() returns text language plpgsql as $$begin set search_path = public; return 'x'; end$$";
    let dropped = format!(
        "create function dropped() returns text language plpgsql as
        $$begin drop table people; return ({SSN}); end$$"
    );
    let renamed = format!(
        "create function renamed() returns void language sql as
        'deallocate p; prepare p as {SSN}'"
    );
    for text in [moved, &dropped, &renamed, BEFORE] {
        assert_clean(text, &raw.query(text));
    }
    for text in [
        "select shown(), set_config('search_path', 'public', false) from generate_series(1, 2)",
        "select moved(), shown()",
        "select dropped()",
        "do $$begin for i in 1..2 loop raise notice '%', (select ssn from people where id = 1);
            set search_path = public; end loop; end$$",
    ] {
        assert_clean("path", &raw.query("set search_path = later, public"));
        assert_refused(text, &raw.query(text));
    }
    raw.query("reset search_path");
    prepare(&mut raw, "p", "select name as ssn from people");
    assert_refused("renamed", &raw.query("select renamed()"));
    // What ends with a transaction is not there after it.
    for (begin, on) in [
        ("set local search_path = later, public", "commit"),
        ("select set_config('search_path', 'later,public', true)", "commit"),
        ("create temp table people (id int, ssn text) on commit drop", "commit"),
    ] {
        assert_clean(begin, &raw.query("begin"));
        assert_clean(begin, &raw.query(begin));
        assert_refused(begin, &raw.query(&format!("{on}; {SSN}")));
        raw.query("rollback");
    }
    // Temporary tables come where the path says.
    let mut raw = self::raw(&gateway);
    assert_clean("path", &raw.query("set search_path = public, pg_temp"));
    assert_refused(
        "temporary",
        &raw.query("create temp table spare (id int); create temp table people (id int, ssn text); select ssn from people"),
    );
    gateway.verify();
}
