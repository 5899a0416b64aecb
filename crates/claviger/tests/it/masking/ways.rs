//! Ways that a value could take past its mask: through what the server does unasked, and by names and columns that stand in another order
//! or for something else than they seem to.

use super::*;

on_each_server!(
    columns_come_in_the_servers_order,
    what_a_merge_gives_comes_in_the_servers_order,
    statements_that_come_as_text_show_anything,
    types_do_not_speak,
    labels_stay_with_the_values,
    labels_stay_with_what_a_transaction_renames,
    names_of_a_path_are_read_as_the_server_reads_them,
    a_cursor_moves_its_session_when_it_runs,
    what_hides_nothing_is_not_refused,
    what_may_not_run_is_not_taken_as_done,
);

async fn columns_come_in_the_servers_order(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let cases = "create table cases (name text, id int, ssn text); insert into cases values ('Ada', 7, '536')";
    clean(&gateway, &[cases, "create table more (id int, note text, name text); insert into more values (7, 'n', 'Ada')"]);
    for (text, row) in [
        ("select * from cases join more using (id)", "7 Ada 536 n Ada"),
        ("select * from cases natural join more", "Ada 7 536 n"),
        ("select * from more natural join cases", "7 Ada n 536"),
        ("select * from cases join more using (name, id)", "Ada 7 536 n"),
        ("select * from (cases join more using (id)) as j (a, b, c)", "7 Ada 536 n Ada"),
        ("select j.a from (cases join more using (id)) as j (a)", "7"),
        ("select c.id, u.id from cases c full join more m using (id) as u", "7 7"),
        ("select * from more a join (more b join cases c using (name)) using (note)", "n 7 Ada Ada 7 7 536"),
        ("select * from (more a join more b using (id)) join cases c on c.id = a.id", "7 n Ada n Ada Ada 7 536"),
        ("select * from more a join more b using (id, name) join more c using (name, id)", "Ada 7 n n n"),
    ] {
        assert_eq!(only(&clean(&gateway, &[text])).join(" "), row, "{text}");
    }
    let mut texts = Vec::new();
    for join in ["join", "left join", "right join", "full join"] {
        for columns in ["ssn", "card, id", "name, salary"] {
            let text = format!("select * from people p {join} people q using ({columns}) where p.id = 1");
            texts.extend([
                format!("{text} union all {text}"),
                format!("copy ({text}) to stdout"),
                format!("select to_jsonb(j) from ({text}) j"),
                format!("select j.* from ({text}) j"),
                format!("create temp table taken as {text}"),
                text,
            ]);
        }
        texts.push(format!("select u, u.*, u.ssn from people p {join} people q using (ssn) as u"));
        texts.push(format!("select a, b from (people p {join} people q using (ssn)) as j (a, b, c)"));
    }
    silent(&gateway, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    clean(&gateway, &["select * from people p join people q using (ssn, id) where p.id = 1"]);
    clean(&gateway, &["select * from people p full join people q using (salary) where p.id = 1"]);
    for text in ["create table m1 (id int)", "create table m2 (id int, x int)", "create table m3 (id int, y int)"] {
        clean(&gateway, &[text]);
    }
    clean(&gateway, &["insert into m1 values (1)", "insert into m2 values (1, 2)", "insert into m3 values (1, 3)"]);
    for from in [
        "m1 left join (m2 join people using (id)) using (id) join m3 on true",
        "m1 left join (m2 join people using (id)) using (id), m3",
        "m3 cross join (m1 natural join (people natural left join people q))",
    ] {
        clean(&gateway, &[&format!("select * from {from}")]);
        silent(
            &gateway,
            &[&format!("select * from {from} union all select * from {from}"), &format!("copy (select * from {from}) to stdout")],
        );
    }
    silent(&gateway, &["select * from people natural join people q union all select * from people natural join people q"]);
    gateway.verify();
}

async fn what_a_merge_gives_comes_in_the_servers_order(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let source = "(values (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)) s (a, b, c, d, e, f, g, h, i, j, k, l, m)";
    let merge = format!("merge into people p using {source} on p.id = s.a when matched then update set name = p.name returning");
    for text in [
        format!("{merge} *"),
        format!("with m as ({merge} *) select * from m union all select * from m"),
        format!("with m as ({merge} p.*, s.*) select * from m union all select * from m"),
    ] {
        let answer = silent(&gateway, &[&text]);
        if major == Major::V18 {
            assert_eq!(texts(&answer)[0][0].as_deref(), Some("1"), "{text}");
        }
    }
    gateway.verify();
}

async fn statements_that_come_as_text_show_anything(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    for text in [
        "select * from ts_stat($$select to_tsvector('simple', ssn) from people$$)",
        "select ts_rewrite(to_tsquery('simple', 'a'), $$select to_tsquery('simple', 'a'), phraseto_tsquery('simple', ssn) from people where id = 1$$)",
        "select query_to_xml('select ssn from people', true, false, '')",
        "select table_to_xml('people', true, false, '')",
    ] {
        refused(&gateway, &[text]);
    }
    clean(&gateway, &["select ts_rewrite('a & b'::tsquery, 'a'::tsquery, 'c'::tsquery)"]);
    gateway.verify();
}

/// Functions that tell of a secret while they compute.
const SPEAKS: &str = "create schema n; grant all on schema n to public;
    create function n.tell(int) returns boolean language plpgsql as
        $$begin raise notice 'it is %', (select ssn from public.people where id = 1); return true; end$$;
    create domain n.dom as int check (n.tell(value));
    create type n.comp as (a int, b n.dom);
    create table n.doms (d n.dom); grant all on n.doms to public;
    create type n.ty as (v text);
    create type n.src as (i int);
    create function n.conv(n.src) returns n.ty language plpgsql as
        $$begin return row((select ssn from public.people where id = 1)); end$$;
    create cast (n.src as n.ty) with function n.conv(n.src) as implicit;
    create type n.word as (i int);
    create function n.words(n.word) returns text language plpgsql as
        $$begin return (select ssn from public.people where id = 1); end$$;
    create cast (n.word as text) with function n.words(n.word) as implicit";

async fn types_do_not_speak(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let admin = server.admin("bank").await;
    admin.batch_execute(SPEAKS).await.unwrap();
    let mut raw = raw(&gateway);
    let plpgsql = |declared: &str, body: &str| format!("do $$declare {declared}; begin {body}; end$$");
    let mut texts: Vec<String> = [
        "select 1::n.dom",
        "select '(1,2)'::n.comp",
        "select row(1, 2)::n.comp",
        "select jsonb_populate_record(null::n.comp, '{\"b\": 2}')",
        "select * from jsonb_to_record('{\"a\": 2}') as x (a n.dom)",
        "prepare q (n.dom) as select $1",
        "insert into n.doms values (1)",
        "select (coalesce(null::n.ty, row(1)::n.src)).v",
        "select (v).v from (select null::n.ty where false union all select row(1)::n.src) z (v)",
        "select (array[null::n.ty, row(1)::n.src])[2].v",
        "select (case when true then row(1)::n.src else null::n.ty end).v",
        "select (greatest(null::n.ty, row(1)::n.src)).v",
        "select lower(row(1)::n.word)",
        "select 'x' || row(1)::n.word",
        "insert into log values (row(1)::n.word)",
        "select line from log",
    ]
    .map(ToOwned::to_owned)
    .into();
    for (declared, body) in [
        ("x n.dom", "x := 1"),
        ("x n.comp", "x.b := 1"),
        ("x n.doms%rowtype", "x.d := 1"),
        ("x n.doms.d%type", "x := 1"),
        ("x n.ty", "x := row(1)::n.src; raise notice '%', x.v"),
    ] {
        texts.push(plpgsql(declared, body));
    }
    for (signature, body) in [
        ("f(x n.dom) returns int", "select 1"),
        ("f(x int) returns n.dom", "select x"),
        ("f(x int) returns setof n.dom", "select x"),
        ("f(x int, out y n.dom)", "select x"),
        ("f(x int) returns n.ty", "select row(1)::n.src"),
    ] {
        admin.batch_execute(&format!("create function n.{signature} language sql as '{body}'")).await.unwrap();
        assert_silent(signature, &raw.query("select n.f(1)"));
        assert_silent(signature, &raw.query("select * from n.f(1)"));
        admin.batch_execute("drop function n.f").await.unwrap();
    }
    for text in &texts {
        assert_silent(text, &raw.query(text));
    }
    // By the number of a type that its client names.
    let oid: u32 = self::texts(&raw.query("select 'n.dom'::regtype::oid"))[0][0].as_deref().unwrap().parse().unwrap();
    let typed = [terminated(""), terminated("select $1"), vec![0, 1], oid.to_be_bytes().to_vec()].concat();
    let bind = [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 1, b'1', 0, 0][..]].concat();
    raw.send(&[frame(b'P', &typed), frame(b'B', &bind), frame(b'E', &[0; 5]), frame(b'S', &[])].concat());
    assert_silent("typed", &raw.until_ready());
    assert_clean("others are not concerned", &raw.query("select id, name from people"));
    gateway.verify();
}

