//! What the bodies of functions and blocks read stays masked, whatever their variables are called and wherever they write it.

use super::*;

on_each_server!(
    variables_carry_what_a_body_reads,
    bodies_that_read_no_secret_go_on_as_ever,
    bodies_are_read_as_the_server_reads_them,
);

async fn variables_carry_what_a_body_reads(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let read = "select ssn into v from people where id = 1;";
    for body in [
        format!("{read} insert into log values (v);"),
        format!("insert into log values (v); {read}"),
        "v := (select ssn from people where id = 1); update log set line = v || '';".to_owned(),
        "for v in select ssn from people loop insert into log values (v); end loop;".to_owned(),
        format!("{read} if v like '536%' then insert into log values ('yes'); end if;"),
        format!("{read} while v like '536%' loop insert into log values ('yes'); v := ''; end loop;"),
        format!("{read} case left(v, 3) when '536' then insert into log values ('yes'); else null; end case;"),
        format!("{read} for i in 1..left(v, 1)::int loop insert into log values ('yes'); end loop;"),
        format!("{read} insert into log select 'x' from generate_series(1, 99) limit ascii(v);"),
        format!(
            "{read} insert into log select 'x' from generate_series(1, 9) g order by case when v like '5%' then g end limit 1;"
        ),
        format!("{read} perform set_config('a.b', v, false);"),
        format!("{read} perform pg_notify('channel', v);"),
        format!("{read} perform pg_advisory_lock(replace(v, '-', '')::bigint);"),
        format!("{read} perform lo_from_bytea(4711, v::bytea);"),
        format!(
            "{read} begin perform 1 / (left(v, 1)::int - 5); exception when division_by_zero then insert into log values ('yes'); end;"
        ),
        "begin perform ssn::int from people where id = 1; exception when others then get stacked diagnostics v = message_text;
            insert into log values (v); end;"
            .to_owned(),
    ] {
        let text = format!("do $$declare v text; begin {body} end$$");
        refused(&gateway, &[&text]);
        let function = format!(
            "create or replace function go(x text) returns void language plpgsql as $$declare v text; begin {body} end$$"
        );
        refused(&gateway, &[&function, "select go('x')"]);
        let own = format!("create or replace function go(v text) returns void language plpgsql as $$begin {body} end$$");
        refused(&gateway, &[&own, "select go('x')"]);
    }
    let row = "do $$declare r people; begin select * into r from people where id = 1; insert into log select r.ssn; insert into log select (r).ssn; end$$";
    refused(&gateway, &[row]);
    let star =
        "do $$declare r people; begin select * into r from people where id = 1; create temp table kept as select r.*; end$$";
    silent(&gateway, &[star, "select * from kept"]);
    for body in [
        "select id, ssn into r from people where id = 1; insert into log values (r.ssn);",
        "select id, ssn as other into r from people where id = 1; insert into log values (r.other);",
        "select id, ssn || '' into r from people where id = 1; insert into log values (r.\"?column?\");",
        "select id, ssn into r from people where id = 1; insert into log values (r::text);",
        "select id, ssn into r from people where id = 1; insert into log select r.*::text;",
        "select id, ssn into t from people where id = 1; insert into log values (t.b);",
        "select p into r from people p where id = 1; insert into log values ((r.p).ssn);",
        "select p.* into r from people p where id = 1; insert into log values (to_json(r)::text);",
        "select id, ssn into r from people where id = 1; s := r; insert into log values (s.ssn);",
        "declare t record; begin null; end; select id, ssn into t from people where id = 1; insert into log values (t.b);",
    ] {
        refused(
            &gateway,
            &[
                "drop type if exists pair cascade",
                "create type pair as (a int, b text)",
                &format!("do $$declare r record; s record; t pair; begin {body} end$$"),
            ],
        );
    }
    let cursor = "create or replace function named() returns void language plpgsql as
        $$declare c refcursor; begin c := (select ssn from people where id = 1); open c for select 1; end$$";
    silent(&gateway, &[cursor, "begin", "select named()", "select name from pg_cursors"]);
    // What seems to be an argument as it was given.
    let (long, longer) = ("n".repeat(63), "n".repeat(70));
    for (arguments, body) in [
        (
            "ssn text",
            "declare r record; begin select * into r from people where id = 1; insert into log values (r.ssn); end".to_owned(),
        ),
        (
            &format!("{long} text"),
            format!("begin {longer} := (select ssn from people where id = 1); insert into log values ({long}); end"),
        ),
        (
            "a text",
            "declare b alias for $1; begin b := (select ssn from people where id = 1); insert into log values (a); end"
                .to_owned(),
        ),
        ("a text", "begin select ssn into $1 from people where id = 1; insert into log values (a); end".to_owned()),
        ("a text", "begin U&\"\\0061\" := (select ssn from people where id = 1); insert into log values (a); end".to_owned()),
        (
            "a text",
            "begin a := (select ssn from people where id = 1); do $d$begin null; end$d$; insert into log values (a); end"
                .to_owned(),
        ),
        ("a text", "declare a text := (select ssn from people where id = 1); begin insert into log values (a); end".to_owned()),
        ("inout a text", "begin call put(a); insert into log values (a); end".to_owned()),
    ] {
        let put = "create or replace procedure put(inout x text) language plpgsql as $$begin x := (select ssn from people where id = 1); end$$";
        let returns = if arguments.starts_with("inout") { "text" } else { "void" };
        let function = format!("create function as_given({arguments}) returns {returns} language plpgsql as $${body}$$");
        silent(&gateway, &[put, "drop function if exists as_given", &function, "select as_given('x')", "select * from log"]);
        silent(&gateway, &["drop function if exists as_given"]);
    }
    for (arguments, body) in [
        ("a text default (told())", "begin insert into log values (a); end"),
        ("a text", "declare c refcursor; r record; begin open c for select 1; fetch absolute evil() from c into r; end"),
        ("a text", "declare c refcursor; begin open c for select 1; move forward evil() from c; end"),
        (
            "a text",
            "declare close text; begin close := (select ssn from people where id = 1); insert into log values (close); end",
        ),
        (
            "a text",
            "declare get text[]; begin get[1] := (select ssn from people where id = 1); insert into log values (get[1]); end",
        ),
    ] {
        let evil = "create or replace function evil() returns int language plpgsql as
            $$begin insert into log select ssn from people where id = 1; return 1; end$$";
        let told = "create or replace function told() returns text language sql as 'select ssn from people where id = 1'";
        let function = format!("create function as_given({arguments}) returns void language plpgsql as $${body}$$");
        let call = if arguments.contains("default") { "select as_given()" } else { "select as_given('x')" };
        silent(&gateway, &[told, evil, &function, call, "select * from log"]);
        silent(&gateway, &["drop function as_given", "drop function told"]);
    }
    // An argument that is called like a record inside.
    let pair = "create function paired(r pair) returns void language plpgsql as $$begin
        declare r record; begin null; end; select id, ssn into r from people where id = 1; insert into log values (r.b); end$$";
    silent(
        &gateway,
        &[
            "drop type if exists pair cascade",
            "create type pair as (a int, b text)",
            pair,
            "select paired(null)",
            "select * from log",
        ],
    );
    let told =
        "create function told() returns text language plpgsql as $$begin return (select ssn from people where id = 1); end$$";
    for prepared in ["prepare q (text) as select $1", "prepare q (text) as insert into log values ($1)"] {
        silent(&gateway, &[told, prepared, "execute q(told())", "select * from log"]);
    }
    let yes = "create or replace function yes() returns setof int language plpgsql as
        $$declare v text; begin select ssn into v from people where id = 1; if v like '536%' then return next 1; end if; end$$";
    refused(&gateway, &[yes, "select count(*) from yes()"]);
    assert_eq!(clean(&gateway, &["select count(*) from log"]), [[Some("0".to_owned())]]);
    gateway.verify();
}