async fn labels_stay_with_the_values(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let expression = "alter table people add column twice text generated always as (card || card) stored";
    server.admin("bank").await.batch_execute(expression).await.unwrap();
    let masked = |texts: &[&str]| assert_eq!(only(&clean(&gateway, texts)), ["*******4399"], "{texts:?}");
    let fill = "insert into kid (id, name, ssn) select id + 10, name, ssn from people where id = 1";
    let created = "create table kid () inherits (people)";
    masked(&[created, fill, "select ssn from kid", "begin", "alter table kid no inherit people", "select ssn from kid"]);
    masked(&["begin", "alter table only people drop column ssn cascade", "select ssn from kid"]);
    masked(&["alter table kid no inherit people", "select ssn from kid"]);
    masked(&["alter table kid rename column ssn to number", "select number from kid"]);
    refused(&gateway, &["alter table people alter column twice drop expression"]);
    gateway.verify();
}

async fn labels_stay_with_what_a_transaction_renames(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    for (away, text) in [
        ("alter table people rename column ssn to zz", "select zz from people where id = 1"),
        ("alter table people rename to persons", "select ssn from persons where id = 1"),
        ("alter table people set schema pg_temp", "select ssn from people where id = 1"),
    ] {
        for first in ["select 1", "create temp table zzz (i int)", "savepoint s"] {
            let answer = silent(&gateway, &["begin", first, away, text]);
            if !away.contains("pg_temp") {
                assert_eq!(only(&texts(&answer)), ["*******4399"], "{away}");
            }
        }
    }
    gateway.verify();
}

async fn names_of_a_path_are_read_as_the_server_reads_them(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let (admin, long) = (server.admin("bank").await, "n".repeat(63));
    let body = "$$begin return (select ssn from people where id = 1); end$$";
    let schemas = [long.as_str(), "\"a,b\"", "\"É\"", "\"Q\"\"q\""];
    // Before anybody looks: what others define is seen a little later.
    for schema in schemas {
        let shadow =
            format!("create view {schema}.people as select * from public.people; grant select on {schema}.people to public");
        admin
            .batch_execute(&format!("create schema {schema}; grant usage on schema {schema} to public; {shadow}"))
            .await
            .unwrap();
    }
    clean(
        &gateway,
        &[
            "create schema decoy",
            "create table decoy.people (id int, ssn text)",
            "insert into decoy.people values (1, 'decoy')",
            &format!("create function away() returns text language plpgsql as {body}"),
        ],
    );
    for schema in schemas {
        let (wider, text) = (if schema == long { format!("{long}zzz") } else { schema.to_owned() }, "public.away()");
        let listed = format!("{wider}, decoy").replace('\'', "''");
        for set in [
            format!("set search_path = {listed}; select {text}"),
            format!("select set_config('search_path', '{listed}', false); select {text}"),
            format!(
                "create or replace function public.along() returns text language plpgsql set search_path = {listed} as {body}"
            ),
        ] {
            silent(&gateway, &[&set, "select public.along()"]);
            silent(&gateway, &[&set, "select public.away()"]);
        }
        silent(
            &gateway,
            &[&format!("update pg_settings set setting = '{listed}' where name = 'search_path'"), "select public.away()"],
        );
    }
    gateway.verify();
}

async fn a_cursor_moves_its_session_when_it_runs(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let body = "begin return (select ssn from people where id = 1); end";
    for text in [
        "create schema decoy",
        "create table decoy.people (id int, ssn text)",
        &format!("create function public.away() returns text language plpgsql as $${body}$$"),
        "create function public.back() returns text immutable language plpgsql as
            $$begin perform set_config('search_path', 'public', false); return 'x'; end$$",
    ] {
        clean(&gateway, &[text]);
    }
    let moves = "select set_config('search_path', 'public', false) from generate_series(1, 2)";
    let ways: [&[&str]; 7] = [
        &["begin", &format!("declare c cursor for {moves}"), "fetch c"],
        &["begin", &format!("declare c cursor for {moves}"), "move 1 in c"],
        &["begin", "declare c cursor for select public.back()", "fetch c"],
        &["begin", &format!("declare c cursor with hold for {moves}"), "commit"],
        &["begin", &format!("declare c cursor with hold for {moves}"), "commit; select public.away()"],
        &["explain select public.back()"],
        &["begin", &format!("declare c cursor for {moves}"), "fetch c; select public.away()"],
    ];
    for way in ways {
        let mut texts = vec!["set search_path = decoy", "select public.away()"];
        texts.extend(way);
        texts.push("select public.away()");
        silent(&gateway, &texts);
    }
    // A portal that goes on.
    let mut raw = raw(&gateway);
    assert_clean("path", &raw.query("set search_path = decoy"));
    assert_clean("begin", &raw.query("begin"));
    let opened = [frame(b'P', &[terminated(""), terminated(moves), vec![0, 0]].concat()), frame(b'B', b"p\0\0\0\0\0\0\0\0")];
    let one = frame(b'E', b"p\0\0\0\0\x01");
    raw.send(&[opened.concat(), one.clone(), frame(b'S', &[])].concat());
    assert_clean("first", &raw.until_ready());
    assert_silent("path", &raw.query("set search_path = decoy"));
    raw.send(&[one, frame(b'S', &[])].concat());
    assert_silent("second", &raw.until_ready());
    assert_silent("away", &raw.query("select public.away()"));
    gateway.verify();
}