async fn bodies_that_read_no_secret_go_on_as_ever(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let plain = "create function plain(wanted text) returns int language plpgsql as $$
        declare r record; n int := 0; begin
            for r in select id, name from people where name = wanted loop
                if r.id > 0 then n := n + 1; insert into log values (r.name); end if;
            end loop;
            if not found then raise exception 'nobody'; end if;
            return n;
        exception when unique_violation then return -1; end$$";
    assert_eq!(only(&clean(&gateway, &[plain, "select plain('Ada')"])), ["1"]);
    // It reads one, and decides by what it was given only.
    let given = "create function given(wanted int, kind text) returns text language plpgsql as $$
        declare found_ssn text; begin
            select ssn into found_ssn from people where id = wanted;
            if not found or kind is null then return null; end if;
            if kind = 'short' then insert into log values (kind); end if;
            return found_ssn; end$$";
    assert_eq!(
        clean(&gateway, &[given, "select given(1, 'short') is not null", "select count(*) from log"]),
        [[Some("2".into())]]
    );
    let block = "do $$declare n int; begin select count(*) into n from people; if n > 1 then insert into log values (n::text); end if; end$$";
    assert_eq!(clean(&gateway, &[block, "select count(*) from log"]), [[Some("3".into())]]);
    // What does not hold it, though it is read beside.
    for body in [
        "for i in 1..3 loop select ssn into v from people where id = i; n := n + 1; end loop; if n > 2 then insert into log values (n::text); end if;",
        "for r in select * from people where id = 1 loop update people set name = initcap(r.name) where id = r.id; insert into log values ('seen ' || r.id); end loop;",
        "for r in select id, ssn from people loop update people set ssn = ssn where id = r.id; n := n + 1; end loop; insert into log values (n::text);",
        "select * into r from people where id = 1; if r.name = 'Ada' then insert into log values (r.name); end if;",
        "open c for select ssn from people; fetch c into v; close c;",
    ] {
        let text = format!("do $$declare v text; r record; n int := 0; c refcursor; begin {body} end$$");
        clean(&gateway, &[&text]);
    }
    let page = "create function page(p int, sz int) returns setof people language plpgsql as
        $$declare off int := (p - 1) * sz; begin return query select * from people order by id limit sz offset off; end$$";
    clean(&gateway, &[page, "select id from page(1, 1)"]);
    gateway.verify();
}

async fn bodies_are_read_as_the_server_reads_them(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let inner = r"'\' -- ' || (select ssn from people where id = 1)";
    let sql =
        format!("create function sql() returns text language sql set standard_conforming_strings = off as $$select {inner}\n$$");
    let block = format!("create function block() returns text language plpgsql as $$begin return {inner}\n; end$$");
    for texts in [
        &["set standard_conforming_strings = off", &sql, "reset all", "select sql()"][..],
        &["select 1", &block, "set standard_conforming_strings = off", "select block()"],
        &["select set_config('standard_conforming_strings', 'off', false), block()"],
        &["update pg_settings set setting = 'off' where name = 'standard_conforming_strings'", "select block()"],
    ] {
        silent(&gateway, texts);
    }
    let other = "create function other() returns text language plpgsql set role = keeper as $$begin return (select ssn from people where id = 1); end$$";
    silent(&gateway, &[other, "select other()"]);
    gateway.verify();
}