async fn what_hides_nothing_is_not_refused(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let generated = "alter table people add column twice int generated always as (id * 2) stored";
    server.admin("bank").await.batch_execute(generated).await.unwrap();
    let mut raw = raw(&gateway);
    for text in [
        "drop view if exists nope; select 1",
        "drop table if exists nope cascade; select 1",
        "drop type if exists nope; select 1",
        "drop function if exists nope(int); select 1",
        "drop schema if exists nope cascade; select 1",
        "create extension if not exists plpgsql; select 1",
        "do $$begin perform 1; end$$; select name from people",
        "set timezone to default; select 1",
        "reset all; set session authorization default; deallocate all; close all; unlisten *",
        "set client_encoding = 'UTF8'; set standard_conforming_strings = on; select pg_catalog.set_config('search_path', '', false);
            set check_function_bodies = false; set xmloption = content; select name from public.people",
        "reset all",
        "copy people to stdout",
    ] {
        assert_clean(text, &raw.query(text));
    }
    // As PostgREST begins each transaction.
    let set = "select set_config('search_path', $1, true), set_config('request.method', $2, true)";
    let bind = [&b"\0\0\0\0\0\x02\0\0\0\x08"[..], b"\"public\"", b"\0\0\0\x03GET\0\0"].concat();
    let parse = frame(b'P', &[terminated(""), terminated(set), vec![0, 0]].concat());
    raw.send(&[parse, frame(b'B', &bind), frame(b'E', &[0; 5]), frame(b'S', &[])].concat());
    assert_clean(set, &raw.until_ready());
    assert_clean("after", &raw.query("select ssn from people"));
    gateway.verify();
}

async fn what_may_not_run_is_not_taken_as_done(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    for text in [
        "create schema decoy",
        "create table decoy.people (id int, ssn text)",
        "create schema publicx",
        "create table publicx.people (id int, ssn text)",
        "create function never() returns int language plpgsql as $$begin if false then set search_path = decoy; end if; return 1; end$$",
    ] {
        clean(&gateway, &[text]);
    }
    let set = "set_config('search_path', 'decoy', false)";
    let reads = "select ssn from people where id = 1 union all select 'x'";
    for text in [
        format!("select case when false then {set} end"),
        format!("select 1 where false and {set} is null"),
        format!("select {set} from people where id = 99"),
        format!("select {set} limit 0"),
        format!("select {set}, generate_series(1, 0)"),
        format!("with w as (select {set}) select 1"),
        format!("select exists (select {set})"),
        format!("prepare qq as select {set}"),
        format!("explain select {set}"),
        "select never()".to_owned(),
        "do $$begin if false then set search_path = decoy; end if; end$$".to_owned(),
        "select set_config('search_path', 'publicx'::varchar(6), false)".to_owned(),
        "select set_config('search_path', 'publicx'::char(6), false)".to_owned(),
        "select set_config('search_path', E'public\\x0c,decoy', false)".to_owned(),
    ] {
        silent(&gateway, &[&format!("{text}; {reads}")]);
        let mut raw = raw(&gateway);
        let one = |text: &str| {
            [frame(b'P', &[terminated(""), terminated(text), vec![0, 0]].concat()), frame(b'B', &[0; 8]), frame(b'E', &[0; 5])]
                .concat()
        };
        raw.send(&[one(&text), one(reads), frame(b'S', &[])].concat());
        assert_silent(&text, &raw.until_ready());
    }
    // Bound, and never executed.
    let mut raw = raw(&gateway);
    let bound =
        |text: &str| [frame(b'P', &[terminated(""), terminated(text), vec![0, 0]].concat()), frame(b'B', &[0; 8])].concat();
    for run in [false, true] {
        let execute = if run { frame(b'E', &[0; 5]) } else { Vec::new() };
        raw.send(&[bound("set search_path = decoy"), execute, bound(reads), frame(b'E', &[0; 5]), frame(b'S', &[])].concat());
        let answer = raw.until_ready();
        assert_silent("bound", &answer);
        assert_eq!(code(&answer).is_none(), run, "what is executed counts for what follows it: {answer:?}");
        raw.query("reset search_path");
    }
    gateway.verify();
}
